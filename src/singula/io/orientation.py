"""Reorder and flip stored axes for orientation tags and the affines of NIfTI files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.boxes import Box
from singula.errors import UserError
from singula.io.image import AnyArray, Header, StoredArray

# By value of the tag: swap x and y; then flip y; flip x.
_TAGS = {
    2: (False, False, True), 3: (False, True, True), 4: (False, True, False),
    5: (True, False, False), 6: (True, False, True), 7: (True, True, True), 8: (True, True, False),
}  # fmt: skip
_MOVED = 0.5  # largest distance in voxels of a corner from its place in the image


@dataclass(frozen=True)
class Turn:
    """An order and a direction for each axis of an array.

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
        """Turn an array, or a box of it."""
        steps = tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)
        return np.ascontiguousarray(stored.transpose(self.order)[steps])

    def stored_box(self, box: Box, shape: Sequence[int]) -> Box:
        """Return where a box of the turned array is in the stored array of that shape."""
        found = [slice(None)] * len(shape)
        for part, axis, flip in zip(box, self.order, self.flipped, strict=True):
            start, stop, _ = part.indices(shape[axis])
            found[axis] = slice(shape[axis] - stop, shape[axis] - start) if flip else part
        return tuple(found)

    def header(self, header: Header) -> Header:
        """Return the header of the turned array; its axes keep their letters."""
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
        """Return an array whose boxes are turned as they are read."""
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
        found = [moved[letter] for letter in "ZYX" if moved.get(letter) is not None]
        return tuple(size for size in found if size is not None)


def turn_of_tag(header: Header) -> Turn | None:
    """Return the turn for an orientation tag; None for the usual orientation."""
    if header.orientation is None:
        return None
    value, y, x = header.orientation
    if value not in _TAGS:
        return None
    y, x = y % len(header.shape), x % len(header.shape)
    swapped, up, left = _TAGS[value]
    order = list(range(len(header.shape)))
    if swapped:
        order[y], order[x] = x, y
    flipped = [False] * len(order)
    flipped[y], flipped[x] = up, left
    note = f"its orientation tag, {value}, is applied: pixels are where viewers show them"
    return Turn(tuple(order), tuple(flipped), note)


def turn_to_image(path: Path, header: Header, image: Path, other: Header) -> Turn | None:
    """Return the turn that brings a label volume to the orientation of its image.

    Parameters
    ----------
    path, header
        The label file.
    image, other
        The image file and its header.

    Returns
    -------
    Turn or None
        None if the axes agree already, or if one of the files has no affine.

    Raises
    ------
    UserError
        ``io.affines_differ``: the grids differ by more than the order and direction of axes, and
        half a voxel.
    """
    if header.affine is None or other.affine is None:
        return None
    nibabel: Any = import_module("nibabel.orientations")
    count = len(header.shape)
    spatial = min(count, 3)
    lengths = [*reversed(header.shape[-spatial:]), *[1] * (3 - spatial)]
    try:
        own, wanted = (nibabel.io_orientation(one.affine) for one in (header, other))
        change = nibabel.ornt_transform(own, wanted)
        back = nibabel.inv_ornt_aff(change, lengths)
        moved = np.linalg.inv(other.affine) @ header.affine @ back
    except (ValueError, np.linalg.LinAlgError) as error:
        raise _affines_differ(path, header, image, other) from error
    targets = [int(target) for target in change[:, 0]]
    turned = [lengths[targets.index(axis)] for axis in range(3)]
    corners = np.array(np.meshgrid(*([0, size - 1] for size in turned))).reshape(3, -1)
    away = moved[:3, :3] @ corners + moved[:3, 3:] - corners
    if np.abs(away).max() > _MOVED + 1e-3 or any(t >= spatial for t in targets[:spatial]):
        raise _affines_differ(path, header, image, other)
    # nibabel counts x first; here x is the last axis.
    order, flipped = list(range(count)), [False] * count
    for axis in range(spatial):
        place = count - 1 - targets[axis]
        order[place], flipped[place] = count - 1 - axis, bool(change[axis, 1] < 0)
    if order == list(range(count)) and not any(flipped):
        return None
    note = "its affine differs from that of its image: it is turned to the image's axes"
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
