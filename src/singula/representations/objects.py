"""Interface of decoders that collect objects from parts of an image; importable without NumPy."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from singula.representations.base import (
    DecodePlan,
    Decoder,
    IntermediateImages,
    Maps,
    SeedFilter,
    ThresholdValues,
)

if TYPE_CHECKING:
    import numpy as np

    from singula.representations.decoders.settings import DecodeSettings
    from singula.util.boxes import Box

ReadMaps: TypeAlias = "Callable[[Box], Maps]"
Objects: TypeAlias = "Mapping[str, np.ndarray]"


class ObjectDecoder(Decoder):
    """Decoder that collects candidates of objects, merges them, and paints the instances.

    A whole image is one part. Neither candidates nor painted pixels may depend on the division of
    the image, so that the instances of blocks equal those of the whole image; a decoder for which
    they do has a `block_note`, and `paint` receives the parts of `collect`.
    """

    supports_blocks: ClassVar[bool] = True
    columns: ClassVar[tuple[str, ...]]
    """Names of the arrays that `merge` returns."""

    @abstractmethod
    def collect(
        self, plan: DecodePlan, core: Box, shape: Sequence[int], read_maps: ReadMaps
    ) -> Objects:
        """Return the candidates whose position is in a part of the image.

        Parameters
        ----------
        plan : DecodePlan
            Thresholds, settings and spacing.
        core : Box
            The part.
        shape : sequence of int
            Shape of the image, in pixels.
        read_maps : callable
            Return the maps by name of a box of the image, which may be larger than `core`.

        Returns
        -------
        mapping of str to ndarray
            Arrays with a row per candidate; positions are those in the image.
        """

    @abstractmethod
    def merge(self, plan: DecodePlan, parts: Iterable[Objects], shape: Sequence[int]) -> Objects:
        """Return the objects of the image; the id of an object is the number of its row, from 1.

        Parameters
        ----------
        plan : DecodePlan
            Thresholds, settings and spacing.
        parts : iterable of mapping
            Results of `collect` for parts that cover the image, in any order.
        shape : sequence of int
            Shape of the image, in pixels.

        Returns
        -------
        mapping of str to ndarray
            The arrays of `columns` with a row per object.
        """

    @abstractmethod
    def paint(
        self,
        plan: DecodePlan,
        objects: Objects,
        box: Box,
        shape: Sequence[int],
        read_maps: ReadMaps,
    ) -> np.ndarray:
        """Return the ids of the objects in a box of the image.

        Parameters
        ----------
        plan : DecodePlan
            Thresholds, settings and spacing.
        objects : mapping of str to ndarray
            Result of `merge`.
        box : Box
            Box of the image.
        shape : sequence of int
            Shape of the image, in pixels.
        read_maps : callable
            Return the maps by name of a box of the image.

        Returns
        -------
        ndarray of int32
            Ids with the shape of the box; 0 is background.
        """

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
        from singula.representations.decoders.morphology import compact

        shape = maps[self.channels[0]].shape
        whole = tuple(slice(0, size) for size in shape)
        plan = DecodePlan(self, thresholds, settings, spacing)

        def read_maps(box: Box) -> Maps:
            return {name: values[box] for name, values in maps.items()}

        objects = self.merge(plan, [self.collect(plan, whole, shape, read_maps)], shape)
        ids = self.paint(plan, objects, whole, shape, read_maps)
        count = len(objects[self.columns[0]])
        return compact(ids, count, *plan.min_sizes), None
