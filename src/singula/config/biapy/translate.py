"""Translation of the keys of other versions, and of BiaPy, to the keys of the schema.

Each translation adds a notice. An old and a new spelling of a key with different values are an
error, as are values without an equivalent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from singula.config.biapy import ignored
from singula.config.biapy.channels import CHANNEL_RULES, SEG
from singula.config.biapy.decoding import DECODING_RULES
from singula.config.biapy.newer_names import NEWER, NEWER_RULES
from singula.config.biapy.older_names import translate_early
from singula.config.biapy.translation import Translation
from singula.config.keys import key_table
from singula.config.values import is_none, plain
from singula.config.yaml_source import Entry, Tree
from singula.util.format import show

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
_EMPTY = (None, "", ())
_WATERSHED_KEYS = (
    "DATA_CHECK_MW",
    "DATA_REMOVE_BEFORE_MW",
    "DATA_REMOVE_SMALL_OBJ_BEFORE",
    "FORE_DILATION_RADIUS",
    "FORE_EROSION_RADIUS",
    "SEED_MORPH_RADIUS",
    "SEED_MORPH_SEQUENCE",
)

SIZE = f"{SEG}.DATA_REMOVE_SMALL_OBJ_BEFORE"
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
    "DATA.TRAIN.EXTRACT_RANDOM_PATCH": "DATA.EXTRACT_RANDOM_PATCH",
    f"{SEG}.TH_POINTS": f"{SEG}.DATA_MW_TH_POINTS",
    f"{SEG}.DATA_REMOVE_SMALL_OBJ": f"{SEG}.DATA_REMOVE_SMALL_OBJ_BEFORE",
    **{f"{SEG}.WATERSHED.{name}": f"{SEG}.{name}" for name in _WATERSHED_KEYS},
    f"{SEG}.WATERSHED.SEED_CHANNELS": f"{SEG}.SEED_CHANNELS",
    f"{SEG}.WATERSHED.GROWTH_MASK_CHANNELS": f"{SEG}.GROWTH_MASK_CHANNELS",
    f"{SEG}.WATERSHED.TOPOGRAPHIC_SURFACE_CHANNEL": f"{SEG}.TOPOGRAPHIC_SURFACE_CHANNEL",
    f"{SEG}.WATERSHED.BY_2D_SLICES": f"{SEG}.WATERSHED_BY_2D_SLICES",
    f"{SEG}.WATERSHED.ERODE_AND_DILATE_GROWTH_MASK": f"{SEG}.ERODE_AND_DILATE_FOREGROUND",
    f"{REMOVE}.SIGNS": f"{REMOVE}.SIGN",
    f"{_POST}.REMOVE_BY_PROPERTIES_SIGN": f"{REMOVE}.SIGN",
    f"{_POST}.REMOVE_BY_PROPERTIES_VALUES": f"{REMOVE}.VALUES",
    "TEST.STATS.FULL_IMG": "TEST.FULL_IMG",
    **NEWER,
}  # fmt: skip
"""Name of a key in another version → its name in the schema."""

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
"""Key → value in another version → value in the schema."""


def translate(tree: Tree) -> Translation:
    """Translate the keys of a source to those of the schema.

    `Translation.entries` then contains keys of the schema and unknown keys.
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
    for key, values in RENAMED_VALUES.items():
        entry = work.entries.get(key)
        if entry is not None and isinstance(entry.value, str) and entry.value in values:
            work.entries.pop(key)
            work.put(entry, key, values[entry.value])
    _remove_ignored(work)
    return work


def _format_size(work: Translation, tree: Tree) -> None:
    """Let the key of BiaPy decide the order of removal if both spellings are present."""
    old = f"{SEG}.DATA_REMOVE_SMALL_OBJ"
    new = RENAMED[old]
    if old in tree.entries and new in work.entries:
        work.entries[new] = replace(work.entries[new], spelling=old)


