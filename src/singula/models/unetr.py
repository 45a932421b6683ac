"""UNETR: a transformer as the encoder, and the decoder of the U-Net.

Hatamizadeh et al., "UNETR: Transformers for 3D Medical Image Segmentation", WACV 2022; the
transformer is that of Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from singula.models.blocks import (
    CONV,
    UPSAMPLE_MODE,
    BlockSpec,
    ConvBlock,
    LayerStyle,
    Upsample,
    init_weights,
)
from singula.models.settings import TransformerSettings
from singula.models.unet import UNetParts, UShape
from singula.util.citation import Citation, Method

_STD = 0.02


class TransformerLayer(nn.Module):
    """Self-attention and two dense layers, each with a layer norm before and a residual.

    Parameters
    ----------
    settings : TransformerSettings
    dropout : float
        Dropout probability of the residual branches.
    """

    def __init__(self, settings: TransformerSettings, dropout: float) -> None:
        super().__init__()
        width, inner = settings.width, max(1, int(settings.width * settings.mlp_ratio))
        if width % settings.heads:
            raise ValueError(f"{settings.heads} attention heads do not divide a width of {width}")
        self.heads = settings.heads
        self.norm_attention = nn.LayerNorm(width, eps=settings.eps)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm_dense = nn.LayerNorm(width, eps=settings.eps)
        self.dense = nn.Sequential(
            nn.Linear(width, inner), nn.GELU(), nn.Dropout(dropout), nn.Linear(inner, width)
        )
        self.drop = nn.Dropout(dropout)

    def attend(self, x: Tensor) -> Tensor:
        """Compute multi-head self-attention."""
        count, length, width = x.shape
        split = self.query_key_value(x).view(count, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        result: Tensor = self.project(mixed.transpose(1, 2).reshape(count, length, width))
        return result

    def forward(self, x: Tensor) -> Tensor:
        """(N, tokens, width) → the same shape."""
        x = x + self.drop(self.attend(self.norm_attention(x)))
        result: Tensor = x + self.drop(self.dense(self.norm_dense(x)))
        return result


class UNETR(UShape):
    """A transformer over square tokens, whose upsampled hidden states are the skip connections.

    With a token of 16 pixels, the decoder has four levels. The skip connection of the finest level
    is the image after two convolutions. Those of the coarser levels are the tokens after a number
    of layers, upsampled in steps (transposed convolution, convolution). The result of the last
    layer is the bottleneck.

    Parameters
    ----------
    style : LayerStyle
        Style of the decoder.
    in_channels, out_channels, n_classes
        See `singula.models.unet.UNet`.
    transformer : TransformerSettings
        Its `patch` must be a multiple of the token.
    dropout : float
        Dropout probability of the transformer.
    upsample : str
        See `Upsample`.
    class_token : bool
        Add a learned token to those of the image, as in ViT, and omit the last layer norm and the
        bias of transposed convolutions, as BiaPy does.

    Raises
    ------
    ValueError
        Token, patch, layers, heads and width do not fit together.
    """

    method = Method(
        "UNETR",
        (
            Citation(
                "hatamizadeh2022",
                "Hatamizadeh, A.; others",
                "UNETR: transformers for 3D medical image segmentation",
                "WACV",
                2022,
                "10.1109/WACV51458.2022.00181",
            ),
        ),
    )

    def __init__(
        self,
        style: LayerStyle,
        in_channels: int,
        out_channels: int,
        *,
        n_classes: int,
        transformer: TransformerSettings,
        dropout: float,
        upsample: str,
        class_token: bool = False,
    ) -> None:
        parts = UNetParts(up_bias=False, up_first=True) if class_token else UNetParts()
        super().__init__(parts, style)
        depth = transformer.depth
        _check(transformer, style.ndim)
        self.every = transformer.every
        self.embed = CONV[style.ndim](
            in_channels, transformer.width, transformer.token, stride=transformer.token
        )
        grid = tuple(size // transformer.token for size in transformer.patch)
        self.position = nn.Parameter(torch.zeros(1, transformer.width, *grid))
        self.class_token: nn.Parameter | None = None
        if class_token:
            self.class_token = nn.Parameter(torch.zeros(1, 1, transformer.width))
        self.drop = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            TransformerLayer(transformer, dropout) for _ in range(transformer.layers)
        )
        self.norm: nn.Module = nn.LayerNorm(transformer.width, eps=transformer.eps)
        if class_token:
            self.norm = nn.Identity()
        widths = [transformer.filters * 2**level for level in range(depth)]
        self.image = ConvBlock(style, BlockSpec(in_channels, widths[0]))
        self.ladders = nn.ModuleList(
            _ladder(style, transformer.width, widths[level], depth - level, upsample, parts.up_bias)
            for level in range(1, depth)
        )
        self._add_decoder(
            widths,
            transformer.width,
            feature_maps=widths,
            pooling=((2,) * style.ndim,) * depth,
            dropout=(0.0,) * depth,
            upsample=upsample,
            out_channels=out_channels,
            n_classes=n_classes,
        )
        init_weights(self)
        nn.init.trunc_normal_(self.position, std=_STD)
        for layer in self.layers.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=_STD)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits (N, out_channels + n_classes, …) of images (N, in_channels, …).

        The spatial shape must be a multiple of the token.
        """
        grid = self.embed(x)
        shape = grid.shape
        tokens = self.drop((grid + self._positions(shape[2:])).flatten(2).transpose(1, 2))
        extra = 0
        if self.class_token is not None:
            extra = 1
            tokens = torch.cat([self.class_token.expand(len(tokens), 1, -1), tokens], dim=1)
        levels = [self.image(x)]
        for number, layer in enumerate(self.layers, 1):
            tokens = layer(tokens)
            if number % self.every == 0 and len(levels) <= len(self.ladders):
                hidden = tokens[:, extra:].transpose(1, 2).reshape(shape)
                levels.append(self.ladders[len(levels) - 1](hidden))
        last = self.norm(tokens[:, extra:])
        return self.decode(last.transpose(1, 2).reshape(shape), levels)

    def _positions(self, grid: torch.Size) -> Tensor:
        """Return the learned positions, interpolated if the image does not have the patch shape."""
        if self.position.shape[2:] == grid:
            return self.position
        mode = UPSAMPLE_MODE[self.style.ndim]
        return functional.interpolate(self.position, size=grid, mode=mode, align_corners=False)


def _check(settings: TransformerSettings, ndim: int) -> None:
    if len(settings.patch) != ndim or any(
        size < 1 or size % settings.token for size in settings.patch
    ):
        raise ValueError(
            f"the patch {settings.patch} is not a multiple of the token size {settings.token}"
        )
    if settings.every * (settings.depth - 1) >= settings.layers:
        raise ValueError(
            f"{settings.layers} transformer layers are too few: the decoder needs the tokens "
            f"{settings.depth - 1} times, every {settings.every} layers, before the last layer"
        )


def _ladder(
    style: LayerStyle, width: int, filters: int, steps: int, upsample: str, bias: bool
) -> nn.Module:
    """Return layers from tokens to a level of the decoder; each step doubles the grid."""
    layers: list[nn.Module] = []
    for step in range(steps):
        before = width if step == 0 else filters
        factors = (2,) * style.ndim
        layers.append(Upsample(style.ndim, before, filters, factors, upsample, bias=bias))
        layers.append(style.conv_unit(filters, filters))
    return nn.Sequential(*layers)
