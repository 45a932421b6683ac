"""Network that returns maps, for programs that run networks of Singula themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from singula.models import ModelSettings, build_model
from singula.training.losses import activate


class MapNetwork(nn.Module):
    """Network with the activations of its outputs.

    Parameters
    ----------
    network : Module
        Network that returns logits.
    activations : sequence of str
        Activation of each channel, as for `singula.training.losses.activate`.
    n_classes : int
        Classes after the channels; 0 for none.
    """

    def __init__(self, network: nn.Module, activations: Sequence[str], n_classes: int = 0) -> None:
        super().__init__()
        self.network = network
        self.activations, self.n_classes = tuple(activations), n_classes

    def forward(self, batch: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Compute the maps (N, channels, …) of normalized images (N, C, …).

        With classes, a second tensor has the probability of each class (N, classes, …).
        """
        logits = self.network(batch)
        planes = [
            activate(logits[:, index : index + 1], activation)
            for index, activation in enumerate(self.activations)
        ]
        maps = torch.cat(planes, dim=1)
        if not self.n_classes:
            return maps
        return maps, logits[:, len(self.activations) :].softmax(1)


def map_network(model: Mapping[str, Any], activations: Sequence[str]) -> MapNetwork:
    """Build a network with random weights for the weights of a model package.

    bioimageio.core calls this function, because the description of a model package names it.

    Parameters
    ----------
    model : mapping
        Settings of the network, from `ModelSettings.to_dict`.
    activations : sequence of str
        Activation of each channel.

    Raises
    ------
    TypeError, UserError
        As for `build_model`.
    """
    settings = ModelSettings.from_dict(dict(model))
    return MapNetwork(build_model(settings), activations, settings.n_classes)
