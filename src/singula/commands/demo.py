"""Implementation of `singula demo`: a built-in model, then a short training, on drawn images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path

import numpy as np

from singula.commands.demo_model import FOLDER, show_built_in_model
from singula.config import load_config
from singula.data.patches import training_starts
from singula.errors import UserError
from singula.io.pairing import Pair
from singula.io.run_lock import hold, lock_file
from singula.io.write import write_text
from singula.io.written import foreign_files, protect
from singula.pipeline.run import Job, RunReport, run
from singula.synthetic.fluorescence import dataset_files, make_dataset
from singula.training.speed import TrainingSpeed
from singula.util.format import counted
from singula.util.messages import captured_messages
from singula.util.paths import user_path
from singula.util.streams import print_line

MARK = "demo.yaml"
TRAINING_SECONDS = 140.0  # limit, so that the whole demonstration ends within four minutes
_ROUND = 4  # epochs are rounded to a multiple, so that small differences in speed do not matter


@dataclass(frozen=True)
class DemoSettings:
    """Sizes of the demonstration in two or three dimensions.

    Parameters
    ----------
    shape, patch, padding : tuple of int
        Spatial shape of the images and of the patches, and padding of the tiles of the test.
    images : tuple of int
        Number of training, validation and test images.
    epochs, batch : int
        Number of epochs, and patches per step.
    features : tuple of int
        Feature maps per level.
    overlap : tuple of float
        Overlap of the patches per axis.
    spacing : tuple of float, optional
        Voxel size, z first.
    choices : tuple
        Networks from which one is chosen by its speed, the best first: feature maps, minimum and
        maximum number of epochs. The choice sets `features` and `epochs`.
    """

    shape: tuple[int, ...]
    patch: tuple[int, ...]
    padding: tuple[int, ...]
    images: tuple[int, int, int]
    epochs: int
    batch: int
    features: tuple[int, ...]
    overlap: tuple[float, ...]
    spacing: tuple[float, ...] | None = None
    choices: tuple[tuple[tuple[int, ...], int, int], ...] = ()

    def batches(self, part: int) -> int:
        """Return the number of batches per epoch of the training (0) or validation (1) images."""
        nothing = (0,) * len(self.shape)
        patches = len(training_starts(self.shape, self.patch, nothing, nothing))
        return ceil(self.images[part] * patches / self.batch)

    def epoch_seconds(self, speed: TrainingSpeed) -> float:
        """Return the expected duration of an epoch in seconds."""
        return speed.epoch_seconds(self.batches(0), self.batches(1))


DEMOS = {
    2: DemoSettings(
        (256, 256),
        (128, 128),
        (16, 16),
        (32, 4, 8),
        36,
        8,
        (16, 32, 64),
        (0, 0),
        choices=(((16, 32, 64), 24, 36), ((8, 16, 32), 28, 36)),
    ),
    3: DemoSettings(
        (32, 128, 128),
        (16, 64, 64),
        (0, 8, 8),
        (10, 2, 3),
        36,
        4,
        (16, 32),
        (0, 0, 0),
        (2.0, 1.0, 1.0),
        choices=(((16, 32), 24, 36), ((8, 16), 28, 36)),
    ),
}
QUICK = {
    2: DemoSettings((128, 128), (64, 64), (8, 8), (3, 1, 1), 2, 4, (8, 16), (0, 0)),
    3: DemoSettings(
        (16, 64, 64), (8, 32, 32), (0, 4, 4), (2, 1, 1), 2, 4, (4, 8), (0, 0, 0), (2.0, 1.0, 1.0)
    ),
}

_TEMPLATE = """\
# Written by `singula demo`: a complete configuration, as a start for your own.
SYSTEM:
  SEED: 0
PROBLEM:
  TYPE: INSTANCE_SEG
  NDIM: {ndim}D
  INSTANCE_SEG:
    DATA_CHANNELS: BC
    GROW_INTO_CONTOUR: True
    DATA_MW_TH_TYPE: manual
    DATA_MW_TH_BINARY_MASK: 0.5
    DATA_MW_TH_CONTOUR: {contour}
    SEED_MORPH_SEQUENCE: {morphology}
    SEED_MORPH_RADIUS: {radii}
    DATA_REMOVE_SMALL_OBJ_BEFORE: 60
    # Tuned values replace these, except values that you change
    GENERATED_THRESHOLDS:
      [TH_TYPE=manual, TH_BINARY_MASK=0.5, TH_CONTOUR={contour}, REMOVE_SMALL_OBJ=60]

