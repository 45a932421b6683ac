"""Flows as in Cellpose: pixels move along flows into sinks; importable without NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from singula.errors import UserError
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
from singula.representations.channel_table import CHANNELS
from singula.representations.combination import covering_channels, foreground_term
from singula.representations.objects import ObjectDecoder, Objects, ReadMaps
from singula.representations.watershed import Term
from singula.util.citation import Method

if TYPE_CHECKING:
    import numpy as np

    from singula.representations.decoders.settings import DecodeSettings
    from singula.util.boxes import Box

_FOREGROUND = Term("F", True, "TH_FOREGROUND")


@dataclass(frozen=True)
class FlowDecoder(ObjectDecoder, SpecialDecoder):
    """Foreground pixels that move along the flows into the same sink.

    Parameters
    ----------
    foreground : Term
        Pixels that move and belong to instances.
    flows : tuple of str
        Channels with the flows in the order of the axes.
    """

    foreground: Term = _FOREGROUND
    flows: tuple[str, ...] = ("Gv", "Gh")
    method_name: ClassVar[str] = "flows"
    columns: ClassVar[tuple[str, ...]] = ("points", "starts", "stops", "places", "numbers")
    method: ClassVar[Method | None] = Method(
        "integration of the flows of pixels into sinks", CHANNELS["Gh"].citations
    )

    @classmethod
    def suits(cls, codes: Sequence[str], options: Mapping[str, Mapping[str, OptionValue]]) -> bool:
        """Return True for a foreground and flows."""
        return len(_flows_of(codes)) > 1 and bool(covering_channels(codes))

    @classmethod
    def build(cls, name: str, codes: Sequence[str]) -> Decoder:
        """Return the decoder of a configuration; see `SpecialDecoder.build`."""
        flows, term = _flows_of(codes), foreground_term(codes)
        if len(flows) < 2 or term is None:
            missing = "Gh and Gv, in volumes also Gz" if term else "F, the foreground"
            raise UserError(
                f"DATA_CHANNELS: got {name}, expected a foreground and flows (Gh, Gv)",
                f"add {missing}",
                "decode.missing_channel",
            )
        return cls(name, tuple(codes), term, flows)

    @property
    def covering(self) -> frozenset[str]:
        """The channel of the foreground."""
        return frozenset({self.foreground.channel})

    @property
    def ndim(self) -> int | None:
        """Number of axes of the flows."""
        return len(self.flows)

    @property
    def used_channels(self) -> tuple[str, ...]:
        """Foreground and flows."""
        return (self.foreground.channel, *self.flows)

    def uses_spacing(self, ndim: int) -> bool:
        """Return True: flows are unit vectors in physical units."""
        return True

    def threshold_groups(self, *, into_contour: bool) -> tuple[tuple[str, ...], ...]:
        """Return the thresholds of the flows, and that of the foreground."""
        return (("TH_FLOW_ERROR", "TH_FLOW_STEPS"), (self.foreground.key,))

    def bytes_per_pixel(self, *, in_blocks: bool) -> int:
        """Return the measured bytes of positions and flows; see `Decoder.bytes_per_pixel`."""
        return 80

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
        """Decode an image, whose pixels move only once; see `Decoder.decode`."""
        from singula.representations.decoders.flows import (
            count_arrivals,
            find_sinks,
            label_arrivals,
        )
        from singula.representations.decoders.morphology import compact

        shape = maps[self.channels[0]].shape
        whole = tuple(slice(0, size) for size in shape)
        plan = DecodePlan(self, thresholds, settings, spacing)
        ends = self._ends(plan, whole, shape, lambda box: {n: maps[n][box] for n in self.channels})
        sinks = find_sinks([count_arrivals(ends, whole, shape)], shape)
        labels = label_arrivals(ends, sinks)
        self._remove_wrong(plan, labels, maps)
        return compact(labels, len(sinks.points), *plan.min_sizes), None

    def collect(
        self, plan: DecodePlan, core: Box, shape: Sequence[int], read_maps: ReadMaps
    ) -> Objects:
        """Return the pixels at which the pixels of a part of the image arrive."""
        from singula.representations.decoders.flows import count_arrivals

        ends = self._ends(plan, core, shape, read_maps)
        return vars(count_arrivals(ends, core, shape))

    def merge(self, plan: DecodePlan, parts: Iterable[Objects], shape: Sequence[int]) -> Objects:
        """Return the sinks of the image, from the arrivals of all parts."""
        from singula.representations.decoders.flows import Arrivals, find_sinks

        return vars(find_sinks([Arrivals(**part) for part in parts], shape))

    def paint(
        self,
        plan: DecodePlan,
        objects: Objects,
        box: Box,
        shape: Sequence[int],
        read_maps: ReadMaps,
    ) -> np.ndarray:
        """Return the number of the sink of each pixel of a box.

        The flow error of an instance needs all of its pixels, so that the pixels of all instances
        in the box move.
        """
        from singula.representations.decoders.flows import Sinks, label_arrivals, whole_objects
        from singula.util.boxes import local

        sinks = Sinks(**objects)
        if plan.thresholds["TH_FLOW_ERROR"] <= 0:
            return label_arrivals(self._ends(plan, box, shape, read_maps), sinks)
        outer, is_inside = whole_objects(sinks, box)
        labels = label_arrivals(self._ends(plan, outer, shape, read_maps), sinks)
        labels[~is_inside[labels]] = 0
        self._remove_wrong(plan, labels, read_maps(outer))
        return labels[local(box, outer)]

    def _ends(
        self, plan: DecodePlan, core: Box, shape: Sequence[int], read_maps: ReadMaps
    ) -> np.ndarray:
        """Return the flat position in the image at which each pixel of a part arrives."""
        from singula.representations.decoders.flows import follow_flows

        def read(box: Box) -> tuple[list[np.ndarray], np.ndarray]:
            maps = read_maps(box)
            return [maps[code] for code in self.flows], self.foreground(maps, plan.thresholds)

        steps = int(plan.thresholds["TH_FLOW_STEPS"])
        return follow_flows(read, core, shape, steps, plan.spacing)

    def _remove_wrong(self, plan: DecodePlan, labels: np.ndarray, maps: Maps) -> None:
        """Remove instances whose flows differ from the predicted ones, in place."""
        from singula.representations.decoders.flows import remove_wrong_flows

        limit = plan.thresholds["TH_FLOW_ERROR"]
        if limit > 0:
            remove_wrong_flows(labels, [maps[code] for code in self.flows], limit, plan.spacing)


def _flows_of(codes: Sequence[str]) -> tuple[str, ...]:
    """Return the channels with flows in the order of the axes."""
    flows = [code for code in codes if CHANNELS[code].vector == "flow"]
    return tuple(sorted(flows, key=lambda code: -CHANNELS[code].component))
