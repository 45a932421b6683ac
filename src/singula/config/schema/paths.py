"""The PATHS and LOG sections: where results go.

JOB_DIR stands for the folder of the job and JOB_ID for the name of the run.
"""

from __future__ import annotations

from singula.config.schema.base import Section, key, section
from singula.config.values import Folder, Int, Name

_RUN = "JOB_DIR/results/JOB_ID"
_CHECKPOINTS = "JOB_DIR/checkpoints"


class ResultDir(Section):
    """Folders of the results of one run."""

    PATH: Folder = key(_RUN, "Everything of the run.")
    PER_IMAGE: Folder = key(f"{_RUN}/per_image", "Predictions put together from patches.")
    PER_IMAGE_BIN: Folder = key(
        f"{_RUN}/per_image_binarized", "Has no effect: no such images are written."
    )
    PER_IMAGE_INSTANCES: Folder = key(f"{_RUN}/per_image_instances", "Their instances.")
    PER_IMAGE_POST_PROCESSING: Folder = key(
        f"{_RUN}/per_image_post_processing", "Their instances after post-processing."
    )
    FULL_IMAGE: Folder = key(f"{_RUN}/full_image", "Predictions of whole images.")
    FULL_IMAGE_BIN: Folder = key(
        f"{_RUN}/full_image_binarized", "Has no effect: no such images are written."
    )
    FULL_IMAGE_INSTANCES: Folder = key(f"{_RUN}/full_image_instances", "Their instances.")
    FULL_IMAGE_POST_PROCESSING: Folder = key(
        f"{_RUN}/full_image_post_processing", "Their instances after post-processing."
    )
    AS_3D_STACK: Folder = key(f"{_RUN}/as_3d_stack", "2D images taken as one volume.")
    AS_3D_STACK_BIN: Folder = key(
        f"{_RUN}/as_3d_stack_binarized", "Has no effect: no such images are written."
    )
    AS_3D_STACK_POST_PROCESSING: Folder = key(
        f"{_RUN}/as_3d_stack_post_processing", "The volume after post-processing."
    )
    INST_ASSOC_POINTS: Folder = key(
        f"{_RUN}/instance_associations", "Which instance was matched with which label."
    )


class Paths(Section):
    """Folders and files of a job."""

    RESULT_DIR: ResultDir = section(ResultDir)
    PROFILER: Folder = key(f"{_RUN}/profiler", "Has no effect: timings are in run.json.")
    CHARTS: Folder = key(f"{_RUN}/charts", "Charts of loss and metrics.")
    DA_SAMPLES: Folder = key(f"{_RUN}/aug", "Examples of augmented patches.")
    GEN_CHECKS: Folder = key(f"{_RUN}/gen_check", "Patches for DATA.CHECK_GENERATORS.")
    GEN_MASK_CHECKS: Folder = key(f"{_RUN}/gen_mask_check", "Their targets.")
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
        "Checkpoint that a training starts from, or a test without training takes, instead of the "
        "run's own.",
    )
    PROB_MAP_DIR: Folder = key("JOB_DIR/prob_map", "Folder of the probability maps.")
    PROB_MAP_FILENAME: Name = key("prob_map.npy", "Name of a probability map.")
    WATERSHED_DIR: Folder = key(f"{_RUN}/watershed", "Steps of the watershed.")
    MEAN_INFO_FILE: Folder = key(
        f"{_CHECKPOINTS}/normalization_mean_value.npy", "Mean of the normalisation."
    )
    STD_INFO_FILE: Folder = key(
        f"{_CHECKPOINTS}/normalization_std_value.npy", "Standard deviation of the normalisation."
    )
    LWR_X_FILE: Folder = key(
        f"{_CHECKPOINTS}/lower_bound_X_perc.npy",
        "Has no effect: clipping values are kept in the checkpoint.",
    )
    UPR_X_FILE: Folder = key(
        f"{_CHECKPOINTS}/upper_bound_X_perc.npy",
        "Has no effect: clipping values are kept in the checkpoint.",
    )
    LWR_Y_FILE: Folder = key(
        f"{_CHECKPOINTS}/lower_bound_Y_perc.npy", "Has no effect: targets are not clipped."
    )
    UPR_Y_FILE: Folder = key(
        f"{_CHECKPOINTS}/upper_bound_Y_perc.npy", "Has no effect: targets are not clipped."
    )


class Log(Section):
    """Records of the training."""

    LOG_DIR: Folder = key("JOB_DIR/train_logs", "Folder of the training log.")
    TENSORBOARD_LOG_DIR: Folder = key(f"{_RUN}/tensorboard", "Folder for TensorBoard.")
    LOG_FILE_PREFIX: Name = key("JOB_ID", "Beginning of the names of the log files.")
    CHART_CREATION_FREQ: Int = key(5, "Epochs between two drawings of the charts.", ge=1)
