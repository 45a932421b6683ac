"""Description of the loss of a training for a publication."""

from __future__ import annotations

from collections.abc import Callable

from singula.config import Config
from singula.representations.channel_table import CHANNELS
from singula.util.citation import Method

_ERRORS = {
    "l1": "mean absolute error",
    "mse": "mean squared error",
    "huber": "Huber loss",
    "embedding": "Lovász hinge loss of the instances with the variance of their bandwidths and the "
    "error of the seediness",
}


def describe_loss(config: Config, cite: Callable[[Method], str]) -> str:
    """Return the losses of all channels, with the channels of each loss if there are several.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    cite : callable
        Function that returns the name of a method with the numbers of its publications.
    """
    from singula.training.losses import LOSSES

    groups = config.channel_groups
    losses = config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS_LOSSES or (None,) * len(groups)
    codes: dict[str, list[str]] = {}
    for (code, *_), weight, loss in zip(groups, config.channel_weights, losses, strict=True):
        if weight > 0:  # the other channels have no effect on the weights
            channel = CHANNELS[code]
            name = channel.list_code if channel.family else channel.code
            codes.setdefault(loss or channel.loss, []).append(name)
    names = [_ERRORS.get(loss) or cite(LOSSES[config.LOSS.TYPE]) for loss in codes]
    if len(names) > 1:
        names = [f"{name} ({', '.join(c)})" for name, c in zip(names, codes.values(), strict=True)]
    return " and the ".join(names)
