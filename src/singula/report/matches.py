"""Colors and patterns of matched, missed and false objects, for the interface and the report.

The colors are those of M. Okabe and K. Ito, which people with a color vision deficiency can
distinguish. Patterns distinguish the kinds without colors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Pattern = Literal["plain", "rising", "falling", "crossed", "level"]
MISSED, MATCHED, FALSE = 1, 2, 4
_PERIOD, _WIDTH = 8, 2  # of the stripes, pixels of the picture
_SHADE = 0.35  # brightness of the stripes


@dataclass(frozen=True)
class MatchKind:
    """Kind of a pixel in the comparison of predicted objects with the ground truth.

    Parameters
    ----------
    bits : int
        Sum of `MISSED`, `MATCHED` and `FALSE` for the objects that cover the pixel.
    color : tuple of int
        Red, green and blue, 0 to 255.
    pattern : str
        Dark stripes over the color.
    label : str
        Meaning, for the legend.
    """

    bits: int
    color: tuple[int, int, int]
    pattern: Pattern
    label: str


MATCH_KINDS = (
    MatchKind(MATCHED, (86, 180, 233), "plain", "matches an object in your labels"),
    MatchKind(MISSED, (213, 94, 0), "rising", "missed: only in your labels"),
    MatchKind(FALSE, (240, 228, 66), "falling", "not in your labels"),
    MatchKind(
        MISSED | FALSE, (204, 121, 167), "crossed", "missed, under an object not in your labels"
    ),
    MatchKind(MISSED | MATCHED, (0, 158, 115), "level", "missed, under another match"),
)
"""Kinds of pixels in the order of the legend."""


def match_bits(colors: Array) -> Array:
    """Return the bits of `MatchKind` for the result of `singula.metrics.color_associations`.

    Parameters
    ----------
    colors : ndarray of uint8, shape (…, 3)
        Red: missed, green: matched, blue: false.
    """
    bits: Array = ((colors > 0) * np.array([MISSED, MATCHED, FALSE])).sum(-1).astype(np.uint8)
    return bits


def match_palette() -> Array:
    """Return the colors (16, 3) of the values of `match_codes`; 0 is black."""
    table = np.zeros((16, 3), np.uint8)
    for kind in MATCH_KINDS:
        table[kind.bits] = kind.color
        table[kind.bits + 8] = np.multiply(kind.color, _SHADE).astype(np.uint8)
    return table


def match_codes(bits: Array, origin: Sequence[int] = (0, 0)) -> Array:
    """Return the index in `match_palette` for each pixel; the stripes of a pattern have 8 more.

    Parameters
    ----------
    bits : ndarray of int, shape (y, x)
        Result of `match_bits`.
    origin : sequence of int
        Position of the first pixel in the picture, so that the stripes of tiles continue.
    """
    y = np.arange(bits.shape[0])[:, None] + origin[0]
    x = np.arange(bits.shape[1])[None, :] + origin[1]
    rising, falling = ((y + x) % _PERIOD < _WIDTH), ((y - x) % _PERIOD < _WIDTH)
    stripes = {
        "rising": rising,
        "falling": falling,
        "crossed": rising | falling,
        "level": np.broadcast_to(y % _PERIOD < _WIDTH, bits.shape),
    }
    codes: Array = bits.astype(np.uint8)
    for kind in MATCH_KINDS:
        if kind.pattern in stripes:
            codes[(bits == kind.bits) & stripes[kind.pattern]] += 8
    return codes


def swatch_style(kind: MatchKind) -> str:
    """Return the CSS of a sample of the color and pattern of a kind."""
    color = "#" + "".join(f"{part:02x}" for part in kind.color)
    dark = "#" + "".join(f"{int(part * _SHADE):02x}" for part in kind.color)
    angles = {"rising": (135,), "falling": (45,), "crossed": (45, 135), "level": (0,)}
    layers = [
        f"repeating-linear-gradient({angle}deg,{dark} 0 1.5px,transparent 1.5px 5px)"
        for angle in angles.get(kind.pattern, ())
    ]
    return "background:" + ",".join([*layers, color])
