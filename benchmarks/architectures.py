"""Train each architecture for the same time on real nuclei, and score it on the test images.

    python benchmarks/architectures.py --minutes 8 --output out/architectures

Each network gets as many epochs as fit: the time of a training step is measured first, on a batch
of random numbers. Everything else is `templates/2d_dsb2018.yaml`, with one random patch per image
and epoch, and without test-time augmentation. Prints a row of a Markdown table for each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import torch

from singula.config import load_config
from singula.models import build_model, channels_last
from singula.pipeline.from_config import instance_loss, model_settings
from singula.training.device import has_bfloat16
from singula.util.process import prepare_process

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "templates" / "2d_dsb2018.yaml"
NAMES = (
    "unet", "resunet", "resunet++", "attention_unet", "seunet", "multiresunet", "unetr",
    "resunet_se", "unext_v1",
)  # fmt: skip
# The transformer of the published size has 93 million parameters; this one suits minutes on a CPU.
SMALL = {
    "unetr": (
        "MODEL.VIT_EMBED_DIM=192", "MODEL.VIT_NUM_LAYERS=6", "MODEL.VIT_NUM_HEADS=6",
        "MODEL.UNETR_VIT_HIDD_MULT=1",
    ),
}  # fmt: skip
IMAGES, BATCH = 222, 6
# Reading patches, validation and checkpoints beside the steps
EVERYTHING_ELSE = 1.35


def overrides(name: str) -> list[str]:
    """Return the keys that differ from the template."""
    return [
        f"MODEL.ARCHITECTURE={name}",
        "DATA.EXTRACT_RANDOM_PATCH=True",
        "TEST.AUGMENTATION=False",
        # The template's thresholds suit a network that was trained for longer.
        "PROBLEM.INSTANCE_SEG.DATA_MW_TH_TYPE=auto",
        *SMALL.get(name, ()),
    ]


def step_seconds(name: str) -> tuple[float, int]:
    """Return the seconds of a training step, and the number of parameters."""
    config = load_config(TEMPLATE, overrides(name))
    network = channels_last(build_model(model_settings(config)), 2).train()
    loss = instance_loss(config)
    optimizer = torch.optim.AdamW(network.parameters())
    image = torch.rand(BATCH, 1, 256, 256)
    batch = {
        "target": (torch.rand(BATCH, 2, 256, 256) > 0.5).float(),
        "foreground": torch.rand(BATCH, 1, 256, 256) > 0.5,
    }
    times = []
    for _ in range(5):
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16()):
            logits = network(image)
        loss(logits, batch).backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - began)
    return min(times[1:]), sum(p.numel() for p in network.parameters())


def main() -> None:
    """Train and score one network after the other."""
    prepare_process()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--output", type=Path, default=ROOT / "out" / "architectures")
    parser.add_argument("--only", nargs="*", default=NAMES, choices=NAMES)
    options = parser.parse_args()
    print(
        "| architecture | parameters | epochs | minutes of training | F1 at 0.5, mean / pooled "
        "| F1 at 0.75 | PQ | best validation loss |\n|---|---|---|---|---|---|---|---|",
        flush=True,
    )
    for name in options.only:
        seconds, parameters = step_seconds(name)
        epoch = seconds * -(-IMAGES // BATCH) * EVERYTHING_ELSE
        epochs = max(1, int(options.minutes * 60 / epoch))
        job = name.replace("+", "p")
        command = [sys.executable, "-m", "singula.cli", "run", "--config", str(TEMPLATE)]
        command += ["--result_dir", str(options.output), "--name", job]
        for text in [*overrides(name), f"TRAIN.EPOCHS={epochs}"]:
            command += ["--set", text]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            print(f"| `{name}` | failed: {done.stderr.splitlines()[-1]} |", flush=True)
            continue
        run = options.output / job / "results" / f"{job}_1"
        report = json.loads((run / "run.json").read_text())
        mean, pooled = (
            {row["threshold"]: row for row in report["scores"]["per_image"][kind]}
            for kind in ("mean", "pooled")
        )
        history = (run / "train_logs" / f"{job}_1.csv").read_text().splitlines()
        column = history[0].split(",").index("val_loss")
        best = min(float(row.split(",")[column]) for row in history[1:])
        print(
            f"| `{name}` | {parameters / 1e6:.2f} M | {epochs} "
            f"| {report['seconds']['training'] / 60:.1f} "
            f"| {mean[0.5]['f1']:.3f} / {pooled[0.5]['f1']:.3f} "
            f"| {mean[0.75]['f1']:.3f} / {pooled[0.75]['f1']:.3f} "
            f"| {mean[0.5]['panoptic_quality']:.3f} / {pooled[0.5]['panoptic_quality']:.3f} "
            f"| {best:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
