"""Thresholds that were tuned and saved with the weights: when they hold, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from singula.config import Config

SIZE = "REMOVE_SMALL_OBJ"
_SECTION = "PROBLEM.INSTANCE_SEG"
# Configuration keys of thresholds by their names without prefix
KEYS = {
    name: f"{_SECTION}.DATA_MW_{name}"
    for name in (
        "TH_TYPE",
        "TH_BINARY_MASK",
        "TH_CONTOUR",
        "TH_FOREGROUND",
        "TH_DISTANCE",
        "TH_DIST_FOREGROUND",
        "TH_POINTS",
    )
} | {SIZE: f"{_SECTION}.DATA_REMOVE_SMALL_OBJ_BEFORE"}


def configured(config: Config) -> dict[str, Any]:
    """Thresholds and least size of a configuration, by names without prefix."""
    values = config.dotted()
    return {name: values[key] for name, key in KEYS.items()}


def with_thresholds(config: Config, thresholds: Mapping[str, Any]) -> Config:
    """The configuration with other thresholds."""
    return config.replaced({KEYS[name]: value for name, value in thresholds.items()})


def apply_tuned(
    config: Config, description: Mapping[str, Any], *, always: bool = False
) -> tuple[Config, list[str]]:
    """The configuration with the thresholds that are saved with the weights.

    Parameters
    ----------
    config : Config
    description : mapping
        Of a checkpoint; without tuned thresholds the configuration stays as it is.
    always : bool
        False: what the configuration file says explicitly wins. As thresholds belong together, one
        of them in the file keeps all of the file's; the least size counts for itself.

    Returns
    -------
    config : Config
    notices : list of str
        What holds, and why.
    """
    tuned = (description.get("tuned") or {}).get("thresholds") or {}
    now = configured(config)
    new = {name: value for name, value in tuned.items() if name in KEYS and now[name] != value}
    if not new:
        return config, []
    given = [] if always else [name for name in KEYS if config.is_set(KEYS[name])]
    kept = {SIZE} & set(given)
    if set(given) - {SIZE}:
        kept |= set(KEYS) - {SIZE}
    used = {name: value for name, value in new.items() if name not in kept}
    notices = []
    if used:
        words = ", ".join(f"{name} {value}" for name, value in used.items())
        notices.append(f"thresholds tuned on validation images are used: {words}")
    left = [name for name in new if name in kept]
    if left:
        reason = ", ".join(KEYS[name] for name in given if name in kept)
        notices.append(
            f"the checkpoint holds tuned values of {', '.join(left)}, but the configuration "
            f"file's are used, as it gives {reason}; take the keys out of it to use the tuned ones"
        )
    return with_thresholds(config, used), notices
