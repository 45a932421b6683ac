"""Precedence of the decoding thresholds: user, tuned, generated, automatic.

A value that `singula init`, the wizard or the demo wrote is listed in GENERATED_THRESHOLDS of the
file, and a value that was searched on validation images in TUNED_THRESHOLDS. A listed value that
differs from the one in the file was changed by the user, and so counts as the user's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from singula.config.schema.root import THRESHOLD_KEYS, Config
from singula.representations.thresholds import AUTOMATIC

KEYS = THRESHOLD_KEYS
"""Configuration keys of thresholds by their names without prefix."""

TYPE, SIZE = "TH_TYPE", "REMOVE_SMALL_OBJ"
GENERATED = "PROBLEM.INSTANCE_SEG.GENERATED_THRESHOLDS"
TUNED = "PROBLEM.INSTANCE_SEG.TUNED_THRESHOLDS"
Source = Literal["user", "tuned", "generated", "automatic", "default"]
_RANK: dict[Source, int] = {"default": 0, "generated": 1, "tuned": 2, "user": 3}


@dataclass(frozen=True)
class ThresholdValue:
    """The value of a threshold and where it came from.

    Parameters
    ----------
    value : float or int
        For an automatic threshold, the number for images whose histogram cannot be separated.
    source : {"user", "tuned", "generated", "automatic", "default"}
    """

    value: Any
    source: Source


def marks(values: Mapping[str, Any]) -> list[str]:
    """Return the entries that mark values in GENERATED_THRESHOLDS or TUNED_THRESHOLDS.

    Parameters
    ----------
    values : mapping
        By name without prefix, or by dotted key; other keys are left out.

    Examples
    --------
    >>> marks({"TH_CONTOUR": 0.2, "PROBLEM.INSTANCE_SEG.DATA_REMOVE_SMALL_OBJ_BEFORE": 20})
    ['TH_CONTOUR=0.2', 'REMOVE_SMALL_OBJ=20']
    """
    names = {key: name for name, key in KEYS.items()} | {name: name for name in KEYS}
    return [f"{names[key]}={value}" for key, value in values.items() if key in names]


def origin(config: Config, name: str) -> Source:
    """Return the origin of a threshold's value: user, tuning, Singula itself, or the default.

    Parameters
    ----------
    config : Config
    name : str
        A name of `KEYS`.
    """
    if not config.is_set(KEYS[name]):
        return "default"
    value, section = config.dotted()[KEYS[name]], config.PROBLEM.INSTANCE_SEG
    lists: tuple[tuple[Source, tuple[str, ...]], ...] = (
        ("tuned", section.TUNED_THRESHOLDS),
        ("generated", section.GENERATED_THRESHOLDS),
    )
    return next((who for who, entries in lists if _lists(entries, name, value)), "user")


def _lists(entries: Iterable[str], name: str, value: Any) -> bool:
    """Return True if one of the marks has this name and value."""
    for entry in entries:
        marked, _, text = entry.partition("=")
        if marked == name:
            return text == value if isinstance(value, str) else float(text) == value
    return False


def resolve_sources(config: Config) -> dict[str, ThresholdValue]:
    """Find the value of each threshold and where it came from.

    The precedence for each threshold is: value of the user, tuned value, generated value, automatic
    value. TH_TYPE follows the same order. If it is ``auto``, values from the same source or a lower
    one are not used. If it is ``manual``, the default replaces the automatic value.

    Parameters
    ----------
    config : Config

    Returns
    -------
    dict of str to ThresholdValue
        By the names of `KEYS`, without TH_TYPE.
    """
    values, kind = config.dotted(), origin(config, TYPE)
    word = values[KEYS[TYPE]] if kind != "default" else ""
    resolved: dict[str, ThresholdValue] = {}
    for name, key in KEYS.items():
        if name == TYPE:
            continue
        source = origin(config, name)
        if name in AUTOMATIC:
            off = word == "auto" and _RANK[source] <= _RANK[kind]
            if off or (source == "default" and word != "manual"):
                source = "automatic"
        resolved[name] = ThresholdValue(values[key], source)
    return resolved


def with_tuned(config: Config, values: Mapping[str, Any]) -> Config:
    """Copy a configuration with tuned values, marked as such.

    Parameters
    ----------
    config : Config
    values : mapping
        By the names of `KEYS`, TH_TYPE included.
    """
    if not values:
        return config
    unchanged = [m for m in config.PROBLEM.INSTANCE_SEG.TUNED_THRESHOLDS if _name(m) not in values]
    changes = {KEYS[name]: value for name, value in values.items()}
    changes[TUNED] = (*unchanged, *marks(values))
    return config.replaced(changes, mark_set=True)


def set_by_user(config: Config, keys: Iterable[str]) -> Config:
    """Copy a configuration in which some keys count as set by the user, despite marks in the file.

    Parameters
    ----------
    config : Config
    keys : iterable of str
        Dotted keys; keys other than thresholds are ignored.
    """
    names = {name for name, key in KEYS.items() if key in set(keys)}
    now = config.dotted()
    changes = {
        key: tuple(mark for mark in now[key] if _name(mark) not in names)
        for key in (GENERATED, TUNED)
    }
    changed = {key: value for key, value in changes.items() if value != now[key]}
    return config.replaced(changed) if changed else config


def _name(mark: str) -> str:
    return mark.partition("=")[0]


def unused_thresholds(config: Config) -> Iterator[str]:
    """Report thresholds that are set together with an automatic TH_TYPE."""
    resolved = resolve_sources(config)
    idle = [
        f"{KEYS[name]} {resolved[name].value:g}"
        for name in AUTOMATIC
        if config.is_set(KEYS[name]) and resolved[name].source == "automatic"
    ]
    if idle:
        yield (
            f"{KEYS[TYPE]}: auto, so the automatic thresholds are used and not "
            f"{', '.join(idle)}; remove {KEYS[TYPE]} to use what is set"
        )
