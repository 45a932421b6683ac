"""Translation of the keys of BiaPy of 2021 and 2022.

These versions had no section for instance segmentation: channels and thresholds were keys of DATA,
and thresholds had numbers instead of names.
"""

from __future__ import annotations

from singula.config.biapy.translation import Translation
from singula.config.values import plain, to_bool
from singula.representations.channel_table import CHANNELS
from singula.representations.table import DECODERS
from singula.util.format import show

_SEG = "PROBLEM.INSTANCE_SEG"
_POST = "TEST.POST_PROCESSING"
_THRESHOLDS = ("BINARY_MASK", "CONTOUR", "FOREGROUND", "DISTANCE", "DIST_FOREGROUND")
_MOVED = ("CHANNELS", "CONTOUR_MODE", "REMOVE_SMALL_OBJ", "REMOVE_BEFORE_MW", "CHECK_MW")
_UNETR = {
    "TOKEN_SIZE": "TOKEN_SIZE",
    "EMBED_DIM": "EMBED_DIM",
    "DEPTH": "NUM_LAYERS",
    "NUM_HEADS": "NUM_HEADS",
}
_WEIGHTS = f"{_SEG}.DATA_CHANNEL_WEIGHTS"

EARLY: dict[str, str] = {
    **{f"DATA.{name}": f"{_SEG}.DATA_{name}" for name in _MOVED},
    **{
        f"{prefix}MW_TH{number}": f"{_SEG}.DATA_MW_TH_{name}"
        for prefix in ("DATA.", f"{_SEG}.DATA_")
        for number, name in enumerate(_THRESHOLDS, 1)
    },
    "DATA.MW_OPTIMIZE_THS": f"{_SEG}.DATA_MW_OPTIMIZE_THS",
    "DATA.CHANNEL_WEIGHTS": _WEIGHTS,
    "AUGMENTOR.MISSING_PARTS": "AUGMENTOR.MISSING_SECTIONS",
    **{f"MODEL.UNETR_{old}": f"MODEL.VIT_{new}" for old, new in _UNETR.items()},
    "TEST.APPLY_MASK": f"{_POST}.APPLY_MASK",
    "TEST.VORONOI_ON_MASK": f"{_POST}.VORONOI_ON_MASK",
    "PATHS.RESULT_DIR.FULL_POST_PROCESSING": "PATHS.RESULT_DIR.FULL_IMAGE_POST_PROCESSING",
}
"""Name of a key in 2021 or 2022 → its name in the schema."""


def translate_early(work: Translation) -> None:
    """Rename the keys of 2021 and 2022, and translate values that had another meaning."""
    early = [key for key in EARLY if key in work.entries]
    for key in early:
        entry = work.take(key)
        if entry is not None and key != "DATA.CHANNEL_WEIGHTS":
            work.put(entry, EARLY[key], entry.value)
        elif entry is not None:
            work.put(entry, _WEIGHTS, plain(entry.value))
    _full_image_of_volumes(work)
    _root_folder(work)
    _scheduler(work)
    if any(key.startswith("DATA.") or "MW_TH" in key for key in early):
        _two_weights(work)
        _one_class(work)
        _order_of_axes(work)


def _two_weights(work: Translation) -> None:
    """Assign two weights to the binary channels and to the distance channel."""
    entry, channels = work.entries.get(_WEIGHTS), work.entries.get(f"{_SEG}.DATA_CHANNELS")
    weights = plain(entry.value) if entry is not None else None
    if entry is None or not isinstance(weights, tuple) or len(weights) != 2:
        return
    decoder = DECODERS.get(str(channels.value) if channels is not None else "BC")
    names = decoder.channels if decoder is not None else ()
    values = tuple(weights[int(CHANNELS[name].kind == "distance")] for name in names)
    if values and values != weights:
        work.take(_WEIGHTS)
        work.put(entry, _WEIGHTS, values)


def _one_class(work: Translation) -> None:
    """Count the background as a class, as later versions do."""
    entry = work.entries.get("MODEL.N_CLASSES")
    if entry is not None and str(entry.value).strip() == "1":
        work.take(entry.key)
        work.put(entry, entry.key, 2)


def _order_of_axes(work: Translation) -> None:
    """Add a notice for shapes whose order of axes differs between versions."""
    for key in ("DATA.PATCH_SIZE", *(f"DATA.{s}.PADDING" for s in ("TRAIN", "VAL", "TEST"))):
        entry = work.entries.get(key)
        sides = plain(entry.value) if entry is not None else None
        if entry is None or not isinstance(sides, tuple):
            continue
        spatial = sides[:-1] if key == "DATA.PATCH_SIZE" else sides
        if len(spatial) == 3 and len(set(spatial)) > 1:
            work.notices.append(
                f"{entry.place}: {key}: {show(entry.value)} is read in the order z, y, x; early "
                "versions of 2021 had x, y, z"
            )


def _full_image_of_volumes(work: Translation) -> None:
    """Ignore the prediction of whole images in 3D, as BiaPy did."""
    entry, ndim = work.entries.get("TEST.STATS.FULL_IMG"), work.entries.get("PROBLEM.NDIM")
    if entry is None or ndim is None or str(ndim.value).upper() != "3D":
        return
    work.take(entry.key)
    if _is_true(entry.value):
        work.no_effect(entry, "True in 3D")


def _root_folder(work: Translation) -> None:
    """Set the folders of images and labels below the common data folder."""
    entry = work.take("DATA.ROOT_DIR")
    if entry is None:
        return
    root = str(entry.value).rstrip("/")
    for split in ("TRAIN", "VAL", "TEST"):
        for folder, names in (("x", ("PATH",)), ("y", ("GT_PATH", "MASK_PATH"))):
            keys = [f"DATA.{split}.{name}" for name in names]
            if not any(key in work.entries for key in keys):
                work.put(entry, keys[0], f"{root}/{split.lower()}/{folder}")


def _scheduler(work: Translation) -> None:
    """Remove the name of a scheduler that is not enabled."""
    enable = work.take("TRAIN.LR_SCHEDULER.ENABLE")
    name = work.entries.get("TRAIN.LR_SCHEDULER.NAME")
    if enable is None or _is_true(enable.value) or name is None or not name.value:
        return
    work.take(name.key)
    work.notices.append(
        f"{enable.place}: {enable.key}: False, so {name.key}: {show(name.value)} has no effect"
    )


def _is_true(value: object) -> bool:
    try:
        return to_bool(value)
    except ValueError:
        return False
