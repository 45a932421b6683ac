"""Mean of the maps of several models, of whole images and of blocks."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.prediction.blocks import BlockPredictor, ConstantKey
from singula.prediction.predict import class_dtype
from singula.util.boxes import Box

Maps = dict[str, npt.NDArray[Any]]
CLASSES = "class"
"""Name of the map of the classes."""


def mean_maps(members: Iterable[Callable[[], Mapping[str, npt.NDArray[Any]]]]) -> Maps:
    """Return the mean of the maps of several models, of which one is in memory at a time.

    Parameters
    ----------
    members : iterable of callable
        For each model, a function that returns its maps of the same pixels: probabilities and
        distances after the activation, and the probabilities of the classes along the last axis of
        ``class``.

    Returns
    -------
    dict of str to ndarray
        Means with the data type of the maps, and the most probable class.
    """
    sums, dtypes, count = Maps(), dict[str, np.dtype[Any]](), 0
    for predict in members:
        for name, values in predict().items():
            if name in sums:
                sums[name] += values
            else:
                sums[name], dtypes[name] = values.astype(np.float32), values.dtype
        count += 1
    return {
        name: _most_probable(total) if name == CLASSES else _mean(total, count, dtypes[name])
        for name, total in sums.items()
    }


def _mean(total: npt.NDArray[Any], count: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    total /= count
    return total.astype(dtype, copy=False)


def _most_probable(total: npt.NDArray[Any]) -> npt.NDArray[Any]:
    classes: npt.NDArray[Any] = total.argmax(-1).astype(class_dtype(total.shape[-1]))
    return classes


class EnsembleBlockPredictor:
    """Predict the blocks of one image with several models, and return the mean of their maps.

    Parameters
    ----------
    members : sequence of BlockPredictor
        One predictor per model, with `PredictSettings.class_probabilities`.
    """

    def __init__(self, members: Sequence[BlockPredictor]) -> None:
        self.members = tuple(members)

    def __call__(self, core: Box) -> Maps:
        """Return maps by name, each with the shape of the block."""
        maps, _ = self.predict(core)
        if maps is None:
            raise RuntimeError("the maps of a block are not known")
        return maps

    def predict(
        self, core: Box, known: Container[ConstantKey] = ()
    ) -> tuple[Maps | None, ConstantKey | None]:
        """Return the maps of a block, and a key as described in `BlockPredictor.predict`.

        Parameters
        ----------
        core : Box
            The block.
        known : container of ConstantKey
            Keys of the blocks whose maps are not needed again.
        """
        keys: list[ConstantKey | None] = []

        def predict(member: BlockPredictor) -> Maps:
            maps, key = member.predict(core)
            if maps is None:
                raise RuntimeError("the maps of a block are not known")
            keys.append(key)
            return dict(maps)

        maps = mean_maps(partial(predict, member) for member in self.members)
        constant = [key for key in keys if key is not None]
        if len(constant) < len(keys):
            return maps, None
        # The pooling grids of the models may differ; equal maps need equal positions in all grids.
        combined = constant[0][0], tuple(place for key in constant for place in key[1])
        return (None if combined in known else maps), combined
