"""Loss of embeddings: the definition of its terms, gradients, and descent on a free map."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

import singula
from singula.representations.families import UNIT_RADIUS
from singula.synthetic.fluorescence import Appearance, make_image
from singula.training import embedding_kernel
from singula.training import embedding_loss as module
from singula.training.embedding_loss import embedding_loss, lovasz_weights


def jaccard_loss(wrong: np.ndarray, mask: np.ndarray) -> float:
    """Return 1 - IoU of a prediction that is wrong at some pixels."""
    predicted = mask ^ wrong
    union = (predicted | mask).sum()
    return 0.0 if union == 0 else 1 - (predicted & mask).sum() / union


def lovasz_extension(errors: np.ndarray, mask: np.ndarray) -> float:
    """Return the integral of the Jaccard loss of the errors above a level, over all levels."""
    levels = np.concatenate([[0], np.unique(errors.clip(0))])
    total = 0.0
    for low, high in pairwise(levels):
        total += (high - low) * jaccard_loss(errors > low, mask)
    return total


def lovasz_hinge(logits: Tensor, mask: Tensor) -> Tensor:
    """Return the Lovász hinge loss of a mask."""
    errors = 1 - logits * (2 * mask.to(logits) - 1)
    return (torch.relu(errors) * lovasz_weights(errors.detach(), mask)).sum()


@pytest.mark.parametrize("seed", range(10))
def test_the_hinge_is_the_lovasz_extension_of_the_jaccard_loss(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, mask = rng.normal(0, 1.5, 12), rng.random(12) < 0.4
    mask[0] = True
    expected = lovasz_extension(1 - logits * np.where(mask, 1, -1), mask)
    value = lovasz_hinge(torch.tensor(logits), torch.tensor(mask))
    assert float(value) == pytest.approx(expected, abs=1e-9)


def test_confident_predictions_lose_as_much_as_the_jaccard_loss() -> None:
    mask = torch.tensor([True, True, False, False])
    assert float(lovasz_hinge(torch.tensor([1.0, 1.0, -1.0, -1.0]), mask)) == 0
    # One pixel too many: IoU 2/3, at twice the margin.
    value = lovasz_hinge(torch.tensor([1.0, 1.0, 1.0, -1.0]), mask)
    assert float(value) == pytest.approx(2 / 3, abs=1e-6)


def plain_loss(
    planes: Tensor, offsets: Tensor, ids: Tensor, annotated: Tensor, sizes: tuple[float, ...]
) -> Tensor:
    """Return the loss of an image by its definition: one pass over all pixels per instance."""
    ndim, labels = ids.ndim, ids[annotated]
    axes = [torch.arange(n) * size for n, size in zip(ids.shape, sizes, strict=True)]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))[:, annotated]
    planes, ideal = planes[:, annotated], grid + offsets[:, annotated]
    embedded, bandwidths = grid + planes[:ndim], planes[ndim : 2 * ndim].clamp(-5, 5)
    seediness = torch.sigmoid(planes[-1])
    expected, weights = torch.zeros_like(seediness), torch.ones_like(seediness)
    total, instances = planes.sum() * 0, [label for label in labels.unique() if label > 0]
    for label in instances:
        mask = labels == label
        mean = bandwidths[:, mask].mean(1, keepdim=True)
        precision = np.log(2) / UNIT_RADIUS**2 * torch.exp(-2 * mean)
        center = ideal[:, mask].mean(1, keepdim=True)
        distances = ((embedded - center) ** 2 * precision).sum(0)
        assume(not is_unordered(distances.detach(), mask))
        scores = torch.exp(-distances)
        spread = ((bandwidths[:, mask] - mean.detach()) ** 2).mean()
        total = total + (lovasz_hinge(2 * scores - 1, mask) + 0.4 * spread) / len(instances)
        expected[mask], weights[mask] = scores.detach()[mask], 10.0
    return total + (weights * (seediness - expected) ** 2).sum() / max(1, len(labels))


def is_unordered(distances: Tensor, mask: Tensor) -> bool:
    """Return True if rounding can exchange errors, which changes the gradient."""
    errors = torch.where(mask, -torch.expm1(-distances), torch.exp(-distances))
    errors, order = errors.sort(descending=True)
    outside = ~(mask[order][1:] & mask[order][:-1])  # an exchange of two pixels inside is harmless
    equal = errors[:-1] - errors[1:] < 3e-6 * errors[:-1]
    return bool((equal & outside & (errors[:-1] > 1e-5)).any())


def labels_of(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return labels of a shape: no instance, one at a corner, a whole image of one, or several."""
    labels = np.zeros(shape, np.int64)
    if kind == "corner":
        labels[tuple(slice(0, 3) for _ in shape)] = 4
    elif kind == "whole":
        labels[:] = 2
    elif kind == "several":
        labels = rng.integers(0, 4, [-(-side // 3) for side in shape])
        for axis in range(len(shape)):
            labels = labels.repeat(3, axis)
        labels = labels[tuple(slice(0, side) for side in shape)]
    return labels


@pytest.mark.parametrize("compiled", [True, False])
@settings(max_examples=40, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(["none", "corner", "whole", "several"]), min_size=1, max_size=2),
    anisotropy=st.sampled_from([None, 1.0, 2.5]),
    offset=st.sampled_from([0.01, 1.0, 8.0]),
    bandwidth=st.sampled_from([-1.5, 0.0, 1.0]),
    annotated=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_value_and_gradient_are_those_of_the_definition(
    compiled, kinds, anisotropy, offset, bandwidth, annotated, seed
) -> None:
    rng = np.random.default_rng(seed)
    shape, sizes = (9, 14), (1.0, 1.0)
    if anisotropy:
        shape, sizes = (4, 7, 8), (anisotropy, 1.0, 1.0)
    ids = np.stack([labels_of(kind, shape, rng) for kind in kinds])
    target = np.stack([np.stack(list(singula.encode(x, "E", spacing=sizes).values())) for x in ids])
    noise = rng.normal(0, 1, target.shape)
    noise[:, : len(shape)] *= offset
    noise[:, len(shape) : -1] += bandwidth
    known = torch.tensor(rng.random(ids.shape) < annotated)
    start, target, ids = torch.tensor(noise).float(), torch.tensor(target), torch.tensor(ids)
    # Scores near 0 and 1 have an order only in double precision.
    expected, prediction = start.double().requires_grad_(), start.clone().requires_grad_()
    reference = sum(
        plain_loss(planes, offsets[: len(shape)], labels, mask, sizes)
        for planes, offsets, labels, mask in zip(expected, target, ids, known, strict=True)
    ) / len(ids)
    reference.backward()
    with pytest.MonkeyPatch.context() as patch:
        if not compiled:  # as on a GPU, in groups of few instances
            patch.setattr(module, "_compiled_losses", module.hinge_losses)
            patch.setattr(module, "_MAX_VALUES", 2 * ids[0].numel())
        loss = embedding_loss(prediction, target, ids, known, sizes)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(float(reference.detach()), abs=1e-5)
    torch.testing.assert_close(prediction.grad.double(), expected.grad, rtol=1e-4, atol=2e-6)


def test_equal_and_invalid_distances_are_sorted() -> None:
    # All pixels at one place, far away, or undefined: the keys of the sort are equal.
    index = np.arange(40, dtype=np.int32) % 3
    for place in (0.0, 1e6, np.nan):
        embedded = np.full((2, 40), place, np.float32)
        ones = np.ones((2, 2), np.float32)
        loss, scores, *_ = embedding_kernel.hinge_losses(embedded, ones, ones, index)
        assert np.isnan(loss) == np.isnan(place)
        assert not scores[index == 0].any()


def image(ndim: int) -> tuple[np.ndarray, tuple[float, ...] | None]:
    shape, spacing = ((48, 52), None) if ndim == 2 else ((8, 24, 26), (2.0, 1.0, 1.0))
    look = Appearance(radius=(5, 7), coverage=0.4, clustered=0.9)
    labels = make_image(shape, np.random.default_rng(2), spacing=spacing, appearance=look).labels
    return labels, spacing


@pytest.mark.parametrize("ndim", [2, 3])
def test_descent_on_a_free_map_finds_all_instances(ndim: int) -> None:
    labels, spacing = image(ndim)
    maps = singula.encode(labels, "E", spacing=spacing)
    target = torch.tensor(np.stack(list(maps.values())))[None]
    ids = torch.tensor(labels.astype(np.int64))[None]
    start = torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    free = (0.1 * start).requires_grad_()
    optimizer = torch.optim.Adam([free], lr=0.1)
    losses = []
    for _ in range(70):
        optimizer.zero_grad()
        loss = embedding_loss(free, target, ids, sizes=spacing)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]
    planes = free.detach()[0]
    planes[-1] = torch.sigmoid(planes[-1])
    learned = dict(zip(maps, planes.numpy(), strict=True))
    decoded = singula.decode(learned, "E", spacing=spacing)
    (match,) = singula.match(labels, decoded, (0.5,))
    assert match.f1 == 1


def test_pixels_without_a_target_have_no_effect() -> None:
    labels, _ = image(2)
    target = torch.tensor(np.stack(list(singula.encode(labels, "E").values())))[None]
    ids = torch.tensor(labels.astype(np.int64))[None]
    annotated = torch.ones(ids.shape, dtype=torch.bool)
    annotated[0, :20] = False
    random = torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    prediction = random.requires_grad_()
    embedding_loss(prediction, target, ids, annotated).backward()
    assert prediction.grad is not None
    assert not prediction.grad[:, :, :20].any()
    assert prediction.grad[:, :, 20:].any()


def test_an_image_without_instances_only_lowers_the_seediness() -> None:
    prediction = torch.zeros(1, 5, 6, 7, requires_grad=True)
    ids = torch.zeros(1, 6, 7, dtype=torch.int64)
    embedding_loss(prediction, torch.zeros(1, 5, 6, 7), ids).backward()
    assert prediction.grad is not None
    assert not prediction.grad[:, :4].any()
    assert (prediction.grad[:, 4] > 0).all()
