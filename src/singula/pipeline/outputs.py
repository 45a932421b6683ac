"""Outputs of the network: channel, loss and activation, from the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from singula.config import Config
from singula.representations.channel import Channel
from singula.representations.channel_options import default_options
from singula.representations.channel_table import CHANNELS
from singula.representations.channels import parse_channels

if TYPE_CHECKING:
    from singula.training.losses import Output


def channel_names(config: Config) -> tuple[str, ...]:
    """Return the names of the channels, in the order of the outputs of the network."""
    return parse_channels(config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS)


def outputs(config: Config) -> tuple[Output, ...]:
    """Return the loss, activation and weight of each output channel of the network."""
    from singula.training.losses import Output

    groups = config.channel_groups
    losses = config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS_LOSSES or (None,) * len(groups)
    return tuple(
        Output(
            name,
            loss or CHANNELS[name].loss,
            _activation(config, CHANNELS[name], loss),
            weight,
            foreground_only=_is_masked(config, CHANNELS[name]),
            component=CHANNELS[name].component,
            length=CHANNELS[name].length,
            offset=CHANNELS[name].offset,
            group=CHANNELS[name].family,
            is_ray=CHANNELS[name].is_ray,
        )
        for group, weight, loss in zip(groups, config.channel_weights, losses, strict=True)
        for name in group
    )


def _activation(config: Config, channel: Channel, loss: str | None) -> str:
    """Return the activation of a channel; cross entropy needs probabilities."""
    if loss == "bce":
        return "sigmoid"
    options = {
        **default_options(channel.code),
        **config.channel_options.get(channel.options_code, {}),
    }
    if not options.get("norm", True):
        return "linear"  # the others are bounded
    return str(options.get("activation", channel.activation))


def _is_masked(config: Config, channel: Channel) -> bool:
    """Return True if a channel is learned only inside of instances.

    A channel that alone states where instances are is also learned in the background.
    """
    if not channel.foreground_only:
        return False
    options = config.channel_options.get(channel.options_code, {})
    masked = options.get("mask_values", config.PROBLEM.INSTANCE_SEG.DISTANCE_CHANNEL_MASK)
    covers_alone = config.decoder.covering == {channel.code}
    return bool(masked) and not covers_alone
