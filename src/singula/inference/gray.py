"""Images of one channel that were saved in color: gray, or in a single color."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from singula.errors import UserError
from singula.io.formats.table import format_of
from singula.io.image import ArrayPlace, Header, Image
from singula.io.label_values import shades
from singula.io.lazy import open_image
from singula.io.read import read_image
from singula.util.boxes import boxes

_BOX = 2048  # pixels along each axis that are read at once


def is_color(header: Header) -> bool:
    """Return True if the header describes a picture in color: red, green, blue.

    Parameters
    ----------
    header : Header
        Header of the image. Without axes, a last axis of 3 or 4 bytes is read as colors.
    """
    if header.palette is not None:
        return shades(header.palette).ndim > 1
    if header.axes is None:
        has_three = sum(size > 1 for size in header.shape) == 3
        return has_three and header.shape[-1] in (3, 4) and header.dtype == np.uint8
    samples = dict(zip(header.axes, header.shape, strict=True)).get("S", 1)
    return samples - header.alpha >= 3


def is_gray(path: Path, place: ArrayPlace | None) -> bool:
    """Return True if a picture in color shows a single channel.

    The channel may be gray, as red, green and blue are equal at each pixel, or have a false color,
    such as blue for DAPI: the other colors are 0. Whole slides are not read.
    """
    kind = format_of(path)
    if kind is not None and kind.slide:
        return False
    try:
        shown_color(path, 2, place)
    except UserError:
        return False
    return True


def shown_color(path: Path, ndim: int, place: ArrayPlace | None) -> int:
    """Return the number of the color that equals the only channel of a picture in color.

    The picture is read in boxes until two colors differ; see `is_gray`.

    Parameters
    ----------
    path, ndim, place
        As for `read_gray`.

    Raises
    ------
    UserError
        As `read_gray`.
    """
    image = open_image(path, ndim, arrays=place)
    is_used = np.zeros(image.channels, bool)
    is_equal = np.ones((image.channels, image.channels), bool)
    for box in boxes(image.spatial_shape, (_BOX,) * ndim):
        colors = image.read(box).reshape(-1, image.channels)
        is_used |= colors.any(axis=0)
        for first, second in combinations(range(image.channels), 2):
            if is_equal[first, second]:
                is_equal[first, second] = np.array_equal(colors[:, first], colors[:, second])
        if not is_equal[np.triu(np.outer(is_used, is_used), 1)].all():
            raise _in_color(path)
    return int(np.argmax(is_used))


def read_gray(path: Path, ndim: int, place: ArrayPlace | None) -> Image:
    """Read the channel that a picture in color shows, see `is_gray`.

    Parameters
    ----------
    path : Path
        Image file of a picture in color.
    ndim : {2, 3}
        Number of spatial axes.
    place : ArrayPlace, optional
        Selection of one of several arrays, images or time points.

    Raises
    ------
    UserError
        ``predict.image_shape``: the picture shows several channels; the codes of `read_image`.
    """
    number = shown_color(path, ndim, place)
    image = read_image(path, ndim, arrays=place)
    return replace(image, array=np.ascontiguousarray(image.array[..., number, None]))


def _in_color(path: Path) -> UserError:
    return UserError(
        f"{path}: got a color image, expected a gray image for this model",
        "use a model for stained images (--model nuclei_he), or select a color with --channel R, G "
        "or B",
        "predict.image_shape",
    )
