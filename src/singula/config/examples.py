"""Example values of all keys, for the documentation and for forms.

The example of a switch or a choice is a value other than its default. The table has the examples of
all other keys, spelled as in a YAML file.
"""

from __future__ import annotations

from singula.config.keys import Key
from singula.config.schema.root import THRESHOLD_KEYS
from singula.representations.thresholds import THRESHOLDS

_PER_SPLIT = {
    "OVERLAP": "[0.25, 0.25]",
    "PADDING": "[32, 32]",
    "RESOLUTION": "[2.0, 0.5, 0.5]",
    "INPUT_ZARR_MULTIPLE_DATA_RAW_PATH": "volumes/raw",
    "INPUT_ZARR_MULTIPLE_DATA_GT_PATH": "volumes/labels",
    "INPUT_IMG_AXES_ORDER": "ZYXC",
    "INPUT_MASK_AXES_ORDER": "ZYX",
}
_FOLDERS = {
    f"DATA.{split.upper()}.{name}": f"cells/{split}/{folder}"
    for split in ("train", "val", "test")
    for name, folder in (
        ("PATH", "x"),
        ("GT_PATH", "y"),
        ("IGNORE_PATH", "ignore"),
        ("INSTANCE_CHANNELS_DIR", "x_BC"),
        ("INSTANCE_CHANNELS_MASK_DIR", "y_BC"),
    )
}
_REMOVE = "TEST.POST_PROCESSING.MEASURE_PROPERTIES.REMOVE_BY_PROPERTIES"

