"""Every architecture, by its name in the configuration."""

from __future__ import annotations

from torch import nn

from singula.models.blocks import Style
from singula.models.convnext import ConvNeXtBlock
from singula.models.settings import ModelSettings
from singula.models.skips import CoarseGate, ResPath, SkipGate
from singula.models.unet import Parts, UNet
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

PARTS: dict[str, Parts] = {
    "unet": Parts(),
    "resunet": Parts(ResidualBlock, ResidualBlock, ResidualBlock, strided=True),
    "resunet++": Parts(
        excited_residual,
        pyramid_bridge,
        ResidualBlock,
        skip=CoarseGate,
        tail=pyramid_tail,
        strided=True,
    ),
    "attention_unet": Parts(skip=SkipGate),
    "seunet": Parts(excited_conv, excited_conv, excited_conv),
    "resunet_se": Parts(residual_excited, residual_excited, residual_excited, strided=True),
    "multiresunet": Parts(MultiResBlock, MultiResBlock, MultiResBlock, skip=ResPath),
    "unext_v1": Parts(ConvNeXtBlock, ConvNeXtBlock, ConvNeXtBlock, strided=True),
}
ARCHITECTURES = (*PARTS, "unetr")


def make_network(settings: ModelSettings) -> nn.Module:
    """The network of that name; its weights are drawn from torch's global generator.

    Raises
    ------
    KeyError
        For an unknown name.
    ValueError
        For an impossible layer.
    """
    name = settings.architecture.lower()
    if name == "unetr":
        own = settings.transformer
        return UNETR(
            Style(settings.ndim, own.kernel, settings.batch_norm, own.activation),
            settings.in_channels,
            settings.out_channels,
            n_classes=settings.n_classes,
            transformer=own,
            dropout=settings.dropout[-1],
            upsample=settings.upsample,
        )
    return UNet(
        PARTS[name],
        Style(settings.ndim, settings.kernel, settings.batch_norm, settings.activation),
        settings.in_channels,
        settings.out_channels,
        n_classes=settings.n_classes,
        feature_maps=settings.feature_maps,
        pooling=settings.pooling,
        dropout=settings.dropout,
        upsample=settings.upsample,
    )
