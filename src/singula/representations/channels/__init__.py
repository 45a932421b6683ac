"""Channels: targets that a network learns, computed from labels and stored on disk."""

from singula.representations.channel import Channel
from singula.representations.channel_table import CHANNELS
from singula.representations.channels.contour import CONTOUR_MODES, find_contour
from singula.representations.channels.encode import encode, encode_with
from singula.representations.channels.extent import (
    Extent,
    depends_on_ids,
    measure_extent,
    needs_extent,
)
from singula.representations.channels.source import EncodeSettings
from singula.representations.channels.table import parse_channels

__all__ = [
    "CHANNELS",
    "CONTOUR_MODES",
    "Channel",
    "EncodeSettings",
    "Extent",
    "depends_on_ids",
    "encode",
    "encode_with",
    "find_contour",
    "measure_extent",
    "needs_extent",
    "parse_channels",
]
