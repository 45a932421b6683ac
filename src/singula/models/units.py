"""Residual, squeeze-and-excitation, MultiRes and ASPP blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from singula.models.blocks import CONV, Block, BlockSpec, Chain, ConvBlock, LayerStyle

_REDUCTION = 16
_ALPHA = 1.67
_DIVISORS = (6.0, 3.0, 2.0)


class SqueezeExcite(Block):
    """Channel attention: scale each channel by a function of the channel means of the image.

    Hu, Shen & Sun, "Squeeze-and-Excitation Networks", CVPR 2018: mean over space, two dense layers
    with an activation between them, sigmoid. The hidden layer has a sixteenth of the width, as
    published, but at least four units, and the activation of the network instead of ReLU: the fine
    levels of a U-Net are narrow, and a few ReLUs can all be inactive.

    Parameters
    ----------
    style : LayerStyle
    width : int
        Channels.
    published : bool
        Use the published number of hidden units and ReLU, without biases.

    Raises
    ------
    ValueError
        The width is too small for the published number of hidden units.
    """

    reach = None

    def __init__(self, style: LayerStyle, width: int, *, published: bool = False) -> None:
        super().__init__()
        self.width = width
        inner = width // _REDUCTION if published else max(4, width // _REDUCTION)
        if not inner:
            raise ValueError(f"squeeze and excitation needs {_REDUCTION} feature maps, got {width}")
        self.axes = tuple(range(2, 2 + style.ndim))
        self.layers = nn.Sequential(
            style.mix(width, inner, bias=not published),
            nn.ReLU() if published else style.act(),
            style.mix(inner, width, bias=not published),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, …) → the same shape."""
        scaled: Tensor = x * self.layers(x.mean(self.axes, keepdim=True))
        return scaled


class ResidualBlock(Block):
    """A residual unit with full pre-activation.

    He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016, in the form of Zhang, Liu &
    Wang, "Road Extraction by Deep Residual U-Net", IEEE GRSL 2018: normalization and activation
    precede each of the two convolutions, the first of which has the stride. The first unit of a
    network begins with a convolution. If width or grid change, the shortcut is a 1×1 convolution
    with normalization.

    Parameters
    ----------
    style : LayerStyle
    spec : BlockSpec
    excite : bool
        Apply `SqueezeExcite` at the end of the branch.
    shortcut : Module, optional
        Layers of the shortcut, also if neither width nor grid change.
    """

    def __init__(
        self,
        style: LayerStyle,
        spec: BlockSpec,
        *,
        excite: bool = False,
        shortcut: nn.Module | None = None,
    ) -> None:
        super().__init__()
        width, stride = spec.channels_out, spec.stride or (1,) * style.ndim
        strided = any(s > 1 for s in stride)
        self.width = width
        self.reach_before = style.half if strided else 0
        self.reach = None if excite else style.half * (1 if strided else 2)
        # The shortcut needs the input too: do not overwrite it.
        before = (
            []
            if spec.first
            else [style.norm(spec.channels_in), style.act(inplace=style.batch_norm)]
        )
        self.branch = nn.Sequential(
            *before,
            style.conv(spec.channels_in, width, stride=stride),
            style.norm(width),
            style.act(),
            style.drop(spec.dropout),
            style.conv(width, width, bias=True),
            *([SqueezeExcite(style, width)] if excite else []),
        )
        self.shortcut: nn.Module = nn.Identity() if shortcut is None else shortcut
        if shortcut is None and (strided or spec.channels_in != width):
            self.shortcut = nn.Sequential(
                Shrink(style, spec.channels_in, width, stride), style.norm(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, …) → (N, channels_out, … / stride)."""
        added: Tensor = self.branch(x) + self.shortcut(x)
        return added


class Shrink(nn.Module):
    """A strided 1×1 convolution.

    Pixels are sampled before the convolution: in torch 2.13, the backward pass of a strided
    convolution with few channels in channels-last layout writes beyond its memory on a CPU.
    """

    def __init__(
        self, style: LayerStyle, channels_in: int, channels_out: int, stride: Sequence[int]
    ) -> None:
        super().__init__()
        steps = [slice(None, None, int(step)) for step in stride]
        self.taken = (slice(None), slice(None), *steps)
        self.mix = CONV[style.ndim](channels_in, channels_out, 1, bias=style.conv_bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, …) → (N, channels_out, … / stride)."""
        result: Tensor = self.mix(x[self.taken])
        return result


class Pyramid(Block):
    """Atrous spatial pyramid pooling: the sum of convolutions with several dilations.

    Chen et al., "DeepLab", TPAMI 2018, in the form of Jha et al., ResUNet++ (ISM 2019), which has
    no pooling over the whole image.

    Parameters
    ----------
    style : LayerStyle
    spec : BlockSpec
    rates : sequence of int
        Dilations.
    """

    def __init__(self, style: LayerStyle, spec: BlockSpec, rates: Sequence[int]) -> None:
        super().__init__()
        self.width = spec.channels_out
        self.reach = max(rates) * style.half
        self.branches = nn.ModuleList(
            nn.Sequential(
                style.conv(spec.channels_in, spec.channels_out, dilation=rate),
                style.norm(spec.channels_out),
            )
            for rate in rates
        )
        self.end = nn.Sequential(style.act(), style.mix(spec.channels_out, spec.channels_out))

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, …) → (N, channels_out, …)."""
        total = self.branches[0](x)
        for branch in self.branches[1:]:
            total = total + branch(x)
        result: Tensor = self.end(total)
        return result


class JoinedPyramid(Block):
    """Atrous spatial pyramid pooling: a 1×1 convolution of all branches together.

    As in BiaPy's ResUNet++, where normalization follows the activation.

    Parameters
    ----------
    style : LayerStyle
    spec : BlockSpec
    rates : sequence of int
        Dilations.
    """

    def __init__(
        self, style: LayerStyle, spec: BlockSpec, rates: Sequence[int] = (6, 12, 18)
    ) -> None:
        super().__init__()
        width = self.width = spec.channels_out
        small = replace(style, kernel=3)
        self.reach = max(rates) * small.half
        self.branches = nn.ModuleList(
            nn.Sequential(
                small.conv(spec.channels_in, width, dilation=rate), nn.ReLU(), style.norm(width)
            )
            for rate in rates
        )
        self.end = style.mix(len(rates) * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, …) → (N, channels_out, …)."""
        result: Tensor = self.end(torch.cat([branch(x) for branch in self.branches], dim=1))
        return result


