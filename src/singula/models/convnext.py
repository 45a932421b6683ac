"""ConvNeXt blocks for a U-Net.

Liu et al., "A ConvNet for the 2020s", CVPR 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from singula.models.blocks import CONV, Block, Place, Style

KERNEL = 7
_UNITS = 2
_WIDER = 4
# Published is 1e-6, for networks of up to 36 units. Touvron et al., "Going deeper with Image
# Transformers" (ICCV 2021), recommend 0.1 for those of 18 or fewer, as a U-Net of five levels is.
_LAYER_SCALE = 0.1


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each pixel."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, …) → the same shape."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class StochasticDepth(nn.Module):
    """Leave a branch out for some images of a training batch (Huang et al., ECCV 2016)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """(N, …) → the same shape, zero or enlarged for each of N."""
        if not self.training or self.probability == 0:
            return x
        keep = 1 - self.probability
        mask = torch.rand((len(x),) + (1,) * (x.ndim - 1), device=x.device) < keep
        return x * mask / max(keep, 1e-6)


class ConvNeXtUnit(nn.Module):
    """Depthwise 7-wide convolution, layer norm, dense layers to four times the width and back.

    The result is scaled channel by channel and added to the input.

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
    """A layer that sets width and grid, then two units.

    It is a convolution of the style's kernel at the network's beginning; elsewhere a layer norm and
    a convolution whose kernel is its stride, so 1×1 in the decoder. The level's dropout is the
    probability of stochastic depth.

    Parameters
    ----------
    style : Style
        Of which kernel counts at the beginning; normalisation and activation are ConvNeXt's own.
    place : Place
    """

    def __init__(self, style: Style, place: Place) -> None:
        super().__init__()
        self.width = width = place.channels_out
        self.reach = _UNITS * (KERNEL // 2) + (style.half if place.first else 0)
        if place.first:
            self.enter: nn.Module = style.conv(place.channels_in, width, bias=True)
        else:
            stride = place.stride or (1,) * style.ndim
            self.enter = nn.Sequential(
                ChannelNorm(place.channels_in, eps=1e-6),
                CONV[style.ndim](place.channels_in, width, stride, stride=stride),
            )
        self.units = nn.Sequential(
            *(ConvNeXtUnit(style.ndim, width, place.dropout) for _ in range(_UNITS))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, …) → (N, channels_out, … / stride)."""
        result: Tensor = self.units(self.enter(x))
        return result
