"""Model from which a training starts, as part of a proposed configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from singula.autoconfig.setting import Choice
from singula.dataset.facts import Survey


@dataclass(frozen=True)
class Start:
    """Choices that follow from the model from which a training starts.

    Parameters
    ----------
    channels : str, optional
        Channels of the model; None if the training starts from random weights.
    choices : tuple of Choice
        Keys that replace those chosen from the data.
    """

    channels: str | None
    choices: tuple[Choice, ...]


FindStart = Callable[[Survey], Start]
"""Function that compares a data set with a model."""
