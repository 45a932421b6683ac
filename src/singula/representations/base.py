"""Interface of the decoders.

The configuration reads the declarations of decoders, so this module and the modules of decoders
import NumPy only inside functions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from singula.representations.channel import OptionValue
from singula.util.citation import Method

if TYPE_CHECKING:
    import numpy as np

    from singula.representations.decoders.settings import DecodeSettings

Maps: TypeAlias = "Mapping[str, np.ndarray]"
SeedFilter: TypeAlias = "Callable[[np.ndarray], np.ndarray]"
ThresholdValues: TypeAlias = Mapping[str, float]


@dataclass(frozen=True)
class IntermediateImages:
    """Intermediate images of decoding, for display.

    Parameters
    ----------
    seeds : ndarray of uint32
        Labeled seeds before they grow, (y, x) or (z, y, x).
    foreground : ndarray of bool
        Growth mask, in the same shape.
    surface : ndarray
        Map that is flooded, in the same shape: ``Dv2`` from low to high, ``B`` from high to low.
    """

    seeds: np.ndarray
    foreground: np.ndarray
    surface: np.ndarray


@dataclass(frozen=True)
class Decoder(ABC):
    """Conversion of the maps of one configuration of channels into instances.

    A decoder is a subclass in its own module. Its configurations are rows of
    `singula.representations.table.DECODERS`.

    Parameters
    ----------
    name : str
        Name of the configuration: the value of ``DATA_CHANNELS``, such as ``BCD``.
    channels : tuple of str
        Required channels, in the order of the network's outputs.
    """

    name: str
    channels: tuple[str, ...]
    supports_blocks: ClassVar[bool] = False
    """True if images can be decoded in blocks."""
    block_note: ClassVar[str | None] = None
    """Notice for blocks, if their instances can differ from those of the whole image."""
    removes_seeds: ClassVar[bool] = False
    """True if REMOVE_BEFORE_MW removes small seeds instead of small instances."""
    method: ClassVar[Method | None] = None
    """Name of the method in a text, and its citations."""
    filters: ClassVar[Mapping[str, float]] = MappingProxyType({})
    """Thresholds that only remove whole instances, with the value that removes none."""

    @abstractmethod
    def threshold_groups(self, *, into_contour: bool) -> tuple[tuple[str, ...], ...]:
        """Return the names of the thresholds that change the instances.

        Parameters
        ----------
        into_contour : bool
            Grow seeds into the contour (GROW_INTO_CONTOUR).

        Returns
        -------
        tuple of tuple of str
            Keys of `singula.representations.thresholds.THRESHOLDS`, each once. Thresholds of a
            group depend on each other and are searched together, one group after the other.
        """

    def threshold_names(self, *, into_contour: bool) -> tuple[str, ...]:
        """Return the names of `threshold_groups` in one tuple."""
        groups = self.threshold_groups(into_contour=into_contour)
        return tuple(name for group in groups for name in group)

    @abstractmethod
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
        """Decode an image; `singula.representations.decoders.decode` validates the arguments.

        Parameters
        ----------
        maps : mapping of str to ndarray
            Maps of `channels`, all (y, x) or all (z, y, x).
        thresholds : mapping of str to float
            Value of every threshold by name.
        settings : DecodeSettings
            Sizes and morphology.
        spacing : sequence of float, optional
            Voxel size per axis.
        seed_filter : callable, optional
            Function of the labeled seeds that returns the seeds to grow, with the same ids. A
            decoder without seeds ignores it.
        keep_parts : bool
            Return intermediate images, if the decoder has any.

        Returns
        -------
        labels : ndarray of unsigned int
            Consecutive ids from 1, in the smallest dtype.
        parts : IntermediateImages or None
        """

    def filtered_values(
        self, labels: np.ndarray, maps: Maps, spacing: Sequence[float] | None
    ) -> dict[str, np.ndarray]:
        """Return the values of the instances that the thresholds in `filters` limit.

        A search of thresholds decodes an image once for all values of such a threshold.

        Parameters
        ----------
        labels : ndarray of unsigned int
            Instances that were decoded without these thresholds.
        maps : mapping of str to ndarray
            Maps of `channels`, after `prepare`.
        spacing : sequence of float, optional
            Voxel size per axis.

        Returns
        -------
        dict of str to ndarray of float, shape (n + 1,)
            Value of each id by threshold: an instance remains if its value is at most the
            threshold. The value is -inf for instances that always remain, and for the background.
        """
        return {}

    def prepare(self, maps: Maps) -> Maps:
        """Return the maps with those that are computed from their neighborhoods.

        Parameters
        ----------
        maps : mapping of str to ndarray
            Maps of `channels`, of an image or of a box of it. A pixel depends on its direct
            neighbors at most.
        """
        return maps

    def reach(
        self, settings: DecodeSettings, spacing: Sequence[float] | None, ndim: int
    ) -> tuple[int, ...]:
        """Return the halo per axis of a block, in pixels, that the masks in the block depend on."""
        return (0,) * ndim

    @property
    def covering(self) -> frozenset[str]:
        """Channels that state where instances are, so that they are learned in the background."""
        return frozenset()

    @property
    def ndim(self) -> int | None:
        """Number of axes of the images that the channels are for; None if it does not matter."""
        return None

    @property
    def used_channels(self) -> tuple[str, ...]:
        """Channels that determine the instances; the other ones are learned only."""
        return self.channels

    def uses_spacing(self, ndim: int) -> bool:
        """Return True if the meaning of the maps depends on the voxel size of the training.

        Parameters
        ----------
        ndim : int
            Number of axes of the images, 2 or 3.
        """
        return False

    def bytes_per_pixel(self, *, in_blocks: bool) -> int:
        """Return the bytes of memory per pixel of decoding, in addition to the maps.

        The default is that of the watershed. In a whole image, labels, masks and queue take 10
        bytes, see docs/benchmarks/memory.md, and labels after post-processing 4. A box of a block
        also has surface, seeds, and the distances within which the labels are exact.

        Parameters
        ----------
        in_blocks : bool
            Return the bytes of a box of a block instead of those of a whole image.
        """
        return 34 if in_blocks else 14

    def notes(self, thresholds: ThresholdValues) -> tuple[str, ...]:
        """Return notices for the user about the configuration and its thresholds."""
        return ()


@dataclass(frozen=True)
class DecodePlan:
    """Decoder, thresholds and settings, the same for every block.

    Parameters
    ----------
    decoder : Decoder
    thresholds : mapping of str to float
        Thresholds of the whole image.
    settings : DecodeSettings
    spacing : sequence of float, optional
        Voxel size per axis, for the morphology.
    """

    decoder: Decoder
    thresholds: ThresholdValues
    settings: DecodeSettings
    spacing: Sequence[float] | None = None

    @property
    def min_sizes(self) -> tuple[int, int]:
        """Sizes below which decoded instances are removed, and those at the border of the image."""
        settings = self.settings
        if self.decoder.removes_seeds and settings.remove_before:
            return 0, 0
        return settings.remove_small, settings.min_border_pixels

    def reach(self, ndim: int) -> tuple[int, ...]:
        """Return the pixels around a box that its masks depend on, per axis."""
        return self.decoder.reach(self.settings, self.spacing, ndim)


class SpecialDecoder(Decoder):
    """Decoder other than the watershed; a row of `singula.representations.table.SPECIAL`."""

    method_name: ClassVar[str]
    """Value of ``DECODER``."""

    @classmethod
    @abstractmethod
    def suits(cls, codes: Sequence[str], options: Mapping[str, Mapping[str, OptionValue]]) -> bool:
        """Return True if this is the decoder of these channels unless ``DECODER`` is set.

        Parameters
        ----------
        codes : sequence of str
            Keys of `singula.representations.channel_table.CHANNELS`.
        options : mapping of str to mapping
            Options by channel code that are set.
        """

    @classmethod
    @abstractmethod
    def build(cls, name: str, codes: Sequence[str]) -> Decoder:
        """Return the decoder of a configuration.

        Parameters
        ----------
        name : str
            Name of the configuration, such as ``Db+R32``.
        codes : sequence of str
            Keys of `singula.representations.channel_table.CHANNELS`.

        Raises
        ------
        UserError
            ``decode.missing_channel``: the decoder lacks a channel.
        """
