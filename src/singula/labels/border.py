"""Removal of the instances that touch the image border."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from singula.labels.block_table import Block, Table
from singula.labels.index import remove
from singula.util.arguments import label_image


@dataclass(frozen=True, eq=False)
class Ids(Table):
    """Ids of instances.

    Parameters
    ----------
    ids : ndarray of int64, shape (n,)
        Ids in ascending order, without the background.
    """

    ids: np.ndarray


def clear_border(labels: np.ndarray) -> np.ndarray:
    """Remove the instances that touch the image border.

    Parameters
    ----------
    labels : ndarray of int
        (y, x) or (z, y, x), 0 the background. In a volume the first and the last slice are border.

    Returns
    -------
    ndarray
        A new array of the same dtype; the other instances keep their ids.

    Raises
    ------
    TypeError, UserError
        Not a label image.

    Notes
    -----
    Equivalent to `skimage.segmentation.clear_border`, except that an instance with several
    connected components is removed completely.
    """
    return remove(labels, border_ids(labels).ids)


def border_ids(labels: np.ndarray, block: Block | None = None) -> Ids:
    """Return the ids of the instances that touch the image border in a block.

    Parameters
    ----------
    labels : ndarray of int
        (y, x) or (z, y, x), 0 the background.
    block : Block, optional
        Position of `labels` in the image; by default, the whole image. No halo is needed.

    Returns
    -------
    Ids
        `Ids.merge` of the tables of all blocks gives the ids that `clear_border` removes.

    Raises
    ------
    TypeError, UserError
        Not a label image, or not its block.
    """
    checked = label_image(labels)
    block = Block.of(block, checked)
    core = checked[block.box(checked)]
    faces = [np.zeros(0, np.int64)]
    for axis, ends in enumerate(zip(block.at_start, block.at_stop, strict=True)):
        if core.shape[axis]:
            faces += [core.take(end, axis).ravel() for end in (0, -1) if ends[end]]
    ids = np.unique(np.concatenate([np.unique(face).astype(np.int64) for face in faces]))
    return Ids(ids[ids > 0])
