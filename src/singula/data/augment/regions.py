"""Augmentations that remove parts of a patch or replace them by parts of another one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.data.augment.change import (
    Augmentation,
    DrawPatch,
    FloatArray,
    ImageAugmentation,
    Patch,
    Range,
    Sizes,
    as_slices,
    black,
    draw_box,
    draw_count,
)
from singula.util.sparse_labels import UNANNOTATED, is_sparse

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Cutout(Augmentation):
    """Cutout: fill boxes with a constant (DeVries and Taylor, 2017).

    Parameters
    ----------
    count : (int, int)
        Number of boxes.
    size : (float, float)
        Side of a box as a fraction of each axis.
    value : float
        Constant in normalized units.
    labels_too : bool
        Also set the boxes to background in the labels.
    """

    count: Sizes
    size: Range
    value: float = 0.0
    labels_too: bool = False

    def apply(self, patch: Patch, rng: np.random.Generator, draw_other: DrawPatch) -> Patch:
        """Return the augmented patch."""
        image, labels = patch.image.copy(), patch.labels
        if self.labels_too:
            labels = labels.copy()
        for _ in range(draw_count(self.count, rng)):
            box = draw_box(image.shape[:-1], self.size, rng)
            image[box] = self.value
            if self.labels_too:
                ids = labels[patch.place][box]
                ids[ids > 0] = 0  # a pixel that is not annotated stays -1
        return replace(patch, image=image, labels=labels)


@dataclass(frozen=True)
class CutMix(Augmentation):
    """CutMix: replace a box by that of another training patch (Yun et al., 2019).

    The ids of the box are renumbered above those of the patch, with a wider type if necessary. The
    result has a signed type if pixels are not annotated (-1).
    `size` is the side of the box as a fraction of each axis.
    """

    size: Range

    def apply(self, patch: Patch, rng: np.random.Generator, draw_other: DrawPatch) -> Patch:
        """Return the augmented patch."""
        box = draw_box(patch.image.shape[:-1], self.size, rng)
        other = draw_other()
        image = patch.image.copy()
        image[box] = other.image[box]
        taken = other.labels[other.place][box]
        return replace(patch, image=image, labels=_join(patch, taken, box))


def _join(patch: Patch, taken: npt.NDArray[Any], box: tuple[slice, ...]) -> npt.NDArray[Any]:
    """Return labels with those of another patch in a box, whose ids follow the largest one."""
    labels = patch.labels
    ids, ranks = np.unique(taken[..., 0], return_inverse=True)
    max_id = int(labels[..., 0].max())
    following = np.zeros(ids.size, np.uint64)
    new = ids > 0
    following[new] = np.arange(max_id + 1, max_id + 1 + int(new.sum()), dtype=np.uint64)
    highest = int(following.max(initial=0))
    fits = highest <= np.iinfo(labels.dtype).max
    dtype = labels.dtype if fits else np.min_scalar_type(highest)
    if is_sparse(labels[..., 0]) or is_sparse(ids):  # needs a signed type; ids are below 2**63
        dtype = np.dtype(np.int64) if dtype.itemsize == 8 else np.result_type(dtype, np.int8)
    result: npt.NDArray[Any] = labels.astype(dtype)
    inside = result[patch.place]  # a view
    inside[box] = taken
    renumbered = following.astype(dtype)
    if is_sparse(ids):
        renumbered[ids == UNANNOTATED] = UNANNOTATED
    inside[..., 0][box] = renumbered[ranks].reshape(taken.shape[:-1])
    return result


@dataclass(frozen=True)
class GridMask(ImageAugmentation):
    """GridMask: black squares on a grid, the same in all slices (Chen et al., 2020).

    Parameters
    ----------
    keep : float
        Fraction of the area that does not change.
    cell : (float, float)
        Side of a cell of the grid as a fraction of the shorter side of the patch.
    turn : float
        Largest rotation of the grid; 1 means 360 degrees.
    invert : bool
        Invert the grid.
    """

    keep: float
    cell: Range
    turn: float = 1.0
    invert: bool = False

    def change(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return the augmented image (spatial…, c)."""
        plane = image.shape[-3:-1]
        cell = max(2.0, float(rng.uniform(*self.cell)) * min(plane))
        angle = float(rng.uniform(0, self.turn)) * 2 * np.pi
        lost = grid_of_squares(plane, cell, self.keep, angle, rng.random(2))
        if self.invert:
            lost = ~lost
        return np.where(lost[..., None], black(image), image)


def grid_of_squares(
    plane: tuple[int, ...], cell: float, keep: float, angle: float, phase: npt.NDArray[np.float64]
) -> Mask:
    """Return a mask (y, x) of squares, one per cell, that cover the fraction ``1 - keep``."""
    y = np.arange(plane[0], dtype=np.float32)[:, None]
    x = np.arange(plane[1], dtype=np.float32)
    side = np.sqrt(1 - keep)
    cosine, sine = np.float32(np.cos(angle) / cell), np.float32(np.sin(angle) / cell)
    across = cosine * y - sine * x + np.float32(phase[0])
    along = sine * y + cosine * x + np.float32(phase[1])
    mask: Mask = (across - np.floor(across) < side) & (along - np.floor(along) < side)
    return mask


@dataclass(frozen=True)
class MissingSections(ImageAugmentation):
    """Missing sections: a black straight band in some slices, at most a quarter of them.

    `widening` is half the width of the band in pixels. A 2D image counts as one slice.
    """

    widening: Sizes

    def change(self, image: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return the augmented image (spatial…, c)."""
        result = image.copy()
        slices = as_slices(result)
        count = int(rng.integers(1, max(1, len(slices) // 4) + 1))
        for z in rng.choice(len(slices), count, replace=False):
            place = rng.random(2) * (np.array(slices.shape[1:3]) - 1)
            angle = float(rng.uniform(0, np.pi))
            band = straight_band(slices.shape[1:3], place, angle, draw_count(self.widening, rng))
            slices[z][band] = black(image)
        return result


def straight_band(
    plane: tuple[int, ...], place: npt.NDArray[np.float64], angle: float, widening: int
) -> Mask:
    """Return a mask (y, x) of the pixels within `widening` of a line through `place`."""
    y = np.arange(plane[0])[:, None] - place[0]
    x = np.arange(plane[1]) - place[1]
    mask: Mask = np.abs(np.cos(angle) * y - np.sin(angle) * x) <= widening + 0.5
    return mask
