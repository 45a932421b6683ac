"""Cellpose 3 in its own environment: CPnet with random weights, and the dynamics."""

from __future__ import annotations

from typing import Any

import numpy as np
from worker import Image, Job, Predict, by_image, measure, store, work


def start(job: Job) -> Predict:
    import torch
    from cellpose.models import CellposeModel

    torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    model = CellposeModel(gpu=False, pretrained_model=None)
    model.net_ortho = None  # set only together with weights, but read in 3D
    run_network = model._run_net
    current = 0

    def run_with_ideal(*arrays: Any, **options: Any) -> Any:
        with job.clock.part("network"):
            flows, probability, styles = run_network(*arrays, **options)
        shapes = flows.shape, probability.shape
        flows, probability = job.ideal(current, "flows"), job.ideal(current, "probability")
        return flows.reshape(shapes[0]), probability.reshape(shapes[1]), styles

    model._run_net = run_with_ideal

    def predict(image: Image, number: int) -> Image:
        nonlocal current
        current = number
        options = {"do_3D": True, "z_axis": 0} if job.ndim == 3 else {}
        return model.eval(image, channels=[0, 0], **options)[0]

    return predict


def prepare(job: Job) -> None:
    """Compute flows and probabilities from the labels."""
    import torch
    from cellpose.dynamics import masks_to_flows
    from tifffile import imread

    for path in job.labels:
        labels = imread(path)
        flows = masks_to_flows(labels, device=torch.device("cpu"))
        store(job, path, "flows", (5 * flows).astype(np.float32))
        store(job, path, "probability", np.where(labels > 0, 5, -5).astype(np.float32))


if __name__ == "__main__":
    work(predict=lambda job: measure(job, by_image(start)), prepare=prepare)