DATA:
  PATCH_SIZE: {patch}
  NORMALIZATION:
    TYPE: scale_range
    PERC_CLIP: True
    PERC_LOWER: 0.1
    PERC_UPPER: 99.9
  TRAIN:
    PATH: {data}/train/x
    GT_PATH: {data}/train/y
  VAL:
    FROM_TRAIN: False
    PATH: {data}/val/x
    GT_PATH: {data}/val/y
  TEST:
    LOAD_GT: True
    PATH: {data}/test/x
    GT_PATH: {data}/test/y
    PADDING: {padding}

AUGMENTOR:
  ENABLE: True
  ROT90: True
  VFLIP: True
  HFLIP: True
  ZFLIP: {zflip}
  RANDOM_ROT: True
  BRIGHTNESS: True
  CONTRAST: True

MODEL:
  ARCHITECTURE: unet_light
  FEATURE_MAPS: {features}
  Z_DOWN: {z_down}

TRAIN:
  ENABLE: True
  OPTIMIZER: ADAMW
  LR: 2.E-3
  BATCH_SIZE: {batch}
  EPOCHS: {epochs}
  LR_SCHEDULER:
    NAME: onecycle

TEST:
  ENABLE: True
  MATCHING_STATS_THS_COLORED_IMG: [0.5]
