"""Choices of how long and with what variety the network learns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from singula.data.patches import training_starts
from singula.propose.choice import Choice
from singula.propose.sizes import Sizes
from singula.survey import Machine, PartFacts, Survey
from singula.training.speed import VALIDATION_SHARE, TrainingSpeed
from singula.words import counted

# Where no step was timed: seconds of a core per pixel and step of the U-Net 16–256 with bfloat16
# arithmetic (see docs/init.md). Wider networks cost as their width to the 1.5.
_CORE_SECONDS = 3.2e-6
_GPU_FACTOR = 100.0
_REFERENCE_WIDTH = 16
_SCALING = 0.8  # what a second core adds
_LEAST_EPOCHS, _MOST_EPOCHS, _USUAL_EPOCHS = 10, 400, 24
_MOST_STEPS = 30_000
_LEAST_STEPS = 16  # in an epoch
_SPARSE = 0.05


@dataclass(frozen=True)
class Schedule:
    """What an epoch is.

    Parameters
    ----------
    patches : int
        In an epoch.
    random : bool
        Drawn anywhere, else on a grid that covers the images.
    replicate : int
        How often each patch, or image when `random`, comes in an epoch.
    seconds : float
        Expected for an epoch.
    """

    patches: int
    random: bool
    replicate: int
    seconds: float


def grid_patches(part: PartFacts, patch: Sequence[int]) -> int:
    """Patches that cover the images once."""
    nothing = (0,) * len(patch)
    kinds = set(part.shapes)
    counted = {shape: len(training_starts(shape, patch, nothing, nothing)) for shape in kinds}
    return sum(counted[shape] for shape in part.shapes)


def assumed_speed(machine: Machine, width: int, pixels: int) -> TrainingSpeed:
    """Return the speed to assume where no training step was timed.

    Parameters
    ----------
    machine : Machine
    width : int
        Feature maps of the finest level.
    pixels : int
        Pixels of a batch.
    """
    factor = _GPU_FACTOR if machine.gpus else 1 + _SCALING * (machine.cores - 1)
    step = _CORE_SECONDS * (width / _REFERENCE_WIDTH) ** 1.5 / factor * pixels
    return TrainingSpeed(step, VALIDATION_SHARE * step)


def schedule(
    part: PartFacts,
    val: PartFacts | None,
    sizes: Sizes,
    patch: Sequence[int],
    batch: int,
    held: float,
    minutes: float,
    speed: TrainingSpeed,
) -> Schedule:
    """Decide what an epoch is, so that some twenty fit into the time.

    Parameters
    ----------
    part, val : PartFacts
        Training data, and validation data where there are such.
    patch : sequence of int
        Spatial shape.
    held : float
        Fraction of the training images that validates without validation data.
    minutes : float
        For the whole training.
    speed : TrainingSpeed
        Of batches of this size.
    """
    images = max(1, round(len(part.pairs) * (1 - held)))
    whole = grid_patches(part, patch)
    grid = max(1, round(whole * (1 - held)))
    each = speed.whole_step / batch
    checked = math.ceil((whole * held if val is None else grid_patches(val, patch)) / batch)
    beside = speed.epoch_seconds(0, checked)
    usual = minutes * 60 / _USUAL_EPOCHS
    random = sizes.foreground < _SPARSE or grid * each > 2 * usual
    base = images if random else grid
    affordable = max(1, int(usual / each))
    replicate = max(1, min(grid, affordable) // images) if random else 1
    # An epoch is some steps at least, and not mostly validation.
    least = max(_LEAST_STEPS * batch, math.ceil(2 * beside / each))
    replicate = max(replicate, min(math.ceil(least / base), max(1, 2 * affordable // base)))
    patches = base * replicate
    seconds = speed.epoch_seconds(math.ceil(patches / batch), checked)
    return Schedule(patches, random, replicate, seconds)


def epoch_choices(
    plan: Schedule,
    sizes: Sizes,
    batch: int,
    minutes: float,
    machine: Machine,
    speed: TrainingSpeed,
) -> list[Choice]:
    """Choose the number of epochs, and where patches come from."""
    fit = int(minutes * 60 / plan.seconds)
    steps = max(1, plan.patches // batch)
    most = max(_LEAST_EPOCHS, min(_MOST_EPOCHS, _MOST_STEPS // steps))
    epochs = max(_LEAST_EPOCHS, min(fit, most))
    patches = counted(plan.patches, "patch", "patches")
    why = (
        f"{patches} and about {_duration(plan.seconds)} per epoch on "
        f"{speed.measured_on or _processor(machine)}: {_duration(epochs * plan.seconds)} in total"
    )
    if speed.measured_on:
        why += f"; {step_text(speed)}"
    if epochs > fit:
        why += f"; fewer than {_LEAST_EPOCHS} epochs would not learn enough"
    elif epochs < fit:
        why += f"; more would hardly improve the result, so less than {minutes:g} min are used"
    made = [Choice("TRAIN.EPOCHS", epochs, why)]
    if plan.random:
        why = "patches that cover all images would be too many for an epoch"
        if sizes.foreground < _SPARSE:
            why = f"only {sizes.foreground:.1%} of the pixels are in objects"
        made.append(Choice("DATA.EXTRACT_RANDOM_PATCH", True, why))
        if sizes.foreground < _SPARSE:
            made += [
                Choice("DATA.PROBABILITY_MAP", True, "patches are drawn around objects"),
                Choice("DATA.W_FOREGROUND", 0.8),
                Choice("DATA.W_BACKGROUND", 0.2),
            ]
    if plan.replicate > 1:
        made.append(
            Choice(
                "DATA.TRAIN.REPLICATE",
                plan.replicate,
                f"an epoch is {counted(steps, 'step')} this way",
            )
        )
    return made


def step_text(speed: TrainingSpeed) -> str:
    """Return the duration of a training step as text."""
    return f"one training step takes {speed.whole_step:.2g} s"


def _processor(machine: Machine) -> str:
    return machine.gpu_name or counted(machine.cores, "core")


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def device(machine: Machine) -> list[Choice]:
    """Where the network is trained when the command line does not say, and who feeds it."""
    if machine.gpus:
        memory = f"{machine.gpu_memory / 2**30:.0f} GiB"
        return [
            Choice("SYSTEM.DEVICE", "cuda:0", f"{machine.gpu_name} with {memory}"),
            Choice("SYSTEM.NUM_WORKERS", -1, "a GPU waits for fewer processes than cores"),
        ]
    cores = counted(machine.cores, "core")
    return [Choice("SYSTEM.DEVICE", "cpu", f"no GPU here, {cores}")]


def optimiser() -> list[Choice]:
    """How weights change."""
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


def dropout(maps: Sequence[int]) -> Choice:
    """Dropout of the deepest levels."""
    values = [0.0] * len(maps)
    values[-1] = 0.2
    if len(maps) > 2:
        values[-2] = 0.1
    return Choice("MODEL.DROPOUT_VALUES", values, note="one per level")


def geometry(survey: Survey, sizes: Sizes, patch: Sequence[int]) -> list[Choice]:
    """Turns, flips and changes of size; the rotation of a specimen has no meaning under a lens."""
    square = patch[-1] == patch[-2]
    made = [
        Choice("AUGMENTOR.ENABLE", True, note="random changes of training patches"),
        Choice("AUGMENTOR.DA_PROB", 0.5, note="probability of each change"),
        Choice("AUGMENTOR.ROT90", square, "" if square else "patches are not square"),
        Choice("AUGMENTOR.VFLIP", True),
        Choice("AUGMENTOR.HFLIP", True),
    ]
    if survey.ndim == 3:
        made.append(Choice("AUGMENTOR.ZFLIP", True))
    made.append(Choice("AUGMENTOR.RANDOM_ROT", True, note="by any angle"))
    if survey.ndim == 2:
        wide = sizes.spread > 2
        why = f"large objects are {sizes.spread:.1f} times as long as small ones"
        made += [
            Choice("AUGMENTOR.ZOOM", True, why),
            Choice("AUGMENTOR.ZOOM_RANGE", (0.7, 1.4) if wide else (0.85, 1.2)),
            Choice("AUGMENTOR.ELASTIC", True, note="small deformations"),
        ]
    return made
