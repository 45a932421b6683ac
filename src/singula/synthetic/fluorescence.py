"""Synthetic fluorescence microscopy: touching nuclei with uneven illumination, blur and noise.

All randomness comes from the given generator, so that a seed reproduces the images. Shapes are
drawn in physical space: with a spacing of (3, 1, 1), nuclei are round and voxels are flat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gamma, pi
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from singula.io.write import write_tiff
from singula.synthetic.optics import Floats, record, smooth_noise

Slices: TypeAlias = tuple[slice, ...]

# Lengths are in in-plane pixels.
SMALLEST = 0.2  # visible fraction of a nucleus below which it is removed
ELONGATION = 0.15  # standard deviation of the logarithm of the axes
WAVES = (4, 0.07)  # number and height of the waves in the outline
# Number of training, validation and test images, shape and spacing, by number of axes
_EXAMPLES = {2: ((12, 2, 4), (256, 256), None), 3: ((4, 1, 2), (24, 96, 96), (2.0, 1.0, 1.0))}


@dataclass(frozen=True)
class Appearance:
    """Nuclei and optics of an image. Lengths are in in-plane pixels.

    Parameters
    ----------
    radius : (float, float)
        Minimum and maximum radius of a nucleus.
    coverage : float, optional
        Largest fraction of the image that nuclei cover; by default 0.3, and 0.2 in 3D.
    clustered : float, optional
        Fraction of nuclei placed next to another one; by default 0.7, and 0.5 in 3D.
    closeness : float
        Minimum distance of two centers, relative to the sum of their radii.
    blur : (float, float, float)
        Standard deviation of the point spread function, z first.
    haze : float
        Out-of-focus light, relative to the light in focus.
    photons : float
        Photons per pixel of a nucleus of brightness 1; fewer photons cause more noise.
    """

    radius: tuple[float, float] = (9.0, 15.0)
    coverage: float | None = None
    clustered: float | None = None
    closeness: float = 0.88
    blur: tuple[float, float, float] = (1.6, 1.0, 1.0)
    haze: float = 0.3
    photons: float = 60.0


_CROWDING = {2: (0.3, 0.7), 3: (0.2, 0.5)}  # coverage and clustered fraction by number of axes
_USUAL = Appearance()


@dataclass(frozen=True, eq=False)
class DemoImage:
    """A synthetic image with its ground truth.

    Parameters
    ----------
    image : ndarray of uint8 (2D) or uint16 (3D), (y, x) or (z, y, x)
        Image.
    labels : ndarray of uint16
        Instance ids 1, 2, …; 0 is background.
    classes : ndarray of uint8, optional
        Class of each pixel, from 1; 0 is background. None if there is one class only.
    """

    image: NDArray[np.uint8] | NDArray[np.uint16]
    labels: NDArray[np.uint16]
    classes: NDArray[np.uint8] | None


@dataclass(frozen=True, eq=False)
class _Nuclei:
    """One row per nucleus: center in physical space, mean radius, and class scaled to 0 to 1."""

    center: Floats
    radius: Floats
    grade: Floats


def make_image(
    shape: Sequence[int],
    rng: np.random.Generator,
    *,
    spacing: Sequence[float] | None = None,
    n_classes: int = 1,
    appearance: Appearance = _USUAL,
) -> DemoImage:
    """Draw one image of nuclei.

    Parameters
    ----------
    shape : sequence of int
        Shape of the image, (y, x) or (z, y, x).
    rng : numpy.random.Generator
        Source of randomness.
    spacing : sequence of float, optional
        Voxel size along each axis, z first; only the ratios are used.
    n_classes : int
        Number of classes of nuclei, which differ in size, brightness and texture.
        `MODEL.N_CLASSES` is one more, because it includes the background.
    appearance : Appearance
        Nuclei and optics.

    Returns
    -------
    DemoImage

    Raises
    ------
    ValueError
        The number of axes is not 2 or 3, a spacing is missing, or there is no class.
    """
    ndim = len(shape)
    steps = np.ones(ndim) if spacing is None else np.asarray(spacing, float)
    if ndim not in (2, 3) or steps.shape != (ndim,) or n_classes < 1:
        raise ValueError(
            f"shape, spacing, n_classes: got {shape}, {spacing}, {n_classes}; expected 2 or 3 axes "
            "and at least 1 class"
        )
    steps = steps / steps[-2:].min()
    nuclei = _place(np.asarray(shape) * steps, n_classes, appearance, rng)
    owner, depth = _draw(tuple(shape), steps, nuclei, rng)
    _prune_in_place(owner, steps, nuclei)
    # The appended -1 makes background the first row, whose grade is the appended 0.
    rows, index = np.unique(np.append(owner.ravel(), -1), return_inverse=True)
    labels = index[:-1].reshape(owner.shape).astype(np.uint16)
    grade = np.append(nuclei.grade, 0)[rows]
    signal = _fluorescence(labels, depth, grade, steps, n_classes, rng)
    classes = np.rint(1 + grade * (n_classes - 1)).astype(np.uint8)[labels] * (labels > 0)
    image = record(
        signal,
        steps,
        rng,
        blur=appearance.blur,
        haze=appearance.haze,
        photons=appearance.photons,
    )
    return DemoImage(image, labels, classes if n_classes > 1 else None)


def make_example_dataset(folder: Path, ndim: int) -> None:
    """Write the data set of nuclei that the interface and the notebooks offer as an example.

    Parameters
    ----------
    folder : Path
        Folder of the data set; see `make_dataset`.
    ndim : {2, 3}
        Number of axes.
    """
    (n_train, n_val, n_test), shape, spacing = _EXAMPLES[ndim]
    make_dataset(
        folder,
        ndim,
        np.random.default_rng(7),
        n_train=n_train,
        n_val=n_val,
        n_test=n_test,
        shape=shape,
        spacing=spacing,
    )


def make_dataset(
    folder: Path | str,
    ndim: int,
    rng: np.random.Generator,
    *,
    n_train: int,
    n_val: int,
    n_test: int,
    shape: Sequence[int],
    spacing: Sequence[float] | None = None,
    n_classes: int = 1,
) -> None:
    """Write a data set of images ``folder/{train,val,test}/{x,y}/image_000.tif``.

    Parameters
    ----------
    folder : Path or str
        Folder of the data set; files with the same names are replaced.
    ndim : {2, 3}
        Number of axes.
    rng : numpy.random.Generator
        Source of randomness.
    n_train, n_val, n_test : int
        Number of images of each part.
    shape, spacing, n_classes
        As in `make_image`. With several classes, the labels have a second channel for the class.

    Raises
    ------
    ValueError
        `shape` does not have `ndim` axes.
    UserError
        The folder cannot be written.
    """
    if len(shape) != ndim:
        raise ValueError(f"shape: got {tuple(shape)}, expected {ndim} axes")
    axes = "ZYX"[-ndim:]
    files = dataset_files(folder, n_train, n_val, n_test)
    for image_file, label_file in zip(files[::2], files[1::2], strict=True):
        image = make_image(shape, rng, spacing=spacing, n_classes=n_classes)
        write_tiff(image_file, image.image, axes, spacing)
        target, target_axes = image.labels, axes
        if image.classes is not None:
            target = np.stack([image.labels, image.classes.astype(np.uint16)], axis=-1)
            target_axes = axes + "C"
        write_tiff(label_file, target, target_axes, spacing)


def dataset_files(folder: Path | str, n_train: int, n_val: int, n_test: int) -> list[Path]:
    """Return the files that `make_dataset` writes: each image, followed by its labels."""
    return [
        Path(folder, part, kind, f"image_{number:03d}.tif")
        for part, count in (("train", n_train), ("val", n_val), ("test", n_test))
        for number in range(count)
        for kind in "xy"
    ]


def _place(
    extent: Floats, n_classes: int, appearance: Appearance, rng: np.random.Generator
) -> _Nuclei:
    """Place nuclei one by one, most of them next to an earlier one, with little overlap."""
    ndim = extent.size
    coverage, clustered = _CROWDING[ndim]
    coverage = coverage if appearance.coverage is None else appearance.coverage
    clustered = clustered if appearance.clustered is None else appearance.clustered
    closeness = appearance.closeness
    max_volume = coverage * extent.prod()
    centers, radii, grades = np.empty((0, ndim)), np.empty(0), np.empty(0)
    for _ in range(20 + int(20 * max_volume / _volume(np.mean(appearance.radius), ndim))):
        grade = rng.integers(n_classes) / max(n_classes - 1, 1)
        radius = rng.uniform(*appearance.radius) * (1 if n_classes == 1 else 0.75 + 0.5 * grade)
        if radii.size and rng.random() < clustered:
            neighbor = rng.integers(radii.size)
            direction = rng.normal(size=ndim)
            reach = (radii[neighbor] + radius) * rng.uniform(closeness, 1)
            center = centers[neighbor] + reach * direction / np.linalg.norm(direction)
        else:
            center = rng.uniform(0, extent)
        distances = np.linalg.norm(centers - center, axis=1)
        outside = (center < -radius / 2) | (center > extent + radius / 2)
        if outside.any() or (distances < closeness * (radii + radius)).any():
            continue
        centers = np.vstack([centers, center])
        radii, grades = np.append(radii, radius), np.append(grades, grade)
        if _volume(radii, ndim).sum() > max_volume:
            break
    return _Nuclei(centers, radii, grades)


def _volume(radius: Any, ndim: int) -> Any:
    """Return the area of a disk or the volume of a ball."""
    return pi ** (ndim / 2) / gamma(ndim / 2 + 1) * np.asarray(radius) ** ndim


def _draw(
    shape: tuple[int, ...], steps: Floats, nuclei: _Nuclei, rng: np.random.Generator
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Assign each pixel to the nucleus in which it is deepest.

    Returns
    -------
    owner : ndarray of int32
        Row of the nucleus; -1 for background.
    outwards : ndarray of float32
        Relative distance, from 0 in the center of the nucleus to 1 at its outline and outside.
    """
    owner = np.full(shape, -1, np.int32)
    outwards = np.ones(shape, np.float32)
    for row, (center, radius) in enumerate(zip(nuclei.center, nuclei.radius, strict=True)):
        box = _box(shape, steps, center, 2 * radius)
        distance = _outwards(_positions(box, steps) - center, radius, rng)
        nearer = distance < outwards[box]
        owner[box][nearer] = row
        outwards[box][nearer] = distance[nearer]
    return owner, outwards