def _remove_ignored(work: Translation) -> None:
    """Remove ignored and refused keys, with a notice or a problem for values with a meaning."""
    keys = key_table()
    disabled = tuple(
        key.removesuffix("ENABLE")
        for key, entry in work.entries.items()
        if key.endswith(".ENABLE") and _is_neutral(entry.value, (False,))
    )
    for key in [key for key in work.entries if key not in keys]:
        entry = work.entries[key]
        if key in ignored.REFUSED:
            neutral, reason = ignored.REFUSED[key]
            if not _is_neutral(entry.value, neutral):
                work.problem(
                    entry, f"{show(entry.value)} is not supported: {reason}", "config.unsupported"
                )
        elif key in ignored.NO_EFFECT:
            if not _is_neutral(entry.value, ignored.NO_EFFECT[key]):
                work.no_effect(entry)
        elif ignored.matches(key, ignored.OTHER_WORKFLOWS):
            work.other_workflows.append(key)
        elif ignored.matches(key, ignored.UNUSED):
            if plain(entry.value) not in _EMPTY and not key.startswith(disabled):
                work.no_effect(entry)
        else:
            continue
        work.entries.pop(key)


def _is_neutral(value: object, neutral: Iterable[object]) -> bool:
    """Return True if the value, or each element of a list, has no meaning here."""
    if is_none(value):
        return True
    value = plain(value)
    if isinstance(value, tuple) and value:
        return value in neutral or all(item in neutral for item in value)
    if isinstance(value, str) and value.lower() == "false":
        value = False
    return any(value == item for item in neutral)


def _class_rebalance(work: Translation) -> None:
    """Translate true and false of earlier versions."""
    entry = work.entries.get("LOSS.CLASS_REBALANCE")
    if entry is None or str(entry.value).lower() not in ("true", "false"):
        return
    work.entries.pop(entry.key)
    if str(entry.value).lower() == "true":
        work.put(entry, entry.key, "auto")
    else:
        work.entries[entry.key] = Entry(entry.key, "none", entry.place)


def _rebalance_within_channels(work: Translation) -> None:
    """Translate the weights of background and foreground within each binary channel."""
    entry = work.take(f"{SEG}.CLASS_REBALANCE_WITHIN_CHANNELS")
    if entry is not None and str(entry.value).lower() == "true":
        work.put(entry, "LOSS.CLASS_REBALANCE", "auto")


def _batch_normalization(work: Translation) -> None:
    entry = work.take("MODEL.NORMALIZATION")
    if entry is None:
        return
    values = {"bn": True, "sync_bn": True, "none": False}
    name = "none" if is_none(entry.value) else str(entry.value)
    if name in values:
        work.put(entry, "MODEL.BATCH_NORMALIZATION", values[name])
    else:
        work.problem(entry, f"got {show(entry.value)}, expected 'bn' or 'none'", "config.value")


def _clip_values(work: Translation) -> None:
    for side in ("LOWER", "UPPER"):
        entry = work.take(f"DATA.NORMALIZATION.PERC_CLIP.{side}_VALUE")
        if entry is not None and plain(entry.value) not in (-1, (-1,)):
            work.problem(
                entry,
                f"got {show(entry.value)}, expected -1, as only PERC_{side} clips values",
                "config.unsupported",
            )


def _equal_moments(work: Translation) -> None:
    """Translate lists of one mean and standard deviation per channel, if they are equal."""
    for name in ("MEAN", "STD"):
        key = f"DATA.NORMALIZATION.CUSTOM_{name}"
        entry = work.entries.get(key)
        values = plain(entry.value) if entry is not None else None
        if (
            entry is not None
            and isinstance(values, tuple)
            and values
            and values.count(values[0]) == len(values)
        ):
            work.entries[key] = replace(entry, value=values[0])


def _few_foreground(work: Translation) -> None:
    """Translate the filter of training patches by their foreground."""
    section = "DATA.TRAIN.FILTER_SAMPLES"
    enable, *lists = (
        work.entries.get(f"{section}.{name}") for name in ("ENABLE", "PROPS", "SIGNS", "VALUES")
    )
    if enable is None or enable.value is not True:
        return
    props, signs, values = (plain(item.value) if item is not None else None for item in lists)
    minimum = _only_item(values)
    if _only_item(props) == "foreground" and _only_item(signs) == "lt" and minimum is not None:
        for name in ("ENABLE", "PROPS", "SIGNS", "VALUES"):
            work.take(f"{section}.{name}")
        work.put(enable, "DATA.TRAIN.MINIMUM_FOREGROUND_PER", minimum)


