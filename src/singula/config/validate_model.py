"""Rules about the keys of the network and the patch size."""

from __future__ import annotations

import math
from collections.abc import Iterator

from singula.config.keys import key_table
from singula.config.schema.root import Config
from singula.config.yaml_source import Problem
from singula.util.architectures import downsampling_steps
from singula.util.format import counted, grouped

_UNUSED = {
    "unetr": ("FEATURE_MAPS", "Z_DOWN", "KERNEL_SIZE", "ACTIVATION"),
    "unext_v1": ("BATCH_NORMALIZATION", "ACTIVATION"),
}
_MAX_VALUES = 2**31
_MAX_WEIGHTS = 2**32
_VIT = ("TOKEN_SIZE", "EMBED_DIM", "NUM_LAYERS", "NUM_HEADS", "MLP_RATIO")


def unused_by_network(config: Config) -> Iterator[str]:
    """Yield a message for each changed key that the selected network does not use."""
    model, unused = config.MODEL, list(_UNUSED.get(config.MODEL.ARCHITECTURE, ()))
    if model.ARCHITECTURE == "unetr" and model.VIT_MODEL != "custom":
        unused += [f"VIT_{name}" for name in _VIT]
    for name in unused:
        value = getattr(model, name)
        default = key_table()[f"MODEL.{name}"].default
        # Any number of steps of 2 equals the default.
        is_default = set(value) <= {0, 2} if name == "Z_DOWN" else value == default
        if not is_default:
            cause = f"MODEL.ARCHITECTURE {model.ARCHITECTURE}"
            if name.startswith("VIT_"):
                cause = f"MODEL.VIT_MODEL {model.VIT_MODEL}"
            yield f"MODEL.{name}: {value!r} has no effect with {cause}"


def _patch(config: Config) -> Iterator[Problem]:
    size, ndim = config.DATA.PATCH_SIZE, config.ndim
    if len(size) != ndim + 1:
        axes = "(y, x, channels)" if ndim == 2 else "(z, y, x, channels)"
        yield Problem(
            f"DATA.PATCH_SIZE: got {size}, expected {ndim + 1} numbers {axes} "
            f"for PROBLEM.NDIM {config.PROBLEM.NDIM}",
            "config.length",
        )
        return
    unetr = config.MODEL.ARCHITECTURE == "unetr"
    reason = (
        f"the side of a token of MODEL.ARCHITECTURE unetr ({_token_key(config)})"
        if unetr
        else "as MODEL.FEATURE_MAPS and MODEL.Z_DOWN halve the patch"
    )
    for axis, length, multiple in zip("zyx"[-ndim:], config.patch, multiples(config), strict=True):
        if length % multiple:
            below = length // multiple * multiple
            near = f"{below} or {below + multiple}" if below else f"{multiple}"
            yield Problem(
                f"DATA.PATCH_SIZE: got {length} along {axis}, expected multiples of {multiple}, "
                f"{reason}: {near}",
                "config.patch_multiple",
            )


def multiples(config: Config) -> tuple[int, ...]:
    """Return the numbers of which the sides of a patch must be multiples, along (z,) y and x."""
    if config.MODEL.ARCHITECTURE == "unetr":
        return (config.MODEL.vit.token,) * config.ndim
    model = config.MODEL
    plane = (2 ** downsampling_steps(model.ARCHITECTURE, len(model.FEATURE_MAPS)),) * 2
    if config.ndim == 2:
        return plane
    return (math.prod(step or 2 for step in model.Z_DOWN), *plane)


def _network(config: Config) -> Iterator[Problem]:
    model = config.MODEL
    levels = len(model.FEATURE_MAPS)
    if len(model.DROPOUT_VALUES) != levels:
        yield Problem(
            f"MODEL.DROPOUT_VALUES: got {counted(len(model.DROPOUT_VALUES), 'value')}, "
            f"expected {levels}, "
            "one for each level of MODEL.FEATURE_MAPS",
            "config.length",
        )
    steps = downsampling_steps(model.ARCHITECTURE, levels)
    if config.ndim == 3 and len(model.Z_DOWN) != steps:
        relation = "as many as" if steps == levels else "one less than"
        yield Problem(
            f"MODEL.Z_DOWN: got {counted(len(model.Z_DOWN), 'value')}, expected {steps}, "
            f"{relation} MODEL.FEATURE_MAPS",
            "config.length",
        )
    if model.KERNEL_SIZE % 2 == 0:
        yield Problem(
            f"MODEL.KERNEL_SIZE: got {model.KERNEL_SIZE}, expected odd numbers", "config.value"
        )


def _transformer(config: Config) -> Iterator[Problem]:
    model, size = config.MODEL, config.MODEL.vit
    if model.ARCHITECTURE != "unetr":
        return
    if size.token & (size.token - 1):
        yield Problem(
            f"MODEL.VIT_TOKEN_SIZE: got {size.token}, expected 2, 4, 8, 16, 32 and so on, "
            "as each level of the decoder doubles the grid",
            "config.value",
        )
        return
    if size.width % size.heads:
        yield Problem(
            f"MODEL.VIT_NUM_HEADS: got {size.heads}, expected divisors of MODEL.VIT_EMBED_DIM "
            f"{size.width}",
            "config.combination",
        )
    skips = size.token.bit_length() - 2
    if model.UNETR_VIT_HIDD_MULT * skips >= size.layers:
        limit = (size.layers - 1) // skips
        allowed = f"1 to {limit}" if limit else f"more than {skips} MODEL.VIT_NUM_LAYERS"
        yield Problem(
            f"MODEL.UNETR_VIT_HIDD_MULT: got {model.UNETR_VIT_HIDD_MULT}, expected {allowed}, as "
            f"{skips} levels of the decoder receive layers before the last of {size.layers} layers",
            "config.combination",
        )
    if model.UNETR_DEC_KERNEL_SIZE % 2 == 0:
        yield Problem(
            f"MODEL.UNETR_DEC_KERNEL_SIZE: got {model.UNETR_DEC_KERNEL_SIZE}, expected odd numbers",
            "config.value",
        )


def _sizes(config: Config) -> Iterator[Problem]:
    """Refuse arrays and networks that are too large for any machine.

    Only the weights of the largest layers are counted.
    """
    count = math.prod(config.DATA.PATCH_SIZE)
    if count > _MAX_VALUES:
        yield Problem(
            f"DATA.PATCH_SIZE: got {config.DATA.PATCH_SIZE} ({grouped(count)} values), "
            f"expected at most {grouped(_MAX_VALUES)}",
            "config.value",
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
    if weights > _MAX_WEIGHTS:
        yield Problem(
            f"{key}: got {value}, expected smaller widths or kernels, as the network would have "
            f"more than {grouped(_MAX_WEIGHTS)} weights",
            "config.combination",
        )


def _token_key(config: Config) -> str:
    model = config.MODEL
    return (
        "MODEL.VIT_TOKEN_SIZE"
        if model.VIT_MODEL == "custom"
        else f"MODEL.VIT_MODEL {model.VIT_MODEL}"
    )


MODEL_RULES = (_patch, _network, _transformer, _sizes)
