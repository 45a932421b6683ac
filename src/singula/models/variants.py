"""Architectures by their names in the configuration."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from singula.models import biapy_parts
from singula.models.blocks import ConvBlock, LayerStyle
from singula.models.convnext import ConvNeXtBlock
from singula.models.settings import ModelSettings
from singula.models.skips import CoarseGate, ResPath, SkipGate
from singula.models.unet import UNET, UNET_3D, UNet, UNetParts, UShape
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
from singula.util.citation import Citation, Method

_EXCITATION = Citation(
    "hu2018",
    "Hu, J.; Shen, L.; Sun, G.",
    "Squeeze-and-excitation networks",
    "CVPR",
    2018,
    "10.1109/CVPR.2018.00745",
)
_RESIDUAL = Citation(
    "zhang2018",
    "Zhang, Z.; Liu, Q.; Wang, Y.",
    "Road extraction by deep residual U-Net",
    "IEEE Geoscience and Remote Sensing Letters",
    2018,
    "10.1109/LGRS.2018.2802944",
)

UNETS: dict[str, UNetParts] = {
    "unet": UNetParts(),
    "resunet": UNetParts(
        ResidualBlock,
        ResidualBlock,
        ResidualBlock,
        strided=True,
        method=Method("residual U-Net (ResUNet)", (_RESIDUAL,)),
    ),
    "resunet++": UNetParts(
        excited_residual,
        pyramid_bridge,
        ResidualBlock,
        skip=CoarseGate,
        tail=pyramid_tail,
        strided=True,
        method=Method(
            "ResUNet++",
            (
                Citation(
                    "jha2019",
                    "Jha, D.; others",
                    "ResUNet++: an advanced architecture for medical image segmentation",
                    "IEEE International Symposium on Multimedia",
                    2019,
                    "10.1109/ISM46123.2019.00049",
                ),
            ),
        ),
    ),
    "attention_unet": UNetParts(
        skip=SkipGate,
        method=Method(
            "Attention U-Net",
            (
                Citation(
                    "oktay2018",
                    "Oktay, O.; others",
                    "Attention U-Net: learning where to look for the pancreas",
                    "arXiv",
                    2018,
                    "10.48550/arXiv.1804.03999",
                ),
            ),
        ),
    ),
    "seunet": UNetParts(
        excited_conv,
        excited_conv,
        excited_conv,
        method=Method("U-Net with squeeze and excitation", (UNET, _EXCITATION)),
    ),
    "resunet_se": UNetParts(
        residual_excited,
        residual_excited,
        residual_excited,
        strided=True,
        method=Method("residual U-Net with squeeze and excitation", (_RESIDUAL, _EXCITATION)),
    ),
    "multiresunet": UNetParts(
        MultiResBlock,
        MultiResBlock,
        MultiResBlock,
        skip=ResPath,
        method=Method(
            "MultiResUNet",
            (
                Citation(
                    "ibtehaz2020",
                    "Ibtehaz, N.; Rahman, M. S.",
                    "MultiResUNet: rethinking the U-Net architecture for multimodal biomedical "
                    "image segmentation",
                    "Neural Networks",
                    2020,
                    "10.1016/j.neunet.2019.08.025",
                ),
            ),
        ),
    ),
    "unet_light": UNetParts(
        rearranged=True,
        method=Method(
            "U-Net whose features have half the resolution of the image, with pixels rearranged "
            "into channels",
            (
                UNET,
                Citation(
                    "shi2016",
                    "Shi, W.; others",
                    "Real-time single image and video super-resolution using an efficient "
                    "sub-pixel convolutional neural network",
                    "CVPR",
                    2016,
                    "10.1109/CVPR.2016.207",
                ),
            ),
        ),
    ),
    "unext_v1": UNetParts(
        ConvNeXtBlock,
        ConvNeXtBlock,
        ConvNeXtBlock,
        strided=True,
        method=Method(
            "U-Net with ConvNeXt blocks (U-NeXt)",
            (
                UNET,
                Citation(
                    "liu2022",
                    "Liu, Z.; others",
                    "A ConvNet for the 2020s",
                    "CVPR",
                    2022,
                    "10.1109/CVPR52688.2022.01167",
                ),
            ),
        ),
    ),
}
ARCHITECTURES = (*UNETS, "unetr")


def network_method(architecture: str, ndim: int) -> Method:
    """Return the name of an architecture in a text, and its citations.

    Parameters
    ----------
    architecture : str
        A name of `ARCHITECTURES`.
    ndim : int
        Number of spatial axes.
    """
    name = architecture.lower()
    method = UNETS[name].method if name in UNETS else UNETR.method
    if ndim == 3 and name in UNETS:
        return Method(f"3D {method.name}", (*method.citations, UNET_3D))
    return method


def make_network(settings: ModelSettings) -> nn.Module:
    """Create a network; torch's global generator draws its weights.

    Raises
    ------
    KeyError
        The name is unknown.
    ValueError
        The layer settings are invalid.
    """
    network = _make_network(settings)
    if settings.units:
        network.scale_outputs(settings.units)
    return network


def _make_network(settings: ModelSettings) -> UShape:
    name, layout = settings.architecture.lower(), settings.layout
    is_unetr, transformer = name == "unetr", settings.transformer
    style = LayerStyle(
        settings.ndim,
        transformer.kernel if is_unetr else settings.kernel,
        settings.batch_norm,
        transformer.activation if is_unetr else settings.activation,
        per_instance=layout.per_instance,
        keep_bias=layout.program == "biapy",
    )
    if is_unetr:
        return UNETR(
            style,
            settings.in_channels,
            settings.out_channels,
            n_classes=settings.n_classes,
            transformer=transformer,
            dropout=settings.dropout[-1],
            upsample=settings.upsample,
            class_token=layout.program == "biapy",
        )
    maps, decoder_maps = settings.feature_maps, settings.decoder_maps
    if decoder_maps is not None:
        maps = (*maps[:-2], maps[-1])
    return UNet(
        _parts(name, settings),
        style,
        settings.in_channels,
        settings.out_channels,
        n_classes=settings.n_classes,
        feature_maps=maps,
        pooling=settings.pooling,
        dropout=settings.dropout,
        upsample=settings.upsample,
        decoder_maps=decoder_maps,
    )


def _parts(name: str, settings: ModelSettings) -> UNetParts:
    """Return the components of a U-Net in the layout of a program."""
    layout = settings.layout
    if layout.program == "singula":
        return UNETS[name]
    if name == "resunet++" and len(settings.feature_maps) > 2:
        parts = biapy_parts.deep_parts(settings.feature_maps)
    elif name in biapy_parts.PARTS:
        parts = biapy_parts.PARTS[name]
    else:
        raise ValueError(f"the layout of BiaPy is not available for {name}")
    parts = replace(parts, method=UNETS[name].method)
    if layout.plain_bottom:
        parts = replace(parts, bottom=ConvBlock)
    return biapy_parts.with_wide_ends(parts) if layout.wide_ends else parts
