"""Skip connections between encoder and decoder."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from singula.models.blocks import CONV, MAX_POOL, UPSAMPLE_MODE, LayerStyle

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
    coarse, upsampled : int
        Channels from the next coarser level, before and after upsampling.
    factors : tuple of int
        Downsampling factor per axis to the next coarser level.
    below : int
        Number of coarser levels, including the bottleneck.
    """

    width: int
    nominal: int
    coarse: int
    upsampled: int
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
    needs_upsampled : bool
        True if the coarser level is upsampled before the skip connection.
    """

    reach: int = 0
    interpolates: bool = False
    needs_upsampled: bool = False

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
            style.mix(spec.width, spec.width, bias=style.conv_bias),
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


class FineGate(Skip):
    """An attention gate on the fine grid: σ(norm(ψ·ReLU(W_s·skip + norm(W_u·upsampled)))).

    As in BiaPy since version 3.5, where the coarser level is upsampled first.
    """

    needs_upsampled = True

    def __init__(self, style: LayerStyle, spec: SkipSpec) -> None:
        super().__init__(style, spec)
        inner = max(1, spec.nominal // 2)
        self.of_coarse = nn.Sequential(style.mix(spec.upsampled, inner), style.norm(inner))
        self.of_skip = style.mix(spec.width, inner)
        self.weigh = nn.Sequential(nn.ReLU(), style.mix(inner, 1), style.norm(1), nn.Sigmoid())

    def forward(self, skip: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted skip and the unchanged upsampled level."""
        return skip * self.weigh(self.of_coarse(coarse) + self.of_skip(skip)), coarse


class PooledGate(Skip):
    """An attention gate that multiplies the coarser level by a factor without a sigmoid.

    As in BiaPy's ResUNet++: both inputs are normalized, activated and convolved, and the skip is
    then pooled to the coarse grid.
    """

    def __init__(self, style: LayerStyle, spec: SkipSpec) -> None:
        super().__init__(style, spec)
        width = spec.coarse
        conv = CONV[style.ndim]
        self.of_skip = nn.Sequential(
            style.norm(spec.width),
            nn.ReLU(),
            conv(spec.width, width, 3, padding=1),
            MAX_POOL[style.ndim](spec.factors),
        )
        self.of_coarse = nn.Sequential(
            style.norm(width), nn.ReLU(), conv(width, width, 3, padding=1)
        )
        self.weigh = nn.Sequential(style.norm(width), nn.ReLU(), style.mix(width, 1))

    def forward(self, skip: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Return the unchanged skip and the weighted coarser level."""
        return skip, coarse * self.weigh(self.of_skip(skip) + self.of_coarse(coarse))


class ResPath(Skip):
    """Residual convolutions on a skip connection.

    Ibtehaz & Rahman, "MultiResUNet", Neural Networks 2020: four convolutions at the finest level
    and one fewer at each coarser level, with the nominal width of the level. A 1×1 convolution of
    the input is added to each.

    Parameters
    ----------
    style : LayerStyle
    spec : SkipSpec
    renormalized : bool
        Normalize the result of each convolution again, and the sum by the same layer.
    """

    def __init__(self, style: LayerStyle, spec: SkipSpec, *, renormalized: bool = False) -> None:
        super().__init__(style, spec)
        self.width = spec.nominal
        count = min(_LONGEST, spec.below)
        self.reach = count * style.half
        step = _RenormalizedStep if renormalized else _ResidualStep
        self.steps = nn.ModuleList(
            step(style, spec.width if index == 0 else self.width, self.width)
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
            style.mix(channels_in, channels_out, bias=style.conv_bias),
            style.norm(channels_out),
        )
        self.end = style.act()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.end(self.branch(x) + self.shortcut(x))
        return result


class _RenormalizedStep(_ResidualStep):
    """A step whose branch and sum are normalized by one layer, each before an activation."""

    def __init__(self, style: LayerStyle, channels_in: int, channels_out: int) -> None:
        super().__init__(style, channels_in, channels_out)
        self.end = nn.Sequential(style.norm(channels_out), style.act())

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.end(self.end(self.branch(x)) + self.shortcut(x))
        return result
