"""Small label images in random blocks, whose merged tables must equal those of the image."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, label

from singula.labels.block_table import Block

Cut = tuple[Block, tuple[slice, ...]]


def blocks(shape: Sequence[int], cell: Sequence[int], halo: Sequence[int]) -> list[Cut]:
    """Yield every cell of a grid with its halo, and the part of the image that it reads."""
    cuts = []
    for corner in itertools.product(*(range(0, n, c) for n, c in zip(shape, cell, strict=True))):
        stop = np.minimum(np.add(corner, cell), shape)
        low = np.maximum(np.subtract(corner, halo), 0)
        high = np.minimum(stop + halo, shape)
        core = tuple(map(slice, np.subtract(corner, low).tolist(), (stop - low).tolist()))
        place = Block(core, tuple(low.tolist()), tuple(shape))
        cuts.append((place, tuple(map(slice, low.tolist(), high.tolist()))))
    return cuts


@st.composite
def label_images(draw, ndim: int | None = None) -> np.ndarray:
    """Draw touching cells, noise or empty images, with any ids."""
    ndim = ndim or draw(st.integers(2, 3))
    most = 14 if ndim == 2 else 8
    shape = draw(st.lists(st.integers(1, most), min_size=ndim, max_size=ndim))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(("cells", "noise", "dust", "rooms", "nothing")))
    if kind == "cells":
        fields = rng.standard_normal((4, *shape))
        smooth = gaussian_filter(fields, (0, *[draw(st.floats(0.5, 3))] * ndim))
        labels = label(smooth.argmax(0))[0]
    elif kind == "noise":
        labels = rng.integers(0, 5, shape) * (rng.random(shape) < draw(st.floats(0.2, 1)))
    elif kind == "dust":
        labels = np.arange(1, np.prod(shape) + 1).reshape(shape) * (rng.random(shape) < 0.1)
    elif kind == "rooms":  # walls with gaps in them: holes that wind through many blocks
        labels = rng.integers(1, 3, shape) * (rng.random(shape) < 0.55)
    else:
        labels = np.zeros(shape, np.int64)
    far = draw(st.booleans())
    ids = np.zeros(labels.max() + 1, np.uint32)
    pool = 2**32 if far else 2 * len(ids)
    ids[1:] = 1 + rng.choice(pool - 1, len(ids) - 1, replace=False)
    if far and len(ids) > 1:
        ids[1 + np.argmax(ids[1:])] = 2**32 - 1
    return ids[labels].astype(draw(st.sampled_from((np.uint32, np.uint64, np.int64))))


@st.composite
def cuts(draw, image: np.ndarray, halo: int = 0, after: int | None = None) -> list[Cut]:
    """Draw blocks of an image in any grid, with at least the given halo."""
    cell = [draw(st.integers(1, n + 1)) for n in image.shape]
    return blocks(image.shape, cell, [draw(st.integers(halo, halo + 3)) for _ in image.shape])


@st.composite
def merged(draw, merge: Callable, parts: Sequence):
    """Draw tables merged in any order and tree, and merged at once (last element)."""
    left = draw(st.permutations(list(parts)))
    while len(left) > 1:
        count = draw(st.integers(2, len(left)))
        left = [*left[count:], merge(left[:count])]
    return left[0]


steps = st.lists(st.sampled_from((0.1, 0.3, 0.5, 1.0, 2.5, 7.0)), min_size=3, max_size=3)
