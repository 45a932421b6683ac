"""Table of the decoders."""

from __future__ import annotations

from singula.representations import watershed
from singula.representations.base import Decoder

_ROWS: tuple[Decoder, ...] = (*watershed.CONFIGURATIONS,)

DECODERS: dict[str, Decoder] = {row.name: row for row in _ROWS}
"""Decoders by configuration of channels: the values of ``DATA_CHANNELS``."""
