"""Decoding block by block, to the very instances that the whole image has.

Seeds of a block are those of the image once pieces that touch across a face have one number. The
flood is what reaches far. A block is therefore flooded together with a halo, and to the seeds one
more marker is added: *the unknown*, on all pixels through which something could flow in from
beyond the halo.

Whatever really flows in there does so no earlier than that marker: a pixel's turn is by its height,
then by when it was met, and both only grow along a path. Therefore each pixel that the unknown does
not win in this flood has the same label in the flood of the whole image, to the bit. Only for the
pixels that it does win the halo has to be larger.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from singula.boxes import Box, grown, local, pixels_in, shape_of
from singula.instances.decode import masks
from singula.instances.flood import flood_in_place, inside, label_seeds
from singula.instances.settings import DecodeSettings
from singula.instances.table import Decoder, Maps, Term
from singula.instances.watershed import labels_at_border, look_up

_STEPS = 2  # pixels that a growth mask looks around itself, at most

ReadMaps = Callable[[Box], Maps]
ReadSeeds = Callable[[Box], np.ndarray]


@dataclass(frozen=True)
class Recipe:
    """How maps become instances, the same for every block.

    Parameters
    ----------
    decoder : Decoder
    thresholds : mapping of str to float
        Those of the whole image.
    settings : DecodeSettings
    spacing : sequence of float, optional
        Pixel size per axis, for the morphology.
    """

    decoder: Decoder
    thresholds: Mapping[str, float]
    settings: DecodeSettings
    spacing: Sequence[float] | None = None

    def reach(self, ndim: int) -> tuple[int, ...]:
        """Pixels per axis around a box that its masks depend on."""
        settings = self.settings
        radius = sum(r for _, r in settings.seed_morph)
        radius += settings.fore_erosion + settings.fore_dilation
        sizes = (1.0,) * ndim if self.spacing is None else tuple(self.spacing)
        steps = len(settings.seed_morph) + 2 if radius else 0
        return tuple(math.ceil(radius * min(sizes) / size) + steps + _STEPS for size in sizes)


@dataclass(frozen=True)
class SeedPart:
    """The seeds of one block.

    Parameters
    ----------
    labels : ndarray of int32
        Numbered from 1 in order of their first pixel, within the block only.
    first : ndarray of int64, shape (count,)
        Place of the first pixel of each in the flat image.
    pixels : ndarray of int64, shape (count,)
    extent : ndarray of int64, shape (count, ndim)
        Sides of the bounding box.
    at_border : ndarray of bool, shape (count,)
        The seed touches the border of the image.
    alive : bool
        Whether anything can grow in the block.
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
        The seeds' ids, 0 the background.
    unproved : int
        Pixels that something beyond the largest halo could have reached.
    halo : tuple of int
        The largest halo that was needed.
    """

    labels: np.ndarray
    unproved: int
    halo: tuple[int, ...]


def nothing_grows(recipe: Recipe, counts: Mapping[str, np.ndarray]) -> bool:
    """Whether the histograms of a part of the image rule out seeds and growth.

    Parameters
    ----------
    recipe : Recipe
    counts : mapping of str to ndarray
        As `histogram` counts them, of all pixels within `Recipe.reach` of the part.
    """
    decoder, limits, settings = recipe.decoder, recipe.thresholds, recipe.settings
    bounds = {name: _bounds_of(count) for name, count in counts.items()}

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
        whole = sum(highest(channel) for channel in ("B", "C") if channel in decoder.needs)
        return whole <= limits["TH_BINARY_MASK"]
    return any(never(term) for term in terms)


def no_seeds(ndim: int) -> SeedPart:
    """What a block has in which nothing grows."""
    none = np.zeros(0, np.int64)
    return SeedPart(
        np.zeros((0,) * ndim, np.int32),
        none,
        none,
        np.zeros((0, ndim), np.int64),
        np.zeros(0, bool),
        False,
    )


def _bounds_of(count: np.ndarray) -> tuple[float, float]:
    """Between what the values of a histogram lie; what is beyond [0, 1] is in its last bins."""
    filled = np.flatnonzero(count)
    if not len(filled):
        return math.inf, -math.inf
    low, high = int(filled[0]), int(filled[-1]) + 1
    lowest = low / len(count) if low else -math.inf
    return lowest, high / len(count) if high < len(count) else math.inf


def seed_part(recipe: Recipe, core: Box, shape: Sequence[int], read_maps: ReadMaps) -> SeedPart:
    """Find the seeds of a block.

    Parameters
    ----------
    recipe : Recipe
    core : Box
        The block.
    shape : sequence of int
        Spatial shape of the image.
    read_maps : callable
        Maps by name of any box of the image.
    """
    from scipy.ndimage import find_objects

    outer = grown(core, recipe.reach(len(shape)), shape)
    seeds, foreground = masks(
        recipe.decoder, read_maps(outer), recipe.thresholds, recipe.settings, recipe.spacing
    )
    labels, count = label_seeds(np.ascontiguousarray(seeds[local(core, outer)]))
    labels = np.ascontiguousarray(inside(labels))
    # Numbers rise in the order of the first pixels.
    first = np.flatnonzero(np.diff(np.maximum.accumulate(labels.ravel()), prepend=0))
    pixels = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    boxes = find_objects(labels)
    extent = np.array([shape_of(box) for box in boxes], np.int64).reshape(count, len(shape))
    starts = [p + b.start for p, b in zip(np.unravel_index(first, labels.shape), core, strict=True)]
    first = np.ravel_multi_index(starts, tuple(shape)) if count else first
    alive = not recipe.decoder.growth or bool(foreground[local(core, outer)].any())
    at_border = np.zeros(count, bool)
    at_border[labels_at_border(labels, core, shape) - 1] = True
    return SeedPart(labels, first, pixels, extent, at_border, alive)


def flood_part(
    recipe: Recipe,
    core: Box,
    shape: Sequence[int],
    read_maps: ReadMaps,
    read_seeds: ReadSeeds,
    *,
    halo: Sequence[int],
    most: int,
) -> FloodedPart:
    """Let seeds grow over a block as they do over the whole image.

    Parameters
    ----------
    recipe, core, shape, read_maps
        As for `seed_part`.
    read_seeds : callable
        Seeds of any box, by numbers that are those of the whole image; unsigned.
    halo : sequence of int
        Pixels per axis to begin with. Where they do not suffice, they are doubled.
    most : int
        Pixels of a box that memory allows. Where the halo would have to be larger, what the
        largest one gives is taken, and counted in `FloodedPart.unproved`.
    """
    whole = tuple(slice(0, size) for size in shape)
    result: np.ndarray | None = None
    open_ = np.ones(shape_of(core), bool)
    todo, used = core, tuple(max(1, h) for h in halo)
    while True:
        domain = grown(todo, used, shape)
        larger = grown(todo, [2 * h for h in used], shape)
        last = domain == whole or pixels_in(larger) > most
        found, proved = _flood_box(recipe, domain, todo, shape, read_maps, read_seeds)
        if result is None:
            result = np.zeros(shape_of(core), found.dtype)
        place = local(todo, core)
        wanted = open_[place] & proved
        result[place][wanted] = found[wanted]
        open_[place][proved] = False
        left = int(np.count_nonzero(open_))
        if left == 0 or last:
            break
        todo, used = _bounds(open_, core), tuple(2 * h for h in used)
    if left:
        todo = _bounds(open_, core)
        domain = grown(todo, used, shape)
        found, _ = _flood_box(recipe, domain, todo, shape, read_maps, read_seeds, prove=False)
        place = local(todo, core)
        np.copyto(result[place], found, where=open_[place])
    return FloodedPart(result, left, used)


def _flood_box(
    recipe: Recipe,
    domain: Box,
    kept: Box,
    shape: Sequence[int],
    read_maps: ReadMaps,
    read_seeds: ReadSeeds,
    *,
    prove: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Labels of a part of a flooded box, and which of its pixels are as in the whole image."""
    decoder, settings = recipe.decoder, recipe.settings
    outer = grown(domain, recipe.reach(len(shape)), shape)
    maps = read_maps(outer)
    _, foreground = masks(decoder, maps, recipe.thresholds, settings, recipe.spacing)
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
        cut = _cut_faces(domain, shape, by_slices=settings.by_2d_slices)
        for face in cut:
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
    """An image of numbers from 0 without gaps, and the id of each."""
    import fastremap

    image, met = fastremap.renumber(ids, preserve_zero=True, in_place=False)
    new = np.fromiter(met.values(), np.int64)
    numbers = np.zeros(int(new.max(initial=0)) + 1, ids.dtype)
    numbers[new] = np.fromiter(met.keys(), ids.dtype)
    return image, numbers


def _cut_faces(domain: Box, shape: Sequence[int], *, by_slices: bool) -> list[tuple[Any, ...]]:
    """The outermost pixels on each side where the image goes on."""
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
    """The smallest box around the pixels of a mask, in the image that `core` is a box of."""
    found = []
    for axis, part in enumerate(core):
        others = tuple(a for a in range(mask.ndim) if a != axis)
        there = np.flatnonzero(mask.any(axis=others))
        found.append(slice(part.start + int(there[0]), part.start + int(there[-1]) + 1))
    return tuple(found)
