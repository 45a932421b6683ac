"""Translation of the keys about channels and their watershed."""

from __future__ import annotations

from collections.abc import Callable

from singula.config.biapy.families import family_options, join_embedding, share_options
from singula.config.biapy.translation import Translation
from singula.config.values import plain
from singula.config.yaml_source import Entry
from singula.errors import UserError
from singula.representations.channel_options import parse_options
from singula.representations.channel_table import (
    CHANNELS,
    code_in_list,
    internal_codes,
)
from singula.representations.combination import growth_channels, seed_channels
from singula.representations.families import FAMILIES
from singula.representations.table import DECODERS, SEPARATOR, join_channels, split_channels
from singula.util.format import counted, show

SEG = "PROBLEM.INSTANCE_SEG"


def _channels(work: Translation) -> None:
    """Translate DATA_CHANNELS from the list of names of later versions."""
    entry = work.entries.get(f"{SEG}.DATA_CHANNELS")
    names = plain(entry.value) if entry is not None else None
    if entry is None or not isinstance(names, tuple):
        return
    work.entries.pop(entry.key)
    names = tuple(name for name in names if name not in NOT_PREDICTED)
    joined_names = join_embedding(work, entry, names)
    if joined_names is None:
        return
    names = joined_names
    joined = join_channels([str(name) for name in names])
    try:
        split_channels(joined)
    except UserError as error:
        text = error.message.removeprefix("channels (DATA_CHANNELS): ")
        work.problem(entry, f"{text}; {error.hint}", error.code)
        return
    work.put(entry, entry.key, joined)
    if joined in DECODERS:
        _sort_lists(work, [names.index(code) for code in split_channels(joined)])
        work.notices[-1] += " (B: the inside of instances; D: the distance to their contour)"


def _sort_lists(work: Translation, order: list[int]) -> None:
    """Sort the weights and losses of a list of channels in the order of the decoder."""
    if order == sorted(order):
        return
    for name in ("DATA_CHANNEL_WEIGHTS", "DATA_CHANNELS_LOSSES"):
        entry = work.entries.get(f"{SEG}.{name}")
        values = plain(entry.value) if entry is not None else None
        if entry is not None and isinstance(values, tuple) and len(values) >= len(order):
            # The weight of the classes can follow.
            values = (*(values[place] for place in order), *values[len(order) :])
            work.entries[entry.key] = Entry(entry.key, values, entry.place)


def _channel_losses(work: Translation) -> None:
    """Translate the synonyms of the losses per channel."""
    entry = work.take(f"{SEG}.DATA_CHANNELS_LOSSES")
    if entry is None:
        return
    losses = plain(entry.value)
    synonyms = {"ce": "bce", "mae": "l1"}
    if isinstance(losses, tuple):
        losses = tuple(synonyms.get(str(loss), loss) for loss in losses)
    work.entries[entry.key] = Entry(entry.key, losses, entry.place)


def _channel_options(work: Translation) -> None:
    """Translate the contour mode and the distance mask of the options per channel."""
    entry = _with_inner_keys(work, f"{SEG}.DATA_CHANNELS_EXTRA_OPTS")
    if entry is None:
        return
    listed = plain(entry.value)
    if isinstance(listed, tuple) and all(isinstance(text, str) for text in listed):
        work.entries[entry.key] = entry
        return
    value = entry.value[0] if isinstance(entry.value, list) and entry.value else entry.value
    if not value:
        return
    if not isinstance(value, dict) or not all(isinstance(v, dict) for v in value.values()):
        work.problem(
            entry,
            f"got {show(entry.value)}, expected [{{'C': {{'mode': 'thick'}}}}]",
            "config.value",
        )
        return
    if _is_refused(work):
        return
    value = share_options(work, entry, family_options(work, entry, value))
    channels = work.entries.get(f"{SEG}.DATA_CHANNELS")
    is_row = channels is None or str(channels.value) in DECODERS
    options = {
        (ch, name): _one_size(item)
        for ch, opts in value.items()
        for name, item in opts.items()
        if not (ch == "P" and name == "skeleton_mode" and _has_whole_skeleton(opts))
    }
    texts = []
    for (channel, name), item in options.items():
        option = Entry(f"{entry.key}.{channel}.{name}", item, entry.place)
        if (channel, name) == ("C", "mode"):
            work.put(option, f"{SEG}.DATA_CONTOUR_MODE", item)
        elif is_row and name == "mask_values":
            work.put(option, f"{SEG}.DISTANCE_CHANNEL_MASK", item)
        elif not is_row and (channel, name) == ("Db", "val_type"):
            if item not in ("norm", "raw"):
                text = f"got {show(item)}, expected 'norm' or 'raw'"
                work.problem(option, text, "config.unsupported")
            texts.append(f"Db.norm={item == 'norm'}")
        elif name == "gradient_type":
            if item != "cellpose":
                text = f"got {show(item)}, expected 'cellpose': flows of Omnipose are not supported"
                work.problem(option, text, "config.unsupported")
        elif name == "skeleton_mode":
            work.problem(option, f"got {show(item)}, expected 'full'", "config.unsupported")
        elif not is_row:
            texts += _option_text(work, option, channel, name)
        elif (name, item) not in _USUAL:
            work.problem(option, f"{show(item)} is not supported", "config.unsupported")
    if texts:
        work.put(entry, entry.key, tuple(texts))


def _is_refused(work: Translation) -> bool:
    """Return True if the channels have a problem, so that other keys cannot be compared to them."""
    return any(each.text.startswith(f"{SEG}.DATA_CHANNELS:") for each in work.problems)


