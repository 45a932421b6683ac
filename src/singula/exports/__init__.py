"""Export of instances to the file formats of other programs."""

from __future__ import annotations

from singula.exports.export import FORMATS, export, sizes_from_text
from singula.exports.outlines import Outline, trace_outlines

__all__ = ["FORMATS", "Outline", "export", "sizes_from_text", "trace_outlines"]
