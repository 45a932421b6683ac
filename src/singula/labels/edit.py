"""Corrections of a label image by hand, with undo and redo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.errors import UserError
from singula.io.image import Spacing, check_spacing
from singula.labels.change import Change
from singula.util.arguments import as_array, flag, integer, items, label_image
from singula.util.boxes import Box
from singula.util.format import counted

Labels = npt.NDArray[np.unsignedinteger[Any]]
Mask = npt.NDArray[np.bool_]
_GAP = 3  # largest radius of a gap that a merge closes, in pixels
_FAR = 1e9  # pixels; larger coordinates are not supported by scikit-image
_NEAR = 5  # largest distance of a point from the object that it splits, in pixels


@dataclass(eq=False)
class LabelEditor:
    """Label image with corrections that can be undone and repeated.

    Positions are (y, x) or (z, y, x) in pixels, and the center of the first pixel is 0, as in
    scikit-image and napari. Objects that are not corrected keep their ids, and the id of a removed
    object is not used again.

    Parameters
    ----------
    labels : ndarray of int, (y, x) or (z, y, x)
        Label image, which is copied; 0 is the background.
    spacing : float or sequence of float, optional
        Voxel size along each axis, z first, for the shortest paths of a split.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.zeros((6, 12), int)
    >>> labels[1:5, 1:11] = 1
    >>> editor = LabelEditor(labels)
    >>> editor.split(1, [(2, 3), (2, 8)])
    [1, 2]
    >>> editor.labels[2]
    array([0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 0], dtype=uint32)
    >>> editor.undo().name, editor.labels.max()
    ('split', np.uint32(1))
    """

    labels: Labels
    spacing: Spacing | None = None
    _done: list[Change] = field(init=False, default_factory=list, repr=False)
    _undone: list[Change] = field(init=False, default_factory=list, repr=False)

    def __post_init__(self) -> None:
        """Copy the labels to a type with free ids."""
        labels = label_image(self.labels)
        self._last = int(labels.max(initial=0))
        self.labels = labels.astype(np.uint32 if self._last < 1 << 31 else np.uint64)
        self._sizes = check_spacing(self.spacing, labels.ndim)

    @property
    def can_undo(self) -> bool:
        """True if a correction can be undone."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """True if an undone correction can be repeated."""
        return bool(self._undone)

    @property
    def changes(self) -> tuple[Change, ...]:
        """Corrections that are applied, in their order."""
        return tuple(self._done)

    def undo(self) -> Change | None:
        """Undo the last correction and return it; None without any."""
        if not self._done:
            return None
        change = self._done.pop()
        change.write(self.labels, change.before)
        self._undone.append(change)
        return change

    def redo(self) -> Change | None:
        """Repeat the last undone correction and return it; None without any."""
        if not self._undone:
            return None
        change = self._undone.pop()
        change.write(self.labels, change.after)
        self._done.append(change)
        return change

    def delete(self, ids: Sequence[int]) -> None:
        """Delete objects.

        Parameters
        ----------
        ids : sequence of int
            Ids of the objects.

        Raises
        ------
        UserError
            ``edit.no_object``: an id does not occur.
        """
        box, mask = self._objects(ids)
        self._apply("delete", box, mask, 0)

    def merge(self, ids: Sequence[int]) -> int:
        """Merge objects, close narrow gaps between them, and return their common id.

        Parameters
        ----------
        ids : sequence of int
            Ids of two or more objects; the result has the first.

        Raises
        ------
        UserError
            ``edit.no_object``: an id does not occur; ``edit.one_object``: fewer than two objects.
        """
        from scipy import ndimage

        chosen = list(dict.fromkeys(items(ids, "ids", partial(integer, at_least=1))))
        if len(chosen) < 2:
            raise UserError(
                f"ids: got {counted(len(chosen), 'object')}, expected two or more",
                "choose the objects that belong together",
                "edit.one_object",
            )
        box, mask = self._objects(chosen, margin=_GAP)
        ball = ndimage.iterate_structure(ndimage.generate_binary_structure(mask.ndim, 1), _GAP)
        padded = np.pad(mask, _GAP)  # a closing erodes the border of the array
        closed = ndimage.binary_closing(padded, ball)[(slice(_GAP, -_GAP),) * mask.ndim]
        self._apply("merge", box, mask | (closed & (self.labels[box] == 0)), chosen[0])
        return chosen[0]

    def split(self, number: int, points: Sequence[Sequence[float]]) -> list[int]:
        """Split an object between points, and return the ids of its parts.

        Each pixel joins the point from which a front reaches it first. The speed of the fronts is
        the square of the distance to the border of the object, so they meet where it is narrow.

        Parameters
        ----------
        number : int
            Id of the object, which the part of the first point keeps.
        points : sequence of sequence of float
            A position in each part, at most 5 pixels outside of the object.

        Raises
        ------
        UserError
            ``edit.no_object``: the id does not occur; ``edit.points``: fewer than two different
            points in the object.
        """
        number = integer(number, "number", at_least=1)
        box, mask = self._objects([number], name="number")
        starts = self._starts(points, box, mask)
        if len(set(starts)) < 2 or len(set(starts)) < len(starts):
            raise UserError(
                f"points: got {counted(len(set(starts)), 'point')} in object {number}, "
                "expected two or more different points",
                "choose a point in each part of the object",
                "edit.points",
            )
        parts = _nearest(mask, starts, self._sizes)
        new = [self._new_id() for _ in starts[1:]]
        ids = np.array([0, number, *new], self.labels.dtype)
        self._apply("split", box, mask, ids[parts][mask])
        return [number, *new]

    def draw(self, outline: Sequence[Sequence[float]], plane: int | None = None) -> int:
        """Add an object within an outline, and return its id. Other objects remain.

        Parameters
        ----------
        outline : sequence of sequence of float
            Corners (y, x) of a polygon.
        plane : int, optional
            Number of the slice, from 0; only for volumes.

        Raises
        ------
        UserError
            ``edit.outline``: the outline contains no pixel of the background.
        """
        box, mask = self._region(outline, plane)
        mask &= self.labels[box] == 0
        _check_pixels(mask, "of the background")
        number = self._new_id()
        self._apply("draw", box, mask, number)
        return number

    def reshape(
        self,
        number: int,
        outline: Sequence[Sequence[float]],
        plane: int | None = None,
        *,
        add: bool = True,
    ) -> list[int]:
        """Add a region to an object or remove it, and return the ids of its parts.

        Parameters
        ----------
        number : int
            Id of the object.
        outline : sequence of sequence of float
            Corners (y, x) of a polygon around the region.
        plane : int, optional
            Number of the slice, from 0; only for volumes.
        add : bool
            True: pixels of the background are added. False: pixels of the object are removed, and
            disconnected smaller parts become new objects.

        Raises
        ------
        UserError
            ``edit.no_object``: the id does not occur; ``edit.outline``: the outline contains no
            pixel that can be added or removed.
        """
        number = integer(number, "number", at_least=1)
        box, mask = self._region(outline, plane)
        around, pixels = self._objects([number], name="number")
        if flag(add, "add"):
            mask &= self.labels[box] == 0
            _check_pixels(mask, "of the background")
            self._apply("extend", box, mask, number)
            return [number]
        mask &= self.labels[box] == number
        _check_pixels(mask, f"of object {number}")
        removed = np.zeros(self.labels.shape, bool)
        removed[box] = mask
        return self._cut(number, around, pixels, removed[around])

    def _cut(self, number: int, box: Box, pixels: Mask, removed: Mask) -> list[int]:
        """Remove pixels of an object; its smaller parts become new objects."""
        from scipy import ndimage

        structure = np.ones((3,) * pixels.ndim)  # a diagonal step does not divide an object
        parts, count = ndimage.label(pixels & ~removed, structure)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
        order = np.argsort(-sizes, kind="stable")
        ids = np.zeros(count + 1, self.labels.dtype)
        for rank, part in enumerate(order):
            ids[part + 1] = number if rank == 0 else self._new_id()
        self._apply("cut", box, pixels, ids[parts][pixels])
        return [int(ids[part + 1]) for part in order]

    def _new_id(self) -> int:
        self._last += 1
        return self._last

    def _apply(self, name: str, box: Box, mask: Mask, values: int | Labels) -> None:
        """Set the pixels of a mask, and forget the corrections that were undone."""
        before = self.labels[box].copy()
        self.labels[box][mask] = values
        self._done.append(Change.between(name, box, before, self.labels[box]))
        self._undone.clear()

    def _objects(self, ids: Sequence[int], margin: int = 0, name: str = "ids") -> tuple[Box, Mask]:
        """Return the box of objects, and their mask in it."""
        chosen = items(ids, name, partial(integer, at_least=1))
        places = [np.nonzero(self.labels == number) for number in chosen]
        missing = [n for n, place in zip(chosen, places, strict=True) if not len(place[0])]
        if missing or not chosen:
            raise UserError(
                f"{name}: got {missing[0] if missing else 'no object'}, "
                "expected the id of an object",
                "choose an object of the image",
                "edit.no_object",
            )
        box = tuple(
            slice(
                max(0, min(int(place[axis].min()) for place in places) - margin),
                min(size, max(int(place[axis].max()) for place in places) + 1 + margin),
            )
            for axis, size in enumerate(self.labels.shape)
        )
        return box, np.isin(self.labels[box], np.asarray(chosen, self.labels.dtype))

    def _starts(
        self, points: Sequence[Sequence[float]], box: Box, mask: Mask
    ) -> list[tuple[int, ...]]:
        """Return the pixels of an object that are nearest to points, without far points."""
        inside = np.argwhere(mask)
        low = np.array([side.start for side in box])
        starts = []
        for position in items(points, "points", partial(_position, ndim=mask.ndim)):
            away = np.abs(inside - (position - low)).max(axis=1)
            if away.min() <= _NEAR:
                starts.append(tuple(inside[int(away.argmin())].tolist()))
        return starts

    def _region(self, outline: Sequence[Sequence[float]], plane: int | None) -> tuple[Box, Mask]:
        """Return the box of a polygon in the image, and the mask of the pixels in the polygon."""
        from skimage import draw

        is_volume = self.labels.ndim == 3
        depth = self.labels.shape[0] if is_volume else 1
        plane = integer(plane, "plane", at_least=0, at_most=depth - 1) if is_volume else 0
        corners = np.array(items(outline, "outline", partial(_position, ndim=2))).reshape(-1, 2)
        if len(corners) < 3:
            raise _no_pixels("of the image")
        y, x = corners.T.clip(-_FAR, _FAR)
        rows, columns = draw.polygon(y, x, self.labels.shape[-2:])  # type: ignore[no-untyped-call]
        if not len(rows):
            raise _no_pixels("of the image")
        box = (
            slice(int(rows.min()), int(rows.max()) + 1),
            slice(int(columns.min()), int(columns.max()) + 1),
        )
        mask = np.zeros(tuple(side.stop - side.start for side in box), bool)
        mask[rows - box[0].start, columns - box[1].start] = True
        if not is_volume:
            return box, mask
        return (slice(plane, plane + 1), *box), mask[None]


def _position(value: object, name: str, ndim: int) -> npt.NDArray[np.float64]:
    position = as_array(value, name, kinds="iuf").astype(np.float64)
    if position.shape != (ndim,) or not np.isfinite(position).all():
        raise UserError(
            f"{name}: got {value!r}, expected {ndim} coordinates",
            f"give positions as ({'y, x' if ndim == 2 else 'z, y, x'})",
            "edit.position",
        )
    return position


def _nearest(
    mask: Mask, starts: Sequence[tuple[int, ...]], sizes: Sequence[float]
) -> npt.NDArray[np.intp]:
    """Return for each pixel of an object the number, from 1, of the start that reaches it first."""
    from scipy.ndimage import distance_transform_edt
    from skimage.graph import MCP_Geometric

    padded = np.pad(mask, 1)
    depth = distance_transform_edt(padded, sampling=sizes) / min(sizes)
    costs = np.where(padded, 1 / np.maximum(depth, 1) ** 2, -1)
    # Paths do not leave the object; parts of it without a start would not be reached.
    reached = []
    for start in starts:
        network = MCP_Geometric(costs, sampling=sizes)
        times, _ = network.find_costs([tuple(place + 1 for place in start)])
        reached.append(times[(slice(1, -1),) * mask.ndim])
    times = np.stack(reached)
    parts = times.argmin(axis=0) + 1
    # A disconnected part belongs to the first point.
    return np.where(mask & np.isfinite(times).any(axis=0), parts, mask.astype(np.intp))


def _check_pixels(mask: Mask, kind: str) -> None:
    if not mask.any():
        raise _no_pixels(kind)


def _no_pixels(kind: str) -> UserError:
    return UserError(
        f"outline: got no pixel {kind}, expected one or more",
        "draw a larger outline",
        "edit.outline",
    )
