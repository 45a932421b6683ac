"""What a survey found, as plain values and arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.errors import UserError
from singula.io.pairs import Pair
from singula.io.units import in_microns, tidy

PERCENTILES = (0.0, 0.1, 1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0, 99.9, 100.0)


@dataclass(frozen=True, eq=False)
class ImageFacts:
    """One image.

    Parameters
    ----------
    path : Path
    shape : tuple of int
        (y, x) or (z, y, x).
    channels : int
    dtype : str
    axes : str
        How the axes were decided.
    spacing : tuple of float, optional
        Size of a pixel per axis, z first, in `unit`; None when the file does not say.
    unit : str, optional
    percentiles : ndarray of float64, shape (channels, len(PERCENTILES))
    mean, std : ndarray of float64, shape (channels,)
    saturated : float
        Fraction of values at the largest number of the type, or of a camera of 10, 12 or 14 bits.
    grey : bool
        There are several channels and all hold the same.
    sampled : bool
        The numbers come from crops, not from every pixel.
    notes : tuple of str
        Notes for the user on the file.
    slice_change : float
        Median difference in brightness of adjacent slices, in standard deviations within slices;
        0 in 2D.
    slice_shift : float
        Median shift of adjacent slices against each other in pixels; 0 in 2D.
    lost_slices : float
        Fraction of pairs of adjacent slices of which one has hardly any contrast; 0 in 2D.
    """

    path: Path
    shape: tuple[int, ...]
    channels: int
    dtype: str
    axes: str
    spacing: tuple[float, ...] | None
    unit: str | None
    percentiles: NDArray[np.float64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    saturated: float
    grey: bool
    sampled: bool
    notes: tuple[str, ...] = ()
    slice_change: float = 0.0
    slice_shift: float = 0.0
    lost_slices: float = 0.0

    @property
    def length(self) -> tuple[tuple[float, ...] | None, str | None]:
        """Voxel size in µm where its unit is a length, without rounding noise; for comparisons."""
        sizes, unit = in_microns(self.spacing, self.unit)
        return None if sizes is None else tuple(tidy(size, 6) for size in sizes), unit

    @property
    def constant(self) -> bool:
        """Whether every pixel has the same value."""
        return bool((self.percentiles[:, 0] == self.percentiles[:, -1]).all())


@dataclass(frozen=True, eq=False)
class Objects:
    """The instances of one or several label images; arrays with an entry for each.

    Parameters
    ----------
    ids : ndarray of int64
    npixels : ndarray of int64
    box : ndarray of int64, shape (n, ndim)
        Sides of the bounding box in pixels.
    core : ndarray of int64
        Pixels that are left once the thick contour is taken away.
    contact : ndarray of int64
        Sides of pixels shared with other instances.
    border : ndarray of bool
        Whether it reaches the edge of the image.
    radius : ndarray of float64
        Largest distance of a pixel to the outside of the instance, in pixels.
    pieces : ndarray of int64
        Parts that do not touch each other, not even at corners.
    holes, hole_pixels : ndarray of int64
        Background that the instance alone encloses: how many, and pixels in all.
    classes : ndarray of int64
        Most frequent class other than 0 of its pixels; 0 without a class channel, or without any.
    mixed : ndarray of bool
        Whether its pixels have several classes, or none.
    """

    ids: NDArray[np.int64]
    npixels: NDArray[np.int64]
    box: NDArray[np.int64]
    core: NDArray[np.int64]
    contact: NDArray[np.int64]
    border: NDArray[np.bool_]
    radius: NDArray[np.float64]
    pieces: NDArray[np.int64]
    holes: NDArray[np.int64]
    hole_pixels: NDArray[np.int64]
    classes: NDArray[np.int64]
    mixed: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def touching(self) -> NDArray[np.bool_]:
        """Whether it shares a side of a pixel with another instance."""
        return self.contact > 0

    @classmethod
    def join(cls, parts: Sequence[Objects], ndim: int) -> Objects:
        """Those of several images, one after the other."""
        if not parts:
            return cls.nothing(ndim)
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))

    @classmethod
    def nothing(cls, ndim: int) -> Objects:
        """No instance."""
        whole, mask = np.zeros(0, np.int64), np.zeros(0, bool)
        box = np.zeros((0, ndim), np.int64)
        real = np.zeros(0)
        return cls(whole, whole, box, whole, whole, mask, real, whole, whole, whole, whole, mask)

    def part(self, chosen: NDArray[Any]) -> Objects:
        """Those that a mask or row numbers choose."""
        return Objects(*(getattr(self, f.name)[chosen] for f in fields(self)))


@dataclass(frozen=True, eq=False)
class LabelFacts:
    """One label image.

    Parameters
    ----------
    path : Path
    shape : tuple of int
        (y, x) or (z, y, x).
    dtype : str
    channels : int
        2 with a class channel.
    foreground : float
        Fraction of pixels that belong to an instance.
    classes : tuple of int
        Classes other than 0 that occur, ascending; empty without a class channel.
    objects : Objects
    sampled : bool
        Only the middle of a large image was looked at: sizes at its rim are cut.
    suspicion : str, optional
        Reason why the labels do not show the objects, for example an inverted mask.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: str
    channels: int
    foreground: float
    classes: tuple[int, ...]
    objects: Objects
    sampled: bool
    suspicion: str | None = None