def _box(shape: tuple[int, ...], steps: Floats, center: Floats, reach: float) -> Slices:
    """Return the slices of the image with all pixels within `reach` of `center`."""
    low = np.floor((center - reach) / steps).astype(int)
    high = np.ceil((center + reach) / steps).astype(int) + 1
    return tuple(
        slice(max(start, 0), max(min(stop, size), 0))
        for start, stop, size in zip(low.tolist(), high.tolist(), shape, strict=True)
    )


def _positions(box: Slices, steps: Floats) -> Floats:
    """Return the physical positions of the pixels of a box, coordinates last."""
    grid = [np.arange(part.start, part.stop) * step for part, step in zip(box, steps, strict=True)]
    return np.stack(np.meshgrid(*grid, indexing="ij"), axis=-1)


def _outwards(offset: Floats, radius: float, rng: np.random.Generator) -> Floats:
    """Return the relative distance from the center of a random ellipsoid with a wavy outline."""
    ndim = offset.shape[-1]
    count, height = WAVES
    turn, _ = np.linalg.qr(rng.normal(size=(ndim, ndim)))
    stretch = np.asarray(rng.normal(0, ELONGATION, ndim))
    axes = turn * radius * np.exp(stretch - stretch.mean())
    positions = offset @ np.linalg.inv(axes).T
    length = np.linalg.norm(positions, axis=-1)
    directions = positions / np.maximum(length, 1e-9)[..., None]
    waves = np.sin(directions @ rng.normal(0, 2, (ndim, count)) + rng.uniform(0, 2 * pi, count))
    return np.asarray(length / (1 + height * waves.sum(axis=-1)))


