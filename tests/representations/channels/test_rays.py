"""Distances along rays compared with StarDist's and with a walk in Python."""

import numpy as np
import pytest

from singula.representations.channels import EncodeSettings, encode, rays
from singula.representations.channels.rays import encode_rays, ray_directions
from singula.representations.channels.source import Source

SPACINGS = [None, (2.0, 1.0, 1.0), (3.0, 0.5, 0.5), (0.4, 1.2, 1.2)]


def cells(shape: tuple[int, ...], seed: int = 0, count: int = 12) -> np.ndarray:
    """Return labeled blobs that touch each other and the border."""
    rng = np.random.default_rng(seed)
    grid = np.moveaxis(np.indices(shape), 0, -1).astype(float)
    centers = rng.uniform(0, shape, (count, len(shape)))
    distance = np.stack([np.linalg.norm(grid - center, axis=-1) for center in centers])
    radius = min(shape) / 3
    return np.where(distance.min(axis=0) < radius, distance.argmin(axis=0) + 1, 0)


def encoded(labels: np.ndarray, count: int, spacing: tuple[float, ...] | None = None) -> np.ndarray:
    return encode_rays(Source(labels, EncodeSettings(spacing=spacing)), count)


def walk(labels: np.ndarray, start: tuple[int, ...], direction: np.ndarray) -> float:
    """Return the length of a ray by steps of a pixel, as defined in the documentation."""
    offset = np.zeros(labels.ndim, np.float32)
    direction = direction.astype(np.float32)
    while True:
        offset += direction
        pixel = np.floor(np.array(start) + offset + np.float32(0.5)).astype(int)
        inside = ((pixel >= 0) & (pixel < labels.shape)).all()
        if not inside or labels[tuple(pixel)] != labels[start]:
            break
    if labels.ndim == 3:
        return float(np.linalg.norm(pixel - start))
    overshoot = 1 - 0.5 / np.abs(direction).max()
    return float(np.linalg.norm(offset - overshoot * direction))


@pytest.mark.parametrize("count", [4, 7, 32])
@pytest.mark.parametrize("shape", [(40, 53), (1, 30), (30, 1)])
def test_equals_stardist_in_2d(count: int, shape: tuple[int, ...]) -> None:
    geometry = pytest.importorskip("stardist.geometry")
    labels = cells(shape)
    expected = geometry.star_dist(labels.astype(np.uint16), count, mode="cpp")
    result = np.moveaxis(encoded(labels, count), 0, -1)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-4)


@pytest.mark.parametrize("count", [8, 96])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_equals_stardist_in_3d(count: int, spacing: tuple[float, ...] | None) -> None:
    stardist = pytest.importorskip("stardist")
    labels = cells((11, 20, 17))
    anisotropy = None if spacing is None else tuple(s / spacing[-1] for s in spacing)
    rays = stardist.Rays_GoldenSpiral(count, anisotropy=anisotropy)
    np.testing.assert_allclose(ray_directions(count, 3, spacing), rays.vertices, atol=1e-6)
    expected = stardist.star_dist3D(labels.astype(np.uint16), rays, mode="cpp")
    result = np.moveaxis(encoded(labels, count, spacing), 0, -1)
    # Rounding of a direction can move a ray that passes exactly between two voxels.
    assert np.mean(np.abs(result - expected) > 1e-4) < 1e-4


@pytest.mark.parametrize(
    ("shape", "spacing"), [((17, 23), None), ((7, 9, 8), None), ((7, 9, 8), (2.0, 1.0, 1.0))]
)
def test_equals_a_walk(shape: tuple[int, ...], spacing: tuple[float, ...] | None) -> None:
    labels = cells(shape, count=4)
    directions = ray_directions(9, len(shape), spacing)
    result = encoded(labels, 9, spacing)
    assert (result[:, labels == 0] == 0).all()
    pixels = [tuple(p) for p in np.argwhere(labels > 0)[::3]]
    expected = [[walk(labels, p, d) for d in directions] for p in pixels]
    np.testing.assert_allclose([result[(slice(None), *p)] for p in pixels], expected, atol=1e-4)


