"""Synthetic fluorescence microscopy: nuclei that touch, under uneven light, blurred and noisy.

Everything random comes from the generator passed in, so a seed gives the same images again. Forms
are made in physical space: with a spacing of (3, 1, 1) the nuclei are round, their pixels flat.
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

Floats: TypeAlias = NDArray[np.floating[Any]]
Slices: TypeAlias = tuple[slice, ...]

# Lengths are in in-plane pixels.
RADIUS = (9.0, 15.0)  # of a nucleus
CROWDING = {2: (0.3, 0.7), 3: (0.2, 0.5)}  # part of the image taken, of the nuclei set in clusters
CLOSENESS = 0.88  # least distance of two centres, as a part of the sum of their radii
SMALLEST = 0.2  # visible part of a nucleus below which it is left out
ELONGATION = 0.15  # spread of the logarithm of the axes
WAVES = (4, 0.07)  # number and height of the bumps in the outline
BLUR = (1.6, 1.0, 1.0)  # standard deviation of the point spread function, z first
PHOTONS = 60.0  # per pixel of a nucleus of brightness 1


@dataclass(frozen=True, eq=False)
class DemoImage:
    """A synthetic image with its truth.

    Parameters
    ----------
    image : ndarray of uint8 (2D) or uint16 (3D)
        (y, x) or (z, y, x).
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
    """One row per nucleus: centre in physical space, mean radius, and class from 0 to 1."""

    centre: Floats
    radius: Floats
    grade: Floats


def make_image(
    shape: Sequence[int],
    rng: np.random.Generator,
    *,
    spacing: Sequence[float] | None = None,
    n_classes: int = 1,
) -> DemoImage:
    """Draw one image of nuclei.

    Parameters
    ----------
    shape : sequence of int
        (y, x) or (z, y, x).
    rng : numpy.random.Generator
        Source of all that is random.
    spacing : sequence of float, optional
        Size of a pixel along each axis, z first; only the ratios matter.
    n_classes : int
        Kinds of nuclei, which differ in size, brightness and texture. `MODEL.N_CLASSES` is one
        more, because it counts the background.

    Returns
    -------
    DemoImage

    Raises
    ------
    ValueError
        If there are not 2 or 3 axes, a spacing for each, and at least one class.
    """
    ndim = len(shape)
    steps = np.ones(ndim) if spacing is None else np.asarray(spacing, float)
    if ndim not in (2, 3) or steps.shape != (ndim,) or n_classes < 1:
        raise ValueError(f"shape {shape}, spacing {spacing} and n_classes {n_classes} do not fit")
    steps = steps / steps[-2:].min()
    nuclei = _place(np.asarray(shape) * steps, n_classes, rng)
    owner, depth = _draw(tuple(shape), steps, nuclei, rng)
    _prune_in_place(owner, steps, nuclei)
    # With a background pixel added the first row is always -1, and takes the last grade.
    kept, index = np.unique(np.append(owner.ravel(), -1), return_inverse=True)
    labels = index[:-1].reshape(owner.shape).astype(np.uint16)
    grade = np.append(nuclei.grade, 0)[kept]
    signal = _fluorescence(labels, depth, grade, steps, n_classes, rng)
    classes = np.rint(1 + grade * (n_classes - 1)).astype(np.uint8)[labels] * (labels > 0)
    return DemoImage(_record(signal, steps, rng), labels, classes if n_classes > 1 else None)


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
    """Write ``folder/{train,val,test}/{x,y}/image_000.tif`` and so on.

    Parameters
    ----------
    folder : Path or str
        Created if needed; files of the same names are replaced.
    ndim : int
        Number of axes, 2 or 3.
    rng : numpy.random.Generator
        Source of all that is random.
    n_train, n_val, n_test : int
        Number of images of each part.
    shape, spacing, n_classes
        See `make_image`. With several classes the labels have a second channel, the class.

    Raises
    ------
    ValueError
        If `shape` has not `ndim` axes.
    UserError
        If the folder cannot be written.
    """
    if len(shape) != ndim:
        raise ValueError(f"shape {tuple(shape)} has not {ndim} axes")
    axes = "ZYX"[-ndim:]
    files = dataset_files(folder, n_train, n_val, n_test)
    for image_file, label_file in zip(files[::2], files[1::2], strict=True):
        made = make_image(shape, rng, spacing=spacing, n_classes=n_classes)
        write_tiff(image_file, made.image, axes, spacing)
        target, target_axes = made.labels, axes
        if made.classes is not None:
            target = np.stack([made.labels, made.classes.astype(np.uint16)], axis=-1)
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