class MultiResBlock(Block):
    """Three consecutive convolutions, concatenated: they replace 3×3, 5×5 and 7×7 convolutions.

    Ibtehaz & Rahman, "MultiResUNet", Neural Networks 2020. With W = 1.67·channels_out the three
    convolutions have W/6, W/3 and W/2 channels (rounded down). A 1×1 convolution of the input is
    added.

    Parameters
    ----------
    style : LayerStyle
    spec : BlockSpec
    divisors : tuple of float
        W divided by the channels of each of the three convolutions.
    norm_sum : bool
        Normalize the sum, too.
    """

    def __init__(
        self,
        style: LayerStyle,
        spec: BlockSpec,
        *,
        divisors: tuple[float, float, float] = _DIVISORS,
        norm_sum: bool = False,
    ) -> None:
        super().__init__()
        widths = multires_widths(spec.channels_out, divisors)
        self.width = sum(widths)
        self.reach = 3 * style.half
        before = (spec.channels_in, *widths)
        self.steps = nn.ModuleList(
            style.conv_unit(a, b) for a, b in zip(before[:-1], widths, strict=True)
        )
        self.joined = nn.Sequential(style.norm(self.width), style.drop(spec.dropout))
        self.shortcut = nn.Sequential(
            style.mix(spec.channels_in, self.width, bias=style.conv_bias),
            style.norm(self.width),
        )
        self.end = nn.Sequential(style.norm(self.width), style.act()) if norm_sum else style.act()

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, …) → (N, width, …)."""
        shortcut, parts = self.shortcut(x), []
        for step in self.steps:
            x = step(x)
            parts.append(x)
        result: Tensor = self.end(self.joined(torch.cat(parts, dim=1)) + shortcut)
        return result


def multires_widths(
    channels: int, divisors: tuple[float, float, float] = _DIVISORS
) -> tuple[int, int, int]:
    """Return the channels of the three convolutions of a `MultiResBlock`, at least one each."""
    first, second, third = (max(1, int(_ALPHA * channels / divisor)) for divisor in divisors)
    return first, second, third


def excited_conv(style: LayerStyle, spec: BlockSpec) -> Block:
    """Return two convolutions followed by `SqueezeExcite`."""
    return Chain(ConvBlock(style, spec), SqueezeExcite(style, spec.channels_out))


def residual_excited(style: LayerStyle, spec: BlockSpec) -> Block:
    """Return a residual unit whose branch ends with `SqueezeExcite`."""
    return ResidualBlock(style, spec, excite=True)


def excited_residual(style: LayerStyle, spec: BlockSpec) -> Block:
    """Return a residual unit followed by `SqueezeExcite` of its sum, as in ResUNet++."""
    return Chain(ResidualBlock(style, spec), SqueezeExcite(style, spec.channels_out))


def pyramid_bridge(style: LayerStyle, spec: BlockSpec) -> Block:
    """Return a residual unit followed by a pyramid.

    The published dilations are 6, 12 and 18 at an eighth of the resolution of the image. This
    bridge is usually at a sixteenth, where half of these dilations cover the same area.
    """
    inner = BlockSpec(spec.channels_out, spec.channels_out)
    return Chain(ResidualBlock(style, spec), Pyramid(style, inner, (1, 3, 6, 9)))


def pyramid_tail(style: LayerStyle, width: int) -> Block:
    """Return a pyramid before the heads, with the published dilations."""
    return Pyramid(style, BlockSpec(width, width), (1, 6, 12, 18))
