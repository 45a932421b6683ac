"""Sizes of the tensors of a model package, and its test image."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.config import Config
from singula.data.normalize import Normalizer, divisor
from singula.data.patches import read_patch
from singula.data.preprocess import preprocess
from singula.errors import UserError
from singula.inference.model import Model
from singula.io.list_images import list_images
from singula.io.read import read_header, read_image
from singula.io.units import format_spacing
from singula.models import ModelSettings, receptive_radius
from singula.pipeline.from_config import model_settings, tile_plan
from singula.pipeline.readers import places_for
from singula.synthetic.fluorescence import Appearance, make_image

Array = npt.NDArray[Any]
_MIN_SIDE = 256  # in the plane, of a test image that is cut from an image of the user
_STEPS = {
    "resize": "resize the image as in training",
    "sigma": "smooth the image with a Gaussian filter",
    "median": "smooth the image with a median filter",
    "reference": "match the histogram of the image to that of the reference images",
    "clahe": "equalize the histogram locally (CLAHE)",
    "canny": "replace the image by its edges (Canny)",
}  # by the field of `PreprocessSettings`, in their order
_DIAMETER = 24.0  # in pixels, of synthetic nuclei if the size of the training objects is unknown


@dataclass(frozen=True)
class AxisSize:
    """Sizes of the input of a network along an axis.

    Parameters
    ----------
    smallest : int
        Smallest size, in pixels.
    step : int
        All sizes are ``smallest`` plus a multiple of it; 0 for a fixed size.
    halo : int
        Mirrored pixels around the image, which are removed from the output.
    """

    smallest: int
    step: int
    halo: int

    def at_least(self, size: int) -> int:
        """Return the smallest allowed size of at least `size`; the fixed size if there is one."""
        if not self.step:
            return self.smallest
        return self.smallest + max(0, ceil((size - self.smallest) / self.step)) * self.step

    def at_most(self, size: int) -> int:
        """Return the largest allowed size of at most `size`, or the smallest allowed size."""
        if not self.step:
            return self.smallest
        return self.smallest + max(0, (size - self.smallest) // self.step) * self.step


def axis_sizes(config: Config, settings: ModelSettings) -> tuple[AxisSize, ...]:
    """Return the input sizes of a network for each spatial axis.

    The halo is the margin of the tiles (DATA.TEST.PADDING). A network whose receptive field is the
    whole input has the fixed size of the patches that it was trained on.

    Parameters
    ----------
    config : Config
        Configuration of the training.
    settings : ModelSettings
        Settings of the network.
    """
    plan = tile_plan(config, settings)
    if receptive_radius(settings) is None:
        return tuple(
            AxisSize(size, 0, margin) for size, margin in zip(plan.patch, plan.padding, strict=True)
        )
    return tuple(
        AxisSize(ceil((2 * margin + 1) / step) * step, step, margin)
        for step, margin in zip(plan.multiple, plan.padding, strict=True)
    )


def make_test_image(
    model: Model, normalizer: Normalizer, sizes: tuple[AxisSize, ...], file: Path | None
) -> Array:
    """Return the test image: a part of an image of the user, or synthetic nuclei.

    Parameters
    ----------
    model : Model
        Model with its preprocessing.
    normalizer : Normalizer
        Normalization of the model.
    sizes : tuple of AxisSize
        Input sizes of the network.
    file : Path, optional
        Image whose center is used, after the preprocessing of the model.

    Returns
    -------
    ndarray, (y, x, c) or (z, y, x, c)

    Raises
    ------
    UserError
        ``package.image_type``: the normalization depends on the data type of the training images,
        which do not exist here; as for `read_image`.
    """
    patch = tile_plan(model.config, model_settings(model.config)).patch
    shape = tuple(size.at_least(side) for size, side in zip(sizes, patch, strict=True))
    if file is None:
        return _synthetic(model, normalizer, shape)
    reader, place = model.reader, places_for(model.config, "TEST").image
    image = read_image(
        file, model.ndim, model.config.in_channels, allow_gray=reader.gray, arrays=place
    ).array
    if reader.steps is not None:
        image = preprocess(image, reader.steps)
    plane = (0,) * (model.ndim - 2) + (_MIN_SIDE,) * 2
    shape = tuple(
        size.at_most(max(side, min(min_length, length)))
        for size, side, min_length, length in zip(sizes, shape, plane, image.shape, strict=False)
    )
    start = [(length - side) // 2 for length, side in zip(image.shape, shape, strict=False)]
    return np.ascontiguousarray(read_patch(image, start, shape))


def preprocessing_steps(model: Model) -> list[str]:
    """Return the preprocessing of a model, which the format cannot express, as imperatives.

    Parameters
    ----------
    model : Model
        Model with its preprocessing.
    """
    steps, common = model.reader.steps, model.reader.common
    lines = []
    if common is not None:
        lines.append(f"resample the image to the voxel size {format_spacing(common.size, None)}")
    if steps is not None:
        lines += [line for name, line in _STEPS.items() if getattr(steps, name) is not None]
    return lines


def _synthetic(model: Model, normalizer: Normalizer, shape: tuple[int, ...]) -> Array:
    diameter = min(model.objects.size[-1] if model.objects.size else _DIAMETER, min(shape[-2:]) / 3)
    looks = Appearance(radius=(0.4 * diameter, 0.6 * diameter))
    rng = np.random.default_rng(0)
    drawn = make_image(shape, rng, spacing=model.objects.spacing, appearance=looks).image
    image: Array = np.repeat(drawn[..., None], model.config.in_channels, axis=-1)
    if normalizer.kind != "div":
        return image
    top = ((normalizer.statistics or {}).get("divisor") or (0.0,))[0]
    dtype = np.dtype(np.float32) if top else _training_dtype(model)
    if dtype is None:
        raise UserError(
            "--image: got no image, expected a training image, because the model uses "
            "DATA.NORMALIZATION.TYPE div and its training images are not on this machine",
            "copy one of the training images to this machine, and give it with --image",
            "package.image_type",
        )
    full = divisor(dtype, top, lambda: 1.0)
    scaled: Array = (image * (full / divisor(drawn.dtype, 0.0, lambda: 1.0))).astype(dtype)
    return scaled


def _training_dtype(model: Model) -> np.dtype[Any] | None:
    """Return the data type of the first training image; None if it cannot be read."""
    try:
        first = list_images(model.config.DATA.TRAIN.PATH, "DATA.TRAIN.PATH")[0]
        return read_header(first, places_for(model.config, "TRAIN").image).dtype
    except UserError:
        return None
