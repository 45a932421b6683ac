"""Describe a network in words, for pictures and tables."""

from __future__ import annotations

from dataclasses import dataclass

from singula.models.settings import ModelSettings
from singula.util.architectures import REARRANGED


@dataclass(frozen=True)
class Outline:
    """Texts that describe the parts of a network.

    Parameters
    ----------
    encoder, decoder : tuple of str
        One text for each level above the bottleneck, the finest first.
    bottom : str
    skip : str
        Operation on a skip connection; empty for none.
    layers : str
        Activation, normalization and upsampling.
    downward : bool
        True if each level of the encoder is the input of the next. False if the image is the input
        of the bottleneck, from which all levels except the first come.
    """

    encoder: tuple[str, ...]
    bottom: str
    decoder: tuple[str, ...]
    skip: str
    layers: str
    downward: bool = True


_BLOCKS = {
    "unet": "conv ×2",
    "resunet": "residual",
    "resunet++": "residual + SE",
    "attention_unet": "conv ×2",
    "seunet": "conv ×2 + SE",
    "resunet_se": "residual SE",
    "multiresunet": "MultiRes",
    "unet_light": "conv ×2",
    "unext_v1": "ConvNeXt ×2",
}
_BOTTOM = {"resunet++": "residual + ASPP"}
_DECODER = {"resunet++": "residual"}
_SKIP = {
    "resunet++": "attention on the level below",
    "attention_unet": "attention gates",
    "multiresunet": "ResPaths",
}


def outline(settings: ModelSettings) -> Outline:
    """Describe the parts of a network, with the widths of the settings."""
    name = settings.architecture.lower()
    if name == "unetr":
        return _unetr(settings)
    block, widths = _BLOCKS[name], settings.feature_maps
    encoder = [f"{block}, {width}" for width in widths[:-1]]
    finer = widths[:-1] if settings.decoder_maps is None else settings.decoder_maps
    decoder = [f"{_DECODER.get(name, block)}, {width}" for width in finer]
    if name == "resunet++":
        decoder[0] += " + ASPP"
    if name in REARRANGED:
        encoder.insert(0, "space to depth")
        decoder.insert(0, "depth to space")
    return Outline(
        tuple(encoder),
        f"{_BOTTOM.get(name, block)}, {widths[-1]}",
        tuple(decoder),
        _SKIP.get(name, ""),
        f"layer norm, {settings.upsample}"
        if name == "unext_v1"
        else _layers(settings, settings.activation),
    )


def _unetr(settings: ModelSettings) -> Outline:
    transformer = settings.transformer
    widths = [transformer.filters * 2**level for level in range(transformer.depth)]
    tokens = [
        f"layer {level * transformer.every}, {widths[level]}"
        for level in range(1, transformer.depth)
    ]
    return Outline(
        (f"conv ×2, {widths[0]}", *tokens),
        f"transformer {transformer.layers} × {transformer.width}",
        tuple(f"conv ×2, {width}" for width in widths),
        "",
        _layers(settings, transformer.activation),
        downward=False,
    )


def _layers(settings: ModelSettings, activation: str) -> str:
    kind = "instance" if settings.layout.per_instance else "batch"
    norm = f"{kind} norm" if settings.batch_norm else "no batch norm"
    return f"{activation}, {norm}, {settings.upsample}"
