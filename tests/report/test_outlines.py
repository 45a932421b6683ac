"""Outlines of the instances over an image."""

import numpy as np
import pytest
from skimage.segmentation import find_boundaries

from singula.report.outlines import contrasting_colors, draw_outlines, outline_width
from singula.report.overlay import to_gray


def disks(side: int, radius: int, step: int) -> np.ndarray:
    """Return a label image of disks in a grid, some of which touch each other."""
    y, x = np.mgrid[:side, :side]
    cells = (y // step) * (side // step + 1) + x // step + 1
    center = (step - 1) / 2
    return np.where(np.hypot(y % step - center, x % step - center) <= radius, cells, 0)


@pytest.mark.parametrize(
    "color",
    [(255, 255, 255), (0, 0, 0), (128, 128, 128), (130, 60, 170), (235, 140, 190), (200, 190, 220)],
)
def test_outlines_differ_from_the_image(color) -> None:
    labels = disks(120, 10, 20)
    plane = np.empty((120, 120, 3), np.uint8)
    plane[:] = color
    plane[:3], plane[-3:] = 0, 255  # the contrast is not stretched
    labels[:4] = labels[-4:] = 0
    drawn = draw_outlines(plane, labels).astype(int)
    outline = find_boundaries(labels, 1, "inner")
    assert np.abs(drawn - plane)[outline].max(axis=-1).min() > 100
    inside = (labels > 0) & ~outline
    np.testing.assert_array_equal(drawn[inside], plane[inside])
    rim = find_boundaries(labels > 0, 1, "outer")
    np.testing.assert_array_equal(drawn[rim], plane[rim] // 4)
    rest = (labels == 0) & ~rim
    np.testing.assert_array_equal(drawn[rest], plane[rest])


def test_outlines_of_stained_tissue_are_neither_blue_nor_violet() -> None:
    rng = np.random.default_rng(0)
    nuclei = rng.normal((90, 50, 150), 25, (5000, 3))
    stroma = rng.normal((215, 170, 220), 20, (5000, 3))
    pixels = np.concatenate([nuclei, stroma]).clip(0, 255).astype(np.uint8)
    assert (contrasting_colors(pixels)[:, 1] > 140).all()


def test_the_width_grows_with_the_picture_but_not_in_small_instances() -> None:
    assert outline_width(disks(300, 20, 50)) == 1
    assert outline_width(disks(2000, 20, 50)) == 3
    assert outline_width(disks(2000, 9, 20)) == 2
    assert outline_width(disks(2000, 3, 20)) == 1
    assert outline_width(np.zeros((2000, 2000), int)) == 1
    labels = disks(1500, 20, 50)
    drawn = draw_outlines(np.full((1500, 1500, 1), 7, np.uint8), labels)
    colored = np.ptp(drawn.astype(int), axis=-1) > 0
    assert not colored[labels == 0].any()
    first = find_boundaries(labels, 1, "inner")
    second = find_boundaries(np.where(first, 0, labels), 1, "inner")
    np.testing.assert_array_equal(colored, first | second)


def test_a_plane_without_instances_is_unchanged() -> None:
    plane = np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8)
    drawn = draw_outlines(plane, np.zeros((40, 50), np.uint8))
    np.testing.assert_array_equal(drawn, to_gray(plane))
