"""Channels: targets that a network learns, computed from labels and stored on disk."""

from singula.channels import binary, distance  # noqa: F401  (declares the channels)
from singula.channels.contour import CONTOUR_MODES, find_contour
from singula.channels.extent import Extent, measure_extent, needs_extent
from singula.channels.source import EncodeSettings
from singula.channels.store import ChannelStore
from singula.channels.table import (
    CHANNELS,
    CONFIGURATIONS,
    Channel,
    encode,
    encode_with,
    parse_channels,
)

__all__ = [
    "CHANNELS",
    "CONFIGURATIONS",
    "CONTOUR_MODES",
    "Channel",
    "ChannelStore",
    "EncodeSettings",
    "Extent",
    "encode",
    "encode_with",
    "find_contour",
    "measure_extent",
    "needs_extent",
    "parse_channels",
]
