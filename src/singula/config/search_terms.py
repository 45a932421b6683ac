"""Search of keys by their names, descriptions and common terms for them."""

from __future__ import annotations

from singula.config.keys import Key

_SEG = "PROBLEM.INSTANCE_SEG."
_SPEED = (
    "SYSTEM.NUM_CPUS", "SYSTEM.NUM_WORKERS", "SYSTEM.PIN_MEM", "TRAIN.PRECISION", "TRAIN.COMPILE",
    "TRAIN.EPOCHS", "TEST.PRECISION", "TEST.BACKEND", "TEST.TILE_SIZE", "TEST.AUGMENTATION",
)  # fmt: skip
_OVERFITTING = (
    "AUGMENTOR.ENABLE", "MODEL.DROPOUT_VALUES", "TRAIN.W_DECAY", "TRAIN.PATIENCE",
    "DATA.TRAIN.REPLICATE", "DATA.VAL.SPLIT_TRAIN",
)  # fmt: skip
_SIZE = (
    f"{_SEG}DATA_REMOVE_SMALL_OBJ_BEFORE", f"{_SEG}DATA_MW_TH_CENTER_RADIUS", "DATA.PATCH_SIZE",
    "DATA.TRAIN.RESOLUTION", "DATA.PREPROCESS.SPACING",
    "TEST.POST_PROCESSING.REPARE_LARGE_BLOBS_SIZE",
)  # fmt: skip
_TOUCHING = (
    f"{_SEG}DATA_CHANNELS", f"{_SEG}DATA_MW_TH_CONTOUR", f"{_SEG}DATA_MW_TH_TOUCHING",
    f"{_SEG}DATA_MW_TH_DISTANCE", f"{_SEG}DATA_MW_TH_NMS", f"{_SEG}SEED_MORPH_SEQUENCE",
)  # fmt: skip
_ROTATION = (
    "AUGMENTOR.ROT90", "AUGMENTOR.RANDOM_ROT", "AUGMENTOR.RANDOM_ROT_RANGE", "TEST.AUGMENTATION",
    "AUGMENTOR.MISALIGNMENT", "AUGMENTOR.MS_ROTATE_RATIO", "AUGMENTOR.GRID_ROTATE",
)  # fmt: skip
SEARCH_TERMS: dict[str, tuple[str, ...]] = {
    "rotation": _ROTATION,
    "flip": ("AUGMENTOR.VFLIP", "AUGMENTOR.HFLIP", "AUGMENTOR.ZFLIP"),
    "diameter": _SIZE,
    "pixel size": ("DATA.TRAIN.RESOLUTION", "DATA.TEST.RESOLUTION", "DATA.PREPROCESS.SPACING"),
    "voxel": ("DATA.TRAIN.RESOLUTION", "DATA.TEST.RESOLUTION", "DATA.PREPROCESS.SPACING"),
    "touch": _TOUCHING,
    "crowded": _TOUCHING,
    "merged": _TOUCHING,
    "speed": _SPEED,
    "slow": _SPEED,
    "duration": _SPEED,
    "overfit": _OVERFITTING,
    "early stop": ("TRAIN.PATIENCE",),
    "gpu": ("SYSTEM.DEVICE", "SYSTEM.PIN_MEM", "TRAIN.PRECISION"),
    "ram": ("SYSTEM.MAX_MEMORY", "DATA.TRAIN.IN_MEMORY", "DATA.VAL.IN_MEMORY"),
    "debris": (f"{_SEG}DATA_REMOVE_SMALL_OBJ_BEFORE", "TEST.POST_PROCESSING.MEASURE_PROPERTIES"),
    "filter": ("TEST.POST_PROCESSING.MEASURE_PROPERTIES.REMOVE_BY_PROPERTIES",),
    "class": ("MODEL.N_CLASSES",),
    "metric": ("TEST.MATCHING_STATS", "TRAIN.CHECKPOINT_MONITOR"),
    "cell type": ("MODEL.N_CLASSES",),
    "gray": ("AUGMENTOR.GRAYSCALE", "DATA.FORCE_RGB"),
}
"""Keys, or sections of keys, by the beginning of a term that their descriptions do not contain."""
_MIN_LENGTH = 3


def matches_search(key: Key, query: str) -> bool:
    """Return True if a key matches all words of a query.

    Parameters
    ----------
    key : Key
        The key.
    query : str
        Words separated by spaces. A word occurs in the name or description of the key, or is the
        beginning of a term in `SEARCH_TERMS` or begins with one.

    Examples
    --------
    >>> from singula.config.keys import key_table
    >>> matches_search(key_table()["TRAIN.PATIENCE"], "overfitting")
    True
    """
    query, text = query.lower(), f"{key.name} {key.description}".lower()
    return _is_meant(query, key.name) or all(
        word in text or _is_meant(word, key.name) for word in query.split()
    )


def _is_meant(word: str, name: str) -> bool:
    """Return True if a term stands for the key with this name."""
    if len(word) < _MIN_LENGTH:
        return False
    return any(
        name == key or name.startswith(f"{key}.")
        for term, keys in SEARCH_TERMS.items()
        if word.startswith(term) or term.startswith(word)
        for key in keys
    )
