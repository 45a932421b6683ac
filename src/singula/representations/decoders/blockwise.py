"""Block-wise decoding, with the same instances as the whole image.

Seeds of blocks that touch across a face are joined. The flood can depend on distant pixels. A block
is therefore flooded with a halo and with one additional marker, *the unknown*, on all pixels
through which a label could enter from outside.

No label from outside can arrive earlier than this marker: the turn of a pixel depends on its height
and then on its arrival, and both only grow along a path. Each pixel that the unknown does not win
therefore has the same label in the flood of the whole image. The halo has to be larger only for the
other pixels. See ``docs/internals/blockwise.md`` for the proof.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from singula.errors import UserError
from singula.representations.base import DecodePlan, Decoder, Maps
from singula.representations.decoders.components import inside, label_seeds
from singula.representations.decoders.flood import flood_in_place
from singula.representations.decoders.morphology import labels_at_border, look_up
from singula.representations.watershed import Term, Watershed, masks
from singula.util.arguments import instance
from singula.util.boxes import Box, grown, local, pixels_in, shape_of

ReadMaps = Callable[[Box], Maps]
ReadSeeds = Callable[[Box], np.ndarray]


def block_decoder(decoder: Decoder) -> Decoder:
    """Return the decoder of a configuration, if it gives the same instances in blocks.

    Parameters
    ----------
    decoder : Decoder

    Raises
    ------
    UserError
        ``decode.not_in_blocks``: it does not.
    """
    if decoder.supports_blocks:
        return decoder
    raise UserError(
        f"DATA_CHANNELS: got {decoder.name}, whose decoder needs whole images, expected other "
        "channels, such as BC, to decode in blocks",
        "set TEST.BY_CHUNKS.ENABLE: False, or divide images that are larger than the memory",
        "decode.not_in_blocks",
    )


@dataclass(frozen=True)
class SeedPart:
    """The seeds of one block.

    Parameters
    ----------
    labels : ndarray of int32
        Numbers from 1 in the order of the first pixels, within the block only.
    first : ndarray of int64, shape (count,)
        Position of the first pixel of each seed in the flat image.
    pixels : ndarray of int64, shape (count,)
        Number of pixels of each seed.
    extent : ndarray of int64, shape (count, ndim)
        Sides of the bounding box of each seed.
    at_border : ndarray of bool, shape (count,)
        True if the seed touches the border of the image.
    alive : bool
        True if anything can grow in the block.
    """

    labels: np.ndarray
    first: np.ndarray
    pixels: np.ndarray
    extent: np.ndarray
    at_border: np.ndarray
    alive: bool


@dataclass(frozen=True)
class FloodedPart:
    """The instances of one block.

    Parameters
    ----------
    labels : ndarray of unsigned int
        Ids of the seeds; 0 is background.
    n_uncertain : int
        Number of pixels that a label from outside of the largest halo could have reached.
    halo : tuple of int
        The largest halo that was needed.
    """

    labels: np.ndarray
    n_uncertain: int
    halo: tuple[int, ...]


def nothing_grows(plan: DecodePlan, counts: Mapping[str, np.ndarray]) -> bool:
    """Return True if the histograms of a part of the image exclude seeds and growth.

    Parameters
    ----------
    plan : DecodePlan
    counts : mapping of str to ndarray
        Result of `histogram` for all pixels within `DecodePlan.reach` of the part.
    """
    decoder, limits, settings = _watershed(plan), plan.thresholds, plan.settings
    bounds = {name: bounds_of(count) for name, count in counts.items()}

    def highest(channel: str) -> float:
        return bounds[channel][1] if channel in bounds else math.inf

    def never(term: Term) -> bool:
        if term.above:
            return highest(term.channel) <= limits[term.key]
        return term.channel in bounds and bounds[term.channel][0] >= limits[term.key]

    if not decoder.growth or not any(never(term) for term in decoder.seeds):
        return False
    terms = decoder.growth_terms(into_contour=settings.grow_into_contour)
    if terms is None:
        whole = sum(highest(channel) for channel in ("B", "C") if channel in decoder.channels)
        return whole <= limits["TH_BINARY_MASK"]
    return any(never(term) for term in terms)


def _watershed(plan: DecodePlan) -> Watershed:
    return instance(plan.decoder, "decoder", Watershed)


def no_seeds(ndim: int) -> SeedPart:
    """Return the seeds of a block without seeds."""
    none = np.zeros(0, np.int64)
    return SeedPart(
        np.zeros((0,) * ndim, np.int32),
        none,
        none,
        np.zeros((0, ndim), np.int64),
        np.zeros(0, bool),
        False,
    )


def bounds_of(count: np.ndarray) -> tuple[float, float]:
    """Return bounds of the values in a histogram, whose outer bins include values beyond [0, 1]."""
    filled = np.flatnonzero(count)
    if not len(filled):
        return math.inf, -math.inf
    low, high = int(filled[0]), int(filled[-1]) + 1
    lowest = low / len(count) if low else -math.inf
    return lowest, high / len(count) if high < len(count) else math.inf


def seed_part(plan: DecodePlan, core: Box, shape: Sequence[int], read_maps: ReadMaps) -> SeedPart:
    """Find the seeds of a block.

    Parameters
    ----------
    plan : DecodePlan
    core : Box
        The block.
    shape : sequence of int
        Spatial shape of the image.
    read_maps : callable
        Return the maps by name of a box of the image.
    """
    from scipy.ndimage import find_objects

    outer = grown(core, plan.reach(len(shape)), shape)
    decoder = _watershed(plan)
    maps = decoder.prepare(read_maps(outer))
    seeds, foreground = masks(decoder, maps, plan.thresholds, plan.settings, plan.spacing)
    labels, count = label_seeds(np.ascontiguousarray(seeds[local(core, outer)]))
    labels = np.ascontiguousarray(inside(labels))
    # The numbers increase in the order of the first pixels.
    first = np.flatnonzero(np.diff(np.maximum.accumulate(labels.ravel()), prepend=0))
    pixels = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    boxes = find_objects(labels)
    extent = np.array([shape_of(box) for box in boxes], np.int64).reshape(count, len(shape))
    starts = [p + b.start for p, b in zip(np.unravel_index(first, labels.shape), core, strict=True)]
    first = np.ravel_multi_index(starts, tuple(shape)) if count else first
    alive = not decoder.growth or bool(foreground[local(core, outer)].any())
    at_border = np.zeros(count, bool)
    at_border[labels_at_border(labels, core, shape) - 1] = True
    return SeedPart(labels, first, pixels, extent, at_border, alive)


def flood_part(
    plan: DecodePlan,
    core: Box,
    shape: Sequence[int],
    read_maps: ReadMaps,
    read_seeds: ReadSeeds,
    *,
    halo: Sequence[int],
    max_pixels: int,
) -> FloodedPart:
    """Grow seeds over a block as in the whole image.

    Parameters
    ----------
    plan, core, shape, read_maps
        As for `seed_part`.
    read_seeds : callable
        Return the seeds of a box with the ids of the whole image, unsigned.
    halo : sequence of int
        First halo in pixels per axis; it is doubled where it is too small.
    max_pixels : int
        Maximum number of pixels of a box. If a larger halo would be needed, the labels with the
        largest halo are used, and their pixels counted in `FloodedPart.n_uncertain`.
    """
    whole = tuple(slice(0, size) for size in shape)
    result: np.ndarray | None = None
    uncertain = np.ones(shape_of(core), bool)
    todo, used = core, tuple(max(1, h) for h in halo)
    while True:
        domain = grown(todo, used, shape)
        larger = grown(todo, [2 * h for h in used], shape)
        last = domain == whole or pixels_in(larger) > max_pixels
        labels, exact = _flood_box(plan, domain, todo, shape, read_maps, read_seeds)
        if result is None:
            result = np.zeros(shape_of(core), labels.dtype)
        place = local(todo, core)
        new = uncertain[place] & exact
        result[place][new] = labels[new]
        uncertain[place][exact] = False
        n_uncertain = int(np.count_nonzero(uncertain))
        if n_uncertain == 0 or last:
            break
        todo, used = _bounds(uncertain, core), tuple(2 * h for h in used)
    if n_uncertain:
        todo = _bounds(uncertain, core)
        domain = grown(todo, used, shape)
        labels, _ = _flood_box(plan, domain, todo, shape, read_maps, read_seeds, prove=False)
        place = local(todo, core)
        np.copyto(result[place], labels, where=uncertain[place])
    return FloodedPart(result, n_uncertain, used)


def _flood_box(
    plan: DecodePlan,
    domain: Box,
    kept: Box,
    shape: Sequence[int],
    read_maps: ReadMaps,
    read_seeds: ReadSeeds,
    *,
    prove: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Return labels of a part of a flooded box, and a mask of the exact ones."""
    decoder, settings = _watershed(plan), plan.settings
    outer = grown(domain, plan.reach(len(shape)), shape)
    maps = decoder.prepare(read_maps(outer))
    _, foreground = masks(decoder, maps, plan.thresholds, settings, plan.spacing)
    part = local(domain, outer)
    foreground = np.ascontiguousarray(foreground[part])
    surface = np.ascontiguousarray(maps[decoder.surface][part])
    del maps
    ids, numbers = _few_numbers(read_seeds(domain))
    labels = np.zeros([size + 2 for size in ids.shape], np.int32)
    image = inside(labels)
    image[...] = ids
    background, unknown = len(numbers), len(numbers) + 1
    if decoder.background is not None:
        image[~foreground & (image == 0)] = background
    if prove:
        for face in _cut_faces(domain, shape, by_slices=settings.by_2d_slices):
            layer = image[face]
            free = layer == 0
            if decoder.growth:
                free &= foreground[face]
            layer[free] = unknown
    flood_in_place(
        surface,
        labels,
        foreground if decoder.growth else None,
        downhill=decoder.downhill,
        by_slices=settings.by_2d_slices,
    )
    inner = np.ascontiguousarray(inside(labels)[local(kept, domain)])
    table = np.concatenate([numbers, np.zeros(2, numbers.dtype)])
    result = np.empty(inner.shape, numbers.dtype)
    look_up(inner, table, result)
    return result, inner != unknown


