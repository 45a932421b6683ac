"""Start of a training from a model, if it finds objects of the data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import pi
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.autoconfig import Choice
from singula.autoconfig.objects import choose_min_size
from singula.autoconfig.resample import resampled_survey
from singula.autoconfig.sizes import Sizes
from singula.config import Config
from singula.dataset.facts import PartFacts, Survey
from singula.errors import UserError
from singula.inference import Model, find_model, load
from singula.inference.auto_scale import trained_sizes
from singula.inference.scale import Scale
from singula.io.units import round_significant
from singula.labels.diameters import representative
from singula.metrics import match_overlap, overlap
from singula.pipeline.checkpoints import trained_config
from singula.pipeline.common_spacing import MAX_FACTOR
from singula.pipeline.from_config import channel_names
from singula.representations.channel_table import CHANNELS
from singula.training.checkpoint import load_checkpoint
from singula.util.boxes import center_box, evenly_spaced
from singula.util.format import counted
from singula.zoo.models import built_in_models, portable_name

MIN_F1 = 0.1
"""F1 at IoU 0.5 below which the images do not resemble those of the model."""
_IMAGES = 8  # labeled images of the first score
_SIDE = {2: 1024, 3: 128}  # maximum side in pixels of the scored part of an image
_MAX_SIDE = 4  # largest change of this side for images that are resampled
_ALIKE = 4 / 3  # ratio of sizes that is not worth a resampling
_GAIN = 0.05  # F1 that resampling must add
_SEG = "PROBLEM.INSTANCE_SEG"
# Keys that would otherwise be chosen from the data
_KEYS = (
    f"{_SEG}.DATA_CHANNELS", f"{_SEG}.DATA_CHANNEL_WEIGHTS", f"{_SEG}.DATA_CONTOUR_MODE",
    "DATA.PATCH_SIZE", "DATA.TEST.PADDING", "DATA.NORMALIZATION.TYPE",
    "DATA.NORMALIZATION.APPLICATION_MODE", "DATA.NORMALIZATION.PERC_CLIP",
    "DATA.NORMALIZATION.PERC_LOWER", "DATA.NORMALIZATION.PERC_UPPER",
    "MODEL.ARCHITECTURE", "MODEL.FEATURE_MAPS", "MODEL.DROPOUT_VALUES",
)  # fmt: skip
# Other keys of network, targets, loss and preprocessing, which are taken if they are not defaults
_SECTIONS = (
    "MODEL.", "LOSS.", "DATA.NORMALIZATION.", "DATA.PREPROCESS.", "DATA.FORCE_RGB",
    f"{_SEG}.DISTANCE_CHANNEL_MASK", f"{_SEG}.POINT_RADIUS", f"{_SEG}.DATA_CHANNELS_EXTRA_OPTS",
    f"{_SEG}.DATA_CHANNELS_LOSSES", f"{_SEG}.SEED_CHANNELS", f"{_SEG}.GROWTH_MASK_CHANNELS",
    f"{_SEG}.TOPOGRAPHIC_SURFACE_CHANNEL",
)  # fmt: skip
_NOTES = {
    f"{_SEG}.DATA_CHANNELS": "those of the model",
    f"{_SEG}.DATA_CHANNEL_WEIGHTS": "one per channel, as for the model",
    "DATA.PATCH_SIZE": "as for the model",
}


def model_keys(config: Config) -> list[str]:
    """Return the keys that a training from the weights of a model takes from the model.

    These are the keys of the network, its channels and their loss, the patches, and the
    preprocessing and normalization of the images.

    Parameters
    ----------
    config : Config
        Configuration of the model.
    """
    values, defaults = config.dotted(), Config().dotted()
    others = [
        name
        for name, value in values.items()
        if name.startswith(_SECTIONS) and "CHECKPOINT" not in name and value != defaults[name]
    ]
    in_volumes = ("MODEL.Z_DOWN",) if config.ndim == 3 else ()
    points = (f"{_SEG}.POINT_RADIUS",) if "P" in channel_names(config) else ()
    return list(dict.fromkeys((*_KEYS, *in_volumes, *points, *others)))


def find_start(survey: Survey, path: Path) -> tuple[Choice, ...]:
    """Score a model on labeled images, and return the choices for a training from its weights.

    They are the values of `model_keys`, and the model. If the objects are much larger or smaller
    than those of the model, and it finds them better in resampled images, the training resamples
    the images. If its F1 is below `MIN_F1`, the training starts from random weights, and all keys
    are chosen from the data.

    Parameters
    ----------
    survey : Survey
        Measurements of the data set.
    path : Path
        Folder of a run, a checkpoint, or the name of a built-in model.

    Raises
    ------
    UserError
        ``init.other_model``: the dimensions, channels or classes of the images differ from those of
        the model. ``init.no_voxel_size``: the model needs the voxel size of each image.
    """
    model = load(path)
    _check(survey, model, path)
    train = survey.part("train")
    if train is None:
        raise RuntimeError("a data set without training images")
    f1, count = _score(model, survey, train, 1.0)
    scale = _scale_to_model(survey, model)
    enlarged = _score(model, survey, train, scale)[0] if scale != 1 else f1
    if enlarged < max(f1 + _GAIN, MIN_F1):
        scale = 1.0
    why = _score_text(path, model, survey, count, f1, scale, enlarged)
    if max(f1, enlarged) < MIN_F1:
        why += f", expected at least {MIN_F1:g}: the training starts from random weights"
        return (Choice("MODEL.LOAD_CHECKPOINT", False, why),)
    values = model.config.dotted()
    choices = [
        *(Choice(key, values[key], note=_NOTES.get(key, "")) for key in model_keys(model.config)),
        *_pixel_distances(model.config),
        *_resampling(survey, scale),
    ]
    return (
        *choices,
        *_min_sizes(survey, choices, values),
        Choice("MODEL.LOAD_CHECKPOINT", True, why),
        Choice(
            "PATHS.CHECKPOINT_FILE", portable_name(find_model(path)), note="start of the training"
        ),
    )


def _pixel_distances(config: Config) -> list[Choice]:
    """Choose distances in pixels if those of the model are in pixels."""
    if not _has_distances(config) or config.DATA.TRAIN.spacing is not None:
        return []
    note = "distances in pixels, as for the model"
    return [
        Choice(f"DATA.{part}.RESOLUTION", (-1,), note=note) for part in ("TRAIN", "VAL", "TEST")
    ]


def _scale_to_model(survey: Survey, model: Model) -> float:
    """Return the factor that gives the objects the size of those of the model.

    It is 1 if objects of this size occur in the training images of the model, if images are
    resampled anyway, or if they have no common voxel size that would determine their resampling.
    """
    without_size = all(image.spacing is None for image in survey.images)
    if model.objects.size is None or model.reader.common is not None:
        return 1.0
    if not (without_size or survey.has_uniform_spacing):
        return 1.0
    size, (low, high) = trained_sizes(model.objects)
    diameter = _diameter(survey)
    is_usual = low <= diameter <= high or 1 / _ALIKE <= size / diameter <= _ALIKE
    return 1.0 if is_usual else min(MAX_FACTOR, max(1 / MAX_FACTOR, size / diameter))


def _diameter(survey: Survey) -> float:
    """Return the median diameter of the disk or ball with the size of a training object."""
    objects = survey.objects("train")
    unit = {2: pi / 4, 3: pi / 6}[survey.ndim]
    diameters = (objects.npixels / unit) ** (1 / survey.ndim)
    return float(np.median(diameters[representative(diameters, objects.border)]))


def _score_text(
    path: Path, model: Model, survey: Survey, count: int, f1: float, scale: float, enlarged: float
) -> str:
    """Return the scores of a model, and the sizes of the objects, as text."""
    images = counted(count, "training image")
    text = f"{path} finds objects with F1 {f1:.2f} at IoU 0.5 in {images}"
    if model.objects.size is not None:
        diameter = f"{_diameter(survey):.0f}"
        text += f"; its objects have a diameter of {trained_sizes(model.objects)[0]:.0f} pixels"
        text += f", these of {diameter}"
    if scale != 1:
        text += f"; F1 {enlarged:.2f} with --scale {scale:.2g}, by which the training resamples"
    return text


def _resampling(survey: Survey, scale: float) -> list[Choice]:
    """Choose the voxel sizes of an image and of the network whose ratio is the scale."""
    if scale == 1:
        return []
    why = f"images are resampled by {scale:.2g}: their objects get the size of those of the model"
    sizes = survey.images[0].length[0]
    if sizes is not None:
        common = tuple(round_significant(size / scale, 6) for size in sizes)
        return [Choice("DATA.PREPROCESS.SPACING", common, why)]
    scale = round_significant(scale, 3)
    return [
        Choice("DATA.PREPROCESS.SPACING", (1.0,) * survey.ndim, why),
        *(
            Choice(f"DATA.{part}.RESOLUTION", (scale,) * survey.ndim, note="ratio to SPACING")
            for part in ("TRAIN", "VAL", "TEST")
        ),
    ]


def _min_sizes(
    survey: Survey, choices: Sequence[Choice], values: Mapping[str, Any]
) -> list[Choice]:
    """Limit the minimum sizes of objects to those of the model.

    A few corrected images may have large objects only, while the model also finds small ones.
    """
    resampled = resampled_survey(survey, {choice.key: choice for choice in choices})
    note = "pixels; as for the model, whose training images have smaller objects"
    return [
        Choice(choice.key, values[choice.key], note=note)
        for choice in choose_min_size(Sizes.of(resampled))
        if 0 < values[choice.key] < choice.value
    ]


def _has_distances(config: Config) -> bool:
    return any(CHANNELS[name].kind != "binary" for name in channel_names(config))


def _check(survey: Survey, model: Model, path: Path) -> None:
    """Raise an error if the images cannot be used for a training from the model."""
    config = model.config
    classes = max(survey.classes, default=1)
    converted = config.DATA.FORCE_RGB and survey.channels == 1
    given = (survey.ndim, config.in_channels if converted else survey.channels, classes)
    expected = _trained_on(config)
    if given != expected:
        images, trained_on = (
            f"{n}D images with {counted(c, 'channel')} and {counted(k, 'class', 'classes')}"
            for n, c, k in (given, expected)
        )
        raise UserError(
            f"--from: got {path}, a model for {trained_on}, expected a model for {images}",
            _remedy(survey, given, expected),
            "init.other_model",
        )
    in_units = _has_distances(config) and config.DATA.TRAIN.spacing is not None
    resampled = model.reader.common is not None
    sizes = [image.spacing for image in survey.images]
    if (resampled and None in sizes) or (in_units and not _is_uniform(survey)):
        raise UserError(
            f"--from: got images without {'a' if resampled else 'one common'} voxel size, which "
            f"the model {path} needs",
            "set the voxel size in the files (in Fiji: Image > Properties), or omit --from to "
            "train from random weights",
            "init.no_voxel_size",
        )


def _is_uniform(survey: Survey) -> bool:
    return survey.spacing is not None and survey.has_uniform_spacing


def _remedy(survey: Survey, given: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """Return the remedy for a model for other images: dimensions, channels and classes."""
    remedies = []
    if (given[0], given[2]) == (expected[0], expected[2]) and expected[1] == 1:
        if given[1] == 3:
            some = "the color images" if survey.mixed_channels else "the images, if they show gray,"
            remedies.append(f"convert {some} to gray (in Fiji: Image > Type > 8-bit)")
        else:
            remedies.append("select the channel of the objects with --channel")
    fitting = [
        name
        for name, built_in in built_in_models().items()
        if _trained_on(trained_config(load_checkpoint(built_in.checkpoint))) == given
    ]
    if fitting:
        remedies.append(f"start from {' or '.join(fitting)}")
    return ", or ".join([*remedies, "omit --from to train from random weights"])


def _trained_on(config: Config) -> tuple[int, int, int]:
    """Return the dimensions, channels and classes of the training images of a model."""
    return config.ndim, config.in_channels, config.MODEL.N_CLASSES - 1


def _score(model: Model, survey: Survey, train: PartFacts, scale: float) -> tuple[float, int]:
    """Return the mean F1 at IoU 0.5 of some training images with objects, and their number.

    Images are enlarged by `scale`, or to the voxel size of the model if it has one.
    """
    side = round(_SIDE[model.ndim] / min(max(scale, 1 / _MAX_SIDE), _MAX_SIDE))
    gray = model.reader.gray or survey.mixed_channels
    reader = replace(model.reader.as_stored, gray=gray, spacing=None, unit=None)
    with_objects = {labels.path for labels in train.labels if len(labels.objects)}
    pairs = [pair for pair in train.pairs if pair.label in with_objects]
    scores = []
    for number in evenly_spaced(len(pairs), _IMAGES):
        ids = reader.labels(pairs[number])[..., 0]
        if not (ids > 0).any():
            continue
        box = _box_with_objects(ids, side)
        image = reader.open_image(pairs[number].image, pairs[number].arrays)
        factors: Scale = None if scale == 1 else scale
        if model.reader.common is not None:
            factors = model.reader.common.factors(image.path, image.spacing, image.unit)
        table = overlap(ids[box], model.predict(image.read(box), scale=factors))
        scores.append(match_overlap(table, (0.5,))[0].f1)
    return (fmean(scores) if scores else 0.0), len(scores)


def _box_with_objects(ids: npt.NDArray[Any], side: int) -> tuple[slice, ...]:
    """Return the center of a label image, or a box around its first object if that is empty."""
    center = center_box(ids.shape, (side,) * ids.ndim)
    if (ids[center] > 0).any():
        return center
    first = np.unravel_index(np.argmax(ids > 0), ids.shape)
    starts = (
        min(max(0, int(place) - side // 2), max(0, size - side))
        for place, size in zip(first, ids.shape, strict=True)
    )
    return tuple(slice(start, start + side) for start in starts)
