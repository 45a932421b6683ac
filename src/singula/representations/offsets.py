"""Center offsets: pixels vote for the centers of instances; importable without NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from singula.representations.channel import OptionValue
from singula.representations.objects import Objects, ReadMaps
from singula.representations.vectors import VectorDecoder
from singula.util.citation import Citation, Method

if TYPE_CHECKING:
    import numpy as np

    from singula.representations.base import DecodePlan
    from singula.util.boxes import Box


@dataclass(frozen=True)
class CenterOffsets(VectorDecoder):
    """Votes of foreground pixels for the center of their instance."""

    vector: ClassVar[str] = "offset"
    groups: ClassVar[tuple[tuple[str, ...], ...]] = (("TH_CENTER_RADIUS", "TH_VOTES"),)
    method_name: ClassVar[str] = "offsets"
    columns: ClassVar[tuple[str, ...]] = ("points", "lengths")
    method: ClassVar[Method | None] = Method(
        "votes of the pixels for the centers of instances",
        (
            Citation(
                "cheng2020",
                "Cheng, B.; others",
                "Panoptic-DeepLab: a simple, strong, and fast baseline for bottom-up panoptic "
                "segmentation",
                "CVPR",
                2020,
                "10.1109/CVPR42600.2020.01249",
            ),
        ),
    )

    @classmethod
    def suits(cls, codes: Sequence[str], options: Mapping[str, Mapping[str, OptionValue]]) -> bool:
        """Return True for a foreground and offsets that are not normalized."""
        offsets = cls.components_in(codes)
        in_pixels = (options.get(code, {}).get("norm", True) is False for code in offsets)
        return super().suits(codes, options) and all(in_pixels)

    def collect(
        self, plan: DecodePlan, core: Box, shape: Sequence[int], read_maps: ReadMaps
    ) -> Objects:
        """Return the pixels to which the pixels of a part of the image point."""
        from singula.representations.decoders.offsets import cast_votes, offsets_in_pixels

        maps = read_maps(core)
        votes = cast_votes(
            offsets_in_pixels([maps[code] for code in self.vectors], plan.spacing),
            self.foreground(maps, plan.thresholds),
            plan.spacing,
            [part.start for part in core],
            shape,
        )
        return {"places": votes.places, "counts": votes.counts, "lengths": votes.lengths}

    def merge(self, plan: DecodePlan, parts: Iterable[Objects], shape: Sequence[int]) -> Objects:
        """Return the centers of the image, from the votes of all parts."""
        from singula.representations.decoders.offsets import Votes, find_centers, merge_votes

        votes = merge_votes([Votes(**part) for part in parts])
        radius, share = plan.thresholds["TH_CENTER_RADIUS"], plan.thresholds["TH_VOTES"]
        centers = find_centers(votes, shape, radius, share, plan.spacing)
        return {"points": centers.positions, "lengths": centers.lengths}

    def paint(
        self,
        plan: DecodePlan,
        objects: Objects,
        box: Box,
        shape: Sequence[int],
        read_maps: ReadMaps,
    ) -> np.ndarray:
        """Return the number of the center to which each pixel of a box points."""
        from singula.representations.decoders.offsets import (
            Centers,
            join_centers,
            offsets_in_pixels,
        )

        maps = read_maps(box)
        return join_centers(
            offsets_in_pixels([maps[code] for code in self.vectors], plan.spacing),
            self.foreground(maps, plan.thresholds),
            Centers(objects["points"], objects["lengths"]),
            plan.spacing,
            [part.start for part in box],
        )
