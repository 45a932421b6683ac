"""Changes to whole images before normalization.

Each step processes one channel at a time, for any number of dimensions, and preserves the data
type: results in floats are rounded and clipped to the range of integers, so that a normalization by
data type has the same effect with and without the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.data.statistics import Statistics
from singula.errors import UserError
from singula.util.format import counted

Array = npt.NDArray[Any]
_MIN_SPAN = 1 / 255  # of floats that use the range from 0 to 1
_MAX_QUANTILES = 4096  # points of a reference distribution


@dataclass(frozen=True)
class Resize:
    """Settings of resizing; see `skimage.transform.resize`.

    Parameters
    ----------
    shape : tuple of int
        New spatial shape, (y, x) or (z, y, x).
    order : int
        Order of the interpolation, 0 to 5; labels are always resized by nearest neighbor.
    mode : {'constant', 'edge', 'symmetric', 'reflect', 'wrap'}
        Padding beyond the edge.
    cval : float
        Value beyond the edge for ``constant``.
    clip : bool
        Clip the result to the range of the input.
    preserve_range : bool
        If False, the result is float32, scaled by the range of the data type.
    anti_aliasing : bool
        Smooth before an image is reduced in size.
    """

    shape: tuple[int, ...]
    order: int = 1
    mode: str = "reflect"
    cval: float = 0.0
    clip: bool = True
    preserve_range: bool = True
    anti_aliasing: bool = False


@dataclass(frozen=True)
class Reference:
    """Distribution of the values of reference images, per channel.

    Parameters
    ----------
    values, quantiles : tuple of tuple of float
        Ascending values of each channel, and the fraction of pixels at or below each.
    """

    values: tuple[tuple[float, ...], ...]
    quantiles: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, images: Iterable[Array]) -> Reference:
        """Return the distribution of the pixels of all images (..., channels)."""
        statistics = Statistics(None)
        for image in images:
            statistics.add(image)
        values, quantiles = [], []
        for distinct, counts in statistics.distribution():
            shares = np.cumsum(counts) / counts.sum()
            if len(distinct) > _MAX_QUANTILES:
                points = np.linspace(shares[0], 1, _MAX_QUANTILES)
                distinct, shares = np.interp(points, shares, distinct), points
            values.append(tuple(distinct.tolist()))
            quantiles.append(tuple(shares.tolist()))
        return cls(tuple(values), tuple(quantiles))

    def to_dict(self) -> dict[str, Any]:
        """Return plain types, for a checkpoint."""
        return {name: [list(c) for c in columns] for name, columns in asdict(self).items()}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Reference:
        """Return the distribution that `to_dict` returned."""
        return cls(*(tuple(tuple(c) for c in stored[name]) for name in ("values", "quantiles")))


@dataclass(frozen=True)
class PreprocessSettings:
    """Settings of the steps, in their order; None skips a step.

    Parameters
    ----------
    resize : Resize, optional
        Settings of resizing.
    sigma : float, optional
        Standard deviation of a Gaussian filter in pixels.
    sigma_mode : str
        Padding of the Gaussian filter beyond the edge; see `scipy.ndimage.gaussian_filter`.
    median : tuple of int, optional
        Size of a median filter, one number or one per axis.
    reference : Reference, optional
        Distribution to which the histograms of all images are matched.
    clahe : (tuple of int or None, float), optional
        Size of a region (None: an eighth of the image) and limit of the contrast of an adaptive
        histogram equalization; minimum and maximum of the image do not change.
    canny : (float or None, float or None), optional
        Thresholds of an edge detector; volumes are processed slice by slice. Edges have the largest
        value of an integer type, or 1.
    """

    resize: Resize | None = None
    sigma: float | None = None
    sigma_mode: str = "nearest"
    median: tuple[int, ...] | None = None
    reference: Reference | None = None
    clahe: tuple[tuple[int, ...] | None, float] | None = None
    canny: tuple[float | None, float | None] | None = None

    @property
    def label_variant(self) -> str:
        """Description of the steps that change labels too; empty for none."""
        return f"resize {self.resize.shape}" if self.resize is not None else ""


def preprocess(image: Array, settings: PreprocessSettings) -> Array:
    """Apply all steps to an image.

    Parameters
    ----------
    image : ndarray
        Image (y, x, c) or (z, y, x, c) of any numeric type.
    settings : PreprocessSettings
        Settings of the steps.

    Returns
    -------
    ndarray
        Image of the same data type (float32 if ``preserve_range`` is False).

    Raises
    ------
    UserError
        ``preprocess.reference_channels``, ``preprocess.canny``.
    """
    channels = [image[..., index] for index in range(image.shape[-1])]
    for step in _steps(settings, len(channels)):
        channels = [step(channel, index) for index, channel in enumerate(channels)]
    return np.stack(channels, axis=-1)


def resize_labels(labels: Array, shape: Sequence[int]) -> Array:
    """Resize labels (y, x, c) or (z, y, x, c) to a spatial shape by nearest neighbor."""
    result = labels
    for axis, (old, new) in enumerate(zip(labels.shape, shape, strict=False)):
        # Pixel that contains the center of the new pixel, computed in integers without rounding
        nearest = (2 * np.arange(new) + 1) * old // (2 * new)
        result = result.take(nearest, axis=axis)
    return result


def resample(image: Array, shape: Sequence[int]) -> Array:
    """Resample an image: cubic if an axis grows, else linear; axes that shrink are smoothed first.

    Parameters
    ----------
    image : ndarray, (y, x, c) or (z, y, x, c)
        Image of any numeric type.
    shape : sequence of int
        New spatial shape.

    Returns
    -------
    ndarray
        Image of the same data type.
    """
    if image.shape[:-1] == tuple(shape):
        return image
    grows = any(new > old for new, old in zip(shape, image.shape, strict=False))
    settings = Resize(tuple(shape), order=3 if grows else 1, anti_aliasing=True)
    return preprocess(image, PreprocessSettings(resize=settings))


def scaled_shape(shape: Sequence[int], factors: Sequence[float]) -> tuple[int, ...]:
    """Return the spatial shape of an image that is enlarged by factors; each side is at least 1."""
    return tuple(max(1, round(n * f)) for n, f in zip(shape, factors, strict=True))


Step = Callable[[Array, int], Array]


def _steps(settings: PreprocessSettings, channels: int) -> list[Step]:
    steps: list[Step] = []
    resize, sigma, size = settings.resize, settings.sigma, settings.median
    reference, clahe, canny = settings.reference, settings.clahe, settings.canny
    if resize is not None:
        steps.append(lambda part, _: _resize(part, resize))
    if sigma is not None:
        mode = settings.sigma_mode
        steps.append(lambda part, _: _gaussian(part, sigma, mode))
    if size is not None:
        steps.append(lambda part, _: _median(part, size))
    if reference is not None:
        if len(reference.values) != channels:
            raise UserError(
                f"DATA.PREPROCESS.MATCH_HISTOGRAM: got reference images with "
                f"{counted(len(reference.values), 'channel')}, expected {channels}, as in "
                "the images",
                "use reference images with the channels of the images",
                "preprocess.reference_channels",
            )
        steps.append(lambda part, index: _match(part, reference, index))
    if clahe is not None:
        steps.append(lambda part, _: _clahe(part, *clahe))
    if canny is not None:
        steps.append(lambda part, _: _canny(part, *canny))
    return steps


def _floats(part: Array) -> Array:
    """Convert an array to floats that represent all values of its type."""
    small = part.dtype.itemsize <= 2 or part.dtype == np.float32
    return part.astype(np.float32 if small else np.float64)


def _like(result: Array, dtype: np.dtype[Any]) -> Array:
    """Convert floats to the data type of the image."""
    if dtype == np.bool_:
        return result > 0.5
    if dtype.kind in "ui":
        limits = np.iinfo(dtype)
        result = np.clip(np.rint(result), limits.min, limits.max)
    return result.astype(dtype)


def _resize(part: Array, settings: Resize) -> Array:
    from skimage.transform import resize

    source = _floats(part) if settings.preserve_range else part
    result: Array = resize(  # type: ignore[no-untyped-call]
        source,
        settings.shape,
        order=settings.order,
        mode=settings.mode,
        cval=settings.cval,
        clip=settings.clip,
        preserve_range=settings.preserve_range,
        anti_aliasing=settings.anti_aliasing,
    )
    return _like(result, part.dtype) if settings.preserve_range else result.astype(np.float32)


def _gaussian(part: Array, sigma: float, mode: str) -> Array:
    from scipy.ndimage import gaussian_filter

    return _like(gaussian_filter(_floats(part), sigma, mode=mode), part.dtype)


def _median(part: Array, size: tuple[int, ...]) -> Array:
    from scipy.ndimage import median_filter

    result: Array = median_filter(part, size[0] if len(size) == 1 else size, mode="nearest")
    return result


def _match(part: Array, reference: Reference, index: int) -> Array:
    _, place, counts = np.unique(part, return_inverse=True, return_counts=True)
    shares = np.cumsum(counts) / part.size
    values = np.interp(shares, reference.quantiles[index], reference.values[index])
    return _like(values[place].reshape(part.shape), part.dtype)


def _clahe(part: Array, kernel: tuple[int, ...] | None, limit: float) -> Array:
    from skimage.exposure import equalize_adapthist

    source = _floats(part)
    low, high = float(source.min()), float(source.max())
    if low == high:
        return part
    size = None
    if kernel is not None:
        size = kernel * part.ndim if len(kernel) == 1 else kernel
    equal = equalize_adapthist((source - low) / (high - low), size, clip_limit=limit)
    return _like(low + equal * (high - low), part.dtype)


def _canny(part: Array, low: float | None, high: float | None) -> Array:
    from skimage.feature import canny

    planes = part.reshape(-1, *part.shape[-2:])
    if part.dtype.kind == "f" and low is None and high is None:
        # The default thresholds suit values between 0 and 1; other images are rescaled to them.
        minimum, maximum = float(part.min()), float(part.max())
        if minimum < 0 or maximum > 1 or maximum - minimum < _MIN_SPAN:
            planes = (planes.astype(np.float64) - minimum) / (maximum - minimum or 1.0)
    find = partial(canny, low_threshold=low, high_threshold=high)
    try:
        edges = np.stack([find(plane) for plane in planes])
    except ValueError as error:  # the default of one threshold is on the wrong side of the other
        raise UserError(
            f"DATA.PREPROCESS.CANNY.LOW_THRESHOLD: got {low} with HIGH_THRESHOLD {high} ({error})",
            "set both thresholds, in the units of the image, the lower one first",
            "preprocess.canny",
        ) from error
    top = np.iinfo(part.dtype).max if part.dtype.kind in "ui" else 1
    return (edges.reshape(part.shape) * top).astype(part.dtype)
