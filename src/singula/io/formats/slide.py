"""Read whole slides (SVS, NDPI, MRXS, SCN, BIF) at any resolution with OpenSlide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.io.formats.containers import library
from singula.io.image import AnyArray, ArrayPlace, Header, StoredArray
from singula.io.selection import choose_series
from singula.io.units import round_significant
from singula.util.boxes import Box, boxes

_CHUNK = 512
_STRIP = 1 << 24  # pixels of a level that are read at once
_TOLERANCE = 1.01  # a level may be this much coarser than requested
_PROPERTIES = {"y": "openslide.mpp-y", "x": "openslide.mpp-x"}
# A pixel of the tissue mask is this many pixels of the image, less than half a nucleus.
_MASK_STEP = 8
# Absorbance of tissue relative to glass, at least and at most: pale tissue absorbs 0.1.
_MIN_ABSORBANCE, _MAX_ABSORBANCE = 0.03, 0.08
_MIN_GLASS = 150  # darker images contain no glass
_MARGIN = 3  # pixels by which the tissue mask is dilated


@dataclass(frozen=True, eq=False)
class Slide:
    """An open slide.

    Pixels outside of the scanned bounds, which MRXS files declare, do not belong to the image.

    Parameters
    ----------
    source : openslide.OpenSlide
        The open file.
    origin, shape : (int, int)
        First pixel and shape (y, x) of the scanned bounds, in pixels of level 0.
    pixel_size : (float, float), optional
        Size (y, x) of a pixel of level 0 in µm; None if the file has none.
    downsamples : tuple of float
        Downsampling factor of each level, ascending.
    power : str
        Magnification of the objective; empty if the file has none.
    """

    source: Any
    origin: tuple[int, int]
    shape: tuple[int, int]
    pixel_size: tuple[float, float] | None
    downsamples: tuple[float, ...]
    power: str

    def level_for(self, downsample: float) -> int:
        """Return the coarsest level that is not coarser than a downsampling factor."""
        return level_for(self.downsamples, downsample)

    def scaled_shape(self, downsample: float) -> tuple[int, int]:
        """Return the shape (y, x) of the image at a downsampling factor, in pixels."""
        return scaled_shape(self.shape, downsample)

    def read(self, rows: range, columns: range, shape: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Read a box of the image at a resolution.

        Parameters
        ----------
        rows, columns : range
            Box, in pixels of the image at this resolution.
        shape : sequence of int
            Shape (y, x) of the whole image at this resolution.

        Returns
        -------
        ndarray of uint8, shape (y, x, 3)
            Red, green and blue. A pixel is the mean of the pixels of a level that it covers; its
            value does not depend on the box.
        """
        steps = [size / count for size, count in zip(self.shape, shape, strict=True)]
        level = self.level_for(min(steps))
        ratio = max(1.0, max(steps) / self.downsamples[level])
        height = max(1, int(_STRIP / (ratio**2 * max(1, len(columns)))))
        result = np.empty((len(rows), len(columns), 3), np.uint8)
        for start in range(0, len(rows), height):
            part = rows[start : start + height]
            result[start : start + len(part)] = self._strip(part, columns, steps, level)
        return result

    def _strip(
        self, rows: range, columns: range, steps: Sequence[float], level: int
    ) -> npt.NDArray[np.uint8]:
        factor, (width, height) = self.downsamples[level], self.source.level_dimensions[level]
        weights, firsts = [], []
        axes = zip((rows, columns), steps, self.origin, (height, width), strict=True)
        for pixels, step, origin, size in axes:
            first, matrix = mean_weights(pixels, step / factor, origin / factor, size)
            weights.append(matrix)
            firsts.append(first)
        along_y, along_x = weights
        region = self.source.read_region(
            (round(firsts[1] * factor), round(firsts[0] * factor)),
            level,
            (along_x.shape[1], along_y.shape[1]),
        )
        color = opaque(np.asarray(region), self.source.properties)
        if along_y.nnz == along_y.shape[0] and along_x.nnz == along_x.shape[0]:
            return color  # every pixel is one pixel of the level
        reduced = along_y @ color.reshape(len(color), -1).astype(np.float32)
        turned = reduced.reshape(len(rows), -1, 3).transpose(1, 0, 2)
        mean = along_x @ turned.reshape(len(turned), -1)
        result = np.rint(mean).astype(np.uint8).reshape(len(columns), len(rows), 3)
        return np.ascontiguousarray(result.transpose(1, 0, 2))


