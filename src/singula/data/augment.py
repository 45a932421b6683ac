"""Random changes to image and label patches.

All geometric changes are composed into one mapping from output to input pixels and resampled once,
out of the *whole* image: a rotated patch shows real neighbours instead of mirrored ones wherever
the image has them. Images are interpolated linearly, labels take the nearest pixel. Flips and
quarter turns are exact and cost nothing. Intensity changes follow, on the image alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.data.patches import read_patch

FloatArray = npt.NDArray[np.float32]
Range = tuple[float, float]

# numpy's names for what lies beyond the edge, in scipy's words
_MODES = {
    "reflect": "mirror",
    "symmetric": "reflect",
    "edge": "nearest",
    "nearest": "nearest",
    "constant": "constant",
    "wrap": "grid-wrap",
}


@dataclass(frozen=True)
class AugmentSettings:
    """Which changes are made; None or False switches one off.

    Parameters
    ----------
    probability : float
        Chance of each change by itself.
    rotation : (float, float), optional
        Degrees, in the y-x plane.
    zoom : (float, float), optional
        Factor in the y-x plane; above 1 enlarges.
    shift : (float, float), optional
        Fraction of the patch, to either side along y and x.
    shear : (float, float), optional
        Degrees.
    elastic_alpha : (float, float), optional
        Strength of the elastic displacement in pixels before smoothing.
    elastic_sigma : float
        Smoothing of the displacement, pixels.
    mode : str
        What lies beyond the image's edge (numpy's names).
    rot90, vflip, hflip, zflip : bool
        Quarter turns in the plane; mirroring of y, x, z.
    brightness, contrast : (float, float), optional
        Fraction of the patch's own range that is added; change of the distance to its mean.
    gamma : (float, float), optional
        Exponent over the patch's own range.
    noise_mean, noise_var : float; noise : bool; noise_from_image : bool
        Gaussian noise in normalised units, or with the patch's own mean and variance.
    blur : (float, float), optional
        Standard deviation in pixels, in the y-x plane.
    """

    probability: float = 0.5
    rotation: Range | None = None
    zoom: Range | None = None
    shift: Range | None = None
    shear: Range | None = None
    elastic_alpha: Range | None = None
    elastic_sigma: float = 4.0
    mode: str = "reflect"
    rot90: bool = False
    vflip: bool = False
    hflip: bool = False
    zflip: bool = False
    brightness: Range | None = None
    contrast: Range | None = None
    gamma: Range | None = None
    noise: bool = False
    noise_mean: float = 0.0
    noise_var: float = 0.05
    noise_from_image: bool = False
    blur: Range | None = None


@dataclass(frozen=True)
class Geometry:
    """One drawn mapping in the y-x plane: ``input = matrix @ output + shift + displacement``.

    Coordinates are pixels from the patch's centre.
    """

    matrix: npt.NDArray[np.float64]
    shift: npt.NDArray[np.float64]
    displacement: FloatArray | None = None

    @property
    def is_identity(self) -> bool:
        """True when nothing has to be resampled."""
        return (
            self.displacement is None
            and not self.shift.any()
            and bool(np.array_equal(self.matrix, np.eye(2)))
        )


def draw_geometry(
    settings: AugmentSettings, plane: tuple[int, int], rng: np.random.Generator
) -> Geometry:
    """Draw rotation, zoom, shear, shift and elastic displacement for a patch of shape `plane`."""
    from scipy.ndimage import gaussian_filter

    def chosen(values: object) -> bool:
        return values is not None and bool(rng.random() < settings.probability)

    matrix = np.eye(2)
    shift = np.zeros(2)
    displacement: FloatArray | None = None
    if chosen(settings.rotation):
        angle = np.deg2rad(rng.uniform(*_pair(settings.rotation)))
        matrix = matrix @ [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    if chosen(settings.zoom):
        matrix = matrix / rng.uniform(*_pair(settings.zoom))
    if chosen(settings.shear):
        slope = np.tan(np.deg2rad(rng.uniform(*_pair(settings.shear))))
        matrix = matrix @ [[1.0, 0.0], [slope, 1.0]]
    if chosen(settings.shift):
        amount = rng.uniform(*_pair(settings.shift), size=2) * rng.choice([-1.0, 1.0], size=2)
        shift = amount * plane
    if chosen(settings.elastic_alpha):
        alpha = rng.uniform(*_pair(settings.elastic_alpha))
        noise = rng.uniform(-1.0, 1.0, size=(2, *plane)).astype(np.float32)
        sigma = settings.elastic_sigma
        smooth = [gaussian_filter(n, sigma, mode="nearest") for n in noise]
        displacement = np.stack(smooth) * np.float32(alpha)
    return Geometry(matrix, shift, displacement)


def _pair(values: Range | None) -> Range:
    return values if values is not None else (0.0, 0.0)


def sample_patch(
    array: npt.NDArray[Any],
    start: Sequence[int],
    shape: Sequence[int],
    geometry: Geometry,
    *,
    order: int,
    mode: str = "reflect",
) -> npt.NDArray[Any]:
    """Resample a patch (spatial…, channels) of a whole image through a geometry.

    Parameters
    ----------
    array : ndarray
        The image (y, x, c) or (z, y, x, c).
    start, shape : sequence of int
        Where the patch would lie without the geometry.
    order : {0, 1}
        0 takes the nearest pixel (labels, type kept), 1 interpolates linearly (float32).
    mode : str
        What lies beyond the edge of the image.

    Returns
    -------
    ndarray
        Shape ``(*shape, channels)``.
    """
    if geometry.is_identity:
        patch = read_patch(array, start, shape)
        return patch if order == 0 else patch.astype(np.float32)
    if len(shape) == 3:
        # The mapping acts in the plane, so the slices can be cut first and resampled in turn.
        slab = read_patch(array, (start[0], 0, 0), (shape[0], *array.shape[1:3]))
        slices = [
            sample_patch(s, start[1:], shape[1:], geometry, order=order, mode=mode) for s in slab
        ]
        return np.stack(slices)
    return _sample_plane(array, start, shape, geometry, order, _MODES[mode])


def _sample_plane(
    array: npt.NDArray[Any],
    start: Sequence[int],
    shape: Sequence[int],
    geometry: Geometry,
    order: int,
    mode: str,
) -> npt.NDArray[Any]:
    from scipy.ndimage import affine_transform, map_coordinates

    centre = (np.array(shape) - 1) / 2
    # Rounding removes the last bits that would move a whole-pixel mapping between two pixels.
    offset = np.round(np.array(start) + centre + geometry.shift - geometry.matrix @ centre, 9)
    dtype = array.dtype if order == 0 else np.dtype(np.float32)
    result = np.empty((*shape, array.shape[-1]), dtype)
    coordinates = None
    if geometry.displacement is not None:
        grid = np.indices(shape, dtype=np.float32).reshape(2, -1)
        straight = (geometry.matrix.astype(np.float32) @ grid).reshape(2, *shape)
        coordinates = straight + offset[:, None, None].astype(np.float32) + geometry.displacement
    for channel in range(array.shape[-1]):
        if coordinates is None:
            affine_transform(
                array[..., channel],
                geometry.matrix,
                offset,
                output_shape=tuple(shape),
                output=result[..., channel],
                order=order,
                mode=mode,
            )
        else:
            map_coordinates(
                array[..., channel], coordinates, result[..., channel], order=order, mode=mode
            )
    return result


def mirror(
    arrays: Sequence[npt.NDArray[Any]],
    ndim: int,
    settings: AugmentSettings,
    rng: np.random.Generator,
) -> list[npt.NDArray[Any]]:
    """Flip and turn several patches (spatial…, c) alike; exact, as views."""
    y, x = ndim - 2, ndim - 1
    wanted = [(y, settings.vflip), (x, settings.hflip)]
    if ndim == 3:
        wanted.append((0, settings.zflip))
    flips = [axis for axis, flip in wanted if flip and rng.random() < settings.probability]
    turns = 0
    if settings.rot90 and rng.random() < settings.probability:
        # Only half turns keep the shape of a patch that is not square.
        square = arrays[0].shape[y] == arrays[0].shape[x]
        turns = int(rng.integers(1, 4)) if square else 2
    changed = []
    for array in arrays:
        flipped = np.flip(array, tuple(flips)) if flips else array
        changed.append(np.rot90(flipped, turns, axes=(y, x)) if turns else flipped)
    return changed


def change_intensity(
    image: FloatArray, settings: AugmentSettings, rng: np.random.Generator
) -> FloatArray:
    """Brightness, contrast, gamma, blur and noise on a normalised patch (spatial…, c)."""
    from scipy.ndimage import gaussian_filter

    def chosen(wanted: object) -> bool:
        return bool(wanted) and bool(rng.random() < settings.probability)

    if chosen(settings.brightness):
        image = image + np.float32(rng.uniform(*_pair(settings.brightness)) * np.ptp(image))
    if chosen(settings.contrast):
        mean = image.mean(dtype=np.float64).astype(np.float32)
        image = mean + (image - mean) * np.float32(1 + rng.uniform(*_pair(settings.contrast)))
    if chosen(settings.gamma):
        low, span = image.min(), np.ptp(image)
        if span > 0:
            exponent = np.float32(rng.uniform(*_pair(settings.gamma)))
            image = low + span * ((image - low) / span) ** exponent
    if chosen(settings.blur):
        sigma = rng.uniform(*_pair(settings.blur))
        plane = (sigma, sigma, 0.0)
        image = gaussian_filter(image, (0.0,) * (image.ndim - 3) + plane, mode="nearest")
    if chosen(settings.noise):
        mean, variance = settings.noise_mean, settings.noise_var
        if settings.noise_from_image:
            mean, variance = float(image.mean()), float(image.var())
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        image = image + np.float32(mean) + noise * np.float32(np.sqrt(variance))
    return image
