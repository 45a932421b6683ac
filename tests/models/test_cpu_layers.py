"""Compiled ELU against that of PyTorch."""

import multiprocessing

import pytest
import torch
from torch import nn

from singula.models import cpu_kernels
from singula.models.cpu_layers import Elu

LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
# Largest difference relative to the value: one rounding of each type and some more
NEAR = {torch.float32: 3e-7, torch.bfloat16: 2.0**-8}
SHAPES = ((2, 16, 33, 20), (3, 7, 40, 51), (1, 300, 4, 4), (1, 1, 1, 2), (2, 5, 3, 6, 7))


@pytest.fixture
def calls(monkeypatch):
    """Return a list with the size of each array that the compiled loop computes."""
    sizes = []
    original = cpu_kernels.elu
    monkeypatch.setattr(cpu_kernels, "elu", lambda v: sizes.append(v.size) or original(v))
    return sizes


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def features(shape, dtype=torch.float32, seed=0):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 3
    return values.to(dtype).to(memory_format=LAST[len(shape)])


@pytest.mark.parametrize("dtype", NEAR)
@pytest.mark.parametrize("shape", SHAPES)
def test_elu_equals_pytorch_in_float64(shape, dtype, calls):
    x = features(shape, dtype)
    with torch.no_grad():
        result = Elu()(x)
    expected = nn.functional.elu(x.double())
    assert sum(calls) == x.numel()
    assert result.dtype == dtype
    assert result.stride() == x.stride()
    assert bool(((result.double() - expected).abs() <= NEAR[dtype] * expected.abs()).all())


def test_elu_of_each_bfloat16_value():
    bits = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32).to(torch.int16)
    x = bits.view(torch.bfloat16).reshape(1, 1, 256, 256)
    with torch.no_grad():
        result = Elu()(x)
    expected = nn.functional.elu(x.double())
    assert torch.equal(result.isnan(), x.isnan())
    known = ~x.isnan()
    # Rounding to eight bits; the largest finite values round to themselves.
    assert torch.equal(result[x > 0], x[x > 0])
    difference = (result.double() - expected).abs()[known & expected.isfinite()]
    allowed = 2.0**-8 * expected.abs()[known & expected.isfinite()]
    assert bool((difference <= allowed + 1e-38).all())


def test_elu_in_float32_has_full_precision():
    x = -torch.logspace(-30, 2.2, 4000, dtype=torch.float32).reshape(1, 1, 40, 100)
    with torch.no_grad():
        relative = Elu()(x).double() / torch.expm1(x.double()) - 1
    assert float(relative.abs().max()) < 2.5e-7


def test_elu_overwrites_its_input_only_in_place():
    x = features((1, 4, 8, 8))
    expected = nn.functional.elu(x)
    before = x.clone()
    with torch.inference_mode():
        assert torch.allclose(Elu()(x), expected, atol=1e-6)
        assert torch.equal(x, before)
        assert Elu(inplace=True)(x) is x
    assert torch.allclose(x, expected, atol=1e-6)


def test_a_gradient_is_computed_by_pytorch(calls):
    assert torch.autograd.gradcheck(
        Elu(), (features((1, 4, 8, 8), torch.float64).requires_grad_(),)
    )
    x = features((1, 4, 8, 8)).requires_grad_()
    result = Elu()(x)
    result.sum().backward()
    assert torch.equal(result, nn.functional.elu(x))
    assert calls == []


@pytest.mark.parametrize(
    ("elu", "x"),
    [
        (Elu(), features((2, 8, 6, 6)).contiguous()),
        (Elu(), features((2, 8, 6, 6)).double()),
        (Elu(), features((2, 8, 6, 6)).half()),
        (Elu(), features((2, 8, 6, 6))[:, ::2]),
        (Elu(), torch.randn(6, 6)),
        (Elu(), features((2, 8, 6, 6))[:0]),
        (Elu(), torch.empty((2, 8, 6, 6), device="meta", memory_format=torch.channels_last)),
        (Elu(alpha=0.5), features((2, 8, 6, 6))),
    ],
    ids=["layout", "float64", "float16", "gaps", "2 axes", "empty", "other device", "alpha"],
)
def test_other_cases_are_computed_by_pytorch(elu, x, calls):
    with torch.no_grad():
        result, expected = elu(x), nn.functional.elu(x, elu.alpha)
    assert calls == []
    assert result.device == x.device
    assert x.is_meta or torch.equal(result, expected)


def test_results_do_not_depend_on_the_number_of_threads(threads, calls):
    x = features((3, 16, 96, 131), torch.bfloat16)
    results = []
    for count in (1, 2, 3):
        threads(count)
        calls.clear()
        with torch.no_grad():
            results.append(Elu()(x))
        assert len(calls) == count
        assert sum(calls) == x.numel()
    assert all(torch.equal(results[0], other) for other in results[1:])


def _overwrite_with_elu(x):
    with torch.no_grad():
        Elu(inplace=True)(x)


def test_threads_start_again_in_a_forked_process(threads):
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system has no fork")
    threads(2)
    x = -torch.ones(1, 1, 512, 512)
    _overwrite_with_elu(x)
    # The child calls no function of torch that uses OpenMP, which does not survive a fork.
    child = multiprocessing.get_context("fork").Process(target=_overwrite_with_elu, args=(x,))
    child.start()
    child.join(60)
    alive = child.is_alive()
    child.kill()
    assert not alive
    assert child.exitcode == 0
