"""What happens to a skip connection on its way from encoder to decoder."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from singula.models.blocks import CONV, UPSAMPLE_MODE, Style

_LONGEST = 4


@dataclass(frozen=True)
class Crossing:
    """Where a skip connection stands.

    Parameters
    ----------
    width : int
        Channels that come from the encoder.
    nominal : int
        The level's entry of the feature maps.
    coarse : int
        Channels that come from the level below.
    factors : tuple of int
        Pixels per axis of this level in one of the level below.
    below : int
        Levels below this one, the bottom included.
    """

    width: int
    nominal: int
    coarse: int
    factors: tuple[int, ...]
    below: int


class Skip(nn.Module):
    """The plain connection, and what its variants have in common.

    Attributes
    ----------
    width : int
        Channels that reach the decoder.
    reach : int
        As in `Block`.
    interpolates : bool
        Whether it brings in the neighbours of the coarse pixel that covers a pixel.
    """

    reach: int = 0
    interpolates: bool = False

    def __init__(self, style: Style, crossing: Crossing) -> None:
        super().__init__()
        self.width = crossing.width

    def forward(self, skip: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the encoder, and of the level below before it is enlarged."""
        return skip, coarse


class _Attention(Skip):
    """Additive attention on the coarse grid: σ(ψ·act(W_s·skip + W_c·coarse))."""

    def __init__(self, style: Style, crossing: Crossing) -> None:
        super().__init__(style, crossing)
        inner = max(1, crossing.width // 2)
        # The kernel is the stride, so that each pixel of the skip counts.
        self.of_skip = CONV[style.ndim](
            crossing.width, inner, crossing.factors, stride=crossing.factors, bias=False
        )
        self.of_coarse = style.mix(crossing.coarse, inner)
        self.weigh = nn.Sequential(style.act(), style.mix(inner, 1), nn.Sigmoid())

    def attention(self, skip: Tensor, coarse: Tensor) -> Tensor:
        """(N, 1, …) in [0, 1], on the coarse grid."""
        result: Tensor = self.weigh(self.of_skip(skip) + self.of_coarse(coarse))
        return result


class SkipGate(_Attention):
    """Attention that weighs the pixels of the skip.

    Oktay et al., "Attention U-Net", MIDL 2018: found on the coarse grid, interpolated linearly,
    multiplied; the result is mixed by a normalised 1×1 convolution.
    """

    interpolates = True

    def __init__(self, style: Style, crossing: Crossing) -> None:
        super().__init__(style, crossing)
        self.mode = UPSAMPLE_MODE[style.ndim]
        self.end = nn.Sequential(
            style.mix(crossing.width, crossing.width, bias=not style.batch_norm),
            style.norm(crossing.width),
        )

    def forward(self, skip: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """The skip, weighed; the level below as it was."""
        weights = functional.interpolate(
            self.attention(skip, coarse), size=skip.shape[2:], mode=self.mode, align_corners=False
        )
        return self.end(skip * weights), coarse


class CoarseGate(_Attention):
    """Attention that weighs the pixels of the level below, before it is enlarged.

    The place where ResUNet++ has it (Jha et al., ISM 2019).
    """

    def forward(self, skip: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """The skip as it was; the level below, weighed."""
        return skip, coarse * self.attention(skip, coarse)


class ResPath(Skip):
    """Residual convolutions, the more the longer the way around.

    Ibtehaz & Rahman, "MultiResUNet", Neural Networks 2020: four at the finest level, one fewer at
    each further one, of the level's nominal width; each adds a 1×1 convolution of its input.
    """

    def __init__(self, style: Style, crossing: Crossing) -> None:
        super().__init__(style, crossing)
        self.width = crossing.nominal
        count = min(_LONGEST, crossing.below)
        self.reach = count * style.half
        self.steps = nn.ModuleList(
            _ResidualStep(style, crossing.width if index == 0 else self.width, self.width)
            for index in range(count)
        )

    def forward(self, skip: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """The skip, changed; the level below as it was."""
        for step in self.steps:
            skip = step(skip)
        return skip, coarse


class _ResidualStep(nn.Module):
    def __init__(self, style: Style, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.branch = style.conv_unit(channels_in, channels_out)
        self.shortcut = nn.Sequential(
            style.mix(channels_in, channels_out, bias=not style.batch_norm),
            style.norm(channels_out),
        )
        self.end = style.act()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.end(self.branch(x) + self.shortcut(x))
        return result
