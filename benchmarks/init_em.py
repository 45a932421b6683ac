"""Compare two configurations of `singula init` on electron microscopy, with equal training time.

    python benchmarks/init_em.py --seconds 100 --output out/init_em

Three drawn volumes (`singula.synthetic.serial_sections`) with three seeds each are trained with the
configuration of the first version of `init` (stored in `BEFORE`) and with the present one. A
pilot run measures the CPU time of an epoch of each side; each training gets the
epochs that fit into ``--seconds`` of one core. Scores are the mean F1 at IoU 0.5 over two held-out
volumes drawn with other seeds. Finished trainings are kept in ``OUTPUT/*.json``, so the command can
be repeated after an interruption. It prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import yaml

from singula.io.write import write_tiff
from singula.synthetic.serial_sections import SPACING, make_em_volume

ROOT = Path(__file__).resolve().parents[1]
SHAPE = (20, 320, 288)
VOLUMES, SEEDS, HELD_OUT = (1, 2, 3), (0, 1, 2), (1000, 1001)
SIDES = ("before", "after")
ONE_CORE = ("SYSTEM.NUM_CPUS=1", "SYSTEM.NUM_WORKERS=0", "AUGMENTOR.AUG_SAMPLES=False")
PILOT_EPOCHS = (1, 4)

# What `init --minutes 2.5` wrote before it counted complete objects only; the two values that
# differ between the volumes are the small-object size and the depth of a patch.
BEFORE_SMALL = {1: 38, 2: 29, 3: 70}
BEFORE_DEPTH = {1: 14, 2: 14, 3: 16}
BEFORE = """
PROBLEM:
  TYPE: INSTANCE_SEG
  NDIM: 3D
  INSTANCE_SEG:
    DATA_CHANNELS: BC
    DATA_CHANNEL_WEIGHTS: (1, 1)
    DATA_CONTOUR_MODE: outer
    GROW_INTO_CONTOUR: True
    DATA_MW_TH_TYPE: manual
    DATA_MW_TH_BINARY_MASK: 0.5
    DATA_MW_TH_CONTOUR: 0.2
    DATA_MW_TH_FOREGROUND: 0.3
    DATA_REMOVE_SMALL_OBJ_BEFORE: {small}
DATA:
  PATCH_SIZE: ({depth}, 80, 80, 1)
  REFLECT_TO_COMPLETE_SHAPE: True
  NORMALIZATION:
    TYPE: scale_range
    APPLICATION_MODE: image
    PERC_CLIP: True
    PERC_LOWER: 0.1
    PERC_UPPER: 99.9
  TRAIN:
    REPLICATE: 2
    RESOLUTION: (0.05, 0.009, 0.009)
  VAL:
    FROM_TRAIN: True
    SPLIT_TRAIN: 0.2
  TEST:
    PADDING: ({padding}, 10, 10)
    LOAD_GT: True
    RESOLUTION: (0.05, 0.009, 0.009)
AUGMENTOR:
  ENABLE: True
  DA_PROB: 0.5
  ROT90: True
  VFLIP: True
  HFLIP: True
  ZFLIP: True
  RANDOM_ROT: True
  BRIGHTNESS: True
  CONTRAST: True
  CONTRAST_FACTOR: (-0.1, 0.1)
MODEL:
  ARCHITECTURE: unet
  FEATURE_MAPS: [16, 32, 64, 128]
  Z_DOWN: [1, 1, 2]
  DROPOUT_VALUES: [0, 0, 0.1, 0.2]
TRAIN:
  ENABLE: True
  OPTIMIZER: ADAMW
  LR: 0.002
  W_DECAY: 0.02
  BATCH_SIZE: 3
  LR_SCHEDULER:
    NAME: onecycle
TEST:
  ENABLE: True
  AUGMENTATION: False
