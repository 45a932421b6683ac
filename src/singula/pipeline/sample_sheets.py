"""Files that show the training data: patches, targets and probability maps."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.config import Config
from singula.data.dataset import PatchDataset
from singula.data.random_patches import probability_map
from singula.data.samples import AnySample, Sample, SampleCache, StoredSample
from singula.io.atomic import atomic_path
from singula.io.run_folder import ResultsTree
from singula.io.write import write_npy, write_tiff
from singula.pipeline.score import AXES
from singula.report.overlay import encode_png, pair_panels, side_by_side
from singula.util.boxes import evenly_spaced
from singula.util.format import counted

_log = logging.getLogger(__name__)
Array = npt.NDArray[Any]


def write_samples(
    config: Config, tree: ResultsTree, samples: Sequence[AnySample], dataset: PatchDataset
) -> None:
    """Write patches before and after augmentation as TIFF files.

    ``<n>_x_before.tif`` and ``<n>_y_before.tif`` are the patch and its labels, ``…_after.tif`` the
    same after the augmentation of the first epoch; ``<n>.png`` shows all four in a row. With
    `AUGMENTOR.DRAW_GRID`, a grid is drawn on the image before the augmentation, to show its
    deformation. The grid changes neither labels nor normalization.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    tree : ResultsTree
        Results folder.
    samples : sequence of Sample
        Training images with labels.
    dataset : PatchDataset
        Training patches.
    """
    keys = config.AUGMENTOR
    if not (keys.ENABLE and keys.AUG_SAMPLES) or not len(dataset):
        return
    plain = dataset.with_samples(samples, augment=None)
    shown = dataset
    if keys.DRAW_GRID:
        cache = SampleCache(0)
        gridded = [
            StoredSample(s.name, s.shape, _GridSample(s, config.patch), cache) for s in samples
        ]
        shown = dataset.with_samples(gridded, augment=dataset.augment)
    axes = AXES[config.ndim]
    for number, index in enumerate(evenly_spaced(len(dataset), keys.AUG_NUM_SAMPLES)):
        panels = []
        for name, source in (("before", plain), ("after", shown)):
            image, labels, _ = source.draw(0, index)
            ids = np.ascontiguousarray(labels[..., 0])
            if ids.dtype == np.int64:  # not a type of TIFF files
                ids = ids.astype(np.int32)
            write_tiff(tree.aug / f"{number:02d}_x_{name}.tif", image, axes + "C")
            write_tiff(tree.aug / f"{number:02d}_y_{name}.tif", ids, axes)
            panels += pair_panels(image, ids)
        with atomic_path(tree.aug / f"{number:02d}.png") as temporary:
            temporary.write_bytes(encode_png(side_by_side(panels)))


def draw_grid(image: Array, patch: tuple[int, ...]) -> Array:
    """Return a copy of an image with bright lines along y and x, eight per patch.

    Parameters
    ----------
    image : ndarray, (y, x, c) or (z, y, x, c)
        Image.
    patch : tuple of int
        Spatial shape of a patch.
    """
    result = image.copy()
    bright = image.max() if image.size else 0
    for axis, step in ((-3, max(4, patch[-2] // 8)), (-2, max(4, patch[-1] // 8))):
        index: list[slice] = [slice(None)] * image.ndim
        index[axis] = slice(step // 2, None, step)
        result[tuple(index)] = bright
    return result


@dataclass(frozen=True)
class _GridSample:
    """Source of a sample with a grid on its image."""

    sample: AnySample
    patch: tuple[int, ...]

    def __call__(self, with_targets: bool) -> Sample:
        opened = self.sample.opened()
        return replace(opened, image=draw_grid(np.asarray(opened.image), self.patch))


def write_probability_maps(config: Config, tree: ResultsTree, samples: Sequence[AnySample]) -> None:
    """Write the probability of each pixel to be the center of a random patch.

    Each image has its own file, because images may differ in shape. The name of the image is added
    to PATHS.PROB_MAP_FILENAME: ``prob_map_IMAGE.npy``.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    tree : ResultsTree
        Results folder.
    samples : sequence of Sample
        Training images with labels.
    """
    keys = config.DATA
    if not (keys.EXTRACT_RANDOM_PATCH and keys.PROBABILITY_MAP):
        return
    name = Path(config.PATHS.PROB_MAP_FILENAME)
    for sample in samples:
        ids = sample.opened().labels[..., 0]
        probabilities = probability_map(ids, (keys.W_FOREGROUND, keys.W_BACKGROUND))
        write_npy(tree.prob_map / f"{name.stem}_{sample.name}.npy", probabilities)


def write_generated(
    config: Config,
    tree: ResultsTree,
    datasets: Mapping[str, PatchDataset],
) -> None:
    """Write all patches of the first epoch with their targets as TIFF files.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    tree : ResultsTree
        Results folder.
    datasets : mapping of str to PatchDataset
        Patches of ``train`` and ``val``.
    """
    if not config.DATA.CHECK_GENERATORS:
        return
    axes = AXES[config.ndim] + "C"
    for part, dataset in datasets.items():
        for index in range(len(dataset)):
            item = dataset[(0, index)]
            for folder, name in ((tree.gen_check, "image"), (tree.gen_mask_check, "target")):
                array = np.moveaxis(item[name].numpy(), 0, -1)
                write_tiff(folder / f"{part}_{index:05d}.tif", array, axes)
    count = sum(len(dataset) for dataset in datasets.values())
    _log.info(
        f"{counted(count, 'patch', 'patches')} written to {tree.gen_check} (DATA.CHECK_GENERATORS)"
    )
