"""Star-convex polygons: rays with a probability channel; importable without NumPy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from singula.errors import UserError
from singula.representations.base import DecodePlan, Decoder, SpecialDecoder
from singula.representations.channel import OptionValue
from singula.representations.channel_table import planes_in
from singula.representations.families import FAMILIES
from singula.representations.objects import ObjectDecoder, Objects, ReadMaps
from singula.util.citation import Method

if TYPE_CHECKING:
    import numpy as np

    from singula.util.boxes import Box

_SCORES = ("Db", "F", "P")
"""Channels whose value is the probability of a polygon, the preferred one first."""
_SLAB_PIXELS = 1 << 15  # whose candidates are collected together, to save memory
_HIGHEST_IN_CENTER = ("Db",)
"""Channels of `_SCORES` whose value decreases from the center of an instance to its border."""


@dataclass(frozen=True)
class PolygonDecoder(ObjectDecoder, SpecialDecoder):
    """Star-convex polygons of pixels with a high probability, without those that overlap.

    Parameters
    ----------
    score : str
        Channel with the probability.
    rays : tuple of str
        Channels with the distances along the rays, in the order of the rays.
    """

    score: str = "Db"
    rays: tuple[str, ...] = ()
    method_name: ClassVar[str] = "polygons"
    columns: ClassVar[tuple[str, ...]] = ("points", "scores", "distances")
    method: ClassVar[Method | None] = Method(
        "non-maximum suppression of star-convex polygons",
        FAMILIES["R"].citations,
    )

    @classmethod
    def suits(cls, codes: Sequence[str], options: Mapping[str, Mapping[str, OptionValue]]) -> bool:
        """Return True if the channels include rays."""
        return bool(planes_in(codes, "R"))

    @classmethod
    def build(cls, name: str, codes: Sequence[str]) -> Decoder:
        """Return the decoder of a configuration; see `SpecialDecoder.build`."""
        score, rays = _score_of(codes), planes_in(codes, "R")
        if score is None or not rays:
            missing = "R" if score else f"one of {', '.join(_SCORES)}"
            raise UserError(
                f"DATA_CHANNELS: got {name}, expected rays (R) and a probability "
                f"({', '.join(_SCORES)}) to decode polygons",
                f"add {missing}",
                "decode.missing_channel",
            )
        return cls(name, tuple(codes), score, rays)

    @property
    def covering(self) -> frozenset[str]:
        """The channel with the probability."""
        return frozenset({self.score})

    @property
    def used_channels(self) -> tuple[str, ...]:
        """Probability and rays."""
        return (self.score, *self.rays)

    def uses_spacing(self, ndim: int) -> bool:
        """Return True in 3D, where the directions of the rays depend on the voxel size."""
        return ndim == 3

    def threshold_groups(self, *, into_contour: bool) -> tuple[tuple[str, ...], ...]:
        """Return the thresholds of the probability and of the overlap."""
        return (("TH_PROBABILITY", "TH_NMS"),)

    def bytes_per_pixel(self, *, in_blocks: bool) -> int:
        """Return the measured bytes if all pixels are candidates; see `Decoder.bytes_per_pixel`.

        The candidates of all blocks are compared afterward, which is not part of a box.
        """
        rays = len(self.rays)
        return 15 + 3 * rays // 2 if in_blocks else 30 + 2 * rays

    def collect(
        self, plan: DecodePlan, core: Box, shape: Sequence[int], read_maps: ReadMaps
    ) -> Objects:
        """Return the best polygons of the pixels above TH_PROBABILITY."""
        from singula.representations.decoders.polygons import (
            as_columns,
            find_candidates,
            join_polygons,
            thin_candidates,
        )
        from singula.util.boxes import local, shape_of

        maps, parts = read_maps(core), []
        first, *others = core
        rows = max(1, _SLAB_PIXELS // max(1, math.prod(shape_of(tuple(others)))))
        for start in range(first.start, first.stop, rows):
            slab = (slice(start, min(first.stop, start + rows)), *others)
            at = local(slab, core)
            candidates = find_candidates(
                maps[self.score][at],
                [maps[code][at] for code in self.rays],
                plan.thresholds["TH_PROBABILITY"],
                slab,
                max(shape),
                prefer_central=self.score not in _HIGHEST_IN_CENTER,
            )
            parts.append(thin_candidates(candidates, shape, plan.spacing))
        joined = join_polygons(parts, len(shape), len(self.rays))
        return as_columns(thin_candidates(joined, shape, plan.spacing))

    def merge(self, plan: DecodePlan, parts: Iterable[Objects], shape: Sequence[int]) -> Objects:
        """Return the polygons that remain after one non-maximum suppression."""
        from singula.representations.decoders.polygons import (
            as_columns,
            from_columns,
            join_polygons,
            suppress_overlaps,
            thin_candidates,
        )

        joined = join_polygons(map(from_columns, parts), len(shape), len(self.rays))
        candidates = thin_candidates(joined, shape, plan.spacing)
        limit = plan.thresholds["TH_NMS"]
        return as_columns(suppress_overlaps(candidates, shape, limit, plan.spacing))

    def paint(
        self,
        plan: DecodePlan,
        objects: Objects,
        box: Box,
        shape: Sequence[int],
        read_maps: ReadMaps,
    ) -> np.ndarray:
        """Return the labels of the polygons in a box."""
        from singula.representations.decoders.polygons import draw_polygons, from_columns

        return draw_polygons(from_columns(objects), box, plan.spacing)


def _score_of(codes: Sequence[str]) -> str | None:
    return next((code for code in _SCORES if code in codes), None)
