"""Outlines of instances in colors that contrast with the image."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from singula.report.overlay import Rgb, to_gray
from singula.util.arguments import label_image

Array = npt.NDArray[Any]
# Yellow, cyan, green, orange and magenta are bright and differ in hue.
_COLORS = np.array(
    [(255, 225, 25), (0, 225, 255), (110, 255, 70), (255, 150, 30), (255, 80, 225)], np.uint8
)
_WEIGHTS = np.array((2, 4, 3), np.float32)  # of red, green and blue in the difference of colors
_CONTRAST = 0.82  # lowest contrast of a color, relative to the color with the highest one
_MAX_PIXELS = 200_000  # pixels along the outlines that are compared with the colors
_SIDE = 700  # pixels of the picture for each pixel of the width of an outline
_DIAMETER = 8  # minimum of the median diameter of the instances, relative to the width
_RIM = 0.25  # brightness of the rim, relative to the image


def draw_outlines(plane: Array, labels: Array) -> Rgb:
    """Draw the outlines of instances over an image plane, with a dark rim around each instance.

    Of five bright colors, those are used whose contrast with the image along the outlines is
    highest. The width of the outlines grows with the size of the plane.

    Parameters
    ----------
    plane : ndarray
        Image plane (y, x, c).
    labels : ndarray of int
        Label image (y, x); 0 is the background.

    Returns
    -------
    ndarray of uint8, shape (y, x, 3)
    """
    from singula.labels.index import index_labels
    from singula.representations.channels import find_contour

    index, _ = index_labels(label_image(labels))
    inside, width = index > 0, outline_width(index)
    outline = find_contour(index, "inner")
    near = outline | find_contour(index, "outer")
    for _ in range(1, width):
        outline |= find_contour(np.where(outline, 0, index), "inner")
    dilated = inside
    for _ in range(1 + width // 3):
        dilated = dilated | find_contour(dilated.astype(np.uint8), "outer")
    rim = dilated & ~inside
    picture: Rgb = np.array(to_gray(plane))
    colors = contrasting_colors(picture[near])
    picture[rim] = (_RIM * picture[rim]).astype(np.uint8)
    picture[outline] = colors[index[outline] % len(colors)]
    return picture


def outline_width(index: Array) -> int:
    """Return the width of outlines in pixels: wider in large pictures, narrow in small instances.

    Parameters
    ----------
    index : ndarray of int
        Label image (y, x) with consecutive ids.
    """
    areas = np.bincount(index.ravel())[1:]
    areas = areas[areas > 0]
    if not len(areas):
        return 1
    diameter = 2 * float(np.sqrt(np.median(areas) / np.pi))
    width: int = max(1, min(round(max(index.shape) / _SIDE), int(diameter / _DIAMETER)))
    return width


def contrasting_colors(pixels: Rgb) -> Rgb:
    """Return the bright colors that differ most from three quarters of the pixels.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (n, 3)
        Colors of the image.

    Returns
    -------
    ndarray of uint8, shape (m, 3)
        At least one color.
    """
    if not len(pixels):
        return _COLORS[:1]
    sample = pixels[:: -(-len(pixels) // _MAX_PIXELS)].astype(np.float32)
    contrasts = np.array(
        [
            np.percentile(np.square(sample - color) @ _WEIGHTS, 25) ** 0.5
            for color in _COLORS.astype(np.float32)
        ]
    )
    chosen: Rgb = _COLORS[contrasts >= _CONTRAST * contrasts.max()]
    return chosen
