"""Cellpose 3 in its own environment: training of CPnet, and prediction with the dynamics.

The recipe is the default of its function `train_seg` (AdamW with a learning rate of 0.005), but
images keep their scale. By default, each training image is scaled to a mean diameter of 30 pixels,
which needs the diameter in each test image, too. A batch has 4 images instead of 8, and an "epoch"
is one batch, so that the learning rate rises and falls within a short training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from worker import Image, Job, Predict, by_image, measure, seconds, store, work

BATCH = 4
TRIAL = 3  # batches


def start(job: Job) -> Predict:
    """Load a trained model, or one with random weights, which then gets ideal maps to decode."""
    import torch
    from cellpose.models import CellposeModel

    torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    if job.model:
        trained = CellposeModel(gpu=False, pretrained_model=job.model)
        scale = {"diameter": trained.diam_mean}  # that is, none
        return lambda image, number: trained.eval(image, channels=[0, 0], **scale)[0]
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


def train(job: Job) -> dict[str, Any]:
    """Train for as many batches as are expected to fit into the CPU seconds.

    The number must be known in advance, so some batches, which are not counted, measure their time.
    """
    import torch
    from cellpose.dynamics import labels_to_flows
    from tifffile import imread

    torch.set_num_threads(job.threads)
    images, labels = ([imread(path) for path in paths] for paths in job.train)
    device = torch.device("cpu")
    flows = labels_to_flows([each.astype(np.int32) for each in labels], device=device)
    target = Path(job.model)
    begin = seconds()[1]
    times = fit(images, flows, target.with_name("cellpose_trial"), TRIAL)
    trial = seconds()[1] - begin
    setup = times[0] - begin
    batch = float(np.median(np.diff(times)))
    count = max(1, int((job.cpu_seconds - begin - setup) / batch))
    times = fit(images, flows, target, count)
    steps = np.diff([*times, seconds()[1]]).tolist()
    return {"epochs": count, "cpu": seconds()[1] - trial, "batch_cpu": steps}


def fit(images: list[Image], flows: list[Image], target: Path, batches: int) -> list[float]:
    """Train from random weights, and return the CPU seconds at each batch."""
    import torch
    from cellpose.models import CellposeModel
    from cellpose.train import train_seg

    torch.manual_seed(0)
    net = CellposeModel(gpu=False, pretrained_model=None).net
    times: list[float] = []
    net.register_forward_pre_hook(lambda *_: times.append(float(seconds()[1])))
    path, _, _ = train_seg(
        net, train_data=images, train_labels=flows, channels=[0, 0], n_epochs=batches,
        batch_size=BATCH, nimg_per_epoch=BATCH, save_every=20, rescale=False,
        save_path=target.parent, model_name=target.name,
    )  # fmt: skip
    Path(path).replace(target)
    return times


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
    work(predict=lambda job: measure(job, by_image(start)), prepare=prepare, train=train)
