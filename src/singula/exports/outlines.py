"""Outlines of all instances of a plane, along the edges of their pixels: exact, with holes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.arguments import label_image
from singula.runtime import compiled

Ring = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Outline:
    """The outline of one instance.

    Parameters
    ----------
    label : int
        Its id.
    polygons : tuple of tuple of ndarray
        One polygon for each piece (connectivity 1). Each is its outer ring and then the rings of
        its holes; a ring holds its corners (y, x), the first one not repeated at the end. The pixel
        (y, x) covers the square from the corner (y, x) to (y + 1, x + 1). Seen on a screen, with y
        downwards, outer rings run clockwise and holes counter-clockwise.
    """

    label: int
    polygons: tuple[tuple[Ring, ...], ...]


def trace_outlines(labels: npt.NDArray[Any]) -> list[Outline]:
    """Outlines of every instance of a plane.

    Parameters
    ----------
    labels : ndarray of int
        (y, x), 0 the background, any ids.

    Returns
    -------
    list of Outline
        In order of the ids. Filling the polygons gives the label image back, pixel by pixel.

    Raises
    ------
    TypeError, UserError
        Not a label image of two dimensions.

    Notes
    -----
    Cracks between pixels are followed with the instance to the right. Pieces that only touch at a
    corner are polygons of their own, and no ring passes a corner twice, so the polygons are valid
    as simple features (OGC 06-103r4). One pass over the pixels, and one over the boundary.
    """
    import cc3d

    ids = label_image(labels, ndim=2, axes="(y, x) of a plane")
    if not ids.any():
        return []
    writable = np.require(ids, requirements="W")  # cc3d takes no read-only array
    pieces = cc3d.connected_components(writable, connectivity=4, out_dtype=np.uint32)
    padded = np.pad(pieces, 1)
    whole, starts = compiled(_follow)(padded)
    corners, rings = compiled(_split)(whole, starts, np.full(padded.shape, -1, np.int32))
    pixels = tuple(starts[rings[:, 2], 2:].T - 1)
    label, of_piece = ids[pixels], pieces[pixels]
    # By id, piece, and the outer ring before its holes
    order = np.lexsort((rings[:, 3], of_piece, label))
    outlines: dict[int, list[list[Ring]]] = {}
    piece = 0
    for number in order:
        start, stop, own = rings[number, 0], rings[number, 1], of_piece[number]
        polygons = outlines.setdefault(int(label[number]), [])
        if own != piece:
            polygons.append([])
            piece = own
        polygons[-1].append(corners[start:stop])
    return [
        Outline(label, tuple(tuple(rings) for rings in polygons))
        for label, polygons in outlines.items()
    ]


def area(ring: Ring) -> float:
    """Area that a ring encloses, in pixels; below 0 for the ring of a hole."""
    y, x = ring[:, 0].astype(np.float64), ring[:, 1].astype(np.float64)
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def _follow(pieces: Any) -> Any:
    """Rings of all pieces of a plane with a rim of zeros; compiled.

    Returns the corners of all rings one after the other, and a row for each ring: its first
    corner, the end, and a pixel of its piece (y, x), all counted with the rim. At a corner that two
    diagonal pixels of a piece share a ring goes on around its own pixel.
    """
    height, width = pieces.shape
    seen = np.zeros((height, width), np.bool_)
    corners = np.empty((1024, 2), np.int32)
    rings = np.empty((256, 4), np.int64)
    n_corners = n_rings = 0
    for row in range(1, height - 1):
        for column in range(1, width - 1):
            piece = pieces[row, column]
            if piece == 0 or pieces[row - 1, column] == piece or seen[row, column]:
                continue
            if n_rings == len(rings):
                rings = np.concatenate((rings, np.empty_like(rings)))
            rings[n_rings, 0], rings[n_rings, 2], rings[n_rings, 3] = n_corners, row, column
            # Corner (y, x) is the upper left one of pixel (y, x). Directions: right, down, left,
            # up. Every ring runs right somewhere, along the top of a pixel of its piece.
            y, x, direction = row, column, 0
            while True:
                if direction == 0:
                    seen[y, x] = True
                    x += 1
                    right, left = pieces[y, x], pieces[y - 1, x]
                elif direction == 1:
                    y += 1
                    right, left = pieces[y, x - 1], pieces[y, x]
                elif direction == 2:
                    x -= 1
                    right, left = pieces[y - 1, x - 1], pieces[y, x - 1]
                else:
                    y -= 1
                    right, left = pieces[y - 1, x], pieces[y - 1, x - 1]
                if right == piece and left != piece:
                    continue
                direction = (direction + (1 if right != piece else 3)) % 4
                if n_corners == len(corners):
                    corners = np.concatenate((corners, np.empty_like(corners)))
                corners[n_corners, 0], corners[n_corners, 1] = y, x
                n_corners += 1
                if direction == 0 and y == row and x == column:
                    break
            rings[n_rings, 1] = n_corners
            n_rings += 1
    return corners[:n_corners], rings[:n_rings]


def _split(corners: Any, rings: Any, place: Any) -> Any:
    """Rings that pass no corner twice; compiled.

    Parameters
    ----------
    corners, rings
        What `_follow` returned.
    place : ndarray of int32
        -1 for every corner.

    Returns
    -------
    corners : ndarray
    rings : ndarray
        For each ring its first corner, the end, the number of the ring that it was part of, and
        whether it is a hole.
    """
    found = np.empty_like(corners)
    path = np.empty_like(corners)
    rows = np.empty((len(corners) // 4 + 1, 4), np.int64)
    n_found = n_rows = 0
    for ring in range(len(rings)):
        length = 0
        for number in range(rings[ring, 0], rings[ring, 1] + 1):
            last = number == rings[ring, 1]
            first = 0
            if not last:
                y, x = corners[number]
                first = place[y, x]
                if first < 0:
                    place[y, x] = length
                    path[length, 0], path[length, 1] = y, x
                    length += 1
                    continue
            # What the ring went round since it was here, or all that is left, is a ring.
            rows[n_rows, 0], rows[n_rows, 2] = n_found, ring
            doubled = 0
            for i in range(first, length):
                j = i + 1 if i + 1 < length else first
                doubled += np.int64(path[i, 1]) * path[j, 0] - np.int64(path[j, 1]) * path[i, 0]
                found[n_found, 0], found[n_found, 1] = path[i, 0] - 1, path[i, 1] - 1
                n_found += 1
                if last or i > first:
                    place[path[i, 0], path[i, 1]] = -1
            rows[n_rows, 1], rows[n_rows, 3] = n_found, 1 if doubled < 0 else 0
            n_rows += 1
            length = first + 1
    return found, rows[:n_rows]
