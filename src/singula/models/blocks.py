"""Layers of the networks, for any number of spatial dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from singula.models.cpu_layers import Elu

CONV: dict[int, type[nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
CONV_TRANSPOSE: dict[int, type[nn.Module]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
BATCH_NORM: dict[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
INSTANCE_NORM: dict[int, type[nn.Module]] = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
MAX_POOL: dict[int, type[nn.Module]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
DROPOUT: dict[int, type[nn.Module]] = {2: nn.Dropout2d, 3: nn.Dropout3d}
UPSAMPLE_MODE = {2: "bilinear", 3: "trilinear"}

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "elu": lambda: Elu(inplace=True),
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
    """Return an activation layer by its name, in any capitalization.

    Parameters
    ----------
    name : str
        A name in `ACTIVATIONS`.
    inplace : bool
        Write over the input. Pass False if the input is used again.

    Raises
    ------
    ValueError
        The name is unknown; the message lists the known names.
    """
    key = name.lower()
    key = _ALIASES.get(key, key)
    if key not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; known: {', '.join(sorted(ACTIVATIONS))}")
    layer = ACTIVATIONS[key]()
    if not inplace and hasattr(layer, "inplace"):
        setattr(layer, "inplace", False)  # noqa: B010 - attributes of a module are not typed
    return layer


def same_padding(kernel: int) -> int:
    """Return the zero padding that keeps the size, for an odd kernel."""
    if kernel % 2 == 0:
        raise ValueError(f"the kernel size must be odd, got {kernel}")
    return kernel // 2


@dataclass(frozen=True)
class LayerStyle:
    """Settings shared by all layers of a network.

    Parameters
    ----------
    ndim : {2, 3}
        Spatial dimensions.
    kernel : int
        Odd size of the kernel along each axis.
    batch_norm : bool
        Batch normalization after each convolution, which then has no bias.
    activation : str
        Name in `ACTIVATIONS`.
    per_instance : bool
        Normalize each channel of each image (instance normalization) instead of the batch.
    keep_bias : bool
        Give convolutions before a normalization a bias, too.
    """

    ndim: int
    kernel: int = 3
    batch_norm: bool = True
    activation: str = "ELU"
    per_instance: bool = False
    keep_bias: bool = False

    @property
    def conv_bias(self) -> bool:
        """True if a convolution before a normalization has a bias."""
        return self.keep_bias or not self.batch_norm

    @property
    def half(self) -> int:
        """Radius of a convolution in pixels."""
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
        """Return a convolution that keeps the size, except for the stride."""
        return CONV[self.ndim](
            channels_in,
            channels_out,
            self.kernel,
            stride=stride if isinstance(stride, int) else tuple(stride),
            padding=same_padding(self.kernel) * dilation,
            dilation=dilation,
            bias=self.conv_bias if bias is None else bias,
        )

    def mix(self, channels_in: int, channels_out: int, *, bias: bool = True) -> nn.Module:
        """Return a 1×1 convolution."""
        return CONV[self.ndim](channels_in, channels_out, 1, bias=bias)

    def norm(self, width: int) -> nn.Module:
        """Return batch or instance normalization, or an identity."""
        if not self.batch_norm:
            return nn.Identity()
        if self.per_instance:
            return INSTANCE_NORM[self.ndim](width, affine=True)
        return BATCH_NORM[self.ndim](width)

    def act(self, *, inplace: bool = True) -> nn.Module:
        """Return the activation."""
        return make_activation(self.activation, inplace=inplace)

    def drop(self, probability: float) -> nn.Module:
        """Return dropout of whole channels, or an identity."""
        return DROPOUT[self.ndim](probability) if probability > 0 else nn.Identity()

    def conv_unit(self, channels_in: int, channels_out: int) -> nn.Sequential:
        """Return a convolution, normalization and activation."""
        return nn.Sequential(
            self.conv(channels_in, channels_out), self.norm(channels_out), self.act()
        )


@dataclass(frozen=True)
class BlockSpec:
    """Position and size of a block in a network.

    Parameters
    ----------
    channels_in, channels_out : int
        Channels of the input, and nominal channels of the output; `Block.width` has the actual
        number.
    dropout : float
        Dropout probability of the level.
    stride : tuple of int
        Downsampling factor per axis within the block; empty for none.
    first : bool
        True if the input is the image.
    """

    channels_in: int
    channels_out: int
    dropout: float = 0.0
    stride: tuple[int, ...] = ()
    first: bool = False


class Block(nn.Module):
    """A level of an encoder or decoder.

    Attributes
    ----------
    width : int
        Channels of the output.
    reach : int or None
        Radius of the receptive field in pixels of the output grid; None if it is unlimited.
    reach_before : int
        Additional radius in pixels of the input grid, which a stride makes finer.
    """

    width: int
    reach: int | None = 0
    reach_before: int = 0


class Chain(Block):
    """A sequence of blocks, of which only the first may change the grid."""

    def __init__(self, *blocks: Block) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        reaches = [block.reach for block in blocks]
        self.width = blocks[-1].width
        self.reach = None if None in reaches else sum(r for r in reaches if r is not None)
        self.reach_before = blocks[0].reach_before

    def forward(self, x: Tensor) -> Tensor:
        """Apply the blocks in order."""
        for block in self.blocks:
            x = block(x)
        return x


class Pool(Block):
    """Maximum pooling as a block.

    Parameters
    ----------
    style : LayerStyle
    spec : BlockSpec
        Its `stride` is the size of a cell.
    """

    def __init__(self, style: LayerStyle, spec: BlockSpec) -> None:
        super().__init__()
        self.width = spec.channels_out
        self.layer = MAX_POOL[style.ndim](spec.stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, …) → (N, channels, … / stride)."""
        result: Tensor = self.layer(x)
        return result


