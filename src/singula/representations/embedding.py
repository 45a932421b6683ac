"""Spatial embeddings: greedy clustering by seediness; importable without NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from singula.errors import UserError
from singula.representations.base import DecodePlan, Decoder, SpecialDecoder
from singula.representations.channel import OptionValue
from singula.representations.channel_table import planes_in
from singula.representations.families import FAMILIES
from singula.representations.objects import ObjectDecoder, Objects, ReadMaps
from singula.util.citation import Citation, Method

if TYPE_CHECKING:
    import numpy as np

    from singula.representations.decoders.embedding import EmbeddedPixels
    from singula.util.boxes import Box


@dataclass(frozen=True)
class EmbeddingDecoder(ObjectDecoder, SpecialDecoder):
    """Clusters of pixels whose embeddings are near the embedding of a pixel of high seediness.

    Parameters
    ----------
    planes : tuple of str
        Offsets and bandwidths in the order of the axes, and the seediness.
    """

    planes: tuple[str, ...] = ()
    method_name: ClassVar[str] = "embedding"
    columns: ClassVar[tuple[str, ...]] = ("centers", "radii")
    method: ClassVar[Method | None] = Method(
        "clustering of spatial embeddings",
        (
            Citation(
                "neven2019",
                "Neven, D.; others",
                "Instance segmentation by jointly optimizing spatial embeddings and clustering "
                "bandwidth",
                "CVPR",
                2019,
                "10.1109/CVPR.2019.00904",
            ),
            *FAMILIES["E"].citations,
        ),
    )

    @classmethod
    def suits(cls, codes: Sequence[str], options: Mapping[str, Mapping[str, OptionValue]]) -> bool:
        """Return True if the channels include an embedding."""
        return bool(planes_in(codes, "E"))

    @classmethod
    def build(cls, name: str, codes: Sequence[str]) -> Decoder:
        """Return the decoder of a configuration; see `SpecialDecoder.build`."""
        planes = planes_in(codes, "E")
        if len(planes) not in (5, 7):
            raise UserError(
                f"DATA_CHANNELS: got {name}, expected an embedding (E)",
                "add E",
                "decode.missing_channel",
            )
        return cls(name, tuple(codes), planes)

    @property
    def ndim(self) -> int | None:
        """Number of axes of the offsets."""
        return len(self.planes) // 2

    @property
    def used_channels(self) -> tuple[str, ...]:
        """Planes of the embedding."""
        return self.planes

    def uses_spacing(self, ndim: int) -> bool:
        """Return True: offsets are in pixels of the finest axis."""
        return True

    def threshold_groups(self, *, into_contour: bool) -> tuple[tuple[str, ...], ...]:
        """Return the thresholds of the first pixels and of the other ones."""
        return (("TH_SEEDINESS", "TH_CLUSTER"),)

    def bytes_per_pixel(self, *, in_blocks: bool) -> int:
        """Return the measured bytes of embeddings and clusters; see `Decoder.bytes_per_pixel`.

        The pixels of all blocks are clustered afterward, which is not part of a box.
        """
        return 160 if in_blocks else 225

    def collect(
        self, plan: DecodePlan, core: Box, shape: Sequence[int], read_maps: ReadMaps
    ) -> Objects:
        """Return the pixels above TH_CLUSTER with their embeddings."""
        return vars(self._embed_pixels(plan, core, shape, read_maps))

    def merge(self, plan: DecodePlan, parts: Iterable[Objects], shape: Sequence[int]) -> Objects:
        """Return the centers and radii of the clusters of all pixels."""
        from singula.representations.decoders.embedding import find_clusters, join_pixels

        limit = plan.thresholds["TH_SEEDINESS"]
        return vars(find_clusters(join_pixels(parts), shape, limit, plan.spacing))

    def paint(
        self,
        plan: DecodePlan,
        objects: Objects,
        box: Box,
        shape: Sequence[int],
        read_maps: ReadMaps,
    ) -> np.ndarray:
        """Return the number of the last cluster that contains each pixel of a box."""
        from singula.representations.decoders.embedding import Clusters, label_clusters

        pixels = self._embed_pixels(plan, box, shape, read_maps)
        return label_clusters(pixels, Clusters(**objects), box, shape, plan.spacing)

    def _embed_pixels(
        self, plan: DecodePlan, box: Box, shape: Sequence[int], read_maps: ReadMaps
    ) -> EmbeddedPixels:
        from singula.representations.decoders.embedding import embed_pixels

        maps, ndim = read_maps(box), len(shape)
        *vectors, seediness = (maps[code] for code in self.planes)
        limit = plan.thresholds["TH_CLUSTER"]
        return embed_pixels(vectors[:ndim], vectors[ndim:], seediness, limit, box, shape)
