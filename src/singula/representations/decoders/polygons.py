"""Star-convex polygons and polyhedra: candidates, non-maximum suppression and rendering.

Non-maximum suppression and rendering are those of the package ``stardist``. All coordinates are
relative to the whole image or to the center of a polygon, and never to a block, so that rounding
errors do not depend on the division into blocks.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.errors import UserError
from singula.representations.channels.rays import anisotropy
from singula.representations.decoders.offsets import relative_spacing
from singula.representations.decoders.polyhedra import suppress_polyhedra
from singula.representations.families import MIN_RAYS_3D, POLYGON_LIBRARY
from singula.util.boxes import Box, local, shape_of
from singula.util.format import counted, install_command

_SHORTEST = 1e-3  # pixels; the geometry of shorter rays is degenerate
_STEPS = (
    1 << 16
)  # coordinates are multiples of 1/_STEPS pixels, which double precision adds exactly


@dataclass(frozen=True)
class Polygons:
    """Star-convex polygons or polyhedra.

    Parameters
    ----------
    points : ndarray of int64, shape (count, ndim)
        Pixels from which the rays start, in the coordinates of the image.
    scores : ndarray of float32, shape (count,)
        Probability of each polygon.
    distances : ndarray of float32, shape (count, rays)
        Lengths of the rays, in pixels.
    """

    points: NDArray[np.int64]
    scores: NDArray[np.float32]
    distances: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.points)

    def select(self, rows: NDArray[Any]) -> Polygons:
        """Return some of the polygons, by a mask or by their positions."""
        return Polygons(self.points[rows], self.scores[rows], self.distances[rows])


def join_polygons(parts: Iterable[Polygons], ndim: int, rays: int) -> Polygons:
    """Return the polygons of all parts.

    Parameters
    ----------
    parts : iterable of Polygons
    ndim, rays : int
        Number of axes and of rays, for an empty result.
    """
    empty = Polygons(
        np.zeros((0, ndim), np.int64), np.zeros(0, np.float32), np.zeros((0, rays), np.float32)
    )
    columns = zip(*((p.points, p.scores, p.distances) for p in (empty, *parts)), strict=True)
    return Polygons(*(np.concatenate(column) for column in columns))


def find_candidates(
    probability: NDArray[Any],
    rays: Sequence[NDArray[Any]],
    min_probability: float,
    box: Box | None = None,
    max_length: float = np.inf,
    *,
    prefer_central: bool = False,
) -> Polygons:
    """Return the polygons of all pixels with a probability above a threshold.

    Parameters
    ----------
    probability : ndarray of float, (y, x) or (z, y, x)
        Probability, or another score, of the polygon of each pixel.
    rays : sequence of ndarray of float
        Distance to the border along each ray, in pixels; the shape of `probability`.
    min_probability : float
        Pixels above this are candidates.
    box : Box, optional
        Position of the maps in the image; at the origin by default.
    max_length : float
        Longer rays are shortened to this length, in pixels.
    prefer_central : bool
        Multiply the scores by the shortest ray, for a probability that is as high at the border of
        an instance as in its center.
    """
    position = np.flatnonzero(probability > min_probability)
    points = np.stack(np.unravel_index(position, probability.shape), axis=1).astype(np.int64)
    if box is not None:
        points += [part.start for part in box]
    scores = probability.ravel()[position].astype(np.float32)
    distances = np.empty((len(position), len(rays)), np.float32)
    for ray, values in enumerate(rays):
        distances[:, ray] = values.ravel()[position]
    np.clip(distances, _SHORTEST, max(_SHORTEST, max_length), out=distances)
    if prefer_central:
        scores *= distances.min(axis=1)
    return Polygons(points, scores, distances)


def thin_candidates(
    candidates: Polygons, shape: Sequence[int], spacing: Sequence[float] | None = None
) -> Polygons:
    """Return the best one of similar candidates that start near each other.

    Candidates are similar if the mean lengths of their rays have the same power of 2, which is also
    the side of the cells of pixels in which the best one remains. The number of candidates of
    an object therefore does not depend on its size in pixels. Cells do not depend on the division
    of an image: candidates that are thinned in parts, joined and thinned again are the same.

    Parameters
    ----------
    candidates : Polygons
        Polygons in any order, each with another point.
    shape : sequence of int
        Shape of the image, in pixels.
    spacing : sequence of float, optional
        Voxel size per axis. Cells have fewer pixels along axes with larger voxels.
    """
    if not len(candidates):
        return candidates
    levels = np.frexp(np.maximum(_mean_length(candidates.distances), 1))[1] - 1
    coarser = np.frexp(relative_spacing(spacing, len(shape)))[1] - 1
    shifts = np.maximum(levels[:, None] - coarser, 0)
    firsts = candidates.points >> shifts << shifts
    cells = np.ravel_multi_index(tuple(firsts.T), tuple(shape))
    position = np.ravel_multi_index(tuple(candidates.points.T), tuple(shape))
    order = np.lexsort((position, -candidates.scores, cells, levels))
    is_first = np.diff(cells[order], prepend=-1) != 0
    is_first |= np.diff(levels[order], prepend=-1) != 0
    return candidates.select(np.sort(order[is_first]))


def _mean_length(distances: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean length of the rays of each polygon, the same in any set of polygons."""
    total = np.zeros(len(distances), np.float32)
    for column in distances.T:
        total += column
    return total / np.float32(max(1, distances.shape[1]))


