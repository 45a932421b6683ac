"""Estimates of objects from their cross sections in annotated slices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from singula.dataset.facts.facts import Objects

_FILLED = 2 / 3  # fraction of a box as deep as an ellipsoid, with its cross section, that it fills
_MIN_DEPTH = 3  # slices of an object that has pixels inside of its contour


def objects_from_sections(sections: Objects, anisotropy: float) -> Objects:
    """Estimate objects from their cross sections, as if each were as deep as wide.

    Only the larger half of the sections is used: of a ball, these have at least 87 % of its
    diameter. The smaller half are mostly the ends of objects.

    Parameters
    ----------
    sections : Objects
        Cross sections in slices, with a depth of 1.
    anisotropy : float
        Voxel size along z relative to the voxel size in the plane.
    """
    if not len(sections):
        return sections
    larger = sections.select(sections.npixels >= np.median(sections.npixels))
    depth = np.maximum(1, np.sqrt(larger.box[:, 1:].prod(axis=1)) / anisotropy)
    slices = np.rint(depth).astype(np.int64)
    # Along z, an object is as long as in the plane, where both axes count the same.
    moments = larger.moments.copy()
    plane = np.linalg.det(moments[:, 1:, 1:] / larger.npixels[:, None, None])
    moments[:, 0, 0] = larger.npixels * np.sqrt(np.maximum(plane, 0)) / anisotropy**2
    npixels = np.maximum(1, larger.npixels * depth * _FILLED).astype(np.int64)
    return replace(
        larger,
        npixels=npixels,
        moments=moments * (npixels / larger.npixels)[:, None, None],
        box=np.hstack([slices[:, None], larger.box[:, 1:]]),
        core=np.where(slices >= _MIN_DEPTH, larger.core, 0),
        radius=np.minimum(larger.radius, (depth + 1) / 2),
    )
