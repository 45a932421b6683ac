"""Headers, axes and pixels of images and labels, read once for facts and checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.errors import UserError
from singula.io.axes import Layout
from singula.io.geometry import geometry
from singula.io.image import ArrayPlace, Header
from singula.io.lazy import find_unannotated, open_image, open_labels
from singula.io.lazy_array import LazyArray, Pixels
from singula.io.pairing import Pair, shape_mismatch
from singula.io.read import image_layout, label_layout, read_header, read_image, read_labels
from singula.util.format import counted

MAX_PIXELS = 300_000_000  # larger images are not read completely
_FILES_TO_DECIDE = 5  # files of each part that decide between images and volumes
_MAX_CHANNELS = 16
_N_CROPS = 3  # crops of a large image along each axis


@dataclass(frozen=True, eq=False)
class Scan:
    """Header and axes of an image or a label image, whose pixels are read on request.

    Parameters
    ----------
    path : Path
        File.
    header : Header
        Header of the file.
    layout : Layout
        Axes and channels.
    arrays : ArrayPlace, optional
        Array in a container file.
    is_label : bool
        The file is a label image.
    """

    path: Path
    header: Header
    layout: Layout
    arrays: ArrayPlace | None = None
    is_label: bool = False

    @classmethod
    def of_image(cls, path: Path, ndim: int, arrays: ArrayPlace | None = None) -> Scan:
        """Read the header of an image with `ndim` spatial axes and any number of channels."""
        header = read_header(path, arrays)
        return cls(path, header, image_layout(path, header, ndim, None), arrays)

    @classmethod
    def of_labels(cls, path: Path, ndim: int, arrays: ArrayPlace | None = None) -> Scan:
        """Read the header of a label image with `ndim` spatial axes."""
        header = read_header(path, arrays, labels=True)
        return cls(path, header, label_layout(path, header, ndim, False), arrays, True)

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape, (y, x) or (z, y, x)."""
        return self.layout.spatial_shape

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.shape)

    @property
    def geometry(self) -> tuple[tuple[float, ...] | None, str | None]:
        """Voxel size, z first, and its unit."""
        return geometry(self.header, self.ndim)

    def pixels(self, max_pixels: int | None = None) -> Pixels:
        """Read the pixels, or open the file as a lazy array if the image is too large.

        Parameters
        ----------
        max_pixels : int, optional
            Maximum number of pixels that are read. Default: `MAX_PIXELS`.

        Returns
        -------
        ndarray or LazyArray, (y, x, c) or (z, y, x, c)

        Raises
        ------
        UserError
            As `read_image` or `read_labels`.
        """
        path, ndim, arrays, channels = self.path, self.ndim, self.arrays, self.layout.channels
        if prod(self.shape) > (MAX_PIXELS if max_pixels is None else max_pixels):
            if self.is_label:
                arrays = find_unannotated(path, ndim, arrays)
                return LazyArray.of(open_labels(path, ndim, channels == 2, arrays=arrays))
            return LazyArray.of(open_image(path, ndim, channels, arrays=arrays))
        if self.is_label:
            return read_labels(path, ndim, channels == 2, arrays=arrays).array
        return read_image(path, ndim, channels, arrays=arrays).array


def is_too_large(shape: Sequence[int]) -> bool:
    """Return True if images of this spatial shape are not read completely."""
    return prod(shape) > MAX_PIXELS


def read_crops(array: Pixels, sides: Sequence[int]) -> list[NDArray[Any]]:
    """Read crops with the given sides on a grid over an image, three along each axis."""
    starts = [
        sorted({(size - side) * number // (_N_CROPS - 1) for number in range(_N_CROPS)})
        for size, side in zip(array.shape, sides, strict=False)
    ]
    return [
        np.asarray(array[tuple(slice(s, s + n) for s, n in zip(start, sides, strict=True))])
        for start in product(*starts)
    ]


def scan_pair(pair: Pair, ndim: int) -> tuple[Scan, Scan | None]:
    """Read the headers of an image and its labels.

    Raises
    ------
    UserError
        ``data.shape_mismatch``: image and labels have different shapes. Also if a file cannot be
        read.
    """
    image = Scan.of_image(pair.image, ndim, pair.arrays)
    labels = None
    if pair.label is not None:
        labels = Scan.of_labels(pair.label, ndim, pair.label_arrays)
        if labels.shape != image.shape:
            raise shape_mismatch(pair, image.shape, labels.shape)
    return image, labels


def decide_ndim(parts: Iterable[Sequence[Pair]], *, majority: bool = False) -> int:
    """Return 2 if the files are images, 3 if they are volumes.

    The axes in a file decide. If they are unknown, the dimensions decide in which image and labels
    have the same shape.

    Parameters
    ----------
    parts : iterable of sequence of Pair
        Files of each part; only the headers of the first few are read.
    majority : bool
        Return what most files are, instead of raising an error if some are images and some volumes.

    Raises
    ------
    UserError
        ``data.mixed_dimensions``: some files are images and some are volumes; ``data.no_images``:
        there are no files. Also if no file can be read as an image or a volume.
    """
    pairs = [pair for part in parts for pair in part[:_FILES_TO_DECIDE]]
    votes: Counter[int] = Counter()
    last: UserError | None = None
    for pair in pairs:
        try:
            votes[_ndim_of(pair)] += 1
        except UserError as error:
            last = error
    if len(votes) > 1 and not majority:
        raise UserError(
            f"{pairs[0].image.parent}: some files are images (2D) and some volumes (3D)",
            "keep images and volumes in two data sets",
            "data.mixed_dimensions",
        )
    if not votes:
        raise last or UserError(
            "the data set has no images", "give a folder of images", "data.no_images"
        )
    return votes.most_common(1)[0][0]


def _ndim_of(pair: Pair) -> int:
    """Return the number of spatial dimensions of an image and its labels."""
    header = read_header(pair.image, pair.arrays)
    if header.axes is not None and header.palette is None and "Q" not in header.axes:
        return 3 if "Z" in header.axes else 2
    labels = None
    if pair.label is not None:
        labels = read_header(pair.label, pair.label_arrays, labels=True)
    if header.palette is not None:
        return 2
    problem: UserError | None = None
    for ndim in (2, 3):
        try:
            if _fits(pair, header, labels, ndim):
                return ndim
        except UserError as error:
            problem = problem or error
    raise problem or UserError(
        f"{pair.image}: got {header}, which does not match its labels {pair.label} ({labels})",
        "give each image labels of the same size",
        "data.shape_mismatch",
    )


def _fits(pair: Pair, header: Header, labels: Header | None, ndim: int) -> bool:
    """Return True if image and labels can both be read with this number of dimensions."""
    layout = image_layout(pair.image, header, ndim, None)
    if pair.label is None or labels is None:
        return layout.channels <= _MAX_CHANNELS
    label = label_layout(pair.label, labels, ndim, False)
    return label.spatial_shape == layout.spatial_shape


def count_notes(notes: Iterable[str]) -> list[str]:
    """Return each distinct note with the number of files that have it."""
    return [f"{note} ({counted(count, 'file')})" for note, count in Counter(notes).items()]
