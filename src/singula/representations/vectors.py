"""Decoders of a foreground with a vector at each pixel; importable without NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from singula.errors import UserError
from singula.representations.base import Decoder, SpecialDecoder
from singula.representations.channel import OptionValue
from singula.representations.channel_table import CHANNELS, vector_channels
from singula.representations.combination import covering_channels, foreground_term
from singula.representations.objects import ObjectDecoder
from singula.representations.watershed import Term

_IN_PLANE = {1, 2}
"""Components that every image has: along x and y."""


@dataclass(frozen=True)
class VectorDecoder(ObjectDecoder, SpecialDecoder):
    """Decoder of the foreground and of a vector with a component along each axis.

    Parameters
    ----------
    foreground : Term
        Pixels that belong to instances.
    vectors : tuple of str
        Channels with the components in the order of the axes.
    """

    foreground: Term
    vectors: tuple[str, ...]
    vector: ClassVar[str]
    """Value of `Channel.vector` of these channels."""
    groups: ClassVar[tuple[tuple[str, ...], ...]]
    """Thresholds other than that of the foreground; see `Decoder.threshold_groups`."""

    @classmethod
    def suits(cls, codes: Sequence[str], options: Mapping[str, Mapping[str, OptionValue]]) -> bool:
        """Return True for a foreground and vectors in the plane."""
        return _are_complete(cls.components_in(codes)) and bool(covering_channels(codes))

    @classmethod
    def build(cls, name: str, codes: Sequence[str]) -> Decoder:
        """Return the decoder of a configuration; see `SpecialDecoder.build`."""
        vectors, term = cls.components_in(codes), foreground_term(codes)
        if not _are_complete(vectors) or term is None:
            x, y, z = vector_channels(cls.vector)
            missing = f"{x} and {y}, in volumes also {z}" if term else "F, the foreground"
            raise UserError(
                f"DATA_CHANNELS: got {name}, expected a foreground and {cls.vector}s ({x}, {y})",
                f"add {missing}",
                "decode.missing_channel",
            )
        return cls(name, tuple(codes), term, vectors)

    @classmethod
    def components_in(cls, codes: Sequence[str]) -> tuple[str, ...]:
        """Return the channels of the components in the order of the axes.

        Parameters
        ----------
        codes : sequence of str
            Keys of `CHANNELS`.
        """
        return tuple(code for code in reversed(vector_channels(cls.vector)) if code in codes)

    @property
    def covering(self) -> frozenset[str]:
        """The channel of the foreground."""
        return frozenset({self.foreground.channel})

    @property
    def ndim(self) -> int | None:
        """Number of components."""
        return len(self.vectors)

    @property
    def used_channels(self) -> tuple[str, ...]:
        """Foreground and components."""
        return (self.foreground.channel, *self.vectors)

    def uses_spacing(self, ndim: int) -> bool:
        """Return True: vectors are in the unit of the voxel size."""
        return True

    def threshold_groups(self, *, into_contour: bool) -> tuple[tuple[str, ...], ...]:
        """Return the thresholds of the vectors, and that of the foreground."""
        return (*self.groups, (self.foreground.key,))

    def bytes_per_pixel(self, *, in_blocks: bool) -> int:
        """Return the measured bytes of vectors and positions; see `Decoder.bytes_per_pixel`."""
        return 80


def _are_complete(vectors: Sequence[str]) -> bool:
    return {CHANNELS[code].component for code in vectors} >= _IN_PLANE
