"""Arrangement of the layers of BiaPy's networks, for weights that BiaPy trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from singula.models.blocks import Block, BlockSpec, Chain, ConvUnit, LayerStyle, Pool
from singula.models.skips import FineGate, PooledGate, ResPath, Skip, SkipSpec
from singula.models.unet import BlockFactory, UNetParts
from singula.models.units import JoinedPyramid, MultiResBlock, ResidualBlock, SqueezeExcite

_DIVISORS = (1 / 0.167, 1 / 0.333, 2.0)


def _excited(style: LayerStyle, spec: BlockSpec) -> Block:
    """Return two convolutions, each followed by `SqueezeExcite`."""
    width = spec.channels_out
    return Chain(
        ConvUnit(style, spec.channels_in, width),
        SqueezeExcite(style, width, published=True),
        ConvUnit(style, width, width),
        SqueezeExcite(style, width, published=True),
    )


def _residual(style: LayerStyle, spec: BlockSpec) -> Block:
    """Return a residual unit whose shortcut is always a 1×1 convolution without normalization."""
    shortcut = style.mix(spec.channels_in, spec.channels_out)
    return ResidualBlock(style, spec, shortcut=shortcut)


def _multires(style: LayerStyle, spec: BlockSpec) -> Block:
    """Return a MultiRes block with other widths, which normalizes the sum."""
    return MultiResBlock(style, spec, divisors=_DIVISORS, norm_sum=True)


def _res_path(style: LayerStyle, spec: SkipSpec) -> Skip:
    """Return a ResPath whose steps are normalized again."""
    return ResPath(style, spec, renormalized=True)


def _deep_residual(style: LayerStyle, spec: BlockSpec) -> Block:
    """Return a residual unit whose shortcut is a convolution with normalization."""
    shortcut = nn.Sequential(
        style.conv(spec.channels_in, spec.channels_out), style.norm(spec.channels_out)
    )
    return ResidualBlock(style, replace(spec, stride=()), shortcut=shortcut)


def _pooled(style: LayerStyle, spec: BlockSpec) -> Block:
    """Return a residual unit, `SqueezeExcite`, and pooling except at the finest level."""
    blocks = [
        _deep_residual(style, spec),
        SqueezeExcite(style, spec.channels_out, published=True),
    ]
    return Chain(*blocks, *([Pool(style, spec)] if spec.stride else []))


def _pyramid_bridge(width: int) -> BlockFactory:
    """Return a factory for a residual unit of a width, pooling and a pyramid."""

    def make(style: LayerStyle, spec: BlockSpec) -> Block:
        inner = replace(spec, channels_out=width)
        return Chain(
            _deep_residual(style, inner),
            Pool(style, inner),
            JoinedPyramid(style, BlockSpec(width, spec.channels_out)),
        )

    return make


def deep_parts(feature_maps: Sequence[int]) -> UNetParts:
    """Return the components of ResUNet++ for the widths of the configuration."""
    *_, before, _ = feature_maps
    return UNetParts(
        _pooled,
        _pyramid_bridge(before),
        _deep_residual,
        skip=PooledGate,
        tail=lambda style, width: JoinedPyramid(style, BlockSpec(width, feature_maps[0])),
        strided=True,
        wide_up=True,
        up_first=True,
    )


_UNET = UNetParts(active_up=True, up_first=True)
PARTS: dict[str, UNetParts] = {
    "unet": _UNET,
    "resunet": UNetParts(_residual, _residual, _residual, wide_up=True, up_first=True),
    "attention_unet": replace(_UNET, skip=FineGate),
    "seunet": replace(_UNET, encoder=_excited, bottom=_excited, decoder=_excited),
    "multiresunet": UNetParts(_multires, _multires, _multires, skip=_res_path, up_first=True),
}
"""Components of the networks by their names in the configuration; see also `deep_parts`."""


def with_wide_ends(parts: UNetParts) -> UNetParts:
    """Return parts with wide convolutions before the finest level and before the heads."""

    def tail(style: LayerStyle, width: int) -> Block:
        first = [] if parts.tail is None else [parts.tail(style, width)]
        width = first[-1].width if first else width
        return Chain(*first, ConvUnit(_wide(style), width, width))

    return replace(parts, encoder=_entering(parts.encoder), tail=tail)


def _entering(factory: BlockFactory) -> BlockFactory:
    """Return a factory that begins the first block with a wide convolution."""

    def make(style: LayerStyle, spec: BlockSpec) -> Block:
        if not spec.first:
            return factory(style, spec)
        entry = ConvUnit(_wide(style), spec.channels_in, spec.channels_out)
        return Chain(entry, factory(style, replace(spec, channels_in=spec.channels_out)))

    return make


def _wide(style: LayerStyle) -> LayerStyle:
    return replace(style, kernel=style.kernel + 2)
