"""Confidence of the instances that a configured network predicts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from singula.config import Config
from singula.measure.confidence import confidence
from singula.pipeline import from_config


def predicted_confidence(
    config: Config, labels: NDArray[np.integer], maps: Mapping[str, NDArray[np.floating]]
) -> dict[int, float]:
    """Return the confidence of each instance, with the settings of the training labels.

    The network learned the channels of the training labels, so other images use their settings.

    Parameters
    ----------
    config : Config
        Configuration of the training.
    labels : ndarray of int, (y, x) or (z, y, x)
        Label image; 0 is the background.
    maps : mapping of str to ndarray
        Predicted maps by channel, with the shape of `labels`.

    Raises
    ------
    TypeError, UserError
        As for `singula.measure.confidence.confidence`.
    """
    return confidence(labels, maps, from_config.encode_settings(config, "TRAIN"))