def test_planes_are_rays_of_all_settings() -> None:
    labels = cells((9, 12, 13), count=3)
    maps = encode(labels, "F+R12", spacing=(2.0, 1.0, 1.0))
    assert list(maps) == ["F", *(f"R12.{n}" for n in range(12))]
    expected = encoded(labels, 12, (2.0, 1.0, 1.0))
    np.testing.assert_array_equal([maps[f"R12.{n}"] for n in range(12)], expected)
    assert len(encode(labels[0], "R")) == 32
    assert len(encode(labels, "R")) == 96
    assert len(encode(labels, "R", options={"R": {"nrays": 5}})) == 5


def test_rays_do_not_change_with_the_order_of_y_and_x() -> None:
    straight, turned = (3.0, 0.5, 0.8), (3.0, 0.8, 0.5)
    np.testing.assert_array_equal(ray_directions(20, 3, straight), ray_directions(20, 3, turned))


def test_a_square_by_hand() -> None:
    labels = np.zeros((9, 9), int)
    labels[2:7, 2:7] = 300
    center = encoded(labels, 8)[:, 4, 4]
    np.testing.assert_allclose(center[::2], 2.5, atol=1e-6)
    # Four steps along the diagonal leave the square; the last one is shortened.
    np.testing.assert_allclose(center[1::2], 3 + 0.5 * np.sqrt(2), atol=1e-5)


def test_ids_do_not_matter_and_other_instances_end_rays() -> None:
    labels = cells((30, 40))
    renamed = np.where(labels > 0, labels.astype(np.uint64) + (1 << 40), 0)
    np.testing.assert_array_equal(encoded(renamed, 16), encoded(labels, 16))
    alone = np.where(labels == labels.max(), labels, 0)
    inside = labels == labels.max()
    np.testing.assert_array_equal(encoded(labels, 16)[:, inside], encoded(alone, 16)[:, inside])


@pytest.mark.parametrize("count", [4, 32])
def test_turned_images_have_turned_rays_in_2d(count: int) -> None:
    labels = cells((31, 31))
    rays = encoded(labels, count)
    turned = encoded(np.rot90(labels).copy(), count)
    # A quarter turn moves each direction by a quarter of the rays.
    expected = np.roll(np.rot90(rays, axes=(1, 2)), -count // 4, axis=0)
    assert np.mean(np.abs(turned - expected) > 1e-3) < 0.01


@pytest.mark.parametrize("shape", [(40, 53), (9, 20, 17)])
def test_a_box_has_the_rays_of_the_image(shape: tuple[int, ...]) -> None:
    labels, box = cells(shape), tuple(slice(n // 4, n - n // 5) for n in shape)
    result = encode_rays(Source(labels, EncodeSettings(), box=box), 12)
    np.testing.assert_array_equal(result[:, *box], encoded(labels, 12)[:, *box])
    result[:, *box] = 0
    assert not result.any()


@pytest.mark.parametrize("most_ids", [1 << 24, 0])
def test_large_objects_and_ids(most_ids: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The distance to the nearest other object is stored in 8 bits, next to the id."""
    monkeypatch.setattr(rays, "_MOST_IDS", most_ids)
    labels = np.full((620, 640), 700)
    labels[:, :9] = 701
    result = encoded(labels, 4)[:, 310, 309]
    np.testing.assert_allclose(result, [330.5, 309.5, 300.5, 310.5])


def test_empty_images() -> None:
    assert encoded(np.zeros((5, 6), int), 32).shape == (32, 5, 6)
    assert not encoded(np.zeros((3, 5, 6), int), 96).any()


def test_directions_are_unit_vectors_with_even_physical_angles() -> None:
    np.testing.assert_allclose(np.linalg.norm(ray_directions(32, 2), axis=1), 1)
    flat = ray_directions(96, 3, (4.0, 1.0, 1.0))
    np.testing.assert_allclose(np.linalg.norm(flat, axis=1), 1)
    physical = flat * (4.0, 1.0, 1.0)
    physical /= np.linalg.norm(physical, axis=1, keepdims=True)
    np.testing.assert_allclose(physical, ray_directions(96, 3), atol=1e-12)