def _only_item(lists: object) -> object:
    """Return the item of a list that contains one list with one item, else None."""
    for _ in range(2):
        lists = lists[0] if isinstance(lists, tuple) and len(lists) == 1 else None
    return lists


def _median_filter(work: Translation) -> None:
    """Translate the median filters along z, and over y and z, of a list of filters."""
    enable, axes, sizes = (
        work.take(f"{_POST}.MEDIAN_FILTER{name}") for name in ("", "_AXIS", "_SIZE")
    )
    if enable is None or plain(enable.value) in (False, None):
        return
    names = plain(axes.value) if axes is not None else ()
    widths = plain(sizes.value) if sizes is not None else ()
    if not isinstance(names, tuple) or not isinstance(widths, tuple) or len(names) != len(widths):
        work.problem(
            enable,
            "MEDIAN_FILTER_AXIS and MEDIAN_FILTER_SIZE must be lists of equal length",
            "config.length",
        )
        return
    for name, width in zip(names, widths, strict=True):
        key = {"z": "Z_FILTERING", "yz": "YZ_FILTERING", "zy": "YZ_FILTERING"}.get(str(name))
        if key is None:
            work.no_effect(enable, f"the filter along {name!r}")
        else:
            work.put(enable, f"{_POST}.{key}", True)
            work.put(enable, f"{_POST}.{key}_SIZE", width)


def _given_sizes(work: Translation) -> list[str]:
    """Return the keys with the minimum size of an instance that are given."""
    return [key for key in (SIZE, f"{SEG}.DATA_REMOVE_SMALL_OBJ") if key in work.entries]


def _refinement(work: Translation) -> None:
    """Translate the removal of small instances and of those at the border."""
    enable, operations, values = (
        work.take(f"{_POST}.INSTANCE_REFINEMENT.{name}")
        for name in ("ENABLE", "OPERATIONS", "VALUES")
    )
    if enable is None or plain(enable.value) in (False, None) or operations is None:
        return
    names = plain(operations.value)
    names = names if isinstance(names, tuple) else (names,)
    sizes = plain(values.value) if values is not None else ()
    sizes = sizes if isinstance(sizes, tuple) and len(sizes) == len(names) else (None,) * len(names)
    for name, size in zip(names, sizes, strict=True):
        if name == "clear_border":
            work.put(operations, f"{_POST}.CLEAR_BORDER", True)
        elif name == "remove_small_objects" and type(size) is int and not _given_sizes(work):
            work.put(operations, SIZE, size)
        else:
            work.no_effect(operations, repr(name))


def _synapses(work: Translation) -> None:
    """Add a notice for paths of synapse data, which are not used."""
    for key in [key for key in work.entries if _SYNAPSES.fullmatch(key)]:
        entry = work.entries[key]
        if entry.value and not is_none(entry.value):
            work.take(key)
            work.notices.append(
                f"{entry.place}: {key}: {show(entry.value)} has no effect, as synapses are not "
                "segmented"
            )


def _remove_by_properties(work: Translation) -> None:
    """Translate the list of the first versions, which also enabled the removal."""
    entry = work.take(f"{_POST}.REMOVE_BY_PROPERTIES")
    if entry is None or not plain(entry.value):
        return
    work.put(entry, f"{REMOVE}.PROPS", entry.value)
    work.put(entry, f"{REMOVE}.ENABLE", True)
    work.put(entry, f"{_POST}.MEASURE_PROPERTIES.ENABLE", True)


_RULES: tuple[Callable[[Translation], None], ...] = (
    *CHANNEL_RULES,
    *DECODING_RULES,
    *NEWER_RULES,
    _class_rebalance,
    _rebalance_within_channels,
    _batch_normalization,
    _clip_values,
    _equal_moments,
    _few_foreground,
    _median_filter,
    _refinement,
    _synapses,
    _remove_by_properties,
)
