"""Keys of BiaPy that are ignored or refused.

Names may contain ``*`` for any characters. A key that is not here, not in the schema and not
translated by `singula.config.biapy.translate` is unknown.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

OTHER_WORKFLOWS = (
    "PROBLEM.SEMANTIC_SEG.*",
    "PROBLEM.DETECTION.*",
    "PROBLEM.DENOISING.*",
    "PROBLEM.SUPER_RESOLUTION.*",
    "PROBLEM.SELF_SUPERVISED.*",
    "PROBLEM.IMAGE_TO_IMAGE.*",
    "DATA.*.DETECTION_MASK_DIR",
    "DATA.*.SSL_SOURCE_DIR",
    "DATA.*.SSL_TARGET_DIR",
    "MODEL.MAE_*",
    "MODEL.UNET_SR_UPSAMPLE_POSITION",
    "TEST.DET_*",
    "TEST.POST_PROCESSING.DET_*",
    "PATHS.RESULT_DIR.DET_*",
    "PATHS.MAE_OUT_DIR",
    "DATA.NORMALIZATION.TARGET.*",
    "LOSS.GAN.*",
    "MODEL.NAFNET.*",
)
"""Keys of semantic segmentation, detection, denoising and other workflows."""

UNUSED = (
    "AUGMENTOR.*_PROB",
    "AUGMENTOR.GRAY_RANGE",
    "AUGMENTOR.RANDOM_CROP_SCALE",
    "AUGMENTOR.MISSP_CHANNEL_PB",
    "DATA.FILTER_BY_IMAGE",
    "DATA.SAVE_FILTERED_IMAGES*",
    "DATA.*.CHECK_CROP",
    "DATA.*.MEDIAN_PADDING",
    "DATA.RESOLUTION_NORM.TARGET_RESOLUTION",
    "DATA.TEST.ROI_MASK.AXES_ORDER",
    "DATA.TEST.ROI_MASK.PATH",
    "DATA.PREPROCESS.MEDIAN_BLUR.FOOTPRINT",
    "DATA.PREPROCESS.ZOOM.ZOOM_FACTOR",
    "DATA.*.FILTER_SAMPLES.*",
    "DATA.*.INPUT_ZARR_MULTIPLE_DATA_*_PATH",
    "DATA.VAL.BINARY_MASKS",
    "LOSS.CONTRAST.*",
    "LOSS.VALUE_TO_IGNORE",
    "MODEL.BMZ.EXPORT.*",
    "MODEL.BMZ.EXPORT_MODEL.*",
    "MODEL.CONVNEXT_*",
    "MODEL.DEPTH",
    "MODEL.HRNET.*",
    "MODEL.LOAD_MODEL_FROM_CHECKPOINT",
    "MODEL.OUT_CHANNELS",
    "MODEL.RCAN_*",
    "MODEL.STUNET.*",
    "MODEL.TIRAMISU_DEPTH",
    "MODEL.UNETR_MLP_HIDDEN_UNITS",
    "MODEL.UNETR_OUT_DIM",
    "PATHS.BMZ_EXPORT_PATH",
    "PATHS.CROP_CHECKS",
    "PATHS.FIL_SAMPLES_DIR",
    "PATHS.LOSS_WEIGHTS",
    "PATHS.MAP_*",
    "PATHS.RESULT_DIR.BMZ_BUILD",
    "PATHS.RESULT_DIR.PER_IMAGE_INST_VORONOI",
    "PATHS.TEST_FULL_GT_H5",
    "PATHS.TRAIN_PRED_SAMPLES",
    "PROBLEM.INSTANCE_SEG.AGGLOMERATION.*",
    "PROBLEM.INSTANCE_SEG.CELLPOSE.*",
    "PROBLEM.INSTANCE_SEG.EMBEDSEG.*",
    "PROBLEM.INSTANCE_SEG.OMNIPOSE.*",
    "PROBLEM.INSTANCE_SEG.STARDIST.*",
    "PROBLEM.INSTANCE_SEG.SYNAPSES.*",
    "PROBLEM.INSTANCE_SEG.CHANNELS_PER_HEAD_INFO",
    "PROBLEM.INSTANCE_SEG.SEPARATED_DECODERS_DIVIDE_FEATURE_MAPS",
    "PROBLEM.PRINT_OLD_KEY_CHANGES",
    "TEST.BY_CHUNKS.WORKFLOW_PROCESS.INSTANCE_SEG_MERGE_IOU_TH",
    "TEST.BY_CHUNKS.WORKFLOW_PROCESS.PATCHES_PER_TILE",
    "TEST.BY_CHUNKS.WRITE_RAW_PREDICTIONS",
    "TEST.MATCHING_SEGCOMPARE",
    "TEST.MATCHING_STATS_BY_IMAGE",
    "TEST.MATCHING_VJI_PAI",
    "TEST.METRICS",
    "TEST.METRICS_IN_CPU",
    "TEST.POST_PROCESSING.MEASURE_PROPERTIES.EXTRA_PROPS",
    "TEST.SAVE_MODEL_RAW_OUTPUT",
    "TEST.STATS.MERGE_PATCHES",
    "TRAIN.METRICS",
    "TRAIN.SAVE_TRAIN_PREDS_*",
)
"""Keys of other versions that have no equivalent and change no result here."""

NO_EFFECT: dict[str, tuple[object, ...]] = {
    "AUGMENTOR.ZOOM_IN_Z": (False,),
    "DATA.PREPROCESS.ZOOM.ENABLE": (False,),
    "DATA.TRAIN.FILTER_SAMPLES.ENABLE": (False,),
    "DATA.VAL.FILTER_SAMPLES.ENABLE": (False,),
    "DATA.TEST.FILTER_SAMPLES.ENABLE": (False,),
    "LOSS.CONTRAST.ENABLE": (False,),
    "LOSS.IGNORE_INDEX": (-1,),
    "LOSS.IGNORE_VALUES": (False,),
    "MODEL.BMZ.EXPORT.ENABLE": (False,),
    "MODEL.BMZ.EXPORT_MODEL.ENABLE": (False,),
    "MODEL.KERNEL_INIT": ("he_normal",),
    "MODEL.OUT_CHECKPOINT_FORMAT": ("pth",),
    "MODEL.SKIP_UNMATCHED_LAYERS": (False,),
    "MODEL.SPATIAL_DROPOUT": (False,),
    "MODEL.CONV_BLOCK_ORDER": ("", "conv_norm_act"),
    "MODEL.CONV_LAYERS": ((), 2),
    "PROBLEM.INSTANCE_SEG.DATA_MW_OPTIMIZE_THS": (False,),
    "PROBLEM.INSTANCE_SEG.EMBEDSEG.GRID_SIZE": (-1,),
    "PROBLEM.INSTANCE_SEG.EMBEDSEG.MIN_MASK_SUM": (0,),
    "PROBLEM.INSTANCE_SEG.EMBEDSEG.MIN_UNCLUSTERED_SUM": (0,),
    "PROBLEM.INSTANCE_SEG.SEPARATED_DECODERS_PER_HEAD": (False,),
    "TEST.AUGMENTATION_GROUP": ("auto", "full"),
    "TEST.AUGMENTATION_MODE": ("mean",),
    "TEST.EVAL_BORDER_CROP": ((), 0),
    "TEST.MAP": (False,),
    "TEST.POST_PROCESSING.BLENDING": (False,),
    "TRAIN.EARLYSTOPPING_MONITOR": ("val_loss",),
    "TRAIN.LR_SCHEDULER.COSINE_DECAY_FRACTION": (-1, 1),
}
"""Keys of other versions and their neutral values; other values have no effect, with a notice."""

REFUSED: dict[str, tuple[tuple[object, ...], str]] = {
    "DATA.RESOLUTION_NORM.ENABLE": ((False,), "training images are not rescaled"),
    "DATA.TEST.ROI_MASK.ENABLE": (
        (False,),
        "the whole image is predicted; TEST.POST_PROCESSING.APPLY_MASK masks the result",
    ),
    "MODEL.FREEZE_LAYERS_MATCHING": (((),), "all layers are trained"),
    "MODEL.VIT_PRETRAINED_WEIGHTS": (("",), "transformers start from random weights"),
    "MODEL.YX_DOWN": (((), 0, 2), "each level halves y and x"),
    "TEST.BY_CHUNKS.PHASES": (
        (("prediction", "instance_creation", "instance_merging"),),
        "a run executes all phases",
    ),
    "TEST.BY_CHUNKS.Z_END": ((-1,), "a run predicts all blocks"),
    "TEST.BY_CHUNKS.Z_START": ((-1, 0), "a run predicts all blocks"),
    "MODEL.ISOTROPY": (((), True), "every kernel has the same size along all axes"),
    "MODEL.LARGER_IO": ((False,), "the network has no such layers"),
    "PROBLEM.INSTANCE_SEG.TYPE": (("regular",), "synapses are not segmented here"),
    "PROBLEM.INSTANCE_SEG.BORDER_EXTRA_WEIGHTS": (("",), "the loss has no such weights"),
}
"""Keys of other versions that would change the instances or the network.

Each has its neutral values and the reason why any other value is an error. A list of neutral values
is neutral too.
"""


def matches(key: str, patterns: tuple[str, ...]) -> bool:
    """Return True if a dotted key matches one of the patterns."""
    return any(fnmatchcase(key, pattern) for pattern in patterns)
