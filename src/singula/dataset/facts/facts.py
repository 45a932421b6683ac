"""Results of a survey: plain values and arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.io.pairing import Pair
from singula.io.units import in_microns, round_significant

MAX_SPACING_RATIO = 1.25
"""Largest ratio between voxel sizes along an axis that count as similar."""
PERCENTILES = (0.0, 0.1, 1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0, 99.9, 100.0)


@dataclass(frozen=True, eq=False)
class ImageFacts:
    """Measurements of one image.

    Parameters
    ----------
    path : Path
        File of the image.
    shape : tuple of int
        Spatial shape, (y, x) or (z, y, x).
    channels : int
        Number of channels.
    dtype : str
        Type of the values, such as ``uint8``.
    spacing : tuple of float, optional
        Voxel size per axis, z first, in `unit`; None if the file does not give it.
    unit : str, optional
        Unit of `spacing`.
    percentiles : ndarray of float64, shape (channels, len(PERCENTILES))
        Percentiles of the values of each channel.
    notes : tuple of str
        Notes on the file for the user.
    slice_change : float
        Median difference in brightness between adjacent slices, in units of the standard
        deviation within slices; 0 in 2D.
    slice_shift : float
        Median shift between adjacent slices, in pixels; 0 in 2D.
    lost_slices : float
        Fraction of pairs of adjacent slices in which one slice has hardly any contrast; 0 in 2D.
    """

    path: Path
    shape: tuple[int, ...]
    channels: int
    dtype: str
    spacing: tuple[float, ...] | None
    unit: str | None
    percentiles: NDArray[np.float64]
    notes: tuple[str, ...] = ()
    slice_change: float = 0.0
    slice_shift: float = 0.0
    lost_slices: float = 0.0

    @property
    def length(self) -> tuple[tuple[float, ...] | None, str | None]:
        """Voxel size for comparisons: in µm if its unit is a length, without rounding errors."""
        sizes, unit = in_microns(self.spacing, self.unit)
        return None if sizes is None else tuple(round_significant(size, 6) for size in sizes), unit


@dataclass(frozen=True, eq=False)
class Objects:
    """Measurements of the instances of one or several label images, as arrays of n entries.

    Parameters
    ----------
    ids : ndarray of int64, shape (n,)
        Id of each instance.
    npixels : ndarray of int64, shape (n,)
        Number of pixels.
    low : ndarray of int64, shape (n, ndim)
        First pixel of the bounding box.
    box : ndarray of int64, shape (n, ndim)
        Sides of the bounding box in pixels.
    core : ndarray of int64, shape (n,)
        Number of pixels without the thick contour.
    contact : ndarray of int64, shape (n,)
        Number of pixel sides shared with other instances.
    border : ndarray of bool, shape (n,)
        True if the instance touches the border of the image.
    radius : ndarray of float64, shape (n,)
        Largest distance of a pixel to the outside of the instance, in pixels.
    n_components : ndarray of int64, shape (n,)
        Number of connected components; pixels also connect at corners.
    holes, hole_pixels : ndarray of int64, shape (n,)
        Number of holes, and their pixels. A hole is background enclosed by this instance only.
    sides : ndarray of int64, shape (n,)
        Number of pixel sides shared with other instances or with the background.
    moments : ndarray of float64, shape (n, ndim, ndim)
        Second central moments, as in `singula.measure.moments.Moments`.
    convexity : ndarray of float64, shape (n,)
        Fraction of the convex hull that the instance fills; NaN for instances of crowded images
        that were not measured.
    """

    ids: NDArray[np.int64]
    npixels: NDArray[np.int64]
    low: NDArray[np.int64]
    box: NDArray[np.int64]
    core: NDArray[np.int64]
    contact: NDArray[np.int64]
    border: NDArray[np.bool_]
    radius: NDArray[np.float64]
    n_components: NDArray[np.int64]
    holes: NDArray[np.int64]
    hole_pixels: NDArray[np.int64]
    sides: NDArray[np.int64]
    moments: NDArray[np.float64]
    convexity: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def touching(self) -> NDArray[np.bool_]:
        """True for instances that share a pixel side with another instance; shape (n,)."""
        return self.contact > 0

    @classmethod
    def concatenate(cls, parts: Sequence[Objects], ndim: int) -> Objects:
        """Return the instances of several images, in order."""
        if not parts:
            return cls.empty(ndim)
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))

    @classmethod
    def empty(cls, ndim: int) -> Objects:
        """Return measurements of no instances."""
        ints, bools = np.zeros(0, np.int64), np.zeros(0, bool)
        box = np.zeros((0, ndim), np.int64)
        floats, moments = np.zeros(0), np.zeros((0, ndim, ndim))
        lengths = (ints, ints, box, box, ints, ints, bools, floats)
        return cls(*lengths, ints, ints, ints, ints, moments, floats)

    def select(self, index: NDArray[Any]) -> Objects:
        """Return the instances selected by a mask or by row numbers."""
        return Objects(*(getattr(self, f.name)[index] for f in fields(self)))


@dataclass(frozen=True, eq=False)
class LabelFacts:
    """Measurements of one label image.

    Parameters
    ----------
    path : Path
        File of the labels.
    foreground : float
        Fraction of pixels in instances.
    classes : tuple of int
        Classes other than 0 that occur, ascending; empty without a class channel.
    objects : Objects
        Measurements of the instances.
    suspicion : str, optional
        Reason why the labels do not show the objects, for example an inverted mask.
    annotated : float
        Fraction of the pixels that are annotated.
    is_section : bool
        True if single slices of a volume are annotated: the objects are cross sections.
    """

    path: Path
    foreground: float
    classes: tuple[int, ...]
    objects: Objects
    suspicion: str | None = None
    annotated: float = 1.0
    is_section: bool = False


@dataclass(frozen=True, eq=False)
class PartFacts:
    """Measurements of training, validation or test data.

    Parameters
    ----------
    name : {'train', 'val', 'test'}
        Name of the part.
    image_dir : Path
        Folder of the images.
    label_dir : Path, optional
        Folder of the labels; equal to `image_dir` if file names distinguish images and labels.
    pairs : tuple of Pair
        All images, with their labels if there are any.
    shapes : tuple of tuple of int
        Spatial shape of each image, from its header.
    images : tuple of ImageFacts
        Measurements of all images, or of some images of a large set.
    labels : tuple of LabelFacts
        Measurements of the labels of these images.
    """

    name: str
    image_dir: Path
    label_dir: Path | None
    pairs: tuple[Pair, ...]
    shapes: tuple[tuple[int, ...], ...]
    images: tuple[ImageFacts, ...]
    labels: tuple[LabelFacts, ...]

    @property
    def flat(self) -> bool:
        """True if images and labels are in one folder."""
        return self.label_dir == self.image_dir

    @property
    def npixels(self) -> int:
        """Number of pixels of all images."""
        return sum(int(np.prod(shape, dtype=np.int64)) for shape in self.shapes)


@dataclass(frozen=True)
class Machine:
    """Hardware for the training.

    Parameters
    ----------
    cores : int
        Processor cores that this process may use.
    memory : int
        Free memory in bytes.
    gpus : int
        Number of CUDA devices; 1 for the GPU of a Mac.
    gpu_name : str
        Name of the first GPU.
    gpu_memory : int
        Memory of the first GPU in bytes.
    gpu_device : str
        Value of ``SYSTEM.DEVICE`` for the first GPU.
    """

    cores: int
    memory: int
    gpus: int = 0
    gpu_name: str = ""
    gpu_memory: int = 0
    gpu_device: str = "cuda:0"


@dataclass(frozen=True, eq=False)
class Survey:
    """Measurements of a data set.

    Parameters
    ----------
    root : Path
        Folder of the data set.
    ndim : {2, 3}
        Number of spatial dimensions.
    channels : int
        Number of channels of the images; the maximum if gray and color images are mixed.
    parts : tuple of PartFacts
        Training data, then validation and test data if there are any.
    machine : Machine
        Hardware for the training.
    notes : tuple of str
        Notes for the user on decisions and on files that were left out.
    """

    root: Path
    ndim: int
    channels: int
    parts: tuple[PartFacts, ...]
    machine: Machine
    notes: tuple[str, ...] = ()

    def part(self, name: str) -> PartFacts | None:
        """Return the part with a name, or None if the data set does not have it."""
        return next((part for part in self.parts if part.name == name), None)

    @property
    def images(self) -> tuple[ImageFacts, ...]:
        """Measurements of the images of all parts."""
        return tuple(image for part in self.parts for image in part.images)

    @property
    def labels(self) -> tuple[LabelFacts, ...]:
        """Measurements of the label images of all parts."""
        return tuple(labels for part in self.parts for labels in part.labels)

    @property
    def mixed_channels(self) -> bool:
        """True if some images are gray and the others in color."""
        return {image.channels for image in self.images} == {1, 3}

    @property
    def classes(self) -> tuple[int, ...]:
        """Classes other than 0 that occur in labels, ascending."""
        return tuple(sorted({number for labels in self.labels for number in labels.classes}))

    def objects(self, *names: str) -> Objects:
        """Return the instances of the named parts, or of all parts without a name."""
        parts = [part for part in self.parts if not names or part.name in names]
        return Objects.concatenate([l.objects for part in parts for l in part.labels], self.ndim)  # noqa: E741

    @property
    def spacing(self) -> tuple[float, ...] | None:
        """Most frequent voxel size in the files, z first; None if most files do not give one.

        Sizes in different units are compared as lengths; the result is in the unit of the first
        file with this size.
        """
        sizes = Counter(image.length for image in self.images)
        if not sizes:
            return None
        usual = sizes.most_common(1)[0][0]
        return next(image.spacing for image in self.images if image.length == usual)

    @property
    def common_spacing(self) -> tuple[float, ...] | None:
        """Median voxel size in µm, if the voxel sizes of the files differ by more than 25 %.

        None if a file does not give its voxel size, or if the units cannot be compared.
        """
        lengths = [image.length for image in self.images]
        sizes = np.array([spacing for spacing, _ in lengths if spacing is not None])
        if not len(sizes) or len(sizes) < len(lengths) or len({unit for _, unit in lengths}) > 1:
            return None
        if (sizes.max(axis=0) <= MAX_SPACING_RATIO * sizes.min(axis=0)).all():
            return None
        return tuple(round_significant(float(size), 6) for size in np.median(sizes, axis=0))

    @property
    def has_uniform_spacing(self) -> bool:
        """True if all files give the same voxel size, in any unit."""
        return len({image.length for image in self.images}) == 1

    @property
    def anisotropy(self) -> float:
        """Ratio of the voxel size along z to the voxel size in the plane; 1 in 2D.

        Without a voxel size in the files, the ratio is estimated from the bounding boxes of
        complete instances, which are assumed to be as deep as wide. At least ten instances of
        four pixels or more are needed; otherwise the ratio is 1. Cross sections are not used.
        """
        if self.ndim == 2:
            return 1.0
        if self.spacing is not None:
            z, y, x = self.spacing
            return float(z / (y * x) ** 0.5)
        whole = [labels.objects for labels in self.labels if not labels.is_section]
        objects = Objects.concatenate(whole, self.ndim)
        box = objects.box[~objects.border & (objects.box[:, 1:].min(axis=1, initial=9) >= 4)]
        if len(box) < 10:
            return 1.0
        return float(np.median((box[:, 1] * box[:, 2]) ** 0.5 / box[:, 0]))
