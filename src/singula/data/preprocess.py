"""Changes made to whole images before they are normalised.

Each step works on one channel at a time and for any number of dimensions, and keeps the type of the
image: what a step computes in floats is rounded and put back into the range of integers, so that a
normalisation which goes by the type means the same with and without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.data.normalize import Statistics
from singula.errors import UserError
from singula.util.format import counted

Array = npt.NDArray[Any]
_LEAST_SPAN = 1 / 255  # of floats that use the range from 0 to 1
_QUANTILES = 4096  # points of a reference distribution that has more distinct values


@dataclass(frozen=True)
class Resize:
    """Bring an image to one size; the arguments of `skimage.transform.resize`.

    Parameters
    ----------
    shape : tuple of int
        (y, x) or (z, y, x).
    order : int
        Of the interpolation, 0 to 5; labels always take the nearest pixel.
    mode : {'constant', 'edge', 'symmetric', 'reflect', 'wrap'}
        What lies beyond the edge.
    cval : float
        Value there for ``constant``.
    clip : bool
        Keep the result in the range of the input.
    preserve_range : bool
        False gives float32 scaled by the range of the type.
    anti_aliasing : bool
        Smooth before making smaller.
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
    """The distribution of values of reference images, per channel.

    Parameters
    ----------
    values, quantiles : tuple of tuple of float
        Ascending values of each channel, and the fraction of pixels at or below each.
    """

    values: tuple[tuple[float, ...], ...]
    quantiles: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, images: Iterable[Array]) -> Reference:
        """Pool the pixels of images (…, channels), read one after the other."""
        gathered = Statistics(None)
        for image in images:
            gathered.add(image)
        values, quantiles = [], []
        for found, counts in gathered.distribution():
            shares = np.cumsum(counts) / counts.sum()
            if len(found) > _QUANTILES:
                points = np.linspace(shares[0], 1, _QUANTILES)
                found, shares = np.interp(points, shares, found), points
            values.append(tuple(found.tolist()))
            quantiles.append(tuple(shares.tolist()))
        return cls(tuple(values), tuple(quantiles))

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for a checkpoint."""
        return {name: [list(c) for c in columns] for name, columns in asdict(self).items()}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Reference:
        """What `to_dict` wrote."""
        return cls(*(tuple(tuple(c) for c in stored[name]) for name in ("values", "quantiles")))


@dataclass(frozen=True)
class PreprocessSettings:
    """The steps, in the order in which they are done; None leaves one out.

    Parameters
    ----------
    resize : Resize, optional
    sigma : float, optional
        Standard deviation of a Gaussian filter in pixels.
    sigma_mode : str
        What lies beyond the edge for it, in scipy's words.
    median : tuple of int, optional
        Size of a median filter, one number or one per axis.
    reference : Reference, optional
        Distribution that every image is given.
    clahe : (tuple of int or None, float), optional
        Size of a region (None: an eighth of the image) and limit of the contrast of an adaptive
        histogram equalisation; the image keeps its minimum and maximum.
    canny : (float or None, float or None), optional
        Thresholds of an edge detector; volumes are done slice by slice. Edges get the largest value
        of an integer type, or 1.
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
        """What is done to labels too, in words; empty for nothing."""
        return f"resize {self.resize.shape}" if self.resize is not None else ""


def preprocess(image: Array, settings: PreprocessSettings) -> Array:
    """Do all steps.

    Parameters
    ----------
    image : ndarray
        (y, x, c) or (z, y, x, c), any numeric type; not changed.

    Returns
    -------
    ndarray
        Of the same type (float32 with ``preserve_range`` False).

    Raises
    ------
    UserError
        When the reference has another number of channels.
    """
    channels = [image[..., index] for index in range(image.shape[-1])]
    for step in _steps(settings, len(channels)):
        channels = [step(channel, index) for index, channel in enumerate(channels)]
    return np.stack(channels, axis=-1)


def resize_labels(labels: Array, shape: Sequence[int]) -> Array:
    """Labels (spatial…, c) at another size; each pixel takes the nearest one's value."""
    result = labels
    for axis, (old, new) in enumerate(zip(labels.shape, shape, strict=False)):
        # The pixel in which the centre of the new one lies, in whole numbers: no rounding.
        nearest = (2 * np.arange(new) + 1) * old // (2 * new)
        result = result.take(nearest, axis=axis)
    return result


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
                f"DATA.PREPROCESS.MATCH_HISTOGRAM: the reference images have "
                f"{counted(len(reference.values), 'channel')}, the images {channels}",
                "give reference images like the images",
            )
        steps.append(lambda part, index: _match(part, reference, index))
    if clahe is not None:
        steps.append(lambda part, _: _clahe(part, *clahe))
    if canny is not None:
        steps.append(lambda part, _: _canny(part, *canny))
    return steps


def _floats(part: Array) -> Array:
    """Floats that hold every value of the type."""
    small = part.dtype.itemsize <= 2 or part.dtype == np.float32
    return part.astype(np.float32 if small else np.float64)


def _like(result: Array, dtype: np.dtype[Any]) -> Array:
    """Floats as the type of the image."""
    if dtype == np.bool_:
        return result > 0.5
    if dtype.kind in "ui":
        limits = np.iinfo(dtype)
        result = np.clip(np.rint(result), limits.min, limits.max)
    return result.astype(dtype)


def _resize(part: Array, chosen: Resize) -> Array:
    from skimage.transform import resize

    source = _floats(part) if chosen.preserve_range else part
    result: Array = resize(  # type: ignore[no-untyped-call]
        source,
        chosen.shape,
        order=chosen.order,
        mode=chosen.mode,
        cval=chosen.cval,
        clip=chosen.clip,
        preserve_range=chosen.preserve_range,
        anti_aliasing=chosen.anti_aliasing,
    )
    return _like(result, part.dtype) if chosen.preserve_range else result.astype(np.float32)


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
        least, most = float(part.min()), float(part.max())
        if least < 0 or most > 1 or most - least < _LEAST_SPAN:
            planes = (planes.astype(np.float64) - least) / (most - least or 1.0)
    find = partial(canny, low_threshold=low, high_threshold=high)
    try:
        edges = np.stack([find(plane) for plane in planes])
    except ValueError as error:  # the default of one threshold lies on the wrong side of the other
        raise UserError(
            f"DATA.PREPROCESS.CANNY.LOW_THRESHOLD: got {low} with HIGH_THRESHOLD {high} ({error})",
            "set both thresholds, in the units of the image, the lower one first",
            "preprocess.canny",
        ) from error
    top = np.iinfo(part.dtype).max if part.dtype.kind in "ui" else 1
    return (edges.reshape(part.shape) * top).astype(part.dtype)
