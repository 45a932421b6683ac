"""Compiled ELU and batch normalization with ELU against the layers of PyTorch."""

import multiprocessing

import pytest
import torch
from torch import nn

from singula.models import ModelSettings, build_model, channels_last, cpu_layers
from singula.models.cpu_layers import Elu, Layers

LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
# Largest difference relative to the largest value: one rounding of each type and some more
NEAR = {torch.float32: 2e-6, torch.bfloat16: 5e-3}
SHAPES = (
    (2, 16, 33, 20),
    (3, 7, 40, 51),
    (1, 300, 4, 4),
    (1, 1, 1, 2),
    (2, 5, 3, 6, 7),
    (2, 16, 128, 130),
)


@pytest.fixture(autouse=True)
def small_tensors(monkeypatch):
    """Use the compiled layers for small tensors too, except where a test sets another limit."""
    monkeypatch.setattr(cpu_layers, "_MIN_JOINED", 0)


def normalization(shape, dtype=torch.float32, seed=1):
    generator = torch.Generator().manual_seed(seed)
    norm = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm3d)(shape[1], dtype=dtype)
    with torch.no_grad():
        norm.weight.copy_(1 + 0.3 * torch.randn(shape[1], generator=generator))
        norm.bias.copy_(torch.randn(shape[1], generator=generator))
    return norm


def features(shape, dtype, seed=0):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 2 + 3
    return values.to(dtype).to(memory_format=LAST[len(shape)])


def uses_compiled(result):
    return "_NormElu" in type(result.grad_fn).__name__


