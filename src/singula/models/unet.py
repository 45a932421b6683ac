"""The U-Net in two and three dimensions, with exchangeable parts.

Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation",
MICCAI 2015; Çiçek et al., "3D U-Net", MICCAI 2016.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from singula.models.blocks import (
    CONV,
    MAX_POOL,
    Block,
    BlockSpec,
    ConvBlock,
    LayerStyle,
    Upsample,
    depth_to_space,
    init_weights,
    space_to_depth,
)
from singula.models.skips import Skip, SkipSpec
from singula.util.citation import Citation, Method

BlockFactory = Callable[[LayerStyle, BlockSpec], Block]
SkipFactory = Callable[[LayerStyle, SkipSpec], Skip]
Reach = npt.NDArray[np.int64]


UNET = Citation(
    "ronneberger2015",
    "Ronneberger, O.; Fischer, P.; Brox, T.",
    "U-Net: convolutional networks for biomedical image segmentation",
    "MICCAI",
    2015,
    "10.1007/978-3-319-24574-4_28",
)
_U_NET = Method("U-Net", (UNET,))
UNET_3D = Citation(
    "cicek2016",
    "Çiçek, Ö.; Abdulkadir, A.; Lienkamp, S. S.; Brox, T.; Ronneberger, O.",
    "3D U-Net: learning dense volumetric segmentation from sparse annotation",
    "MICCAI",
    2016,
    "10.1007/978-3-319-46723-8_49",
)


@dataclass(frozen=True)
class UNetParts:
    """Components of a U-Net.

    Parameters
    ----------
    encoder, bottom, decoder : callable
        Create the block of a level; `bottom` creates the bottleneck.
    skip : callable
        Creates a skip connection.
    tail : callable, optional
        Creates a block before the heads.
    strided : bool
        True if the blocks downsample with a stride; False for maximum pooling before them.
    rearranged : bool
        True if the pixels of the finest grid are rearranged into channels: the first pooling factor
        then applies to the image instead of features, and the output is rearranged back.
    wide_up : bool
        True if upsampling keeps the number of channels.
    active_up : bool
        True if normalization and activation follow the upsampling.
    up_bias : bool
        True if transposed convolutions have a bias.
    up_first : bool
        True if the upsampled features precede the skip connection in the concatenation.
    method : Method
        Name and citations of the architecture.
    """

    encoder: BlockFactory = ConvBlock
    bottom: BlockFactory = ConvBlock
    decoder: BlockFactory = ConvBlock
    skip: SkipFactory = Skip
    tail: Callable[[LayerStyle, int], Block] | None = None
    strided: bool = False
    rearranged: bool = False
    wide_up: bool = False
    active_up: bool = False
    up_bias: bool = True
    up_first: bool = False
    method: Method = _U_NET


class UShape(nn.Module):
    """A decoder with skip connections and two heads; subclasses add the encoder.

    Parameters
    ----------
    parts : UNetParts
    style : LayerStyle
    """

    def __init__(self, parts: UNetParts, style: LayerStyle) -> None:
        super().__init__()
        self.parts, self.style = parts, style
        self.register_buffer("units", None)
        self.units: Tensor | None

    def scale_outputs(self, units: Sequence[float]) -> None:
        """Multiply the channels by factors, which are not part of the weights.

        Parameters
        ----------
        units : sequence of float
            Factor of each channel.
        """
        pixels = cast(nn.Conv2d, self.head).out_channels // len(units)
        factors = torch.tensor(units).repeat_interleave(pixels)
        self.register_buffer("units", factors.view(1, -1, *[1] * self.style.ndim), False)

    def _add_decoder(
        self,
        incoming: Sequence[int],
        bottom: int,
        *,
        feature_maps: Sequence[int],
        pooling: Sequence[tuple[int, ...]],
        dropout: Sequence[float],
        upsample: str,
        out_channels: int,
        n_classes: int,
    ) -> None:
        """Create the skip connections, the decoder and the heads.

        Parameters
        ----------
        incoming : sequence of int
            Channels of the skip connection of each level, the finest first.
        bottom : int
            Channels of the bottleneck.
        feature_maps, pooling, dropout
            Values of the levels above the bottleneck, the finest first.
        upsample, out_channels, n_classes
            See `UNet`.
        """
        style, parts, ndim = self.style, self.parts, self.style.ndim
        ups: list[Upsample] = []
        skips: list[Skip] = []
        decoder: list[Block] = []
        coarse = bottom
        for level in reversed(range(len(incoming))):
            width = feature_maps[level]
            enlarged = coarse if parts.wide_up else width
            spec = SkipSpec(
                incoming[level], width, coarse, enlarged, pooling[level], len(incoming) - level
            )
            skips.append(parts.skip(style, spec))
            end = (style.norm(enlarged), style.act()) if parts.active_up else ()
            ups.append(
                Upsample(ndim, coarse, enlarged, pooling[level], upsample, end, bias=parts.up_bias)
            )
            block = BlockSpec(skips[-1].width + enlarged, width, dropout[level])
            decoder.append(parts.decoder(style, block))
            coarse = decoder[-1].width
        self.skips = nn.ModuleList(skips)
        self.ups = nn.ModuleList(ups)
        self.decoder = nn.ModuleList(decoder)
        self.tail = None if parts.tail is None else parts.tail(style, coarse)
        coarse = coarse if self.tail is None else self.tail.width
        self.head = CONV[ndim](coarse, out_channels, 1)
        self.class_head = CONV[ndim](coarse, n_classes, 1) if n_classes else None

    def decode(self, x: Tensor, levels: list[Tensor]) -> Tensor:
        """Compute the logits from the features of the bottleneck and the encoder (finest first)."""
        for skip, up, block in zip(self.skips, self.ups, self.decoder, strict=True):
            if skip.needs_upsampled:
                passed, x = skip(levels.pop(), up(x))
            else:
                passed, x = skip(levels.pop(), x)
                x = up(x)
            joined = [x, passed] if self.parts.up_first else [passed, x]
            x = block(torch.cat(joined, dim=1))
        if self.tail is not None:
            x = self.tail(x)
        channels: Tensor = self.head(x)
        if self.units is not None:
            channels = channels * self.units
        if self.class_head is None:
            return channels
        return torch.cat([channels, self.class_head(x)], dim=1)

    def receptive_radius(self) -> tuple[int, ...] | None:
        """Return the radius of the receptive field per axis in pixels; None if unlimited."""
        return None


class UNet(UShape):
    """An encoder and a decoder of equal depth with skip connections.

    Parameters
    ----------
    parts : UNetParts
        Components: by default two convolutions per level and plain skip connections.
    style : LayerStyle
        Dimensions, kernel, normalization and activation of its layers.
    in_channels : int
        Channels of the image.
    out_channels : int
        Channels of the representation of instances; they come first in the output.
    n_classes : int
        Classes of the second head, including background; 0 for none.
    feature_maps : sequence of int
        Width of each level; the last is that of the bottleneck.
    pooling : sequence of tuple of int
        Factor per axis between consecutive levels; one fewer than `feature_maps`. With
        `UNetParts.rearranged`, the factor between image and finest level comes first.
    dropout : sequence of float
        One probability per level.
    upsample : str
        See `Upsample`.
    decoder_maps : sequence of int, optional
        Width of each level of the decoder, the finest first; by default that of `feature_maps`.
    """

    def __init__(
        self,
        parts: UNetParts,
        style: LayerStyle,
        in_channels: int,
        out_channels: int,
        *,
        n_classes: int,
        feature_maps: Sequence[int],
        pooling: Sequence[tuple[int, ...]],
        dropout: Sequence[float],
        upsample: str,
        decoder_maps: Sequence[int] | None = None,
    ) -> None:
        super().__init__(parts, style)
        depth = len(feature_maps) - 1
        self.cell = (1,) * style.ndim
        if parts.rearranged:
            self.cell, *pooling = pooling
        pixels = math.prod(self.cell)
        self.pooling = tuple(pooling)
        encoder: list[Block] = []
        width = in_channels * pixels
        for level in range(depth + 1):
            stride = pooling[level - 1] if parts.strided and level else ()
            spec = BlockSpec(width, feature_maps[level], dropout[level], stride, first=level == 0)
            make = parts.encoder if level < depth else parts.bottom
            encoder.append(make(style, spec))
            width = encoder[-1].width
        self.encoder = nn.ModuleList(encoder[:-1])
        self.pools = nn.ModuleList(
            nn.Identity() if parts.strided else MAX_POOL[style.ndim](pooling[level])
            for level in range(depth)
        )
        self.bottom = encoder[-1]
        self._add_decoder(
            [block.width for block in encoder[:-1]],
            self.bottom.width,
            feature_maps=feature_maps if decoder_maps is None else decoder_maps,
            pooling=pooling,
            dropout=dropout,
            upsample=upsample,
            out_channels=out_channels * pixels,
            n_classes=n_classes * pixels,
        )
        init_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits (N, out_channels + n_classes, …) of images (N, in_channels, …).

        The spatial shape must be a multiple of the product of the pooling factors.
        """
        if self.parts.rearranged:
            x = space_to_depth(x, self.cell)
        levels = []
        for block, pool in zip(self.encoder, self.pools, strict=True):
            x = block(x)
            levels.append(x)
            x = pool(x)
        logits = self.decode(self.bottom(x), levels)
        return depth_to_space(logits, self.cell) if self.parts.rearranged else logits

    def receptive_radius(self) -> tuple[int, ...] | None:
        """Return the radius of the receptive field per axis in pixels; None if unlimited.

        Computed along the path with the largest radius: blocks and skips have their own radius, a
        coarse pixel covers as many pixels as the pooling factor, and linear interpolation adds one
        coarse pixel.
        """
        every = [m for m in self.modules() if isinstance(m, Block)]
        if self.style.per_instance or any(block.reach is None for block in every):
            return None
        step = np.array(self.cell, np.int64)
        # A pixel influences all pixels of its cell.
        reach = self._reach_below(0, step) + step - 1
        if self.tail is not None:
            reach = reach + _reach(self.tail, step, step)
        return tuple(int(r) for r in reach)

    def _reach_below(self, level: int, step: Reach) -> Reach:
        """Return the radius of a level and all coarser levels, whose pixels are `step` wide."""
        finer = step // np.array(self.pooling[level - 1]) if level else step
        if level == len(self.pooling):
            return _reach(self.bottom, step, finer)
        index = (
            len(self.pooling) - 1 - level
        )  # the lists of the decoder begin at the coarsest level
        skip, up = cast(Skip, self.skips[index]), cast(Upsample, self.ups[index])
        factors = np.array(self.pooling[level])
        coarse = step * factors
        below = step * (factors - 1) + self._reach_below(level + 1, coarse)
        if up.interpolates or skip.interpolates:
            below = below + coarse
        blocks = _reach(self.encoder[level], step, finer) + _reach(self.decoder[index], step, step)
        furthest: Reach = blocks + np.maximum(below, step * skip.reach)
        return furthest


def _reach(block: nn.Module, step: Reach, finer: Reach) -> Reach:
    typed = cast(Block, block)
    result: Reach = step * (typed.reach or 0) + finer * typed.reach_before
    return result
