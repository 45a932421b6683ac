"""Train the configuration of `singula init` and the template for the same time on one core.

    python benchmarks/selfconfig.py --minutes 3 --output out/selfconfig

Data: `dsb2018`, its stained RGB images (every fifth is a test image), and synthetic volumes with
cubic and with anisotropic voxels. The time of a training step of each configuration is measured
first; it gets as many epochs as fit into the minutes. Only paths, channels, epochs and the length
of the warm-up are changed in a template, and neither side uses test-time augmentation. On `dsb2018`
the template draws one random patch per image and epoch, because an epoch with all of its patches
would take half of the time. Prints a row of a Markdown table for each.

    python benchmarks/selfconfig.py --whole --minutes 30 [--gpu 0]

runs full trainings: the configuration of `init` for these minutes and this machine, and the
template with its own epochs, of which only paths, channels and, on a GPU, the number of workers are
changed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from singula.autoconfig.training import grid_patches
from singula.config import Config, load_config
from singula.dataset.facts import Machine, Survey, survey_dataset
from singula.models import build_model, channels_last
from singula.pipeline.from_config import instance_loss, model_settings
from singula.synthetic.fluorescence import make_dataset
from singula.training.device import has_bfloat16
from singula.util.process import prepare_process

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "dsb2018"
TEMPLATES = {
    "dsb2018": "2d_instance_segmentation",
    "rgb": "2d_instance_segmentation",
    "3d": "3d_instance_segmentation",
    "3d_anisotropic": "3d_anisotropic_instance_segmentation",
}
MACHINE = Machine(cores=1, memory=8 << 30)
# Reading patches and checkpoints beside the steps; a pixel that is only predicted
EVERYTHING_ELSE, VALIDATION = 1.1, 0.35


def data_set(name: str, folder: Path) -> Path:
    """Return the folder of a data set, which is created if needed."""
    if name == "dsb2018":
        return DATA
    root = folder / "data" / name
    if root.exists():
        return root
    if name == "rgb":
        names = sorted(path.name for path in (DATA / "rgb_train" / "raw").iterdir())
        for number, file in enumerate(names):
            part = "test" if number % 5 == 4 else "train"
            for kind in ("raw", "label"):
                target = root / part / kind / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(DATA / "rgb_train" / kind / file, target)
        return root
    shape, spacing = ((64, 96, 96), None) if name == "3d" else ((32, 128, 128), (2.0, 1.0, 1.0))
    many = {"n_train": 10, "n_val": 2, "n_test": 4}
    make_dataset(root, 3, np.random.default_rng(7), shape=shape, spacing=spacing, **many)
    return root


def template_overrides(name: str, survey: Survey, stored: Path) -> list[str]:
    """Return the paths and channels that replace those of the template."""
    made = []
    for part in survey.parts:
        key, keep = f"DATA.{part.name.upper()}", stored / part.name
        made += [f"{key}.PATH={part.image_dir}", f"{key}.GT_PATH={part.label_dir}"]
        made += [f"{key}.INSTANCE_CHANNELS_DIR={keep / 'x'}"]
        made += [f"{key}.INSTANCE_CHANNELS_MASK_DIR={keep / 'y'}"]
    if survey.part("val"):
        made.append("DATA.VAL.FROM_TRAIN=False")
    if survey.channels == 3:
        made.append("DATA.PATCH_SIZE=(256, 256, 3)")
    return made


def step_seconds(config: Config) -> float:
    """Return the CPU seconds of a training step."""
    torch.set_num_threads(1)
    network = channels_last(build_model(model_settings(config)), config.ndim).train()
    loss, count = instance_loss(config), config.channel_count
    optimizer = torch.optim.AdamW(network.parameters())
    shape = (config.TRAIN.BATCH_SIZE, 1, *config.patch)
    image = torch.rand(shape).expand(-1, config.in_channels, *[-1] * config.ndim).clone()
    batch = {
        "target": (torch.rand(shape[0], count, *config.patch) > 0.5).float(),
        "foreground": torch.rand(shape) > 0.5,
    }
    times = []
    for _ in range(4):
        began = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16()):
            logits = network(image)
        loss(logits, batch).backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.process_time() - began)
    return min(times[1:])


def epochs_for(config: Config, survey: Survey, minutes: float) -> int:
    """Return the number of epochs that are expected to fit."""
    train = survey.part("train")
    if train is None:
        raise ValueError("no training data")
    covering = patches = grid_patches(train, config.patch)
    if config.DATA.EXTRACT_RANDOM_PATCH:
        patches = len(train.pairs)
    val, held = survey.part("val"), config.DATA.VAL.SPLIT_TRAIN
    if val is None or config.DATA.VAL.FROM_TRAIN:
        patches, checked = round(patches * (1 - held)), covering * held
    else:
        checked = grid_patches(val, config.patch)
    patches = patches * max(1, config.DATA.TRAIN.REPLICATE) + VALIDATION * checked
    steps = patches / config.TRAIN.BATCH_SIZE
    return max(2, round(minutes * 60 / (steps * step_seconds(config) * EVERYTHING_ELSE)))


def run(name: str, side: str, options: argparse.Namespace) -> str:
    """Train, test, and return the row of the table."""
    folder: Path = options.output
    machine = None if options.whole else MACHINE
    survey = survey_dataset(data_set(name, folder), machine=machine)
    job, changes = f"{name}_{side}", []
    if not options.whole:
        changes += ["TEST.AUGMENTATION=False", "SYSTEM.NUM_CPUS=1", "SYSTEM.NUM_WORKERS=0"]
    if side == "init":
        from singula.autoconfig import write_proposal

        file = folder / f"{job}.yaml"
        if not file.exists():
            write_proposal(survey, file, minutes=options.minutes)
    else:
        file = ROOT / "templates" / f"{TEMPLATES[name]}.yaml"
        changes += template_overrides(name, survey, folder / f"{job}_channels")
        if name == "dsb2018" and not options.whole:
            changes.append("DATA.EXTRACT_RANDOM_PATCH=True")
        if options.gpu:
            changes.append("SYSTEM.NUM_WORKERS=4")
    if not options.whole:
        changes += shortened(job, side, load_config(file, changes), survey, options)
    config = load_config(file, changes)
    command = [sys.executable, "-m", "singula.cli", "run", "--config", str(file)]
    command += ["--result_dir", str(folder), "--name", job, "--resume"]
    command += ["--gpu", options.gpu] if options.gpu else []
    for text in changes:
        command += ["--set", text]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return f"| {name} | {side} | failed: {done.stderr.splitlines()[-1]} |"
    report = json.loads((folder / job / "results" / f"{job}_1" / "run.json").read_text())
    scores = report["scores"]["per_image"]
    mean, pooled = ({row["threshold"]: row for row in scores[kind]} for kind in ("mean", "pooled"))
    return (
        f"| {name} | {side} | {tuple(config.DATA.PATCH_SIZE)} × {config.TRAIN.BATCH_SIZE} "
        f"| {config.TRAIN.EPOCHS} | {report['seconds']['training'] / 60:.1f} "
        f"| {mean[0.5]['f1']:.3f} / {pooled[0.5]['f1']:.3f} "
        f"| {mean[0.75]['f1']:.3f} / {pooled[0.75]['f1']:.3f} "
        f"| {mean[0.5]['panoptic_quality']:.3f} / {pooled[0.5]['panoptic_quality']:.3f} |"
    )


def shortened(
    job: str, side: str, config: Config, survey: Survey, options: argparse.Namespace
) -> list[str]:
    """Return the keys that end a training after the given minutes."""
    # Kept, so that the same command goes on after an interruption
    kept: Path = options.output / f"{job}_epochs.txt"
    if not kept.exists():
        kept.write_text(str(epochs_for(config, survey, options.minutes)))
    epochs = int(kept.read_text())
    changes = [f"TRAIN.EPOCHS={epochs}"]
    if side == "template":
        changes.append(f"TRAIN.LR_SCHEDULER.WARMUP_COSINE_DECAY_EPOCHS={min(3, epochs // 2)}")
    return changes


def main() -> None:
    """Run all configurations one after the other."""
    prepare_process()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--whole", action="store_true", help="Both as they are.")
    parser.add_argument("--gpu", help="As for singula run.")
    parser.add_argument("--output", type=Path, default=ROOT / "out" / "selfconfig")
    parser.add_argument("--only", nargs="*", default=tuple(TEMPLATES), choices=tuple(TEMPLATES))
    parser.add_argument("--sides", nargs="*", default=("template", "init"))
    options = parser.parse_args()
    options.output = options.output.resolve()
    options.output.mkdir(parents=True, exist_ok=True)
    print("| data | | patch × batch | epochs | minutes of training | F1 at 0.5, mean / pooled "
          "| F1 at 0.75 | PQ |\n|---|---|---|---|---|---|---|---|", flush=True)  # fmt: skip
    for name in options.only:
        for side in options.sides:
            print(run(name, side, options), flush=True)


if __name__ == "__main__":
    main()
