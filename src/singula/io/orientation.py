"""Reorder and flip stored axes for orientation tags and the affines of NIfTI files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.errors import UserError
from singula.io.image import AnyArray, Header, StoredArray
from singula.util.boxes import Box

# Operations by value of the tag: swap x and y, then flip y, flip x.
_TAGS = {
    2: (False, False, True), 3: (False, True, True), 4: (False, True, False),
    5: (True, False, False), 6: (True, False, True), 7: (True, True, True), 8: (True, True, False),
}  # fmt: skip
_MAX_SHIFT = 0.5  # largest distance of a corner from its position in the image, in voxels


@dataclass(frozen=True)
class Turn:
    """Order and direction of the axes of an array.

    Parameters
    ----------
    order : tuple of int
        Axis in the stored array, for each axis of the result.
    flipped : tuple of bool
        True if the axis runs in the other direction, for each axis of the result.
    note : str
        Note for the user.
    """

    order: tuple[int, ...]
    flipped: tuple[bool, ...]
    note: str

    def array(self, stored: AnyArray) -> AnyArray:
        """Reorder and flip the axes of a stored array, or of a box of it."""
        steps = tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)
        return np.ascontiguousarray(stored.transpose(self.order)[steps])

    def stored_box(self, box: Box, shape: Sequence[int]) -> Box:
        """Return the box of a stored array of this shape that contains a box of the result."""
        stored = [slice(None)] * len(shape)
        for part, axis, flip in zip(box, self.order, self.flipped, strict=True):
            start, stop, _ = part.indices(shape[axis])
            stored[axis] = slice(shape[axis] - stop, shape[axis] - start) if flip else part
        return tuple(stored)

    def header(self, header: Header) -> Header:
        """Return the header of the result; its axes have the letters of the stored axes."""
        shape = tuple(header.shape[axis] for axis in self.order)
        return replace(
            header,
            shape=shape,
            spacing=self._spacing(header),
            notes=(*header.notes, self.note),
            orientation=None,
            affine=None,
        )

    def stored(self, stored: StoredArray) -> StoredArray:
        """Return an array on disk whose boxes are reordered and flipped when they are read."""
        shape, read = stored.header.shape, stored.read
        return StoredArray(
            self.header(stored.header),
            tuple(stored.chunks[axis] for axis in self.order),
            lambda box: self.array(read(self.stored_box(box, shape))),
        )

    def _spacing(self, header: Header) -> tuple[float, ...] | None:
        if header.spacing is None:
            return None
        axes = header.axes or "ZYX"[-len(header.shape) :].rjust(len(header.shape), "Q")
        sizes = dict(zip("XYZ", reversed(header.spacing), strict=False))
        moved = {
            letter: sizes.get(axes[axis])
            for letter, axis in zip(axes, self.order, strict=True)
            if letter in "ZYX"
        }
        ordered = [moved.get(letter) for letter in "ZYX"]
        return tuple(size for size in ordered if size is not None)


def turn_of_tag(header: Header) -> Turn | None:
    """Return the change of axes for an orientation tag; None for the usual orientation."""
    if header.orientation is None:
        return None
    value, y, x = header.orientation
    if value not in _TAGS:
        return None
    y, x = y % len(header.shape), x % len(header.shape)
    swapped, flip_y, flip_x = _TAGS[value]
    order = list(range(len(header.shape)))
    if swapped:
        order[y], order[x] = x, y
    flipped = [False] * len(order)
    flipped[y], flipped[x] = flip_y, flip_x
    note = f"its orientation tag, {value}, is applied, as in image viewers"
    return Turn(tuple(order), tuple(flipped), note)


def turn_to_image(path: Path, header: Header, image: Path, other: Header) -> Turn | None:
    """Return the change of axes from a label volume to its image.

    Parameters
    ----------
    path : Path
        Label file, for messages.
    header : Header
        Header of the label file.
    image : Path
        Image file, for messages.
    other : Header
        Header of the image file.

    Returns
    -------
    Turn or None
        None if the axes are equal, or if one of the files has no affine.

    Raises
    ------
    UserError
        ``io.affines_differ``: after reordering and flipping, the grids differ by more than half a
        voxel.
    """
    if header.affine is None or other.affine is None:
        return None
    nibabel: Any = import_module("nibabel.orientations")
    count = len(header.shape)
    spatial = min(count, 3)
    lengths = [*reversed(header.shape[-spatial:]), *[1] * (3 - spatial)]
    try:
        current, target = (nibabel.io_orientation(file.affine) for file in (header, other))
        change = nibabel.ornt_transform(current, target)
        back = nibabel.inv_ornt_aff(change, lengths)
        moved = np.linalg.inv(other.affine) @ header.affine @ back
    except (ValueError, np.linalg.LinAlgError) as error:
        raise _affines_differ(path, header, image, other) from error
    targets = [int(target) for target in change[:, 0]]
    turned = [lengths[targets.index(axis)] for axis in range(3)]
    corners = np.array(np.meshgrid(*([0, size - 1] for size in turned))).reshape(3, -1)
    shift = moved[:3, :3] @ corners + moved[:3, 3:] - corners
    if np.abs(shift).max() > _MAX_SHIFT + 1e-3 or any(t >= spatial for t in targets[:spatial]):
        raise _affines_differ(path, header, image, other)
    # nibabel counts x first; here x is the last axis.
    order, flipped = list(range(count)), [False] * count
    for axis in range(spatial):
        place = count - 1 - targets[axis]
        order[place], flipped[place] = count - 1 - axis, bool(change[axis, 1] < 0)
    if order == list(range(count)) and not any(flipped):
        return None
    note = "its affine differs from that of its image: its axes are reordered or flipped to match"
    return Turn(tuple(order), tuple(flipped), note)


def _affines_differ(path: Path, header: Header, image: Path, other: Header) -> UserError:
    return UserError(
        f"{path}: its affine is {_rows(header.affine)}, but that of its image {image} is "
        f"{_rows(other.affine)}",
        "resample the label to the grid of its image; if the stored arrays fit already, save the "
        "label with the affine of the image",
        "io.affines_differ",
    )


def _rows(affine: NDArray[Any] | None) -> str:
    rows = [] if affine is None else affine[:3].tolist()
    return "[" + "; ".join(" ".join(f"{value:.5g}" for value in row) for row in rows) + "]"
