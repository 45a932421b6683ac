"""Background that a single instance encloses, also where it winds through several blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from singula.arguments import as_array, instance, label_image
from singula.postprocess.parts import HIGHEST, LOWEST, NOWHERE, Block, Table
from singula.runtime import compiled


def fill_holes(labels: np.ndarray, owners: np.ndarray | None = None) -> np.ndarray:
    """Fill the background that one instance alone encloses.

    Parameters
    ----------
    labels : ndarray of int
        (y, x) or (z, y, x), 0 the background.
    owners : ndarray of int, optional
        Ids of the instances whose holes are filled; by default, of all.

    Returns
    -------
    ndarray
        A new array of the same dtype.

    Raises
    ------
    TypeError, UserError
        Not a label image, or owners that are not ids.
    """
    background = find_background(labels)
    return background.filled(enclosed(background.gaps(), owners))


@dataclass(frozen=True, eq=False)
class Gaps(Table):
    """Pieces of the background of blocks, what is beside them, and which of them are one.

    A pixel of the image is named by its number in row-major order, and a piece by the first of its
    pixels. So every row says that two pixels are connected, whatever blocks it comes from: a piece
    with itself, and with one pixel of each place where it goes on in the next block.

    Parameters
    ----------
    piece, joined : ndarray of int64, shape (rows,)
    lowest, highest : ndarray of int64, shape (rows,)
        Ids beside the piece; the highest is 0 where there are none.
    open : ndarray of bool, shape (rows,)
        Whether it touches the image border.
    """

    piece: np.ndarray
    joined: np.ndarray
    lowest: np.ndarray = field(metadata=LOWEST)
    highest: np.ndarray = field(metadata=HIGHEST)
    open: np.ndarray = field(metadata=HIGHEST)


@dataclass(frozen=True, eq=False)
class Holes:
    """Pieces of the background that are to be filled, ascending, and the id that each gets."""

    pieces: np.ndarray
    ids: np.ndarray


def enclosed(gaps: Gaps, owners: np.ndarray | None = None) -> Holes:
    """Holes of these instances, or of all, from the merged table of all blocks.

    Parameters
    ----------
    gaps : Gaps
    owners : ndarray of int, shape (n,), optional
        Ids of the instances; all by default.

    Raises
    ------
    TypeError, UserError
        Not a table of gaps, or owners that are not ids.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    gaps = instance(gaps, "gaps", Gaps)
    if owners is not None:
        owners = as_array(owners, "owners", ndim=1, kinds="iu", axes="(n,)")
    names, ends = np.unique(np.concatenate([gaps.piece, gaps.joined]), return_inverse=True)
    piece, joined = ends.reshape(2, -1)
    links = (np.ones(len(piece), bool), (piece, joined))
    groups, group = connected_components(coo_array(links, shape=(len(names),) * 2), directed=False)
    own = group[piece]
    lowest, highest = np.full(groups, NOWHERE), np.zeros(groups, np.int64)
    outside = np.zeros(groups, bool)
    np.minimum.at(lowest, own, gaps.lowest)
    np.maximum.at(highest, own, gaps.highest)
    outside[own[gaps.open]] = True
    hole = (lowest == highest) & ~outside
    if owners is not None:
        hole &= np.isin(highest, owners.astype(np.int64))
    filled = hole[own] & (gaps.piece == gaps.joined)
    return Holes(gaps.piece[filled], highest[own[filled]])


