"""Drawn whole slides with stained nuclei: pyramidal Aperio SVS files of any size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.errors import UserError
from singula.io.atomic import atomic_path
from singula.util.boxes import Box, local, shared_box

PATTERN = 1024
"""Side of a repeated pattern of tissue, in pixels of the finest level."""
_TILE = 256
_LEVELS = (1, 4, 16)
_GLASS, _STROMA, _NUCLEUS = (243, 241, 244), (226, 172, 202), (92, 62, 142)
_N_PATTERNS = 4
_PER_PATTERN = 110  # nuclei of a pattern; more touch each other too often
_RADII = (12.0, 18.0)  # pixels: nuclei of 6 to 9 µm at 0.25 µm
_GAP = 4.0  # pixels between nuclei, at least
_MARGIN = 8.0  # pixels between a nucleus and the edge of the tissue, at least
_FADE = 8.0  # pixels on each side of the edge of the tissue in which it fades to glass
_THUMBNAIL = 1024


@dataclass(frozen=True, eq=False)
class SlideTruth:
    """Nuclei of a drawn slide.

    Parameters
    ----------
    centers : ndarray of float64, shape (n, 2)
        Centers (y, x), in pixels of the finest level; the first pixel covers 0 to 1.
    radii : ndarray of float64, shape (n, 2)
        Half axes along y and x, in pixels.
    tissue : float
        Share of the area with tissue.
    """

    centers: npt.NDArray[np.float64]
    radii: npt.NDArray[np.float64]
    tissue: float


@dataclass(frozen=True, eq=False)
class _Pattern:
    """Square of tissue: pixels with and without nuclei, index of the nucleus of each pixel."""

    pixels: npt.NDArray[np.uint8]
    stroma: npt.NDArray[np.uint8]
    index: npt.NDArray[np.uint16]
    centers: npt.NDArray[np.float64]
    radii: npt.NDArray[np.float64]


def make_slide(
    path: Path,
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    pieces: int = 6,
    tissue: float = 0.12,
    pixel_size: float | None = 0.25,
) -> SlideTruth:
    """Draw a slide and write it as SVS with JPEG tiles and levels of 1, 4 and 16.

    Tissue is elliptic, and filled with a few patterns that are repeated, so that only tiles are in
    memory. No nucleus is cut by the edge of the tissue.

    Parameters
    ----------
    path : Path
        File to write, ``NAME.svs``.
    shape : (int, int)
        Shape (y, x) of the finest level, multiples of 16 pixels.
    rng : numpy.random.Generator
        Source of randomness.
    pieces : int
        Number of pieces of tissue.
    tissue : float
        Approximate share of the area with tissue.
    pixel_size : float, optional
        Size of a pixel in µm; None: the file has none.

    Raises
    ------
    UserError
        ``synthetic.slide_shape``: a side is not a multiple of 16.
    """
    coarsest = _LEVELS[-1]
    if any(side < 1 or side % coarsest for side in shape):
        raise UserError(
            f"shape: got {shape}, expected multiples of {coarsest}, so that all levels show the "
            "same area",
            f"round each side to a multiple of {coarsest}",
            "synthetic.slide_shape",
        )
    canvas = _Canvas.of(shape, rng, pieces, tissue)
    title = "Aperio Image Library v12.0.15 \r\n"
    scan = "" if pixel_size is None else f"|MPP = {pixel_size}"
    size = f"{shape[1]}x{shape[0]}"
    options: dict[str, Any] = {
        "photometric": "rgb",
        "compression": "jpeg",
        "compressionargs": {"level": 90},
        "metadata": None,
    }
    import tifffile

    with atomic_path(path) as temporary, tifffile.TiffWriter(temporary, bigtiff=True) as file:
        for number, factor in enumerate(_LEVELS):
            level = tuple(side // factor for side in shape)
            text = f"{title}{size} [0,0 {size}] ({_TILE}x{_TILE})"
            text += f" -> {level[1]}x{level[0]} - " if number else ""
            file.write(
                canvas.tiles(factor),
                shape=(*level, 3),
                dtype=np.uint8,
                tile=(_TILE, _TILE),
                description=f"{text} JPEG/RGB Q=90|AppMag = 40{scan}",
                **options,
            )
            if number == 0:  # the second page of an SVS is the thumbnail
                file.write(canvas.thumbnail(), description=f"{title}thumbnail", rowsperstrip=16,
                           **options)  # fmt: skip
    return canvas.truth()


def slide_truth(
    shape: tuple[int, int], rng: np.random.Generator, *, pieces: int = 6, tissue: float = 0.12
) -> SlideTruth:
    """Return the nuclei of the slide that `make_slide` draws with the same arguments."""
    return _Canvas.of(shape, rng, pieces, tissue).truth()


@dataclass(frozen=True, eq=False)
class _Canvas:
    """Slide that is drawn in boxes.

    Parameters
    ----------
    shape : (int, int)
        Shape of the finest level, in pixels.
    patterns : list of _Pattern
        Squares of tissue.
    grid : ndarray of int
        Number of the pattern of each square of the slide.
    ellipses : ndarray of float64, shape (n, 4)
        Center (y, x) and half axes of each piece of tissue, in pixels.
    glass : ndarray of uint8, shape (side, side, 3)
        Glass with its noise.
    """

    shape: tuple[int, int]
    patterns: list[_Pattern]
    grid: npt.NDArray[np.int64]
    ellipses: npt.NDArray[np.float64]
    glass: npt.NDArray[np.uint8]

    @classmethod
    def of(
        cls, shape: tuple[int, int], rng: np.random.Generator, pieces: int, tissue: float
    ) -> _Canvas:
        counts = [-(-side // PATTERN) for side in shape]
        patterns = [_draw_pattern(rng) for _ in range(_N_PATTERNS)]
        columns = math.ceil(math.sqrt(pieces))
        cells = [np.array(shape) / (math.ceil(pieces / columns), columns)] * pieces
        ellipses = []
        for number, cell in enumerate(cells):
            place = np.array(divmod(number, columns))
            area = tissue * shape[0] * shape[1] / pieces / math.pi
            stretch = rng.uniform(0.8, 1.25)
            radii = np.minimum(math.sqrt(area) * np.array([stretch, 1 / stretch]), 0.45 * cell)
            center = (place + 0.5) * cell + rng.uniform(-0.9, 0.9, 2) * (0.48 * cell - radii)
            ellipses.append([*center, *radii])
        glass = rng.normal(_GLASS, 1.2, (PATTERN, PATTERN, 3)).clip(0, 255).astype(np.uint8)
        grid = rng.integers(0, len(patterns), counts)
        return cls(shape, patterns, grid, np.array(ellipses), glass)

    def tiles(self, factor: int) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield the tiles of a level, row by row; tiles at the border are smaller."""
        side = _TILE * factor
        glass = _reduced(self.glass, factor)
        glass = np.tile(glass, (max(1, _TILE // len(glass)),) * 2 + (1,))[:_TILE, :_TILE]
        for y in range(0, self.shape[0], side):
            for x in range(0, self.shape[1], side):
                height, width = min(side, self.shape[0] - y), min(side, self.shape[1] - x)
                if self._has_tissue(y, x, height, width):
                    yield _reduced(self.draw(y, x, height, width), factor)
                else:
                    yield glass[: height // factor, : width // factor]

    def thumbnail(self) -> npt.NDArray[np.uint8]:
        """Return the slide with its longer side reduced to about 1000 pixels."""
        factor = 16 * max(1, math.ceil(max(self.shape) / _THUMBNAIL / 16))
        side = factor * max(1, 2048 // factor)
        rows = []
        for y in range(0, self.shape[0] // factor * factor, side):
            parts = []
            for x in range(0, self.shape[1] // factor * factor, side):
                height, width = min(side, self.shape[0] - y), min(side, self.shape[1] - x)
                height, width = height // factor * factor, width // factor * factor
                if self._has_tissue(y, x, height, width):
                    parts.append(_reduced(self.draw(y, x, height, width), factor))
                else:
                    empty = (height // factor, width // factor, 3)
                    parts.append(np.broadcast_to(np.array(_GLASS, np.uint8), empty))
            rows.append(np.concatenate(parts, axis=1))
        return np.concatenate(rows)

    def _has_tissue(self, y: int, x: int, height: int, width: int) -> bool:
        low, high = np.array([y, x]), np.array([y + height, x + width])
        center, radii = self.ellipses[:, :2], self.ellipses[:, 2:]
        extent = radii + _FADE
        return bool(((center + extent > low) & (center - extent < high)).all(axis=1).any())

    def _inside(self, y: Any, x: Any, margin: float = 0.0) -> npt.NDArray[np.bool_]:
        """Return True for points in the tissue, at least `margin` pixels from its edge."""
        inside = np.zeros(np.broadcast_shapes(np.shape(y), np.shape(x)), bool)
        for cy, cx, ry, rx in self.ellipses:
            inside |= ((y - cy) / (ry - margin)) ** 2 + ((x - cx) / (rx - margin)) ** 2 < 1
        return inside

    def _opacity(self, y: Any, x: Any) -> npt.NDArray[np.float32]:
        """Return the opacity of the tissue: 1 inside, 0 for glass, and 0.5 at the edge.

        Microscopes show no sharp edges of tissue, and its edges are thin.
        """
        opacity = np.zeros(np.broadcast_shapes(np.shape(y), np.shape(x)), np.float32)
        for cy, cx, ry, rx in self.ellipses:
            distance = (1 - np.hypot((y - cy) / ry, (x - cx) / rx)) * min(ry, rx)
            np.maximum(opacity, (0.5 + distance / (2 * _FADE)).clip(0, 1), out=opacity)
        return opacity

    def draw(self, y: int, x: int, height: int, width: int) -> npt.NDArray[np.uint8]:
        """Draw a box of the finest level."""
        result = np.empty((height, width, 3), np.uint8)
        box = (slice(y, y + height), slice(x, x + width))
        for top in range(y // PATTERN * PATTERN, y + height, PATTERN):
            for left in range(x // PATTERN * PATTERN, x + width, PATTERN):
                square = (slice(top, top + PATTERN), slice(left, left + PATTERN))
                part = shared_box(box, square)
                result[local(part, box)] = self._square(top, left, part)
        return result

    def _square(self, top: int, left: int, box: Box) -> npt.NDArray[np.uint8]:
        """Draw a box of the square of a pattern that begins at (top, left)."""
        pattern = self.patterns[self.grid[top // PATTERN, left // PATTERN]]
        rows, columns = box
        part = (
            slice(rows.start - top, rows.stop - top),
            slice(columns.start - left, columns.stop - left),
        )
        y, x = (np.arange(side.start, side.stop) + 0.5 for side in box)
        opacity = self._opacity(y[:, None], x)[..., None]
        is_complete = np.append(False, self._complete(pattern, top, left))
        nuclei = is_complete[pattern.index[part]]
        tissue = np.where(nuclei[..., None], pattern.pixels[part], pattern.stroma[part])
        faded = tissue * opacity + self.glass[part] * (1 - opacity)
        pixels: npt.NDArray[np.uint8] = np.rint(faded).astype(np.uint8)
        return pixels

    def _complete(self, pattern: _Pattern, top: int, left: int) -> npt.NDArray[np.bool_]:
        """Return True for the nuclei of a square that lie completely in the tissue and slide."""
        center = pattern.centers + np.array([top, left])
        margin = _RADII[1] + _MARGIN
        is_whole = (center + margin < np.array(self.shape)).all(axis=1)
        inside = self._inside(center[:, 0], center[:, 1], margin)
        is_complete: npt.NDArray[np.bool_] = inside & is_whole
        return is_complete

    def truth(self) -> SlideTruth:
        """Return all nuclei of the slide."""
        centers, radii = [], []
        for place, number in np.ndenumerate(self.grid):
            pattern, corner = self.patterns[number], np.array(place) * PATTERN
            is_complete = self._complete(pattern, *corner.tolist())
            centers.append(pattern.centers[is_complete] + corner)
            radii.append(pattern.radii[is_complete])
        area = math.pi * self.ellipses[:, 2:].prod(axis=1).sum()
        share = float(area / (self.shape[0] * self.shape[1]))
        return SlideTruth(np.concatenate(centers), np.concatenate(radii), share)


def _draw_pattern(rng: np.random.Generator) -> _Pattern:
    """Draw a square of tissue with nuclei that do not touch each other or its edge."""
    from scipy.ndimage import gaussian_filter

    side, longest = PATTERN, _RADII[1]
    centers: list[npt.NDArray[np.float64]] = []
    while len(centers) < _PER_PATTERN:
        center = rng.uniform(longest + _GAP, side - longest - _GAP, 2)
        if all(np.hypot(*(center - other)) > 2 * longest + _GAP for other in centers):
            centers.append(center)
    radii = rng.uniform(*_RADII, (len(centers), 2))
    index = np.zeros((side, side), np.uint16)
    y, x = np.arange(side)[:, None] + 0.5, np.arange(side) + 0.5
    for number, ((cy, cx), (ry, rx)) in enumerate(zip(centers, radii, strict=True), 1):
        rows = slice(int(cy - ry), int(cy + ry) + 2)
        columns = slice(int(cx - rx), int(cx + rx) + 2)
        disk = ((y[rows] - cy) / ry) ** 2 + ((x[columns] - cx) / rx) ** 2 < 1
        index[rows, columns][disk] = number
    texture = gaussian_filter(rng.normal(0, 1, (side, side)), 6, mode="wrap")
    texture = 9 * texture[..., None] / texture.std()
    chromatin = 7 * gaussian_filter(rng.normal(0, 1, (side, side)), 1.5)[..., None] / 0.2
    stroma = (np.array(_STROMA) + texture + rng.normal(0, 2, (side, side, 3))).clip(0, 255)
    nuclei = (np.array(_NUCLEUS) + chromatin + rng.normal(0, 2, (side, side, 3))).clip(0, 255)
    pixels = np.where(index[..., None] > 0, nuclei, stroma).astype(np.uint8)
    return _Pattern(pixels, stroma.astype(np.uint8), index, np.array(centers), radii)


def _reduced(pixels: npt.NDArray[np.uint8], factor: int) -> npt.NDArray[np.uint8]:
    """Return the means of squares of pixels."""
    if factor == 1:
        return pixels
    height, width = pixels.shape[0] // factor, pixels.shape[1] // factor
    squares = pixels.reshape(height, factor, width, factor, 3)
    means: npt.NDArray[np.float32] = squares.astype(np.float32).mean(axis=(1, 3))
    return np.rint(means).astype(np.uint8)
