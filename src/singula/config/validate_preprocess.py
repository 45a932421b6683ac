"""Rules about the keys of preprocessing and of voxel sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator

from singula.config.schema.root import Config
from singula.config.yaml_source import Problem
from singula.util.format import grouped

_MAX_REGION = 2**24  # pixels of a filter


def _common_spacing(config: Config) -> Iterator[Problem]:
    steps, key = config.DATA.PREPROCESS, "DATA.PREPROCESS.SPACING"
    if not steps.SPACING:
        return
    if len(steps.SPACING) != config.ndim or min(steps.SPACING) <= 0:
        yield Problem(
            f"{key}: got {steps.SPACING}, expected {config.ndim} positive numbers, one for each "
            f"axis of PROBLEM.NDIM {config.PROBLEM.NDIM}",
            "config.length",
        )
    others = {
        "DATA.PREPROCESS.RESIZE.ENABLE": steps.RESIZE.ENABLE,
        "TEST.ANALIZE_2D_IMGS_AS_3D_STACK": config.TEST.ANALIZE_2D_IMGS_AS_3D_STACK,
    }
    for name in (name for name, enabled in others.items() if enabled):
        yield Problem(f"{name}: got True, expected False with {key}", "config.combination")


def _decoding_spacing(config: Config) -> Iterator[Problem]:
    """Refuse a voxel size for only some of the images, if all need the same unit."""
    parts = ["TRAIN", "TEST"] if config.DATA.VAL.FROM_TRAIN else ["TRAIN", "VAL", "TEST"]
    sizes = {f"DATA.{part}.RESOLUTION": getattr(config.DATA, part) for part in parts}
    unset = [key for key, keys in sizes.items() if keys.spacing is None]
    if len(unset) in (0, len(parts)) or not config.decoder.uses_spacing(config.ndim):
        return
    key, keys = next((key, keys) for key, keys in sizes.items() if key not in unset)
    yield Problem(
        f"{unset[0]}: got (-1,) with {key} {keys.RESOLUTION}, expected all voxel sizes or none, "
        f"as {config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS} is decoded with the voxel size of the "
        "training",
        "config.combination",
    )


def _preprocess(config: Config) -> Iterator[Problem]:
    steps, ndim = config.DATA.PREPROCESS, config.ndim
    if not (steps.TRAIN or steps.VAL or steps.TEST):
        return
    shape = steps.RESIZE.OUTPUT_SHAPE
    if steps.RESIZE.ENABLE and len(shape) != ndim:
        yield Problem(
            f"DATA.PREPROCESS.RESIZE.OUTPUT_SHAPE: got {shape}, expected {ndim} numbers, one for "
            f"each axis of PROBLEM.NDIM {config.PROBLEM.NDIM}",
            "config.length",
        )
    median, clahe = steps.MEDIAN_BLUR, steps.CLAHE
    for name, used, size in (
        ("MEDIAN_BLUR", median.ENABLE, median.KERNEL_SIZE),
        ("CLAHE", clahe.ENABLE, clahe.KERNEL_SIZE),
    ):
        if used and size is not None and len(size) not in (1, ndim):
            yield Problem(
                f"DATA.PREPROCESS.{name}.KERNEL_SIZE: got {size}, expected one number, or {ndim}, "
                f"one for each axis of PROBLEM.NDIM {config.PROBLEM.NDIM}",
                "config.length",
            )
        if (
            used
            and size is not None
            and math.prod(size * (1 if len(size) > 1 else ndim)) > _MAX_REGION
        ):
            yield Problem(
                f"DATA.PREPROCESS.{name}.KERNEL_SIZE: got {size}, expected a region of at most "
                f"{grouped(_MAX_REGION)} pixels",
                "config.value",
            )
    low, high = steps.CANNY.LOW_THRESHOLD, steps.CANNY.HIGH_THRESHOLD
    if steps.CANNY.ENABLE and low is not None and high is not None and low > high:
        yield Problem(
            f"DATA.PREPROCESS.CANNY.LOW_THRESHOLD: got {low:g}, expected at most {high:g}, the "
            "value of DATA.PREPROCESS.CANNY.HIGH_THRESHOLD",
            "config.combination",
        )
    even = [size for size in steps.MEDIAN_BLUR.KERNEL_SIZE if size % 2 == 0]
    if steps.MEDIAN_BLUR.ENABLE and even:
        yield Problem(
            f"DATA.PREPROCESS.MEDIAN_BLUR.KERNEL_SIZE: got {even[0]}, expected odd numbers",
            "config.value",
        )


PREPROCESS_RULES = (_common_spacing, _decoding_spacing, _preprocess)
