"""Choice of channels, normalization, intensity augmentation and memory from the images."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from singula.autoconfig.augmentation import has_little_data, is_uneven, slice_change
from singula.autoconfig.setting import Choice
from singula.autoconfig.sizes import Sizes
from singula.dataset.facts import ImageFacts, PartFacts, Survey
from singula.dataset.facts.facts import PERCENTILES
from singula.errors import UserError
from singula.util.format import counted

_OUTLIERS = 1.2
_EMPTY_SHARE = 0.2
_ALIKE = 2.0
_VARIED = 1.5
_MAX_LISTED = 5
_MEMORY_FACTOR = 2.5  # memory with the channels, relative to images and labels only


def choose_normalization(survey: Survey, part: PartFacts) -> list[Choice]:
    """Choose the normalization of the images.

    Parameters
    ----------
    survey : Survey
        Measurements of the data set.
    part : PartFacts
        Measurements of the training data.
    """
    section = "DATA.NORMALIZATION"
    ranges = [_range(image) for image in part.images]
    ratios = [whole / inner if inner else math.inf for whole, inner in ranges if whole]
    ratio = float(np.median(ratios or [1.0]))
    spread = _spread(part.images)
    empty = float(np.mean([not len(labels.objects) for labels in part.labels]))
    mode, why = "image", _describe(part.images, spread)
    if empty > _EMPTY_SHARE and spread < _ALIKE:
        mode = "dataset"
        why = f"{empty:.0%} of the images have no object and would show only noise with mode image"
    choices = [
        Choice(f"{section}.TYPE", "scale_range", note="minimum and maximum become 0 and 1"),
        Choice(f"{section}.APPLICATION_MODE", mode, why),
    ]
    clip = f"the brightest and darkest 0.1 % take up {1 - 1 / max(ratio, 1):.0%} of the range"
    if ratio <= _OUTLIERS:
        clip += "; without clipping, single pixels could determine the range"
    return [
        *choices,
        Choice(f"{section}.PERC_CLIP", True, clip),
        Choice(f"{section}.PERC_LOWER", PERCENTILES[1]),
        Choice(f"{section}.PERC_UPPER", PERCENTILES[-2]),
    ]


def _range(image: ImageFacts) -> tuple[float, float]:
    """Return the range of the values of an image, with and without 0.1 % of them at each end.

    The channel with the largest range counts.
    """
    values = image.percentiles
    return float((values[:, -1] - values[:, 0]).max()), float((values[:, -2] - values[:, 1]).max())


def _spread(images: Sequence[ImageFacts]) -> float:
    """Return the ratio between bright and dark images: 90th over 10th percentile of the ranges.

    Images without contrast are not counted.
    """
    inner = [size for image in images if (size := _range(image)[1]) > 0]
    if not inner:
        return 1.0
    low, high = np.percentile(inner, (10, 90))
    return float(high / low)


def _describe(images: Sequence[ImageFacts], spread: float) -> str:
    """Return the result of `_spread` as a reason."""
    if sum(_range(image)[1] > 0 for image in images) < 2:
        return "fewer than two images have contrast, so their brightness cannot be compared"
    factor = f"{spread:.1f}"
    if factor == "1.0":
        return "all images are about equally bright"
    return f"brightness differs between images by a factor of {factor}"


def choose_external_files(survey: Survey) -> list[Choice]:
    """Allow image files that refer to other files if the user allowed them for the survey."""
    pairs = [pair for part in survey.parts for pair in part.pairs]
    if not any(pair.arrays is not None and pair.arrays.external_files for pair in pairs):
        return []
    return [Choice("DATA.EXTERNAL_FILES", True, "given as --external-files")]


def choose_channel(survey: Survey) -> list[Choice]:
    """Choose the channel of images that the user chose for the survey."""
    pairs = [pair for part in survey.parts for pair in part.pairs]
    chosen = {pair.arrays.channel for pair in pairs if pair.arrays is not None} - {""}
    return [Choice("DATA.CHANNEL", name, "given as --channel") for name in chosen]


def choose_colors(survey: Survey) -> list[Choice]:
    """Choose the conversion of mixed gray and color images.

    Raises
    ------
    UserError
        ``init.mixed_channels``: the numbers of channels differ otherwise.
    """
    if survey.mixed_channels:
        return [Choice("DATA.FORCE_RGB", True, "some images are gray, some in color")]
    counts = Counter(image.channels for image in survey.images)
    if len(counts) < 2:
        return []
    majority = max(counts, key=lambda channels: (counts[channels], channels))
    others = [image for image in survey.images if image.channels != majority]
    listed = ", ".join(f"{image.path} has {image.channels}" for image in others[:_MAX_LISTED])
    more = f" … and {len(others) - _MAX_LISTED} more" if len(others) > _MAX_LISTED else ""
    raise UserError(
        f"images with different numbers of channels: {counts[majority]} of {len(survey.images)} "
        f"have {majority}, but {listed}{more}",
        "give all images the same channels, or split them into two data sets; only gray (1) and "
        "color (3) images can be mixed",
        "init.mixed_channels",
    )


def choose_intensity_changes(survey: Survey, part: PartFacts, sizes: Sizes) -> list[Choice]:
    """Choose random changes of brightness, contrast and sharpness.

    Parameters
    ----------
    survey : Survey
        Measurements of the data set.
    part : PartFacts
        Measurements of the training data.
    sizes : Sizes
        Statistics of the training instances.
    """
    spread = _spread(part.images)
    wide = spread > _VARIED
    why = contrast = _describe(part.images, spread)
    if not wide and has_little_data(part, sizes):
        few = counted(len(part.pairs), "image")
        contrast = f"{few} with {counted(sizes.count, 'object')}: new images may differ more"
    if not wide and is_uneven(part):
        contrast = f"slices differ in brightness by {slice_change(part):.0%} of the contrast"
    amount = 0.3 if wide or has_little_data(part, sizes) or is_uneven(part) else 0.1
    choices = [
        Choice("AUGMENTOR.BRIGHTNESS", True, note="add a constant"),
        Choice("AUGMENTOR.CONTRAST", True, contrast),
        Choice("AUGMENTOR.CONTRAST_FACTOR", (-amount, amount)),
        Choice("AUGMENTOR.GAMMA_CONTRAST", wide, why),
        Choice("AUGMENTOR.GC_GAMMA", (0.6, 1.6), note="the power; above 1 darkens"),
    ]
    if survey.ndim == 2:
        choices += [
            Choice("AUGMENTOR.G_BLUR", True, note="simulates images out of focus"),
            Choice("AUGMENTOR.G_SIGMA", (0.5, 1.5), note="pixels"),
            Choice("AUGMENTOR.GAUSSIAN_NOISE", True),
            Choice("AUGMENTOR.GAUSSIAN_NOISE_VAR", 0.001),
        ]
    if survey.mixed_channels:
        choices.append(Choice("AUGMENTOR.GRAYSCALE", True, "some images are gray"))
    return choices


def choose_in_memory(survey: Survey, part: PartFacts) -> Choice:
    """Choose whether to keep all training images in memory."""
    value_bytes = max(np.dtype(image.dtype).itemsize for image in part.images)
    needed = part.npixels * (value_bytes * survey.channels + 1) * _MEMORY_FACTOR
    fits = bool(needed < survey.machine.memory / 2)
    key = "DATA.TRAIN.IN_MEMORY"
    size = f"{needed / 2**30:.1f} GiB" if needed >= 0.1 * 2**30 else f"{needed / 2**20:.1f} MiB"
    text = f"{size} of images, labels and channels"
    if fits:
        return Choice(key, True, f"{text}: they fit")
    return Choice(key, False, f"{text}, {survey.machine.memory / 2**30:.0f} GiB are free")
