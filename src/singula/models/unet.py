"""The U-Net in two and three dimensions, with exchangeable parts.

Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation",
MICCAI 2015; Çiçek et al., "3D U-Net", MICCAI 2016.
"""

from __future__ import annotations

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
    ConvBlock,
    Place,
    Style,
    Upsample,
    initialise,
)
from singula.models.skips import Crossing, Skip

BlockFactory = Callable[[Style, Place], Block]
SkipFactory = Callable[[Style, Crossing], Skip]
Reach = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Parts:
    """What a U-Net is put together from.

    Parameters
    ----------
    encoder, bottom, decoder : callable
        Make the block of a level.
    skip : callable
        Makes what a skip connection passes.
    tail : callable, optional
        Makes a block in front of the heads.
    strided : bool
        The blocks themselves shrink the grid; else a maximum pooling before them does.
    """

    encoder: BlockFactory = ConvBlock
    bottom: BlockFactory = ConvBlock
    decoder: BlockFactory = ConvBlock
    skip: SkipFactory = Skip
    tail: Callable[[Style, int], Block] | None = None
    strided: bool = False


class UShape(nn.Module):
    """A decoder with skip connections and the two heads; what comes before it is a subclass's.

    Parameters
    ----------
    parts : Parts
    style : Style
    """

    def __init__(self, parts: Parts, style: Style) -> None:
        super().__init__()
        self.parts, self.style = parts, style

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
        """Make all that follows the bottom.

        Parameters
        ----------
        incoming : sequence of int
            Channels that each level's skip connection has, the finest first.
        bottom : int
            Channels of the bottom.
        feature_maps, pooling, dropout
            Of the levels above the bottom, the finest first.
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
            crossing = Crossing(
                incoming[level], width, coarse, pooling[level], len(incoming) - level
            )
            skips.append(parts.skip(style, crossing))
            ups.append(Upsample(ndim, coarse, width, pooling[level], upsample))
            place = Place(skips[-1].width + width, width, dropout[level])
            decoder.append(parts.decoder(style, place))
            coarse = decoder[-1].width
        self.skips = nn.ModuleList(skips)
        self.ups = nn.ModuleList(ups)
        self.decoder = nn.ModuleList(decoder)
        self.tail = None if parts.tail is None else parts.tail(style, coarse)
        self.head = CONV[ndim](coarse, out_channels, 1)
        self.class_head = CONV[ndim](coarse, n_classes, 1) if n_classes else None

    def decode(self, x: Tensor, levels: list[Tensor]) -> Tensor:
        """Logits from the bottom's features and the encoder's, the finest first."""
        for skip, up, block in zip(self.skips, self.ups, self.decoder, strict=True):
            passed, x = skip(levels.pop(), x)
            x = block(torch.cat([passed, up(x)], dim=1))
        if self.tail is not None:
            x = self.tail(x)
        channels: Tensor = self.head(x)
        if self.class_head is None:
            return channels
        return torch.cat([channels, self.class_head(x)], dim=1)

    def receptive_radius(self) -> tuple[int, ...] | None:
        """How far, per axis in pixels, the input influences an output pixel; None: everywhere."""
        return None


class UNet(UShape):
    """An encoder and a decoder of equal depth with skip connections.

    Parameters
    ----------
    parts : Parts
        What it is put together from; two convolutions per level and plain skips by default.
    style : Style
        Dimensions, kernel, normalisation and activation of its layers.
    in_channels : int
        Channels of the image.
    out_channels : int
        Channels that describe instances; they come first in the output.
    n_classes : int
        Classes (background included) of the second head; 0 for none.
    feature_maps : sequence of int
        Width of each level, the last being the bottom.
    pooling : sequence of tuple of int
        Factor per axis between consecutive levels; one fewer than `feature_maps`.
    dropout : sequence of float
        One probability per level.
    upsample : str
        See `Upsample`.
    """

    def __init__(
        self,
        parts: Parts,
        style: Style,
        in_channels: int,
        out_channels: int,
        *,
        n_classes: int,
        feature_maps: Sequence[int],
        pooling: Sequence[tuple[int, ...]],
        dropout: Sequence[float],
        upsample: str,
    ) -> None:
        super().__init__(parts, style)
        depth = len(feature_maps) - 1
        self.pooling = tuple(pooling)
        encoder: list[Block] = []
        width = in_channels
        for level in range(depth + 1):
            stride = pooling[level - 1] if parts.strided and level else ()
            place = Place(width, feature_maps[level], dropout[level], stride, first=level == 0)
            make = parts.encoder if level < depth else parts.bottom
            encoder.append(make(style, place))
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
            feature_maps=feature_maps,
            pooling=pooling,
            dropout=dropout,
            upsample=upsample,
            out_channels=out_channels,
            n_classes=n_classes,
        )
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, out_channels + n_classes, …) of an image batch (N, in_channels, …).

        The spatial shape must be a multiple of the product of the pooling factors.
        """
        levels = []
        for block, pool in zip(self.encoder, self.pools, strict=True):
            x = block(x)
            levels.append(x)
            x = pool(x)
        return self.decode(self.bottom(x), levels)

    def receptive_radius(self) -> tuple[int, ...] | None:
        """How far, per axis in pixels, the input influences an output pixel; None: everywhere.

        Counted through the path that reaches furthest: blocks and skips know their own reach, a
        coarse pixel covers as many as the pooling's factor, and linear interpolation adds one
        coarse pixel.
        """
        every = [m for m in self.modules() if isinstance(m, Block)]
        if any(block.reach is None for block in every):
            return None
        step = np.ones(self.style.ndim, np.int64)
        reach = self._reach_below(0, step)
        if self.tail is not None:
            reach = reach + _reach(self.tail, step, step)
        return tuple(int(r) for r in reach)

    def _reach_below(self, level: int, step: Reach) -> Reach:
        """Reach of a level with all that is below it; a pixel of its grid is `step` wide."""
        finer = step // np.array(self.pooling[level - 1]) if level else step
        if level == len(self.pooling):
            return _reach(self.bottom, step, finer)
        index = len(self.pooling) - 1 - level  # the decoder's lists begin at the bottom
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
    known = cast(Block, block)
    result: Reach = step * (known.reach or 0) + finer * known.reach_before
    return result
