"""All rules in order, and the file that they make."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from singula.arguments import function, instance, number
from singula.channels import parse_channels
from singula.config.thresholds import GENERATED, marks
from singula.errors import UserError
from singula.paths import user_path
from singula.propose import augmentation, folders, images, network, objects, training
from singula.propose.choice import Choice
from singula.propose.sizes import Sizes
from singula.survey import PartFacts, Survey
from singula.training.speed import TrainingSpeed
from singula.words import command, counted

MINUTES = 30.0
"""What a training may take where nothing else is said."""
_COMMENT_COLUMN = 40
_SECTIONS = ("SYSTEM", "PROBLEM", "DATA", "AUGMENTOR", "MODEL", "LOSS", "TRAIN", "TEST")
_DATA_ORDER = (
    "PATCH_SIZE", "REFLECT_TO_COMPLETE_SHAPE", "EXTRACT_RANDOM_PATCH", "PROBABILITY_MAP",
    "W_FOREGROUND", "W_BACKGROUND", "EXTERNAL_FILES", "FORCE_RGB", "NORMALIZATION", "TRAIN",
    "VAL", "TEST",
)  # fmt: skip


@dataclass(frozen=True)
class Proposal:
    """A configuration with the reason for each of its values.

    Parameters
    ----------
    choices : tuple of Choice
        In the order of the file.
    minutes : float
        What the training is meant to take.
    summary : str
        What the data set is, in a line or two.
    speed : TrainingSpeed, optional
        Measured speed that decided the number of epochs; None for an assumed one.
    """

    choices: tuple[Choice, ...]
    minutes: float
    summary: str
    speed: TrainingSpeed | None = None

    @property
    def reasons(self) -> list[tuple[str, str, str]]:
        """Key, value and reason of every choice that has one."""
        return [(choice.key, choice.text, choice.why) for choice in self.choices if choice.why]

    def __getitem__(self, key: str) -> object:
        """Value of a dotted key; KeyError where nothing was chosen."""
        for choice in self.choices:
            if choice.key == key:
                return choice.value
        raise KeyError(key)

    @property
    def yaml(self) -> str:
        """The file: every choice with its comment."""
        lines = ["# Written by `singula init` after a look at the data:"]
        lines += [f"#   {line}" for line in self.summary.splitlines()]
        lines.append("# Change what you like; then:")
        lines.append("#   singula run --config FILE --result_dir results")
        seen: list[str] = []
        for choice in self.choices:
            *sections, last = choice.key.split(".")
            same = 0
            while same < min(len(seen), len(sections)) and seen[same] == sections[same]:
                same += 1
            if same == 0:
                lines.append("")
            for depth in range(same, len(sections)):
                lines.append(f"{'  ' * depth}{sections[depth]}:")
            seen = sections
            text = f"{'  ' * len(sections)}{last}: {choice.text}"
            if choice.comment:
                text = f"{text:<{_COMMENT_COLUMN}}  # {choice.comment}"
            lines.append(text)
        return "\n".join(lines) + "\n"


Measure = Callable[[Survey, Proposal], TrainingSpeed | None]


def propose(
    survey: Survey,
    *,
    minutes: float = MINUTES,
    stored: Path | None = None,
    channels: Choice | None = None,
    measure: Measure | None = None,
) -> Proposal:
    """Choose a configuration that trains on this data as it is.

    Parameters
    ----------
    survey : Survey
    minutes : float
        What the training may take on this machine.
    stored : Path, optional
        Where channels made from the labels are kept; by default ``channels`` here.
    channels : Choice, optional
        What the network learns, where that was decided otherwise.
    measure : callable, optional
        Times a training step of a first proposal, and returns None if it cannot; see
        `singula.stages.timing.measure_proposal`. Without it, a speed is assumed.

    Returns
    -------
    Proposal

    Raises
    ------
    TypeError, UserError
        Wrong arguments; nothing to learn: no training labels, or no object in them.
        ``init.implausible_labels``: most training labels do not show the objects.
    """
    survey = instance(survey, "survey", Survey)
    minutes = number(minutes, "minutes (--minutes)", above=0)
    stored = None if stored is None else user_path(stored, "stored")
    if channels is not None:
        instance(channels, "channels", Choice)
    if measure is not None:
        function(measure, "measure")
    train = survey.part("train")
    if train is None or not train.labels:
        raise UserError(
            f"{survey.root}: no labels to train on",
            "give labels for the training images",
            "init.no_labels",
        )
    _check_labels(survey, train)
    first = _propose(survey, train, minutes, stored, channels, None)
    speed = None if measure is None else measure(survey, first)
    if speed is None:
        return first
    # Network, patch and batch do not depend on the speed, so it applies to them again.
    return _propose(survey, train, minutes, stored, channels, speed)


def _propose(
    survey: Survey,
    train: PartFacts,
    minutes: float,
    stored: Path | None,
    channels: Choice | None,
    speed: TrainingSpeed | None,
) -> Proposal:
    stored = Path("channels") if stored is None else stored
    sizes = Sizes.of(survey)
    learning, pixels = _learning(survey, sizes, train, minutes, speed)
    chosen = [
        Choice("SYSTEM.NUM_CPUS", -1, note="all cores"),
        *training.device(survey.machine),
        Choice("PROBLEM.TYPE", "INSTANCE_SEG"),
        objects.dimensions(survey),
        *_instances(survey, sizes, pixels, channels or objects.channels(sizes, survey.machine)),
        *learning,
        *images.normalisation(survey, train),
        *images.external_files(survey),
        *images.colours(survey),
        *folders.train_folders(survey, stored),
        images.in_memory(survey, train),
        *folders.val_folders(survey, stored),
        Choice("TEST.ENABLE", True),
        *folders.test_folders(survey, stored),
        *_resolution(survey),
        *_testing(survey),
    ]
    return Proposal(tuple(_ordered(chosen)), minutes, _summary(survey, sizes), speed)


def _check_labels(survey: Survey, train: PartFacts) -> None:
    """Refuse a data set if most training labels do not show the objects."""
    doubtful = [labels for labels in train.labels if labels.suspicion]
    if 2 * len(doubtful) <= len(train.labels):
        return
    raise UserError(
        f"{doubtful[0].path}: {doubtful[0].suspicion}; the objects are hidden in "
        f"{len(doubtful)} of {counted(len(train.labels), 'training label image')}",
        f"run {command('check', survey.root)} to see what is wrong; with --fix FOLDER it writes a "
        "corrected copy where that is safe. Then start from that copy",
        "init.implausible_labels",
    )


def _instances(survey: Survey, sizes: Sizes, pixels: float, used: Choice) -> list[Choice]:
    codes = parse_channels(str(used.value))
    chosen = [
        used,
        objects.weights(codes, n_classes(survey)),
        objects.contour(sizes, codes),
        *([objects.points(sizes)] if "P" in codes else []),
        objects.growth(),
        *objects.thresholds(sizes, codes, survey.spacing, pixels),
        *objects.seeds(sizes, codes),
        *objects.small(sizes),
    ]
    note = "tuned values precede these; those that you change are yours"
    marked = marks({choice.key: choice.value for choice in chosen})
    return [*chosen, Choice(GENERATED, marked, note=note)]


def _learning(
    survey: Survey, sizes: Sizes, train: PartFacts, minutes: float, speed: TrainingSpeed | None
) -> tuple[list[Choice], float]:
    """Network, patch and schedule, which depend on each other; and pixels learned from in all."""
    shape = network.typical_shape(train)
    maps, z_down = network.pooling(sizes, shape, survey.anisotropy, survey.machine)
    widths = [int(number) for number in maps.value]
    along_z = z_down[0].value if z_down else []
    steps = [[*([along_z[level]] if z_down else []), 2, 2] for level in range(len(widths) - 1)]
    patch = network.patch(survey, sizes, shape, steps)
    space = patch.value[:-1]
    held = folders.held_fraction(survey)
    batch = network.batch(survey, patch.value, widths[0], training.grid_patches(train, space))
    patches = int(batch.value)
    if speed is None:
        speed = training.assumed_speed(survey.machine, widths[0], patches * math.prod(space))
    val = folders.validation(survey)
    plan = training.schedule(train, val, sizes, space, patches, held, minutes, speed)
    epochs = training.epoch_choices(plan, sizes, patches, minutes, survey.machine, speed)
    made = [
        patch,
        network.mirror(),
        network.padding(patch.value),
        Choice("MODEL.ARCHITECTURE", "unet"),
        maps,
        *z_down,
        training.dropout(widths),
        *training.optimiser(),
        batch,
        *epochs,
        *training.geometry(survey, sizes, space),
        *images.intensity_changes(survey, train, sizes),
        *augmentation.little_data(train, sizes),
        *augmentation.slice_changes(train),
    ]
    classes = n_classes(survey)
    if classes > 2:
        why = f"the labels have the classes {', '.join(map(str, survey.classes))}, and background"
        made.append(Choice("MODEL.N_CLASSES", classes, why))
    return made, float(epochs[0].value) * plan.patches * math.prod(space)


def n_classes(survey: Survey) -> int:
    """Classes with the background; 2 where labels have no class channel, or one class only."""
    return max(2, max(survey.classes, default=1) + 1)


def _resolution(survey: Survey) -> list[Choice]:
    """Size of a pixel where all files say the same; else each counts by its own."""
    if survey.spacing is None or not survey.one_spacing:
        return []
    parts = ["TRAIN"]
    parts += ["VAL"] if folders.validation(survey) is not None else []
    parts += ["TEST"]
    why = "size of a pixel in the files" + (", z first" if survey.ndim == 3 else "")
    sizes = tuple(float(f"{size:.6g}") for size in survey.spacing)
    return [
        Choice(f"DATA.{part}.RESOLUTION", sizes, why if part == "TRAIN" else "") for part in parts
    ]


def _testing(survey: Survey) -> list[Choice]:
    return [
        Choice(
            "TEST.AUGMENTATION",
            survey.ndim == 2,
            "mean over 8 views" if survey.ndim == 2 else "16 views of a volume take long",
        ),
        Choice("TEST.MATCHING_STATS_THS", [0.3, 0.5, 0.75], note="overlaps (IoU) for the scores"),
        Choice("TEST.MATCHING_STATS_THS_COLORED_IMG", [0.5]),
    ]


def _ordered(choices: Sequence[Choice]) -> list[Choice]:
    """Keys of a section together, sections in the order of the format."""

    def place(choice: Choice) -> tuple[int, int, int]:
        first, second = choice.key.split(".")[:2]
        data = _DATA_ORDER.index(second) if first == "DATA" else 0
        return _SECTIONS.index(first), data, choice.key.count(".") if first != "DATA" else 0

    return sorted(choices, key=place)


def _summary(survey: Survey, sizes: Sizes) -> str:
    said = [
        counted(len(part.pairs), f"{part.name} image") + ("" if part.labels else " without labels")
        for part in survey.parts
    ]
    shapes = sorted({shape for part in survey.parts for shape in part.shapes})
    span = "×".join(map(str, shapes[0]))
    if len(shapes) > 1:
        span += " to " + "×".join(map(str, shapes[-1]))
    channel = counted(survey.channels, "channel")
    size = " × ".join(f"{side:.0f}" for side in sizes.typical)
    train = survey.part("train")
    looked = ""
    if train and len(train.labels) < len(train.pairs):
        looked = f" in {len(train.labels)} of {counted(len(train.pairs), 'image')}"
    return (
        f"{', '.join(said)}; {span} pixels, {channel}, {survey.images[0].dtype}\n"
        f"{counted(sizes.count, 'training object')} of {size} pixels (median){looked}, "
        f"{sizes.cut} cut by the border, "
        f"{sizes.touching:.0%} touch others, {sizes.foreground:.0%} of the pixels are in objects"
    )
