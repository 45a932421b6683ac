"""Choices that follow from the images: channels, normalisation, changes of intensity, memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from singula.errors import UserError
from singula.propose.augmentation import is_little, is_uneven, slice_change
from singula.propose.choice import Choice
from singula.propose.sizes import Sizes
from singula.survey import ImageFacts, PartFacts, Survey
from singula.survey.facts import PERCENTILES
from singula.words import counted

_OUTLIERS = 1.2
_EMPTY_SHARE = 0.2
_ALIKE = 2.0
_VARIED = 1.5
_MOST_SHOWN = 5
_BYTES = 2.5  # of an image's values: channels and labels beside it


def normalisation(survey: Survey, part: PartFacts) -> list[Choice]:
    """How values come to a common range."""
    section = "DATA.NORMALIZATION"
    ranges = [_range(image) for image in part.images]
    ratios = [whole / inner if inner else math.inf for whole, inner in ranges if whole]
    ratio = float(np.median(ratios or [1.0]))
    spread = _spread(part.images)
    empty = float(np.mean([not len(labels.objects) for labels in part.labels]))
    mode, why = "image", f"brightness differs between images by a factor of {spread:.1f}"
    if empty > _EMPTY_SHARE and spread < _ALIKE:
        mode = "dataset"
        why = f"{empty:.0%} of the images have no object; normalized alone, each would be noise"
    made = [
        Choice(f"{section}.TYPE", "scale_range", note="minimum and maximum become 0 and 1"),
        Choice(f"{section}.APPLICATION_MODE", mode, why),
    ]
    clip = f"the brightest and darkest 0.1 % take {1 - 1 / max(ratio, 1):.0%} of the range"
    if ratio <= _OUTLIERS:
        clip += "; clipping keeps single pixels from setting the range"
    return [
        *made,
        Choice(f"{section}.PERC_CLIP", True, clip),
        Choice(f"{section}.PERC_LOWER", PERCENTILES[1]),
        Choice(f"{section}.PERC_UPPER", PERCENTILES[-2]),
    ]


def _range(image: ImageFacts) -> tuple[float, float]:
    """The range of all values and of those but 0.1 % at each end, channels together."""
    values = image.percentiles
    return float((values[:, -1] - values[:, 0]).max()), float((values[:, -2] - values[:, 1]).max())


def _spread(images: Sequence[ImageFacts]) -> float:
    """Return the ratio of bright to dark images (90th over 10th percentile of their range).

    Images without contrast are left out.
    """
    inner = [size for image in images if (size := _range(image)[1]) > 0]
    if not inner:
        return 1.0
    low, high = np.percentile(inner, (10, 90))
    return float(high / low)


def external_files(survey: Survey) -> list[Choice]:
    """Allow image files that refer to other files where the user allowed them for the survey."""
    pairs = [pair for part in survey.parts for pair in part.pairs]
    if not any(pair.arrays is not None and pair.arrays.external_files for pair in pairs):
        return []
    return [Choice("DATA.EXTERNAL_FILES", True, "given as --external-files")]


def colours(survey: Survey) -> list[Choice]:
    """What to do with grey and colour images together.

    Raises
    ------
    UserError
        Images of other numbers of channels, which nothing makes alike.
    """
    if survey.mixed_channels:
        return [Choice("DATA.FORCE_RGB", True, "some images are gray, some in color")]
    counts = Counter(image.channels for image in survey.images)
    if len(counts) < 2:
        return []
    usual = max(counts, key=lambda channels: (counts[channels], channels))
    others = [image for image in survey.images if image.channels != usual]
    shown = ", ".join(f"{image.path} has {image.channels}" for image in others[:_MOST_SHOWN])
    more = f" … and {len(others) - _MOST_SHOWN} more" if len(others) > _MOST_SHOWN else ""
    raise UserError(
        f"images of several numbers of channels: {counts[usual]} of {len(survey.images)} have "
        f"{usual}, but {shown}{more}",
        "give all images the same channels, or keep them in two data sets; only gray (1) and "
        "color (3) together are taken as they are",
    )


def intensity_changes(survey: Survey, part: PartFacts, sizes: Sizes) -> list[Choice]:
    """Choose random changes of brightness, contrast and sharpness."""
    spread = _spread(part.images)
    wide = spread > _VARIED
    why = contrast = f"brightness differs between images by a factor of {spread:.1f}"
    if not wide and is_little(part, sizes):
        few = counted(len(part.pairs), "image")
        contrast = f"{few} with {counted(sizes.count, 'object')}: other images will differ more"
    if not wide and is_uneven(part):
        contrast = f"slices differ in brightness by {slice_change(part):.0%} of the contrast"
    amount = 0.3 if wide or is_little(part, sizes) or is_uneven(part) else 0.1
    made = [
        Choice("AUGMENTOR.BRIGHTNESS", True, note="add a constant"),
        Choice("AUGMENTOR.CONTRAST", True, contrast),
        Choice("AUGMENTOR.CONTRAST_FACTOR", (-amount, amount)),
        Choice("AUGMENTOR.GAMMA_CONTRAST", wide, why),
        Choice("AUGMENTOR.GC_GAMMA", (0.6, 1.6), note="the power; above 1 darkens"),
    ]
    if survey.ndim == 2:
        made += [
            Choice("AUGMENTOR.G_BLUR", True, note="as if out of focus"),
            Choice("AUGMENTOR.G_SIGMA", (0.5, 1.5), note="pixels"),
            Choice("AUGMENTOR.GAUSSIAN_NOISE", True),
            Choice("AUGMENTOR.GAUSSIAN_NOISE_VAR", 0.001),
        ]
    if survey.mixed_channels:
        made.append(Choice("AUGMENTOR.GRAYSCALE", True, "some images are gray"))
    return made


def in_memory(survey: Survey, part: PartFacts) -> Choice:
    """Whether all training images stay in memory."""
    item = max(np.dtype(image.dtype).itemsize for image in part.images)
    need = part.npixels * (item * survey.channels + 1) * _BYTES
    fits = bool(need < survey.machine.memory / 2)
    key = "DATA.TRAIN.IN_MEMORY"
    said = f"{need / 2**30:.1f} GiB of images, labels and channels"
    if fits:
        return Choice(key, True, f"{said}: they fit")
    return Choice(key, False, f"{said}, {survey.machine.memory / 2**30:.0f} GiB are free")
