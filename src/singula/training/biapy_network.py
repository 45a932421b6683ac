"""Settings of a network from the configuration in a checkpoint of BiaPy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from singula.models import LayoutSettings, ModelSettings, TransformerSettings
from singula.models.biapy_weights import TABLES
from singula.util.format import show

_MULTIRES: dict[str, Any] = {
    "FEATURE_MAPS": (32, 64, 128, 256, 512),
    "KERNEL_SIZE": 3,
    "ACTIVATION": "relu",
    "NORMALIZATION": "bn",
    "UPSAMPLE_LAYER": "convtranspose",
}
"""Values that BiaPy's MultiResUNet has, whatever its configuration contains."""
_ACTIVATIONS = ("relu", "elu", "leaky_relu", "silu", "gelu", "tanh", "softplus")
_MAPS = (16, 32, 64, 128, 256)
_EPS = 1e-5  # BiaPy's UNETR does not read VIT_NORM_EPS
_WIDE = ("unet", "resunet", "attention_unet", "seunet", "resunet++")
_NORMS = {"bn": False, "sync_bn": False, "in": True, "none": False}


class Keys:
    """Values of BiaPy's configuration, with the default of versions that lack the key."""

    def __init__(self, cfg: Mapping[str, Any]) -> None:
        self.cfg = cfg

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a dotted key."""
        value: Any = self.cfg
        for name in key.split("."):
            if not isinstance(value, Mapping) or name not in value:
                return default
            value = value[name]
        return value


def network_problems(cfg: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each key whose network Singula does not have."""
    keys = Keys(cfg)
    name = str(keys.get("MODEL.ARCHITECTURE", "")).lower()
    levels = len(_sequence(keys.get("MODEL.FEATURE_MAPS")))
    neutral: dict[str, tuple[Any, ...]] = {
        "PROBLEM.TYPE": ("INSTANCE_SEG",),
        "MODEL.SOURCE": ("biapy",),
        "MODEL.ARCHITECTURE": tuple(TABLES),
        "MODEL.NORMALIZATION": tuple(_NORMS),
        "MODEL.ACTIVATION": _ACTIVATIONS,
        "MODEL.CONV_BLOCK_ORDER": ("conv_norm_act",),
        "LOSS.CONTRAST.ENABLE": (False,),
        "PROBLEM.INSTANCE_SEG.SEPARATED_DECODERS_PER_HEAD": (False,),
    }
    for key, allowed in neutral.items():
        value = keys.get(key, allowed[0])
        plain = value.lower() if isinstance(value, str) and key.startswith("MODEL.") else value
        if plain not in allowed:
            yield f"{key}: got {show(value)}, expected {' or '.join(map(repr, allowed))}"
    for key, wanted in {"MODEL.CONV_LAYERS": (2,), "MODEL.YX_DOWN": (0, 2)}.items():
        values = _sequence(keys.get(key))[:levels]
        if any(value not in wanted for value in values):
            yield f"{key}: got {show(values)}, expected {wanted[-1]} at each level"
    if name in ("resunet", "resunet++") and _norm(keys, name) == "none":
        yield f"MODEL.NORMALIZATION: got 'none', expected 'bn' or 'in' for {name}"
    if name == "unetr" and str(keys.get("MODEL.UNETR_VIT_MODEL", "custom")) != "custom":
        yield "MODEL.UNETR_VIT_MODEL: got another transformer, expected 'custom'"


