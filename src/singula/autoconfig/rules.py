"""Choice of all keys of a configuration, and its text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from singula.autoconfig import augmentation, folders, images, network, objects, training
from singula.autoconfig.resample import COMMON, RESOLUTION, resampled_survey
from singula.autoconfig.setting import Choice, commented_yaml
from singula.autoconfig.sizes import Sizes
from singula.config.thresholds import GENERATED, marks
from singula.dataset.facts import PartFacts, Survey
from singula.errors import UserError
from singula.representations.table import DECODERS, find_decoder
from singula.training.speed import TrainingSpeed
from singula.util.arguments import function, instance, integer, items, number, of_class
from singula.util.format import command, counted, shape_text
from singula.util.paths import user_path

MINUTES = 30.0  # default duration of a training
_CHANNELS = "PROBLEM.INSTANCE_SEG.DATA_CHANNELS"
_CLASSES = "MODEL.N_CLASSES"
_PATCH = "DATA.PATCH_SIZE"
_SECTIONS = ("SYSTEM", "PROBLEM", "DATA", "AUGMENTOR", "MODEL", "LOSS", "TRAIN", "TEST", "PATHS")
_DATA_ORDER = (
    "PATCH_SIZE", "REFLECT_TO_COMPLETE_SHAPE", "EXTRACT_RANDOM_PATCH", "PROBABILITY_MAP",
    "W_FOREGROUND", "W_BACKGROUND", "CHANNEL", "EXTERNAL_FILES", "FORCE_RGB", "PREPROCESS",
    "NORMALIZATION", "TRAIN", "VAL", "TEST",
)  # fmt: skip


@dataclass(frozen=True)
class Proposal:
    """A configuration with the reason for each of its values.

    Parameters
    ----------
    choices : tuple of Choice
        Keys in the order of the file.
    minutes : float
        Intended duration of the training in minutes.
    summary : str
        Description of the data set in three lines.
    speed : TrainingSpeed, optional
        Measured speed that decided the number of epochs; None for an assumed one.
    """

    choices: tuple[Choice, ...]
    minutes: float
    summary: str
    speed: TrainingSpeed | None = None

    @property
    def reasons(self) -> list[tuple[str, str, str]]:
        """Key, value and reason of every choice with a reason."""
        return [(choice.key, choice.text, choice.why) for choice in self.choices if choice.why]

    def __getitem__(self, key: str) -> object:
        """Return the value of a dotted key; raise KeyError if it was not chosen."""
        for choice in self.choices:
            if choice.key == key:
                return choice.value
        raise KeyError(key)

    @property
    def yaml(self) -> str:
        """Text of the file, every key with its comment."""
        lines = ["# Written by `singula init` from this data set:"]
        lines += [f"#   {line}" for line in self.summary.splitlines()]
        lines.append("# Edit the values if needed; then:")
        lines.append("#   singula run --config FILE --result_dir results")
        return commented_yaml(lines, ((c.key, c.text, c.comment) for c in self.choices))


Measure = Callable[[Survey, Proposal], TrainingSpeed | None]


def propose(
    survey: Survey,
    *,
    minutes: float = MINUTES,
    stored: Path | None = None,
    channels: str | None = None,
    classes: int | None = None,
    measure: Measure | None = None,
    fixed: Sequence[Choice] = (),
) -> Proposal:
    """Choose a configuration for a data set.

    Parameters
    ----------
    survey : Survey
        Measurements of the data set.
    minutes : float
        Maximum duration of the training on this machine, in minutes.
    stored : Path, optional
        Folder for the channels computed from the labels; by default, ``channels`` in the current
        folder.
    channels : str, optional
        Channels that the user chose, such as ``BCD`` or ``F+Gh+Gv``; by default, chosen from the
        data.
    classes : int, optional
        Number of classes of objects that the user gave; by default, that of the labels.
    measure : callable, optional
        Time a training step of a first proposal, or return None if this is not possible; see
        `singula.pipeline.timing.measure_proposal`. By default, a speed is assumed.
    fixed : sequence of Choice, optional
        Choices that do not depend on the data, such as those of a model from which the training
        starts. All other choices are consistent with them.

    Returns
    -------
    Proposal

    Raises
    ------
    TypeError
        An argument has a wrong type.
    UserError
        ``init.no_labels``: no training labels. ``init.no_objects``: no object in them.
        ``init.implausible_labels``: most training labels do not show the objects.
        ``init.mixed_channels``: the numbers of channels of the images differ.
        ``channels.unknown``, ``decode.missing_channel``: invalid `channels`.
    """
    survey = instance(survey, "survey", Survey)
    minutes = number(minutes, "minutes (--minutes)", above=0)
    stored = None if stored is None else user_path(stored, "stored")
    settled = _answers(channels, classes, survey.ndim)
    settled |= {choice.key: choice for choice in items(fixed, "fixed", of_class(Choice))}
    if measure is not None:
        function(measure, "measure")
    check_trainable(survey)
    resampled = resampled_survey(survey, settled)
    summary = _summary(survey, Sizes.of(survey))
    first = _propose(resampled, minutes, stored, settled, summary, None)
    speed = None if measure is None else measure(survey, first)
    if speed is None:
        return first
    # The measured speed stays valid, because network, patch and batch do not depend on it.
    return _propose(resampled, minutes, stored, settled, summary, speed)


def _propose(
    survey: Survey,
    minutes: float,
    stored: Path | None,
    fixed: Mapping[str, Choice],
    summary: str,
    speed: TrainingSpeed | None,
) -> Proposal:
    """Choose a configuration for a given or an assumed speed; see `propose`."""
    train = survey.part("train")
    if train is None:
        raise RuntimeError("a data set without training images")
    stored = Path("channels") if stored is None else stored
    sizes = Sizes.of(survey)
    learning, pixels = _learning(survey, sizes, train, minutes, speed, fixed)
    channels = fixed.get(_CHANNELS) or objects.choose_channels(sizes, survey.machine)
    classes = fixed.get(_CLASSES) or _classes(survey)
    chosen = [
        Choice("SYSTEM.NUM_CPUS", -1, note="all cores"),
        *training.choose_device(survey.machine),
        Choice("PROBLEM.TYPE", "INSTANCE_SEG"),
        objects.choose_dimensions(survey),
        *_instances(
            sizes,
            _spacing(survey, fixed),
            pixels,
            channels,
            2 if classes is None else classes.value,
        ),
        *learning,
        *([classes] if classes is not None else []),
        *images.choose_normalization(survey, train),
        *images.choose_channel(survey),
        *images.choose_external_files(survey),
        *images.choose_colors(survey),
        *folders.choose_train_folders(survey, stored),
        images.choose_in_memory(survey, train),
        *folders.choose_val_folders(survey, stored),
        Choice("TEST.ENABLE", True),
        *folders.choose_test_folders(survey, stored),
        *_resolution(survey),
        *_testing(survey),
    ]
    by_key = {**{choice.key: choice for choice in chosen}, **fixed}
    return Proposal(tuple(_ordered(by_key.values())), minutes, summary, speed)


def check_trainable(survey: Survey) -> None:
    """Raise an error if the data set has no objects to train on, or if its images differ too much.

    Parameters
    ----------
    survey : Survey
        Measurements of the data set.

    Raises
    ------
    UserError
        As `propose`.
    """
    train = survey.part("train")
    if train is None or not train.labels:
        raise UserError(
            f"{survey.root}: no labels to train on",
            "add a label image for each training image",
            "init.no_labels",
        )
    images.choose_colors(survey)
    Sizes.of(survey)
    doubtful = [labels for labels in train.labels if labels.suspicion]
    if 2 * len(doubtful) <= len(train.labels):
        return
    raise UserError(
        f"{doubtful[0].path}: {doubtful[0].suspicion}; no objects could be recognized in "
        f"{len(doubtful)} of {counted(len(train.labels), 'training label image')}",
        f"run {command('check', survey.root)} to list the problems; with --fix FOLDER it writes a "
        "corrected copy if that is safe. Then run init on this copy",
        "init.implausible_labels",
    )


def _instances(
    sizes: Sizes, spacing: tuple[float, ...] | None, pixels: float, used: Choice, n_classes: int
) -> list[Choice]:
    """Choose the keys of channels and decoding.

    Parameters
    ----------
    sizes : Sizes
        Statistics of the training instances.
    spacing : tuple of float, optional
        Voxel size in whose unit the network learns distances; None for pixels.
    pixels : float
        Number of pixels that the network trains on, over all epochs.
    used : Choice
        Channels that the network learns.
    n_classes : int
        Number of classes with the background.
    """
    channels = str(used.value)
    decoder = find_decoder(channels)
    codes, named = decoder.channels, channels in DECODERS
    chosen = [
        used,
        objects.choose_channel_weights(channels, n_classes),
        *([objects.choose_contour(sizes, codes), objects.choose_growth()] if named else []),
        *([objects.choose_point_radius(sizes)] if objects.has_disks(codes) else []),
        *objects.choose_thresholds(sizes, decoder, spacing, pixels),
        *objects.choose_seed_morphology(sizes, codes),
        *objects.choose_min_size(sizes),
    ]
    note = "tuned values replace these, except values that you change"
    marked = marks({choice.key: choice.value for choice in chosen})
    return [*chosen, Choice(GENERATED, marked, note=note)]


def _learning(
    survey: Survey,
    sizes: Sizes,
    train: PartFacts,
    minutes: float,
    speed: TrainingSpeed | None,
    fixed: Mapping[str, Choice],
) -> tuple[list[Choice], float]:
    """Choose network, patch size and schedule, and return the number of pixels trained on."""
    shape = network.typical_shape(train)
    chosen = network.fixed_network(fixed, survey.ndim)
    if chosen is None:
        chosen = network.choose_network(sizes, shape, survey.anisotropy, survey.machine)
    patch = fixed.get(_PATCH) or network.choose_patch_size(survey, sizes, shape, chosen.steps)
    patch_shape = patch.value[:-1]
    val_fraction = folders.validation_fraction(survey)
    batch = network.choose_batch_size(
        survey, patch.value, chosen.pixel_width, training.grid_patches(train, patch_shape)
    )
    patches = int(batch.value)
    if speed is None:
        speed = training.assumed_speed(
            survey.machine, chosen.cost, patches * math.prod(patch_shape)
        )
    val = folders.validation_part(survey)
    plan = training.schedule(train, val, sizes, patch_shape, patches, val_fraction, minutes, speed)
    epochs = training.choose_epochs(plan, sizes, patches, minutes, survey.machine, speed)
    choices = [
        patch,
        network.choose_mirroring(),
        network.choose_padding(patch.value),
        *chosen.choices,
        training.choose_dropout(chosen.maps),
        *training.choose_optimizer(),
        batch,
        *epochs,
        *training.choose_geometry(survey, sizes, patch_shape),
        *images.choose_intensity_changes(survey, train, sizes),
        *augmentation.choose_for_little_data(train, sizes),
        *augmentation.choose_for_slice_changes(train),
    ]
    return choices, float(epochs[0].value) * plan.patches * math.prod(patch_shape)


def _classes(survey: Survey) -> Choice | None:
    """Choose the number of classes with the background, if the labels have several."""
    count = max(survey.classes, default=1) + 1
    if count <= 2:
        return None
    why = f"the labels have the classes {', '.join(map(str, survey.classes))}, and background"
    return Choice(_CLASSES, count, why)


def _answers(channels: str | None, classes: int | None, ndim: int) -> dict[str, Choice]:
    """Return the validated answers of the user by key."""
    why, answers = "as you chose", []
    if channels is not None:
        objects.check_channels(channels, ndim)
        answers.append(Choice(_CHANNELS, channels, why))
    if classes is not None:
        n_classes = integer(classes, "classes", at_least=1) + 1
        answers.append(Choice(_CLASSES, n_classes, why))
    return {answer.key: answer for answer in answers}


def _resolution(survey: Survey) -> list[Choice]:
    """Choose the voxel size if all files give the same; else the files decide.

    Images whose voxel sizes differ much are resampled to their median.
    """
    common = survey.common_spacing
    if common is not None:
        why = "voxel sizes of the files differ; images are resampled to their median, in µm"
        return [Choice(COMMON, common, why)]
    if survey.spacing is None or not survey.has_uniform_spacing:
        return []
    parts = ["TRAIN"]
    parts += ["VAL"] if folders.validation_part(survey) is not None else []
    parts += ["TEST"]
    why = "size of a pixel in the files" + (", z first" if survey.ndim == 3 else "")
    sizes = tuple(float(f"{size:.6g}") for size in survey.spacing)
    return [
        Choice(f"DATA.{part}.RESOLUTION", sizes, why if part == "TRAIN" else "") for part in parts
    ]


def _spacing(survey: Survey, fixed: Mapping[str, Choice]) -> tuple[float, ...] | None:
    """Return the voxel size in whose unit the network learns distances; None for pixels."""
    choices = {**{choice.key: choice for choice in _resolution(survey)}, **fixed}
    if RESOLUTION not in choices or -1 in choices[RESOLUTION].value:
        return None
    sizes: tuple[float, ...] = choices.get(COMMON, choices[RESOLUTION]).value
    return sizes


def _testing(survey: Survey) -> list[Choice]:
    """Choose test-time augmentation and the thresholds of the scores."""
    views = 8 if survey.ndim == 2 else 16
    return [
        Choice(
            "TEST.AUGMENTATION",
            False,
            f"one view; the mean over {views} takes {views} times as long and gains little",
        ),
        Choice("TEST.MATCHING_STATS_THS", [0.3, 0.5, 0.75], note="overlaps (IoU) for the scores"),
        Choice("TEST.MATCHING_STATS_THS_COLORED_IMG", [0.5]),
    ]


def _ordered(choices: Iterable[Choice]) -> list[Choice]:
    """Return the choices grouped by section, in the order of the format."""

    def position(choice: Choice) -> tuple[int, int, int]:
        first, second = choice.key.split(".")[:2]
        data = _DATA_ORDER.index(second) if first == "DATA" else 0
        return _SECTIONS.index(first), data, choice.key.count(".") if first != "DATA" else 0

    return sorted(choices, key=position)


def _summary(survey: Survey, sizes: Sizes) -> str:
    """Return a description of the data set in three lines."""
    counts = [
        counted(len(part.pairs), f"{part.name} image") + ("" if part.labels else " without labels")
        for part in survey.parts
    ]
    shapes = sorted({shape for part in survey.parts for shape in part.shapes})
    span = shape_text(shapes[0])
    if len(shapes) > 1:
        span += f" to {shape_text(shapes[-1])}"
    channel = counted(survey.channels, "channel")
    size = shape_text(sizes.typical)
    train = survey.part("train")
    measured = ""
    if train and len(train.labels) < len(train.pairs):
        measured = f" in {len(train.labels)} of {counted(len(train.pairs), 'image')}"
    return (
        f"{', '.join(counts)}; {span} pixels, {channel}, {survey.images[0].dtype}\n"
        f"{counted(sizes.count, 'training object')} of {size} pixels (median){measured}, "
        f"{sizes.cut} cut by the border, {sizes.touching:.0%} touch others\n"
        f"{sizes.shape.text}"
    )
