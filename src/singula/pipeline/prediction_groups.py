"""Prediction of test images by the processes of a run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from singula.errors import UserError
from singula.io.pairing import Pair
from singula.io.run_folder import View
from singula.pipeline.slice_stack import Loaded
from singula.training.processes import gather_to_main

Maps = dict[str, npt.NDArray[Any]]


@dataclass
class ImagePrediction:
    """Prediction of one image by a process, to be sent to the main process.

    Parameters
    ----------
    maps : dict
        For each view, its maps by name.
    new_views : list of View
        Views whose maps were predicted and are not stored yet.
    per_patch : dict of str to float
        Mean scores of the patches.
    has_new_patch_scores : bool
        True if the scores of the patches were computed and are not stored yet.
    seconds : float
        Duration of the prediction in seconds.
    error : UserError, optional
        Error of the prediction; None if it succeeded.
    loaded : tuple, optional
        Image, ground truth and mask; None outside of the main process.
    """

    maps: dict[View, Maps] = field(default_factory=dict)
    new_views: list[View] = field(default_factory=list)
    per_patch: dict[str, float] = field(default_factory=dict)
    has_new_patch_scores: bool = False
    seconds: float = 0.0
    error: UserError | None = None
    loaded: Loaded | None = None


class PredictionGroups:
    """Prediction of groups of images, in which each process of the run predicts one image.

    Parameters
    ----------
    predict : callable
        Predict an image, from its files and a function that returns its pixels.
    """

    def __init__(
        self, predict: Callable[[Pair, Callable[[], Loaded | None]], ImagePrediction]
    ) -> None:
        self._predict = predict
        self._gathered: deque[ImagePrediction | None] = deque()

    def predict(
        self, pair: Pair | None, read: Callable[[], Loaded | None]
    ) -> ImagePrediction | None:
        """Return the prediction of an image in the main process; elsewhere None.

        Parameters
        ----------
        pair : Pair, optional
            In the main process, each image of a group in turn. In another process, its image of the
            group, or None if the last group has no image for it.
        read : callable
            Return the pixels of the image.
        """
        if not self._gathered:
            local = None if pair is None else self._predict(pair, read)
            self._gathered.extend(gather_to_main(local))
        predicted = self._gathered.popleft() if self._gathered else None
        if predicted is not None and predicted.error is None and predicted.loaded is None:
            predicted.loaded = read()
        return predicted
