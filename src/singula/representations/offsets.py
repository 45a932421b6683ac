"""Center offsets: pixels vote for the centers of instances; importable without NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from singula.errors import UserError
from singula.representations.base import Decoder, SpecialDecoder
from singula.representations.channel import OptionValue
from singula.representations.channel_table import CHANNELS
from singula.representations.combination import covering_channels, foreground_term
from singula.representations.objects import ObjectDecoder, Objects, ReadMaps
from singula.representations.watershed import Term
from singula.util.citation import Citation, Method

if TYPE_CHECKING:
    import numpy as np

    from singula.representations.base import DecodePlan
    from singula.util.boxes import Box

_IN_PLANE = {1, 2}
"""Components that every image has: along x and y."""
_FOREGROUND = Term("F", True, "TH_FOREGROUND")


@dataclass(frozen=True)
class CenterOffsets(ObjectDecoder, SpecialDecoder):
    """Votes of foreground pixels for the center of their instance.

    Parameters
    ----------
    foreground : Term
        Pixels that vote and belong to instances.
    offsets : tuple of str
        Channels with the offsets in the order of the axes.
    """

    foreground: Term = _FOREGROUND
    offsets: tuple[str, ...] = ("V", "H")
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
        offsets = _offsets_of(codes)
        if not _are_complete(offsets) or not covering_channels(codes):
            return False
        return all(options.get(code, {}).get("norm", True) is False for code in offsets)

    @classmethod
    def build(cls, name: str, codes: Sequence[str]) -> Decoder:
        """Return the decoder of a configuration; see `SpecialDecoder.build`."""
        offsets, term = _offsets_of(codes), foreground_term(codes)
        if not _are_complete(offsets) or term is None:
            missing = "H and V, in volumes also Z" if term else "F, the foreground"
            raise UserError(
                f"DATA_CHANNELS: got {name}, expected a foreground and offsets (H, V) "
                "for the votes of the pixels",
                f"add {missing}",
                "decode.missing_channel",
            )
        return cls(name, tuple(codes), term, offsets)

    @property
    def covering(self) -> frozenset[str]:
        """The channel of the foreground."""
        return frozenset({self.foreground.channel})

    @property
    def ndim(self) -> int | None:
        """Number of axes of the offsets."""
        return len(self.offsets)

    @property
    def used_channels(self) -> tuple[str, ...]:
        """Foreground and offsets."""
        return (self.foreground.channel, *self.offsets)

    def uses_spacing(self, ndim: int) -> bool:
        """Return True: offsets are in the unit of the voxel size."""
        return True

    def threshold_groups(self, *, into_contour: bool) -> tuple[tuple[str, ...], ...]:
        """Return the thresholds of the centers, and that of the foreground."""
        return (("TH_CENTER_RADIUS", "TH_VOTES"), (self.foreground.key,))

    def bytes_per_pixel(self, *, in_blocks: bool) -> int:
        """Return the measured bytes of votes and centers; see `Decoder.bytes_per_pixel`."""
        return 80

    def collect(
        self, plan: DecodePlan, core: Box, shape: Sequence[int], read_maps: ReadMaps
    ) -> Objects:
        """Return the pixels to which the pixels of a part of the image point."""
        from singula.representations.decoders.offsets import cast_votes, offsets_in_pixels

        maps = read_maps(core)
        votes = cast_votes(
            offsets_in_pixels([maps[code] for code in self.offsets], plan.spacing),
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
            offsets_in_pixels([maps[code] for code in self.offsets], plan.spacing),
            self.foreground(maps, plan.thresholds),
            Centers(objects["points"], objects["lengths"]),
            plan.spacing,
            [part.start for part in box],
        )


def _offsets_of(codes: Sequence[str]) -> tuple[str, ...]:
    """Return the channels with offsets in the order of the axes."""
    offsets = [code for code in codes if CHANNELS[code].vector == "offset"]
    return tuple(sorted(offsets, key=lambda code: -CHANNELS[code].component))


def _are_complete(offsets: Sequence[str]) -> bool:
    return {CHANNELS[code].component for code in offsets} >= _IN_PLANE