def _few_numbers(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an image of numbers without gaps, and the id of each number."""
    import fastremap

    image, numbering = fastremap.renumber(ids, preserve_zero=True, in_place=False)
    new = np.fromiter(numbering.values(), np.int64)
    numbers = np.zeros(int(new.max(initial=0)) + 1, ids.dtype)
    numbers[new] = np.fromiter(numbering.keys(), ids.dtype)
    return image, numbers


def _cut_faces(domain: Box, shape: Sequence[int], *, by_slices: bool) -> list[tuple[Any, ...]]:
    """Return the faces of a box that are not faces of the image."""
    faces: list[tuple[Any, ...]] = []
    for axis, (part, size) in enumerate(zip(domain, shape, strict=True)):
        if by_slices and axis == 0 and len(shape) == 3:
            continue
        before = (slice(None),) * axis
        if part.start > 0:
            faces.append((*before, slice(0, 1)))
        if part.stop < size:
            faces.append((*before, slice(-1, None)))
    return faces


def _bounds(mask: np.ndarray, core: Box) -> Box:
    """Return the bounding box of a mask of `core`, in image coordinates."""
    box = []
    for axis, part in enumerate(core):
        others = tuple(a for a in range(mask.ndim) if a != axis)
        filled = np.flatnonzero(mask.any(axis=others))
        box.append(slice(part.start + int(filled[0]), part.start + int(filled[-1]) + 1))
    return tuple(box)
