"""Instances: marker-controlled watershed of channel maps, for all configurations of channels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from singula.io.image import Spacing
from singula.representations.base import Decoder
from singula.representations.decoders.decode import Decoded, decode
from singula.representations.decoders.settings import DecodeSettings, warn_of_unused
from singula.representations.decoders.thresholds import (
    histogram,
    histogram_channels,
    otsu_from_histogram,
    resolve_thresholds,
)
from singula.representations.table import DECODERS

__all__ = [
    "DECODERS",
    "DecodeSettings",
    "Decoded",
    "Decoder",
    "decode",
    "decode_labels",
    "histogram",
    "histogram_channels",
    "otsu_from_histogram",
    "resolve_thresholds",
    "warn_of_unused",
]


def decode_labels(
    maps: Mapping[str, np.ndarray],
    channels: str = "BC",
    *,
    thresholds: str | Mapping[str, object] | None = "auto",
    spacing: Spacing | None = None,
) -> np.ndarray:
    """Instances of channel maps; the public `singula.decode`.

    Parameters
    ----------
    maps : mapping of str to ndarray
        By channel name, all (y, x) or all (z, y, x): probabilities for ``B C M P``, distances for
        ``D Dv2``.
    channels : str
        ``BC``, ``BP``, ``BD``, ``BCM``, ``BCD``, ``BCDv2``, ``BDv2`` or ``Dv2``.
    thresholds : "auto" or mapping, optional
        Configuration keys without prefix, e.g. ``{"TH_BINARY_MASK": 0.5, "REMOVE_SMALL_OBJ": 20}``.
        A given threshold is manual and the others stay automatic. ``"TH_TYPE": "manual"`` makes
        all thresholds manual, with the format's defaults for the others. ``"auto"`` makes all of
        them automatic, with a warning for each given threshold, which is not used.
    spacing : float or sequence of float, optional
        Pixel size, per axis z first.

    Returns
    -------
    ndarray of unsigned int
        Labels, consecutive from 1, 0 the background.

    Raises
    ------
    TypeError, UserError
        An unknown configuration or key, a value that is not allowed, a missing map, maps that are
        not arrays of numbers, or maps that differ in shape.

    Examples
    --------
    >>> import numpy as np, singula
    >>> labels = np.zeros((24, 24), int)
    >>> labels[2:12, 2:12], labels[2:12, 12:22] = 1, 2
    >>> maps = singula.encode(labels, "BC")  # or the maps that a network predicts
    >>> decoded = singula.decode(maps, "BC", thresholds={"TH_CONTOUR": 0.2, "REMOVE_SMALL_OBJ": 5})
    >>> decoded[5, [5, 18]]
    array([1, 2], dtype=uint8)
    """
    if thresholds is None or (isinstance(thresholds, str) and thresholds == "auto"):
        thresholds = {}
    settings = DecodeSettings.from_keys(thresholds)
    if isinstance(thresholds, Mapping):
        warn_of_unused(thresholds)
    return decode(maps, channels, settings=settings, spacing=spacing).labels