class ConvBlock(Block):
    """Two convolutions, each with optional batch normalization and an activation.

    Dropout, if any, drops whole channels between the two.

    Parameters
    ----------
    style : LayerStyle
    spec : BlockSpec
    """

    def __init__(self, style: LayerStyle, spec: BlockSpec) -> None:
        super().__init__()
        self.width = spec.channels_out
        self.reach = 2 * style.half
        layers: list[nn.Module] = []
        for index, width in enumerate((spec.channels_in, spec.channels_out)):
            layers.append(style.conv(width, spec.channels_out))
            if style.batch_norm:
                layers.append(style.norm(spec.channels_out))
            layers.append(style.act())
            if index == 0 and spec.dropout > 0:
                layers.append(style.drop(spec.dropout))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, …) → (N, channels_out, …), the same spatial shape."""
        result: Tensor = self.layers(x)
        return result


class ConvUnit(Block):
    """One convolution with optional normalization, and an activation.

    Parameters
    ----------
    style : LayerStyle
    channels_in, channels_out : int
    """

    def __init__(self, style: LayerStyle, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.width = channels_out
        self.reach = style.half
        self.layers = style.conv_unit(channels_in, channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, …) → (N, channels_out, …), the same spatial shape."""
        result: Tensor = self.layers(x)
        return result


class Upsample(nn.Module):
    """Enlarge by an integer factor per axis and set the width.

    ``convtranspose`` learns the interpolation; ``upsampling`` interpolates linearly and then
    mixes channels with a 1×1 convolution. The layers `end` follow.

    Attributes
    ----------
    interpolates : bool
        True if the neighbors of the coarse pixel that covers a pixel influence it.
    """

    def __init__(
        self,
        ndim: int,
        channels_in: int,
        channels_out: int,
        factors: Sequence[int],
        kind: str,
        end: Sequence[nn.Module] = (),
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.interpolates = kind == "upsampling"
        size = tuple(int(f) for f in factors)
        if kind == "convtranspose":
            self.layers: nn.Module = CONV_TRANSPOSE[ndim](
                channels_in, channels_out, kernel_size=size, stride=size, bias=bias
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
        self.end = nn.Sequential(*end)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, …) → (N, channels_out, … × factors)."""
        result: Tensor = self.end(self.layers(x))
        return result


def space_to_depth(x: Tensor, cell: Sequence[int]) -> Tensor:
    """Rearrange the pixels of each cell into channels.

    The inverse is `depth_to_space`. In 2D it equals `torch.nn.PixelUnshuffle`, which has no
    counterpart for volumes.

    Parameters
    ----------
    x : Tensor, (N, C, [z,] y, x)
        Image whose sides are multiples of `cell`.
    cell : sequence of int
        Pixels of a cell along each axis.

    Returns
    -------
    Tensor, (N, C · pixels of a cell, ...)
        In channels-last layout, which the convolutions use.
    """
    number, channels, *sides = x.shape
    grid = [side // size for side, size in zip(sides, cell, strict=True)]
    split = x.reshape(number, channels, *(n for pair in zip(grid, cell, strict=True) for n in pair))
    places = range(2, 2 + 2 * len(cell), 2)
    rows = split.permute(0, *places, 1, *(place + 1 for place in places))
    return rows.reshape(number, *grid, channels * math.prod(cell)).movedim(-1, 1)


def depth_to_space(x: Tensor, cell: Sequence[int]) -> Tensor:
    """Rearrange channels into the pixels of cells: sub-pixel convolution after a convolution.

    Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
    Convolutional Neural Network", CVPR 2016. In 2D it equals `torch.nn.PixelShuffle`.

    Parameters
    ----------
    x : Tensor, (N, C · pixels of a cell, [z,] y, x)
        Features.
    cell : sequence of int
        Pixels of a cell along each axis.

    Returns
    -------
    Tensor, (N, C, ...)
        Each side is multiplied by that of the cell.
    """
    number, channels, *grid = x.shape
    ndim, width = len(cell), channels // math.prod(cell)
    split = x.reshape(number, width, *cell, *grid)
    order = [axis for place in range(ndim) for axis in (2 + ndim + place, 2 + place)]
    sides = [side * size for side, size in zip(grid, cell, strict=True)]
    return split.permute(0, 1, *order).reshape(number, width, *sides)


def init_weights(module: nn.Module, generator: torch.Generator | None = None) -> None:
    """Initialize convolutions and dense layers: He-normal weights (ICCV 2015), zero biases."""
    kinds = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)
    for layer in module.modules():
        # Drawing values for the meta device would import the compiler of torch (0.8 s).
        if isinstance(layer, kinds) and not layer.weight.is_meta:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
