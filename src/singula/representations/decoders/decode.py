"""Decoding of channel maps: seeds, growth mask, watershed, removal of small objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from singula.errors import UserError, prediction_overflow
from singula.io.image import Spacing, check_spacing
from singula.io.label_values import native
from singula.representations.decoders.flood import flood_in_place, inside, label_seeds
from singula.representations.decoders.settings import DecodeSettings
from singula.representations.decoders.table import DECODERS, Decoder, Maps, Thresholds, all_of
from singula.representations.decoders.thresholds import (
    histogram,
    histogram_channels,
    resolve_thresholds,
)
from singula.representations.decoders.watershed import (
    compact_in_place,
    drop_small_in_place,
    morph,
    step,
)
from singula.util.arguments import as_array, choice, flag, function, instance

_RING = {"thick": 1, "inner": 1, "outer": 0, "dense": 2}
"""Width of the contour inside an object, in pixels."""


@dataclass(frozen=True)
class Parts:
    """Intermediate images of decoding, for display.

    Parameters
    ----------
    seeds : ndarray of uint32
        Labeled seeds before they grow, (y, x) or (z, y, x).
    foreground : ndarray of bool
        Growth mask, in the same shape.
    surface : ndarray
        Map that is flooded, in the same shape: ``Dv2`` from low to high, ``B`` from high to low.
    """

    seeds: np.ndarray
    foreground: np.ndarray
    surface: np.ndarray


@dataclass(frozen=True)
class Decoded:
    """Instances with the thresholds that were used.

    Parameters
    ----------
    labels : ndarray of unsigned int
        Label image, (y, x) or (z, y, x): consecutive ids from 1 in the smallest dtype.
    thresholds : dict of str to float
        Thresholds by configuration key without prefix.
    notes : tuple of str
        Notices for the user.
    parts : Parts, optional
        Intermediate images, if requested.
    """

    labels: np.ndarray
    thresholds: dict[str, float]
    notes: tuple[str, ...]
    parts: Parts | None = None


def decode(
    maps: Maps,
    channels: str = "BC",
    *,
    settings: DecodeSettings | None = None,
    spacing: Spacing | None = None,
    seed_filter: Callable[[np.ndarray], np.ndarray] | None = None,
    keep_parts: bool = False,
) -> Decoded:
    """Decode channel maps into instances by a marker-controlled watershed.

    Parameters
    ----------
    maps : mapping of str to ndarray
        Maps by channel name, all (y, x) or all (z, y, x): probabilities in [0, 1] for ``B C M P``,
        distances for ``D`` and ``Dv2``. Maps that the configuration does not need are ignored.
    channels : str
        Configuration, a key of `singula.representations.decoders.table.DECODERS`.
    settings : DecodeSettings, optional
        Thresholds, sizes and morphology; `DecodeSettings()` by default.
    spacing : float or sequence of float, optional
        Voxel size, one value or one per axis in the order of the axes; used only by the morphology
        of seeds and foreground.
    seed_filter : callable, optional
        Function of the labeled seeds that returns the seeds to grow, with the same ids.
    keep_parts : bool
        Return the seeds, the foreground and the surface, too.

    Returns
    -------
    Decoded
        Instances, thresholds and notices.

    Raises
    ------
    TypeError, UserError
        An unknown configuration; a missing map; maps that are not arrays of numbers, have
        different shapes or contain NaN; an invalid spacing.

    Notes
    -----
    `Dv2` configurations have no growth mask: a background seed grows with the other seeds.

    In addition to the maps, about 7 bytes per pixel are needed, including the labels; 8 for maps of
    noise.
    """
    settings = (
        DecodeSettings() if settings is None else instance(settings, "settings", DecodeSettings)
    )
    if seed_filter is not None:
        seed_filter = function(seed_filter, "seed_filter")
    keep_parts = flag(keep_parts, "keep_parts")
    decoder = find_decoder(channels)
    used = _checked_maps(maps, decoder)
    if spacing is not None:
        spacing = check_spacing(spacing, used[decoder.surface].ndim)
    counted = {c: histogram(used[c]) for c in histogram_channels(decoder, settings)}
    thresholds, notes = resolve_thresholds(counted, settings)

    seed_mask, foreground = masks(decoder, used, thresholds, settings, spacing)
    labels, count = label_seeds(seed_mask)
    del seed_mask  # limits the peak of memory
    if settings.remove_before:
        count = drop_small_in_place(
            labels, count, settings.remove_small, settings.min_border_pixels
        )
    if seed_filter is not None:
        inside(labels)[...] = seed_filter(np.ascontiguousarray(inside(labels)))
    parts = None
    if keep_parts:
        parts = Parts(inside(labels).astype(np.uint32), foreground, used[decoder.surface])
    background = _flood(decoder, used, labels, count, foreground, settings)
    del foreground
    labels = compact_in_place(
        labels,
        count if background is None else background,
        min_size=0 if settings.remove_before else settings.remove_small,
        border_size=0 if settings.remove_before else settings.min_border_pixels,
        drop=background,
    )
    return Decoded(labels, thresholds, notes + advice(decoder, thresholds), parts)


def masks(
    decoder: Decoder,
    maps: Maps,
    thresholds: Thresholds,
    settings: DecodeSettings,
    spacing: Sequence[float] | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the seed mask and the growth mask.

    For decoders without a growth mask, the second is the complement of the background seed.
    """
    seeds = all_of(decoder.seeds, maps, thresholds)
    for operation, radius in settings.seed_morph:
        seeds = morph(seeds, operation, radius, spacing)
    foreground = _foreground(decoder, maps, thresholds, settings, seeds)
    foreground = morph(foreground, "erode", settings.fore_erosion, spacing)
    foreground = morph(foreground, "dilate", settings.fore_dilation, spacing)
    return seeds, foreground