def _one_size(value: object) -> object:
    """Return the size of a list with a size for each axis, if all sizes are equal."""
    sizes = plain(value)
    if isinstance(sizes, tuple) and sizes and sizes.count(sizes[0]) == len(sizes):
        return sizes[0]
    return value


def _has_whole_skeleton(options: dict[str, object]) -> bool:
    """Return True if the mode of the skeleton is the only one of Singula, or is not used."""
    return "skeleton" not in str(options.get("type")) or options.get("skeleton_mode") == "full"


def _option_text(work: Translation, option: Entry, channel: str, name: str) -> list[str]:
    """Return an option as text; empty for the usual activation, or if there is a problem."""
    row = CHANNELS.get(code_in_list(str(channel)))
    usual = ("", row.activation) if row is not None else ("",)
    name = _OPTION_NAMES.get(name, name)
    if name == "activation" and (row is None or name not in row.defaults):
        if option.value not in usual:
            text = f"got {show(option.value)}, expected {show(usual[-1])}"
            work.problem(option, text, "config.unsupported")
        return []
    if option.value == "":
        return []
    text = f"{channel}.{name}={option.value}"
    try:
        parse_options((text,), SEG)
    except UserError as error:
        work.problem(option, error.message.partition(": ")[2], error.code)
        return []
    return [text]


def _with_inner_keys(work: Translation, key: str) -> Entry | None:
    """Remove a key whose value can also be a section of channels, and return it as one value."""
    entry = work.take(key)
    inner = [name for name in work.entries if name.startswith(f"{key}.")]
    if entry is not None or not inner:
        return entry
    tree: dict[str, dict[str, object]] = {}
    place = work.entries[inner[0]].place
    for name in inner:
        channel, _, option = name.removeprefix(f"{key}.").partition(".")
        tree.setdefault(channel, {})[option] = work.entries.pop(name).value
    return Entry(key, [tree], place)


_USUAL = (("erosion", 0), ("dilation", 0), ("type", "centroid"), ("act", "linear"), ("act", ""))
"""Options without effect on channels that are not in a list with new codes."""
NOT_PREDICTED = ("I", "We")
"""Codes that BiaPy adds to a list: labels that are augmented, and weights of the loss."""
_OPTION_NAMES = {"act": "activation"}
_FIRST = ("F", "Bg", "P", "C", "H", "V", "Z", "Db", "Dc", "Dn", "Ds", "T")
"""Order in which BiaPy compares channels. It compares 1 - x if the first one is low inside."""
_LISTS = {"SEED_CHANNELS": "seed_threshold", "GROWTH_MASK_CHANNELS": "growth_threshold"}


def _inferred(name: str, attribute: str) -> tuple[str, ...]:
    """Return the channels of the seeds or of the growth mask of a list, in its order."""
    codes = name.split(SEPARATOR)
    if name in DECODERS or (SEPARATOR not in name and name not in CHANNELS):
        return ()
    internal = dict(zip(codes, internal_codes(tuple(codes)), strict=True))
    rows = {code: CHANNELS[code] for code in internal.values() if code in CHANNELS}
    is_seed = attribute == "seed_threshold"
    used = seed_channels(rows) if is_seed else growth_channels(rows)
    return tuple(code for code in codes if internal[code] in used)


def _expected(codes: object, key: str) -> str:
    """Return a description of the thresholds of the channels that a key selects."""
    if not isinstance(codes, tuple) or not codes:
        return f"one threshold for each of {key}; list the channels in {key}"
    channels = ", ".join(str(code) for code in codes)
    return f"{counted(len(codes), 'threshold')}: one for each channel of {key} ({channels})"


def _inverted(codes: tuple[object, ...]) -> str | None:
    """Return the channel whose threshold is one of 1 - x in BiaPy; None without any."""
    internal = {code_in_list(str(code)) for code in codes}
    first = next((code for code in _FIRST if code in internal), None)
    return first if first is not None and CHANNELS[first].inside == "low" else None


def _watershed_lists(work: Translation) -> None:
    """Translate the thresholds that later versions list in the order of their channels."""
    for key, attribute in _LISTS.items():
        entry = work.take(f"{SEG}.WATERSHED.{key}_THRESH")
        listed = work.entries.get(f"{SEG}.{key}")
        values = plain(entry.value) if entry is not None else ()
        if entry is None or values == "auto":
            continue
        if isinstance(values, tuple) and all(value == "auto" for value in values):
            continue
        if _is_refused(work):
            continue
        channels = work.entries.get(f"{SEG}.DATA_CHANNELS")
        name = str(channels.value) if channels is not None else "BC"
        codes = (plain(listed.value) if listed is not None else ()) or _inferred(name, attribute)
        if (
            not isinstance(values, tuple)
            or not isinstance(codes, tuple)
            or len(values) != len(codes)
        ):
            work.problem(
                entry,
                f"got {show(entry.value)}, expected {_expected(codes, key)}",
                "config.length",
            )
            continue
        is_row = name in DECODERS
        inverted = None if is_row else _inverted(codes)
        for code, value in zip(codes, values, strict=True):
            internal = str(code) if is_row else code_in_list(str(code))
            family = FAMILIES.get(internal)
            row = family.summary if family is not None else CHANNELS.get(internal)
            threshold = getattr(row, attribute) if row is not None else None
            if row is not None and row.vector == "offset":
                threshold = "TH_EDGES"
            if value == "auto" or threshold is None:
                continue
            if internal == inverted and isinstance(value, (int, float)):
                value = round(1 - value, 6)
            work.put(entry, f"{SEG}.DATA_MW_{threshold}", value)


CHANNEL_RULES: tuple[Callable[[Translation], None], ...] = (
    _channels,
    _channel_losses,
    _channel_options,
    _watershed_lists,
)
"""Rules in their order: later ones read the translated channels."""
