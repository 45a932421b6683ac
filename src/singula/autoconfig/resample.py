"""Measurements of a data set after resampling to a fixed voxel size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from singula.autoconfig.setting import Choice
from singula.data.preprocess import scaled_shape
from singula.dataset.facts import Objects, PartFacts, Survey

RESOLUTION = "DATA.TRAIN.RESOLUTION"
COMMON = "DATA.PREPROCESS.SPACING"


def resampled_survey(survey: Survey, fixed: Mapping[str, Choice]) -> Survey:
    """Return the survey of the images that the training reads, if their voxel size is fixed.

    Shapes and objects are those of the resampled images; the facts of each image are unchanged.

    Parameters
    ----------
    survey : Survey
        Measurements of the data set.
    fixed : mapping of str to Choice
        Choices by key that do not depend on the data.
    """
    sizes = _voxel_size(survey, fixed)
    if COMMON not in fixed or sizes is None:
        return survey
    factors = [size / other for size, other in zip(sizes, fixed[COMMON].value, strict=True)]
    return replace(survey, parts=tuple(_resampled(part, factors) for part in survey.parts))


def _voxel_size(survey: Survey, fixed: Mapping[str, Choice]) -> tuple[float, ...] | None:
    """Return the fixed voxel size of the files, or their mean voxel size; None without one."""
    if RESOLUTION in fixed and -1 not in fixed[RESOLUTION].value:
        given: tuple[float, ...] = fixed[RESOLUTION].value
        return given
    sizes = [size for image in survey.images if (size := image.length[0]) is not None]
    return tuple(np.mean(sizes, axis=0).tolist()) if sizes else None


def _resampled(part: PartFacts, factors: Sequence[float]) -> PartFacts:
    return replace(
        part,
        shapes=tuple(scaled_shape(shape, factors) for shape in part.shapes),
        labels=tuple(
            replace(labels, objects=_scaled(labels.objects, factors)) for labels in part.labels
        ),
    )


def _scaled(objects: Objects, factors: Sequence[float]) -> Objects:
    volume = prod(factors)
    return replace(
        objects,
        npixels=np.maximum(1, np.rint(objects.npixels * volume)).astype(np.int64),
        low=np.rint(objects.low * factors).astype(np.int64),
        box=np.maximum(1, np.rint(objects.box * factors)).astype(np.int64),
        core=np.rint(objects.core * volume).astype(np.int64),
        radius=objects.radius * volume ** (1 / len(factors)),
    )
