"""Measure how fast patches are prepared, and how fast the network processes them, per core.

python benchmarks/loader.py [--data FOLDER] [--seconds S]

One process and one thread; CPU seconds, so that other work on the machine does not count.
The augmentation is that of templates/2d_dsb2018.yaml, the network its U-Net, batch 6 of 256².
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch

from singula.config import load_config
from singula.data.dataset import PatchDataset, Sample
from singula.io.read import read_image, read_labels
from singula.models import build_model, channels_last
from singula.pipeline import from_config
from singula.pipeline.augmentation import augment_settings
from singula.representations.channels import encode
from singula.synthetic.fluorescence import make_image
from singula.training.losses import InstanceLoss
from singula.util.process import prepare_process

ROOT = Path(__file__).resolve().parents[1]


def synthetic() -> list[Sample]:
    rng = np.random.default_rng(0)
    made = [make_image((520, 696), rng) for _ in range(6)]
    return [Sample(str(i), m.image[..., None], m.labels[..., None]) for i, m in enumerate(made)]


def from_folder(folder: Path, most: int = 60) -> list[Sample]:
    images, labels = sorted((folder / "raw").iterdir()), sorted((folder / "label").iterdir())
    return [
        Sample(i.stem, read_image(i, 2, 1).array, read_labels(t, 2).array)
        for i, t in list(zip(images, labels, strict=True))[:most]
    ]


def rate(step: Callable[[int], Any], seconds: float) -> float:
    """Return calls per second of CPU time."""
    for number in range(3):
        step(number)
    start, calls = time.process_time(), 0
    while time.process_time() - start < seconds:
        step(calls)
        calls += 1
    return calls / (time.process_time() - start)


def training_step(config: Any, batch: dict[str, torch.Tensor], dtype: Any) -> Callable[[int], Any]:
    """Return a function for one step: forward pass, loss, backward pass and optimizer."""
    network = channels_last(build_model(from_config.model_settings(config)), config.ndim).train()
    loss = InstanceLoss(from_config.outputs(config), 0, 1.0)
    optimizer = torch.optim.AdamW(network.parameters())
    image = batch["image"].contiguous(memory_format=torch.channels_last)

    def step(number: int) -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            result = network(image)
        value = loss(result, batch)
        (value["loss"] if isinstance(value, dict) else value).backward()
        optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data/dsb2018/train")
    parser.add_argument("--seconds", type=float, default=5.0)
    args = parser.parse_args()
    prepare_process()
    torch.set_num_threads(1)
    config = load_config(ROOT / "templates/2d_dsb2018.yaml")
    channels = from_config.channel_names(config)
    batch = config.TRAIN.BATCH_SIZE
    sources = {"synthetic": synthetic()}
    if args.data.is_dir():
        sources[args.data.parent.name] = from_folder(args.data)
    else:
        print(f"{args.data}: not there, skipped")
    items = []
    for name, samples in sources.items():
        make = partial(
            PatchDataset, samples, from_config.patch_settings(config, "TRAIN"),
            from_config.normalizer(config), from_config.encode_settings(config, "TRAIN"),
        )  # fmt: skip
        augmented, plain = make(augment=augment_settings(config)), make(augment=None)
        items = [augmented[(0, i % len(augmented))] for i in range(batch)]
        loader = rate(lambda i, d=augmented: d[(1, i % len(d))], args.seconds)
        bare = rate(lambda i, d=plain: d[(1, i % len(d))], args.seconds)
        labels = [augmented.draw(0, i % len(augmented))[1][..., 0].copy() for i in range(20)]
        targets = rate(lambda i, m=labels: encode(m[i % 20], channels), args.seconds / 2)
        print(
            f"{name}: {loader:.0f} patches/s ({1e3 / loader:.2f} ms each), {bare:.0f} without "
            f"augmentation, encoding alone {1e3 / targets:.2f} ms"
        )
    stacked = {key: torch.stack([item[key] for item in items]) for key in items[0]}
    for word, dtype in (("float32", None), ("bfloat16", torch.bfloat16)):
        network = batch * rate(training_step(config, stacked, dtype), args.seconds)
        print(
            f"training step, {word}: {network:.1f} patches/s; the loader is "
            f"{loader / network:.0f} times as fast, {100 * network / loader:.1f} % of the time"
        )


if __name__ == "__main__":
    main()