def _place(extent: Floats, n_classes: int, rng: np.random.Generator) -> _Nuclei:
    """Set nuclei one by one, most of them beside an earlier one, none deep in another."""
    ndim = extent.size
    coverage, clustered = CROWDING[ndim]
    room = coverage * extent.prod()
    centres, radii, grades = np.empty((0, ndim)), np.empty(0), np.empty(0)
    for _ in range(20 + int(20 * room / _volume(np.mean(RADIUS), ndim))):
        grade = rng.integers(n_classes) / max(n_classes - 1, 1)
        radius = rng.uniform(*RADIUS) * (1 if n_classes == 1 else 0.75 + 0.5 * grade)
        if radii.size and rng.random() < clustered:
            neighbour = rng.integers(radii.size)
            way = rng.normal(size=ndim)
            reach = (radii[neighbour] + radius) * rng.uniform(CLOSENESS, 1)
            centre = centres[neighbour] + reach * way / np.linalg.norm(way)
        else:
            centre = rng.uniform(0, extent)
        apart = np.linalg.norm(centres - centre, axis=1)
        outside = (centre < -radius / 2) | (centre > extent + radius / 2)
        if outside.any() or (apart < CLOSENESS * (radii + radius)).any():
            continue
        centres = np.vstack([centres, centre])
        radii, grades = np.append(radii, radius), np.append(grades, grade)
        if _volume(radii, ndim).sum() > room:
            break
    return _Nuclei(centres, radii, grades)


def _volume(radius: Any, ndim: int) -> Any:
    """Area or volume of a disk or ball."""
    return pi ** (ndim / 2) / gamma(ndim / 2 + 1) * np.asarray(radius) ** ndim


