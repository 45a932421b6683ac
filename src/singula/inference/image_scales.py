"""Factors by which the images of a prediction are enlarged."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Literal

from singula.data.preprocess import scaled_shape
from singula.errors import UserError
from singula.inference.gray import is_color, read_gray
from singula.inference.model import Model
from singula.inference.scale import Factors
from singula.inference.voxel_sizes import VoxelSizes
from singula.io.image import ArrayPlace, Image
from singula.io.pairing import Pair
from singula.io.read import read_header, read_image
from singula.pipeline.memory import (
    available_memory,
    ensemble_bytes,
    needed_memory,
    whole_image_bytes,
)

_log = logging.getLogger(__name__)


def is_in_color(model: Model, pair: Pair) -> bool:
    """Return True if a picture in color is given to a model for gray images."""
    if model.ndim != 2 or model.config.in_channels != 1:
        return False
    return is_color(read_header(pair.image, pair.arrays))


def read_for(model: Model, pair: Pair) -> Image:
    """Read an image with the channels of a model."""
    if is_in_color(model, pair):
        return read_gray(pair.image, model.ndim, pair.arrays)
    channels, gray = model.config.in_channels, model.reader.gray
    return read_image(pair.image, model.ndim, channels, allow_gray=gray, arrays=pair.arrays)


@dataclass(frozen=True)
class ImageScales:
    """Factors of the images of a prediction.

    Parameters
    ----------
    model : Model
        Trained model.
    given : tuple of float or "auto", optional
        Factors of ``--scale``; "auto": estimated for each file. None: from the voxel size, if the
        model was trained at a common voxel size (DATA.PREPROCESS.SPACING).
    sizes : VoxelSizes
        Voxel size of ``--spacing`` and ``--unit``.
    """

    model: Model
    given: Factors | Literal["auto"] | None
    sizes: VoxelSizes
    _estimated: dict[tuple[object, ...], Factors | None] = field(default_factory=dict)

    def needed_memory(self, pair: Pair, memory: int) -> int:
        """Return the bytes to predict an image in memory.

        A scale that is not yet known counts as 2 if the memory suffices for it.

        Parameters
        ----------
        pair : Pair
            The image.
        memory : int
            Available bytes.

        Raises
        ------
        UserError
            The file cannot be read.
        """
        if self.given != "auto":
            return self._bytes(pair, self.given or self._common(pair))
        needed = self._bytes(pair, None)
        return min(4 * needed, max(needed, memory))

    def of(self, pair: Pair, image: Image, step: str) -> Factors | None:
        """Return the factors of an image; None if it is not resampled.

        The scale of a file is estimated from its first time point, and reported.

        Parameters
        ----------
        pair, image
            The image.
        step : str
            Beginning of messages about the image.

        Raises
        ------
        UserError
            ``predict.scale_blocks``: the enlarged image does not fit into memory.
        """
        if self.given != "auto":
            return self.given or self._common(pair)
        model, place = self.model, pair.arrays or ArrayPlace()
        key = (pair.image, place.inside, place.series)
        if key not in self._estimated:
            first = image
            if place.frame:
                first = read_for(model, replace(pair, arrays=replace(place, frame=0)))
            estimate = model.estimate_scale(first.array)
            factors = model.factors(estimate.factor)
            self._estimated[key] = None if factors == "auto" else factors
            _log.info(f"{step}: {estimate}")
        config, shape = model.config, image.spatial_shape
        shape = scaled_shape(shape, self._estimated[key] or (1,) * len(shape))
        needed = whole_image_bytes(config, shape, image.array.dtype.itemsize)
        needed += ensemble_bytes(config, shape) if model.others else 0
        if needed > available_memory(model.config):
            raise too_large(pair, needed)
        return self._estimated[key]

    def _common(self, pair: Pair) -> Factors | None:
        """Return the factors to the common voxel size of the training; None if it has none."""
        reader, common = self.model.reader, self.model.reader.common
        if common is None:
            return None
        if self.sizes.spacing is not None:
            reader = replace(reader, spacing=self.sizes.spacing, unit=self.sizes.unit)
        sizes = reader.stored_voxel_size(pair.image, pair.arrays)
        return common.factors(pair.image, *sizes)

    def _bytes(self, pair: Pair, factors: Factors | None) -> int:
        config, reader = self.model.config, replace(self.model.reader, common=None)
        needed = needed_memory(config, reader, pair, factors)
        if self.model.others:
            shape = reader.shape(pair.image, pair.arrays)
            needed += ensemble_bytes(config, scaled_shape(shape, factors or (1,) * len(shape)))
        return needed


def too_large(pair: Pair, needed: int) -> UserError:
    """Return the error for a resampled image that does not fit into memory."""
    return UserError(
        f"{pair.image}: needs about {needed / 1e9:.1f} GB when it is resampled, more than the "
        "available memory, and images in blocks are not resampled",
        "resample the image with another program, divide it into parts, or omit --scale",
        "predict.scale_blocks",
    )
