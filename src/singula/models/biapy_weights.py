"""Names of the weights of BiaPy's networks, versions 3.4 to 3.7, in the networks of Singula.

A table lists for each architecture which layers correspond. Within a pair, the tensors have the
same order and the same last part of the name in both programs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from singula.models.settings import ModelSettings
from singula.util.format import counted

Pair = tuple[str, str]
_OLDER = {
    re.compile(r"up_path\."): "up_paths.0.",
    re.compile(r"attentions\.(?=\d+\.conv_)"): "attentions.0.",
    re.compile(r"aspp_out\.(?!\d)"): "aspp_out.0.",
    re.compile(r"last_block\."): "heads.0.",
    re.compile(r"last_class_head\."): "heads.1.",
}
"""Start of the name before version 3.7, and from then on."""

_NORM = ("running_mean", "running_var", "weight", "bias", "num_batches_tracked")
_UNUSED = ("norm.weight", "norm.bias")  # of UNETR in versions 3.4 and 3.5
_HEADS = ("head.", "class_head.")
_HEAD = re.compile(r"heads\.\d+\.(weight|bias)")
_EPS = 1e-5  # of batch normalization in torch


@dataclass(frozen=True)
class _Levels:
    """Numbers of a network for the tables."""

    settings: ModelSettings

    @property
    def steps(self) -> int:
        """Levels above the bottleneck."""
        return len(self.settings.feature_maps) - 1

    @property
    def wide(self) -> bool:
        """True if the network begins and ends with a wide convolution."""
        return self.settings.layout.wide_ends


def _levels(net: _Levels) -> Iterator[Pair]:
    """Pairs of the networks with one block per level."""
    if net.wide:
        yield "conv_in", "encoder.0.blocks.0"
        yield "conv_out.0", "tail.blocks.0"
    for level in range(net.steps):
        first = net.wide and not level
        yield f"down_path.{level}", f"encoder.{level}" + (".blocks.1" if first else "")
    yield "bottleneck", "bottom"
    for step in range(net.steps):
        yield f"up_paths.0.{step}.up", f"ups.{step}"
        yield f"up_paths.0.{step}.conv_block", f"decoder.{step}"


def _attention(net: _Levels) -> Iterator[Pair]:
    yield from _levels(net)
    names = {"w_g": "of_coarse", "w_x": "of_skip", "psi": "weigh"}
    for step in range(net.steps):
        for old, new in names.items():
            yield f"up_paths.0.{step}.attention_gate.{old}", f"skips.{step}.{new}"


def _multires(net: _Levels) -> Iterator[Pair]:
    names = {
        "shortcut": "shortcut",
        "conv_3x3": "steps.0",
        "conv_5x5": "steps.1",
        "conv_7x7": "steps.2",
        "batch_norm1": "joined",
        "batch_norm2": "end",
    }
    steps = net.steps
    blocks = [f"encoder.{level}" for level in range(steps)]
    blocks += ["bottom", *(f"decoder.{step}" for step in range(steps))]
    for number, block in enumerate(blocks, 1):
        for old, new in names.items():
            yield f"multiresblock{number}.{old}", f"{block}.{new}"
    for step in range(steps):
        yield f"upsample{steps + 2 + step}", f"ups.{step}"
        for index in range(step + 1):
            old, new = f"respath{steps - step}", f"skips.{step}.steps.{index}"
            yield f"{old}.shortcuts.{index}", f"{new}.shortcut"
            yield f"{old}.convs.{index}", f"{new}.branch"
            yield f"{old}.bns.{index}", f"{new}.end"


def _deep(net: _Levels) -> Iterator[Pair]:
    """Pairs of ResUNet++, which has two widths in the bottleneck."""
    steps, tail = net.steps - 1, "tail"
    if net.wide:
        yield "conv_in", "encoder.0.blocks.0"
        yield "conv_out.0", "tail.blocks.1"
        tail = "tail.blocks.0"
    for level in range(steps):
        block = "encoder.0.blocks.1" if net.wide and not level else f"encoder.{level}"
        yield f"down_path.{level}", f"{block}.blocks.0"
        yield f"sqex_blocks.{level}", f"{block}.blocks.1"
    yield f"down_path.{steps}", "bottom.blocks.0"
    yield "aspp_bridge", "bottom.blocks.2"
    yield "aspp_out.0", tail
    for step in range(steps):
        for old, new in {"encoder": "of_skip", "decoder": "of_coarse", "attn": "weigh"}.items():
            yield f"attentions.0.{step}.conv_{old}", f"skips.{step}.{new}"
        yield f"up_paths.0.{step}.up", f"ups.{step}"
        yield f"up_paths.0.{step}.conv_block", f"decoder.{step}"


def _unetr(net: _Levels) -> Iterator[Pair]:
    transformer = net.settings.transformer
    depth = transformer.depth
    yield "patch_embed.proj", "embed"
    for layer in range(transformer.layers):
        yield f"blocks.{layer}", f"layers.{layer}"
    yield "bottleneck", "ups.0"
    for step in range(depth - 1):
        yield f"mid_blue_block.{step}", f"ladders.{depth - 2 - step}"
        yield f"two_yellow_layers.{step}", f"decoder.{step}"
        yield f"up_green_layers.{step}", f"ups.{step + 1}"
    yield f"two_yellow_layers.{depth - 1}", "image"
    yield f"two_yellow_layers.{depth}", f"decoder.{depth - 1}"


TABLES: dict[str, Callable[[_Levels], Iterator[Pair]]] = {
    "unet": _levels,
    "resunet": _levels,
    "attention_unet": _attention,
    "seunet": _levels,
    "multiresunet": _multires,
    "resunet++": _deep,
    "unetr": _unetr,
}
"""Function that returns the pairs of layers, by the name of the architecture."""


def convert_weights(
    weights: Mapping[str, Tensor], settings: ModelSettings
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights of a network of BiaPy by the names of Singula.

    Parameters
    ----------
    weights : mapping
        Weights by the names of BiaPy, in the order of the file.
    settings : ModelSettings
        Settings of the network, with the layout of BiaPy.

    Returns
    -------
    converted : dict
        Weights by the names of Singula.
    problems : list of str
        A line for each weight that the network lacks, that the file lacks, or that has another
        shape; empty if every weight has been used.
    """
    from singula.models.build import build_model

    with torch.device("meta"):
        expected = build_model(settings).state_dict()
    given = _merge_norms({_renamed(name): value for name, value in weights.items()})
    table = list(TABLES[settings.architecture.lower()](_Levels(settings)))
    converted, used, problems = _converted_heads(given, settings)
    missing: list[str] = []
    converted |= _identities(expected, settings)
    if settings.architecture.lower() == "unetr":
        _convert_tokens(given, converted, expected)
        _swap_last_inputs(given, settings.transformer.depth)
    for old, new in table:
        sources = [name for name in given if _is_below(name, old)]
        targets = [name for name in expected if _is_below(name, new) and name not in converted]
        used.update(sources[: len(targets)])
        fitted = [
            _fit(source, given[source], target, tuple(expected[target].shape))
            for source, target in zip(sources, targets, strict=False)
        ]
        if len(sources) != len(targets):
            problems.append(f"{old}: {len(sources)} weights in the file, {len(targets)} expected")
        # One difference shifts all others of the layer.
        for source, target, value in zip(sources, targets, fitted, strict=False):
            if value is None:
                shapes = (tuple(item.shape) for item in (given[source], expected[target]))
                problems.append(f"{source}: {next(shapes)} in the file, {next(shapes)} expected")
                break
        converted |= {
            target: given[source] if value is None else value
            for source, target, value in zip(sources, targets, fitted, strict=False)
        }
        missing += targets[len(sources) :]
    for name, value in converted.items():
        if tuple(value.shape) != tuple(expected[name].shape) and name.startswith(_HEADS):
            sizes = tuple(value.shape), tuple(expected[name].shape)
            problems.append(f"{name}: {sizes[0]} in the file, {sizes[1]} expected")
    problems += [f"{name}: not in the network" for name in given if name not in used]
    listed = {*converted, *missing}
    problems += [f"{name}: not in the file" for name in expected if name not in listed]
    return converted, problems


