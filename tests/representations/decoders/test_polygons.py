"""Polygons compared with StarDist's functions, whole and divided, and with drawn cells."""

from __future__ import annotations

import sys
from itertools import product

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial import ConvexHull

import singula
from singula.errors import UserError
from singula.metrics import match
from singula.representations.channels import encode
from singula.representations.channels.rays import encode_rays
from singula.representations.channels.source import EncodeSettings, Source
from singula.representations.decoders.polygons import (
    Polygons,
    draw_polygons,
    find_candidates,
    join_polygons,
    suppress_overlaps,
    thin_candidates,
)
from singula.representations.decoders.polyhedra import suppress_polyhedra
from singula.representations.polygons import PolygonDecoder
from singula.representations.table import find_decoder
from singula.util.boxes import Box, boxes

COUNTS = {2: 32, 3: 24}


def maps_of(
    labels: np.ndarray, spacing: tuple[float, ...] | None, *, soft: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability and the rays of labels, blurred and noisy if `soft`."""
    rng = np.random.default_rng(0)
    rays = encode_rays(Source(labels, EncodeSettings(spacing=spacing)), COUNTS[labels.ndim])
    probability = encode(labels, ("Db",), spacing=spacing)["Db"]
    if soft:
        sigma = [0.7 / s for s in spacing or (1.0,) * labels.ndim]
        rays = np.stack([gaussian_filter(ray, sigma) for ray in rays])
        rays += rng.normal(0, 0.3, rays.shape).astype(np.float32)
        probability = gaussian_filter(probability, sigma)
        probability += rng.normal(0, 0.02, labels.shape).astype(np.float32)
    return probability, rays


def whole(shape: tuple[int, ...]) -> Box:
    return tuple(slice(0, size) for size in shape)


def touching_cells(shape: tuple[int, ...], spacing: tuple[float, ...], radius: float) -> np.ndarray:
    """Return round cells on a grid, which are cut where they touch, and so are convex."""
    pitch = [1.8 * radius / s for s in spacing]
    axes = [np.arange(0.55 * p, n, p) for n, p in zip(shape, pitch, strict=True)]
    centers = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(shape))
    centers += np.random.default_rng(1).uniform(-1, 1, centers.shape) / spacing
    physical = np.moveaxis(np.indices(shape), 0, -1) * spacing
    distance = np.stack([np.linalg.norm(physical - c * spacing, axis=-1) for c in centers])
    return np.where(distance.min(axis=0) < radius, 1000 * (distance.argmin(axis=0) + 1), 0)


@pytest.fixture(scope="module", params=[2, 3])
def soft_scene(request):
    """Return labels, spacing, probability and rays; slices are twice as thick as pixels."""
    pytest.importorskip("stardist")
    if request.param == 2:
        spacing = (1.0, 1.0)
        labels = touching_cells((96, 110), spacing, 11.0)
    else:
        spacing = (2.0, 1.0, 1.0)
        labels = touching_cells((13, 32, 34), spacing, 8.0)
    return labels, spacing, *maps_of(labels, spacing)


def test_drawn_cells_are_recovered(soft_scene) -> None:
    labels, spacing, probability, rays = soft_scene
    candidates = find_candidates(probability, list(rays), 0.5)
    polygons = suppress_overlaps(candidates, labels.shape, 0.4, spacing)
    decoded = draw_polygons(polygons, whole(labels.shape), spacing)
    assert match(labels, decoded, 0.5).f1 >= 0.95


def test_parts_give_the_same_pixels(soft_scene) -> None:
    labels, spacing, probability, rays = soft_scene
    shape = labels.shape
    once = suppress_overlaps(find_candidates(probability, list(rays), 0.4), shape, 0.4, spacing)
    expected = draw_polygons(once, whole(shape), spacing)
    tiles = list(boxes(shape, (9,) * len(shape)))
    np.random.default_rng(0).shuffle(tiles)
    parts = [
        find_candidates(probability[box], [ray[box] for ray in rays], 0.4, box) for box in tiles
    ]
    joined = join_polygons(parts, len(shape), len(rays))
    polygons = suppress_overlaps(joined, shape, 0.4, spacing)
    np.testing.assert_array_equal(polygons.points, once.points)
    np.testing.assert_array_equal(polygons.distances, once.distances)
    for box in tiles[:12]:
        np.testing.assert_array_equal(draw_polygons(polygons, box, spacing), expected[box])


def test_polyhedra_are_compared_by_all_common_voxels() -> None:
    rng, shape = np.random.default_rng(0), (46, 12, 26)
    directions = np.array(list(product((-3, 3), (-1, 1), (-1, 1)))) + rng.normal(0, 0.1, (8, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    faces = ConvexHull(directions).simplices
    bases = np.linalg.inv(directions[faces].transpose(0, 2, 1))
    outcomes = set()
    for _ in range(30):
        # Two open toward each other: their points are far apart, also if they overlap.
        first, step = rng.integers(10, 16), rng.integers(14, 28)
        points = np.array([[first, 5, 5], [first + step, 5, 5], [2, 5, 19]])
        is_forward = directions[:, 0] * np.array([[1], [-1], [1]]) > 0
        distances = np.where(is_forward, 13, 2) + rng.random((3, 8))
        masks = [np.zeros(shape, bool).ravel() for _ in points]
        for point, lengths, mask in zip(points, distances, masks, strict=True):
            voxels = np.indices(shape).reshape(3, -1) - point[:, None]
            for base, corners in zip(bases, faces, strict=True):
                parts = base @ voxels
                mask |= (parts.min(axis=0) >= 0) & ((parts.T / lengths[corners]).sum(axis=1) <= 1)
        one, two, _ = masks
        separate = (one & two).sum() <= 0.1 * min(one.sum(), two.sum())
        survives = suppress_polyhedra(points, distances.astype(np.float32), directions, faces, 0.1)
        assert survives.tolist() == [True, separate, True]
        outcomes.add(bool(separate))
    assert outcomes == {True, False}


def test_equals_stardist(soft_scene) -> None:
    """Ranks are scores without ties, so that the order of StarDist is defined."""
    labels, spacing, probability, rays = soft_scene
    ranks = np.argsort(np.argsort(probability, axis=None), axis=None).reshape(labels.shape)
    probability = (ranks / labels.size).astype(np.float32)
    polygons = suppress_overlaps(
        find_candidates(probability, list(rays), 0.9), labels.shape, 0.4, spacing
    )
    decoded = draw_polygons(polygons, whole(labels.shape), spacing)
    from stardist import geometry, nms, rays3d

    distances = np.maximum(np.moveaxis(rays, 0, -1), 1e-3)
    if labels.ndim == 2:
        points, scores, dist = nms.non_maximum_suppression(
            distances, probability, b=0, nms_thresh=0.4, prob_thresh=0.9
        )
        expected = geometry.polygons_to_label(dist, points, labels.shape, prob=scores)
    else:
        golden = rays3d.Rays_GoldenSpiral(len(rays), anisotropy=spacing)
        points, scores, dist = nms.non_maximum_suppression_3d(
            distances, probability, golden, b=0, nms_thresh=0.4, prob_thresh=0.9
        )
        expected = geometry.polyhedron_to_label(
            dist, points, golden, labels.shape, prob=scores, verbose=False
        )
    np.testing.assert_array_equal(polygons.points, points)
    np.testing.assert_array_equal(polygons.scores, scores)
    # Coordinates relative to the center are rounded differently.
    assert np.mean(decoded != expected) < 1e-3


def test_thinned_candidates_describe_the_same_objects(soft_scene) -> None:
    labels, spacing, probability, rays = soft_scene
    candidates = find_candidates(probability, list(rays), 0.5)
    thinned = thin_candidates(candidates, labels.shape, spacing)
    assert len(thinned) < len(candidates) / 4
    decoded = [
        draw_polygons(
            suppress_overlaps(each, labels.shape, 0.4, spacing), whole(labels.shape), spacing
        )
        for each in (candidates, thinned)
    ]
    assert match(*decoded, 0.75).f1 >= 0.98


def test_the_best_of_similar_candidates_in_a_cell_remains() -> None:
    rng = np.random.default_rng(0)
    labels = touching_cells((9, 20, 22), (2.0, 1.0, 1.0), 5.0)
    rays = rng.uniform(0, 12, (16, *labels.shape)).astype(np.float32)
    candidates = find_candidates(rng.random(labels.shape, np.float32), list(rays), 0.3)
    levels = np.floor(np.log2(np.maximum(candidates.distances.mean(axis=1), 1))).astype(int)
    best: dict[tuple[int, ...], int] = {}
    for row, (point, level) in enumerate(zip(candidates.points, levels, strict=True)):
        sides = (max(1, 2**level // 2), 2**level, 2**level)
        cell = (level, *(point // sides).tolist())
        if cell not in best or candidates.scores[row] > candidates.scores[best[cell]]:
            best[cell] = row
    thinned = thin_candidates(candidates, labels.shape, (2.0, 1.0, 1.0))
    np.testing.assert_array_equal(thinned.points, candidates.points[sorted(best.values())])
    assert 0 < len(thinned) < len(candidates)


def test_central_pixels_are_preferred_where_the_probability_is_even() -> None:
    pytest.importorskip("stardist")
    labels = np.zeros((40, 60), np.uint8)
    labels[4:33, 8:52] = 1
    rays = list(encode_rays(Source(labels, EncodeSettings()), 32))
    candidates = find_candidates((labels > 0).astype(float), rays, 0.5, prefer_central=True)
    best = suppress_overlaps(candidates, labels.shape, 0.4).points[0]
    assert best[0] == 18
    assert 20 < best[1] < 40


def test_a_higher_score_wins_and_ties_are_in_raster_order() -> None:
    pytest.importorskip("stardist")
    points = np.array([[10, 14], [10, 10], [40, 40], [10, 12], [40, 42]])
    scores = np.array([0.6, 0.6, 0.7, 0.9, 0.7], np.float32)
    candidates = Polygons(points, scores, np.full((5, 32), 6, np.float32))
    polygons = suppress_overlaps(candidates, (50, 50), 0.4)
    assert polygons.points.tolist() == [[10, 12], [40, 40]]
    lenient = suppress_overlaps(candidates, (50, 50), 1.0)
    assert lenient.points.tolist() == [[10, 12], [40, 40], [40, 42], [10, 10], [10, 14]]
    drawn = draw_polygons(lenient, whole((50, 50)))
    assert [drawn[tuple(p)] for p in lenient.points] == [1, 2, 2, 1, 1]


@pytest.mark.parametrize("shape", [(20, 30), (8, 20, 30)])
def test_no_candidates_and_cut_polygons(shape: tuple[int, ...]) -> None:
    pytest.importorskip("stardist")
    ndim = len(shape)
    probability = np.zeros(shape, np.float16)
    rays = [np.full(shape, 5, np.float16)] * 16
    none = suppress_overlaps(find_candidates(probability, rays, 0.5), shape, 0.4)
    assert len(none) == 0
    assert not draw_polygons(none, whole(shape)).any()
    probability[(0,) * ndim] = 1
    at_corner = suppress_overlaps(find_candidates(probability, rays, 0.5), shape, 0.4)
    drawn = draw_polygons(at_corner, whole(shape))
    assert drawn[(3,) + (0,) * (ndim - 1)] == 1
    assert drawn[(7,) * ndim] == 0
    far = tuple(slice(size // 2, size) for size in shape)
    assert not draw_polygons(at_corner, far)[tuple(slice(4, None) for _ in shape)].any()


def test_rays_are_limited_in_length() -> None:
    rays = [np.array([[np.inf, -3.0]])] * 4
    candidates = find_candidates(np.ones((1, 2)), rays, 0.5, max_length=7)
    assert (candidates.distances[0] == 7).all()
    assert (candidates.distances[1] > 0).all()


def test_a_missing_package_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stardist", None)
    candidates = Polygons(np.zeros((1, 2), int), np.ones(1), np.ones((1, 32)))
    with pytest.raises(UserError) as error:
        suppress_overlaps(candidates, (4, 4), 0.4)
    assert error.value.code == "decode.library_missing"
    assert "stardist" in error.value.hint


@pytest.mark.parametrize("score", ["Db", "F", "P"])
def test_encoded_channels_decode_to_the_same_objects(score: str) -> None:
    pytest.importorskip("stardist")
    labels = touching_cells((50, 60), (1, 1), 9.0)
    maps = encode(labels, f"{score}+R")
    decoded = singula.decode(maps, f"{score}+R", thresholds={"REMOVE_SMALL_OBJ": 0})
    assert decoded.dtype == np.uint8
    assert np.unique(decoded).tolist() == list(range(int(decoded.max()) + 1))
    assert match(labels, decoded, 0.5).f1 == 1
    assert singula.decode(maps, f"{score}+R", thresholds={"REMOVE_SMALL_OBJ": 9999}).max() == 0


def test_small_objects_are_removed_with_any_setting_of_the_watershed() -> None:
    pytest.importorskip("stardist")
    labels = np.zeros((40, 60), int)
    labels[10:30, 5:25], labels[10:14, 40:44] = 1, 2
    maps = encode(labels, "Db+R8")
    for before in (False, True):
        keys = {"REMOVE_SMALL_OBJ": 30, "REMOVE_BEFORE_MW": before}
        assert singula.decode(maps, "Db+R8", thresholds=keys).max() == 1
    assert singula.decode(maps, "Db+R8", thresholds={"REMOVE_SMALL_OBJ": 5}).max() == 2
    assert singula.decode(maps, "Db+R8", probability_threshold=1).max() == 0


def test_volumes_have_their_usual_number_of_rays() -> None:
    pytest.importorskip("stardist")
    labels = touching_cells((9, 16, 16), (2, 1, 1), 7.0)
    maps = encode(labels, "Db+R", spacing=(2, 1, 1))
    assert len(maps) == 97
    assert match(labels, singula.decode(maps, "Db+R", spacing=(2, 1, 1)), 0.5).f1 == 1
    few = encode(labels, "Db+R3")
    with pytest.raises(UserError) as error:
        singula.decode(few, "Db+R3")
    assert error.value.code == "decode.few_rays"


def test_the_decoder_is_chosen_by_the_channels() -> None:
    decoder = find_decoder("C+R32+F")
    assert isinstance(decoder, PolygonDecoder)
    assert (decoder.score, len(decoder.rays), len(decoder.channels)) == ("F", 32, 34)
    assert decoder.threshold_names(into_contour=False) == ("TH_PROBABILITY", "TH_NMS")
    assert find_decoder("P+Db+R8").score == "Db"
    assert not isinstance(find_decoder("F+C+R32", method="watershed"), PolygonDecoder)
    for channels in ("R32", "C+R32", "F+C"):
        with pytest.raises(UserError) as error:
            find_decoder(channels, method="polygons")
        assert error.value.code == "decode.missing_channel"
