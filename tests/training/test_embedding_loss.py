"""Loss of embeddings: the Lovász hinge by its definition, and descent on a free map."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

import singula
from singula.synthetic.fluorescence import Appearance, make_image
from singula.training.embedding_loss import embedding_loss, lovasz_hinge


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
