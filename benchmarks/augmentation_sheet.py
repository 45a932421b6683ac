"""Draw every change of AUGMENTOR on synthetic nuclei: docs/augmentation.png.

python benchmarks/augmentation_sheet.py docs/augmentation.png
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from singula.config import config_from_dict
from singula.data.dataset import PatchDataset, PatchSettings, Sample
from singula.data.normalize import Normalizer
from singula.pipeline.augmentation import CHANGE_OF_KEY, augment_settings
from singula.pipeline.sample_sheets import draw_grid
from singula.report.overlay import overlay
from singula.representations.channels import EncodeSettings
from singula.synthetic.fluorescence import make_image

SIDE = 128
COLUMNS = 7
GEOMETRY = (
    "VFLIP", "HFLIP", "ZFLIP", "ROT90", "RANDOM_ROT", "ZOOM", "SHIFT", "SHEAR", "ELASTIC",
    "MISALIGNMENT",
)  # fmt: skip
NEEDS_COLOR = ("GRAYSCALE", "CHANNEL_SHUFFLE")
STRONGER: dict[str, Any] = {
    "ELASTIC": {"E_ALPHA": (250, 250), "E_SIGMA": 12},
    "MISALIGNMENT": {"MS_ROTATE_RATIO": 0.0, "MS_DISPLACEMENT": 24},
    "CUTOUT": {"COUT_APPLY_TO_MASK": True, "COUT_SIZE": (0.2, 0.4)},
    "CUTNOISE": {"CNOISE_SCALE": (0.1, 0.2)},
    "CUTBLUR": {"CBLUR_SIZE": (0.4, 0.6), "CBLUR_DOWN_RANGE": (6, 8)},
    "CUTMIX": {"CMIX_SIZE": (0.4, 0.6)},
    "BRIGHTNESS": {"BRIGHTNESS_FACTOR": (0.3, 0.3)},
    "BRIGHTNESS_EM": {"BRIGHTNESS_EM_FACTOR": (-0.2, -0.2)},
    "CONTRAST": {"CONTRAST_FACTOR": (-0.5, -0.5)},
    "CONTRAST_EM": {"CONTRAST_EM_FACTOR": (0.5, 0.5)},
    "MISSING_SECTIONS": {"MISSP_ITERATIONS": (5, 10)},
}
"""Settings for changes that are hard to see at this size with their defaults."""


def samples(ndim: int, channels: int) -> list[Sample]:
    """Return two synthetic images; further channels are blurred copies, one of them dark."""
    rng = np.random.default_rng(3)
    made = []
    for number in range(2):
        demo = make_image((200, 200) if ndim == 2 else (16, 200, 200), rng)
        image = demo.image[..., None]
        if channels == 3:
            image = np.concatenate([image, image[..., ::-1, :, :] // 2, image // 8], axis=-1)
        made.append(Sample(str(number), image, demo.labels[..., None]))
    return made


def settings(key: str, ndim: int, channels: int) -> Any:
    """Return the changes of one key with probability 1."""
    patch = (SIDE, SIDE, channels) if ndim == 2 else (16, SIDE, SIDE, channels)
    keys = {"ENABLE": True, "DA_PROB": 1.0, key: True, **STRONGER.get(key, {})}
    return augment_settings(
        config_from_dict(
            {
                "PROBLEM.NDIM": f"{ndim}D",
                "DATA.PATCH_SIZE": patch,
                "TRAIN.ENABLE": True,
                "AUGMENTOR": keys if key else {"ENABLE": True},
            },
        )
    )


def panel(key: str, ndim: int) -> npt.NDArray[np.uint8]:
    """Return a changed patch with outlines; of a volume, an x-y and an x-z plane."""
    channels = 3 if key in NEEDS_COLOR else 1
    shape = (SIDE, SIDE) if ndim == 2 else (16, SIDE, SIDE)
    found = samples(ndim, channels)
    dataset = PatchDataset(
        found,
        PatchSettings(shape, (0.0,) * ndim, (0,) * ndim),
        Normalizer("scale_range", clip=(0.1, 99.9)),
        EncodeSettings(("B",)),
        augment=settings(key, ndim, channels),
        seed=11,
    )
    if key in GEOMETRY:
        gridded = [replace(s, image=draw_grid(s.image, shape)) for s in found]
        dataset = dataset.with_samples(gridded, dataset.augment)
    image, labels, _ = dataset.draw(1, 0)
    ids = labels[..., 0]
    if ndim == 2:
        return drawn(image, ids)
    # Slices are drawn three pixels high: the x-z plane says what happens along z.
    z, y = 8, SIDE // 2
    if key and key not in GEOMETRY:  # where most has changed
        changed = np.abs(image - dataset.with_samples(found, None).draw(1, 0)[0]).sum(-1)
        z, y = int(changed.sum((1, 2)).argmax()), int(changed.sum((0, 2)).argmax())
    side = [np.repeat(a[:, y], 3, axis=0) for a in (image, ids)]
    return np.concatenate([drawn(image[z], ids[z]), drawn(side[0], side[1])])


def drawn(image: npt.NDArray[Any], ids: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return values in [0, 1] as RGB with outlines, without rescaling the contrast."""
    color = image if image.shape[-1] == 3 else np.repeat(image, 3, axis=-1)
    gray = (255 * np.clip(color, 0, 1)).astype(np.uint8)
    lines = overlay(image, ids, fill=0.0)
    colored = (lines.max(-1) != lines.min(-1))[..., None] & (ids > 0)[..., None]
    if image.shape[-1] == 3:
        return gray
    return np.where(colored, lines, gray)


def sheet() -> Image.Image:
    """Return the sheet of all keys, in 2D and in 3D."""
    cells = []
    for ndim in (2, 3):
        keys = ["", *GEOMETRY, *CHANGE_OF_KEY]
        if ndim == 2:
            keys = [k for k in keys if k not in ("ZFLIP", "MISALIGNMENT")]
        else:
            keys = ["", "ZFLIP", "RANDOM_ROT", "ELASTIC", "MISALIGNMENT", "MOTION_BLUR", "CUTBLUR",
                    "CUTMIX", "CUTNOISE", "CUTOUT", "GRIDMASK", "MISSING_SECTIONS", "SALT",
                    "POISSON_NOISE"]  # fmt: skip
        cells.append([(f"{ndim}D {key or 'unchanged'}", panel(key, ndim)) for key in keys])
    rows = [(part[i : i + COLUMNS]) for part in cells for i in range(0, len(part), COLUMNS)]
    title, gap = 14, 4
    height = sum(title + row[0][1].shape[0] + gap for row in rows)
    page = Image.new("RGB", (COLUMNS * (SIDE + gap) + gap, height + gap), "white")
    pen, top = ImageDraw.Draw(page), gap
    for row in rows:
        for column, (name, picture) in enumerate(row):
            left = gap + column * (SIDE + gap)
            pen.text((left, top), name, fill="black")
            page.paste(Image.fromarray(picture), (left, top + title))
        top += title + row[0][1].shape[0] + gap
    return page


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/augmentation.png")
    sheet().quantize(128).save(target, optimize=True)
    print(target, target.stat().st_size // 1024, "kB")
