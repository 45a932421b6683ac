"""Pairs of an image and its labels, and the orientation in which labels are read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from singula.io.formats.table import format_of
from singula.io.image import ArrayPlace
from singula.util.locations import location


@dataclass(frozen=True)
class Pair:
    """An image with its labels.

    Parameters
    ----------
    image : Path
        The image file.
    label : Path, optional
        Its labels; None when there are none.
    name : str
        The image's file name without suffix.
    arrays, label_arrays : ArrayPlace, optional
        Which arrays of containers (Zarr, HDF5, N5) they are.
    """

    image: Path
    label: Path | None
    name: str
    arrays: ArrayPlace | None = None
    label_arrays: ArrayPlace | None = None

    def __post_init__(self) -> None:
        """Bring the label to the orientation of the image where both have an affine."""
        if self.label is not None:
            place = oriented(self.label_arrays, self.label, self.image)
            object.__setattr__(self, "label_arrays", place)

    @property
    def mask(self) -> Path | None:
        """Mask of the pixels of the labels that are not annotated."""
        place = self.label_arrays
        return location(place.ignore) if place is not None and place.ignore else None


def oriented(place: ArrayPlace | None, path: Path, image: Path) -> ArrayPlace | None:
    """Return the place of a label or mask, read with the axes of its image.

    Parameters
    ----------
    place : ArrayPlace, optional
        Which array of a container it is.
    path, image : Path
        The label or mask, and the image.
    """
    kinds = [format_of(path), format_of(image)]
    if path == image or not all(kind is not None and kind.affine for kind in kinds):
        return place
    return replace(place or ArrayPlace(), like=str(image.absolute()))
