"""Tiles chosen for speed that give the map of the whole image.

The image with a margin around it is the *canvas*. A network that sees the whole canvas at once
gives the map that is wanted. Windows of one size, all within the canvas, give the same one where
each pixel is taken from a window whose edges are out of its reach or are the canvas's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from math import ceil, inf, prod

from singula.data.patches import Tile

# Pixels in a window at most: beyond it a forward pass takes more memory and no less time per pixel.
_LARGEST = {2: 1_400_000, 3: 4_000_000}
# On a GPU larger ones leave nothing to be read or written meanwhile; in 3D halos weigh more.
_LARGEST_ON_GPU = {2: 5_000_000, 3: 16_000_000}
# And float32 convolutions are slower where the widest features, twice the finest level's channels,
# take more than 2³¹ bytes.
_VALUES_ON_GPU = 2**31 // (4 * 2)
# What a forward pass may take, and what it takes per pixel and channel of the finest level
_BYTES = 4 * 2**30
_BYTES_PER_VALUE = 70
# A halo that makes the network see more pixels than the canvas has, by this factor, is cut down.
_WORTH = 2.5
# The same of blocks, as long as it is not wider than that of the whole image's windows
_WORTH_AS_WHOLE = {2: inf, 3: 10.0}
_SHARES = (1.0, 0.75, 0.5, 0.375, 0.25, 0.125, 0.0)
_MOST_WINDOWS = 256  # along an axis


@dataclass(frozen=True)
class Windows:
    """Windows of one size on the canvas of an image.

    Parameters
    ----------
    patch : tuple of int
        Spatial shape of a window; a multiple of `multiple`.
    margin : tuple of int
        Pixels around the image that belong to the canvas. At its end the canvas is filled up to the
        multiple.
    halo : tuple of int
        Pixels at a window's edge within the canvas that are seen but not kept; multiples of
        `multiple`.
    multiple : tuple of int
        The network's downsampling: its pooling grid lies the same way in each window.
    """

    patch: tuple[int, ...]
    margin: tuple[int, ...]
    halo: tuple[int, ...]
    multiple: tuple[int, ...]

    def tiles(self, shape: Sequence[int]) -> Iterator[Tile]:
        """All windows for an image of this spatial shape, in row-major order."""
        axes = [
            list(_along(*values))
            for values in zip(shape, self.patch, self.margin, self.halo, self.multiple, strict=True)
        ]
        for windows in product(*axes):
            yield Tile(
                tuple(begin for begin, _, _ in windows),
                tuple(slice(first - begin, stop - begin) for begin, first, stop in windows),
                tuple(slice(first, stop) for _, first, stop in windows),
            )

    def count(self, shape: Sequence[int]) -> int:
        """Number of windows for an image of this spatial shape."""
        return sum(1 for _ in self.tiles(shape))


def _canvas(size: int, margin: int, multiple: int) -> int:
    return ceil((size + 2 * margin) / multiple) * multiple


def _along(
    size: int, length: int, margin: int, halo: int, multiple: int
) -> Iterator[tuple[int, int, int]]:
    """(begin of a window, first kept pixel, end of the kept pixels), in pixels of the image."""
    canvas = _canvas(size, margin, multiple)
    if length >= canvas:
        yield -margin, 0, size
        return
    count = ceil((canvas - 2 * halo) / (length - 2 * halo))
    step = (canvas - length) / (count - 1) / multiple
    begins = [round(step * i) * multiple - margin for i in range(count)]
    # Two windows share at least two halos; the cut in the middle is one away from either edge.
    cuts = [(one + length + two) // 2 for one, two in pairwise(begins)]
    for begin, first, stop in zip(begins, [-margin, *cuts], [*cuts, size], strict=True):
        first, stop = max(first, 0), min(stop, size)
        if first < stop:
            yield begin, first, stop


def largest_window(
    ndim: int, width: int, *, sparing: bool = False, memory: int | None = None
) -> int:
    """How many pixels a window may have.

    Parameters
    ----------
    ndim : {2, 3}
    width : int
        Channels of the network's finest level.
    sparing : bool
        Take a quarter of the memory.
    memory : int, optional
        Free bytes of a GPU, of which four fifths are used.
    """
    largest, usable = _LARGEST[ndim], _BYTES
    if memory is not None:
        largest = min(_LARGEST_ON_GPU[ndim], _VALUES_ON_GPU // max(1, width))
        usable = memory * 4 // 5
    most = min(largest, pixels_within(usable, width))
    return most // 4 if sparing else most


def pixels_within(memory: int, width: int) -> int:
    """Pixels that a forward pass may have in so many bytes; `width` as for `largest_window`."""
    return memory // (_BYTES_PER_VALUE * max(1, width))


def fast_windows(
    shape: Sequence[int],
    margin: Sequence[int],
    reach: Sequence[int],
    multiple: Sequence[int],
    least: Sequence[int],
    largest: int,
) -> Windows | None:
    """The windows of at most `largest` pixels with which the network sees the fewest pixels.

    The halo is what the network reaches. Where that is too dear, as in volumes, it is less, but
    never less than the margin; and windows are never smaller than the patches of the training.

    Parameters
    ----------
    shape : sequence of int
        Spatial shape of the image.
    margin : sequence of int
        Pixels around the image that are seen.
    reach : sequence of int
        How far an input pixel influences the output.
    multiple : sequence of int
        The network's downsampling.
    least : sequence of int
        Sides that a window has at least, unless the canvas is smaller.
    largest : int
        Pixels that a window has at most.

    Returns
    -------
    Windows or None
        None when no window is small enough.
    """
    canvas = [_canvas(*values) for values in zip(shape, margin, multiple, strict=True)]
    best = None
    for share in _SHARES:
        halo = tuple(
            ceil(max(m, share * r) / step) * step
            for m, r, step in zip(margin, reach, multiple, strict=True)
        )
        found = _with_halo(canvas, halo, multiple, least, largest)
        if found is None:
            continue
        seen, windows = found
        best = replace(windows, margin=tuple(margin))
        if seen <= _WORTH * prod(canvas):
            break
    return best


def block_halo(
    shape: Sequence[int],
    block: Sequence[int],
    whole: Sequence[int],
    margin: Sequence[int],
    reach: Sequence[int],
    multiple: Sequence[int],
    least: Sequence[int],
    largest: int,
) -> tuple[int, ...] | None:
    """What a block of a large image is predicted together with, on each of its sides.

    As in `fast_windows` it is what the network reaches, and less where that is too dear. But blocks
    are smaller than images, and to be as good: so the halo of the image's windows is kept, in 2D
    whatever it costs, in 3D up to ten times the pixels of the block.

    Parameters
    ----------
    shape, block : sequence of int
        Spatial shapes of the image and of a block.
    whole : sequence of int
        Halo of the windows that the image would have in memory.
    margin, reach, multiple, least, largest
        As for `fast_windows`.

    Returns
    -------
    tuple of int or None
        None when no window is small enough.
    """
    canvas = [_canvas(*values) for values in zip(shape, margin, multiple, strict=True)]
    best = None
    for share in _SHARES:
        halo = tuple(
            ceil(max(m, share * r) / step) * step
            for m, r, step in zip(margin, reach, multiple, strict=True)
        )
        region = [
            min(ceil(b / s) * s + 2 * h, most)
            for b, h, s, most in zip(block, halo, multiple, canvas, strict=True)
        ]
        found = _with_halo(region, halo, multiple, least, largest)
        if found is None:
            continue
        best = halo
        as_whole = all(h <= w for h, w in zip(halo, whole, strict=True))
        worth = _WORTH_AS_WHOLE[len(block)] if as_whole else _WORTH
        if found[0] <= worth * prod(block):
            break
    return best


def region_windows(
    region: Sequence[int],
    halo: Sequence[int],
    multiple: Sequence[int],
    least: Sequence[int],
    largest: int,
) -> Windows | None:
    """The windows with this very halo, and no margin, with which the network sees fewest pixels."""
    found = _with_halo(region, halo, multiple, least, largest)
    return None if found is None else found[1]


def _with_halo(
    canvas: Sequence[int],
    halo: Sequence[int],
    multiple: Sequence[int],
    least: Sequence[int],
    largest: int,
) -> tuple[int, Windows] | None:
    """Pixels that the windows of least pixels have together, and these windows, without margin."""
    axes = [
        [way for way in _choices(size, h, step) if way[1] >= min(size, low)]
        for size, h, step, low in zip(canvas, halo, multiple, least, strict=True)
    ]
    found = _fewest_pixels(axes, largest)
    if found is None:
        return None
    seen, patch = found
    return seen, Windows(patch, (0,) * len(patch), tuple(halo), tuple(multiple))


def _fewest_pixels(
    axes: Sequence[Sequence[tuple[int, int]]], largest: int
) -> tuple[int, tuple[int, ...]] | None:
    """Pixels that all windows have together, and the shape of one."""
    allowed = [
        (prod(count * length for count, length in way), prod(count for count, _ in way), way)
        for way in product(*axes)
        if prod(length for _, length in way) <= largest
    ]
    if not allowed:
        return None
    seen, _, way = min(allowed)
    return seen, tuple(length for _, length in way)


def _choices(canvas: int, halo: int, multiple: int) -> list[tuple[int, int]]:
    """(number of windows along an axis, their length): the shortest one for each number."""
    found = [(1, canvas)]
    for count in range(2, _MOST_WINDOWS):
        core = ceil((canvas - 2 * halo) / count / multiple) * multiple
        length = core + 2 * halo
        if core <= 0 or length >= canvas:
            break
        if length < found[-1][1]:
            found.append((ceil((canvas - 2 * halo) / core), length))
    return found
