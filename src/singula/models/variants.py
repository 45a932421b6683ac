"""Architectures by their names in the configuration."""

from __future__ import annotations

from torch import nn

from singula.models.blocks import LayerStyle
from singula.models.convnext import ConvNeXtBlock
from singula.models.settings import ModelSettings
from singula.models.skips import CoarseGate, ResPath, SkipGate
from singula.models.unet import UNet, UNetParts
from singula.models.unetr import UNETR
from singula.models.units import (
    MultiResBlock,
    ResidualBlock,
    excited_conv,
    excited_residual,
    pyramid_bridge,
    pyramid_tail,
    residual_excited,
)

UNETS: dict[str, UNetParts] = {
    "unet": UNetParts(),
    "resunet": UNetParts(ResidualBlock, ResidualBlock, ResidualBlock, strided=True),
    "resunet++": UNetParts(
        excited_residual,
        pyramid_bridge,
        ResidualBlock,
        skip=CoarseGate,
        tail=pyramid_tail,
        strided=True,
    ),
    "attention_unet": UNetParts(skip=SkipGate),
    "seunet": UNetParts(excited_conv, excited_conv, excited_conv),
    "resunet_se": UNetParts(residual_excited, residual_excited, residual_excited, strided=True),
    "multiresunet": UNetParts(MultiResBlock, MultiResBlock, MultiResBlock, skip=ResPath),
    "unet_light": UNetParts(rearranged=True),
    "unext_v1": UNetParts(ConvNeXtBlock, ConvNeXtBlock, ConvNeXtBlock, strided=True),
}
ARCHITECTURES = (*UNETS, "unetr")


def make_network(settings: ModelSettings) -> nn.Module:
    """Create a network; torch's global generator draws its weights.

    Raises
    ------
    KeyError
        The name is unknown.
    ValueError
        The layer settings are invalid.
    """
    name = settings.architecture.lower()
    if name == "unetr":
        transformer = settings.transformer
        return UNETR(
            LayerStyle(
                settings.ndim, transformer.kernel, settings.batch_norm, transformer.activation
            ),
            settings.in_channels,
            settings.out_channels,
            n_classes=settings.n_classes,
            transformer=transformer,
            dropout=settings.dropout[-1],
            upsample=settings.upsample,
        )
    return UNet(
        UNETS[name],
        LayerStyle(settings.ndim, settings.kernel, settings.batch_norm, settings.activation),
        settings.in_channels,
        settings.out_channels,
        n_classes=settings.n_classes,
        feature_maps=settings.feature_maps,
        pooling=settings.pooling,
        dropout=settings.dropout,
        upsample=settings.upsample,
    )