@dataclass(frozen=True, eq=False)
class Background:
    """The background of a block in connected pieces.

    Parameters
    ----------
    block : Block
    labels : ndarray of unsigned int
        Of the core and the pixels after it.
    pieces : ndarray of unsigned int
        Number of the piece of each pixel, from 1; 0 on instances.
    names : ndarray of int64
        First pixel of the piece of each number, by its number in the image.
    dtype : dtype
        Of the labels as they were given.
    """

    block: Block
    labels: np.ndarray
    pieces: np.ndarray
    names: np.ndarray
    dtype: np.dtype[Any]

    def gaps(self) -> Gaps:
        """What the other blocks need to know."""
        rows = len(self.names)
        lowest, highest = np.full(rows, NOWHERE), np.zeros(rows, np.int64)
        volumes = (a if a.ndim == 3 else a[None] for a in (self.labels, self.pieces))
        compiled(_look_around)(*volumes, lowest, highest)
        outside = np.zeros(rows, bool)
        at_stop = np.add(self.block.start, self.labels.shape) == self.block.shape
        for axis, at_start in enumerate(self.block.at_start):
            planes = np.moveaxis(self.pieces, axis, 0)
            for end, at_border in ((slice(1), at_start), (slice(-1, None), at_stop[axis])):
                if at_border:
                    outside[np.unique(planes[end])] = True
        pieces, joined = [self.names[1:]], [self.names[1:]]
        for numbers, pixels in self._ways_on():
            pieces.append(self.names[numbers])
            joined.append(pixels)
        more = sum(map(len, pieces)) - rows + 1
        return Gaps.of_rows(
            piece=np.concatenate(pieces),
            joined=np.concatenate(joined),
            lowest=np.r_[lowest[1:], np.full(more, NOWHERE)],
            highest=np.r_[highest[1:], np.zeros(more, np.int64)],
            open=np.r_[outside[1:], np.zeros(more, bool)],
        )

    def filled(self, holes: Holes) -> np.ndarray:
        """Labels of the core, with the holes filled."""
        fill = np.zeros(len(self.names), self.labels.dtype)
        if len(holes.pieces):
            place = np.minimum(np.searchsorted(holes.pieces, self.names), len(holes.pieces) - 1)
            met = holes.pieces[place] == self.names
            fill[met] = holes.ids[place[met]]
        core = tuple(map(slice, np.subtract(self.block.stop, self.block.start)))
        result = self.labels[core].copy(order="C")
        numbers = np.ascontiguousarray(self.pieces[core])
        compiled(_fill)(result.ravel(), numbers.ravel(), fill)
        return result.astype(self.dtype, copy=False)

    def _ways_on(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pieces that reach the plane that two blocks share, and the pixels where they do.

        That plane is the first one of the later block. Both blocks find the same patches of
        background in it, and each patch is in one piece of either block: its first pixel stands
        for it.
        """
        from scipy.ndimage import label

        size = np.subtract(self.block.stop, self.block.start)
        for axis, length in enumerate(size.tolist()):
            at_ends = (self.block.at_start[axis], self.block.at_stop[axis])
            for depth, at_border in zip((0, length), at_ends, strict=True):
                if at_border:
                    continue
                box = [slice(0, n) for n in size]
                box[axis] = slice(depth, depth + 1)
                plane = self.pieces[tuple(box)]
                patches, _ = label(plane)
                patch, first = np.unique(patches, return_index=True)
                first = first[patch > 0]
                inside = np.array(np.unravel_index(first, plane.shape)).T
                inside[:, axis] = depth
                places = inside + self.block.start
                yield plane.ravel()[first], _pixel_numbers(places, self.block.shape)


def find_background(labels: np.ndarray, block: Block | None = None) -> Background:
    """Find the connected pieces of background of a block.

    Parameters
    ----------
    labels : ndarray of int
        Of the block and one pixel after it along each axis.
    block : Block, optional
        Where it lies; the whole image by default.

    Raises
    ------
    TypeError, UserError
        Not a label image, or not its block.
    """
    import cc3d

    checked = label_image(labels)
    block = Block.of(block, checked)
    own = np.ascontiguousarray(checked[block.box(checked, 0, 1)])
    pieces, count = cc3d.connected_components(
        own == 0,
        connectivity=4 if own.ndim == 2 else 6,
        out_dtype=np.uint32,
        return_N=True,
    )
    first = np.full(count + 1, -1, np.int64)
    compiled(_first_pixels)(pieces.ravel(), first)
    inside = np.array(np.unravel_index(first[1:], own.shape)).T
    first[1:] = _pixel_numbers(inside + block.start, block.shape)
    return Background(block, own, pieces, first, np.asarray(labels).dtype)


def _pixel_numbers(places: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    numbers: np.ndarray = np.ravel_multi_index(tuple(places.T), shape).astype(np.int64)
    return numbers


def _first_pixels(pieces: Any, first: Any) -> None:
    """Find the first pixel of each piece; compiled."""
    before = 0
    for at in range(len(pieces)):
        piece = pieces[at]
        if piece != before and piece != 0 and first[piece] < 0:
            first[piece] = at
        before = piece


def _look_around(labels: Any, pieces: Any, lowest: Any, highest: Any) -> None:
    """Find the lowest and the highest id beside each piece; compiled."""
    depth, height, width = labels.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                own = labels[z, y, x]
                for axis in range(3):
                    far, low, right = z + (axis == 2), y + (axis == 1), x + (axis == 0)
                    if far == depth or low == height or right == width:
                        continue
                    other = labels[far, low, right]
                    if (own == 0) != (other == 0):
                        piece = max(pieces[z, y, x], pieces[far, low, right])
                        beside = np.int64(max(own, other))
                        lowest[piece] = min(lowest[piece], beside)
                        highest[piece] = max(highest[piece], beside)


def _fill(labels: Any, pieces: Any, fill: Any) -> None:
    """Give every pixel of a piece its value, in place; compiled."""
    for at in range(len(pieces)):
        if pieces[at] != 0:
            labels[at] = fill[pieces[at]]
