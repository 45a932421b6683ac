"""Choice of epochs, patches, optimizer and geometric augmentation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from singula.autoconfig.setting import Choice
from singula.autoconfig.sizes import Sizes
from singula.data.patches import training_starts
from singula.dataset.facts import Machine, PartFacts, Survey
from singula.training.speed import VALIDATION_SHARE, TrainingSpeed
from singula.util.format import counted

# Assumed if no step was timed: seconds per pixel and step on one core, for a U-Net with 16 to 256
# feature maps in bfloat16 (see docs/init.md)
_CORE_SECONDS = 3.2e-6
_GPU_FACTOR = 100.0
_SCALING = 0.8  # speed that each further core adds
_MIN_EPOCHS, _MAX_EPOCHS, _USUAL_EPOCHS = 10, 400, 24
_MAX_STEPS = 30_000
_MIN_STEPS = 16  # per epoch
_SPARSE = 0.05


@dataclass(frozen=True)
class Schedule:
    """Patches and duration of an epoch.

    Parameters
    ----------
    patches : int
        Number of patches per epoch.
    random : bool
        Draw patches at random positions instead of on a grid that covers the images.
    replicate : int
        Number of times that an epoch uses each patch, or each image if `random`.
    seconds : float
        Expected duration of an epoch.
    """

    patches: int
    random: bool
    replicate: int
    seconds: float


def grid_patches(part: PartFacts, patch: Sequence[int]) -> int:
    """Return the number of patches that cover the images once."""
    nothing = (0,) * len(patch)
    shapes = set(part.shapes)
    counts = {shape: len(training_starts(shape, patch, nothing, nothing)) for shape in shapes}
    return sum(counts[shape] for shape in part.shapes)


def assumed_speed(machine: Machine, cost: float, pixels: int) -> TrainingSpeed:
    """Return the assumed speed if no training step was timed.

    Parameters
    ----------
    machine : Machine
        Machine that trains.
    cost : float
        Duration of a step relative to a U-Net with 16 feature maps at the finest level.
    pixels : int
        Number of pixels of a batch.
    """
    # The speed of the GPU of a Mac was not measured: assume that of the cores.
    is_cuda = machine.gpus > 0 and machine.gpu_device != "mps"
    factor = _GPU_FACTOR if is_cuda else 1 + _SCALING * (machine.cores - 1)
    step = _CORE_SECONDS * cost / factor * pixels
    return TrainingSpeed(step, VALIDATION_SHARE * step)


def schedule(
    part: PartFacts,
    val: PartFacts | None,
    sizes: Sizes,
    patch: Sequence[int],
    batch: int,
    val_fraction: float,
    minutes: float,
    speed: TrainingSpeed,
) -> Schedule:
    """Choose the length of an epoch, so that about twenty epochs fit into the time.

    Parameters
    ----------
    part : PartFacts
        Measurements of the training data.
    val : PartFacts, optional
        Measurements of the validation data.
    sizes : Sizes
        Statistics of the training instances.
    patch : sequence of int
        Spatial shape of a patch.
    batch : int
        Patches per step.
    val_fraction : float
        Fraction of the training images used for validation; 0 with validation data.
    minutes : float
        Maximum duration of the training in minutes.
    speed : TrainingSpeed
        Speed for batches of this size.
    """
    images = max(1, round(len(part.pairs) * (1 - val_fraction)))
    all_patches = grid_patches(part, patch)
    grid = max(1, round(all_patches * (1 - val_fraction)))
    patch_seconds = speed.whole_step / batch
    val_batches = math.ceil(
        (all_patches * val_fraction if val is None else grid_patches(val, patch)) / batch
    )
    val_seconds = speed.epoch_seconds(0, val_batches)
    usual = minutes * 60 / _USUAL_EPOCHS
    random = sizes.foreground < _SPARSE or grid * patch_seconds > 2 * usual
    base = images if random else grid
    affordable = max(1, int(usual / patch_seconds))
    replicate = max(1, min(grid, affordable) // images) if random else 1
    # An epoch has a minimum number of steps, and validation does not dominate it.
    min_patches = max(_MIN_STEPS * batch, math.ceil(2 * val_seconds / patch_seconds))
    replicate = max(replicate, min(math.ceil(min_patches / base), max(1, 2 * affordable // base)))
    patches = base * replicate
    seconds = speed.epoch_seconds(math.ceil(patches / batch), val_batches)
    return Schedule(patches, random, replicate, seconds)


def choose_epochs(
    plan: Schedule,
    sizes: Sizes,
    batch: int,
    minutes: float,
    machine: Machine,
    speed: TrainingSpeed,
) -> list[Choice]:
    """Choose the number of epochs and the positions of patches.

    Parameters
    ----------
    plan : Schedule
        Patches and duration of an epoch.
    sizes : Sizes
        Statistics of the training instances.
    batch : int
        Patches per step.
    minutes : float
        Maximum duration of the training in minutes.
    machine : Machine
        Machine that trains.
    speed : TrainingSpeed
        Measured or assumed speed.
    """
    affordable = int(minutes * 60 / plan.seconds)
    steps = max(1, plan.patches // batch)
    max_epochs = max(_MIN_EPOCHS, min(_MAX_EPOCHS, _MAX_STEPS // steps))
    epochs = max(_MIN_EPOCHS, min(affordable, max_epochs))
    patches = counted(plan.patches, "patch", "patches")
    why = (
        f"{patches} and about {_duration(plan.seconds)} per epoch on "
        f"{speed.measured_on or _processor(machine)}: {_duration(epochs * plan.seconds)} in total"
    )
    if speed.measured_on:
        why += f"; {step_text(speed)}"
    if epochs > affordable:
        why += f"; fewer than {_MIN_EPOCHS} epochs would not learn enough"
    elif epochs < affordable:
        why += f"; more would hardly improve the result, so less than {minutes:g} min are used"
    choices = [Choice("TRAIN.EPOCHS", epochs, why)]
    if plan.random:
        why = "patches that cover all images would be too many for an epoch"
        if sizes.foreground < _SPARSE:
            why = f"only {sizes.foreground:.1%} of the pixels are in objects"
        choices.append(Choice("DATA.EXTRACT_RANDOM_PATCH", True, why))
        if sizes.foreground < _SPARSE:
            choices += [
                Choice("DATA.PROBABILITY_MAP", True, "patches are drawn around objects"),
                Choice("DATA.W_FOREGROUND", 0.8),
                Choice("DATA.W_BACKGROUND", 0.2),
            ]
    if plan.replicate > 1:
        choices.append(
            Choice(
                "DATA.TRAIN.REPLICATE",
                plan.replicate,
                f"an epoch is {counted(steps, 'step')} this way",
            )
        )
    return choices


def step_text(speed: TrainingSpeed) -> str:
    """Return the duration of a training step as text."""
    return f"one training step takes {speed.whole_step:.2g} s"


def _processor(machine: Machine) -> str:
    """Return the name of the GPU, or the number of cores."""
    return machine.gpu_name or counted(machine.cores, "core")


def _duration(seconds: float) -> str:
    """Return a duration as text."""
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def choose_device(machine: Machine) -> list[Choice]:
    """Choose the default device and the number of data loading processes."""
    if machine.gpus:
        memory = f"{machine.gpu_memory / 2**30:.0f} GiB"
        return [
            Choice("SYSTEM.DEVICE", machine.gpu_device, f"{machine.gpu_name} with {memory}"),
            Choice(
                "SYSTEM.NUM_WORKERS",
                -1,
                "all cores but one, at most 16: the GPU waits less for patches",
            ),
        ]
    cores = counted(machine.cores, "core")
    return [Choice("SYSTEM.DEVICE", "cpu", f"no GPU here, {cores}")]


def choose_optimizer() -> list[Choice]:
    """Choose the optimizer and the schedule of the learning rate."""
    return [
        Choice("TRAIN.ENABLE", True),
        Choice("TRAIN.OPTIMIZER", "ADAMW"),
        Choice("TRAIN.LR", 0.002, note="maximum"),
        Choice("TRAIN.W_DECAY", 0.02),
        Choice(
            "TRAIN.LR_SCHEDULER.NAME",
            "onecycle",
            "the learning rate rises and falls once over all epochs",
        ),
    ]


def choose_dropout(maps: Sequence[int]) -> Choice:
    """Choose the dropout of the two deepest levels from the feature maps per level."""
    values = [0.0] * len(maps)
    values[-1] = 0.2
    if len(maps) > 2:
        values[-2] = 0.1
    return Choice("MODEL.DROPOUT_VALUES", values, note="one per level")


def choose_geometry(survey: Survey, sizes: Sizes, patch: Sequence[int]) -> list[Choice]:
    """Choose rotations, flips, zoom and deformations.

    Rotations are always chosen: the orientation of a specimen is arbitrary.

    Parameters
    ----------
    survey : Survey
        Measurements of the data set.
    sizes : Sizes
        Statistics of the training instances.
    patch : sequence of int
        Spatial shape of a patch.
    """
    square = patch[-1] == patch[-2]
    choices = [
        Choice("AUGMENTOR.ENABLE", True, note="random changes of training patches"),
        Choice("AUGMENTOR.DA_PROB", 0.5, note="probability of each change"),
        Choice("AUGMENTOR.ROT90", square, "" if square else "patches are not square"),
        Choice("AUGMENTOR.VFLIP", True),
        Choice("AUGMENTOR.HFLIP", True),
    ]
    if survey.ndim == 3:
        choices.append(Choice("AUGMENTOR.ZFLIP", True))
    choices.append(Choice("AUGMENTOR.RANDOM_ROT", True, note="by any angle"))
    if survey.ndim == 2:
        wide = sizes.spread > 2
        why = f"large objects are {sizes.spread:.1f} times as long as small ones"
        choices += [
            Choice("AUGMENTOR.ZOOM", True, why),
            Choice("AUGMENTOR.ZOOM_RANGE", (0.7, 1.4) if wide else (0.85, 1.2)),
            Choice("AUGMENTOR.ELASTIC", True, note="small deformations"),
        ]
    return choices
