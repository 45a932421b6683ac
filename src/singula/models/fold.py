"""Batch normalisation as part of the convolution before it, for prediction."""

from __future__ import annotations

import copy
from collections import Counter

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """A copy in which convolutions do what the batch normalisation right behind them did.

    In evaluation batch normalisation scales and shifts each channel by fixed numbers, which a
    convolution's weights and bias can hold as well: equal but for rounding, and one pass over the
    features less. Only a normalisation that directly follows a convolution in one `Sequential`
    is folded, and neither may occur elsewhere in the network; all others are left as they are.

    Parameters
    ----------
    network : Module
        In any mode; it is not changed.

    Returns
    -------
    Module
        In evaluation; it cannot be trained on.
    """
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
