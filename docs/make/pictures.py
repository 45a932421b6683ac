"""Draw the pictures of docs/channels.md with the program's own functions.

python docs/make/pictures.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

import singula
from singula.demo import make_image
from singula.instances import Decoded, DecodeSettings, decode
from singula.report.overlay import colours, overlay, to_grey

Rgb = NDArray[np.uint8]
Panel = tuple[str, Rgb]
SIDE, ZOOM, GAP, BAND = 96, 2, 8, 20
CHANNELS = ("B", "C", "M", "P", "D", "Dv2")


def example() -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Synthetic nuclei that touch, and their labels."""
    made = make_image((SIDE, SIDE), np.random.default_rng(5))
    return made.image, made.labels


def coloured(labels: NDArray[np.unsignedinteger]) -> Rgb:
    """Each id in its own colour on black."""
    return colours(int(labels.max(initial=0)))[labels]


def shaded(values: NDArray[np.floating | np.integer]) -> Rgb:
    """A map from dark (lowest) to bright (highest)."""
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) / max(high - low, 1e-6)
    return np.round(255 * colormaps["viridis"](scaled)[..., :3]).astype(np.uint8)


def sheet(panels: list[Panel], columns: int) -> Image.Image:
    """Panels in rows, each under its name."""
    rows = -(-len(panels) // columns)
    side = ZOOM * SIDE
    size = (columns * (side + GAP) - GAP, rows * (side + BAND + GAP) - GAP)
    page = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for index, (name, picture) in enumerate(panels):
        left = index % columns * (side + GAP)
        top = index // columns * (side + BAND + GAP)
        draw.text((left, top + 1), name, "black", font)
        large = Image.fromarray(picture).resize((side, side), Image.Resampling.NEAREST)
        page.paste(large, (left, top + BAND))
    return page


def channel_panels(image: NDArray[np.uint8], labels: NDArray[np.uint16]) -> list[Panel]:
    """The image, its labels, and what each channel makes of them."""
    maps = singula.encode(labels, CHANNELS)
    return [
        ("image", to_grey(image[..., None])),
        ("labels", coloured(labels)),
        *((name, shaded(maps[name])) for name in CHANNELS),
    ]


def as_predicted(labels: NDArray[np.uint16], channels: str) -> dict[str, NDArray[np.float32]]:
    """The channels as unsure as those of a network: smoothed."""
    return {
        name: ndimage.gaussian_filter(values.astype(np.float32), 0.8)
        for name, values in singula.encode(labels, channels).items()
    }


def decoding_panels(
    image: NDArray[np.uint8], maps: dict[str, NDArray[np.float32]]
) -> tuple[list[Panel], Decoded]:
    """Every step of BC, from maps to instances."""
    settings = DecodeSettings(
        th_type="manual", th_contour=0.35, remove_small=20, grow_into_contour=True
    )
    found = decode(maps, "BC", settings=settings)
    panels = [
        ("B, smoothed", shaded(maps["B"])),
        ("C, smoothed", shaded(maps["C"])),
        ("1  B above, C below", coloured((found.seeds > 0).astype(np.uint8))),
        ("2  seeds, numbered", coloured(found.seeds)),
        ("3  where they may grow", shaded(found.foreground)),
        ("4  surface to flood (-B)", shaded(-found.surface)),
        ("5  instances", coloured(found.labels)),
        ("over the image", overlay(image[..., None], found.labels)),
    ]
    return panels, found


def main(folder: Path) -> list[Path]:
    """Write the pictures."""
    image, labels = example()
    panels, _ = decoding_panels(image, as_predicted(labels, "BC"))
    pages = {
        "channels.png": sheet(channel_panels(image, labels), 4),
        "decoding.png": sheet(panels, 4),
    }
    for name, page in pages.items():
        page.quantize(128).save(folder / name, optimize=True)
    return [folder / name for name in pages]


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1]
    print(*main(target), sep="\n")
