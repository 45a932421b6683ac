"""Exact outlines of all instances of a plane, along pixel edges, with holes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.util.arguments import label_image
from singula.util.process import compiled

Ring = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Outline:
    """The outline of one instance.

    Parameters
    ----------
    label : int
        Id of the instance.
    polygons : tuple of tuple of ndarray
        One polygon for each connected component (connectivity 1): the outer ring, then the rings of
        the holes. A ring is an array of corners (y, x) of shape (n, 2); the first corner is not
        repeated at the end. The pixel (y, x) covers the square from the corner (y, x) to
        (y + 1, x + 1). On a screen, with y downwards, outer rings run clockwise and holes
        counterclockwise.
    """

    label: int
    polygons: tuple[tuple[Ring, ...], ...]


def trace_outlines(labels: npt.NDArray[Any]) -> list[Outline]:
    """Trace the outlines of all instances of a plane.

    Parameters
    ----------
    labels : ndarray of int
        Label image (y, x); 0 is the background, and ids may have gaps.

    Returns
    -------
    list of Outline
        Outlines by ascending id. Filling the polygons reproduces the label image exactly.

    Raises
    ------
    TypeError, UserError
        The argument is not a label image of two dimensions.

    Notes
    -----
    The algorithm follows the edges between pixels, with the instance on the right. Components that
    only touch at a corner are separate polygons, and no ring passes a corner twice, so the polygons
    are valid simple features (OGC 06-103r4). The pixels and the boundary are each visited once.
    """
    import cc3d

    ids = label_image(labels, ndim=2, axes="(y, x) of a plane")
    if not ids.any():
        return []
    writable = np.require(ids, requirements="W")  # cc3d does not accept read-only arrays
    components = cc3d.connected_components(writable, connectivity=4, out_dtype=np.uint32)
    padded = np.pad(components, 1)
    traced, traced_rings = compiled(_trace_rings)(padded)
    corners, rings = compiled(_split_rings)(
        traced, traced_rings, np.full(padded.shape, -1, np.int32)
    )
    pixels = tuple(traced_rings[rings[:, 2], 2:].T - 1)
    label, component = ids[pixels], components[pixels]
    # Sort by id, then component, with the outer ring before its holes.
    order = np.lexsort((rings[:, 3], component, label))
    outlines: dict[int, list[list[Ring]]] = {}
    previous = 0
    for number in order:
        start, stop = rings[number, 0], rings[number, 1]
        polygons = outlines.setdefault(int(label[number]), [])
        if component[number] != previous:
            polygons.append([])
            previous = component[number]
        polygons[-1].append(corners[start:stop])
    return [
        Outline(label, tuple(tuple(rings) for rings in polygons))
        for label, polygons in outlines.items()
    ]


def trace_slices(labels: npt.NDArray[Any]) -> Iterator[tuple[int | None, Outline]]:
    """Yield outlines with the index of their slice in a volume, or None in a plane."""
    if labels.ndim == 2:
        yield from ((None, outline) for outline in trace_outlines(labels))
        return
    for z, plane in enumerate(labels):
        yield from ((z, outline) for outline in trace_outlines(plane))


def signed_area(ring: Ring) -> float:
    """Return the area enclosed by a ring in pixels; negative for the ring of a hole."""
    y, x = ring[:, 0].astype(np.float64), ring[:, 1].astype(np.float64)
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def _trace_rings(components: Any) -> Any:
    """Trace the rings of all connected components; compiled.

    At a corner shared by two diagonal pixels of a component, the ring turns around the same pixel.

    Parameters
    ----------
    components : ndarray of uint32
        Connected components (y, x), with a border of zeros one pixel wide.

    Returns
    -------
    corners : ndarray of int32, shape (n, 2)
        Corners (y, x) of all rings, concatenated; coordinates include the border.
    rings : ndarray of int64, shape (m, 4)
        For each ring: index of its first corner, end index, and a pixel (y, x) of its component.
    """
    height, width = components.shape
    seen = np.zeros((height, width), np.bool_)
    corners = np.empty((1024, 2), np.int32)
    rings = np.empty((256, 4), np.int64)
    n_corners = n_rings = 0
    for row in range(1, height - 1):
        for column in range(1, width - 1):
            component = components[row, column]
            if component == 0 or components[row - 1, column] == component or seen[row, column]:
                continue
            if n_rings == len(rings):
                rings = np.concatenate((rings, np.empty_like(rings)))
            rings[n_rings, 0], rings[n_rings, 2], rings[n_rings, 3] = n_corners, row, column
            # Corner (y, x) is the upper left corner of pixel (y, x). Directions are right, down,
            # left, up. Each ring runs right at least once, along the top of a pixel.
            y, x, direction = row, column, 0
            while True:
                if direction == 0:
                    seen[y, x] = True
                    x += 1
                    right, left = components[y, x], components[y - 1, x]
                elif direction == 1:
                    y += 1
                    right, left = components[y, x - 1], components[y, x]
                elif direction == 2:
                    x -= 1
                    right, left = components[y - 1, x - 1], components[y, x - 1]
                else:
                    y -= 1
                    right, left = components[y - 1, x], components[y - 1, x - 1]
                if right == component and left != component:
                    continue
                direction = (direction + (1 if right != component else 3)) % 4
                if n_corners == len(corners):
                    corners = np.concatenate((corners, np.empty_like(corners)))
                corners[n_corners, 0], corners[n_corners, 1] = y, x
                n_corners += 1
                if direction == 0 and y == row and x == column:
                    break
            rings[n_rings, 1] = n_corners
            n_rings += 1
    return corners[:n_corners], rings[:n_rings]


def _split_rings(corners: Any, rings: Any, position: Any) -> Any:
    """Split rings that pass a corner twice; compiled.

    Parameters
    ----------
    corners, rings : ndarray
        Result of `_trace_rings`.
    position : ndarray of int32
        Work array (y, x) of the shape of the components, filled with -1: index of a corner in the
        current path.

    Returns
    -------
    corners : ndarray of int32, shape (n, 2)
        Corners (y, x) of all rings, without the border.
    rings : ndarray of int64, shape (m, 4)
        For each ring: index of its first corner, end index, number of the original ring, and 1 for
        a hole.
    """
    result = np.empty_like(corners)
    path = np.empty_like(corners)
    rows = np.empty((len(corners) // 4 + 1, 4), np.int64)
    n_corners = n_rows = 0
    for ring in range(len(rings)):
        length = 0
        for number in range(rings[ring, 0], rings[ring, 1] + 1):
            last = number == rings[ring, 1]
            first = 0
            if not last:
                y, x = corners[number]
                first = position[y, x]
                if first < 0:
                    position[y, x] = length
                    path[length, 0], path[length, 1] = y, x
                    length += 1
                    continue
            # The path since the last visit of this corner is a ring; at the end, the whole path.
            rows[n_rows, 0], rows[n_rows, 2] = n_corners, ring
            doubled_area = 0
            for i in range(first, length):
                j = i + 1 if i + 1 < length else first
                doubled_area += (
                    np.int64(path[i, 1]) * path[j, 0] - np.int64(path[j, 1]) * path[i, 0]
                )
                result[n_corners, 0], result[n_corners, 1] = path[i, 0] - 1, path[i, 1] - 1
                n_corners += 1
                if last or i > first:
                    position[path[i, 0], path[i, 1]] = -1
            rows[n_rows, 1], rows[n_rows, 3] = n_corners, 1 if doubled_area < 0 else 0
            n_rows += 1
            length = first + 1
    return result, rows[:n_rows]
