"""Center offsets: a slow transcription of the definition, soft maps of nuclei, and boxes."""

from __future__ import annotations

import math
from itertools import pairwise, product

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import singula
from singula.representations.decoders import offsets as algorithm
from singula.representations.decoders.offsets import (
    Centers,
    cast_votes,
    find_centers,
    join_centers,
    merge_votes,
    offsets_in_pixels,
)
from singula.synthetic.fluorescence import Appearance, make_image

SHARE = 0.15


def nuclei(ndim: int, spacing: tuple[float, ...] | None = None) -> np.ndarray:
    """Return a crowded image of touching nuclei."""
    shape = (128, 144) if ndim == 2 else (22, 60, 64)
    look = Appearance(radius=(6, 9), coverage=0.4, clustered=0.9)
    return make_image(shape, np.random.default_rng(2), spacing=spacing, appearance=look).labels


def soft_maps(
    labels: np.ndarray, spacing: tuple[float, ...] | None, noise: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return blurred and noisy offsets and the foreground, as of a trained network."""
    codes = "ZVH"[3 - labels.ndim :]
    name = "+".join(["F", *codes])
    options = {code: {"norm": False} for code in codes}
    maps = singula.encode(labels, name, spacing=spacing, options=options)
    rng = np.random.default_rng(0)
    soft = {c: gaussian_filter(values.astype(np.float32), 0.7) for c, values in maps.items()}
    offsets = [soft[c] + rng.normal(0, noise, labels.shape) for c in codes]
    return offsets_in_pixels(offsets, spacing), soft["F"] > 0.5


def decoded(
    offsets: np.ndarray, foreground: np.ndarray, spacing: tuple[float, ...] | None, radius: float
) -> tuple[Centers, np.ndarray]:
    votes = cast_votes(offsets, foreground, spacing)
    centers = find_centers(votes, foreground.shape, radius, SHARE, spacing)
    return centers, join_centers(offsets, foreground, centers, spacing)


def slowly_decoded(
    offsets: np.ndarray, foreground: np.ndarray, spacing: tuple[float, ...] | None, radius: float
) -> tuple[list[tuple[int, ...]], np.ndarray]:
    """Return centers and labels by comparing every pixel with every other one."""
    ndim, shape = foreground.ndim, foreground.shape
    sizes = np.array(spacing or (1,) * ndim) / min(spacing or (1,))
    pixels = np.argwhere(foreground)
    arrows = np.array([offsets[(slice(None), *p)] for p in pixels], float)
    targets = np.floor(pixels - arrows + 0.5)
    voted = targets.clip(0, np.array(shape) - 1)
    lengths = np.floor(16 * np.sqrt(((arrows * sizes) ** 2).sum(1)) + 0.5) / 16
    places = np.argwhere(np.ones(shape, bool))
    away = np.array([(((voted - p) * sizes) ** 2).sum(1) for p in places])
    near = away <= radius**2
    weight = np.maximum(np.floor(256 * (1 - away / (radius + 1) ** 2)), 1)
    scores = (near * weight).sum(1)
    has_votes = (away == 0).any(1)
    peaks = []
    for here, place in enumerate(places):
        around = (((places - place) * sizes) ** 2).sum(1) <= radius**2
        if not has_votes[here] or np.argmax(np.where(around & has_votes, scores, -1)) != here:
            continue
        mean = lengths[near[here]].mean()
        reach = mean * (ndim + 1) / ndim + 0.5
        volume = (math.pi if ndim == 2 else 4 / 3 * math.pi) * reach**ndim / sizes.prod()
        if near[here].sum() >= SHARE * volume:
            peaks.append((tuple(place), mean))
    labels = np.zeros(shape, np.int32)
    for pixel, target in zip(pixels, targets, strict=True):
        steps = [(((target - p) * sizes) ** 2).sum() for p, _ in peaks]
        if steps and min(steps) <= (2 * peaks[int(np.argmin(steps))][1] + 1) ** 2:
            labels[tuple(pixel)] = np.argmin(steps) + 1
    return [peak for peak, _ in peaks], labels


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("case", [((17, 19), None), ((5, 9, 11), (3.0, 1.0, 1.0)), ((6, 7), None)])
def test_fast_loops_equal_the_definition(case, seed: int) -> None:
    shape, spacing = case
    rng = np.random.default_rng(seed)
    offsets = rng.normal(0, 3, (len(shape), *shape)).astype(np.float32)
    if seed % 2:  # smooth fields have real peaks
        offsets = gaussian_filter(offsets, (0, *(2,) * len(shape))) * 8
    foreground = rng.random(shape) < 0.8
    centers, labels = decoded(offsets, foreground, spacing, 1.5 + seed % 2)
    expected, expected_labels = slowly_decoded(offsets, foreground, spacing, 1.5 + seed % 2)
    assert [tuple(p) for p in centers.positions] == expected
    np.testing.assert_array_equal(labels, expected_labels)


@pytest.mark.parametrize(
    ("ndim", "spacing"), [(2, None), (2, (2.0, 1.0)), (3, None), (3, (2.0, 1.0, 1.0))]
)
def test_soft_offsets_become_the_instances(ndim: int, spacing) -> None:
    labels = nuclei(ndim, spacing)
    offsets, foreground = soft_maps(labels, spacing)
    _, result = decoded(offsets, foreground, spacing, 3)
    (match,) = singula.match(labels, result, (0.5,))
    assert match.f1 >= 0.95, match


@pytest.mark.parametrize(("ndim", "spacing"), [(2, None), (3, (2.0, 1.0, 1.0))])
def test_exact_offsets_give_the_exact_instances(ndim: int, spacing) -> None:
    labels = nuclei(ndim, spacing)
    codes = "ZVH"[3 - ndim :]
    options = {code: {"norm": False} for code in codes}
    maps = singula.encode(labels, "+".join(["F", *codes]), spacing=spacing, options=options)
    offsets = offsets_in_pixels([maps[code] for code in codes], spacing)
    _, result = decoded(offsets, maps["F"] > 0, spacing, 1)
    pairs = np.unique(np.stack([labels.ravel(), result.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(labels)) == len(np.unique(result))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("ndim", "spacing"), [(2, None), (3, (2.0, 1.0, 1.0))])
def test_blocks_give_the_centers_and_labels_of_the_image(ndim: int, spacing, seed: int) -> None:
    labels = nuclei(ndim, spacing)
    offsets, foreground = soft_maps(labels, spacing)
    centers, whole = decoded(offsets, foreground, spacing, 3)
    rng = np.random.default_rng(seed)
    cuts = [sorted({0, *rng.integers(1, size, 2).tolist(), size}) for size in labels.shape]
    cores = list(product(*([slice(a, b) for a, b in pairwise(cut)] for cut in cuts)))
    parts = []
    for core in cores:
        at, part = [side.start for side in core], np.ascontiguousarray(offsets[:, *core])
        parts.append(cast_votes(part, foreground[core], spacing, at, labels.shape))
    rng.shuffle(parts)
    merged = find_centers(merge_votes(parts), labels.shape, 3, SHARE, spacing)
    np.testing.assert_array_equal(merged.positions, centers.positions)
    np.testing.assert_array_equal(merged.lengths, centers.lengths)
    for core in cores:
        at, part = [side.start for side in core], np.ascontiguousarray(offsets[:, *core])
        joined = join_centers(part, foreground[core], centers, spacing, at)
        np.testing.assert_array_equal(joined, whole[core])


def test_tiles_give_the_centers_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    offsets, foreground = soft_maps(nuclei(2), None)
    votes = cast_votes(offsets, foreground)
    expected = find_centers(votes, foreground.shape, 3, SHARE)
    monkeypatch.setitem(algorithm._TILE, 2, 7)
    monkeypatch.setattr(algorithm, "_PIXELS_AT_ONCE", 1000)
    result = find_centers(cast_votes(offsets, foreground), foreground.shape, 3, SHARE)
    np.testing.assert_array_equal(result.positions, expected.positions)
    np.testing.assert_array_equal(result.lengths, expected.lengths)


def test_pixels_that_point_nowhere_near_a_center_stay_background() -> None:
    offsets = np.zeros((2, 20, 60), np.float32)
    offsets[:, 5:12, 5:12] = np.indices((7, 7)) - 3
    foreground = np.zeros((20, 60), bool)
    foreground[5:12, 5:12] = foreground[8, 50] = True
    centers = Centers(np.array([[8, 8]]), np.array([3.0]))
    labels = join_centers(offsets, foreground, centers)
    assert (labels[5:12, 5:12] == 1).all()
    assert labels[8, 50] == 0


def test_pixels_join_a_center_up_to_one_pixel_beyond_twice_its_mean_offset() -> None:
    foreground = np.ones((1, 40), bool)
    centers = Centers(np.array([[0, 0]]), np.array([4.0]))
    labels = join_centers(np.zeros((2, 1, 40), np.float32), foreground, centers)
    assert np.flatnonzero(labels).tolist() == list(range(2 * 4 + 1 + 1))


def test_large_offsets_and_empty_images_are_allowed() -> None:
    offsets = np.full((2, 6, 7), -1e30, np.float32)
    foreground = np.ones((6, 7), bool)
    votes = cast_votes(offsets, foreground)
    assert (votes.places.tolist(), votes.counts.tolist()) == ([41], [42])
    centers, labels = decoded(offsets, np.zeros_like(foreground), None, 3)
    assert len(centers.positions) == 0
    assert not labels.any()