def _renamed(name: str) -> str:
    for pattern, new in _OLDER.items():
        match = pattern.match(name)
        if match:
            return new + name[match.end() :]
    return name


def _merge_norms(given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Merge batch normalizations that only some versions have into the convolution before them.

    Version 3.4 normalizes the skip in attention gates; versions 3.5 and 3.6 normalize the output of
    MultiResUNet. The maps are equal in evaluation mode.
    """
    merged = dict(given)
    for name in given:
        layer = name.removesuffix(".1.running_var")
        if layer != name and layer.endswith(".attention_gate.w_x"):
            _merge_norm(merged, f"{layer}.0", f"{layer}.1", f"{layer}.0")
        elif name == "heads.0.batchnorm.running_var":
            _merge_norm(merged, "heads.0.conv1", "heads.0.batchnorm", "heads.0")
    return merged


def _merge_norm(weights: dict[str, Tensor], conv: str, norm: str, target: str) -> None:
    """Replace the weights of a convolution and a normalization by those of one convolution."""
    names = [*(f"{norm}.{part}" for part in _NORM), f"{conv}.weight", f"{conv}.bias"]
    if not all(name in weights for name in names):
        return  # the weights that are missing are reported
    mean, variance, scale, shift, _, weight, bias = (weights.pop(name) for name in names)
    factor = scale / torch.sqrt(variance + _EPS)
    weights[f"{target}.weight"] = weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
    weights[f"{target}.bias"] = (bias - mean) * factor + shift


def _is_below(name: str, layer: str) -> bool:
    return name.startswith(f"{layer}.")


def _fit(source: str, value: Tensor, target: str, shape: tuple[int, ...]) -> Tensor | None:
    """Return a weight in the shape of the network; None if it does not fit.

    Dense layers become 1×1 convolutions, and kernels of one slice the middle of a cube.
    """
    if source.rpartition(".")[2] != target.rpartition(".")[2]:
        return None
    if tuple(value.shape) == shape:
        return value
    if value.ndim == 2 and shape == (*value.shape, *(1,) * (len(shape) - 2)):
        return value.reshape(shape)
    flat = len(shape) == 5 and shape[2] % 2 == 1
    if flat and tuple(value.shape) == (*shape[:2], 1, *shape[3:]):
        margin = shape[2] // 2
        return functional.pad(value, (0, 0, 0, 0, margin, margin))
    return None


def _converted_heads(
    given: Mapping[str, Tensor], settings: ModelSettings
) -> tuple[dict[str, Tensor], set[str], list[str]]:
    """Return the weights of the heads, of which BiaPy can have one per channel, classes last."""
    converted: dict[str, Tensor] = {}
    used: set[str] = set()
    problems: list[str] = []
    sizes = [settings.out_channels, settings.n_classes]
    for kind in ("weight", "bias"):
        names = [name for name in given if _HEAD.fullmatch(name) and name.endswith(kind)]
        used.update(names)
        rows = [given[name] for name in names]
        if not rows or sum(len(row) for row in rows) != sum(sizes):
            count = counted(sum(len(row) for row in rows), "channel")
            problems.append(f"heads: {count} in the file, {sum(sizes)} expected")
            continue
        for new, part in zip(
            ("head", "class_head"), torch.split(torch.cat(rows), sizes), strict=True
        ):
            if len(part):
                converted[f"{new}.{kind}"] = part
    return converted, used, problems


def _convert_tokens(
    given: dict[str, Tensor], converted: dict[str, Tensor], expected: Mapping[str, Tensor]
) -> None:
    """Convert the positions, of which the first belongs to the class token."""
    token, positions = (given.get(name) for name in ("cls_token", "pos_embed"))
    target = expected["position"]
    width, grid = target.shape[1], target[0, 0].numel()
    shapes = ((1, 1, width), (1, grid + 1, width))
    if token is None or positions is None or (token.shape, positions.shape) != shapes:
        return  # reported as unused
    for name in ("cls_token", "pos_embed", *_UNUSED):
        given.pop(name, None)
    converted["class_token"] = token + positions[:, :1]
    converted["position"] = positions[:, 1:].transpose(1, 2).reshape(target.shape)


def _swap_last_inputs(given: dict[str, Tensor], depth: int) -> None:
    """Swap the inputs of the finest level, where the skip connection precedes in BiaPy."""
    name = f"two_yellow_layers.{depth}.block.0.block.0.weight"
    if name in given and given[name].ndim > 1:
        half = given[name].shape[1] // 2
        given[name] = given[name].roll(half, dims=1)


def _identities(expected: Mapping[str, Tensor], settings: ModelSettings) -> dict[str, Tensor]:
    """Return 1×1 convolutions that change nothing, for upsampling without a convolution."""
    converted: dict[str, Tensor] = {}
    without = ("resunet", "resunet++")
    if settings.architecture.lower() not in without or settings.upsample != "upsampling":
        return converted
    for name, value in expected.items():
        if name.startswith("ups."):
            width = len(value)
            is_weight = name.endswith("weight")
            same = torch.eye(width).reshape(value.shape) if is_weight else torch.zeros(width)
            converted[name] = same
    return converted
