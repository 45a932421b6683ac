"""Mutex watershed of affinities; importable without NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from singula.representations.base import (
    DecodePlan,
    Decoder,
    IntermediateImages,
    Maps,
    SeedFilter,
    SpecialDecoder,
    ThresholdValues,
)
from singula.representations.channel import OptionValue
from singula.representations.channel_table import CHANNELS, planes_in
from singula.representations.combination import foreground_term, require_neighbors
from singula.representations.families import FAMILIES, Offset
from singula.representations.objects import ObjectDecoder, Objects, ReadMaps
from singula.representations.watershed import Term
from singula.util.citation import Method

if TYPE_CHECKING:
    import numpy as np

    from singula.representations.decoders.settings import DecodeSettings
    from singula.util.boxes import Box


@dataclass(frozen=True)
class MutexWatershed(ObjectDecoder, SpecialDecoder):
    """Mutex watershed of affinities, within a foreground if the channels have one.

    Parameters
    ----------
    planes : tuple of str
        Affinities.
    foreground : Term, optional
        Pixels that belong to instances.
    """

    planes: tuple[str, ...] = ()
    foreground: Term | None = None
    method_name: ClassVar[str] = "mutex"
    columns: ClassVar[tuple[str, ...]] = ("points", "segments", "instances")
    block_note: ClassVar[str | None] = (
        "the mutex watershed divides each block separately and joins segments across faces: the "
        "instances can differ slightly from those of the whole image"
    )
    method: ClassVar[Method | None] = Method("the mutex watershed", FAMILIES["A"].citations)

    @classmethod
    def suits(cls, codes: Sequence[str], options: Mapping[str, Mapping[str, OptionValue]]) -> bool:
        """Return True if the channels include affinities."""
        return bool(planes_in(codes, "A"))

    @classmethod
    def build(cls, name: str, codes: Sequence[str]) -> Decoder:
        """Return the decoder of a configuration; see `SpecialDecoder.build`."""
        planes = planes_in(codes, "A")
        require_neighbors(codes, name)
        return cls(name, tuple(codes), planes, foreground_term(codes))

    @property
    def offsets(self) -> tuple[Offset, ...]:
        """Offset of each of `planes`."""
        return tuple(CHANNELS[code].offset for code in self.planes)

    @property
    def ndim(self) -> int | None:
        """Number of axes of the offsets."""
        return len(self.offsets[0])

    def threshold_groups(self, *, into_contour: bool) -> tuple[tuple[str, ...], ...]:
        """Return the threshold of the affinities, and that of the foreground."""
        if self.foreground is None:
            return (("TH_AFFINITY",),)
        return (("TH_AFFINITY",), (self.foreground.key,))

    @property
    def used_channels(self) -> tuple[str, ...]:
        """Affinities and the foreground."""
        return (*self.planes, self.foreground.channel) if self.foreground else self.planes

    def reach(
        self, settings: DecodeSettings, spacing: Sequence[float] | None, ndim: int
    ) -> tuple[int, ...]:
        """Return the longest offset along each axis."""
        return tuple(max(abs(offset[axis]) for offset in self.offsets) for axis in range(ndim))

    def bytes_per_pixel(self, *, in_blocks: bool) -> int:
        """Return the measured bytes of the votes and their order; see `Decoder.bytes_per_pixel`."""
        return 250 + 35 * len(self.planes)

    def decode(
        self,
        maps: Maps,
        thresholds: ThresholdValues,
        settings: DecodeSettings,
        *,
        spacing: Sequence[float] | None,
        seed_filter: SeedFilter | None,
        keep_parts: bool,
    ) -> tuple[np.ndarray, IntermediateImages | None]:
        """Decode an image; see `Decoder.decode`."""
        import numpy as np

        from singula.representations.decoders.morphology import compact_in_place

        labels = np.pad(self.divide(maps, thresholds), 1)
        count = int(labels.max())
        labels = compact_in_place(
            labels, count, min_size=settings.remove_small, border_size=settings.min_border_pixels
        )
        return labels, None

    def divide(self, maps: Maps, thresholds: ThresholdValues) -> np.ndarray:
        """Return the instances of an image or a box as int32, before small ones are removed."""
        from singula.representations.decoders.mutex import mutex_watershed

        mask = self.foreground(maps, thresholds) if self.foreground else None
        affinities = [maps[code] for code in self.planes]
        return mutex_watershed(affinities, self.offsets, thresholds["TH_AFFINITY"], mask)

    def collect(
        self, plan: DecodePlan, core: Box, shape: Sequence[int], read_maps: ReadMaps
    ) -> Objects:
        """Return the instances of a part of the image, and their contacts; see `Segments`."""
        from singula.representations.decoders.mutex_blocks import segments_of
        from singula.util.boxes import grown

        outer = grown(core, plan.reach(len(shape)), shape)
        maps = read_maps(outer)
        labels = self.divide(maps, plan.thresholds)
        affinities = [maps[code] for code in self.planes]
        return segments_of(labels, affinities, self.offsets, core, outer, shape)

    def merge(self, plan: DecodePlan, parts: Iterable[Objects], shape: Sequence[int]) -> Objects:
        """Return the instances that parts of the image form together."""
        from singula.representations.decoders.mutex_blocks import join_segments

        return join_segments(parts, plan.thresholds["TH_AFFINITY"], shape)

    def paint(
        self,
        plan: DecodePlan,
        objects: Objects,
        box: Box,
        shape: Sequence[int],
        read_maps: ReadMaps,
    ) -> np.ndarray:
        """Return the ids of the instances in a part of the image that `collect` has received."""
        from singula.representations.decoders.mutex_blocks import paint_segments
        from singula.util.boxes import grown

        outer = grown(box, plan.reach(len(shape)), shape)
        labels = self.divide(read_maps(outer), plan.thresholds)
        return paint_segments(labels, objects, box, outer, shape)
