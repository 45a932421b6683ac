"""ConvNeXt blocks for a U-Net.

Liu et al., "A ConvNet for the 2020s", CVPR 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from singula.models.blocks import CONV, Block, BlockSpec, LayerStyle

KERNEL = 7
_UNITS = 2
_WIDER = 4
# The published value is 1e-6, for networks with up to 36 units. Touvron et al., "Going deeper with
# Image Transformers" (ICCV 2021), recommend 0.1 for up to 18 units, as in a U-Net of five levels.
_LAYER_SCALE = 0.1


class ChannelNorm(nn.LayerNorm):
    """Layer normalization over the channels of each pixel."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, …) → the same shape."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class StochasticDepth(nn.Module):
    """Stochastic depth: skip a branch for random images of a batch (Huang et al., ECCV 2016)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """(N, …) → the same shape; each image of N is set to zero or scaled up."""
        if not self.training or self.probability == 0:
            return x
        keep = 1 - self.probability
        mask = torch.rand((len(x),) + (1,) * (x.ndim - 1), device=x.device) < keep
        return x * mask / max(keep, 1e-6)


class ConvNeXtUnit(nn.Module):
    """Depthwise convolution of width 7, layer norm, and two dense layers, added to the input.

    The hidden layer has four times the width. The result is scaled per channel before the addition.

    Parameters
    ----------
    ndim : {2, 3}
    width : int
    drop : float
        Probability of `StochasticDepth`.
    """

    def __init__(self, ndim: int, width: int, drop: float) -> None:
        super().__init__()
        self.spread = CONV[ndim](width, width, KERNEL, padding=KERNEL // 2, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.dense = nn.Sequential(
            nn.Linear(width, _WIDER * width), nn.GELU(), nn.Linear(_WIDER * width, width)
        )
        self.scale = nn.Parameter(torch.full((width,), _LAYER_SCALE))
        self.drop = StochasticDepth(drop)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, …) → the same shape."""
        branch = self.dense(self.norm(self.spread(x).movedim(1, -1))) * self.scale
        added: Tensor = x + self.drop(branch.movedim(-1, 1))
        return added


class ConvNeXtBlock(Block):
    """A layer that changes width and grid, followed by two units.

    In the first level, the layer is a convolution with the kernel of the style. Elsewhere it is a
    layer norm and a convolution whose kernel equals its stride, so 1×1 in the decoder. The dropout
    of the level is the probability of stochastic depth.

    Parameters
    ----------
    style : LayerStyle
        Of which kernel counts at the beginning; normalization and activation are those of ConvNeXt.
    spec : BlockSpec
    """

    def __init__(self, style: LayerStyle, spec: BlockSpec) -> None:
        super().__init__()
        self.width = width = spec.channels_out
        self.reach = _UNITS * (KERNEL // 2) + (style.half if spec.first else 0)
        if spec.first:
            self.enter: nn.Module = style.conv(spec.channels_in, width, bias=True)
        else:
            stride = spec.stride or (1,) * style.ndim
            self.enter = nn.Sequential(
                ChannelNorm(spec.channels_in, eps=1e-6),
                CONV[style.ndim](spec.channels_in, width, stride, stride=stride),
            )
        self.units = nn.Sequential(
            *(ConvNeXtUnit(style.ndim, width, spec.dropout) for _ in range(_UNITS))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, …) → (N, channels_out, … / stride)."""
        result: Tensor = self.units(self.enter(x))
        return result
