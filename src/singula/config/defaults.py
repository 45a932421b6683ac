"""Defaults that depend on other keys.

A value equal to the default of the format counts as unset, as in BiaPy: ``OVERLAP: (0, 0)`` in a 3D
file means no overlap along all three axes.
"""

from __future__ import annotations

from typing import Any

from singula.config.keys import key_table
from singula.config.schema.root import THRESHOLD_KEYS, Config
from singula.representations.channel_options import default_options
from singula.representations.table import complete_channels
from singula.representations.thresholds import THRESHOLDS
from singula.util.architectures import downsampling_steps

_SPLITS = ("TRAIN", "VAL", "TEST")


def resolve(config: Config) -> Config:
    """Fill in defaults that depend on dimensions, channels, levels and folders."""
    config = _families(config)
    values = {**_lengths(config), **_folders(config), **_pictures(config), **_thresholds(config)}
    return config.replaced(values) if values else config


def _families(config: Config) -> Config:
    """Add the parameters to families of channels: R becomes R32 for 2D images."""
    channels = config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS
    complete = complete_channels(channels, config.ndim, config.channel_options)
    if complete == channels:
        return config
    return config.replaced({"PROBLEM.INSTANCE_SEG.DATA_CHANNELS": complete})


def _lengths(config: Config) -> dict[str, Any]:
    model = config.MODEL
    levels = len(model.FEATURE_MAPS)
    lengths = {
        f"DATA.{split}.{name}": config.ndim for split in _SPLITS for name in ("OVERLAP", "PADDING")
    }
    lengths["MODEL.DROPOUT_VALUES"] = levels
    lengths["MODEL.Z_DOWN"] = downsampling_steps(model.ARCHITECTURE, levels)
    lengths["PROBLEM.INSTANCE_SEG.DATA_CHANNEL_WEIGHTS"] = config.channel_count
    now = config.dotted()
    return {
        name: (now[name][0],) * length
        for name, length in lengths.items()
        if len(now[name]) != length and _is_uniform(name, now[name])
    }


def _is_uniform(name: str, values: tuple[Any, ...]) -> bool:
    """Return True if a list is one repeated value, whose length can be changed."""
    if len(values) == 1 or _is_default(name, values):
        return True
    # Equal steps along z may be meant for some levels only, so their number is not changed.
    return name == "MODEL.DROPOUT_VALUES" and len(set(values)) == 1


def _folders(config: Config) -> dict[str, Any]:
    now = config.dotted()
    channels = config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS
    origins = {"INSTANCE_CHANNELS_DIR": "PATH", "INSTANCE_CHANNELS_MASK_DIR": "GT_PATH"}
    return {
        f"DATA.{split}.{name}": f"{now[f'DATA.{split}.{origin}'].rstrip('/')}_{channels}"
        for split in _SPLITS
        for name, origin in origins.items()
        if _is_default(f"DATA.{split}.{name}", now[f"DATA.{split}.{name}"])
    }


def _pictures(config: Config) -> dict[str, Any]:
    name = "TEST.MATCHING_STATS_THS_COLORED_IMG"
    pictured = config.TEST.MATCHING_STATS_THS_COLORED_IMG
    if config.is_set(name) or set(pictured) <= set(config.TEST.MATCHING_STATS_THS):
        return {}
    return {name: tuple(t for t in pictured if t in config.TEST.MATCHING_STATS_THS)}


def _thresholds(config: Config) -> dict[str, Any]:
    """Adapt the defaults of thresholds to the options of their channels."""
    options, values = config.channel_options, {}
    for name, threshold in THRESHOLDS.items():
        code = threshold.channels[0] if threshold.channels else ""
        if threshold.adapt is None or code not in options or config.is_set(THRESHOLD_KEYS[name]):
            continue
        values[THRESHOLD_KEYS[name]] = threshold.adapt({**default_options(code), **options[code]})
    return values


def _is_default(name: str, value: object) -> bool:
    return bool(value == key_table()[name].default)
