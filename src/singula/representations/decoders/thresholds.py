"""Thresholds of the channel maps: manual, or Otsu's from histograms that are summed over blocks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from singula.errors import UserError, prediction_overflow
from singula.representations.base import Decoder
from singula.representations.decoders.settings import DecodeSettings
from singula.representations.thresholds import AUTOMATIC, THRESHOLDS, Otsu
from singula.util.arguments import as_array, instance
from singula.util.process import compiled

N_BINS = 1024
"""Number of bins over [0, 1]."""

MIN_AUTO = 0.1
"""Smallest accepted Otsu threshold; a lower one separates noise in a channel without objects."""

_CHUNK = 1 << 17


def histogram(values: np.ndarray) -> np.ndarray:
    """Count the values of a probability map in 1024 equal bins over [0, 1].

    Parameters
    ----------
    values : ndarray
        Map of any shape and real dtype. Values outside [0, 1] are counted in the nearest bin.

    Returns
    -------
    ndarray of int64, shape (1024,)
        Counts. The sum over the blocks of an image is the histogram of the image.

    Raises
    ------
    TypeError, UserError
        Not an array of real numbers; a value that is NaN.
    """
    values = as_array(values, "values")
    if values.ndim == 0:
        values = values[None]
    bins = np.zeros(0, np.uint16)
    if values.dtype == np.float16:  # no float16 arithmetic in the processor: use a table
        few = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
        with np.errstate(invalid="ignore"):
            bins = (few.astype(np.float32).clip(0, 1) * N_BINS).astype(np.uint16)
        bins[np.isnan(few)] = N_BINS + 1
    counts = np.zeros(N_BINS + 2, np.int64)
    rows = max(1, _CHUNK * len(values) // max(1, values.size))
    for start in range(0, len(values), rows):
        block = values[start : start + rows].ravel()
        if len(bins):
            block = block.view(np.uint16)
        elif block.dtype not in (np.float32, np.float64):
            block = block.astype(np.float64)
        compiled(_count_bins)(block, bins, counts)
    if counts[-1]:
        raise prediction_overflow("a predicted map contains NaN")
    counts[-3] += counts[-2]  # the value 1 belongs to the last bin
    return counts[:-2]


def _count_bins(values: Any, bins: Any, counts: Any) -> None:
    """Count values in bins, and NaN in the last place; compiled.

    Parameters
    ----------
    values : float32, float64 or uint16, (n,)
        Values, or indices of `bins`.
    bins : uint16, (65536,) or (0,)
        Bin of each 16-bit code; empty if `values` are numbers.
    counts : int64, (N_BINS + 2,)
        Counts, which are updated. The last two are those of the value 1 and of NaN.
    """
    for each in range(len(values)):
        if len(bins) > 0:
            counts[bins[int(values[each])]] += 1
        elif np.isnan(values[each]):
            counts[-1] += 1
        else:
            counts[int(min(max(values[each], 0), 1) * N_BINS)] += 1


def otsu_from_histogram(counts: np.ndarray) -> float | None:
    """Return Otsu's threshold of a histogram over [0, 1], as `skimage.filters.threshold_otsu`.

    Parameters
    ----------
    counts : ndarray of int or float, shape (bins,)
        Non-negative counts.

    Returns
    -------
    float or None
        Center of the last bin of the lower class; None if fewer than two bins are filled, so that
        there are no two classes.

    Raises
    ------
    TypeError, UserError
        Not counts.

    Notes
    -----
    N. Otsu, *A threshold selection method from gray-level histograms*, IEEE Trans. SMC 9 (1979):
    the bin that maximizes ``w1 w2 (m1 - m2)²``, weights and means of the classes below and above.
    """
    counts = as_array(counts, "counts", ndim=1, axes="(bins,)")
    if not (counts >= 0).all():
        raise UserError(
            "counts: got negative numbers or NaN, expected numbers of 0 or more",
            "pass the result of histogram",
            "arguments.number",
        )
    if np.count_nonzero(counts) < 2:
        return None
    centers = (np.arange(len(counts)) + 0.5) / len(counts)
    weight = np.cumsum(counts, dtype=np.float64)
    moment = np.cumsum(counts * centers)
    below, above = weight[:-1], weight[-1] - weight[:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = moment[:-1] / below - (moment[-1] - moment[:-1]) / above
        between = np.where((below > 0) & (above > 0), below * above * gap**2, 0.0)
    return float(centers[np.argmax(between)])


def histogram_channels(decoder: Decoder, settings: DecodeSettings) -> tuple[str, ...]:
    """Return the channels whose histograms are needed for the automatic thresholds.

    Parameters
    ----------
    decoder : Decoder
        Configuration of channels.
    settings : DecodeSettings
        Settings that state which thresholds are automatic.

    Raises
    ------
    TypeError
        Not a decoder, or not settings.
    """
    decoder = instance(decoder, "decoder", Decoder)  # type: ignore[type-abstract]
    settings = instance(settings, "settings", DecodeSettings)
    used = {rule.channel for rule in _rules(decoder.channels, settings).values()}
    return tuple(channel for channel in decoder.channels if channel in used)


def _rules(channels: Collection[str], settings: DecodeSettings) -> dict[str, Otsu]:
    """Return the rules of the thresholds that are computed from maps of the channels."""
    rules = {
        name: threshold.automatic(channels, into_contour=settings.grow_into_contour)
        for name, threshold in THRESHOLDS.items()
        if settings.is_automatic(name)
    }
    return {name: rule for name, rule in rules.items() if rule and rule.channel in channels}


def resolve_thresholds(
    histograms: Mapping[str, np.ndarray], settings: DecodeSettings
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return all thresholds of decoding by configuration key without prefix.

    Parameters
    ----------
    histograms : mapping of str to ndarray
        `histogram` of each channel in `histogram_channels`, over the **whole image**. Other
        channels are ignored.
    settings : DecodeSettings
        Manual thresholds, and which thresholds are automatic.

    Returns
    -------
    thresholds : dict of str to float
        Value of every threshold in `THRESHOLDS`, those that can be automatic first.
    notes : tuple of str
        One notice for each channel whose automatic threshold was rejected.

    Raises
    ------
    TypeError, UserError
        Not a mapping of histograms, or not settings.

    Notes
    -----
    Each threshold is automatic or manual independently (`DecodeSettings.is_automatic`). Automatic
    thresholds of ``B``, ``C`` and ``P`` are Otsu's. The automatic foreground threshold is half of
    Otsu's for ``B``, regardless of ``TH_BINARY_MASK``. If instances grow inside ``M`` (`BCM` with
    GROW_INTO_CONTOUR), it is Otsu's for ``M``. In an image without objects, Otsu's method
    separates noise. A threshold below 0.1 is therefore rejected in favor of the manual one.
    """
    histograms = instance(histograms, "histograms", Mapping)  # type: ignore[type-abstract]
    settings = instance(settings, "settings", DecodeSettings)
    chosen = {name: settings.thresholds[name] for name in dict.fromkeys((*AUTOMATIC, *THRESHOLDS))}
    notes: dict[str, str] = {}
    for key, rule in _rules(histograms, settings).items():
        channel, factor = rule.channel, rule.factor
        counts = as_array(histograms[channel], f"histograms[{channel!r}]", ndim=1, axes="(bins,)")
        value = otsu_from_histogram(counts)
        if value is not None and value >= MIN_AUTO:
            chosen[key] = factor * value
        else:
            notes[channel] = (
                f"map {channel}: the manual threshold is used, because no automatic one is "
                f"{MIN_AUTO:g} or more, as in a map without objects or of only 0 and 1"
            )
    return chosen, tuple(notes.values())