def suppress_overlaps(
    candidates: Polygons,
    shape: Sequence[int],
    max_overlap: float,
    spacing: Sequence[float] | None = None,
) -> Polygons:
    """Remove each polygon that overlaps with a remaining one of higher probability.

    Parameters
    ----------
    candidates : Polygons
        Polygons in any order, each with another point.
    shape : sequence of int
        Shape of the image, in pixels.
    max_overlap : float
        Largest allowed overlap of two polygons, as a fraction of the smaller one.
    spacing : sequence of float, optional
        Voxel size per axis, for the directions of the rays of polyhedra.

    Returns
    -------
    Polygons
        Remaining polygons in the order of their probability; of equal ones, in raster order.

    Raises
    ------
    UserError
        ``decode.library_missing``: the package ``stardist`` is not installed.
    """
    position = np.ravel_multi_index(tuple(candidates.points.T), tuple(shape))
    ordered = candidates.select(np.lexsort((position, -candidates.scores)))
    if not len(ordered):
        return ordered
    if len(shape) == 2:
        survivors = _library().nms.non_maximum_suppression_inds(
            ordered.distances,
            ordered.points.astype(np.float32),
            scores=None,
            thresh=float(max_overlap),
            verbose=False,
        )
    else:
        directions = _directions(ordered.distances.shape[1], spacing)
        survivors = suppress_polyhedra(
            ordered.points, ordered.distances, directions.vertices, directions.faces, max_overlap
        )
    return ordered.select(np.asarray(survivors, bool))


def draw_polygons(
    polygons: Polygons, box: Box, spacing: Sequence[float] | None = None
) -> NDArray[np.int32]:
    """Return the labels of a box of the image.

    Parameters
    ----------
    polygons : Polygons
        Result of `suppress_overlaps`. The label of a polygon is its position plus 1; the first of
        overlapping polygons is on top.
    box : Box
        Box of the image.
    spacing : sequence of float, optional
        Voxel size per axis, for the directions of the rays of polyhedra.

    Raises
    ------
    UserError
        ``decode.library_missing``: the package ``stardist`` is not installed.
    """
    geometry = _library().geometry
    start = np.array([part.start for part in box])
    stop = np.array([part.stop for part in box])
    reach = polygons.distances.max(axis=1, initial=0)[:, None] + 1
    near = (polygons.points + reach >= start) & (polygons.points - reach < stop)
    visible = np.flatnonzero(near.all(axis=1))[::-1]  # the last one is drawn first
    if len(box) == 2:
        part = polygons.select(visible)
        offsets = geometry.dist_to_coord(part.distances, np.zeros_like(part.points))
        exact = np.round(offsets.astype(np.float64) * _STEPS) / _STEPS
        corners = exact + (part.points - start)[..., None]
        labels: NDArray[np.int32] = geometry.polygons_to_label_coord(
            corners, shape_of(box), visible
        )
        return labels
    directions = _directions(polygons.distances.shape[1], spacing)
    labels = np.zeros(shape_of(box), np.int32)
    for row in visible:
        _draw_polyhedron(geometry, polygons, int(row), directions, box, labels)
    return labels


def _draw_polyhedron(
    geometry: Any, polygons: Polygons, row: int, directions: Any, box: Box, labels: NDArray[Any]
) -> None:
    """Draw a polyhedron in a frame around its center, and copy the frame to the labels."""
    point, distances = polygons.points[row], polygons.distances[row]
    sides = np.abs(distances[:, None] * directions.vertices).max(axis=0)
    margin = np.ceil(sides).astype(np.int64) + 1
    first = [max(part.start, p - m) for part, p, m in zip(box, point, margin, strict=True)]
    last = [min(part.stop, p + m + 1) for part, p, m in zip(box, point, margin, strict=True)]
    if any(a >= b for a, b in zip(first, last, strict=True)):
        return
    shape = tuple(int(b - (p - m)) for b, p, m in zip(last, point, margin, strict=True))
    frame = geometry.polyhedron_to_label(
        distances[None], margin[None], directions, shape, verbose=False
    )
    window = tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    origin = tuple(slice(int(p - m), int(b)) for p, m, b in zip(point, margin, last, strict=True))
    labels[local(window, box)][frame[local(window, origin)] > 0] = row + 1


def _directions(count: int, spacing: Sequence[float] | None) -> Any:
    """Return the rays of a polyhedron with its faces, as an object of the package."""
    if count < MIN_RAYS_3D:
        raise UserError(
            f"DATA_CHANNELS: got {counted(count, 'ray')}, expected at least {MIN_RAYS_3D} in 3D",
            f"train with at least {MIN_RAYS_3D} rays, such as R96",
            "decode.few_rays",
        )
    return _library().rays3d.Rays_GoldenSpiral(count, anisotropy=anisotropy(spacing))


def _library() -> Any:
    """Import the package ``stardist``, which needs seconds, without its format of warnings."""
    usual = warnings.formatwarning
    try:
        import stardist
        import stardist.geometry
        import stardist.nms
        import stardist.rays3d
    except ImportError as error:
        raise UserError(
            f"DATA_CHANNELS: R needs the package {POLYGON_LIBRARY}, which is not installed",
            install_command(POLYGON_LIBRARY),
            "decode.library_missing",
        ) from error
    finally:
        warnings.formatwarning = usual
    return stardist


def as_columns(polygons: Polygons) -> dict[str, NDArray[Any]]:
    """Return the fields of polygons by name."""
    return {
        "points": polygons.points,
        "scores": polygons.scores,
        "distances": polygons.distances,
    }


def from_columns(columns: Mapping[str, NDArray[Any]]) -> Polygons:
    """Return polygons from their fields by name."""
    return Polygons(columns["points"], columns["scores"], columns["distances"])