def _prune_in_place(owner: NDArray[np.int32], steps: Floats, nuclei: _Nuclei) -> None:
    """Keep the largest connected component of each nucleus, if enough of the nucleus is visible."""
    from scipy import ndimage

    full = _volume(nuclei.radius, owner.ndim) / steps.prod()
    for row, box in enumerate(ndimage.find_objects(owner + 1)):
        if box is None:
            continue
        mask = owner[box] == row
        components, _ = ndimage.label(mask)
        sizes = np.bincount(components.ravel())[1:]
        is_visible = sizes.max() >= SMALLEST * full[row]
        owner[box][mask & ((components != 1 + sizes.argmax()) | (not is_visible))] = -1


def _fluorescence(
    labels: NDArray[np.uint16],
    outwards: Floats,
    grade: Floats,
    steps: Floats,
    n_classes: int,
    rng: np.random.Generator,
) -> Floats:
    """Return the emitted light of nuclei with texture, dark nucleoli and a darker rim."""
    contrast = 0 if n_classes == 1 else grade - 0.5
    brightness = rng.lognormal(-0.9 * contrast, 0.25 if n_classes == 1 else 0.12, grade.size)
    brightness[0] = 0
    grain = np.broadcast_to(0.15 + 0.2 * np.asarray(contrast), grade.shape)
    fine, coarse = (smooth_noise(labels.shape, size / steps, rng) for size in (1.2, 2.5))
    texture = 1 + grain[labels] * (fine + coarse)
    texture *= np.where(coarse > 1.6, 0.6, 1)
    rim = np.clip(1 - outwards**2, 0.03, 1) ** 0.4
    return np.asarray(brightness[labels] * np.maximum(texture, 0.2) * rim)
