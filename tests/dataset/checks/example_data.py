"""A clean data set of bright disks or balls."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from singula.io.read import read_image, read_labels
from singula.io.write import write_tiff

PARTS = {"train": 3, "test": 2}
STEP, SIDE = 20, 100


def labels(ndim: int = 2) -> np.ndarray:
    """Return sixteen separate objects of at least 81 pixels with the ids 1 to 16."""
    shape = (SIDE, SIDE) if ndim == 2 else (14, SIDE, SIDE)
    made = np.zeros(shape, np.uint16)
    grid = np.indices(shape)
    for number in range(16):
        center = (STEP * (1 + number // 4), STEP * (1 + number % 4))
        center = center if ndim == 2 else (7, *center)
        away = sum((axis - c) ** 2 for axis, c in zip(grid, center, strict=True))
        made[away <= (5 + number % 2) ** 2] = number + 1
    return made


def image(ids: np.ndarray, seed: int) -> np.ndarray:
    """Return an image with objects of about 120 on a background of about 20."""
    rng = np.random.default_rng(seed)
    levels = rng.uniform(110, 130, int(ids.max()) + 1)
    levels[0] = 20
    return np.clip(levels[ids] + rng.normal(0, 3, ids.shape), 0, 250).astype(np.uint8)


class ExampleData:
    """A data set whose files can be changed.

    Parameters
    ----------
    folder : Path
    ndim : {2, 3}
    classes : bool
        Labels with a class channel: odd ids 1, even ids 2.
    """

    def __init__(self, folder: Path, ndim: int = 2, *, classes: bool = False) -> None:
        self.folder, self.ndim = folder, ndim
        self.axes = "ZYX"[-ndim:]
        for number, part in enumerate(PARTS):
            for place in range(PARTS[part]):
                ids = np.roll(labels(ndim), place, axis=-1)
                name = f"im{place}.tif"
                self.put(part, "x", name, image(ids, 10 * number + place))
                if classes:
                    ids = np.stack([ids, np.where(ids > 0, 2 - ids % 2, 0).astype(ids.dtype)], -1)
                self.put(part, "y", name, ids)

    def path(self, part: str, side: str, name: str) -> Path:
        return self.folder / part / side / name

    def put(self, part: str, side: str, name: str, array: np.ndarray, axes: str = "") -> Path:
        fitting = self.axes + "C" * (array.ndim - self.ndim)
        return write_tiff(self.path(part, side, name), array, axes or fitting, self.spacing)

    @property
    def spacing(self) -> tuple[float, ...]:
        return (0.5,) * self.ndim

    def ids(self, part: str, name: str) -> np.ndarray:
        return read_labels(self.path(part, "y", name), self.ndim).array[..., 0].astype(np.uint16)

    def whole(self, part: str, name: str) -> np.ndarray:
        array = read_labels(self.path(part, "y", name), self.ndim, True).array
        return array.astype(np.uint16)

    def raw(self, part: str, name: str) -> np.ndarray:
        return read_image(self.path(part, "x", name), self.ndim).array[..., 0].copy()


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files in a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
