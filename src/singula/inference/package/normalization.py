"""Normalization of images in the terms of the BioImage Model Zoo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.data.normalize import Normalizer
from singula.data.scaling import Scaling

Array = npt.NDArray[Any]
Step = dict[str, Any]
_FLOAT32: Step = {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}
# Singula adds no number to a divisor; the format requires one.
_RANGE_EPS, _STD_EPS = 1e-12, 1e-8


@dataclass(frozen=True)
class Normalization:
    """Preprocessing of an input tensor.

    Parameters
    ----------
    steps : list of dict
        Steps of the format, from the stored image to the input of the network.
    before : list of str
        Steps that the format cannot express; images must be changed before they are given to the
        model.
    image : ndarray, (y, x, c) or (z, y, x, c)
        Test image, after the steps of `before`.
    dtype : str
        Data type of the input tensor: any other type is normalized differently, except for
        float32, which stands for all types.
    """

    steps: list[Step]
    before: list[str]
    image: Array
    dtype: str


def describe_normalization(normalizer: Normalizer, image: Array) -> Normalization:
    """Return the steps of the format that normalize an image as Singula does.

    Percentiles and moments of each image are those of the format, with these differences: it adds
    1e-12 to a range and 1e-8 to a standard deviation, and pixels above the upper percentile become
    1 if both percentiles are equal.

    Parameters
    ----------
    normalizer : Normalizer
        Normalization with the statistics of the training set.
    image : ndarray, (y, x, c) or (z, y, x, c)
        Test image; its data type determines the divisor of ``div``.
    """
    scaling = normalizer.scaling(image)
    clip = normalizer.clip if normalizer.wants_values else None
    before: list[str] = []
    dtype = image.dtype.name if normalizer.kind == "div" and image.dtype.kind in "ui" else "float32"
    if clip is not None and not (
        normalizer.kind == "scale_range" and clip[0] < 100 and clip[1] > 1
    ):
        before.append(f"clip each channel to its percentiles {clip[0]:g} and {clip[1]:g}")
        image = np.clip(image.astype(np.float32), scaling.low, scaling.high).astype(np.float32)
        dtype, clip = "float32", None
    if image.dtype == np.bool_ or image.dtype.kind == "f":
        image = image.astype(np.float32)
    axes = ["z", "y", "x"][-(image.ndim - 1) :]
    if not normalizer.wants_values or normalizer.kind == "div" or normalizer.uses_set_moments:
        steps = _fixed_steps(scaling, is_clipped=not normalizer.wants_values)
    elif normalizer.kind == "scale_range":
        low, high = (0.0, 100.0) if clip is None else clip
        limits = {"min_percentile": low, "max_percentile": high, "eps": _RANGE_EPS}
        steps = [{"id": "scale_range", "kwargs": {"axes": axes, **limits}}]
        steps += [] if clip is None else [_clip()]
    else:
        steps = [{"id": "zero_mean_unit_variance", "kwargs": {"axes": axes, "eps": _STD_EPS}}]
    return Normalization([_FLOAT32, *steps, _FLOAT32], before, image, dtype)


def _fixed_steps(scaling: Scaling, *, is_clipped: bool) -> list[Step]:
    """Return the steps of a normalization with the same numbers for all images.

    The format clips all channels to the same limits, so each channel is scaled to [0, 1] first.
    """
    low, high, shift, scale = scaling.low, scaling.high, scaling.shift, scaling.scale
    if not is_clipped or not (np.isfinite(low).all() and np.isfinite(high).all()):
        return _linear(1 / scale, -shift / scale)
    width = high - low
    gain = np.divide(1.0, width, out=np.zeros_like(width), where=width > 0)
    return [*_linear(gain, -low * gain), _clip(), *_linear(width / scale, (low - shift) / scale)]


def _linear(gain: Array, offset: Array) -> list[Step]:
    if (gain == 1).all() and (offset == 0).all():
        return []  # the format refuses a step without effect
    if (gain == gain[0]).all() and (offset == offset[0]).all():
        numbers: Step = {"gain": float(gain[0]), "offset": float(offset[0])}
    else:
        numbers = {"axis": "channel", "gain": gain.tolist(), "offset": offset.tolist()}
    return [{"id": "scale_linear", "kwargs": numbers}]


def _clip() -> Step:
    return {"id": "clip", "kwargs": {"min": 0.0, "max": 1.0}}
