"""Switches that other keys imply, and keys without effect until a switch is set.

The rules read the keys of the file and of ``--set`` together, so that an explicit value of the
switch always takes precedence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from singula.config.biapy.channels import SEG
from singula.config.biapy.translate import REMOVE, SIZE
from singula.config.biapy.translation import Translation
from singula.config.keys import key_table
from singula.config.schema.root import Config
from singula.config.values import is_none, plain, to_bool
from singula.config.yaml_source import Entry

SIZE_OF_FORMAT = f"{SEG}.DATA_REMOVE_SMALL_OBJ"
ORDER = f"{SEG}.DATA_REMOVE_BEFORE_MW"
_MEASURE = REMOVE.rpartition(".")[0]
_POST = "TEST.POST_PROCESSING"
_MAX_LISTED = 3  # keys in a notice

# Switches outside of sections with an ENABLE, and the keys that have no effect without them
_SWITCHES: dict[str, tuple[str, ...]] = {
    f"{_POST}.Z_FILTERING": (f"{_POST}.Z_FILTERING_SIZE",),
    f"{_POST}.YZ_FILTERING": (f"{_POST}.YZ_FILTERING_SIZE",),
    f"{_POST}.VORONOI_ON_MASK": (f"{_POST}.VORONOI_TH",),
    f"{_POST}.APPLY_MASK": ("DATA.TEST.BINARY_MASKS",),
    f"{SEG}.ERODE_AND_DILATE_FOREGROUND": (
        f"{SEG}.FORE_EROSION_RADIUS",
        f"{SEG}.FORE_DILATION_RADIUS",
    ),
}
_SECTIONS = ("DATA.PREPROCESS.",)


def implied(entries: Mapping[str, Entry]) -> Translation:
    """Find the switches that the given keys imply.

    Parameters
    ----------
    entries : mapping
        The given keys, by their names in the schema.

    Returns
    -------
    Translation
        The switches as entries, and a notice for each.
    """
    work = Translation({})
    _order_of_removal(entries, work)
    _removal_by_properties(entries, work)
    return work


def _order_of_removal(entries: Mapping[str, Entry], work: Translation) -> None:
    """Remove small instances before the seeds grow if the key of BiaPy gives their size."""
    size = entries.get(SIZE)
    if size is None or size.spelling != SIZE_OF_FORMAT or ORDER in entries:
        return
    work.entries[ORDER] = Entry(ORDER, True, size.place, size.spelling)
    text = (
        f"{SIZE_OF_FORMAT}: small seeds are removed before they grow; set {ORDER}: False to "
        "remove small instances afterwards"
    )
    work.notices.append(size.place.prefix(text))


def _removal_by_properties(entries: Mapping[str, Entry], work: Translation) -> None:
    """Enable the removal if one of its lists is set, unless the user disabled it.

    If other lists are missing, the rules of the enabled step refuse the file. An empty list of
    properties, or comparisons alone as in files of later versions of BiaPy, do not enable the
    removal; a notice states that they have no effect.
    """
    lists = [entries[name] for name in _lists() if name in entries]
    lists = [entry for entry in lists if not is_none(entry.value) and plain(entry.value) != ()]
    if not lists:
        return
    switch = f"{REMOVE}.ENABLE"
    names = ", ".join(entry.key.rpartition(".")[2] for entry in lists)
    for name in (switch, f"{_MEASURE}.ENABLE"):
        if name in entries and _is_false(entries[name].value):
            verb = "have" if len(lists) > 1 else "has"
            text = f"{name}: False, so {names} of {REMOVE} {verb} no effect"
            work.notices.append(entries[name].place.prefix(text))
            return
        if name in entries and name == switch:
            return
    first = lists[0]
    alone = [entry.key for entry in lists] == [f"{REMOVE}.SIGN"]
    if first.key != f"{REMOVE}.PROPS" and (f"{REMOVE}.PROPS" in entries or alone):
        why = "PROPS is empty" if f"{REMOVE}.PROPS" in entries else "PROPS and VALUES are not set"
        text = f"{REMOVE}: {why}, so {names} {'have' if len(lists) > 1 else 'has'} no effect"
        work.notices.append(first.place.prefix(text))
        return
    work.entries[switch] = Entry(switch, True, first.place)
    enable = "enable" if len(lists) > 1 else "enables"
    text = f"{REMOVE}: {names} {enable} the removal of instances; set {switch}: False to disable it"
    work.notices.append(first.place.prefix(text))


def _lists() -> tuple[str, ...]:
    return tuple(f"{REMOVE}.{name}" for name in ("PROPS", "VALUES", "SIGN"))


def _is_false(value: object) -> bool:
    with suppress(ValueError):
        return not to_bool(value)
    return False


def keys_without_switch(config: Config) -> Iterator[str]:
    """Yield a notice for each switch that is not set although its keys are."""
    values = config.dotted()
    switches = dict(_SWITCHES)
    for switch in values:
        if switch.startswith(_SECTIONS) and switch.endswith(".ENABLE"):
            section = switch.removesuffix("ENABLE")
            inner = [name for name in values if name.startswith(section) and name != switch]
            switches[switch] = tuple(inner)
    for switch, names in switches.items():
        if values[switch] or config.is_set(switch):
            continue
        idle = [n for n in names if config.is_set(n) and values[n] != key_table()[n].default]
        if idle:
            listed = ", ".join(idle[:_MAX_LISTED])
            more = f" and {len(idle) - _MAX_LISTED} more" if len(idle) > _MAX_LISTED else ""
            yield f"{listed}{more}: no effect without {switch}: True"
