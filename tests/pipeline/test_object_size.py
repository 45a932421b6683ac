"""Sizes of the training objects."""

import numpy as np
import pytest

from singula.pipeline.object_size import ObjectSizes


def squares(*sides: int, ndim: int = 2) -> np.ndarray:
    """Return a label image with squares or cubes of the given sides, apart from the border."""
    depth = max(sides) + 2
    labels = np.zeros((depth,) * (ndim - 1) + (sum(sides) + len(sides) + 1,), np.uint16)
    start = 1
    for number, side in enumerate(sides, 1):
        labels[(slice(1, 1 + side),) * (ndim - 1) + (slice(start, start + side),)] = number
        start += side + 1
    return labels


def diameter(side: float) -> float:
    return side * (4 / np.pi) ** 0.5


def test_the_size_is_the_median_over_objects_and_the_range_over_images() -> None:
    sizes = ObjectSizes()
    sizes.add(squares(3, 3, 3, 3), None, None)
    sizes.add(squares(10), None, None)
    sizes.add(np.zeros((5, 5), int), None, None)
    found = sizes.describe()
    assert found["object_size"] == pytest.approx([diameter(3)] * 2)
    spread = diameter(10) - diameter(3)
    low, high = diameter(3) + 0.05 * spread, diameter(3) + 0.95 * spread
    assert found["object_range"] == pytest.approx([low, high])
    assert "voxel_size" not in found


def test_images_without_objects_have_no_size() -> None:
    sizes = ObjectSizes()
    sizes.add(np.zeros((5, 5), int), (1.0, 1.0), "µm")
    assert sizes.describe() == {}


def test_the_size_of_anisotropic_volumes_is_by_axis() -> None:
    """A cube of 8 × 4 × 4 µm³ in voxels of 2 × 1 × 1 µm³."""
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[2:6, 2:6, 2:6] = 1
    sizes = ObjectSizes()
    sizes.add(labels, (2.0, 1.0, 1.0), "µm")
    z, y, x = sizes.describe()["object_size"]
    assert y == x == pytest.approx((6 / np.pi * 8 * 4 * 4) ** (1 / 3))
    assert z == pytest.approx(x / 2)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (((600.0, 600.0), "nm"), {"spacing": [0.55, 0.55], "unit": "µm"}),
        (((0.7, 0.7), "µm"), None),  # more than 25 % larger
        (((0.5, 0.5), None), None),  # an unknown unit
        ((None, None), None),
    ],
)
def test_the_voxel_size_needs_agreement(other: tuple, expected: dict | None) -> None:
    sizes = ObjectSizes()
    sizes.add(squares(3), (0.5, 0.5), "µm")
    sizes.add(squares(3), *other)
    found = sizes.describe().get("voxel_size")
    assert found == (pytest.approx(expected) if expected is None else expected)
