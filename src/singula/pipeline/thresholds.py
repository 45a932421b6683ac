"""Decoding thresholds of a run: values saved with the weights, and the origin of each value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from singula.config import Config
from singula.config.thresholds import (
    KEYS,
    SIZE,
    TYPE,
    Source,
    origin,
    resolve_sources,
    with_tuned,
)
from singula.representations.thresholds import AUTOMATIC

_ORIGINS: dict[Source, str] = {
    "user": "set by you",
    "tuned": "found by singula tune",
    "generated": "proposed by Singula",
    "default": "default",
}


def configured(config: Config) -> dict[str, Any]:
    """Return the thresholds and the minimum size that are not automatic, by name without prefix.

    TH_TYPE is included if it applies to all thresholds: ``auto`` or ``manual``.
    """
    resolved = resolve_sources(config)
    fixed = {name: t.value for name, t in resolved.items() if t.source != "automatic"}
    manual = sum(name in fixed for name in AUTOMATIC)
    kind = {0: {TYPE: "auto"}, len(AUTOMATIC): {TYPE: "manual"}}.get(manual, {})
    return {**kind, **fixed}


def used_names(config: Config) -> list[str]:
    """Return the names of the thresholds in use, seeds first, and of the minimum size."""
    section = config.PROBLEM.INSTANCE_SEG
    decoder = config.decoder
    return [*decoder.threshold_names(into_contour=section.GROW_INTO_CONTOUR), SIZE]


def threshold_sources(config: Config) -> dict[str, Source]:
    """Return the origin of each threshold of `used_names`."""
    resolved = resolve_sources(config)
    return {name: resolved[name].source for name in used_names(config)}


def threshold_line(config: Config, *, published: bool = False) -> str:
    """Return a line with the thresholds in use and their origins.

    Parameters
    ----------
    config : Config
        Configuration of a run or model.
    published : bool
        True for a built-in model or a package, whose configuration another person wrote.
    """
    resolved = resolve_sources(config)
    origins = {**_ORIGINS, "user": "set in the model"} if published else _ORIGINS
    texts = []
    for name in used_names(config):
        threshold = resolved[name]
        if threshold.source == "automatic":
            texts.append(f"{name} automatic")
        else:
            texts.append(f"{name} {threshold.value:g} ({origins[threshold.source]})")
    return f"thresholds: {', '.join(texts)}"


def threshold_lines(config: Config, *, published: bool = False) -> list[str]:
    """Return `threshold_line`, and a line with thresholds of the user that have no effect.

    The parameters are those of `threshold_line`. The second line is omitted for published models.
    """
    used = used_names(config)
    idle = [KEYS[n] for n in KEYS if n not in (*used, TYPE) and origin(config, n) == "user"]
    if published or not idle:
        return [threshold_line(config, published=published)]
    section = config.PROBLEM.INSTANCE_SEG
    growth = " and GROW_INTO_CONTOUR: True" if section.GROW_INTO_CONTOUR else ""
    cause = f"DATA_CHANNELS: {section.DATA_CHANNELS}{growth}"
    return [threshold_line(config), f"{', '.join(idle)}: no effect with {cause}"]


def apply_tuned(
    config: Config, description: Mapping[str, Any], *, always: bool = False
) -> tuple[Config, list[str]]:
    """Use the thresholds saved with the weights, unless others take precedence.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    description : mapping
        Description of a checkpoint. Without tuned thresholds, the configuration is not changed.
    always : bool
        True for the configuration of the training itself, which is older than the tuning: tuned
        thresholds then take precedence over the configured thresholds.

    Returns
    -------
    config : Config
        Configuration with the tuned values, marked as tuned (see `singula.config.thresholds`).
    notices : list of str
        Lines for the user about the values in use.
    """
    saved = (description.get("tuned") or {}).get("thresholds") or {}
    tuned = {name: saved[name] for name in KEYS if name in saved}
    # A file with tuned values, such as tuned.yaml, was chosen by the user for this run.
    from_file = [n for n in KEYS if not always and origin(config, n) in ("user", "tuned")]
    unchanged = set(from_file)
    if TYPE in from_file and config.dotted()[KEYS[TYPE]] == "auto":
        unchanged |= set(AUTOMATIC)
    used = {name: value for name, value in tuned.items() if name not in unchanged}
    before, new = _values(config), with_tuned(config, used)
    after = _values(new)
    notices = []
    changed = [name for name in used if before[name] != after[name]]
    if changed:
        text = ", ".join(f"{name} {used[name]}" for name in changed)
        notices.append(f"thresholds tuned on validation images are used: {text}")
    unused = [name for name in tuned if name in unchanged and before[name] != tuned[name]]
    if unused:
        keys = [name for name in from_file if name in unused or name == TYPE]
        notices.append(
            f"the checkpoint has tuned values of {', '.join(unused)}; the values of the "
            f"configuration file are used, because it sets {', '.join(KEYS[n] for n in keys)}; "
            "remove these keys to use the tuned values"
        )
    return new, notices


def _values(config: Config) -> dict[str, Any]:
    """Return the value of each threshold in use; None for automatic thresholds."""
    resolved = resolve_sources(config)
    values = {n: None if t.source == "automatic" else t.value for n, t in resolved.items()}
    return {TYPE: config.dotted()[KEYS[TYPE]], **values}
