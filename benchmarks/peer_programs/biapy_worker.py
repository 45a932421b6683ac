"""BiaPy in its own environment: a U-Net with random weights, and the watershed on its maps.

The configuration is the one of `benchmarks/program.py`. BiaPy reads and writes the files itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from worker import Job, import_torchvision, measure, store, work

PATCHES = {2: ((256, 256, 1), (32, 32)), 3: ((32, 128, 128, 1), (4, 16, 16))}


def configuration(job: Job) -> dict[str, Any]:
    patch, padding = PATCHES[job.ndim]
    model: dict[str, Any] = {"ARCHITECTURE": "unet", "FEATURE_MAPS": [16, 32, 64, 128, 256]}
    if job.ndim == 3:
        model["Z_DOWN"] = [2, 2, 2, 2]
    return {
        "SYSTEM": {"NUM_CPUS": job.threads},
        "PROBLEM": {
            "TYPE": "INSTANCE_SEG",
            "NDIM": f"{job.ndim}D",
            "INSTANCE_SEG": {"DATA_CHANNELS": ["F", "C"]},
        },
        "DATA": {
            "PATCH_SIZE": patch,
            "TRAIN": {
                "PATH": str(Path(job.images[0]).parent),
                "GT_PATH": str(Path(job.images[0]).parents[1] / "label"),
            },
            "TEST": {
                "PATH": str(Path(job.images[0]).parent),
                "LOAD_GT": False,
                "IN_MEMORY": True,
                "PADDING": padding,
            },
        },
        "MODEL": model,
        "TRAIN": {"ENABLE": True},
        "TEST": {"ENABLE": True},
    }


def start(job: Job) -> Callable[[], int]:
    import_torchvision()
    import torch
    from biapy import BiaPy

    torch.set_num_threads(job.threads)
    results = Path(job.output) / "biapy"
    shutil.rmtree(results, ignore_errors=True)
    program = BiaPy(configuration(job), result_dir=str(results), name="peer", run_id=1)
    workflow = program.workflow
    workflow.prepare_model()
    # BiaPy refuses to test without training or a checkpoint, so training is disabled afterwards.
    workflow.cfg.defrost()
    workflow.cfg.TRAIN.ENABLE = False
    workflow.cfg.freeze()
    decode = workflow.instance_seg_process
    names = [Path(path).name for path in job.images]

    def decode_ideal(predicted: Any, files: list[str], *arguments: Any, **options: Any) -> Any:
        maps = job.ideal(names.index(files[0]), "maps").reshape(predicted.shape)
        with job.clock.part("decoding"):
            return decode(maps, files, *arguments, **options)

    workflow.instance_seg_process = decode_ideal

    def process() -> int:
        program.test()
        with job.clock.paused():
            for path in results.rglob("per_image_instances/*.tif"):
                copy_labels(path, Path(job.output) / path.name)
        return 0

    return process


def copy_labels(source: Path, target: Path) -> None:
    from tifffile import imread, imwrite

    imwrite(target, imread(source).squeeze().astype(np.int32))


def prepare(job: Job) -> None:
    """Compute the foreground and the contour from the labels."""
    from skimage.segmentation import find_boundaries
    from tifffile import imread

    for path in job.labels:
        labels = imread(path)
        contour = find_boundaries(labels, mode="thick") & (labels > 0)
        store(job, path, "maps", np.stack([labels > 0, contour], -1).astype(np.float32))


if __name__ == "__main__":
    work(predict=lambda job: measure(job, start), prepare=prepare)
