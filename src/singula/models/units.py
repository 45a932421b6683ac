"""Blocks beyond two plain convolutions: residual, squeeze-and-excitation, MultiRes, ASPP."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from singula.models.blocks import CONV, Block, Chain, ConvBlock, Place, Style

_REDUCTION = 16
_ALPHA = 1.67


class SqueezeExcite(Block):
    """Scale each channel by what all channels hold on average over the image.

    Channel attention of Hu, Shen & Sun, "Squeeze-and-Excitation Networks", CVPR 2018: mean over
    space, two dense layers with an activation between them, sigmoid. The inner layer has a
    sixteenth of the width as published, but at least four numbers, and the network's activation
    instead of ReLU: the fine levels of a U-Net are narrow, and few ReLUs may all be dead.

    Parameters
    ----------
    style : Style
    width : int
        Channels.
    """

    reach = None

    def __init__(self, style: Style, width: int) -> None:
        super().__init__()
        self.width = width
        inner = max(4, width // _REDUCTION)
        self.axes = tuple(range(2, 2 + style.ndim))
        self.layers = nn.Sequential(
            style.mix(width, inner), style.act(), style.mix(inner, width), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, …) → the same shape."""
        scaled: Tensor = x * self.layers(x.mean(self.axes, keepdim=True))
        return scaled


class ResidualBlock(Block):
    """A residual unit with full pre-activation.

    He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016, in the form of Zhang, Liu &
    Wang, "Road Extraction by Deep Residual U-Net", IEEE GRSL 2018: normalisation and activation
    stand before each of the two convolutions, the first of which has the stride; the first unit of
    a network begins with a convolution. Where width or grid change, the shortcut is a normalised
    1×1 convolution.

    Parameters
    ----------
    style : Style
    place : Place
    excite : bool
        End the branch with `SqueezeExcite` before it is added.
    """

    def __init__(self, style: Style, place: Place, *, excite: bool = False) -> None:
        super().__init__()
        width, stride = place.channels_out, place.stride or (1,) * style.ndim
        strided = any(s > 1 for s in stride)
        self.width = width
        self.reach_before = style.half if strided else 0
        self.reach = None if excite else style.half * (1 if strided else 2)
        # The shortcut needs the input too: nothing may be written over it.
        before = (
            []
            if place.first
            else [style.norm(place.channels_in), style.act(inplace=style.batch_norm)]
        )
        self.branch = nn.Sequential(
            *before,
            style.conv(place.channels_in, width, stride=stride),
            style.norm(width),
            style.act(),
            style.drop(place.dropout),
            style.conv(width, width, bias=True),
            *([SqueezeExcite(style, width)] if excite else []),
        )
        self.shortcut: nn.Module = nn.Identity()
        if strided or place.channels_in != width:
            self.shortcut = nn.Sequential(
                Shrink(style, place.channels_in, width, stride), style.norm(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, …) → (N, channels_out, … / stride)."""
        added: Tensor = self.branch(x) + self.shortcut(x)
        return added


class Shrink(nn.Module):
    """A 1×1 convolution of every so many pixels.

    The pixels are taken first: the strided convolution of few channels, laid out channels-last,
    writes beyond its memory in the backward pass on a CPU (torch 2.13).
    """

    def __init__(
        self, style: Style, channels_in: int, channels_out: int, stride: Sequence[int]
    ) -> None:
        super().__init__()
        steps = [slice(None, None, int(step)) for step in stride]
        self.taken = (slice(None), slice(None), *steps)
        self.mix = CONV[style.ndim](channels_in, channels_out, 1, bias=not style.batch_norm)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, …) → (N, channels_out, … / stride)."""
        result: Tensor = self.mix(x[self.taken])
        return result


class Pyramid(Block):
    """Atrous spatial pyramid pooling: convolutions of several dilations, summed, then mixed.

    After Chen et al., "DeepLab", TPAMI 2018, as Jha et al. use it in ResUNet++ (ISM 2019), that is
    without pooling over the whole image.

    Parameters
    ----------
    style : Style
    place : Place
    rates : sequence of int
        Dilations.
    """

    def __init__(self, style: Style, place: Place, rates: Sequence[int]) -> None:
        super().__init__()
        self.width = place.channels_out
        self.reach = max(rates) * style.half
        self.branches = nn.ModuleList(
            nn.Sequential(
                style.conv(place.channels_in, place.channels_out, dilation=rate),
                style.norm(place.channels_out),
            )
            for rate in rates
        )
        self.end = nn.Sequential(style.act(), style.mix(place.channels_out, place.channels_out))

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, …) → (N, channels_out, …)."""
        total = self.branches[0](x)
        for branch in self.branches[1:]:
            total = total + branch(x)
        result: Tensor = self.end(total)
        return result


class MultiResBlock(Block):
    """Three convolutions in a row, their results joined: as 3×3, 5×5 and 7×7, but cheaper.

    Ibtehaz & Rahman, "MultiResUNet", Neural Networks 2020. With W = 1.67·channels_out the three
    have W/6, W/3 and W/2 channels (rounded down); a 1×1 convolution of the input is added.

    Parameters
    ----------
    style : Style
    place : Place
    """

    def __init__(self, style: Style, place: Place) -> None:
        super().__init__()
        widths = multires_widths(place.channels_out)
        self.width = sum(widths)
        self.reach = 3 * style.half
        before = (place.channels_in, *widths)
        self.steps = nn.ModuleList(
            style.conv_unit(a, b) for a, b in zip(before[:-1], widths, strict=True)
        )
        self.joined = nn.Sequential(style.norm(self.width), style.drop(place.dropout))
        self.shortcut = nn.Sequential(
            style.mix(place.channels_in, self.width, bias=not style.batch_norm),
            style.norm(self.width),
        )
        self.end = style.act()

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, …) → (N, width, …)."""
        shortcut, parts = self.shortcut(x), []
        for step in self.steps:
            x = step(x)
            parts.append(x)
        result: Tensor = self.end(self.joined(torch.cat(parts, dim=1)) + shortcut)
        return result


def multires_widths(channels: int) -> tuple[int, int, int]:
    """Channels of the three convolutions of a `MultiResBlock`, at least one each."""
    total = _ALPHA * channels
    return max(1, int(total / 6)), max(1, int(total / 3)), max(1, int(total / 2))


def excited_conv(style: Style, place: Place) -> Block:
    """Two convolutions, then `SqueezeExcite`."""
    return Chain(ConvBlock(style, place), SqueezeExcite(style, place.channels_out))


def residual_excited(style: Style, place: Place) -> Block:
    """A residual unit whose branch ends with `SqueezeExcite`."""
    return ResidualBlock(style, place, excite=True)


def excited_residual(style: Style, place: Place) -> Block:
    """A residual unit, then `SqueezeExcite` of its sum, as in ResUNet++."""
    return Chain(ResidualBlock(style, place), SqueezeExcite(style, place.channels_out))


def pyramid_bridge(style: Style, place: Place) -> Block:
    """A residual unit, then a pyramid.

    Published are dilations of 6, 12 and 18 at an eighth of the image's resolution; at a sixteenth,
    where this bridge usually stands, half of them span the same part of the image.
    """
    inner = Place(place.channels_out, place.channels_out)
    return Chain(ResidualBlock(style, place), Pyramid(style, inner, (1, 3, 6, 9)))


def pyramid_tail(style: Style, width: int) -> Block:
    """A pyramid in front of the heads, with the published dilations."""
    return Pyramid(style, Place(width, width), (1, 6, 12, 18))
