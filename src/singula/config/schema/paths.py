"""The PATHS and LOG sections: folders and files of the results.

JOB_DIR is replaced by the folder of the job, and JOB_ID by the name of the run.
"""

from __future__ import annotations

from singula.config.schema.base import Section, key, section
from singula.config.values import Folder, Int, Name

_RUN = "JOB_DIR/results/JOB_ID"
_CHECKPOINTS = "JOB_DIR/checkpoints"


class ResultDir(Section):
    """Folders of the results of one run."""

    PATH: Folder = key(_RUN, "Folder of all results of the run.")
    PER_IMAGE: Folder = key(
        f"{_RUN}/per_image", "Folder of the predictions that are assembled from tiles."
    )
    PER_IMAGE_BIN: Folder = key(
        f"{_RUN}/per_image_binarized", "Has no effect: binarized images are not written."
    )
    PER_IMAGE_INSTANCES: Folder = key(
        f"{_RUN}/per_image_instances", "Folder of the instances of PER_IMAGE."
    )
    PER_IMAGE_POST_PROCESSING: Folder = key(
        f"{_RUN}/per_image_post_processing",
        "Folder of the instances of PER_IMAGE after post-processing.",
    )
    FULL_IMAGE: Folder = key(f"{_RUN}/full_image", "Folder of the predictions of whole images.")
    FULL_IMAGE_BIN: Folder = key(
        f"{_RUN}/full_image_binarized", "Has no effect: binarized images are not written."
    )
    FULL_IMAGE_INSTANCES: Folder = key(
        f"{_RUN}/full_image_instances", "Folder of the instances of FULL_IMAGE."
    )
    FULL_IMAGE_POST_PROCESSING: Folder = key(
        f"{_RUN}/full_image_post_processing",
        "Folder of the instances of FULL_IMAGE after post-processing.",
    )
    AS_3D_STACK: Folder = key(f"{_RUN}/as_3d_stack", "Folder of the volume of stacked 2D images.")
    AS_3D_STACK_BIN: Folder = key(
        f"{_RUN}/as_3d_stack_binarized", "Has no effect: binarized images are not written."
    )
    AS_3D_STACK_POST_PROCESSING: Folder = key(
        f"{_RUN}/as_3d_stack_post_processing",
        "Folder of the volume of stacked 2D images after post-processing.",
    )
    INST_ASSOC_POINTS: Folder = key(
        f"{_RUN}/instance_associations", "Folder of the matches between instances and labels."
    )


class Paths(Section):
    """Folders and files of a job."""

    RESULT_DIR: ResultDir = section(ResultDir)
    PROFILER: Folder = key(f"{_RUN}/profiler", "Has no effect: timings are in run.json.")
    CHARTS: Folder = key(f"{_RUN}/charts", "Folder of the charts of loss and metrics.")
    DA_SAMPLES: Folder = key(f"{_RUN}/aug", "Folder of the examples of augmented patches.")
    GEN_CHECKS: Folder = key(f"{_RUN}/gen_check", "Folder of the patches of DATA.CHECK_GENERATORS.")
    GEN_MASK_CHECKS: Folder = key(
        f"{_RUN}/gen_mask_check", "Folder of the targets that DATA.CHECK_GENERATORS writes."
    )
    TRAIN_INSTANCE_CHANNELS_CHECK: Folder = key(
        f"{_RUN}/train_BC_instance_channels",
        "Has no effect: DATA.CHECK_GENERATORS writes targets to GEN_MASK_CHECKS.",
    )
    VAL_INSTANCE_CHANNELS_CHECK: Folder = key(
        f"{_RUN}/val_BC_instance_channels",
        "Has no effect: DATA.CHECK_GENERATORS writes targets to GEN_MASK_CHECKS.",
    )
    TEST_INSTANCE_CHANNELS_CHECK: Folder = key(
        f"{_RUN}/test_BC_instance_channels",
        "Has no effect: DATA.CHECK_GENERATORS writes targets to GEN_MASK_CHECKS.",
    )
    CHECKPOINT: Folder = key(_CHECKPOINTS, "Folder of the checkpoints.")
    CHECKPOINT_FILE: Folder = key(
        "",
        "Checkpoint for the start of a training, or for a test without training, or the name of "
        "a built-in model; empty: that of the run.",
    )
    PROB_MAP_DIR: Folder = key("JOB_DIR/prob_map", "Folder of the probability maps.")
    PROB_MAP_FILENAME: Name = key("prob_map.npy", "File name of a probability map.")
    WATERSHED_DIR: Folder = key(
        f"{_RUN}/watershed", "Folder of the intermediate images of the watershed."
    )
    MEAN_INFO_FILE: Folder = key(
        f"{_CHECKPOINTS}/normalization_mean_value.npy", "File of the mean of the normalization."
    )
    STD_INFO_FILE: Folder = key(
        f"{_CHECKPOINTS}/normalization_std_value.npy",
        "File of the standard deviation of the normalization.",
    )
    LWR_X_FILE: Folder = key(
        f"{_CHECKPOINTS}/lower_bound_X_perc.npy",
        "Has no effect: clipping values are stored in the checkpoint.",
    )
    UPR_X_FILE: Folder = key(
        f"{_CHECKPOINTS}/upper_bound_X_perc.npy",
        "Has no effect: clipping values are stored in the checkpoint.",
    )
    LWR_Y_FILE: Folder = key(
        f"{_CHECKPOINTS}/lower_bound_Y_perc.npy", "Has no effect: targets are not clipped."
    )
    UPR_Y_FILE: Folder = key(
        f"{_CHECKPOINTS}/upper_bound_Y_perc.npy", "Has no effect: targets are not clipped."
    )


class Log(Section):
    """Logs of the training."""

    LOG_DIR: Folder = key("JOB_DIR/train_logs", "Folder of the training log.")
    TENSORBOARD_LOG_DIR: Folder = key(f"{_RUN}/tensorboard", "Folder for TensorBoard.")
    LOG_FILE_PREFIX: Name = key("JOB_ID", "Prefix of the names of the log files.")
    CHART_CREATION_FREQ: Int = key(5, "Number of epochs between updates of the charts.", ge=1)
