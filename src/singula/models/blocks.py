"""The layers that networks are made of, for any number of spatial dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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


def make_activation(name: str) -> nn.Module:
    """The activation layer of that name, in any capitalisation.

    Raises
    ------
    ValueError
        When there is none; the message lists the names.
    """
    key = name.lower()
    key = _ALIASES.get(key, key)
    if key not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; known: {', '.join(sorted(ACTIVATIONS))}")
    return ACTIVATIONS[key]()


def same_padding(kernel: int) -> int:
    """The zero padding that keeps the size for an odd kernel."""
    if kernel % 2 == 0:
        raise ValueError(f"the kernel size must be odd, got {kernel}")
    return kernel // 2


class ConvBlock(nn.Module):
    """Two convolutions, each with optional batch normalisation and an activation.

    Parameters
    ----------
    ndim : {2, 3}
        Spatial dimensions.
    channels_in, channels_out : int
        Width before and after.
    kernel : int
        Odd size of the kernel along each axis.
    batch_norm : bool
        Normalise after each convolution (which then has no bias of its own).
    activation : str
        Name in `ACTIVATIONS`.
    dropout : float
        Probability with which a whole channel is dropped between the two convolutions.
    """

    def __init__(
        self,
        ndim: int,
        channels_in: int,
        channels_out: int,
        *,
        kernel: int,
        batch_norm: bool,
        activation: str,
        dropout: float,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index, width in enumerate((channels_in, channels_out)):
            layers.append(
                CONV[ndim](
                    width, channels_out, kernel, padding=same_padding(kernel), bias=not batch_norm
                )
            )
            if batch_norm:
                layers.append(BATCH_NORM[ndim](channels_out))
            layers.append(make_activation(activation))
            if index == 0 and dropout > 0:
                layers.append(DROPOUT[ndim](dropout))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, …) → (N, channels_out, …), the same spatial shape."""
        result: Tensor = self.layers(x)
        return result


class Upsample(nn.Module):
    """Enlarge by an integer factor per axis and set the width.

    ``convtranspose`` learns the interpolation; ``upsampling`` interpolates linearly and then
    mixes channels with a 1×1 convolution.
    """

    def __init__(
        self, ndim: int, channels_in: int, channels_out: int, factors: Sequence[int], kind: str
    ) -> None:
        super().__init__()
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
    """He-normal weights and zero biases for every convolution (He et al., ICCV 2015)."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