"""


def demo_yaml(data: Path, ndim: int, settings: DemoSettings) -> str:
    """Return the text of the configuration of the demonstration.

    Parameters
    ----------
    data : Path
        Folder of the data set.
    ndim : {2, 3}
        Number of spatial dimensions.
    settings : DemoSettings
        Sizes of the demonstration.
    """
    levels = len(settings.features)
    return _TEMPLATE.format(
        ndim=ndim,
        patch=(*settings.patch, 1),
        data=data.as_posix(),
        padding=settings.padding,
        zflip=ndim == 3,
        features=list(settings.features),
        z_down=[1] + [0] * (levels - 1),
        # A lower threshold breaks objects after a short training, a higher one joins neighbors.
        # In volumes, blur along z leaves bridges between the seeds of neighbors above each other.
        contour=0.15 if ndim == 2 else 0.2,
        morphology=[] if ndim == 2 else ["erode"],
        radii=[] if ndim == 2 else [2],
        batch=settings.batch,
        epochs=settings.epochs,
    )


def fit_to_budget(
    settings: DemoSettings,
    measure: Callable[[DemoSettings], TrainingSpeed | None],
    budget: float = TRAINING_SECONDS,
) -> DemoSettings:
    """Choose the network and the number of epochs by the duration of a training step.

    Parameters
    ----------
    settings : DemoSettings
        Sizes of the demonstration.
    measure : callable
        Time a training step with the `features` of settings, or return None if this is not
        possible.
    budget : float
        Maximum duration of the training in seconds.

    Returns
    -------
    DemoSettings
        Settings with the first of `choices` whose minimum number of epochs fits, or the last.
    """
    for features, min_epochs, max_epochs in settings.choices:
        settings = replace(settings, features=features, epochs=min_epochs)
        speed = measure(settings)
        if speed is None:
            print_line("a training step could not be timed, so the training may take long")
            return replace(settings, epochs=max_epochs)
        epoch_seconds = settings.epoch_seconds(speed)
        affordable = min(max_epochs, int(budget / epoch_seconds) // _ROUND * _ROUND)
        settings = replace(settings, epochs=max(min_epochs, affordable))
        step = f"U-Net {features[0]}–{features[-1]} takes {speed.whole_step:.2g} s for a step"
        print_line(
            f"measured on {speed.measured_on}: {step}, about {epoch_seconds:.2g} s for an epoch"
        )
        if affordable >= min_epochs:
            break
    seconds = settings.epochs * epoch_seconds
    print_line(
        f"chosen: U-Net {settings.features[0]}–{settings.features[-1]}, "
        f"{counted(settings.epochs, 'epoch')}, about {seconds:.0f} s of training"
    )
    return settings


def _measure(config: Path, ndim: int, gpu: str, settings: DemoSettings) -> TrainingSpeed | None:
    """Time a training step of the demonstration with the features of `settings`."""
    from singula.pipeline.timing import time_configuration

    data = config.with_name("data")
    write_text(config, demo_yaml(data, ndim, settings))
    name = "image_000.tif"
    pair = Pair(data / "train" / "x" / name, data / "train" / "y" / name, "image_000")
    with captured_messages():  # the run prints them
        return time_configuration(load_config(config), [pair], gpu)


def _check_place(output: Path) -> None:
    """Raise an error if a folder contains files other than those of demonstrations."""
    if output.exists() and not output.is_dir():
        raise UserError(
            f"--output: {output} is not a folder",
            "give a new folder with --output",
            "demo.no_folder",
        )
    paths = sorted(output.iterdir()) if output.is_dir() else []
    ours = [path for path in paths if path.name in ("2d", "3d") and _is_ours(path)]
    foreign = [path for path in paths if path not in ours and path.name[0] != "."]
    if foreign:
        more = f" and {len(foreign) - 1} more" if foreign[1:] else ""
        raise UserError(
            f"--output: {output} contains {foreign[0].name}{more}, not written by a demonstration",
            "give a new folder with --output; for your own images: singula init FOLDER",
            "demo.foreign_folder",
        )


def _is_ours(folder: Path) -> bool:
    """Return True if a folder is empty or contains a demonstration."""
    return folder.is_dir() and ((folder / MARK).is_file() or not any(folder.glob("[!.]*")))


def _check_unchanged(folder: Path, images: tuple[int, int, int]) -> None:
    """Raise an error if the configuration or images were changed since they were written."""
    files = [folder / MARK, *dataset_files(folder / "data", *images)]
    changed = [path for file in files for path in foreign_files(file)]
    if changed:
        more = f" and {counted(len(changed) - 1, 'other file')}" if changed[1:] else ""
        raise UserError(
            f"--output: {changed[0]}{more} changed since the demonstration wrote it, and would be "
            "replaced",
            "give a new folder with --output",
            "demo.changed_files",
        )


def run_demo(
    output: Path,
    ndim: int,
    *,
    quick: bool,
    live: bool,
    gpu: str | None = None,
) -> RunReport:
    """Make data, predict them with a built-in model, then train, test, and report the results.

    Parameters
    ----------
    output : Path
        Folder for demonstrations; an unchanged demonstration in it is replaced.
    ndim : {2, 3}
        Number of spatial dimensions.
    quick : bool
        Use very small sizes, to test the installation only.
    live : bool
        Draw a progress bar.
    gpu : str, optional
        As in `Job`; the CPU by default.

    Raises
    ------
    UserError
        ``demo.foreign_folder``: the folder contains other files. ``run.locked``: another
        demonstration writes to it. ``demo.changed_files``: files in it were changed since a
        demonstration wrote them.
    """
    settings = (QUICK if quick else DEMOS)[ndim]
    output = user_path(output, "--output", "output folder")
    _check_place(output)
    folder = output / f"{ndim}d"
    # The lock file is next to the folder, which must stay empty before the demonstration.
    with hold([lock_file(output, f"{ndim}d")], "demo"), protect([folder]):
        _check_unchanged(folder, settings.images)
        return _run_demo(folder, ndim, settings, quick=quick, live=live, gpu=gpu)


def _run_demo(
    folder: Path,
    ndim: int,
    settings: DemoSettings,
    *,
    quick: bool,
    live: bool,
    gpu: str | None,
) -> RunReport:
    """Run a demonstration in its folder; see `run_demo` for the parameters."""
    # The file marks the folder as a demonstration before anything else is written.
    config = write_text(folder / MARK, demo_yaml(folder / "data", ndim, settings))
    train, val, test = settings.images
    print_line(
        f"making {train + val + test} synthetic images with touching nuclei in {folder / 'data'}"
    )
    make_dataset(
        folder / "data",
        ndim,
        np.random.default_rng(7),
        n_train=train,
        n_val=val,
        n_test=test,
        shape=settings.shape,
        spacing=settings.spacing,
    )
    # A result within seconds, before the minutes of the training
    built_in = show_built_in_model(folder / "data", folder / FOLDER, gpu=gpu or "cpu")
    if built_in is not None:
        print_line("")
        print_line("with training, for objects that no built-in model finds; Ctrl-C stops it")
    if settings.choices:
        settings = fit_to_budget(settings, partial(_measure, config, ndim, gpu or "cpu"))
        write_text(config, demo_yaml(folder / "data", ndim, settings))
    report = run(Job(config, folder, "demo", 1, gpu or "cpu", live=live))
    if report.test is None:
        raise RuntimeError("the demonstration did not test")
    at_half = report.test.results.scores.dataset(by_image=False)[1]
    print_line("")
    images = counted(at_half.n_images, "unseen image")
    print_line(f"F1 at IoU {at_half.threshold:g} on {images}: {at_half.f1:.3f}")
    if quick:
        print_line("this was --quick: everything works, but two epochs are too short to learn")
    print_line(f"configuration, as a start for your own: {config}")
    print_line(f"results: {report.tree.run}")
    picture = next(iter(report.test.results.overlays.values()))
    print_line(f"look at this (image | instances | ground truth): {picture}")
    return report
