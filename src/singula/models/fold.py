"""Merge batch normalization into the convolution before it, for prediction."""

from __future__ import annotations

import copy
from collections import Counter

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from singula.util.arguments import instance

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Return a copy whose convolutions include the batch normalization that follows them.

    In evaluation mode, batch normalization scales and shifts each channel by constants, which the
    weights and the bias of a convolution can include. The result is equal up to rounding and saves
    one pass over the features. Only a normalization directly after a convolution in the same
    `Sequential` is merged, if neither occurs elsewhere in the network; others do not change.

    Parameters
    ----------
    network : Module
        A network in any mode; it does not change.

    Returns
    -------
    Module
        In evaluation mode; it cannot be trained.

    Raises
    ------
    TypeError
        Not a network.
    """
    network = instance(network, "network", nn.Module)
    result = copy.deepcopy(network).eval()
    uses = Counter(
        id(child)
        for module in result.modules()
        for child in module._modules.values()
        if child is not None
    )
    for module in list(result.modules()):
        if type(module) is not nn.Sequential:
            continue
        for index in range(len(module) - 1):
            conv, norm = module[index], module[index + 1]
            if (
                isinstance(conv, _CONVOLUTIONS)
                and isinstance(norm, _NORMS)
                and uses[id(conv)] == uses[id(norm)] == 1
                and norm.track_running_stats
            ):
                module[index] = fuse_conv_bn_eval(conv, norm)
                module[index + 1] = nn.Identity()
    return result
