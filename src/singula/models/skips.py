"""Skip connections between encoder and decoder."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from singula.models.blocks import CONV, UPSAMPLE_MODE, LayerStyle

_LONGEST = 4


@dataclass(frozen=True)
class SkipSpec:
    """Position and size of a skip connection.

    Parameters
    ----------
    width : int
        Channels from the encoder.
    nominal : int
        Number of feature maps of the level.
    coarse : int
        Channels from the next coarser level.
    factors : tuple of int
        Downsampling factor per axis to the next coarser level.
    below : int
        Number of coarser levels, including the bottleneck.
    """

    width: int
    nominal: int
    coarse: int
    factors: tuple[int, ...]
    below: int


class Skip(nn.Module):
    """A plain skip connection, the base class of the others.

    Attributes
    ----------
    width : int
        Channels for the decoder.
    reach : int
        As in `Block`.
    interpolates : bool
        True if the neighbors of the coarse pixel that covers a pixel influence it.
    """

    reach: int = 0
    interpolates: bool = False

    def __init__(self, style: LayerStyle, spec: SkipSpec) -> None:
        super().__init__()
        self.width = spec.width

    def forward(self, skip: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of the encoder and of the coarser level, before upsampling."""
        return skip, coarse


class _Attention(Skip):
    """Additive attention on the coarse grid: σ(ψ·act(W_s·skip + W_c·coarse))."""

    def __init__(self, style: LayerStyle, spec: SkipSpec) -> None:
        super().__init__(style, spec)
        inner = max(1, spec.width // 2)
        # The kernel equals the stride, so that every pixel of the skip contributes.
        self.of_skip = CONV[style.ndim](
            spec.width, inner, spec.factors, stride=spec.factors, bias=False
        )
        self.of_coarse = style.mix(spec.coarse, inner)
        self.weigh = nn.Sequential(style.act(), style.mix(inner, 1), nn.Sigmoid())

    def attention(self, skip: Tensor, coarse: Tensor) -> Tensor:
        """Return weights (N, 1, …) in [0, 1] on the coarse grid."""
        result: Tensor = self.weigh(self.of_skip(skip) + self.of_coarse(coarse))
        return result


class SkipGate(_Attention):
    """An attention gate that weights the pixels of the skip.

    Oktay et al., "Attention U-Net", MIDL 2018: the weights are computed on the coarse grid and
    interpolated linearly; a 1×1 convolution with normalization follows the product.
    """

    interpolates = True

    def __init__(self, style: LayerStyle, spec: SkipSpec) -> None:
        super().__init__(style, spec)
        self.mode = UPSAMPLE_MODE[style.ndim]
        self.end = nn.Sequential(
            style.mix(spec.width, spec.width, bias=not style.batch_norm),
            style.norm(spec.width),
        )

    def forward(self, skip: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted skip and the unchanged coarser level."""
        weights = functional.interpolate(
            self.attention(skip, coarse), size=skip.shape[2:], mode=self.mode, align_corners=False
        )
        return self.end(skip * weights), coarse


class CoarseGate(_Attention):
    """An attention gate that weights the pixels of the coarser level, before upsampling.

    As in ResUNet++ (Jha et al., ISM 2019).
    """

    def forward(self, skip: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Return the unchanged skip and the weighted coarser level."""
        return skip, coarse * self.attention(skip, coarse)


class ResPath(Skip):
    """Residual convolutions on a skip connection.

    Ibtehaz & Rahman, "MultiResUNet", Neural Networks 2020: four convolutions at the finest level
    and one fewer at each coarser level, with the nominal width of the level. A 1×1 convolution of
    the input is added to each.
    """

    def __init__(self, style: LayerStyle, spec: SkipSpec) -> None:
        super().__init__(style, spec)
        self.width = spec.nominal
        count = min(_LONGEST, spec.below)
        self.reach = count * style.half
        self.steps = nn.ModuleList(
            _ResidualStep(style, spec.width if index == 0 else self.width, self.width)
            for index in range(count)
        )

    def forward(self, skip: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Return the transformed skip and the unchanged coarser level."""
        for step in self.steps:
            skip = step(skip)
        return skip, coarse


class _ResidualStep(nn.Module):
    def __init__(self, style: LayerStyle, channels_in: int, channels_out: int) -> None:
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
