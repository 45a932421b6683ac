"""Spellings of other versions of the format, brought to that of the schema.

Each translation is told in one line. Asking twice, in an old and a new spelling with different
values, is an error, and so is asking for something that has no equivalent here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from singula.config.biapy import ignored
from singula.config.biapy.older_names import translate_early
from singula.config.biapy.translation import Translation
from singula.config.keys import key_table
from singula.config.values import is_none, plain
from singula.config.yaml_source import Entry, Tree
from singula.util.format import show

SEG = "PROBLEM.INSTANCE_SEG"
_POST = "TEST.POST_PROCESSING"
REMOVE = f"{_POST}.MEASURE_PROPERTIES.REMOVE_BY_PROPERTIES"
_ARRAY_KEYS = (
    "INPUT_IMG_AXES_ORDER",
    "INPUT_MASK_AXES_ORDER",
    "INPUT_ZARR_MULTIPLE_DATA",
    "INPUT_ZARR_MULTIPLE_DATA_RAW_PATH",
    "INPUT_ZARR_MULTIPLE_DATA_GT_PATH",
)
_SYNAPSES = re.compile(
    r"DATA\.(TRAIN|VAL|TEST)\.INPUT_ZARR_MULTIPLE_DATA_(ID|PARTNERS|LOCATIONS|RESOLUTION)_PATH"
)
_WATERSHED_KEYS = (
    "DATA_CHECK_MW",
    "DATA_REMOVE_BEFORE_MW",
    "DATA_REMOVE_SMALL_OBJ_BEFORE",
    "FORE_DILATION_RADIUS",
    "FORE_EROSION_RADIUS",
    "SEED_MORPH_RADIUS",
    "SEED_MORPH_SEQUENCE",
)

RENAMED: dict[str, str] = {
    **{f"DATA.{split}.MASK_PATH": f"DATA.{split}.GT_PATH" for split in ("TRAIN", "VAL", "TEST")},
    **{f"DATA.TEST.{name}": f"TEST.BY_CHUNKS.{name}" for name in _ARRAY_KEYS},
    **{
        f"DATA.PREPROCESS.{name}.ACTIVATE": f"DATA.PREPROCESS.{name}.ENABLE"
        for name in (
            "RESIZE", "GAUSSIAN_BLUR", "MEDIAN_BLUR", "MATCH_HISTOGRAM", "CLAHE", "CANNY"
        )
    },
    "DATA.N_CLASSES": "MODEL.N_CLASSES",
    "DATA.NORMALIZATION.MEASURE_BY": "DATA.NORMALIZATION.APPLICATION_MODE",
    "DATA.NORMALIZATION.PERC_CLIP.ENABLE": "DATA.NORMALIZATION.PERC_CLIP",
    "DATA.NORMALIZATION.PERC_CLIP.LOWER_PERC": "DATA.NORMALIZATION.PERC_LOWER",
    "DATA.NORMALIZATION.PERC_CLIP.UPPER_PERC": "DATA.NORMALIZATION.PERC_UPPER",
    "DATA.NORMALIZATION.ZERO_MEAN_UNIT_VAR.MEAN_VAL": "DATA.NORMALIZATION.CUSTOM_MEAN",
    "DATA.NORMALIZATION.ZERO_MEAN_UNIT_VAR.STD_VAL": "DATA.NORMALIZATION.CUSTOM_STD",
    "MODEL.BMZ.SOURCE_MODEL_ID": "MODEL.BMZ.SOURCE_MODEL_DOI",
    f"{SEG}.TH_POINTS": f"{SEG}.DATA_MW_TH_POINTS",
    f"{SEG}.DATA_REMOVE_SMALL_OBJ": f"{SEG}.DATA_REMOVE_SMALL_OBJ_BEFORE",
    **{f"{SEG}.WATERSHED.{name}": f"{SEG}.{name}" for name in _WATERSHED_KEYS},
    f"{SEG}.WATERSHED.BY_2D_SLICES": f"{SEG}.WATERSHED_BY_2D_SLICES",
    f"{SEG}.WATERSHED.ERODE_AND_DILATE_GROWTH_MASK": f"{SEG}.ERODE_AND_DILATE_FOREGROUND",
    f"{REMOVE}.SIGNS": f"{REMOVE}.SIGN",
    f"{_POST}.REMOVE_BY_PROPERTIES_SIGN": f"{REMOVE}.SIGN",
    f"{_POST}.REMOVE_BY_PROPERTIES_VALUES": f"{REMOVE}.VALUES",
    "TEST.STATS.FULL_IMG": "TEST.FULL_IMG",
}  # fmt: skip
"""Old or new name of a key → its name here."""

_BEYOND = {
    "mirror": "reflect",
    "grid-mirror": "symmetric",
    "grid-constant": "constant",
    "grid-wrap": "wrap",
    "edge": "nearest",
}

RENAMED_VALUES: dict[str, dict[str, str]] = {
    "DATA.NORMALIZATION.TYPE": {"zero_mean_unit_variance": "custom"},
    "LOSS.TYPE": {"": "CE"},
    "AUGMENTOR.AFFINE_MODE": _BEYOND,
    "AUGMENTOR.E_MODE": _BEYOND,
}
"""Key → word of another version → its word here."""

_CHANNELS = {
    frozenset({"B", "C"}): "BC",
    frozenset({"B", "P"}): "BP",
    frozenset({"B", "D"}): "BD",
    frozenset({"B", "C", "M"}): "BCM",
    frozenset({"B", "C", "D"}): "BCD",
    frozenset({"B", "C", "Dv2"}): "BCDv2",
    frozenset({"B", "Dv2"}): "BDv2",
    frozenset({"Dv2"}): "Dv2",
}


def translate(tree: Tree) -> Translation:
    """Bring the keys of a source to the spelling of the schema.

    Keys that remain in `Translation.entries` are those of the schema and unknown ones.
    """
    work = Translation(dict(tree.entries), problems=list(tree.problems))
    translate_early(work)
    for old, new in RENAMED.items():
        entry = work.take(old)
        if entry is not None:
            work.put(entry, new, entry.value)
    _format_size(work, tree)
    for rule in _RULES:
        rule(work)
    for key, words in RENAMED_VALUES.items():
        entry = work.entries.get(key)
        if entry is not None and isinstance(entry.value, str) and entry.value in words:
            work.entries.pop(key)
            work.put(entry, key, words[entry.value])
    _set_aside(work)
    return work


def _format_size(work: Translation, tree: Tree) -> None:
    """Let the format's own key decide the order of removal if both spellings are present."""
    old = f"{SEG}.DATA_REMOVE_SMALL_OBJ"
    new = RENAMED[old]
    if old in tree.entries and new in work.entries:
        work.entries[new] = replace(work.entries[new], spelling=old)