@dataclass(frozen=True, eq=False)
class Tissue:
    """Parts of a slide with tissue.

    Parameters
    ----------
    mask : ndarray of bool, shape (y, x)
        True for tissue, with a margin; the mask covers the whole image at a coarse resolution.
    glass : ndarray of uint8, shape (3,)
        Color of the glass.
    """

    mask: npt.NDArray[np.bool_]
    glass: npt.NDArray[np.uint8]

    @property
    def share(self) -> float:
        """Share of the area with tissue, including its margin."""
        return float(self.mask.mean())

    def within(self, rows: range, columns: range, shape: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Return the mask of a box of the image of a shape (y, x)."""
        places = [
            np.arange(pixels.start, pixels.stop) * count // size
            for pixels, count, size in zip((rows, columns), self.mask.shape, shape, strict=True)
        ]
        inside: npt.NDArray[np.bool_] = self.mask[places[0][:, None], places[1]]
        return inside


def open_slide(path: Path, place: ArrayPlace, labels: bool) -> StoredArray:
    """Open a slide at the resolution of a place, without reading its pixels.

    Parameters
    ----------
    path : Path
        Slide.
    place : ArrayPlace
        Downsampling factor, and whether glass is replaced by its mean color.
    labels : bool
        Not used.

    Raises
    ------
    UserError
        ``io.library_missing``: OpenSlide is not installed.
    ValueError
        OpenSlide does not recognize the file.
    """
    choose_series(path, place, [""])
    slide = read_slide(path)
    shape = slide.scaled_shape(place.downsample)

    def read(box: Box) -> AnyArray:
        rows, columns, samples = (
            range(*part.indices(size)) for part, size in zip(box, (*shape, 3), strict=True)
        )
        if not place.tissue_only:
            return slide.read(rows, columns, shape)[..., samples.start : samples.stop]
        tissue = find_tissue(path, place.downsample)
        result = np.empty((len(rows), len(columns), 3), np.uint8)
        result[:] = tissue.glass
        for part in boxes((len(rows), len(columns)), (_CHUNK, _CHUNK)):
            y, x = rows[part[0]], columns[part[1]]
            is_tissue = tissue.within(y, x, shape)
            if is_tissue.any():  # glass is not read
                result[part][is_tissue] = slide.read(y, x, shape)[is_tissue]
        return result[..., samples.start : samples.stop]

    return StoredArray(
        _header(slide, shape), (min(_CHUNK, shape[0]), min(_CHUNK, shape[1]), 3), read
    )


def _header(slide: Slide, shape: tuple[int, int]) -> Header:
    spacing = None
    if slide.pixel_size is not None:
        sizes = zip(slide.pixel_size, slide.shape, shape, strict=True)
        spacing = tuple(size * whole / count for size, whole, count in sizes)
    return Header(
        shape=(*shape, 3),
        dtype=np.dtype(np.uint8),
        axes="YXS",
        spacing=spacing,
        unit=None if spacing is None else "µm",
        source="the slide",
    )


def read_slide(path: Path) -> Slide:
    """Open a slide, and read its metadata; see `open_slide` for errors."""
    openslide = library("openslide", path, "whole slides", extra="slides")
    if openslide.OpenSlide.detect_format(path) is None:
        raise ValueError("OpenSlide does not recognize it as a slide")
    source = openslide.OpenSlide(path)
    properties, (width, height) = source.properties, source.dimensions
    bounds = [
        int(properties.get(f"openslide.bounds-{name}", default))
        for name, default in (("y", 0), ("x", 0), ("height", height), ("width", width))
    ]
    return Slide(
        source,
        (bounds[0], bounds[1]),
        (min(bounds[2], height - bounds[0]), min(bounds[3], width - bounds[1])),
        _pixel_size(properties),
        tuple(source.level_downsamples),
        properties.get("openslide.objective-power", ""),
    )


def _pixel_size(properties: Any) -> tuple[float, float] | None:
    """Return the size (y, x) of a pixel in µm; None if it is missing or not positive."""
    try:
        sizes = [round_significant(float(properties[_PROPERTIES[axis]]), 8) for axis in "yx"]
    except (KeyError, ValueError):
        return None
    return (sizes[0], sizes[1]) if all(0 < size < math.inf for size in sizes) else None


def level_for(downsamples: Sequence[float], downsample: float) -> int:
    """Return the coarsest level that is not coarser than a downsampling factor.

    Parameters
    ----------
    downsamples : sequence of float
        Downsampling factor of each level, ascending.
    downsample : float
        Downsampling factor of the image to read.
    """
    finer = [n for n, value in enumerate(downsamples) if value <= downsample * _TOLERANCE]
    return finer[-1] if finer else 0


def scaled_shape(shape: Sequence[int], downsample: float) -> tuple[int, int]:
    """Return the shape (y, x) of an image at a downsampling factor, at least one pixel."""
    height, width = (max(1, round(size / downsample)) for size in shape)
    return height, width


def mean_weights(pixels: range, step: float, origin: float, size: int) -> tuple[int, Any]:
    """Return the weights of stored pixels in the pixels of a resampled image, along an axis.

    A resampled pixel covers an interval of `step` stored pixels, or of one stored pixel if it is
    smaller. The weights are the shares of the interval: the mean for large steps, and linear
    interpolation for small ones.

    Parameters
    ----------
    pixels : range
        Resampled pixels.
    step : float
        Size of a resampled pixel, in stored pixels.
    origin : float
        Position of the resampled image, in stored pixels.
    size : int
        Number of stored pixels.

    Returns
    -------
    first : int
        First stored pixel with a weight.
    weights : scipy.sparse.csr_array of float32, shape (resampled, stored)
        Rows with the sum 1; the columns begin at `first`.
    """
    from scipy.sparse import csr_array

    center = origin + (np.arange(pixels.start, pixels.stop) + 0.5) * step
    half = max(step, 1.0) / 2
    low, high = np.clip(center - half, 0, size - 1), np.clip(center + half, 1, size)
    n_taps = math.ceil(2 * half) + 1
    taps = np.floor(low).astype(np.int64)[:, None] + np.arange(n_taps)
    shares = np.clip(np.minimum(taps + 1, high[:, None]) - np.maximum(taps, low[:, None]), 0, None)
    shares[shares < 1e-6] = 0  # of rounding
    shares /= shares.sum(1, keepdims=True)
    rows, columns = np.nonzero(shares)
    stored = taps[rows, columns]
    first, last = int(stored.min()), int(stored.max())
    weights = csr_array(
        (shares[rows, columns].astype(np.float32), (rows, stored - first)),
        shape=(len(pixels), last + 1 - first),
    )
    return first, weights


def opaque(region: npt.NDArray[np.uint8], properties: Any) -> npt.NDArray[np.uint8]:
    """Return the colors of a region over the background of the slide.

    Parameters
    ----------
    region : ndarray of uint8, shape (y, x, 4)
        Red, green, blue and opacity; pixels that were not scanned are transparent.
    properties : mapping
        Properties of the slide.
    """
    alpha = region[..., 3:]
    if alpha.min(initial=255) == 255:
        return np.ascontiguousarray(region[..., :3])
    code = properties.get("openslide.background-color", "FFFFFF")
    background = np.array([int(code[n : n + 2], 16) for n in (0, 2, 4)], np.float32)
    share = alpha.astype(np.float32) / 255
    return np.rint(region[..., :3] * share + background * (1 - share)).astype(np.uint8)


def find_tissue(path: Path, downsample: float) -> Tissue:
    """Find the tissue on a slide; the result of the last slides is cached.

    Parameters
    ----------
    path : Path
        Slide.
    downsample : float
        Downsampling factor of the image in which objects are predicted.
    """
    return _cached_tissue(path, path.stat().st_mtime_ns, downsample)


@lru_cache(maxsize=2)
def _cached_tissue(path: Path, modified: int, downsample: float) -> Tissue:
    slide = read_slide(path)
    shape = slide.scaled_shape(downsample * _MASK_STEP)
    return tissue_of(slide.read(range(shape[0]), range(shape[1]), shape))


def tissue_of(thumbnail: npt.NDArray[np.uint8]) -> Tissue:
    """Separate tissue from glass.

    A pixel is tissue if it absorbs more light than glass in a color. The threshold is that of Otsu
    (1979), limited so that pale tissue is included. Single pixels are removed, and the mask is
    dilated. An image that has no glass, or no tissue, is tissue as a whole.

    Parameters
    ----------
    thumbnail : ndarray of uint8, shape (y, x, 3)
        Slide at a coarse resolution.
    """
    from scipy.ndimage import binary_dilation, convolve
    from skimage.filters import threshold_otsu

    glass = np.array([_most_frequent_bright(thumbnail[..., c]) for c in range(3)], np.uint8)
    if glass.min() < _MIN_GLASS:
        return Tissue(np.ones(thumbnail.shape[:2], bool), glass)
    table = np.log((np.arange(256)[:, None] + 1.0) / (glass + 1.0)).astype(np.float32)
    absorbance = np.max([-table[thumbnail[..., c], c] for c in range(3)], axis=0)
    otsu: Any = threshold_otsu
    limit = float(np.clip(otsu(absorbance), _MIN_ABSORBANCE, _MAX_ABSORBANCE))
    mask = absorbance > limit
    neighbors = convolve(mask.astype(np.uint8), np.ones((3, 3), np.uint8), mode="constant")
    mask &= neighbors > 1
    if not mask.any():
        return Tissue(np.ones_like(mask), glass)
    side = 2 * _MARGIN + 1
    return Tissue(binary_dilation(mask, np.ones((side, side), bool)), glass)


def _most_frequent_bright(channel: npt.NDArray[np.uint8]) -> int:
    """Return the most frequent value in the brighter half of the range of values."""
    counts = np.bincount(channel.ravel(), minlength=256)
    occurring = np.flatnonzero(counts)
    middle = (int(occurring[0]) + int(occurring[-1]) + 1) // 2
    return middle + int(np.argmax(counts[middle:]))