def _draw(
    shape: tuple[int, ...], steps: Floats, nuclei: _Nuclei, rng: np.random.Generator
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Give each pixel to the nucleus that it is deepest in.

    Returns the row of the nucleus (-1: none) and how far out the pixel is, from 0 at the centre of
    the nucleus to 1 at its outline and beyond.
    """
    owner = np.full(shape, -1, np.int32)
    outwards = np.ones(shape, np.float32)
    for row, (centre, radius) in enumerate(zip(nuclei.centre, nuclei.radius, strict=True)):
        box = _box(shape, steps, centre, 2 * radius)
        far = _outwards(_positions(box, steps) - centre, radius, rng)
        nearer = far < outwards[box]
        owner[box][nearer] = row
        outwards[box][nearer] = far[nearer]
    return owner, outwards


def _box(shape: tuple[int, ...], steps: Floats, centre: Floats, reach: float) -> Slices:
    """Slices of the image that hold all pixels within `reach` of `centre`."""
    low = np.floor((centre - reach) / steps).astype(int)
    high = np.ceil((centre + reach) / steps).astype(int) + 1
    return tuple(
        slice(max(start, 0), max(min(stop, size), 0))
        for start, stop, size in zip(low.tolist(), high.tolist(), shape, strict=True)
    )


def _positions(box: Slices, steps: Floats) -> Floats:
    """Physical positions of the pixels of a box, coordinates last."""
    grid = [np.arange(part.start, part.stop) * step for part, step in zip(box, steps, strict=True)]
    return np.stack(np.meshgrid(*grid, indexing="ij"), axis=-1)


def _outwards(offset: Floats, radius: float, rng: np.random.Generator) -> Floats:
    """Distance from the centre in a random blob: 1 on its outline, an ellipsoid with low waves."""
    ndim = offset.shape[-1]
    count, height = WAVES
    turn, _ = np.linalg.qr(rng.normal(size=(ndim, ndim)))
    stretch = np.asarray(rng.normal(0, ELONGATION, ndim))
    axes = turn * radius * np.exp(stretch - stretch.mean())
    places = offset @ np.linalg.inv(axes).T
    length = np.linalg.norm(places, axis=-1)
    towards = places / np.maximum(length, 1e-9)[..., None]
    waves = np.sin(towards @ rng.normal(0, 2, (ndim, count)) + rng.uniform(0, 2 * pi, count))
    return np.asarray(length / (1 + height * waves.sum(axis=-1)))


def _prune_in_place(owner: NDArray[np.int32], steps: Floats, nuclei: _Nuclei) -> None:
    """Leave of each nucleus its largest piece, and nothing if too little of it is seen."""
    from scipy import ndimage

    full = _volume(nuclei.radius, owner.ndim) / steps.prod()
    for row, box in enumerate(ndimage.find_objects(owner + 1)):
        if box is None:
            continue
        mine = owner[box] == row
        pieces, _ = ndimage.label(mine)
        sizes = np.bincount(pieces.ravel())[1:]
        enough = sizes.max() >= SMALLEST * full[row]
        owner[box][mine & ((pieces != 1 + sizes.argmax()) | (not enough))] = -1


def _fluorescence(
    labels: NDArray[np.uint16],
    outwards: Floats,
    grade: Floats,
    steps: Floats,
    n_classes: int,
    rng: np.random.Generator,
) -> Floats:
    """Light that the nuclei give off: brightness, texture, dark nucleoli, dimmer at the rim."""
    contrast = 0 if n_classes == 1 else grade - 0.5
    brightness = rng.lognormal(-0.9 * contrast, 0.25 if n_classes == 1 else 0.12, grade.size)
    brightness[0] = 0
    grain = np.broadcast_to(0.15 + 0.2 * np.asarray(contrast), grade.shape)
    fine, coarse = (_smooth_noise(labels.shape, size / steps, rng) for size in (1.2, 2.5))
    texture = 1 + grain[labels] * (fine + coarse)
    texture *= np.where(coarse > 1.6, 0.6, 1)
    rim = np.clip(1 - outwards**2, 0.03, 1) ** 0.4
    return np.asarray(brightness[labels] * np.maximum(texture, 0.2) * rim)


def _smooth_noise(shape: tuple[int, ...], size: Floats, rng: np.random.Generator) -> Floats:
    """Noise with mean 0, deviation 1, and grains of `size` pixels."""
    from scipy import ndimage

    noise = ndimage.gaussian_filter(rng.standard_normal(shape, np.float32), size, mode="wrap")
    return np.asarray(noise / noise.std())


def _record(
    signal: Floats, steps: Floats, rng: np.random.Generator
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """What the camera sees: haze from out of focus, blur, uneven light, photon and read noise."""
    from scipy import ndimage

    haze = ndimage.gaussian_filter(signal, 15 / steps, truncate=2)
    seen = ndimage.gaussian_filter(signal, BLUR[-signal.ndim :] / steps) + 0.3 * haze + 0.08
    seen *= _light(signal.shape, rng)
    recorded: Floats = rng.poisson(PHOTONS * seen) / PHOTONS + rng.normal(0.06, 0.02, seen.shape)
    if signal.ndim == 2:
        return np.clip(90 * recorded, 0, 255).astype(np.uint8)
    return np.clip(2000 * recorded, 0, 65535).astype(np.uint16)


def _light(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Illumination: 1 at a place in the plane, falling off to about a half in the far corner."""
    plane = np.stack(np.meshgrid(*(np.linspace(-1, 1, size) for size in shape[-2:]), indexing="ij"))
    away = ((plane - rng.uniform(-0.6, 0.6, (2, 1, 1))) ** 2).sum(axis=0)
    light = np.exp(-rng.uniform(0.1, 0.3) * away)
    # Light is lost on the way into the depth.
    loss = np.linspace(1, rng.uniform(0.7, 0.9), shape[0]) if len(shape) == 3 else np.ones(1)
    return np.asarray(light if len(shape) == 2 else loss[:, None, None] * light)
