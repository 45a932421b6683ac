"""Switches that follow from other keys, and keys without effect until a switch is set.

Rules read all keys that were set, in the file and by ``--set`` together, so that an explicit value
of the switch always takes precedence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from singula.config.biapy.translate import REMOVE, SEG
from singula.config.biapy.translation import Translation
from singula.config.keys import key_table
from singula.config.schema.root import Config
from singula.config.values import is_none, plain, to_bool
from singula.config.yaml_source import Entry, Problem

SIZE = f"{SEG}.DATA_REMOVE_SMALL_OBJ_BEFORE"
SIZE_OF_FORMAT = f"{SEG}.DATA_REMOVE_SMALL_OBJ"
ORDER = f"{SEG}.DATA_REMOVE_BEFORE_MW"
_MEASURE = REMOVE.rpartition(".")[0]
_POST = "TEST.POST_PROCESSING"
_SHOWN = 3  # keys in a notice

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
    """Find the switches that follow from the keys that were set.

    Parameters
    ----------
    entries : mapping
        All keys that were set, by the names of the schema.

    Returns
    -------
    Translation
        The switches as further entries, and a notice for each.
    """
    work = Translation({})
    _order_of_removal(entries, work)
    _removal_by_properties(entries, work)
    return work


def _order_of_removal(entries: Mapping[str, Entry], work: Translation) -> None:
    """Remove small instances before the seeds grow, as the format defines for its own key."""
    size = entries.get(SIZE)
    if size is None or size.spelling != SIZE_OF_FORMAT or ORDER in entries:
        return
    work.entries[ORDER] = Entry(ORDER, True, size.place, size.spelling)
    text = (
        f"{SIZE_OF_FORMAT}: small seeds are removed before they grow; set {ORDER}: False to "
        "remove small instances afterwards"
    )
    work.notices.append(str(Problem(size.place, text)))


def _removal_by_properties(entries: Mapping[str, Entry], work: Translation) -> None:
    """Enable the removal as soon as one of its lists is set, unless the user disabled it.

    If other lists are missing, the rules of the enabled step refuse the file. A list of properties
    that is explicitly empty asks for no removal, and neither does a comparison alone, as files of
    later versions have it. A notice then states that they have no effect.
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
            work.notices.append(str(Problem(entries[name].place, text)))
            return
        if name in entries and name == switch:
            return
    first = lists[0]
    alone = [entry.key for entry in lists] == [f"{REMOVE}.SIGN"]
    if first.key != f"{REMOVE}.PROPS" and (f"{REMOVE}.PROPS" in entries or alone):
        why = "PROPS is empty" if f"{REMOVE}.PROPS" in entries else "PROPS and VALUES are not set"
        text = f"{REMOVE}: {why}, so {names} {'have' if len(lists) > 1 else 'has'} no effect"
        work.notices.append(str(Problem(first.place, text)))
        return
    work.entries[switch] = Entry(switch, True, first.place)
    enable = "enable" if len(lists) > 1 else "enables"
    text = f"{REMOVE}: {names} {enable} the removal of instances; set {switch}: False to disable it"
    work.notices.append(str(Problem(first.place, text)))


def _lists() -> tuple[str, ...]:
    return tuple(f"{REMOVE}.{name}" for name in ("PROPS", "VALUES", "SIGN"))


def _is_false(value: object) -> bool:
    with suppress(ValueError):
        return not to_bool(value)
    return False


def waiting_keys(config: Config) -> Iterator[str]:
    """Report keys that were set and have no effect, as their switch was not set."""
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
        waiting = [n for n in names if config.is_set(n) and values[n] != key_table()[n].default]
        if waiting:
            shown = ", ".join(waiting[:_SHOWN])
            more = f" and {len(waiting) - _SHOWN} more" if len(waiting) > _SHOWN else ""
            yield f"{shown}{more}: no effect without {switch}: True"
