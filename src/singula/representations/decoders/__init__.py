"""Instances from channel maps, for all configurations of channels."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

import numpy as np

from singula.io.image import Spacing
from singula.representations.base import Decoder
from singula.representations.decoders.decode import Decoded, decode
from singula.representations.decoders.settings import (
    KEYWORDS,
    DecodeSettings,
    warn_of_unused,
    with_keywords,
)
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
    method: str = "auto",
    **named: float | None,
) -> np.ndarray:
    """Decode channel maps into instances; the public `singula.decode`.

    Parameters
    ----------
    maps : mapping of str to ndarray
        Maps by channel code, all (y, x) or all (z, y, x), as `singula.encode` returns them or a
        network predicts them: probabilities for binary channels, distances in the unit of the
        encoding, and one map for each plane of ``R``, ``A`` and ``E``, such as ``R32.0``.
    channels : str
        ``BC``, ``BP``, ``BD``, ``BCM``, ``BCD``, ``BCDv2``, ``BDv2`` or ``Dv2``, or codes joined by
        ``+``, such as ``F+C+Db`` or ``Db+R``.
    thresholds : "auto" or mapping, optional
        Configuration keys without prefix, e.g. ``{"TH_BINARY_MASK": 0.5, "REMOVE_SMALL_OBJ": 20}``.
        A given threshold is manual and the others stay automatic. ``"TH_TYPE": "manual"`` makes
        all thresholds manual, with the format's defaults for the others. ``"auto"`` makes all of
        them automatic, with a warning for each given threshold, which is not used.
    spacing : float or sequence of float, optional
        Voxel size along each axis, z first. For offsets in pixels, ``R`` in 3D and ``E``, it must
        be the voxel size with which the maps were encoded.
    method : str
        ``watershed``, ``offsets`` or another method of decoding of these channels; ``auto``: the
        channels determine it.
    binary_threshold, contour_threshold, foreground_threshold, points_threshold : float, optional
        Probabilities from 0 to 1, instead of the keys ``TH_BINARY_MASK``, ``TH_CONTOUR``,
        ``TH_FOREGROUND`` and ``TH_POINTS`` of `thresholds`.
    distance_threshold, dist_foreground_threshold : float, optional
        Distances in the unit of the map, instead of ``TH_DISTANCE`` and ``TH_DIST_FOREGROUND``.
    background_threshold, touching_threshold, edges_threshold : float, optional
        Values from 0 to 1, instead of ``TH_BACKGROUND``, ``TH_TOUCHING`` and ``TH_EDGES``.
    affinity_threshold : float, optional
        Value from 0 to 1, instead of ``TH_AFFINITY``.
    border_distance_threshold, border_growth_threshold : float, optional
        Values of ``Db``, instead of ``TH_BORDER_DISTANCE`` and ``TH_BORDER_GROWTH``.
    center_distance_threshold, center_growth_threshold : float, optional
        Values of ``Dc``, instead of ``TH_CENTER_DISTANCE`` and ``TH_CENTER_GROWTH``.
    contour_growth_threshold : float, optional
        Probability from 0 to 1, instead of ``TH_CONTOUR_GROWTH``.
    neighbor_threshold : float, optional
        Value of ``Dn``, instead of ``TH_NEIGHBOR``.
    center_radius_threshold, votes_threshold : float, optional
        Radius in pixels and share of votes of a center, instead of ``TH_CENTER_RADIUS`` and
        ``TH_VOTES``.
    flow_error_threshold, flow_steps_threshold : float, optional
        Largest error and number of steps of flows, instead of ``TH_FLOW_ERROR`` and
        ``TH_FLOW_STEPS``.
    seediness_threshold, cluster_threshold : float, optional
        Values from 0 to 1 for embeddings, instead of ``TH_SEEDINESS`` and ``TH_CLUSTER``.
    signed_distance_threshold, signed_growth_threshold : float, optional
        Values of the signed distance, instead of ``TH_SIGNED_DISTANCE`` and ``TH_SIGNED_GROWTH``.
    probability_threshold, nms_threshold : float, optional
        Values from 0 to 1 for rays, instead of ``TH_PROBABILITY`` and ``TH_NMS``.

    Returns
    -------
    ndarray of unsigned int
        Labels, consecutive from 1, 0 the background.

    Raises
    ------
    TypeError, UserError
        An unknown configuration or key, a value that is not allowed, a missing map, maps that are
        not arrays of numbers, or maps that differ in shape. ``decode.unknown_keyword``: another
        keyword; ``decode.given_twice``: a threshold as keyword and in `thresholds`.

    Examples
    --------
    >>> import numpy as np, singula
    >>> labels = np.zeros((24, 24), int)
    >>> labels[2:12, 2:12], labels[2:12, 12:22] = 1, 2
    >>> maps = singula.encode(labels, "BC")  # or the maps that a network predicts
    >>> decoded = singula.decode(maps, "BC", binary_threshold=0.5, contour_threshold=0.2)
    >>> decoded[5, [5, 18]]
    array([1, 2], dtype=uint8)
    >>> decoded = singula.decode(maps, "BC", thresholds={"TH_CONTOUR": 0.2, "REMOVE_SMALL_OBJ": 99})
    >>> int(decoded.max())  # each seed has 64 pixels
    0
    """
    if thresholds is None or (isinstance(thresholds, str) and thresholds == "auto"):
        thresholds = {}
    if named and isinstance(thresholds, Mapping):
        thresholds = with_keywords(thresholds, named)
    settings = DecodeSettings.from_keys(thresholds)
    if isinstance(thresholds, Mapping):
        warn_of_unused(thresholds)
    return decode(maps, channels, settings=settings, spacing=spacing, method=method).labels


def _signature() -> inspect.Signature:
    """Return the signature of `decode_labels` with the name of each threshold."""
    declared = inspect.signature(decode_labels)
    keyword, optional = inspect.Parameter.KEYWORD_ONLY, "float | None"
    added = [inspect.Parameter(k, keyword, default=None, annotation=optional) for k in KEYWORDS]
    return declared.replace(parameters=[*list(declared.parameters.values())[:-1], *added])


decode_labels.__signature__ = _signature()  # type: ignore[attr-defined]