"""


def draw_volumes(folder: Path, volume: int) -> Path:
    """Write the training volume and the held-out volumes once; return their folder."""
    root = folder / f"volume_{volume}"
    spacing = tuple(size / 1000 for size in SPACING)
    for part, seeds in (("train", (volume,)), ("test", HELD_OUT)):
        for seed in seeds:
            name = f"seed_{seed:04d}.tif"
            if (root / part / "y" / name).exists():
                continue
            drawn = make_em_volume(SHAPE, np.random.default_rng(seed))
            write_tiff(root / part / "x" / name, drawn.image, "ZYX", spacing)
            write_tiff(root / part / "y" / name, drawn.labels, "ZYX", spacing)
    return root


def configuration(folder: Path, volume: int, side: str, minutes: float) -> Path:
    """Write the configuration of one side once."""
    file = folder / f"{side}_{volume}.yaml"
    data = draw_volumes(folder, volume)
    if file.exists():
        return file
    if side == "before":
        depth = BEFORE_DEPTH[volume]
        text = BEFORE.format(small=BEFORE_SMALL[volume], depth=depth, padding=depth // 8)
        keys = yaml.safe_load(text)
        for part in ("train", "test"):
            keys["DATA"][part.upper()] |= {
                "PATH": str(data / part / "x"),
                "GT_PATH": str(data / part / "y"),
                "INSTANCE_CHANNELS_DIR": str(folder / f"{file.stem}_channels" / part / "x"),
                "INSTANCE_CHANNELS_MASK_DIR": str(folder / f"{file.stem}_channels" / part / "y"),
            }
        file.write_text(yaml.safe_dump(keys))
        return file
    from dataclasses import replace

    from singula.autoconfig import write_proposal
    from singula.dataset.facts import survey_dataset

    survey = survey_dataset(data)
    machine = replace(survey.machine, cores=1, gpus=0)
    write_proposal(replace(survey, machine=machine), file, minutes=minutes)
    return file


def command(*words: str) -> tuple[str, float]:
    """Run the program on one core; return its output and its CPU seconds."""
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "singula", *words], capture_output=True, text=True, env=environment
    )
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout, ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime


def run(folder: Path, file: Path, name: str, *changes: str) -> float:
    """Run a configuration with changes; return the CPU seconds."""
    words = ["run", "--config", str(file), "--result_dir", str(folder / "runs"), "--name", name]
    for change in (*ONE_CORE, *changes):
        words += ["--set", change]
    return command(*words)[1]


def epoch_seconds(options: argparse.Namespace, volume: int, side: str) -> float:
    """Measure the CPU seconds of an epoch from two short trainings, once."""
    kept = options.output / f"pilot_{side}_{volume}.json"
    if not kept.exists():
        file = configuration(options.output, volume, side, options.seconds / 60)
        took = [
            run(
                options.output, file, f"pilot_{side}_{volume}_{epochs}",
                f"TRAIN.EPOCHS={epochs}", "TEST.ENABLE=False",
            )
            for epochs in PILOT_EPOCHS
        ]  # fmt: skip
        each = (took[1] - took[0]) / (PILOT_EPOCHS[1] - PILOT_EPOCHS[0])
        kept.write_text(json.dumps({"seconds": each, "trainings": took}))
    return float(json.loads(kept.read_text())["seconds"])


def score(options: argparse.Namespace, volume: int, side: str, seed: int) -> dict[str, Any]:
    """Train and test one configuration, or read its result."""
    name = f"{side}_{volume}_seed{seed}"
    kept = options.output / f"{name}.json"
    if kept.exists():
        return dict(json.loads(kept.read_text()))
    file = configuration(options.output, volume, side, options.seconds / 60)
    epochs = max(2, round(options.seconds / epoch_seconds(options, options.pilot, side)))
    seconds = run(
        options.output, file, name,
        f"TRAIN.EPOCHS={epochs}", f"SYSTEM.SEED={seed}", "TEST.ENABLE=False",
    )  # fmt: skip
    job = options.output / "runs" / name
    checkpoint = next(job.rglob("*checkpoint-best.pth"))
    run(
        options.output, file, f"{name}_test",
        "TRAIN.ENABLE=False", "MODEL.LOAD_CHECKPOINT=True", f"PATHS.CHECKPOINT_FILE={checkpoint}",
    )  # fmt: skip
    report = options.output / "runs" / f"{name}_test" / "results" / f"{name}_test_1" / "run.json"
    scores = json.loads(report.read_text())["scores"]["per_image"]["mean"]
    result = next(row for row in scores if row["threshold"] == 0.5)
    kept.write_text(json.dumps({**result, "epochs": epochs, "seconds": seconds}))
    return dict(json.loads(kept.read_text()))


def main() -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=100.0, help="Of one core, per training.")
    parser.add_argument("--output", type=Path, default=ROOT / "out" / "init_em")
    parser.add_argument("--sides", nargs="*", default=SIDES, choices=SIDES)
    parser.add_argument("--volumes", nargs="*", type=int, default=VOLUMES)
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    parser.add_argument("--pilot", type=int, default=1, help="Volume whose epoch is timed.")
    options = parser.parse_args()
    options.output = options.output.resolve()
    options.output.mkdir(parents=True, exist_ok=True)
    print("| volume | seed | configuration | epochs | CPU seconds | precision | recall | F1 |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    found: dict[str, list[float]] = {side: [] for side in options.sides}
    for volume in options.volumes:
        for seed in options.seeds:
            for side in options.sides:
                row = score(options, volume, side, seed)
                found[side].append(row["f1"])
                print(
                    f"| {volume} | {seed} | {side} | {row['epochs']} | {row['seconds']:.0f} "
                    f"| {row['precision']:.3f} | {row['recall']:.3f} | {row['f1']:.3f} |",
                    flush=True,
                )
    for side, values in found.items():
        print(f"| all | all | {side} | | | | | {mean(values):.3f} |")


if __name__ == "__main__":
    main()