def _set_aside(work: Translation) -> None:
    known = key_table()
    for key in [key for key in work.entries if key not in known]:
        entry = work.entries[key]
        if key in ignored.REFUSED:
            neutral, reason = ignored.REFUSED[key]
            if not _asks_nothing(entry.value, neutral):
                work.problem(entry, f"found {show(entry.value)}; not possible here: {reason}")
        elif key in ignored.NO_EFFECT:
            if not _asks_nothing(entry.value, ignored.NO_EFFECT[key]):
                work.no_effect(entry)
        elif ignored.matches(key, ignored.OTHER_WORKFLOWS):
            work.other_workflows.append(key)
        elif ignored.matches(key, ignored.UNUSED):
            work.unused.append(key)
        else:
            continue
        work.entries.pop(key)


def _asks_nothing(value: object, neutral: Iterable[object]) -> bool:
    if is_none(value):
        return True
    value = plain(value)
    if isinstance(value, tuple) and value and isinstance(value[0], str | bool):
        return all(item in neutral for item in value)
    if isinstance(value, str) and value.lower() == "false":
        value = False
    return any(value == item for item in neutral)


def _channels(work: Translation) -> None:
    """DATA_CHANNELS as a list of names, as later versions write it."""
    entry = work.entries.get(f"{SEG}.DATA_CHANNELS")
    names = plain(entry.value) if entry is not None else None
    if entry is None or not isinstance(names, tuple):
        return
    work.entries.pop(entry.key)
    words = frozenset(str(name) for name in names)
    if words in _CHANNELS and len(words) == len(names):
        work.put(entry, entry.key, _CHANNELS[words])
        work.notices[-1] += " (B: the inside of instances; D: the distance to their contour)"
        return
    near = _CHANNELS.get(frozenset({"F": "B", "Db": "D"}.get(word, word) for word in words), "BC")
    unknown = ", ".join(
        "F (the whole foreground)" if word == "F" else word
        for word in sorted(words - {"B", "C", "M", "P", "D", "Dv2"})
    )
    text = f"found {show(entry.value)}; allowed one of {', '.join(_CHANNELS.values())}"
    missing = f"{unknown} cannot be made here, " if unknown else ""
    work.problem(entry, f"{text}; {missing}the nearest is {near}")


