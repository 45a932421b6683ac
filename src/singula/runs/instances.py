"""Label images with classes, pixel size and unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from singula.errors import UserError
from singula.io.image import ArrayPlace, Image, Spacing, check_spacing
from singula.io.lazy import find_unannotated, open_labels
from singula.io.lazy_array import LazyArray
from singula.io.read import read_labels
from singula.io.records.slides import SlideNote
from singula.io.units import replaced_size
from singula.labels.index import count_instances
from singula.metrics import overlap
from singula.metrics.classes import winning_classes
from singula.util.boxes import Box
from singula.util.format import counted
from singula.util.sparse_labels import (
    annotated_mask,
    is_sparse,
    without_annotation,
    without_unannotated,
)

Labels = npt.NDArray[Any]
# Maximum mean number of connected components per id, in label images and for a single id of 255
_MAX_COMPONENTS, _MAX_MASK_COMPONENTS = 4, 2
_MIN_PAIRS = 100  # of neighbors, for a decision from their values


@dataclass(frozen=True, eq=False)
class Instances:
    """A label image with its metadata.

    Parameters
    ----------
    name : str
        Name of the image, from which names of files are made.
    labels : ndarray of unsigned int
        Label image (y, x) or (z, y, x); 0 is the background, and ids may have gaps. Of a slide, a
        `LazyArray`, which is read in parts.
    class_image : ndarray of int, optional
        Class of each pixel, of the shape of `labels`, 0 for none; None without classes.
    spacing : tuple of float, optional
        Pixel size along each axis, z first; None if it is unknown.
    unit : str, optional
        Unit of `spacing`.
    file_name : str
        File name of the segmented image, or of the label image if that is unknown.
    size_notice : str
        Notice that the user replaced the pixel size of the file; empty for none.
    image : ndarray, optional
        Raw image, (y, x, c) or (z, y, x, c), for the measurement of intensities.
    slide : SlideNote, optional
        Slide of the label image; None for other images.
    annotated : ndarray of bool, optional
        Annotated pixels of a ground truth; the others are background. None: all.
    confidence : dict of int to float, optional
        Confidence of each id, see `singula.measure.confidence`; None if it is unknown.
    origin : str
        ``predicted`` or ``corrected``, for the files of exports; empty if nothing was corrected.
    """

    name: str
    labels: Labels
    class_image: Labels | None = None
    spacing: tuple[float, ...] | None = None
    unit: str | None = None
    file_name: str = ""
    size_notice: str = ""
    image: npt.NDArray[Any] | None = None
    slide: SlideNote | None = None
    annotated: npt.NDArray[np.bool_] | None = None
    confidence: Mapping[int, float] | None = None
    origin: str = ""

    @property
    def ndim(self) -> int:
        """Number of spatial axes, 2 or 3."""
        return self.labels.ndim

    @property
    def sparse_labels(self) -> Labels:
        """Labels in which pixels that are not annotated are -1."""
        if self.annotated is None:
            return self.labels
        return without_annotation(self.labels[..., None], ~self.annotated)[..., 0]

    @cached_property
    def classes(self) -> dict[int, int] | None:
        """Class of each id: the most frequent class of its pixels, 0 for none."""
        if self.class_image is None:
            return None
        ids, classes = winning_classes(overlap(self.labels, self.class_image))
        return dict(zip(ids.tolist(), classes.tolist(), strict=True))


@dataclass(frozen=True)
class LabelSource:
    """A file that contains a label image.

    Parameters
    ----------
    path : Path
        The file, or the folder of a Zarr.
    name : str
        Name of the image.
    ndim : {2, 3}
        Number of spatial axes.
    classes : bool
        True if the second channel contains classes.
    spacing : float or tuple of float, optional
        Pixel size, z first; overrides the metadata of the file.
    unit : str, optional
        Unit of the pixel size; overrides the metadata of the file.
    file_name : str
        File name of the segmented image.
    foreign : bool
        True for a file of the user, which may not be a label image; False for a file of a run.
    spacing_from : str
        Option or key that set `spacing`, for messages.
    arrays : ArrayPlace, optional
        Access to files elsewhere to which the file refers.
    slide : SlideNote, optional
        Slide of the label image; None for other images.
    origin : str
        `Instances.origin` of the label image.
    """

    path: Path
    name: str
    ndim: int
    classes: bool = False
    spacing: Spacing | None = None
    unit: str | None = None
    file_name: str = ""
    foreign: bool = False
    spacing_from: str = "--spacing"
    arrays: ArrayPlace | None = None
    slide: SlideNote | None = None
    origin: str = ""

    def read(self, box: Box | None = None) -> Instances:
        """Read the label image, or a box of it.

        Raises
        ------
        UserError
            The codes of `check_ids`, `read_labels` and `check_spacing`.
        """
        if box is None and self.slide is not None:
            return self._of_slide(self.slide)
        if box is None:
            image = read_labels(self.path, self.ndim, self.classes, arrays=self.arrays)
        else:
            place = find_unannotated(self.path, self.ndim, self.arrays)
            lazy = open_labels(self.path, self.ndim, self.classes, arrays=place)
            image = Image(lazy.read(box), lazy.spacing, lazy.unit)
        ids = image.array[..., 0]
        labels = without_unannotated(ids)
        if self.foreign:
            check_ids(str(self.path), labels)
        notice = None
        if self.spacing is not None:
            sizes = check_spacing(self.spacing, self.ndim)
            notice = replaced_size(self.spacing_from, sizes, image.spacing, image.unit, self.unit)
            image = image.with_spacing(sizes)
        return Instances(
            self.name,
            labels,
            image.array[..., 1] if self.classes else None,
            image.spacing,
            self.unit or image.unit,
            self.file_name or self.path.name,
            notice or "",
            annotated=annotated_mask(ids) if is_sparse(ids) else None,
            origin=self.origin,
        )

    def _of_slide(self, slide: SlideNote) -> Instances:
        """Return the label image of a slide, of which no pixels are read."""
        image = open_labels(self.path, self.ndim, self.classes, arrays=self.arrays)
        if self.spacing is not None:
            sizes = check_spacing(self.spacing, self.ndim)  # of the finest level
            scaled = tuple(s * d for s, d in zip(sizes, slide.downsample, strict=True))
            image = image.with_spacing(scaled, self.unit)
        whole = LazyArray.of(image)
        return Instances(
            self.name,
            cast(Labels, whole[..., 0]),
            whole[..., 1] if self.classes else None,
            image.spacing,
            self.unit or image.unit,
            self.file_name or slide.file,
            slide=slide,
            origin=self.origin,
        )


def check_ids(name: str, labels: Labels) -> None:
    """Raise an error if an array contains gray values or a mask instead of ids.

    In a label image, nearly every object is a single connected component, and neighboring pixels
    have equal ids.

    Parameters
    ----------
    name : str
        Name of the array, for the message.
    labels : ndarray of int
        Array (y, x) or (z, y, x).

    Raises
    ------
    UserError
        ``labels.not_labels``: each value has many connected components, or most neighbors differ.
    """
    import cc3d

    count = count_instances(labels)
    if not count:
        return
    dtype = labels.dtype if labels.dtype.kind == "u" else np.uint32
    whole = np.require(labels, dtype, ["C", "W"])  # cc3d does not accept read-only arrays
    _, n_components = cc3d.connected_components(
        whole, connectivity=8 if labels.ndim == 2 else 26, return_N=True
    )
    equal, pairs = _equal_neighbors(labels)
    is_mask = count == 1 and labels.max() == 255
    max_components = _MAX_MASK_COMPONENTS if is_mask else _MAX_COMPONENTS
    if n_components < max_components * count and (pairs < _MIN_PAIRS or equal > pairs / 2):
        return
    raise UserError(
        f"{name}: got {counted(count, 'value')} in "
        f"{counted(n_components, 'connected component')}, expected a label image with one id per "
        "object",
        "give the labels, not the segmented image; to convert a mask to labels in Fiji, use "
        "Plugins > MorphoLibJ > Binary Images > Connected Components Labeling",
        "labels.not_labels",
    )


def _equal_neighbors(labels: Labels) -> tuple[int, int]:
    """Return the number of neighboring foreground pixels with equal ids, and of all such pairs."""
    equal = pairs = 0
    for axis in range(labels.ndim):
        moved = np.moveaxis(labels, axis, 0)
        both = (moved[1:] != 0) & (moved[:-1] != 0)
        pairs += int(np.count_nonzero(both))
        equal += int(np.count_nonzero(both & (moved[1:] == moved[:-1])))
    return equal, pairs
