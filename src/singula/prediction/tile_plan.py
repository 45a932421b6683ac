"""Plan tiles that give the map of the whole image in the shortest time.

The image with a margin around it is the *canvas*. The tiles must give the map of one forward pass
over the whole canvas. Tiles of one size within the canvas give the same map if each pixel is taken
from a tile in which the edges are outside of its receptive field, or are edges of the canvas.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from math import ceil, inf, prod

from singula.data.patches import Tile

# Maximum pixels of a tile: larger tiles take more memory and no less time per pixel.
_MAX_PIXELS = {2: 1_400_000, 3: 4_000_000}
# The same times the channels of the finest level: narrow networks take larger tiles, which have
# fewer pixels in halos.
_MAX_VALUES = {2: 16 * 1_400_000, 3: 16 * 4_000_000}
# With larger tiles on a GPU, reading and writing do not overlap with computing.
_MAX_PIXELS_ON_GPU = {2: 5_000_000, 3: 16_000_000}
# Float32 convolutions are slower if the widest features, which have twice the channels of the
# finest level, take more than 2³¹ bytes.
_VALUES_ON_GPU = 2**31 // (4 * 2)
# Memory limit of a forward pass, and its memory per pixel and channel of the finest level
_BYTES = 4 * 2**30
_BYTES_PER_VALUE = 70
# The halo is reduced if the network would process more than this number of pixels per canvas pixel.
_MAX_OVERHEAD = 2.5
# The same for blocks whose halo is at most as wide as that of the tiles of the whole image
_MAX_OVERHEAD_AS_WHOLE = {2: inf, 3: 10.0}
# The same for blocks of volumes with the complete halo, in tiles as large as the memory allows
_MAX_OVERHEAD_COMPLETE = {2: 0.0, 3: 5.0}
# Libraries count the values of a layer, which has up to twice the channels of the finest level,
# in 32 bits.
_MAX_TENSOR = 2**31 // 2
_HALO_FRACTIONS = (1.0, 0.75, 0.5, 0.375, 0.25, 0.125, 0.0)
_MAX_TILES = 256  # along an axis


@dataclass(frozen=True)
class AlignedTiles:
    """Tiles of one size on the canvas of an image, aligned with the pooling grid.

    Parameters
    ----------
    patch : tuple of int
        Spatial shape of a tile; a multiple of `multiple`.
    margin : tuple of int
        Pixels around the image that belong to the canvas. The canvas is extended at its end to a
        multiple of `multiple`.
    halo : tuple of int
        Pixels at the edges of a tile within the canvas that are predicted but not used; multiples
        of `multiple`.
    multiple : tuple of int
        Downsampling of the network: the pooling grid has the same position in each tile.
    """

    patch: tuple[int, ...]
    margin: tuple[int, ...]
    halo: tuple[int, ...]
    multiple: tuple[int, ...]

    def tiles(self, shape: Sequence[int]) -> Iterator[Tile]:
        """Yield all tiles of an image with this spatial shape, in row-major order."""
        axes = [
            list(_tiles_along_axis(*values))
            for values in zip(shape, self.patch, self.margin, self.halo, self.multiple, strict=True)
        ]
        for windows in product(*axes):
            yield Tile(
                tuple(start for start, _, _ in windows),
                tuple(slice(first - start, stop - start) for start, first, stop in windows),
                tuple(slice(first, stop) for _, first, stop in windows),
            )

    def count(self, shape: Sequence[int]) -> int:
        """Return the number of tiles of an image with this spatial shape."""
        return sum(1 for _ in self.tiles(shape))


def _canvas(size: int, margin: int, multiple: int) -> int:
    return ceil((size + 2 * margin) / multiple) * multiple


def _tiles_along_axis(
    size: int, length: int, margin: int, halo: int, multiple: int
) -> Iterator[tuple[int, int, int]]:
    """Yield (start of a tile, first used pixel, end of the used pixels) in image coordinates."""
    canvas = _canvas(size, margin, multiple)
    if length >= canvas:
        yield -margin, 0, size
        return
    count = ceil((canvas - 2 * halo) / (length - 2 * halo))
    step = (canvas - length) / (count - 1) / multiple
    starts = [round(step * i) * multiple - margin for i in range(count)]
    # Two tiles overlap by at least two halos: the middle is at least one halo from either edge.
    cuts = [(start + length + following) // 2 for start, following in pairwise(starts)]
    for start, first, stop in zip(starts, [-margin, *cuts], [*cuts, size], strict=True):
        first, stop = max(first, 0), min(stop, size)
        if first < stop:
            yield start, first, stop


def max_tile_pixels(
    ndim: int, width: int, *, reduce_memory: bool = False, memory: int | None = None
) -> int:
    """Return the maximum number of pixels of a tile.

    Parameters
    ----------
    ndim : {2, 3}
        Number of spatial axes.
    width : int
        Channels of the finest level of the network per pixel of the image.
    reduce_memory : bool
        Use a quarter of the memory.
    memory : int, optional
        Free memory of a GPU in bytes, of which four fifths are used.
    """
    max_pixels, usable = max(_MAX_PIXELS[ndim], _MAX_VALUES[ndim] // max(1, width)), _BYTES
    if memory is not None:
        max_pixels = min(_MAX_PIXELS_ON_GPU[ndim], _VALUES_ON_GPU // max(1, width))
        usable = memory * 4 // 5
    pixels = min(max_pixels, pixels_within(usable, width))
    return pixels // 4 if reduce_memory else pixels


def pixels_within(memory: int, width: int) -> int:
    """Return the maximum number of pixels of a forward pass in this memory (bytes)."""
    return memory // (_BYTES_PER_VALUE * max(1, width))


def max_large_tile_pixels(memory: int, width: int) -> int:
    """Return the maximum number of pixels of a tile that needs a complete halo.

    Parameters
    ----------
    memory : int
        Bytes of memory for the network.
    width : int
        Channels of the finest level of the network.
    """
    return min(pixels_within(memory, width), _MAX_TENSOR // max(1, width))


def plan_tiles(
    shape: Sequence[int],
    margin: Sequence[int],
    reach: Sequence[int],
    multiple: Sequence[int],
    min_shape: Sequence[int],
    max_pixels: int,
) -> AlignedTiles | None:
    """Plan tiles of at most `max_pixels` with which the network processes the fewest pixels.

    The halo is the radius of the receptive field. If that is too expensive, as in volumes, the halo
    is reduced, but not below the margin.

    Parameters
    ----------
    shape : sequence of int
        Spatial shape of the image.
    margin : sequence of int
        Pixels around the image that belong to the canvas.
    reach : sequence of int
        Radius of the receptive field.
    multiple : sequence of int
        Downsampling of the network.
    min_shape : sequence of int
        Minimum shape of a tile, unless the canvas is smaller: that of the training patches.
    max_pixels : int
        Maximum number of pixels of a tile.

    Returns
    -------
    AlignedTiles or None
        None if no tile is small enough.
    """
    canvas = [_canvas(*values) for values in zip(shape, margin, multiple, strict=True)]
    best = None
    for halo in reduced_halos(margin, reach, multiple):
        plan = _plan_with_halo(canvas, halo, multiple, min_shape, max_pixels)
        if plan is None:
            continue
        total, tiles = plan
        best = replace(tiles, margin=tuple(margin))
        if total <= _MAX_OVERHEAD * prod(canvas):
            break
    return best


def block_halo(
    shape: Sequence[int],
    block: Sequence[int],
    whole: Sequence[int],
    margin: Sequence[int],
    reach: Sequence[int],
    multiple: Sequence[int],
    min_shape: Sequence[int],
    max_pixels: int,
    large_pixels: int = 0,
) -> tuple[int, ...] | None:
    """Return the halo with which a block of a large image is predicted.

    As in `plan_tiles`, it is the radius of the receptive field, reduced if that is too expensive.
    Blocks are smaller than images, but their maps must be as good. The halo is therefore not
    reduced below that of the tiles of the whole image: in 2D at any cost, in 3D as long as the
    network processes at most ten times the pixels of the block. The complete halo is used in 3D if
    it processes at most five times the pixels, in tiles of up to `large_pixels`.

    Parameters
    ----------
    shape, block : sequence of int
        Spatial shapes of the image and of a block.
    whole : sequence of int
        Halo of the tiles that the image would have in memory.
    margin, reach, multiple, min_shape, max_pixels
        As for `plan_tiles`.
    large_pixels : int
        Maximum number of pixels of a tile with a complete halo, if it is larger.

    Returns
    -------
    tuple of int or None
        None if no tile is small enough.
    """
    canvas = [_canvas(*values) for values in zip(shape, margin, multiple, strict=True)]
    best = None
    for number, halo in enumerate(reduced_halos(margin, reach, multiple)):
        region = [
            min(ceil(b / s) * s + 2 * h, limit)
            for b, h, s, limit in zip(block, halo, multiple, canvas, strict=True)
        ]
        is_complete = number == 0
        large = large_pixels if is_complete else 0
        plan = _plan_block(region, halo, multiple, min_shape, max_pixels, large, prod(block))
        if plan is None:
            continue
        best = halo
        as_whole = all(h <= w for h, w in zip(halo, whole, strict=True))
        overhead = _MAX_OVERHEAD_AS_WHOLE[len(block)] if as_whole else _MAX_OVERHEAD
        if is_complete:
            overhead = max(overhead, _MAX_OVERHEAD_COMPLETE[len(block)])
        if plan[0] <= overhead * prod(block):
            break
    return best


def reduced_halos(
    margin: Sequence[int], reach: Sequence[int], multiple: Sequence[int]
) -> Iterator[tuple[int, ...]]:
    """Yield the complete halo and then narrower ones, in pixels per axis; see `plan_tiles`."""
    for fraction in _HALO_FRACTIONS:
        yield tuple(
            ceil(max(m, fraction * r) / step) * step
            for m, r, step in zip(margin, reach, multiple, strict=True)
        )


def plan_region_tiles(
    region: Sequence[int],
    halo: Sequence[int],
    multiple: Sequence[int],
    min_shape: Sequence[int],
    max_pixels: int,
    large_pixels: int = 0,
    core_pixels: int = 0,
) -> AlignedTiles | None:
    """Plan tiles as `plan_tiles` does, with this halo and without a margin.

    Parameters
    ----------
    region, halo, multiple, min_shape, max_pixels
        As for `plan_tiles`.
    large_pixels : int
        As for `block_halo`.
    core_pixels : int
        Number of pixels of the region without its halo.
    """
    sizes = region, halo, multiple, min_shape, max_pixels
    plan = _plan_block(*sizes, large_pixels, core_pixels)
    return None if plan is None else plan[1]


def _plan_block(
    region: Sequence[int],
    halo: Sequence[int],
    multiple: Sequence[int],
    min_shape: Sequence[int],
    max_pixels: int,
    large_pixels: int,
    core_pixels: int,
) -> tuple[int, AlignedTiles] | None:
    """Return the cheapest tiling of a block; if it is expensive, with tiles of `large_pixels`."""
    plan = _plan_with_halo(region, halo, multiple, min_shape, max_pixels)
    is_expensive = plan is None or plan[0] > _MAX_OVERHEAD * core_pixels
    if is_expensive and large_pixels > max_pixels:
        return _plan_with_halo(region, halo, multiple, min_shape, large_pixels)
    return plan


def _plan_with_halo(
    canvas: Sequence[int],
    halo: Sequence[int],
    multiple: Sequence[int],
    min_shape: Sequence[int],
    max_pixels: int,
) -> tuple[int, AlignedTiles] | None:
    """Return the total pixels of the cheapest tiling, and its tiles without a margin."""
    axes = [
        [option for option in _tile_lengths(size, h, step) if option[1] >= min(size, low)]
        for size, h, step, low in zip(canvas, halo, multiple, min_shape, strict=True)
    ]
    cheapest = _fewest_pixels(axes, max_pixels)
    if cheapest is None:
        return None
    total, patch = cheapest
    return total, AlignedTiles(patch, (0,) * len(patch), tuple(halo), tuple(multiple))


def _fewest_pixels(
    axes: Sequence[Sequence[tuple[int, int]]], max_pixels: int
) -> tuple[int, tuple[int, ...]] | None:
    """Return the total pixels of the cheapest tiling, and the shape of its tiles."""
    allowed = [
        (
            prod(count * length for count, length in tiling),
            prod(count for count, _ in tiling),
            tiling,
        )
        for tiling in product(*axes)
        if prod(length for _, length in tiling) <= max_pixels
    ]
    if not allowed:
        return None
    total, _, tiling = min(allowed)
    return total, tuple(length for _, length in tiling)


def _tile_lengths(canvas: int, halo: int, multiple: int) -> list[tuple[int, int]]:
    """Return the shortest tile length along an axis for each number of tiles: (number, length)."""
    lengths = [(1, canvas)]
    for count in range(2, _MAX_TILES):
        core = ceil((canvas - 2 * halo) / count / multiple) * multiple
        length = core + 2 * halo
        if core <= 0 or length >= canvas:
            break
        if length < lengths[-1][1]:
            lengths.append((ceil((canvas - 2 * halo) / core), length))
    return lengths
