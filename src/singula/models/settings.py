"""Settings of the layers of a network, in plain types."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import partial
from math import prod
from typing import Any

from singula.util.architectures import REARRANGED, downsampling_steps
from singula.util.arguments import choice, flag, instance, integer, items, number, text


@dataclass(frozen=True)
class TransformerSettings:
    """Settings that only UNETR has.

    Parameters
    ----------
    token : int
        Side of a token in pixels, a power of two.
    width : int
        Embedding size of a token.
    layers, heads : int
        Layers and attention heads of the transformer; `width` is a multiple of `heads`.
    mlp_ratio : float
        Width of the dense layers as a multiple of `width`.
    eps : float
        Epsilon of the layer normalization.
    every : int
        Number of layers between two levels of the decoder that receive the tokens.
    filters : int
        Width of the finest level of the decoder; each coarser level has twice as many.
    activation : str
        Activation of the decoder.
    kernel : int
        Kernel size of the decoder.
    patch : tuple of int
        Spatial shape of the training patches: a position is learned for each of its tokens. For
        images of another shape, the positions are interpolated.

    Raises
    ------
    TypeError, UserError
        A value of another type, or out of range.
    """

    token: int = 16
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0
    eps: float = 1e-6
    every: int = 3
    filters: int = 16
    activation: str = "relu"
    kernel: int = 3
    patch: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values of other types."""
        for name in ("token", "width", "layers", "heads", "every", "filters", "kernel"):
            integer(getattr(self, name), name, at_least=1)
        number(self.mlp_ratio, "mlp_ratio", above=0)
        number(self.eps, "eps", above=0)
        text(self.activation, "activation")
        items(self.patch, "patch", partial(integer, at_least=1))

    @property
    def depth(self) -> int:
        """Number of levels of the decoder; each is twice as fine as the next coarser one.

        Raises
        ------
        ValueError
            The side of the token is not a power of two.
        """
        depth = self.token.bit_length() - 1
        if depth < 1 or self.token != 2**depth:
            raise ValueError(f"the token size must be 2, 4, 8, 16, …, got {self.token}")
        return depth


@dataclass(frozen=True)
class LayoutSettings:
    """Arrangement of the layers, which differs between programs for the same architecture.

    Parameters
    ----------
    program : {'singula', 'biapy'}
        Program whose arrangement the network has.
    per_instance : bool
        With `ModelSettings.batch_norm`: instance normalization instead of batch normalization.
    wide_ends : bool
        A convolution with a larger kernel before the finest level, and one before the heads.
    plain_bottom : bool
        The bottleneck has the blocks of the U-Net, whatever the architecture.

    Raises
    ------
    TypeError, UserError
        A value of another type, or out of range.
    """

    program: str = "singula"
    per_instance: bool = False
    wide_ends: bool = False
    plain_bottom: bool = False

    def __post_init__(self) -> None:
        """Refuse other values."""
        choice(self.program, "program", ("singula", "biapy"))
        for name in ("per_instance", "wide_ends", "plain_bottom"):
            flag(getattr(self, name), name)


@dataclass(frozen=True)
class ModelSettings:
    """All settings that determine the layers of a network.

    Parameters
    ----------
    ndim : {2, 3}
        Spatial dimensions.
    in_channels, out_channels : int
        Channels of the image; channels of the representation of instances.
    n_classes : int
        Classes of the second head, including background; 0 for no second head.
    architecture : str
        A name in `singula.models.variants.ARCHITECTURES`.
    feature_maps : tuple of int
        Width of each level.
    dropout : tuple of float
        Dropout probability of each level; the last applies to the transformer of UNETR.
    z_down : tuple of int
        Factor along z of each downsampling step (3D only); 0 means 2, and so does an empty tuple
        for all steps.
    batch_norm, kernel, upsample, activation
        See `singula.models.blocks`.
    transformer : TransformerSettings
        Settings of UNETR, which ignores `feature_maps`, `z_down`, `kernel` and `activation`.
    layout : LayoutSettings
        Arrangement of the layers.
    units : tuple of float
        Factor of each output channel after the last layer; empty for no factors.

    Raises
    ------
    TypeError, UserError
        A value of another type, or out of range.
    """

    ndim: int
    in_channels: int
    out_channels: int
    n_classes: int = 0
    architecture: str = "unet"
    feature_maps: tuple[int, ...] = (16, 32, 64, 128, 256)
    dropout: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)
    z_down: tuple[int, ...] = ()
    batch_norm: bool = True
    kernel: int = 3
    upsample: str = "convtranspose"
    activation: str = "ELU"
    transformer: TransformerSettings = field(default_factory=TransformerSettings)
    layout: LayoutSettings = field(default_factory=LayoutSettings)
    units: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values of other types."""
        integer(self.ndim, "ndim", at_least=2, at_most=3)
        for name in ("in_channels", "out_channels", "kernel"):
            integer(getattr(self, name), name, at_least=1)
        integer(self.n_classes, "n_classes", at_least=0)
        for name in ("architecture", "upsample", "activation"):
            text(getattr(self, name), name)
        items(self.feature_maps, "feature_maps", partial(integer, at_least=1))
        items(self.dropout, "dropout", partial(number, at_least=0, at_most=1))
        items(self.z_down, "z_down", partial(integer, at_least=0))
        flag(self.batch_norm, "batch_norm")
        instance(self.transformer, "transformer", TransformerSettings)
        instance(self.layout, "layout", LayoutSettings)
        units = items(self.units, "units", partial(number, above=0))
        items(units, "units", number, count=self.out_channels if units else 0)

    @property
    def decoder_maps(self) -> tuple[int, ...] | None:
        """Width of each level of the decoder, if it is not that of the encoder."""
        is_deep = self.architecture.lower() == "resunet++" and self.layout.program == "biapy"
        return self.feature_maps[1:-1] if is_deep else None

    @property
    def pooling(self) -> tuple[tuple[int, ...], ...]:
        """Factor per axis of each downsampling step, from the image to the coarsest level."""
        if self.architecture.lower() == "unetr":
            return ((2,) * self.ndim,) * self.transformer.depth
        steps = range(downsampling_steps(self.architecture, len(self.feature_maps)))
        if self.architecture.lower() == "resunet++" and self.layout.program == "biapy":
            steps = steps[
                1:
            ]  # the finest features are not pooled, and the bottleneck has two widths
        if self.ndim == 2:
            return tuple((2, 2) for _ in steps)
        return tuple(((self.z_down[step] if self.z_down else 0) or 2, 2, 2) for step in steps)

    @property
    def pixel_width(self) -> int:
        """Features of the finest level per pixel of the image, rounded up."""
        is_rearranged = self.architecture.lower() in REARRANGED
        return -(-self.feature_maps[0] // (prod(self.pooling[0]) if is_rearranged else 1))

    def to_dict(self) -> dict[str, Any]:
        """Return plain types, so that a checkpoint can be read without running code.

        The usual layout and units are omitted, so that earlier versions can read the settings.
        """
        plain: dict[str, Any] = _lists(asdict(self))
        if self.layout == LayoutSettings():
            del plain["layout"]
        if not self.units:
            del plain["units"]
        return plain

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelSettings:
        """Read what `to_dict` returned; settings that older versions lack have their defaults."""
        plain = _tuples(values)
        if "transformer" in plain:
            plain["transformer"] = TransformerSettings(**plain["transformer"])
        if "layout" in plain:
            plain["layout"] = LayoutSettings(**plain["layout"])
        return cls(**plain)


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _lists(inner) for name, inner in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _tuples(inner) for name, inner in value.items()}
    return tuple(value) if isinstance(value, list) else value
