"""Factors by which the images of a prediction are enlarged."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from singula.data.preprocess import scaled_shape
from singula.errors import UserError
from singula.inference.gray import is_color, read_gray, shown_color
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
from singula.util.format import show

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


def with_one_color(model: Model, pair: Pair) -> Pair:
    """Return a picture in color for a gray model as a gray image, which is not read.

    All colors have the same shape and type.
    """
    if not is_in_color(model, pair):
        return pair
    return replace(pair, arrays=replace(pair.arrays or ArrayPlace(), color=0))


def with_shown_color(model: Model, pair: Pair) -> Pair:
    """Return a picture in color for a gray model as the gray image that it shows.

    Raises
    ------
    UserError
        As `read_gray`.
    """
    if not is_in_color(model, pair):
        return pair
    number = shown_color(pair.image, model.ndim, pair.arrays)
    return replace(pair, arrays=replace(pair.arrays or ArrayPlace(), color=number))


def is_resampling(factors: Factors | Literal["auto"] | None) -> bool:
    """Return True if factors change the size of an image, or are not yet known."""
    return factors == "auto" or (factors is not None and set(factors) != {1.0})


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
        pair = with_one_color(self.model, pair)
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

    def check_in_blocks(self, pair: Pair, needed: int, dask: str | None, step: str) -> None:
        """Verify that an image in blocks is not resampled.

        An automatic scale is replaced by 1, with a message.

        Parameters
        ----------
        pair : Pair
            The image, which is not a slide.
        needed : int
            Result of `needed_memory`.
        dask : str, optional
            Workers of ``--dask``.
        step : str
            Beginning of messages about the image.

        Raises
        ------
        UserError
            ``predict.scale_blocks``, ``predict.scale_dask``: the image is resampled.
        """
        if self.given == "auto":
            _log.warning(f"{step}: scale 1, because images in blocks are not resampled")
        factors = self.given if isinstance(self.given, tuple) else self._common(pair)
        if factors is None:
            return
        shape = replace(self.model.reader, common=None).shape(pair.image, pair.arrays)
        if scaled_shape(shape, factors) == shape:
            return
        if dask is None:
            raise too_large(pair, needed)
        raise scale_with_dask(dask, factors, pair.image)

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
        f"{pair.image}: needs about {needed / 1e9:.1f} GB after resampling, which is more "
        "than the available memory; Singula does not resample images in blocks",
        "resample the image with another program, divide it into parts, or omit --scale",
        "predict.scale_blocks",
    )


def scale_with_dask(dask: str, factors: Factors | Literal["auto"], path: Path) -> UserError:
    """Return the error for an image that is resampled and predicted by workers."""
    return UserError(
        f"--dask: got {dask!r} for {path}, which is resampled by {show(factors)}, expected an "
        "image that is not resampled",
        "omit --dask, or give --scale 1",
        "predict.scale_dask",
    )