def _channel_losses(work: Translation) -> None:
    """One loss per channel, which is fixed here."""
    entry = work.take(f"{SEG}.DATA_CHANNELS_LOSSES")
    if entry is None:
        return
    losses = plain(entry.value)
    channels = work.entries.get(f"{SEG}.DATA_CHANNELS")
    name = str(channels.value) if channels is not None else "BC"
    fixed = ["l1" if letter == "D" else "bce" for letter in name.replace("v2", "")]
    same = {"ce": "bce", "mae": "l1"}
    asked = [same.get(str(loss), loss) for loss in losses] if isinstance(losses, tuple) else losses
    if asked and asked != fixed:
        work.problem(
            entry, f"found {show(entry.value)}; allowed {fixed}, the losses of the channels {name}"
        )


def _channel_options(work: Translation) -> None:
    """Take from the options per channel what exists here: contour mode and distance mask."""
    entry = work.take(f"{SEG}.DATA_CHANNELS_EXTRA_OPTS")
    if entry is None:
        return
    value = entry.value[0] if isinstance(entry.value, list) and entry.value else entry.value
    if not value:
        return
    if not isinstance(value, dict) or not all(isinstance(v, dict) for v in value.values()):
        work.problem(entry, f"found {show(entry.value)}; allowed [{{'C': {{'mode': 'thick'}}}}]")
        return
    options = {(ch, name): item for ch, opts in value.items() for name, item in opts.items()}
    for (channel, name), item in options.items():
        part = Entry(f"{entry.key}.{channel}.{name}", item, entry.place)
        if (channel, name) == ("C", "mode"):
            work.put(part, f"{SEG}.DATA_CONTOUR_MODE", item)
        elif name == "mask_values":
            work.put(part, f"{SEG}.DISTANCE_CHANNEL_MASK", item)
        elif (name, item) not in (("erosion", 0), ("dilation", 0), ("type", "centroid")):
            work.problem(part, f"found {show(item)}; this option does not exist here")


def _class_rebalance(work: Translation) -> None:
    """Read the switch that the word was in earlier versions."""
    entry = work.entries.get("LOSS.CLASS_REBALANCE")
    if entry is None or str(entry.value).lower() not in ("true", "false"):
        return
    work.entries.pop(entry.key)
    if str(entry.value).lower() == "true":
        work.put(entry, entry.key, "auto")
    else:
        work.entries[entry.key] = Entry(entry.key, "none", entry.place)


def _batch_normalization(work: Translation) -> None:
    entry = work.take("MODEL.NORMALIZATION")
    if entry is None:
        return
    words = {"bn": True, "sync_bn": True, "none": False}
    word = "none" if is_none(entry.value) else str(entry.value)
    if word in words:
        work.put(entry, "MODEL.BATCH_NORMALIZATION", words[word])
    else:
        work.problem(entry, f"found {show(entry.value)}; allowed 'bn' or 'none'")


def _clip_values(work: Translation) -> None:
    for side in ("LOWER", "UPPER"):
        entry = work.take(f"DATA.NORMALIZATION.PERC_CLIP.{side}_VALUE")
        if entry is not None and entry.value != -1:
            work.problem(
                entry, f"found {show(entry.value)}; allowed -1: clipping is by PERC_{side} only"
            )


