"""Filling of background that a single instance encloses, in whole images and in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from singula.labels.block_table import HIGHEST, LOWEST, NO_PIXEL, Block, Table
from singula.labels.components import connected_components
from singula.util.arguments import as_array, instance, label_image
from singula.util.process import compiled


def fill_holes(labels: np.ndarray, owners: np.ndarray | None = None) -> np.ndarray:
    """Fill background components that are enclosed by a single instance.

    Parameters
    ----------
    labels : ndarray of int
        (y, x) or (z, y, x), 0 the background.
    owners : ndarray of int, optional
        Ids of the instances whose holes are filled; by default, all.

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
    """Connected components of the background of blocks, their neighbors and their connections.

    Pixels are numbered in row-major order of the whole image. A component has the number of its
    first pixel. Each row connects two pixels: a component with itself, or with the first pixel of
    a patch where it continues in the next block.

    Parameters
    ----------
    piece, joined : ndarray of int64, shape (rows,)
        Number of the component, and of the pixel that it is connected to.
    lowest, highest : ndarray of int64, shape (rows,)
        Range of the ids adjacent to the component; `highest` is 0 if there are none.
    open : ndarray of bool, shape (rows,)
        True if the component touches the image border.
    """

    piece: np.ndarray
    joined: np.ndarray
    lowest: np.ndarray = field(metadata=LOWEST)
    highest: np.ndarray = field(metadata=HIGHEST)
    open: np.ndarray = field(metadata=HIGHEST)


@dataclass(frozen=True, eq=False)
class Holes:
    """Background components to fill.

    Parameters
    ----------
    pieces : ndarray of int64, shape (n,)
        Numbers of the components in ascending order; see `Gaps`.
    ids : ndarray of int64, shape (n,)
        Id of the instance that encloses each component.
    """

    pieces: np.ndarray
    ids: np.ndarray


