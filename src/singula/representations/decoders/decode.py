"""Decoding of channel maps into instances by the decoder of their configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from singula.errors import UserError, prediction_overflow
from singula.io.image import Spacing, check_spacing
from singula.io.label_values import native
from singula.representations.base import Decoder, IntermediateImages, Maps, SeedFilter
from singula.representations.decoders.settings import DecodeSettings
from singula.representations.decoders.thresholds import (
    histogram,
    histogram_channels,
    resolve_thresholds,
)
from singula.representations.table import METHODS, check_offsets, complete_channels, find_decoder
from singula.util.arguments import as_array, choice, flag, function, instance, text
from singula.util.format import counted

_LARGEST = float(np.finfo(np.float32).max)  # decoders convert maps to float32
_CHUNK = 1 << 17  # pixels that are tested at once, without copying the whole map


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
    parts : IntermediateImages, optional
        Intermediate images, if requested.
    """

    labels: np.ndarray
    thresholds: dict[str, float]
    notes: tuple[str, ...]
    parts: IntermediateImages | None = None


def decode(
    maps: Maps,
    channels: str | Decoder = "BC",
    *,
    settings: DecodeSettings | None = None,
    spacing: Spacing | None = None,
    seed_filter: SeedFilter | None = None,
    keep_parts: bool = False,
    method: str = "auto",
) -> Decoded:
    """Decode channel maps into instances.

    Parameters
    ----------
    maps : mapping of str to ndarray
        Maps by channel name, all (y, x) or all (z, y, x): probabilities in [0, 1] for binary
        channels, distances, and one map for each plane of ``R``, ``A`` and ``E``, such as
        ``R32.0``. Maps that the configuration does not need are ignored.
    channels : str or Decoder
        Configuration, such as 'BC' or 'F+C+Db'; see `singula.representations.table.find_decoder`.
    settings : DecodeSettings, optional
        Thresholds, sizes and morphology; `DecodeSettings()` by default.
    spacing : float or sequence of float, optional
        Voxel size, one value or one per axis in the order of the axes. It is used by the morphology
        of seeds and foreground, and by decoders with `Decoder.uses_spacing`.
    seed_filter : callable, optional
        Function of the labeled seeds that returns the seeds to grow, with the same ids.
    keep_parts : bool
        Also return the seeds, the foreground and the surface.
    method : str
        Method of decoding of a configuration; see `singula.representations.table.METHODS`.

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

    In addition to the maps, the watershed needs about 7 bytes per pixel, including the labels; for
    maps of noise 8 bytes. `Decoder.bytes_per_pixel` has the estimates of the other decoders.
    """
    settings = (
        DecodeSettings() if settings is None else instance(settings, "settings", DecodeSettings)
    )
    if seed_filter is not None:
        seed_filter = function(seed_filter, "seed_filter")
    keep_parts = flag(keep_parts, "keep_parts")
    decoder = as_decoder(_completed(channels, maps), method)
    channel_maps = _checked_maps(maps, decoder)
    if spacing is not None:
        spacing = check_spacing(spacing, next(iter(channel_maps.values())).ndim)
    histograms = {c: histogram(channel_maps[c]) for c in histogram_channels(decoder, settings)}
    thresholds, notes = resolve_thresholds(histograms, settings)
    labels, parts = decoder.decode(
        decoder.prepare(channel_maps),
        thresholds,
        settings,
        spacing=spacing,
        seed_filter=seed_filter,
        keep_parts=keep_parts,
    )
    return Decoded(labels, thresholds, notes + decoder.notes(thresholds), parts)


def _completed(channels: str | Decoder, maps: Maps) -> str | Decoder:
    """Return a configuration in which families have the parameters for the axes of the maps."""
    first = next(iter(maps.values()), None) if isinstance(maps, Mapping) else None
    ndim = getattr(first, "ndim", 0)  # other values are validated later
    if isinstance(channels, str) and ndim in (2, 3):
        return complete_channels(channels, ndim, {})
    return channels


def as_decoder(channels: str | Decoder, method: str = "auto") -> Decoder:
    """Return the decoder of a configuration, or a decoder unchanged.

    Parameters
    ----------
    channels : str or Decoder
        Configuration or decoder.
    method : str
        Method of decoding of a configuration; see `singula.representations.table.METHODS`.

    Raises
    ------
    TypeError, UserError
        Not text; see `singula.representations.table.find_decoder`.
    """
    if isinstance(channels, Decoder):
        return channels
    name = text(channels, "channels (DATA_CHANNELS)")
    return find_decoder(name, method=choice(method, "method (DECODER)", METHODS))


def _checked_maps(maps: Maps, decoder: Decoder) -> dict[str, np.ndarray]:
    maps = instance(maps, "maps", Mapping)  # type: ignore[type-abstract]
    missing = [c for c in decoder.channels if c not in maps]
    if missing:
        raise UserError(
            f"maps: got {', '.join(map(str, maps)) or 'none'}, expected "
            f"{', '.join(decoder.channels)} for {decoder.name}; {', '.join(missing)} is missing",
            "decode with the DATA_CHANNELS that the network was trained with",
            "decode.missing_map",
        )
    channel_maps = {
        c: native(as_array(maps[c], f"maps[{c!r}]", ndim=(2, 3))) for c in decoder.channels
    }
    shapes = {c: m.shape for c, m in channel_maps.items()}
    if len(set(shapes.values())) > 1:
        raise UserError(
            f"maps: got the shapes {shapes}, expected one shape",
            "pass the maps of one image",
            "arguments.shape",
        )
    axes = next(iter(channel_maps.values())).ndim
    check_offsets(decoder.channels, decoder.name, axes)
    if decoder.ndim not in (None, axes):
        raise UserError(
            f"maps: got {counted(axes, 'axis', 'axes')}, expected {decoder.ndim} for "
            f"{decoder.name}",
            "use channels for images with these axes: H and V, Gh and Gv, or E2 in 2D; with Z, Gz, "
            "or E3 in 3D",
            "arguments.shape",
        )
    for name, values in channel_maps.items():
        check_finite(name, values)
    return channel_maps


def check_finite(name: str, values: np.ndarray) -> None:
    """Raise an error if a map contains NaN, or values that are infinite in float32.

    Parameters
    ----------
    name : str
        Name of the map, for the message.
    values : ndarray of float
        The map.

    Raises
    ------
    UserError
        ``prediction.overflow``, as described.
    """
    rows = max(1, _CHUNK * len(values) // max(1, values.size))
    chunks = (values[start : start + rows] for start in range(0, len(values), rows))
    if not all(_is_finite(chunk) for chunk in chunks if chunk.size):
        content = "NaN" if np.isnan(values).any() else "infinite values (in float32)"
        raise prediction_overflow(f"map {name} contains {content}")


def _is_finite(values: np.ndarray) -> bool:
    if values.dtype == np.float16:
        # Integers are faster: the bits of NaN and infinity are above those of other values.
        return bool((values.view(np.uint16) & 0x7FFF).max() < 0x7C00)
    return bool(values.min() >= -_LARGEST and values.max() <= _LARGEST)
