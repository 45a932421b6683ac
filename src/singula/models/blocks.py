"""The layers that networks are made of, for any number of spatial dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

CONV: dict[int, type[nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
CONV_TRANSPOSE: dict[int, type[nn.Module]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
BATCH_NORM: dict[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
MAX_POOL: dict[int, type[nn.Module]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
DROPOUT: dict[int, type[nn.Module]] = {2: nn.Dropout2d, 3: nn.Dropout3d}
UPSAMPLE_MODE = {2: "bilinear", 3: "trilinear"}

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "elu": lambda: nn.ELU(inplace=True),
    "leaky_relu": lambda: nn.LeakyReLU(0.01, inplace=True),
    "silu": lambda: nn.SiLU(inplace=True),
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
    "selu": lambda: nn.SELU(inplace=True),
    "prelu": nn.PReLU,
}
_ALIASES = {"leakyrelu": "leaky_relu", "swish": "silu"}


def make_activation(name: str, *, inplace: bool = True) -> nn.Module:
    """The activation layer of that name, in any capitalisation.

    Parameters
    ----------
    name : str
        A name in `ACTIVATIONS`.
    inplace : bool
        Whether it may write over its input; it must not where the input is used again.

    Raises
    ------
    ValueError
        When there is none; the message lists the names.
    """
    key = name.lower()
    key = _ALIASES.get(key, key)
    if key not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; known: {', '.join(sorted(ACTIVATIONS))}")
    layer = ACTIVATIONS[key]()
    if not inplace and hasattr(layer, "inplace"):
        setattr(layer, "inplace", False)  # noqa: B010 - a module's own attributes are not typed
    return layer


def same_padding(kernel: int) -> int:
    """The zero padding that keeps the size for an odd kernel."""
    if kernel % 2 == 0:
        raise ValueError(f"the kernel size must be odd, got {kernel}")
    return kernel // 2


@dataclass(frozen=True)
class Style:
    """What the layers of a network have in common.

    Parameters
    ----------
    ndim : {2, 3}
        Spatial dimensions.
    kernel : int
        Odd size of the kernel along each axis.
    batch_norm : bool
        Normalise after each convolution (which then has no bias of its own).
    activation : str
        Name in `ACTIVATIONS`.
    """

    ndim: int
    kernel: int = 3
    batch_norm: bool = True
    activation: str = "ELU"

    @property
    def half(self) -> int:
        """How many pixels a convolution sees on each side."""
        return self.kernel // 2

    def conv(
        self,
        channels_in: int,
        channels_out: int,
        *,
        stride: Sequence[int] | int = 1,
        dilation: int = 1,
        bias: bool | None = None,
    ) -> nn.Module:
        """A convolution that keeps the size (but for the stride)."""
        return CONV[self.ndim](
            channels_in,
            channels_out,
            self.kernel,
            stride=stride if isinstance(stride, int) else tuple(stride),
            padding=same_padding(self.kernel) * dilation,
            dilation=dilation,
            bias=not self.batch_norm if bias is None else bias,
        )

    def mix(self, channels_in: int, channels_out: int, *, bias: bool = True) -> nn.Module:
        """A 1×1 convolution."""
        return CONV[self.ndim](channels_in, channels_out, 1, bias=bias)

    def norm(self, width: int) -> nn.Module:
        """Batch normalisation, or nothing."""
        return BATCH_NORM[self.ndim](width) if self.batch_norm else nn.Identity()

    def act(self, *, inplace: bool = True) -> nn.Module:
        """The activation."""
        return make_activation(self.activation, inplace=inplace)

    def drop(self, probability: float) -> nn.Module:
        """Dropout of whole channels, or nothing."""
        return DROPOUT[self.ndim](probability) if probability > 0 else nn.Identity()

    def conv_unit(self, channels_in: int, channels_out: int) -> nn.Sequential:
        """Convolution, normalisation, activation."""
        return nn.Sequential(
            self.conv(channels_in, channels_out), self.norm(channels_out), self.act()
        )


@dataclass(frozen=True)
class Place:
    """Where in a network a block stands.

    Parameters
    ----------
    channels_in, channels_out : int
        Width before, and the nominal width after; a block's `width` says the true one.
    dropout : float
        Probability of the level.
    stride : tuple of int
        Shrinking per axis that the block itself has to do; empty for none.
    first : bool
        Whether it takes the image itself.
    """

    channels_in: int
    channels_out: int
    dropout: float = 0.0
    stride: tuple[int, ...] = ()
    first: bool = False


class Block(nn.Module):
    """What a level of an encoder or decoder is made of.

    Attributes
    ----------
    width : int
        Channels that come out.
    reach : int or None
        Distance, in pixels of the output's grid, from which an output pixel is influenced; None
        when it sees everything.
    reach_before : int
        What is to be added in pixels of the input's grid, where a stride makes that a finer one.
    """

    width: int
    reach: int | None = 0
    reach_before: int = 0


class Chain(Block):
    """Blocks one after the other, on one grid after the first."""

    def __init__(self, *blocks: Block) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        reaches = [block.reach for block in blocks]
        self.width = blocks[-1].width
        self.reach = None if None in reaches else sum(r for r in reaches if r is not None)
        self.reach_before = blocks[0].reach_before

    def forward(self, x: Tensor) -> Tensor:
        """Each block's result is the next one's input."""
        for block in self.blocks:
            x = block(x)
        return x


class ConvBlock(Block):
    """Two convolutions, each with optional batch normalisation and an activation.

    Dropout, where there is any, drops whole channels between the two.

    Parameters
    ----------
    style : Style
    place : Place
    """

    def __init__(self, style: Style, place: Place) -> None:
        super().__init__()
        self.width = place.channels_out
        self.reach = 2 * style.half
        layers: list[nn.Module] = []
        for index, width in enumerate((place.channels_in, place.channels_out)):
            layers.append(style.conv(width, place.channels_out))
            if style.batch_norm:
                layers.append(style.norm(place.channels_out))
            layers.append(style.act())
            if index == 0 and place.dropout > 0:
                layers.append(style.drop(place.dropout))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, …) → (N, channels_out, …), the same spatial shape."""
        result: Tensor = self.layers(x)
        return result


