"""Instances that the image border cuts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from singula.arguments import label_image
from singula.postprocess.labels import remove
from singula.postprocess.parts import Block, Table


@dataclass(frozen=True, eq=False)
class Ids(Table):
    """Ids that were met, ascending, without the background.

    Parameters
    ----------
    ids : ndarray of int64
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
    As `skimage.segmentation.clear_border`, except that an instance in several pieces goes as a
    whole.
    """
    return remove(labels, border_ids(labels).ids)


def border_ids(labels: np.ndarray, block: Block | None = None) -> Ids:
    """Ids on the part of the image border where a block lies; merged, all that are to go.

    Parameters
    ----------
    labels : ndarray of int
    block : Block, optional
        Where they lie; the whole image by default. No halo is needed.

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
    met = np.unique(np.concatenate([np.unique(face).astype(np.int64) for face in faces]))
    return Ids(met[met > 0])
