"""Overlap of two label images: a sparse table that can be summed over blocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from singula.labels.pair_counts import Pairs
from singula.util.annotated_slices import (
    UNANNOTATED_SLICE,
    annotated_slices,
    is_planar,
    mark_slices,
)
from singula.util.arguments import as_array, items, label_image, of_class, same_shape
from singula.util.sparse_labels import UNANNOTATED

_PIECE = 1 << 16  # pixels that fit into the processor's cache


@dataclass(frozen=True, eq=False)
class Overlap:
    """Numbers of pixels of each pair of a true and a predicted id, including the background.

    Parameters
    ----------
    true, pred : ndarray of unsigned int, shape (pairs,)
        Ids, sorted by the true and then the predicted id; each pair occurs once. If pixels are not
        annotated, `true` is signed and ends with -1. If single slices of a volume are annotated,
        the pixels of the other slices are -2.
    pixels : ndarray of int64, shape (pairs,)
        Number of pixels that have both ids.
    """

    true: np.ndarray
    pred: np.ndarray
    pixels: np.ndarray

    @property
    def is_annotated(self) -> bool:
        """True unless no pixel is annotated."""
        return not self.true.size or bool((self.true >= 0).any())

    def __add__(self, other: Overlap) -> Overlap:
        """Return the overlap of two parts of an image."""
        return sum_overlaps((self, other))


def overlap(truth: np.ndarray, pred: np.ndarray) -> Overlap:
    """Count the pixels of each pair of labels.

    Parameters
    ----------
    truth, pred : ndarray of int
        Label images of the same shape, any number of axes and any integer dtype, 0 the background;
        ids need not be consecutive. Pixels with -1 in `truth` are not annotated.

    Returns
    -------
    Overlap
        Pixels that are not annotated have the true id -1 or -2; see `annotated_part`.

    Raises
    ------
    TypeError, UserError
        Not label images, or label images of different shapes.

    Notes
    -----
    Only the runs of equal pixels are counted, in one piece of the image after the other.
    """
    truth = as_array(truth, "truth")
    if truth.dtype.kind != "i" or truth.min(initial=0) != UNANNOTATED:
        truth = label_image(truth, "truth", ndim=None)
    elif is_planar(truth):
        truth = mark_slices(truth, annotated_slices(truth))
    return overlap_in_block(truth, pred)


def overlap_in_block(truth: np.ndarray, pred: np.ndarray) -> Overlap:
    """Count the pixels of each pair of labels in a block of an image.

    Parameters
    ----------
    truth : ndarray of int
        Label image; -1 is not annotated. If single slices of the whole volume are annotated, the
        pixels of the other slices are -2; see `mark_slices`.
    pred : ndarray of int
        Label image of the same shape.

    Returns
    -------
    Overlap
        The sum over the blocks of an image is the result of `overlap`.

    Raises
    ------
    TypeError, UserError
        Not label images, or label images of different shapes.
    """
    truth = as_array(truth, "truth")
    if truth.dtype.kind != "i" or truth.min(initial=0) not in (UNANNOTATED, UNANNOTATED_SLICE):
        truth = label_image(truth, "truth", ndim=None)
    pred = label_image(pred, "pred", ndim=None)
    same_shape(truth, pred, "truth and pred")
    true_ids, pred_ids = truth.ravel(), pred.ravel()
    pairs = Pairs()
    for start in range(0, truth.size, _PIECE):
        piece = slice(start, start + _PIECE)
        true, pred = true_ids[piece], pred_ids[piece]
        starts = _run_starts(true, pred)
        pairs.add(true[starts], pred[starts], np.diff(starts, append=len(true)))
    return _table(pairs, truth.dtype, pred.dtype)


def annotated_part(table: Overlap) -> Overlap:
    """Return the overlap within the annotated pixels.

    Predicted objects of which at least half of the pixels are not annotated become background,
    because the labels do not show whether they are correct. If single slices of a volume are
    annotated, the pixels in the other slices do not count: an object is as deep as several slices,
    and its cross sections are compared.

    Parameters
    ----------
    table : Overlap
        Overlap of the whole image; returned unchanged if all pixels are annotated.
    """
    annotated, in_slice = table.true >= 0, table.true != UNANNOTATED_SLICE
    if annotated.all():
        return table
    ids, row = np.unique(table.pred, return_inverse=True)
    pixels = np.bincount(row, table.pixels * in_slice, len(ids))
    excluded = np.bincount(row, table.pixels * (table.true == UNANNOTATED), len(ids))
    pred = np.where((2 * excluded >= pixels)[row], 0, table.pred)[annotated]
    true = table.true[annotated].astype(f"u{table.true.dtype.itemsize}")
    return sum_overlaps([Overlap(true, pred, table.pixels[annotated])])


def sum_overlaps(parts: Iterable[Overlap]) -> Overlap:
    """Return the sum of the overlaps of the blocks of an image.

    Parameters
    ----------
    parts : iterable of Overlap
        Overlaps of the blocks; each pixel belongs to one block.

    Raises
    ------
    TypeError
        Not overlaps.
    """
    blocks, pairs = items(parts, "parts", of_class(Overlap)), Pairs()
    for block in blocks:
        pairs.add(block.true, block.pred, block.pixels)
    types = [_common_type([getattr(b, side).dtype for b in blocks]) for side in ("true", "pred")]
    return _table(pairs, *types)


def _common_type(types: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
    """Return the type of the ids of all blocks; it is signed if a block is annotated in part."""
    if any(dtype.kind == "i" for dtype in types):
        types = [np.dtype(f"i{dtype.itemsize}") for dtype in types]
    return np.result_type(*types) if types else np.dtype(np.uint8)


def _run_starts(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    change = np.ones(first.size, bool)
    if first.size:
        np.not_equal(first[1:], first[:-1], out=change[1:])
        change[1:] |= second[1:] != second[:-1]
    return np.flatnonzero(change)


def _table(pairs: Pairs, true_type: np.dtype[Any], pred_type: np.dtype[Any]) -> Overlap:
    true, pred, pixels = pairs.table()
    return Overlap(true.astype(true_type), pred.astype(pred_type), pixels)
