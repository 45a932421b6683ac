"""Channels of label images in which some pixels are not annotated.

A pixel has a target only if the pixels that are not annotated cannot change it, so that each target
equals that of the completely annotated image:

- `M`, `F`, `Bg`: annotated pixels;
- `B`, `C`, `T`: annotated pixels whose neighbors, which determine the contour, are annotated;
- `D`: pixels to which the nearest known contour is at least as near as any unknown one, and the
  background;
- `A`: annotated pixels whose partner at the offset is annotated;
- `P`, `Db`, `Dc`, `H`, `V`, `Z`, `Gh`, `Gv`, `Gz`: pixels of instances that are known completely,
  and the background;
- `Dn`: pixels of instances of which the nearest neighbors are annotated too, and the background;
- `Dv2`, `Ds`: pixels of instances that are known completely. In the background, as `D`; the largest
  distance of `Dv2` is that of the annotated background.
- `Dn` without the option `norm` is scaled by the largest distance of the pixels with a target.

In a volume of which single slices are annotated, no pixel would have a target, because the slices
above and below are unknown. Its channels are those of its slices as images (`is_planar`), and
channels that depend on the axis z (`Channel.needs_volume`) are refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.errors import UserError
from singula.representations.channel import KnownBy, Reach
from singula.representations.channel_table import CHANNELS
from singula.representations.channels.contour import find_known_contour
from singula.representations.channels.encoders import encoder_of
from singula.representations.channels.neighbor import distance_to_neighbors
from singula.representations.channels.source import EncodeSettings, Furthest, Source
from singula.representations.channels.table import parse_channels
from singula.representations.channels.transform import distance_to_zeros
from singula.util.annotated_slices import is_planar as is_planar
from singula.util.boxes import pair_boxes
from singula.util.sparse_labels import UNANNOTATED, annotated_mask, without_unannotated

Mask = NDArray[np.bool_]


def encode_sparse(
    settings: EncodeSettings,
    labels: NDArray[Any],
    furthest: Furthest | None = None,
    planar: bool | None = None,
) -> dict[str, NDArray[Any]]:
    """Convert a label image with pixels that are not annotated to channels.

    Parameters
    ----------
    settings : EncodeSettings
        Channels and their settings.
    labels : ndarray of int, (y, x) or (z, y, x)
        Ids; -1 is not annotated.
    furthest : mapping of str to float, optional
        As for `encode_with`.
    planar : bool, optional
        Result of `is_planar` for the whole image, if `labels` are a part of it.

    Returns
    -------
    dict of str to ndarray
        Channels by code: int8 if binary, float32 if distance. Pixels without a target are -1 or
        NaN.

    Raises
    ------
    UserError
        ``channels.no_z``; see `refuse_single_slices`.
    """
    if is_planar(labels) if planar is None else planar:
        return _by_slice(settings, labels, furthest)
    if furthest is None:
        furthest = furthest_annotated(settings, labels, False)
    source = _SparseSource(labels, annotated_mask(labels), settings, furthest)
    maps = {}
    for code in parse_channels(settings.channels):
        target = encoder_of(code)(source)
        missing = no_target(code)
        maps[code] = np.where(source.has_target(code), target, missing).astype(missing.dtype)
    return maps


def refuse_single_slices(settings: EncodeSettings) -> None:
    """Raise an error if a channel has no target in single annotated slices of a volume.

    Parameters
    ----------
    settings : EncodeSettings
        Channels and their settings.

    Raises
    ------
    UserError
        ``channels.no_z``: a channel depends on the axis z.
    """
    for code in parse_channels(settings.channels):
        if CHANNELS[code].needs_volume:
            raise UserError(
                f"channels: got {CHANNELS[code].list_code} for a volume of which single slices "
                "are annotated, expected complete volumes",
                "annotate whole volumes, or use channels such as F+C+Db",
                "channels.no_z",
            )


def no_target(code: str) -> np.int8 | np.float32:
    """Return the value of the pixels of a channel without a target: -1, or NaN for distances."""
    return np.int8(UNANNOTATED) if CHANNELS[code].kind == "binary" else np.float32(np.nan)


def has_target(code: str, values: NDArray[Any]) -> Mask:
    """Return the mask of the pixels of a channel with a target.

    Parameters
    ----------
    code : str
        Key of `CHANNELS`.
    values : ndarray
        The channel, as returned by `encode_sparse`.
    """
    mask: Mask = values >= 0 if CHANNELS[code].kind == "binary" else ~np.isnan(values)
    return mask


def furthest_annotated(settings: EncodeSettings, labels: NDArray[Any], planar: bool) -> Furthest:
    """Return the largest distances that annotated pixels determine, as for `encode_with`.

    Parameters
    ----------
    settings : EncodeSettings
        Settings of the channels.
    labels : ndarray of int, (y, x) or (z, y, x)
        Ids; -1 is not annotated.
    planar : bool
        Result of `is_planar`.
    """
    if planar:
        flat, largest = _flat(settings), dict[Reach, float]()
        for plane in labels:
            for reach, distance in furthest_annotated(flat, plane, False).items():
                largest[reach] = max(distance, largest.get(reach, 0.0))
        return largest
    measures: dict[Reach, Callable[[_SparseSource], float]] = {
        "image": _furthest_background,
        "neighbors": _furthest_neighbor,
    }
    reaches = {CHANNELS[code].reach for code in parse_channels(settings.channels)}
    if reaches.isdisjoint(measures):
        return {}
    source = _SparseSource(labels, annotated_mask(labels), settings, None)
    return {reach: measure(source) for reach, measure in measures.items() if reach in reaches}


def _furthest_background(source: _SparseSource) -> float:
    """Return the largest distance of a background pixel with a known distance to a contour."""
    if not source.contour.any():
        return 0.0
    distance = distance_to_zeros(~source.contour, source.spacing)
    background = source.background & source.nearest_is_known(source.contour)
    return float(distance.max(where=background, initial=0.0))


def _furthest_neighbor(source: _SparseSource) -> float:
    """Return the largest distance of a pixel of an instance to a neighbor, if both are known."""
    distance = distance_to_neighbors(source)
    is_known = source.with_known_neighbors() & np.isfinite(distance)
    return float(distance.max(where=is_known, initial=0.0))


def _by_slice(
    settings: EncodeSettings, labels: NDArray[Any], furthest: Furthest | None
) -> dict[str, NDArray[Any]]:
    """Convert each annotated slice of a volume as an image."""
    refuse_single_slices(settings)
    flat = _flat(settings)
    maps: dict[str, NDArray[Any]] = {}
    for code in parse_channels(settings.channels):
        maps[code] = np.full(labels.shape, no_target(code))
    if furthest is None:
        furthest = furthest_annotated(settings, labels, True)
    for z in np.flatnonzero(annotated_mask(labels).any(axis=(1, 2))):
        for code, plane in encode_sparse(flat, labels[z], furthest).items():
            maps[code][z] = plane
    return maps


def _flat(settings: EncodeSettings) -> EncodeSettings:
    """Return the settings for a slice of a volume."""
    sizes = settings.spacing
    return EncodeSettings(
        settings.channels,
        settings.contour_mode,
        None if sizes is None else sizes[-2:],
        settings.point_radius,
        settings.options,
    )


class _SparseSource(Source):
    """Label image of which only the annotated pixels are known.

    Contours between two annotated pixels are contours in the complete image, too: in all modes,
    further labels can only add contour pixels.
    """

    def __init__(
        self,
        labels: NDArray[Any],
        known: Mask,
        settings: EncodeSettings,
        furthest: Furthest | None,
    ) -> None:
        super().__init__(without_unannotated(labels), settings, furthest)
        self.known = known

    @cached_property
    def contour(self) -> Mask:
        """Mask of the known contour pixels."""
        return find_known_contour(self.labels, self.settings.contour_mode, self.known)

    @cached_property
    def certain(self) -> Mask:
        """Mask of the pixels that are known to be contour or not."""
        return _eroded(self.known, 2 if self.settings.contour_mode == "dense" else 1)

    @cached_property
    def complete(self) -> Mask:
        """Mask of the pixels of instances that cannot continue in pixels that are not annotated."""
        is_cut = np.zeros(int(self.index.max(initial=0)) + 1, bool)
        is_cut[self.index[~self.certain]] = True
        is_cut[0] = True
        complete: Mask = ~is_cut[self.index]
        return complete

    @property
    def background(self) -> Mask:
        """Mask of the annotated background."""
        return self.known & ~self.foreground

    def has_target(self, code: str) -> Mask:
        """Return the mask of the pixels with a target of a channel."""
        masks: dict[KnownBy, Callable[[], Mask]] = {
            "pixel": lambda: self.known,
            "contour": lambda: self.certain,
            "contour_distance": lambda: self.nearest_is_known(self.contour | self.background),
            "instance": lambda: self.complete | self.background,
            "nearness": lambda: (
                self.complete | (self.background & self.nearest_is_known(self.contour))
            ),
            "distance": lambda: (
                self.complete | (self.background & self.nearest_is_known(self.foreground))
            ),
            "neighbors": lambda: self.with_known_neighbors() | self.background,
            "offset": lambda: self.partner_is_known(CHANNELS[code].offset),
        }
        radius = CHANNELS[code].local_reach(self.settings.options.get(code, {}))
        reach = math.ceil(radius * max(1, min(self.spacing[-2:]) / min(self.spacing)))
        mask = masks[CHANNELS[code].known_by]()
        if not reach:
            return mask
        if CHANNELS[code].known_by == "instance":  # of the background, only the pixel matters
            return self.background | _eroded(mask, reach)
        return mask & _eroded(self.known, reach)

    def partner_is_known(self, offset: Sequence[int]) -> Mask:
        """Return the pixels that are annotated together with the pixel at an offset."""
        first, second = pair_boxes(self.known.shape, offset)
        mask = np.zeros(self.known.shape, bool)
        mask[first] = self.known[first] & self.known[second]
        return mask

    def with_known_neighbors(self) -> Mask:
        """Return the pixels of complete instances whose nearest neighbors are all known."""
        unknown = ~self.certain
        if not unknown.any():
            return self.complete
        far = distance_to_neighbors(self) > distance_to_zeros(~unknown, self.spacing)
        is_open = np.zeros(int(self.index.max(initial=0)) + 1, bool)
        is_open[self.index[far]] = True
        surely: Mask = self.complete & ~is_open[self.index]
        return surely

    def nearest_is_known(self, zeros: Mask) -> Mask:
        """Return the pixels for which none of the unknown pixels is nearer than the nearest zero.

        Parameters
        ----------
        zeros : ndarray of bool
            Pixels from which distances are measured.
        """
        unknown = ~self.certain & ~zeros
        if not unknown.any():
            return np.ones(unknown.shape, bool)
        if not zeros.any():
            return zeros
        reached: Mask = distance_to_zeros(~zeros, self.spacing) <= distance_to_zeros(
            ~unknown, self.spacing
        )
        return reached


def _eroded(known: Mask, reach: int) -> Mask:
    """Return the pixels around which all pixels of the image are known, up to `reach` pixels."""
    result = known.copy()
    for axis in range(known.ndim):
        for _ in range(reach):
            before = result.copy()
            low = (slice(None),) * axis + (slice(None, -1),)
            high = (slice(None),) * axis + (slice(1, None),)
            result[low] &= before[high]
            result[high] &= before[low]
    return result