def _few_foreground(work: Translation) -> None:
    """Find a filter of training patches by their foreground."""
    section = "DATA.TRAIN.FILTER_SAMPLES"
    enable, *lists = (
        work.entries.get(f"{section}.{name}") for name in ("ENABLE", "PROPS", "SIGNS", "VALUES")
    )
    if enable is None or enable.value is not True:
        return
    props, signs, values = (plain(item.value) if item is not None else None for item in lists)
    least = _only_item(values)
    if _only_item(props) == "foreground" and _only_item(signs) == "lt" and least is not None:
        for name in ("ENABLE", "PROPS", "SIGNS", "VALUES"):
            work.take(f"{section}.{name}")
        work.put(enable, "DATA.TRAIN.MINIMUM_FOREGROUND_PER", least)


def _only_item(lists: object) -> object:
    """Return the one item of the one list in a list, else None."""
    for _ in range(2):
        lists = lists[0] if isinstance(lists, tuple) and len(lists) == 1 else None
    return lists


def _median_filter(work: Translation) -> None:
    """Take from a list of median filters those that exist here: along z, and over y and z."""
    enable, axes, sizes = (
        work.take(f"{_POST}.MEDIAN_FILTER{name}") for name in ("", "_AXIS", "_SIZE")
    )
    if enable is None or plain(enable.value) in (False, None):
        return
    names = plain(axes.value) if axes is not None else ()
    widths = plain(sizes.value) if sizes is not None else ()
    if not isinstance(names, tuple) or not isinstance(widths, tuple) or len(names) != len(widths):
        work.problem(
            enable, "MEDIAN_FILTER_AXIS and MEDIAN_FILTER_SIZE must be lists of one length"
        )
        return
    for name, width in zip(names, widths, strict=True):
        here = {"z": "Z_FILTERING", "yz": "YZ_FILTERING", "zy": "YZ_FILTERING"}.get(str(name))
        if here is None:
            work.no_effect(enable, f"the filter along {name!r}")
        else:
            work.put(enable, f"{_POST}.{here}", True)
            work.put(enable, f"{_POST}.{here}_SIZE", width)


def _refinement(work: Translation) -> None:
    """Take from a list of operations on instances the one that exists here: clearing borders."""
    enable, operations, _ = (
        work.take(f"{_POST}.INSTANCE_REFINEMENT.{name}")
        for name in ("ENABLE", "OPERATIONS", "VALUES")
    )
    if enable is None or plain(enable.value) in (False, None) or operations is None:
        return
    names = plain(operations.value)
    for name in names if isinstance(names, tuple) else (names,):
        if name == "clear_border":
            work.put(operations, f"{_POST}.CLEAR_BORDER", True)
        else:
            work.no_effect(operations, repr(name))


def _synapses(work: Translation) -> None:
    """Say of paths to synapses in a container that nothing reads them."""
    for key in [key for key in work.entries if _SYNAPSES.fullmatch(key)]:
        entry = work.entries[key]
        if entry.value and not is_none(entry.value):
            work.take(key)
            work.notices.append(
                f"{entry.place}: {key}: {show(entry.value)} belongs to synapse data, which are not "
                "segmented here; it has no effect"
            )


def _remove_by_properties(work: Translation) -> None:
    """Read the first versions' list, which both switched removal on and named the properties."""
    entry = work.take(f"{_POST}.REMOVE_BY_PROPERTIES")
    if entry is None or not plain(entry.value):
        return
    work.put(entry, f"{REMOVE}.PROPS", entry.value)
    work.put(entry, f"{REMOVE}.ENABLE", True)
    work.put(entry, f"{_POST}.MEASURE_PROPERTIES.ENABLE", True)


_RULES: tuple[Callable[[Translation], None], ...] = (
    _channels,
    _channel_losses,
    _channel_options,
    _class_rebalance,
    _batch_normalization,
    _clip_values,
    _few_foreground,
    _median_filter,
    _refinement,
    _synapses,
    _remove_by_properties,
)