class Upsample(nn.Module):
    """Enlarge by an integer factor per axis and set the width.

    ``convtranspose`` learns the interpolation; ``upsampling`` interpolates linearly and then
    mixes channels with a 1×1 convolution.

    Attributes
    ----------
    interpolates : bool
        Whether a pixel is influenced by the neighbours of the coarse pixel that covers it.
    """

    def __init__(
        self, ndim: int, channels_in: int, channels_out: int, factors: Sequence[int], kind: str
    ) -> None:
        super().__init__()
        self.interpolates = kind == "upsampling"
        size = tuple(int(f) for f in factors)
        if kind == "convtranspose":
            self.layers: nn.Module = CONV_TRANSPOSE[ndim](
                channels_in, channels_out, kernel_size=size, stride=size
            )
        elif kind == "upsampling":
            # The 1×1 convolution commutes with interpolation and is cheaper before it.
            self.layers = nn.Sequential(
                CONV[ndim](channels_in, channels_out, 1),
                nn.Upsample(
                    scale_factor=tuple(float(f) for f in size),
                    mode=UPSAMPLE_MODE[ndim],
                    align_corners=False,
                ),
            )
        else:
            raise ValueError(f"unknown upsampling {kind!r}; known: convtranspose, upsampling")

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, …) → (N, channels_out, … × factors)."""
        result: Tensor = self.layers(x)
        return result


def initialise(module: nn.Module, generator: torch.Generator | None = None) -> None:
    """He-normal weights, zero biases: convolutions and dense layers (He et al., ICCV 2015)."""
    kinds = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)
    for layer in module.modules():
        if isinstance(layer, kinds):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
