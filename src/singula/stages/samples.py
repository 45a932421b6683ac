"""What augmentation makes of the training patches, to be looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.config import Config
from singula.data.dataset import PatchDataset, Sample
from singula.io.results import ResultsTree
from singula.io.write import write_tiff
from singula.stages.score import AXES

Array = npt.NDArray[Any]


def write_samples(
    config: Config, tree: ResultsTree, samples: list[Sample], dataset: PatchDataset
) -> None:
    """Pairs of patches before and after augmentation, as TIFF files.

    ``<n>_x_before.tif`` and ``<n>_y_before.tif`` are the patch and its labels, ``…_after.tif`` the
    same after the changes of the first epoch. With `AUGMENTOR.DRAW_GRID` the images after carry a
    grid that was drawn on the image before, so that turns and bends can be seen.
    """
    keys = config.AUGMENTOR
    if not (keys.ENABLE and keys.AUG_SAMPLES) or not len(dataset):
        return
    plain = dataset.with_samples(samples, augment=None)
    shown = dataset
    if keys.DRAW_GRID:
        gridded = [replace(s, image=draw_grid(s.image, config.patch)) for s in samples]
        shown = dataset.with_samples(gridded, augment=dataset.augment)
    count = min(keys.AUG_NUM_SAMPLES, len(dataset))
    for number, index in enumerate(np.linspace(0, len(dataset) - 1, count).astype(int).tolist()):
        for name, source in (("before", plain), ("after", shown)):
            image, labels, _ = source.draw(0, index)
            axes = AXES[config.ndim]
            stem = tree.aug / f"{number:02d}"
            write_tiff(stem.with_name(f"{stem.name}_x_{name}.tif"), image, axes + "C")
            ids = np.ascontiguousarray(labels[..., 0])
            write_tiff(stem.with_name(f"{stem.name}_y_{name}.tif"), ids, axes)


def draw_grid(image: Array, patch: tuple[int, ...]) -> Array:
    """A copy of an image (spatial…, c) with bright lines in the plane, eight to a patch."""
    result = image.copy()
    bright = image.max() if image.size else 0
    for axis, step in ((-3, max(4, patch[-2] // 8)), (-2, max(4, patch[-1] // 8))):
        index: list[slice] = [slice(None)] * image.ndim
        index[axis] = slice(step // 2, None, step)
        result[tuple(index)] = bright
    return result