def enclosed(gaps: Gaps, owners: np.ndarray | None = None) -> Holes:
    """Return the background components that are enclosed by a single instance.

    Parameters
    ----------
    gaps : Gaps
        Table of the whole image; for an image in blocks, the merged table.
    owners : ndarray of int, shape (n,), optional
        Ids of the instances whose holes are filled; by default, all.

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
    component = group[piece]
    lowest, highest = np.full(groups, NO_PIXEL), np.zeros(groups, np.int64)
    outside = np.zeros(groups, bool)
    np.minimum.at(lowest, component, gaps.lowest)
    np.maximum.at(highest, component, gaps.highest)
    outside[component[gaps.open]] = True
    hole = (lowest == highest) & ~outside
    if owners is not None:
        hole &= np.isin(highest, owners.astype(np.int64))
    filled = hole[component] & (gaps.piece == gaps.joined)
    return Holes(gaps.piece[filled], highest[component[filled]])


@dataclass(frozen=True, eq=False)
class Background:
    """Connected components of the background of a block.

    Parameters
    ----------
    block : Block
        Position of the block in the image.
    labels : ndarray of unsigned int
        Labels of the core and of one pixel after it along each axis.
    pieces : ndarray of unsigned int
        Component of each pixel of `labels`, from 1; 0 on instances.
    names : ndarray of int64, shape (components + 1,)
        Number in the image of the first pixel of each component; see `Gaps`.
    dtype : dtype
        Dtype of the original labels.
    """

    block: Block
    labels: np.ndarray
    pieces: np.ndarray
    names: np.ndarray
    dtype: np.dtype[Any]

    def gaps(self) -> Gaps:
        """Return the table that connects the components with those of other blocks."""
        rows = len(self.names)
        lowest, highest = np.full(rows, NO_PIXEL), np.zeros(rows, np.int64)
        volumes = (a if a.ndim == 3 else a[None] for a in (self.labels, self.pieces))
        compiled(_adjacent_ids)(*volumes, lowest, highest)
        outside = np.zeros(rows, bool)
        at_stop = np.add(self.block.start, self.labels.shape) == self.block.shape
        for axis, at_start in enumerate(self.block.at_start):
            planes = np.moveaxis(self.pieces, axis, 0)
            for end, at_border in ((slice(1), at_start), (slice(-1, None), at_stop[axis])):
                if at_border:
                    outside[np.unique(planes[end])] = True
        pieces, joined = [self.names[1:]], [self.names[1:]]
        for numbers, pixels in self._continuations():
            pieces.append(self.names[numbers])
            joined.append(pixels)
        more = sum(map(len, pieces)) - rows + 1
        return Gaps.of_rows(
            piece=np.concatenate(pieces),
            joined=np.concatenate(joined),
            lowest=np.r_[lowest[1:], np.full(more, NO_PIXEL)],
            highest=np.r_[highest[1:], np.zeros(more, np.int64)],
            open=np.r_[outside[1:], np.zeros(more, bool)],
        )

    def filled(self, holes: Holes) -> np.ndarray:
        """Return the labels of the core with the holes filled."""
        fill = np.zeros(len(self.names), self.labels.dtype)
        if len(holes.pieces):
            place = np.minimum(np.searchsorted(holes.pieces, self.names), len(holes.pieces) - 1)
            is_hole = holes.pieces[place] == self.names
            fill[is_hole] = holes.ids[place[is_hole]]
        core = tuple(map(slice, np.subtract(self.block.stop, self.block.start)))
        result = self.labels[core].copy(order="C")
        numbers = np.ascontiguousarray(self.pieces[core])
        compiled(_fill)(result.ravel(), numbers.ravel(), fill)
        return result.astype(self.dtype, copy=False)

    def _continuations(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the components that continue in the next block, and the pixels where they do.

        Two adjacent blocks share the first plane of the later block. Both find the same patches of
        background in it. Each patch belongs to one component of either block, so that its first
        pixel connects the two components.
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
    """Find the connected components of the background of a block.

    Parameters
    ----------
    labels : ndarray of int
        Labels of the block and of one pixel after it along each axis, (y, x) or (z, y, x).
    block : Block, optional
        Position of `labels` in the image; by default, the whole image.

    Raises
    ------
    TypeError, UserError
        Not a label image, or not its block.
    """
    checked = label_image(labels)
    block = Block.of(block, checked)
    region = np.ascontiguousarray(checked[block.box(checked, 0, 1)])
    pieces, count = connected_components(region == 0)
    first = np.full(count + 1, -1, np.int64)
    compiled(_first_pixels)(pieces.ravel(), first)
    inside = np.array(np.unravel_index(first[1:], region.shape)).T
    first[1:] = _pixel_numbers(inside + block.start, block.shape)
    return Background(block, region, pieces, first, np.asarray(labels).dtype)


def _pixel_numbers(places: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    numbers: np.ndarray = np.ravel_multi_index(tuple(places.T), shape).astype(np.int64)
    return numbers


def _first_pixels(pieces: Any, first: Any) -> None:
    """Find the first pixel of each component; compiled.

    Parameters
    ----------
    pieces : uint32, (pixels,)
        Component of each pixel; 0 on instances.
    first : int64, (components + 1,)
        -1; receives the index of the first pixel.
    """
    before = 0
    for at in range(len(pieces)):
        piece = pieces[at]
        if piece != before and piece != 0 and first[piece] < 0:
            first[piece] = at
        before = piece


def _adjacent_ids(labels: Any, pieces: Any, lowest: Any, highest: Any) -> None:
    """Find the lowest and the highest id adjacent to each background component; compiled.

    Parameters
    ----------
    labels : unsigned int, (z, y, x)
    pieces : uint32, (z, y, x)
        Component of each pixel; 0 on instances.
    lowest, highest : int64, (components + 1,)
        Results; they contain the initial values of the minimum and the maximum.
    """
    depth, height, width = labels.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                label = labels[z, y, x]
                for axis in range(3):
                    far, low, right = z + (axis == 2), y + (axis == 1), x + (axis == 0)
                    if far == depth or low == height or right == width:
                        continue
                    other = labels[far, low, right]
                    if (label == 0) != (other == 0):
                        # One of the two pixels is background and has a component.
                        piece = max(pieces[z, y, x], pieces[far, low, right])
                        adjacent = np.int64(max(label, other))
                        lowest[piece] = min(lowest[piece], adjacent)
                        highest[piece] = max(highest[piece], adjacent)


def _fill(labels: Any, pieces: Any, fill: Any) -> None:
    """Set the pixels of each component to its value, in place; compiled.

    Parameters
    ----------
    labels : unsigned int, (pixels,)
    pieces : uint32, (pixels,)
        Component of each pixel; 0 on instances.
    fill : dtype of labels, (components + 1,)
        New label of each component.
    """
    for at in range(len(pieces)):
        if pieces[at] != 0:
            labels[at] = fill[pieces[at]]