def find_decoder(channels: str) -> Decoder:
    """Return the decoder of a configuration, or raise `UserError` (``arguments.choice``)."""
    return DECODERS[choice(channels, "channels (DATA_CHANNELS)", DECODERS)]


def _checked_maps(maps: Maps, decoder: Decoder) -> dict[str, np.ndarray]:
    maps = instance(maps, "maps", Mapping)  # type: ignore[type-abstract]
    missing = [c for c in decoder.needs if c not in maps]
    if missing:
        raise UserError(
            f"maps: got {', '.join(map(str, maps)) or 'none'}, expected "
            f"{', '.join(decoder.needs)} for {decoder.name}; {', '.join(missing)} is missing",
            "decode with the DATA_CHANNELS that the network was trained with",
            "decode.missing_map",
        )
    used = {c: native(as_array(maps[c], f"maps[{c!r}]", ndim=(2, 3))) for c in decoder.needs}
    shapes = {c: m.shape for c, m in used.items()}
    if len(set(shapes.values())) > 1:
        raise UserError(
            f"maps: got the shapes {shapes}, expected one shape",
            "pass the maps of one image",
            "arguments.shape",
        )
    for name, values in used.items():
        refuse_nan(name, values)
    return used


def refuse_nan(name: str, values: np.ndarray) -> None:
    """Raise an error if a map contains NaN.

    Parameters
    ----------
    name : str
        Name of the map, for the message.
    values : ndarray of float
        The map.

    Raises
    ------
    UserError
        The map contains NaN.
    """
    if any(_holds_nan(row) for row in values if row.size):
        raise prediction_overflow(f"map {name} contains NaN")


def _holds_nan(values: np.ndarray) -> bool:
    if values.dtype == np.float16:  # integers are faster: the codes of NaN are above infinity
        return bool((values.view(np.uint16) & 0x7FFF).max() > 0x7C00)
    return bool(np.isnan(values.min()))


def _foreground(
    decoder: Decoder,
    maps: Maps,
    thresholds: Thresholds,
    settings: DecodeSettings,
    seed_mask: np.ndarray,
) -> np.ndarray:
    mask: np.ndarray
    if decoder.background is not None:
        mask = np.invert(decoder.background(maps, thresholds, seed_mask))
        return mask
    terms = decoder.growth_terms(into_contour=settings.grow_into_contour)
    if terms is None:
        mask = np.logical_or(_whole_objects(maps, thresholds, settings.contour_mode), seed_mask)
    elif terms:
        mask = all_of(terms, maps, thresholds)
    else:
        mask = np.ones(seed_mask.shape, bool)
    return mask


def _whole_objects(maps: Maps, thresholds: Thresholds, contour_mode: str) -> np.ndarray:
    """Return the mask of the objects including their contour pixels.

    ``B + C`` covers the objects and, unless the contour is inside, one pixel around them, which is
    eroded. In contrast to a lower threshold of ``B``, blurred maps do not move the edge. Without
    ``C``, ``B`` is dilated by the width of the contour.
    """
    limit = thresholds["TH_BINARY_MASK"]
    if "C" in maps:
        whole = np.empty(maps["B"].shape, bool)
        for row, *values in zip(whole, maps["B"], maps["C"], strict=True):
            np.greater(np.add(*values, dtype=np.float32), limit, out=row)
        return whole if contour_mode == "inner" else step(whole, grow=False)
    whole = np.greater(maps["B"], limit)
    for _ in range(_RING[contour_mode]):
        whole = step(whole, grow=True)
    return whole


def _flood(
    decoder: Decoder,
    maps: Maps,
    labels: np.ndarray,
    count: int,
    foreground: np.ndarray,
    settings: DecodeSettings,
) -> int | None:
    """Grow seeds with a rim in place; return the id of the background seed, or None."""
    if count == 0:
        return None
    background = None
    if decoder.background is not None:
        background = count + 1
        for row, allowed in zip(inside(labels), foreground, strict=True):
            row[~allowed & (row == 0)] = background
    flood_in_place(
        maps[decoder.surface],
        labels,
        foreground if decoder.growth else None,
        downhill=decoder.downhill,
        by_slices=settings.by_2d_slices,
    )
    return background


def advice(decoder: Decoder, thresholds: Thresholds) -> tuple[str, ...]:
    """Return notices about a configuration and its thresholds."""
    notes = [] if decoder.note is None else [decoder.note]
    if decoder.surface == "Dv2" and thresholds["TH_DISTANCE"] >= 1:
        notes.append(
            f"TH_DISTANCE is {thresholds['TH_DISTANCE']}, but Dv2 ends at 1 on the contour: every "
            "pixel passes; values of about 0.6 to 0.9 separate objects"
        )
    return tuple(notes)
