"""Labels to the channels that a network learns, and back from the disk."""

from singula.channels import binary, distance  # noqa: F401  (declares the channels)
from singula.channels.contour import CONTOUR_MODES, find_contour
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
    "encode",
    "encode_with",
    "find_contour",
    "parse_channels",
]