def network_keys(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of MODEL with which Singula builds the network."""
    keys = Keys(cfg)
    name = str(keys.get("MODEL.ARCHITECTURE")).lower()
    fixed: dict[str, Any] = _MULTIRES if name == "multiresunet" else {}
    maps = tuple(fixed.get("FEATURE_MAPS") or _sequence(keys.get("MODEL.FEATURE_MAPS", _MAPS)))
    steps = len(maps) - 1
    dropout = _sequence(keys.get("MODEL.DROPOUT_VALUES"))[: len(maps)]
    z_down = _sequence(keys.get("MODEL.Z_DOWN"))[:steps]
    values: dict[str, Any] = {
        "ARCHITECTURE": name,
        "FEATURE_MAPS": maps,
        "DROPOUT_VALUES": tuple(dropout) if len(dropout) == len(maps) else (0.0,) * len(maps),
        "BATCH_NORMALIZATION": _norm(keys, name) != "none",
        "KERNEL_SIZE": fixed.get("KERNEL_SIZE") or keys.get("MODEL.KERNEL_SIZE", 3),
        "UPSAMPLE_LAYER": fixed.get("UPSAMPLE_LAYER")
        or str(keys.get("MODEL.UPSAMPLE_LAYER", "convtranspose")).lower(),
        "ACTIVATION": (fixed.get("ACTIVATION") or str(keys.get("MODEL.ACTIVATION", "elu"))).lower(),
        "N_CLASSES": max(2, keys.get("DATA.N_CLASSES", keys.get("MODEL.N_CLASSES", 2))),
        "Z_DOWN": tuple(z_down) if len(z_down) == steps else (0,) * steps,
    }
    if name == "unetr":
        values |= _transformer_keys(keys)
    return {f"MODEL.{key}": value for key, value in values.items()}


def _transformer_keys(keys: Keys) -> dict[str, Any]:
    """Return the keys of UNETR; since version 3.7, its decoder has no keys of its own."""
    copied = ("TOKEN_SIZE", "EMBED_DIM", "NUM_LAYERS", "NUM_HEADS", "MLP_RATIO")
    values = {f"VIT_{name}": keys.get(f"MODEL.VIT_{name}") for name in copied}
    every = keys.get("MODEL.UNETR_VIT_HIDD_MULT", 3)
    levels = max(1, int(values["VIT_TOKEN_SIZE"]).bit_length() - 1)
    activation = keys.get("MODEL.UNETR_DEC_ACTIVATION", keys.get("MODEL.ACTIVATION", "elu"))
    return {
        **values,
        "VIT_MODEL": "custom",
        "VIT_NORM_EPS": _EPS,
        "UNETR_VIT_HIDD_MULT": every if every > 0 else max(1, values["VIT_NUM_LAYERS"] // levels),
        "UNETR_VIT_NUM_FILTERS": keys.get("MODEL.UNETR_VIT_NUM_FILTERS", 16),
        "UNETR_DEC_ACTIVATION": str(activation).lower(),
        "UNETR_DEC_KERNEL_SIZE": keys.get(
            "MODEL.UNETR_DEC_KERNEL_SIZE", keys.get("MODEL.KERNEL_SIZE", 3)
        ),
        "UPSAMPLE_LAYER": "convtranspose",
    }


def _transformer_settings(values: Mapping[str, Any], patch: list[Any]) -> TransformerSettings:
    return TransformerSettings(
        token=values["MODEL.VIT_TOKEN_SIZE"],
        width=values["MODEL.VIT_EMBED_DIM"],
        layers=values["MODEL.VIT_NUM_LAYERS"],
        heads=values["MODEL.VIT_NUM_HEADS"],
        mlp_ratio=values["MODEL.VIT_MLP_RATIO"],
        eps=values["MODEL.VIT_NORM_EPS"],
        every=values["MODEL.UNETR_VIT_HIDD_MULT"],
        filters=values["MODEL.UNETR_VIT_NUM_FILTERS"],
        activation=values["MODEL.UNETR_DEC_ACTIVATION"],
        kernel=values["MODEL.UNETR_DEC_KERNEL_SIZE"],
        patch=tuple(patch),
    )


def network_settings(cfg: Mapping[str, Any], weights: Mapping[str, Tensor]) -> ModelSettings:
    """Return the settings of the network.

    Parameters
    ----------
    cfg : mapping
        Sections and keys of BiaPy.
    weights : mapping
        Weights by the names of BiaPy, for layers that depend on the version.
    """
    keys, values = Keys(cfg), network_keys(cfg)
    name, classes = values["MODEL.ARCHITECTURE"], values["MODEL.N_CLASSES"]
    patch = _sequence(keys.get("DATA.PATCH_SIZE"))
    classes = classes if classes > 2 else 0
    return ModelSettings(
        ndim=len(patch) - 1,
        in_channels=patch[-1],
        out_channels=_count_outputs(weights) - classes,
        n_classes=classes,
        architecture=name,
        feature_maps=values["MODEL.FEATURE_MAPS"],
        dropout=values["MODEL.DROPOUT_VALUES"],
        z_down=values["MODEL.Z_DOWN"],
        batch_norm=values["MODEL.BATCH_NORMALIZATION"],
        kernel=values["MODEL.KERNEL_SIZE"],
        upsample=values["MODEL.UPSAMPLE_LAYER"],
        activation=values["MODEL.ACTIVATION"],
        transformer=_transformer_settings(values, patch[:-1])
        if name == "unetr"
        else TransformerSettings(),
        layout=LayoutSettings(
            "biapy",
            per_instance=_NORMS[_norm(keys, name)],
            wide_ends=bool(keys.get("MODEL.LARGER_IO", False)) and name in _WIDE,
            plain_bottom=name == "seunet" and not _has_excited_bottom(weights),
        ),
    )


def _count_outputs(weights: Mapping[str, Tensor]) -> int:
    """Return the channels of all heads."""
    heads = ("heads.", "last_block.", "last_class_head.")
    return sum(
        len(value)
        for name, value in weights.items()
        if name.startswith(heads) and name.endswith(".weight") and value.ndim > 1
    )


def _has_excited_bottom(weights: Mapping[str, Tensor]) -> bool:
    return any(name.startswith("bottleneck.") and ".excitation." in name for name in weights)


def _norm(keys: Keys, name: str) -> str:
    """Return the kind of normalization; versions before 3.5 had a switch."""
    if name == "multiresunet":
        return str(_MULTIRES["NORMALIZATION"])
    switch = keys.get("MODEL.BATCH_NORMALIZATION", True)
    return str(keys.get("MODEL.NORMALIZATION", "bn" if switch else "none")).lower()


def _sequence(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
