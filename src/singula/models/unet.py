"""The U-Net in two and three dimensions.

Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation",
MICCAI 2015; Çiçek et al., "3D U-Net", MICCAI 2016.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from singula.models.blocks import CONV, MAX_POOL, ConvBlock, Upsample, initialise


class UNet(nn.Module):
    """An encoder and a decoder of equal depth with skip connections.

    Parameters
    ----------
    ndim : {2, 3}
        Spatial dimensions.
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
    kernel, batch_norm, activation, upsample
        See `ConvBlock` and `Upsample`.
    """

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        *,
        n_classes: int,
        feature_maps: Sequence[int],
        pooling: Sequence[tuple[int, ...]],
        dropout: Sequence[float],
        kernel: int,
        batch_norm: bool,
        activation: str,
        upsample: str,
    ) -> None:
        super().__init__()

        def block(width_in: int, level: int) -> ConvBlock:
            return ConvBlock(
                ndim,
                width_in,
                feature_maps[level],
                kernel=kernel,
                batch_norm=batch_norm,
                activation=activation,
                dropout=dropout[level],
            )

        depth = len(feature_maps) - 1
        widths = [in_channels, *feature_maps]
        self.encoder = nn.ModuleList(block(widths[level], level) for level in range(depth))
        self.pools = nn.ModuleList(MAX_POOL[ndim](pooling[level]) for level in range(depth))
        self.bottom = block(widths[depth], depth)
        self.ups = nn.ModuleList(
            Upsample(ndim, feature_maps[level + 1], feature_maps[level], pooling[level], upsample)
            for level in reversed(range(depth))
        )
        self.decoder = nn.ModuleList(
            block(2 * feature_maps[level], level) for level in reversed(range(depth))
        )
        self.head = CONV[ndim](feature_maps[0], out_channels, 1)
        self.class_head = CONV[ndim](feature_maps[0], n_classes, 1) if n_classes else None
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, out_channels + n_classes, …) of an image batch (N, in_channels, …).

        The spatial shape must be a multiple of the product of the pooling factors.
        """
        skips = []
        for block, pool in zip(self.encoder, self.pools, strict=True):
            x = block(x)
            skips.append(x)
            x = pool(x)
        x = self.bottom(x)
        for up, block in zip(self.ups, self.decoder, strict=True):
            x = block(torch.cat([skips.pop(), up(x)], dim=1))
        channels: Tensor = self.head(x)
        if self.class_head is None:
            return channels
        return torch.cat([channels, self.class_head(x)], dim=1)
