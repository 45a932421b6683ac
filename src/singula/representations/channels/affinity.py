"""Affinities: binary channels of pairs of pixels at an offset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.errors import UserError
from singula.representations.channel import Channel
from singula.representations.channels.source import Source
from singula.representations.families import DEFAULT_OFFSETS, format_offsets
from singula.util.boxes import pair_boxes
from singula.util.sparse_labels import UNANNOTATED


def encode_affinity(source: Source, channel: Channel) -> NDArray[np.int8]:
    """Return the affinity at the offset of a channel; see `affinity`."""
    return affinity(source.labels, channel.offset)


def affinity(labels: NDArray[np.integer[Any]], offset: Sequence[int]) -> NDArray[np.int8]:
    """Return 1 where a pixel and the one at an offset belong to the same instance, 0 elsewhere.

    Two pixels of the background do not belong together: their affinity is 0. Pixels whose partner
    is outside of the image have no target and are -1.

    Parameters
    ----------
    labels : ndarray of int, (y, x) or (z, y, x)
        Instance ids; 0 is background.
    offset : sequence of int
        Step from a pixel to its partner along each axis.

    Raises
    ------
    UserError
        ``channels.offset``: the offset has another number of axes.
    """
    if len(offset) != labels.ndim:
        example = format_offsets(DEFAULT_OFFSETS[labels.ndim][:2])
        raise UserError(
            f"channels: got the offset {tuple(offset)} for an image of {labels.ndim} axes",
            f"use offsets of {labels.ndim} integers, such as A{example}",
            "channels.offset",
        )
    result = np.full(labels.shape, UNANNOTATED, np.int8)
    first, second = pair_boxes(labels.shape, offset)
    one, other = labels[first], labels[second]
    result[first] = (one == other) & (one > 0)
    return result
