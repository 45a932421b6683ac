"""The rules of the network: what its keys and the patch must be together."""

from __future__ import annotations

import math
from collections.abc import Iterator

from singula.config.keys import key_table
from singula.config.schema.root import Config
from singula.util.format import counted, grouped

_UNUSED = {
    "unetr": ("FEATURE_MAPS", "Z_DOWN", "KERNEL_SIZE", "ACTIVATION"),
    "unext_v1": ("BATCH_NORMALIZATION", "ACTIVATION"),
}
_MOST_VALUES = 2**31
_MOST_WEIGHTS = 2**32
_VIT = ("TOKEN_SIZE", "EMBED_DIM", "NUM_LAYERS", "NUM_HEADS", "MLP_RATIO")


def ineffective(config: Config) -> Iterator[str]:
    """Name the keys that were given a value which the network has no use for."""
    model, unused = config.MODEL, list(_UNUSED.get(config.MODEL.ARCHITECTURE, ()))
    if model.ARCHITECTURE == "unetr" and model.VIT_MODEL != "custom":
        unused += [f"VIT_{name}" for name in _VIT]
    for name in unused:
        value = getattr(model, name)
        usual = key_table()[f"MODEL.{name}"].default
        # Steps of 2 are what is done anyway, however many are written.
        same = set(value) <= {0, 2} if name == "Z_DOWN" else value == usual
        if not same:
            which = f"MODEL.ARCHITECTURE {model.ARCHITECTURE}"
            if name.startswith("VIT_"):
                which = f"MODEL.VIT_MODEL {model.VIT_MODEL}"
            yield f"MODEL.{name}: {value!r} has no effect with {which}"


def _patch(config: Config) -> Iterator[str]:
    size, ndim = config.DATA.PATCH_SIZE, config.ndim
    if len(size) != ndim + 1:
        axes = "(y, x, channels)" if ndim == 2 else "(z, y, x, channels)"
        yield (
            f"DATA.PATCH_SIZE: found {size}; allowed {ndim + 1} numbers {axes} "
            f"for PROBLEM.NDIM {config.PROBLEM.NDIM}"
        )
        return
    unetr = config.MODEL.ARCHITECTURE == "unetr"
    why = (
        f"the side of a token of MODEL.ARCHITECTURE unetr ({_token_key(config)})"
        if unetr
        else "as MODEL.FEATURE_MAPS and MODEL.Z_DOWN halve the patch"
    )
    for axis, length, multiple in zip("zyx"[-ndim:], config.patch, multiples(config), strict=True):
        if length % multiple:
            below = length // multiple * multiple
            near = f"{below} or {below + multiple}" if below else f"{multiple}"
            yield (
                f"DATA.PATCH_SIZE: found {length} along {axis}; allowed multiples of {multiple}, "
                f"{why}: {near}"
            )


def multiples(config: Config) -> tuple[int, ...]:
    """What the sides of a patch must be multiples of, for the configured network."""
    if config.MODEL.ARCHITECTURE == "unetr":
        return (config.MODEL.vit.token,) * config.ndim
    levels = len(config.MODEL.FEATURE_MAPS) - 1
    plane = (2**levels,) * 2
    if config.ndim == 2:
        return plane
    return (math.prod(step or 2 for step in config.MODEL.Z_DOWN), *plane)


def _network(config: Config) -> Iterator[str]:
    model = config.MODEL
    levels = len(model.FEATURE_MAPS)
    if len(model.DROPOUT_VALUES) != levels:
        yield (
            f"MODEL.DROPOUT_VALUES: found {counted(len(model.DROPOUT_VALUES), 'value')}; "
            f"allowed {levels}, "
            "one for each of MODEL.FEATURE_MAPS"
        )
    if config.ndim == 3 and len(model.Z_DOWN) != levels - 1:
        yield (
            f"MODEL.Z_DOWN: found {counted(len(model.Z_DOWN), 'value')}; allowed {levels - 1}, "
            "one less than MODEL.FEATURE_MAPS"
        )
    if model.KERNEL_SIZE % 2 == 0:
        yield f"MODEL.KERNEL_SIZE: found {model.KERNEL_SIZE}; allowed odd numbers"


def _transformer(config: Config) -> Iterator[str]:
    model, size = config.MODEL, config.MODEL.vit
    if model.ARCHITECTURE != "unetr":
        return
    if size.token & (size.token - 1):
        yield (
            f"MODEL.VIT_TOKEN_SIZE: found {size.token}; allowed 2, 4, 8, 16, 32 and so on, "
            "as each level of the decoder doubles the grid"
        )
        return
    if size.width % size.heads:
        yield (
            f"MODEL.VIT_NUM_HEADS: found {size.heads}; allowed divisors of MODEL.VIT_EMBED_DIM "
            f"{size.width}"
        )
    skips = size.token.bit_length() - 2
    if model.UNETR_VIT_HIDD_MULT * skips >= size.layers:
        largest = (size.layers - 1) // skips
        allowed = f"1 to {largest}" if largest else f"more than {skips} MODEL.VIT_NUM_LAYERS"
        yield (
            f"MODEL.UNETR_VIT_HIDD_MULT: found {model.UNETR_VIT_HIDD_MULT}; allowed {allowed}, as "
            f"{skips} levels of the decoder are fed before the last of {size.layers} layers"
        )
    if model.UNETR_DEC_KERNEL_SIZE % 2 == 0:
        yield (
            f"MODEL.UNETR_DEC_KERNEL_SIZE: found {model.UNETR_DEC_KERNEL_SIZE}; allowed odd numbers"
        )


def _sizes(config: Config) -> Iterator[str]:
    """Refuse arrays and networks that no machine can hold, before anything is computed from them.

    The number of weights is that of the largest layers only.
    """
    count = math.prod(config.DATA.PATCH_SIZE)
    if count > _MOST_VALUES:
        yield (
            f"DATA.PATCH_SIZE: found {config.DATA.PATCH_SIZE}, which are {grouped(count)} values; "
            f"allowed at most {grouped(_MOST_VALUES)}"
        )
    model, size = config.MODEL, config.MODEL.vit
    if model.ARCHITECTURE == "unetr":
        widest = model.UNETR_VIT_NUM_FILTERS * size.token // 2
        decoder = widest**2 * model.UNETR_DEC_KERNEL_SIZE**config.ndim
        encoder = int(size.layers * size.width**2 * (4 + 2 * size.mlp_ratio))
        key, value = "MODEL.UNETR_VIT_NUM_FILTERS", str(model.UNETR_VIT_NUM_FILTERS)
        if encoder > decoder:
            key, value = "MODEL.VIT_EMBED_DIM", str(size.width)
        weights = max(encoder, decoder)
    else:
        kernel = 3 if "KERNEL_SIZE" in _UNUSED.get(model.ARCHITECTURE, ()) else model.KERNEL_SIZE
        weights = math.prod(sorted(model.FEATURE_MAPS)[-2:]) * kernel**config.ndim
        key, value = "MODEL.FEATURE_MAPS", str(model.FEATURE_MAPS)
    if weights > _MOST_WEIGHTS:
        yield (
            f"{key}: found {value}, with which a network has more than {grouped(_MOST_WEIGHTS)} "
            "weights; allowed smaller widths or kernels"
        )


def _token_key(config: Config) -> str:
    model = config.MODEL
    return (
        "MODEL.VIT_TOKEN_SIZE"
        if model.VIT_MODEL == "custom"
        else f"MODEL.VIT_MODEL {model.VIT_MODEL}"
    )


MODEL_RULES = (_patch, _network, _transformer, _sizes)
