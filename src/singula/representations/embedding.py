"""Spatial embeddings: greedy clustering by seediness; importable without NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from singula.errors import UserError
from singula.representations.base import (
    Decoder,
    IntermediateImages,
    Maps,
    SeedFilter,
    SpecialDecoder,
    ThresholdValues,
)
from singula.representations.channel import OptionValue
from singula.representations.channel_table import planes_in
from singula.representations.families import FAMILIES
from singula.util.citation import Citation, Method

if TYPE_CHECKING:
    import numpy as np

    from singula.representations.decoders.settings import DecodeSettings


@dataclass(frozen=True)
class EmbeddingDecoder(SpecialDecoder):
    """Clusters of pixels whose embeddings are near the embedding of a pixel of high seediness.

    Parameters
    ----------
    planes : tuple of str
        Offsets and bandwidths in the order of the axes, and the seediness.
    """

    planes: tuple[str, ...] = ()
    method_name: ClassVar[str] = "embedding"
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
        """Return the measured bytes of embeddings and clusters; see `Decoder.bytes_per_pixel`."""
        return 90

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
        from singula.representations.decoders.embedding import cluster_embeddings
        from singula.representations.decoders.morphology import compact

        *vectors, seediness = (maps[code] for code in self.planes)
        ndim = len(vectors) // 2
        labels = cluster_embeddings(
            vectors[:ndim],
            vectors[ndim:],
            seediness,
            foreground_threshold=thresholds["TH_CLUSTER"],
            seed_threshold=thresholds["TH_SEEDINESS"],
            spacing=spacing,
        )
        count = int(labels.max(initial=0))
        return compact(labels, count, settings.remove_small, settings.min_border_pixels), None
