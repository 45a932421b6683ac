"""Weights and images that are computed from names, so that no file has to store them."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def weights(shapes: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    """Return an array for each name; those of batch normalization are not trivial."""
    means = {name.rpartition(".")[0] for name in shapes if name.endswith("running_mean")}
    vectors = {name.rpartition(".")[0] for name, shape in shapes.items() if len(shape) > 1}
    return {
        name: _array(name, tuple(shape), name.rpartition(".")[0] in means or
                     name.rpartition(".")[0] not in vectors)
        for name, shape in shapes.items()
    }  # fmt: skip


def _array(name: str, shape: tuple[int, ...], is_norm: bool) -> np.ndarray:
    random = np.random.RandomState(zlib.crc32(name.encode()))
    kind = name.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return np.array(7)
    values = random.standard_normal(shape)
    if kind == "running_var":
        values = np.exp(0.4 * values)
    elif kind == "weight" and is_norm:
        values = 1 + 0.3 * values
    elif len(shape) > 1:
        values *= 1.2 / math.sqrt(max(1, math.prod(shape[1:])))
    else:
        values *= 0.3
    return values.astype(np.float32)


def image(shape: Sequence[int]) -> np.ndarray:
    """Return an image (1, channels, [z,] y, x) in [0, 1]."""
    random = np.random.RandomState(len(shape))
    return random.uniform(size=tuple(shape)).astype(np.float32)


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a nested dict of dotted keys."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return tree