@dataclass(frozen=True, eq=False)
class PartFacts:
    """Training, validation or test data.

    Parameters
    ----------
    name : {'train', 'val', 'test'}
    image_dir : Path
    label_dir : Path, optional
        The same folder as `image_dir` where names alone tell images from labels.
    pairs : tuple of Pair
        All images, with their labels where there are any.
    shapes : tuple of tuple of int
        Spatial shape of each of them, from its header.
    images, labels : tuple
        Those that were looked into: all, or some spread over a large set.
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
        """Whether images and labels lie in one folder."""
        return self.label_dir == self.image_dir

    @property
    def npixels(self) -> int:
        """Pixels of all images."""
        return sum(int(np.prod(shape, dtype=np.int64)) for shape in self.shapes)


@dataclass(frozen=True)
class Machine:
    """Where the training will run.

    Parameters
    ----------
    cores : int
        Processor cores that this process may use.
    memory : int
        Bytes that are free.
    gpus : int
        CUDA devices.
    gpu_name : str
        Of the first one.
    gpu_memory : int
        Of the first one, in bytes.
    """

    cores: int
    memory: int
    gpus: int = 0
    gpu_name: str = ""
    gpu_memory: int = 0


@dataclass(frozen=True, eq=False)
class Survey:
    """All that is known of a data set.

    Parameters
    ----------
    root : Path
    ndim : int
        2 or 3.
    channels : int
        Of the images; the larger number where grey and colour images are mixed.
    parts : tuple of PartFacts
        train, and val and test where they are there.
    machine : Machine
    problems : tuple of UserError
        What could not be read or paired; empty unless `survey_dataset` was told to go on.
    notes : tuple of str
        What was decided on the way, and what was left out.
    """

    root: Path
    ndim: int
    channels: int
    parts: tuple[PartFacts, ...]
    machine: Machine
    problems: tuple[UserError, ...] = ()
    notes: tuple[str, ...] = ()

    def part(self, name: str) -> PartFacts | None:
        """Train, val or test data; None when there are none."""
        return next((part for part in self.parts if part.name == name), None)

    @property
    def images(self) -> tuple[ImageFacts, ...]:
        """Every image that was looked into."""
        return tuple(image for part in self.parts for image in part.images)

    @property
    def labels(self) -> tuple[LabelFacts, ...]:
        """Every label image that was looked into."""
        return tuple(labels for part in self.parts for labels in part.labels)

    @property
    def mixed_channels(self) -> bool:
        """Whether some images are grey and the others in colour."""
        return {image.channels for image in self.images} == {1, 3}

    @property
    def classes(self) -> tuple[int, ...]:
        """Classes other than 0 that occur, ascending."""
        return tuple(sorted({number for labels in self.labels for number in labels.classes}))

    def objects(self, *names: str) -> Objects:
        """Instances of the named parts, of all by default."""
        parts = [part for part in self.parts if not names or part.name in names]
        return Objects.join([l.objects for part in parts for l in part.labels], self.ndim)  # noqa: E741

    @property
    def spacing(self) -> tuple[float, ...] | None:
        """Most frequent voxel size in the files, z first; None if most files do not give one.

        Sizes in different units are compared as lengths; the unit is that of the first such file.
        """
        found = Counter(image.length for image in self.images)
        if not found:
            return None
        usual = found.most_common(1)[0][0]
        return next(image.spacing for image in self.images if image.length == usual)

    @property
    def one_spacing(self) -> bool:
        """Return True if all files give the same voxel size, in whatever unit."""
        return len({image.length for image in self.images}) == 1

    @property
    def anisotropy(self) -> float:
        """How many times a voxel is longer along z than in the plane; 1 in 2D.

        From the pixel size in the files; without one, from the instances' boxes, as if these were
        as deep as they are wide: those that the image does not cut, at least four pixels wide.
        """
        if self.ndim == 2:
            return 1.0
        if self.spacing is not None:
            z, y, x = self.spacing
            return float(z / (y * x) ** 0.5)
        objects = self.objects()
        box = objects.box[~objects.border & (objects.box[:, 1:].min(axis=1, initial=9) >= 4)]
        if len(box) < 10:
            return 1.0
        return float(np.median((box[:, 1] * box[:, 2]) ** 0.5 / box[:, 0]))
