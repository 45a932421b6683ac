"""Translation of channels with several maps: the parts of embeddings, and offsets of affinities."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from singula.config.biapy.translation import Translation
from singula.config.values import plain
from singula.config.yaml_source import Entry
from singula.representations.channel_table import vector_channels
from singula.representations.families import format_offsets
from singula.representations.table import SEPARATOR
from singula.util.format import show

_SEG = "PROBLEM.INSTANCE_SEG"
EMBEDDING = ("E_offset", "E_sigma", "E_seediness")
"""Codes of BiaPy 3.7 that are together the channel `E`."""
_CENTER = {"center_mode": "medoid", "medoid_max_points": 10000}
"""Defaults of BiaPy for the options of ``E_offset``."""
_AFFINITIES = ("z_affinities", "y_affinities", "x_affinities")


def join_embedding(
    work: Translation, entry: Entry, names: tuple[Any, ...]
) -> tuple[Any, ...] | None:
    """Replace the parts of an embedding in a list of channels by its code; None for a problem.

    Weights and losses of the parts are removed, because BiaPy replaces them by its own.
    """
    parts = [name for name in names if name in EMBEDDING]
    if not parts:
        return names
    if set(parts) != set(EMBEDDING):
        work.problem(
            entry,
            f"got {', '.join(parts)}, expected all of {', '.join(EMBEDDING)}, or E",
            "decode.missing_channel",
        )
        return None
    weights = work.take(f"{_SEG}.DATA_CHANNEL_WEIGHTS")
    if weights is not None and set(_items(weights.value)) - {1}:
        work.no_effect(weights)
    losses = work.entries.get(f"{_SEG}.DATA_CHANNELS_LOSSES")
    if losses is not None and set(_items(losses.value)) <= {"embedseg"}:
        work.take(losses.key)
    _set_center(work, entry)
    return tuple("E" if name == EMBEDDING[0] else name for name in names if name not in parts[1:])


def _set_center(work: Translation, entry: Entry) -> None:
    """Set the default center of BiaPy, which differs from that of Singula."""
    key = f"{_SEG}.DATA_CHANNELS_EXTRA_OPTS"
    given = work.entries.get(key)
    if given is None:
        text = f"E.center_mode={_CENTER['center_mode']}"
        work.entries[key] = Entry(key, (text,), entry.place)
        work.notices.append(f"{entry.place}: {key}: {text}, the default of BiaPy")
    elif isinstance(given.value, list) and given.value and isinstance(given.value[0], dict):
        work.entries[key] = replace(given, value=[{EMBEDDING[0]: {}, **given.value[0]}])


def family_options(work: Translation, entry: Entry, options: dict[str, Any]) -> dict[str, Any]:
    """Return options by channel in which those of affinities and embeddings are translated.

    Parameters
    ----------
    work : Translation
        Keys, of which DATA_CHANNELS gets the offsets of affinities.
    entry : Entry
        The options.
    options : dict of str to dict
        Options by the codes of BiaPy.
    """
    rest = {code: each for code, each in options.items() if code not in EMBEDDING}
    if EMBEDDING[0] in options:
        given = {**_CENTER, **options[EMBEDDING[0]]}
        if given.pop("medoid_max_points") != _CENTER["medoid_max_points"]:
            work.no_effect(entry, "'medoid_max_points'")
        rest["E"] = {**given, **rest.get("E", {})}
    if set(rest.get("A", ())) & {*_AFFINITIES, "widen_borders"}:
        rest["A"] = _set_offsets(work, entry, rest["A"])
    if "R" in rest:
        # BiaPy 3.6 writes this option into its files, but never divides the distances.
        rest["R"] = {name: value for name, value in rest["R"].items() if name != "norm"}
    return rest


def share_options(work: Translation, entry: Entry, options: dict[str, Any]) -> dict[str, Any]:
    """Return options in which all offsets of a list have those that one of them has.

    BiaPy 3.7 accepts the options of `H`, `V` and `Z` for one of these channels only.
    """
    channels = work.entries.get(f"{_SEG}.DATA_CHANNELS")
    listed = str(channels.value).split(SEPARATOR) if channels is not None else []
    offsets = [code for code in vector_channels("offset") if code in listed]
    given = [code for code in offsets if options.get(code)]
    if len(given) != 1 or len(offsets) == 1:
        return options
    others = [code for code in offsets if code not in given]
    work.notices.append(
        f"{entry.place}: {entry.key}: {', '.join(others)} {'has' if len(others) == 1 else 'have'} "
        f"the options of {given[0]}, as in BiaPy 3.7"
    )
    return {**options, **{code: options[given[0]] for code in others}}


def _set_offsets(work: Translation, entry: Entry, options: dict[str, Any]) -> dict[str, Any]:
    """Write the offsets of affinities into the list of channels, and return the other options."""
    rest = {name: value for name, value in options.items() if name not in _AFFINITIES}
    widened = rest.pop("widen_borders", 0)
    if widened:
        work.no_effect(entry, f"'widen_borders': {show(widened)}")
    axes = _AFFINITIES if _ndim(work) == 3 else _AFFINITIES[1:]
    steps = [_items(options.get(name, 1)) for name in axes]
    if len(set(map(len, steps))) > 1 or not all(
        type(step) is int and step > 0 for each in steps for step in each
    ):
        text = f"{', '.join(axes)} of A must be lists of positive integers of equal length"
        work.problem(entry, text, "config.unsupported")
        return rest
    # BiaPy compares a pixel with the one that many pixels before it, along one axis at a time.
    offsets = [
        tuple(-each[number] if axis == place else 0 for axis in range(len(axes)))
        for number in range(len(steps[0]))
        for place, each in enumerate(steps)
    ]
    channels = work.entries.get(f"{_SEG}.DATA_CHANNELS")
    codes = str(channels.value).split(SEPARATOR) if channels is not None else []
    if channels is not None and "A" in codes:
        code = f"A{format_offsets(tuple(dict.fromkeys(offsets)))}"
        joined = SEPARATOR.join(code if each == "A" else each for each in codes)
        work.entries[channels.key] = replace(channels, value=joined)
    return rest


def _ndim(work: Translation) -> int:
    entry = work.entries.get("PROBLEM.NDIM")
    return 3 if entry is not None and str(entry.value).upper() == "3D" else 2


def _items(value: object) -> tuple[Any, ...]:
    """Return a list or a single value as a tuple."""
    value = plain(value)
    return value if isinstance(value, tuple) else (value,)