EXAMPLES: dict[str, str] = {
    **{THRESHOLD_KEYS[name]: str(each.example) for name, each in THRESHOLDS.items()},
    "SYSTEM.MAX_MEMORY": "8GB",
    "SYSTEM.NUM_CPUS": "4",
    "SYSTEM.NUM_WORKERS": "0",
    "SYSTEM.NUM_GPUS": "1",
    "SYSTEM.DEVICE": "cuda",
    "SYSTEM.SEED": "42",
    "PROBLEM.INSTANCE_SEG.DATA_CHANNEL_WEIGHTS": "[1, 1, 0.5]",
    "PROBLEM.INSTANCE_SEG.DATA_CHANNELS_EXTRA_OPTS": "[Db.norm=False]",
    "PROBLEM.INSTANCE_SEG.DECODER": "watershed",
    "PROBLEM.INSTANCE_SEG.DATA_CHANNELS_LOSSES": "[bce, bce]",
    "PROBLEM.INSTANCE_SEG.SEED_CHANNELS": "[B]",
    "PROBLEM.INSTANCE_SEG.GROWTH_MASK_CHANNELS": "[B]",
    "PROBLEM.INSTANCE_SEG.TOPOGRAPHIC_SURFACE_CHANNEL": "B",
    "PROBLEM.INSTANCE_SEG.POINT_RADIUS": "5",
    "PROBLEM.INSTANCE_SEG.DATA_REMOVE_SMALL_OBJ_BEFORE": "60",
    "PROBLEM.INSTANCE_SEG.REMOVE_SMALL_OBJ_AT_BORDER": "15",
    "PROBLEM.INSTANCE_SEG.SEED_MORPH_SEQUENCE": "[erode]",
    "PROBLEM.INSTANCE_SEG.SEED_MORPH_RADIUS": "[2]",
    "PROBLEM.INSTANCE_SEG.GENERATED_THRESHOLDS": "[TH_CONTOUR=0.2]",
    "PROBLEM.INSTANCE_SEG.TUNED_THRESHOLDS": "[TH_CONTOUR=0.163, REMOVE_SMALL_OBJ=30]",
    "PROBLEM.INSTANCE_SEG.FORE_EROSION_RADIUS": "3",
    "PROBLEM.INSTANCE_SEG.FORE_DILATION_RADIUS": "3",
    "DATA.PATCH_SIZE": "[32, 128, 128, 1]",
    "DATA.CHANNEL": "DAPI",
    "DATA.W_FOREGROUND": "0.7",
    "DATA.W_BACKGROUND": "0.3",
    "DATA.NORMALIZATION.PERC_LOWER": "0.1",
    "DATA.NORMALIZATION.PERC_UPPER": "99.9",
    "DATA.NORMALIZATION.CUSTOM_MEAN": "0.45",
    "DATA.NORMALIZATION.CUSTOM_STD": "0.2",
    **_FOLDERS,
    "DATA.TRAIN.REPLICATE": "4",
    "DATA.TRAIN.MINIMUM_FOREGROUND_PER": "0.05",
    "DATA.VAL.CROSS_VAL_NFOLD": "4",
    "DATA.VAL.CROSS_VAL_FOLD": "2",
    "DATA.VAL.SPLIT_TRAIN": "0.2",
    "DATA.TEST.BINARY_MASKS": "cells/test/masks",
    "DATA.PREPROCESS.SPACING": "[2.0, 0.5, 0.5]",
    "DATA.PREPROCESS.RESIZE.OUTPUT_SHAPE": "[256, 256]",
    "DATA.PREPROCESS.RESIZE.ORDER": "3",
    "DATA.PREPROCESS.RESIZE.CVAL": "10",
    "DATA.PREPROCESS.GAUSSIAN_BLUR.SIGMA": "0.7",
    "DATA.PREPROCESS.GAUSSIAN_BLUR.CHANNEL_AXIS": "2",
    "DATA.PREPROCESS.MEDIAN_BLUR.KERNEL_SIZE": "[1, 3, 3]",
    "DATA.PREPROCESS.MATCH_HISTOGRAM.REFERENCE_PATH": "cells/train/x",
    "DATA.PREPROCESS.CLAHE.KERNEL_SIZE": "[32, 32]",
    "DATA.PREPROCESS.CLAHE.CLIP_LIMIT": "0.03",
    "DATA.PREPROCESS.CANNY.LOW_THRESHOLD": "10",
    "DATA.PREPROCESS.CANNY.HIGH_THRESHOLD": "50",
    "MODEL.BMZ.SOURCE_MODEL_DOI": "10.5281/zenodo.5764892",
    "MODEL.TORCHVISION_MODEL_NAME": "deeplabv3_resnet50",
    "MODEL.FEATURE_MAPS": "[32, 64, 128, 256]",
    "MODEL.DROPOUT_VALUES": "[0, 0, 0.1, 0.2, 0.3]",
    "MODEL.KERNEL_SIZE": "5",
    "MODEL.N_CLASSES": "3",
    "MODEL.Z_DOWN": "[1, 1, 2, 2]",
    "MODEL.SAVE_CKPT_FREQ": "10",
    "MODEL.VIT_TOKEN_SIZE": "8",
    "MODEL.VIT_EMBED_DIM": "384",
    "MODEL.VIT_NUM_LAYERS": "6",
    "MODEL.VIT_NUM_HEADS": "6",
    "MODEL.VIT_MLP_RATIO": "2.0",
    "MODEL.VIT_NORM_EPS": "0.00001",
    "MODEL.UNETR_VIT_HIDD_MULT": "2",
    "MODEL.UNETR_VIT_NUM_FILTERS": "32",
    "MODEL.UNETR_DEC_KERNEL_SIZE": "5",
    "LOSS.WEIGHTS": "[0.5, 0.5]",
    "LOSS.CLASS_WEIGHTS": "[1, 3]",
    "LOSS.DICE_SMOOTH": "100.0",
    "LOSS.FOCAL_GAMMA": "1.0",
    "LOSS.FOCAL_ALPHA": "0.75",
    "TRAIN.LR": "0.001",
    "TRAIN.W_DECAY": "0.01",
    "TRAIN.OPT_BETAS": "[0.9, 0.99]",
    "TRAIN.BATCH_SIZE": "6",
    "TRAIN.ACCUM_ITER": "2",
    "TRAIN.EPOCHS": "50",
    "TRAIN.PATIENCE": "20",
    "TRAIN.GRADIENT_CLIP": "1.0",
    "TRAIN.LR_SCHEDULER.MIN_LR": "0.00001",
    "TRAIN.LR_SCHEDULER.REDUCEONPLATEAU_FACTOR": "0.2",
    "TRAIN.LR_SCHEDULER.REDUCEONPLATEAU_PATIENCE": "10",
    "TRAIN.LR_SCHEDULER.WARMUP_COSINE_DECAY_EPOCHS": "5",
    "TRAIN.CHECKPOINT_MONITOR": "val_iou",
    "TEST.BY_CHUNKS.BLOCK_SHAPE": "[128, 256, 256]",
    "TEST.BY_CHUNKS.FLUSH_EACH": "50",
    "TEST.MATCHING_STATS_THS": "[0.5, 0.75, 0.9]",
    "TEST.MATCHING_STATS_THS_COLORED_IMG": "[0.5]",
    "TEST.POST_PROCESSING.YZ_FILTERING_SIZE": "3",
    "TEST.POST_PROCESSING.Z_FILTERING_SIZE": "3",
    f"{_REMOVE}.PROPS": "[[area], [npixels, circularity]]",
    f"{_REMOVE}.VALUES": "[[500], [100, 0.7]]",
    f"{_REMOVE}.SIGN": "[[gt], [lt, le]]",
    "TEST.POST_PROCESSING.VORONOI_TH": "0.3",
    "TEST.POST_PROCESSING.REPARE_LARGE_BLOBS_SIZE": "2000",
    "TEST.POST_PROCESSING.REMOVE_CLOSE_POINTS_RADIUS": "[5.0]",
    "PATHS.CHECKPOINT_FILE": "results/cells/checkpoints/cells_1-checkpoint-best.pth",
    "PATHS.PROB_MAP_FILENAME": "chance.npy",
    "LOG.LOG_FILE_PREFIX": "nuclei",
    "LOG.CHART_CREATION_FREQ": "1",
}
"""Dotted key → its value in a file."""


def example(key: Key) -> str | None:
    """Return a value other than the default of a key, as written in a YAML file.

    Parameters
    ----------
    key : Key
        Element of `singula.config.keys.known_keys`.

    Returns
    -------
    str or None
        None for a choice that has no value other than its default.
    """
    section, _, last = key.name.rpartition(".")
    if key.name in EXAMPLES:
        return EXAMPLES[key.name]
    if section.startswith(("DATA.", "TEST.BY_CHUNKS")) and last in _PER_SPLIT:
        return _PER_SPLIT[last]
    if key.type == "bool":
        return str(not key.default)
    if key.choices:
        return _other_choice(key)
    if section.startswith(("PATHS", "LOG")):
        return f"elsewhere/{last.lower()}"
    if section == "AUGMENTOR":
        return _other_number(key)
    raise KeyError(key.name)


def _other_choice(key: Key) -> str | None:
    others = [word for word in key.choices if word.lower() != str(key.default).lower()]
    return next((f"'{word}'" if word[0].isdigit() else word for word in others if word), None)


def _other_number(key: Key) -> str:
    """Return half the default, or a longer range of integers; for strengths of augmentation."""
    if isinstance(key.default, tuple):
        low, high = key.default
        if key.type == "(int, int)":
            return f"[{low}, {high + 2}]"
        return f"[{low / 2:g}, {high / 2:g}]"
    if key.type == "int":
        return str(key.default // 2)
    return f"{key.default / 2:g}" if key.default else "0.1"
