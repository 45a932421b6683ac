"""nnU-Net in its own environment: the 2D network of its default plan with random weights.

The plan is the one that `nnUNetv2_plan_and_preprocess` writes for `dsb2018/train`. nnU-Net predicts
classes, so instances are made of core and border by the functions of its authors (`acvl_utils`).
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from worker import Image, Job, Predict, by_image, import_torchvision, measure, store, work

SPACING = [999.0, 1.0, 1.0]  # of an image read as a stack of one plane
BORDER = 1  # thickness in pixels
LEVELS = 7
DATASET = {
    "channel_names": {"0": "fluorescence"},
    "labels": {"background": 0, "core": 1, "border": 2},
    "file_ending": ".tif",
}


def plan() -> dict[str, Any]:
    resample = "resample_data_or_seg_to_shape"
    by_kind: dict[str, Any] = {}
    for kind, order in (("data", 3), ("seg", 1), ("probabilities", 1)):
        by_kind[f"resampling_fn_{kind}"] = resample
        by_kind[f"resampling_fn_{kind}_kwargs"] = {
            "is_seg": kind == "seg", "order": order, "order_z": 0, "force_separate_z": None,
        }  # fmt: skip
    network = {
        "n_stages": LEVELS,
        "features_per_stage": [32, 64, 128, 256, 512, 512, 512],
        "conv_op": "torch.nn.modules.conv.Conv2d",
        "kernel_sizes": [[3, 3]] * LEVELS,
        "strides": [[1, 1], *[[2, 2]] * (LEVELS - 1)],
        "n_conv_per_stage": [2] * LEVELS,
        "n_conv_per_stage_decoder": [2] * (LEVELS - 1),
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    configuration = {
        "data_identifier": "nnUNetPlans_2d",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 11,
        "patch_size": [256, 256],
        "median_image_size_in_voxels": [256.0, 256.0],
        "spacing": SPACING[1:],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        **by_kind,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": network,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": True,
    }
    return {
        "dataset_name": "Dataset001_dsb2018",
        "plans_name": "nnUNetPlans",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "image_reader_writer": "NaturalImage2DIO",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {}},
        "configurations": {"2d": configuration},
    }


def start(job: Job) -> Predict:
    """Build the network and its predictor with one view; the default predicts four."""
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = job.output
    import_torchvision()
    import torch
    from acvl_utils.instance_segmentation.instance_as_semantic_seg import (
        convert_semantic_to_instanceseg,
        postprocess_instance_segmentation,
    )
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    manager = PlansManager(plan())
    settings = manager.get_configuration("2d")
    network = get_network_from_plans(
        settings.network_arch_class_name,
        settings.network_arch_init_kwargs,
        settings.network_arch_init_kwargs_req_import,
        input_channels=1,
        output_channels=len(DATASET["labels"]),
        deep_supervision=False,
    )
    predictor = nnUNetPredictor(
        use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False, verbose=False
    )
    predictor.manual_initialization(
        network, manager, settings, [network.state_dict()], DATASET, "nnUNetTrainer", (0, 1)
    )

    def predict(image: Image, number: int) -> Image:
        stack = image[None, None].astype(np.float32)
        with job.clock.part("network"):
            classes = predictor.predict_single_npy_array(stack, {"spacing": SPACING})
        classes[...] = job.ideal(number, "classes")
        with job.clock.part("decoding"):
            labels = convert_semantic_to_instanceseg(classes.astype(np.uint8))
            return postprocess_instance_segmentation(labels)[0]

    return predict


def prepare(job: Job) -> None:
    """Compute the core and the border of each instance from the labels."""
    from acvl_utils.instance_segmentation.instance_as_semantic_seg import (
        convert_instanceseg_to_semantic_patched,
    )
    from tifffile import imread

    for path in job.labels:
        labels = imread(path)[None].astype(np.uint32)
        classes = convert_instanceseg_to_semantic_patched(labels, border_thickness=BORDER)
        store(job, path, "classes", classes)


if __name__ == "__main__":
    work(predict=lambda job: measure(job, by_image(start)), prepare=prepare)
