"""Display of the channels of an image: color, contrast and gamma."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.report.overlay import rescale

Array = npt.NDArray[Any]
Color = tuple[int, int, int]
COLORS: dict[str, Color] = {
    "gray": (255, 255, 255),
    "magenta": (255, 0, 255),
    "green": (0, 255, 0),
    "cyan": (0, 255, 255),
    "yellow": (255, 255, 0),
    "red": (255, 0, 0),
    "blue": (0, 0, 255),
    "orange": (255, 140, 0),
}
"""Colors of a channel by name."""
_RGB: tuple[Color, ...] = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
# Magenta and green are distinguishable with a color vision deficiency, red and green are not.
_SEVERAL = ("magenta", "green", "cyan", "yellow", "blue", "orange", "red", "gray")
AUTO, NONE = "auto", "none"
_MAX_GAMMA = 10.0


@dataclass(frozen=True)
class ChannelLook:
    """Display of one channel.

    Parameters
    ----------
    color : tuple of int
        Color of the value `high`: red, green and blue, 0 to 255.
    low, high : float
        Values shown as black and as the full color.
    gamma : float
        Exponent of the rescaled values; below 1, dark parts become brighter.
    """

    color: Color
    low: float
    high: float
    gamma: float = 1.0


Look = Mapping[int, ChannelLook]
"""Display of an image: the shown channels by number, from 0."""


def automatic_look(ranges: Sequence[tuple[float, float]]) -> dict[int, ChannelLook]:
    """Return the display of an image with default colors.

    Three channels are red, green and blue in a common range. A single channel is gray; other
    numbers of channels have different colors.

    Parameters
    ----------
    ranges : sequence of (float, float)
        Values of each channel shown as black and as the full color.
    """
    colors: Sequence[Color]
    if len(ranges) == 3:
        colors = _RGB
    elif len(ranges) == 1:
        colors = [COLORS["gray"]]
    else:
        colors = [COLORS[_SEVERAL[index % len(_SEVERAL)]] for index in range(len(ranges))]
    return {
        index: ChannelLook(color, *limits)
        for index, (color, limits) in enumerate(zip(colors, ranges, strict=True))
    }


def look_to_text(look: Look) -> str:
    """Return a display as text for the address of a tile."""
    parts = (
        f"{index}:{each.color[0]:02x}{each.color[1]:02x}{each.color[2]:02x}"
        f":{each.low:.9g}:{each.high:.9g}:{each.gamma:.4g}"
        for index, each in sorted(look.items())
    )
    return "~".join(parts) or NONE


def look_from_text(text: str, channels: int) -> dict[int, ChannelLook]:
    """Return the display that `look_to_text` wrote.

    Parameters
    ----------
    text : str
        Text of `look_to_text`.
    channels : int
        Number of channels of the image.

    Raises
    ------
    ValueError
        Any other text, or a channel that does not exist.
    """
    look: dict[int, ChannelLook] = {}
    for part in text.split("~") if text != NONE else ():
        number, color, *values = part.split(":")
        low, high, gamma = map(float, values)
        if not 0 <= int(number) < channels or len(color) != 6:
            raise ValueError(part)
        if not (math.isfinite(low) and math.isfinite(high) and 0 < gamma <= _MAX_GAMMA):
            raise ValueError(part)
        red, green, blue = bytes.fromhex(color)
        look[int(number)] = ChannelLook((red, green, blue), low, high, gamma)
    return look


def paint(planes: Mapping[int, Array], look: Look) -> Array:
    """Return channels as a picture; their colors are added.

    Parameters
    ----------
    planes : mapping of int to ndarray, shape (y, x)
        Values of each shown channel.
    look : mapping of int to ChannelLook
        Display of each shown channel.

    Returns
    -------
    ndarray of uint8
        Gray values (y, x) if all colors are gray, otherwise colors (y, x, 3).
    """
    is_gray = all(len(set(each.color)) == 1 for each in look.values())
    shape = next(iter(planes.values())).shape
    total = np.zeros(shape if is_gray else (*shape, 3), np.float32)
    for index, each in look.items():
        values = rescale(np.nan_to_num(planes[index], nan=each.low), each.low, each.high)
        if each.gamma != 1:
            values = values**each.gamma
        if is_gray:
            total += values * each.color[0]
        else:
            total += values[..., None] * np.array(each.color, np.float32)
    # Rounded down, as other pictures of Singula; the small number compensates float32.
    painted: Array = np.minimum(total + 1e-3, 255).astype(np.uint8)
    return painted
