"""Flows as in Cellpose: pixels move along flows into sinks; importable without NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from singula.representations.base import (
    DecodePlan,
    IntermediateImages,
    Maps,
    SeedFilter,
    ThresholdValues,
)
from singula.representations.channel_table import CHANNELS
from singula.representations.objects import Objects, ReadMaps
from singula.representations.vectors import VectorDecoder
from singula.util.citation import Method

if TYPE_CHECKING:
    import numpy as np

    from singula.representations.decoders.settings import DecodeSettings
    from singula.util.boxes import Box


@dataclass(frozen=True)
class FlowDecoder(VectorDecoder):
    """Foreground pixels that move along the flows into the same sink."""

    vector: ClassVar[str] = "flow"
    groups: ClassVar[tuple[tuple[str, ...], ...]] = (("TH_FLOW_ERROR", "TH_FLOW_STEPS"),)
    filters: ClassVar[Mapping[str, float]] = MappingProxyType({"TH_FLOW_ERROR": 0.0})
    method_name: ClassVar[str] = "flows"
    columns: ClassVar[tuple[str, ...]] = ("points", "starts", "stops", "places", "numbers")
    method: ClassVar[Method | None] = Method(
        "integration of the flows of pixels into sinks", CHANNELS["Gh"].citations
    )

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
            touch_border,
        )
        from singula.representations.decoders.morphology import compact

        shape = maps[self.channels[0]].shape
        whole = tuple(slice(0, size) for size in shape)
        plan = DecodePlan(self, thresholds, settings, spacing)
        ends = self._ends(plan, whole, shape, lambda box: {n: maps[n][box] for n in self.channels})
        sinks = find_sinks([count_arrivals(ends, whole, shape)], shape)
        labels = label_arrivals(ends, sinks)
        self._remove_wrong(plan, labels, maps, touch_border(sinks, shape))
        return compact(labels, len(sinks.points), *plan.min_sizes), None

    def filtered_values(
        self, labels: np.ndarray, maps: Maps, spacing: Sequence[float] | None
    ) -> dict[str, np.ndarray]:
        """Return the flow error of each instance; see `Decoder.filtered_values`.

        The flows of an instance at the border of the image are not known: they point to the center
        of the whole object, part of which is outside. Such instances remain.
        """
        import numpy as np

        from singula.representations.decoders.flows import flow_errors
        from singula.representations.decoders.morphology import labels_at_border

        errors = flow_errors(labels, [maps[code] for code in self.vectors], spacing)
        # An axis of one pixel has no border.
        errors[labels_at_border(np.squeeze(labels))] = -np.inf
        return {"TH_FLOW_ERROR": errors}

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
        from singula.representations.decoders.flows import (
            Sinks,
            label_arrivals,
            touch_border,
            whole_objects,
        )
        from singula.util.boxes import local

        sinks = Sinks(**objects)
        if plan.thresholds["TH_FLOW_ERROR"] <= 0:
            return label_arrivals(self._ends(plan, box, shape, read_maps), sinks)
        outer, is_inside = whole_objects(sinks, box)
        labels = label_arrivals(self._ends(plan, outer, shape, read_maps), sinks)
        labels[~is_inside[labels]] = 0
        self._remove_wrong(plan, labels, read_maps(outer), touch_border(sinks, shape))
        return labels[local(box, outer)]

    def _ends(
        self, plan: DecodePlan, core: Box, shape: Sequence[int], read_maps: ReadMaps
    ) -> np.ndarray:
        """Return the flat position in the image at which each pixel of a part arrives."""
        from singula.representations.decoders.flows import follow_flows

        def read(box: Box) -> tuple[list[np.ndarray], np.ndarray]:
            maps = read_maps(box)
            return [maps[code] for code in self.vectors], self.foreground(maps, plan.thresholds)

        steps = int(plan.thresholds["TH_FLOW_STEPS"])
        return follow_flows(read, core, shape, steps, plan.spacing)

    def _remove_wrong(
        self, plan: DecodePlan, labels: np.ndarray, maps: Maps, at_border: np.ndarray
    ) -> None:
        """Remove instances whose flows differ from the predicted ones, in place.

        Parameters
        ----------
        plan : DecodePlan
        labels : ndarray of int32
            Numbers of the sinks, of an image or of a box that contains whole instances.
        maps : mapping of str to ndarray
            Maps of the box.
        at_border : ndarray of bool
            True for instances at the border of the image, which remain; see `filtered_values`.
        """
        from singula.representations.decoders.flows import flow_errors

        limit = plan.thresholds["TH_FLOW_ERROR"]
        if limit <= 0:
            return
        errors = flow_errors(labels, [maps[code] for code in self.vectors], plan.spacing)
        is_wrong = (errors > limit) & ~at_border[: len(errors)]
        if is_wrong.any():
            labels[is_wrong[labels]] = 0