def passes(layers, x, gradient):
    """Return the result, the gradients and the running statistics after a training step."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    result = layers.train()(x)
    result.backward(gradient.to(result.dtype))
    norm = layers[0]
    return result, [
        result.detach(),
        x.grad,
        norm.weight.grad,
        norm.bias.grad,
        norm.running_mean,
        norm.running_var,
    ]


@pytest.mark.parametrize("dtype", NEAR)
@pytest.mark.parametrize("shape", SHAPES)
def test_training_equals_pytorch_in_float64(shape, dtype):
    x, gradient = features(shape, dtype), features(shape, dtype, seed=2)
    layers = Layers(normalization(shape), Elu(inplace=True))
    oracle = nn.Sequential(normalization(shape, torch.float64), nn.ELU())

    result, values = passes(layers, x, gradient)
    _, expected = passes(oracle, x.double(), gradient)

    assert uses_compiled(result)
    assert result.dtype == dtype
    assert result.stride() == x.stride()
    assert layers[0].num_batches_tracked == 1
    for value, oracle_value in zip(values, expected, strict=True):
        scale = max(float(oracle_value.abs().max()), 0.1)  # the gradient of two values cancels
        assert float((value.double() - oracle_value).abs().max()) <= NEAR[dtype] * scale


def test_large_mean_keeps_the_variance():
    x = features((4, 8, 32, 32), torch.float32) + 1000
    result, (_, _, _, _, _, variance) = passes(
        Layers(normalization(x.shape), Elu()), x, torch.ones_like(x)
    )
    assert uses_compiled(result)
    expected = 0.9 + 0.1 * x.double().var((0, 2, 3))
    assert torch.allclose(variance.double(), expected, rtol=1e-5)


def test_gradient_in_another_layout_and_type():
    shape = (2, 16, 20, 20)
    x, wide = features(shape, torch.bfloat16), features((2, 32, 20, 20), torch.bfloat16, seed=2)
    layers = Layers(normalization(shape), Elu())
    _, expected = passes(layers, x, wide[:, :16].contiguous(memory_format=torch.channels_last))
    for gradient in (wide[:, :16], wide[:, :16].contiguous()):
        again = Layers(normalization(shape), Elu())
        _, values = passes(again, x, gradient)
        assert all(torch.equal(a, b) for a, b in zip(values, expected, strict=True))


@pytest.mark.parametrize(
    "change",
    [
        lambda x, norm, elu: (x.contiguous(), norm, elu),
        lambda x, norm, elu: (x.double(), norm.double(), elu),
        lambda x, norm, elu: (x, nn.BatchNorm2d(8, affine=False), elu),
        lambda x, norm, elu: (x, nn.BatchNorm2d(8, momentum=None), elu),
        lambda x, norm, elu: (x, nn.BatchNorm2d(8, track_running_stats=False), elu),
        lambda x, norm, elu: (x, norm.eval(), elu),
        lambda x, norm, elu: (x, norm, Elu(alpha=0.5)),
        lambda x, norm, elu: (x, norm, nn.ReLU()),
    ],
)
def test_other_cases_are_computed_by_pytorch(change):
    x, norm, elu = change(features((2, 8, 6, 6), torch.float32), normalization((2, 8, 6, 6)), Elu())
    x.requires_grad_()
    result = Layers(norm, elu)(x)
    assert not uses_compiled(result)
    assert torch.equal(result, nn.Sequential(norm, elu)(x)) or norm.momentum is None


def test_small_tensors_are_computed_by_pytorch(monkeypatch):
    x = features((2, 8, 6, 6), torch.float32).requires_grad_()
    layers = Layers(normalization(x.shape), Elu())
    for limit, compiled in ((x.numel(), True), (x.numel() + 1, False)):
        monkeypatch.setattr(cpu_layers, "_MIN_JOINED", limit)
        assert uses_compiled(layers(x)) == compiled


def test_a_single_value_per_channel_is_refused_as_by_pytorch():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        Layers(nn.BatchNorm2d(8), Elu())(features((1, 8, 1, 1), torch.float32))


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
    x = features((1, 4, 8, 8), torch.float32) - 3
    expected = nn.functional.elu(x)
    before = x.clone()
    with torch.inference_mode():
        assert torch.allclose(Elu()(x), expected, atol=1e-6)
        assert torch.equal(x, before)
        assert Elu(inplace=True)(x) is x
    assert torch.allclose(x, expected, atol=1e-6)


def test_elu_alone_has_a_gradient():
    x = features((1, 4, 8, 8), torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(Elu(), (x,))
    Elu()(features((1, 4, 8, 8), torch.float32).requires_grad_()).sum().backward()


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_results_do_not_depend_on_the_number_of_threads(threads):
    x, gradient = (features((3, 16, 96, 131), torch.bfloat16, seed) for seed in (0, 1))
    results = []
    for count in (1, 2, 3):
        threads(count)
        results.append(passes(Layers(normalization(x.shape), Elu()), x, gradient)[1])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


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


@pytest.mark.parametrize("ndim", [2, 3])
def test_training_of_a_network_equals_pytorch(ndim, monkeypatch):
    settings = ModelSettings(ndim, 1, 2, feature_maps=(4, 8, 8), dropout=(0.0,) * 3, z_down=(2, 2))
    generator = torch.Generator().manual_seed(3)
    images = torch.rand((2, 1, *(16,) * ndim), generator=generator)
    target = torch.rand((2, settings.out_channels, *(16,) * ndim), generator=generator)
    calls = []
    original = cpu_layers._normalize
    monkeypatch.setattr(
        cpu_layers, "_normalize", lambda x, norm: calls.append(norm) or original(x, norm)
    )
    losses = {}
    for compiled in (True, False):
        if not compiled:
            monkeypatch.setattr(cpu_layers, "_is_supported", lambda x: False)
        torch.manual_seed(4)
        network = channels_last(build_model(settings), ndim).train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
        losses[compiled] = []
        for _ in range(20):
            loss = nn.functional.mse_loss(network(images), target)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses[compiled].append(float(loss.detach()))
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm3d)]
    assert len(calls) == 20 * len(norms)
    assert losses[True] == pytest.approx(losses[False], rel=1e-3)
    assert losses[True][-1] < losses[True][0]
