"""Spatial embeddings: encoder, soft maps of nuclei, a slow clustering, and errors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import singula
from singula.errors import UserError
from singula.representations.decoders.embedding import embed_pixels, find_clusters, label_clusters
from singula.representations.embedding import EmbeddingDecoder
from singula.representations.families import UNIT_RADIUS
from singula.representations.table import find_decoder
from singula.synthetic.fluorescence import Appearance, make_image


def nuclei(ndim: int, spacing: tuple[float, ...] | None = None) -> np.ndarray:
    shape = (120, 130) if ndim == 2 else (20, 56, 60)
    look = Appearance(radius=(6, 9), coverage=0.4, clustered=0.9)
    return make_image(shape, np.random.default_rng(5), spacing=spacing, appearance=look).labels


@pytest.mark.parametrize("mode", ["centroid", "medoid"])
@pytest.mark.parametrize(("ndim", "spacing"), [(2, None), (3, (2.0, 1.0, 1.0))])
def test_soft_embeddings_become_the_instances(ndim: int, spacing, mode: str) -> None:
    labels, rng = nuclei(ndim, spacing), np.random.default_rng(1)
    maps = singula.encode(labels, "E", spacing=spacing, options={"E": {"center_mode": mode}})
    assert list(maps) == [f"E{ndim}.{plane}" for plane in range(2 * ndim + 1)]
    soft = {}
    for number, (code, values) in enumerate(maps.items()):
        noise = 0.5 if number < ndim else 0.05
        blurred = gaussian_filter(values, 0.6)
        soft[code] = (blurred + rng.normal(0, noise, values.shape)).astype(np.float32)
    decoded = singula.decode(soft, "E", spacing=spacing)
    (match,) = singula.match(labels, decoded, (0.5,))
    assert match.f1 >= 0.95, match


@pytest.mark.parametrize("spacing", [None, (3.0, 1.0, 1.0)])
def test_offsets_lead_to_the_center_and_bandwidths_measure_the_extent(spacing) -> None:
    labels = np.zeros((9, 30, 40), np.uint8)
    labels[2:7, 4:20, 10:33], labels[8, 25, 3] = 1, 2
    maps = list(singula.encode(labels, "E", spacing=spacing).values())
    sizes = np.array(spacing or (1, 1, 1))
    at = np.argwhere(labels == 1)
    for axis in range(3):
        reached = at[:, axis] * sizes[axis] + maps[axis][labels == 1]
        np.testing.assert_allclose(reached, at[:, axis].mean() * sizes[axis], atol=1e-4)
        assert maps[axis][8, 25, 3] == 0
    radii = [UNIT_RADIUS * np.exp(maps[3 + axis][4, 10, 20]) for axis in range(3)]
    expected = 0.75 * np.sqrt(5) * at.std(axis=0) * sizes
    np.testing.assert_allclose(radii, expected, rtol=1e-5)
    assert ((maps[6] >= 0.7) == (labels > 0)).all()


def test_medoids_have_the_smallest_sum_of_distances() -> None:
    labels = nuclei(2)
    offsets = list(singula.encode(labels, "E", options={"E": {"center_mode": "medoid"}}).values())
    for label in np.unique(labels)[1:20]:
        at = np.argwhere(labels == label)
        center = at[0] + [offsets[0][tuple(at[0])], offsets[1][tuple(at[0])]]
        sums = np.sqrt(((at[:, None] - at[None]) ** 2).sum(-1)).sum(1)
        reached = np.sqrt(((at - center) ** 2).sum(-1)).sum()
        np.testing.assert_allclose(reached, sums.min(), rtol=1e-6)


def slowly_clustered(points, radii, seediness, foreground, seed) -> np.ndarray:
    """Return clusters by comparing each first pixel with all pixels."""
    labels, is_used = np.zeros(len(points), int), np.zeros(len(points), bool)
    for first in np.argsort(-seediness, kind="stable"):
        if is_used[first] or seediness[first] < seed or seediness[first] <= foreground:
            continue
        away = (((points - points[first]) / radii[first]) ** 2).sum(1)
        members = (away < 1) & (seediness > foreground)
        if 2 * (members & ~is_used).sum() > members.sum():
            labels[members] = labels.max() + 1
        is_used |= members
    return labels


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", [(40, 44), (8, 14, 15)])
def test_clusters_equal_those_of_all_comparisons(shape, seed: int) -> None:
    rng, ndim = np.random.default_rng(seed), len(shape)
    offsets = gaussian_filter(rng.normal(0, 6, (ndim, *shape)), (0, *(2,) * ndim)) * 5
    offsets = offsets.astype(np.float32)
    bandwidths = rng.normal(-0.5, 0.4, (ndim, *shape)).astype(np.float32)
    seediness = gaussian_filter(rng.random(shape), 1)
    whole = tuple(slice(0, side) for side in shape)
    pixels = embed_pixels(list(offsets), list(bandwidths), seediness, 0.4, whole, shape)
    labels = label_clusters(pixels, find_clusters(pixels, shape, 0.5), whole, shape)
    sides = np.array(shape).reshape(-1, *(1,) * ndim) - 1
    points = (np.indices(shape) + offsets).clip(0, sides).reshape(ndim, -1).T
    radii = UNIT_RADIUS * np.exp(bandwidths.reshape(ndim, -1).T.astype(float))
    strength = seediness.astype(np.float32).ravel()
    expected = slowly_clustered(points, radii, strength, 0.4, 0.5)
    np.testing.assert_array_equal(labels.ravel(), expected)
    assert labels.max() > 2


def test_the_decoder_is_chosen_and_refuses_other_axes() -> None:
    assert isinstance(find_decoder("E2"), EmbeddingDecoder)
    assert isinstance(find_decoder("F+E3"), EmbeddingDecoder)
    with pytest.raises(UserError) as error:
        find_decoder("F+C", method="embedding")
    assert error.value.code == "decode.missing_channel"
    with pytest.raises(UserError) as error:
        singula.encode(np.ones((4, 5), np.uint8), "E3")
    assert error.value.code == "channels.axes"
    empty = {code: np.zeros((5, 6), np.float32) for code in find_decoder("E2").channels}
    assert not singula.decode(empty, "E").any()
    with pytest.raises(UserError) as error:
        singula.decode({code: np.zeros((3, 5, 6)) for code in empty}, "E2")
    assert error.value.code == "arguments.shape"
