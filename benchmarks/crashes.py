"""Kill runs at random moments, resume them, and compare the results with an uninterrupted run.

    python benchmarks/crashes.py --moments 20

Half of the moments are during training, half during prediction. Each killed run is started again
with ``--resume``. Its weights, scores and instances must equal those of an uninterrupted run, and
no unfinished file may remain. Prints one line for each moment; exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from singula.io.read import read_image
from singula.synthetic.fluorescence import make_dataset

EPOCHS = 12
IMAGES = 8
CONFIG = """\
PROBLEM: {{TYPE: INSTANCE_SEG, NDIM: 2D, INSTANCE_SEG: {{DATA_CHANNELS: BC}}}}
DATA:
  PATCH_SIZE: (64, 64, 1)
  NORMALIZATION: {{TYPE: scale_range}}
  TRAIN:
    PATH: {data}/train/x
    GT_PATH: {data}/train/y
    INSTANCE_CHANNELS_DIR: {channels}/train_x
    INSTANCE_CHANNELS_MASK_DIR: {channels}/train_y
  VAL:
    FROM_TRAIN: False
    PATH: {data}/val/x
    GT_PATH: {data}/val/y
    INSTANCE_CHANNELS_DIR: {channels}/val_x
    INSTANCE_CHANNELS_MASK_DIR: {channels}/val_y
  TEST:
    LOAD_GT: True
    PATH: {data}/test/x
    GT_PATH: {data}/test/y
    PADDING: (8, 8)
    INSTANCE_CHANNELS_DIR: {channels}/test_x
    INSTANCE_CHANNELS_MASK_DIR: {channels}/test_y
AUGMENTOR: {{ENABLE: True, ROT90: True, HFLIP: True, RANDOM_ROT: True, AUG_NUM_SAMPLES: 1}}
MODEL: {{FEATURE_MAPS: [8, 16], DROPOUT_VALUES: [0.1, 0.1]}}
TRAIN:
  ENABLE: True
  OPTIMIZER: ADAMW
  LR: 1.E-2
  BATCH_SIZE: 4
  EPOCHS: {epochs}
  LR_SCHEDULER: {{NAME: onecycle}}
TEST: {{ENABLE: True, AUGMENTATION: True}}
"""


def command(folder: Path, *more: str) -> list[str]:
    """Return the command line of a run."""
    program = [sys.executable, "-m", "singula.cli", "run", "--config", str(folder / "job.yaml")]
    return [*program, "--result_dir", str(folder), "--name", "job", *more]


def prepare(folder: Path, data: Path) -> None:
    """Create a folder with a configuration; encoded channels are stored in it too."""
    folder.mkdir()
    text = CONFIG.format(
        data=data.as_posix(), channels=(folder / "channels").as_posix(), epochs=EPOCHS
    )
    (folder / "job.yaml").write_text(text)


def run_whole(folder: Path) -> tuple[float, float]:
    """Run without interruption, and return the seconds of an epoch and of an image."""
    stamps: dict[str, float] = {}
    with subprocess.Popen(command(folder), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            stamps.setdefault(line.split(":")[0].split(" (")[0].strip(), time.monotonic())
    if process.returncode:
        raise SystemExit("the undisturbed run failed")
    epoch = (stamps[f"epoch {EPOCHS}/{EPOCHS}"] - stamps[f"epoch 1/{EPOCHS}"]) / (EPOCHS - 1)
    last, first = (stamps[f"[{n}/{IMAGES}] image_{n - 1:03d}"] for n in (IMAGES, 1))
    return epoch, (last - first) / (IMAGES - 1)


def kill_at(folder: Path, text: str, delay: float) -> str:
    """Kill a run some seconds after a line with a given start; return the last line."""
    line = ""
    with subprocess.Popen(command(folder), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(text):
                break
        time.sleep(delay)
        process.kill()
        rest = process.stdout.read().splitlines()
    return (rest[-1] if rest else line.strip())[:44]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights after the last epoch."""
    path = folder / "job/checkpoints/job_1-checkpoint-last.pth"
    loaded: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return loaded


def differences(folder: Path, whole: Path) -> list[str]:
    """Return the differences to the uninterrupted run."""
    found = []
    own, other = weights(folder), weights(whole)
    if own.keys() != other.keys() or not all(torch.equal(own[n], other[n]) for n in own):
        found.append("weights")
    run = Path("job/results/job_1")
    if (folder / run / "metrics.csv").read_bytes() != (whole / run / "metrics.csv").read_bytes():
        found.append("scores")
    for path in sorted((whole / run / "per_image_instances").glob("*.tif")):
        mine = read_image(folder / run / "per_image_instances" / path.name, 2, 1).array
        if not np.array_equal(mine, read_image(path, 2, 1).array):
            found.append(path.name)
    found += [f"left behind: {path.name}" for path in folder.rglob("*.part*")]
    return found


def main() -> int:
    """Test all moments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    failures = 0
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        make_dataset(root / "data", 2, rng, n_train=6, n_val=1, n_test=IMAGES, shape=(256, 256))
        prepare(root / "whole", root / "data")
        epoch, image = run_whole(root / "whole")
        print(f"undisturbed: {epoch:.2f} s an epoch, {image:.2f} s an image")
        for number in range(options.moments):
            if number % 2 == 0:
                after, length = int(rng.integers(EPOCHS)), epoch
                text = f"epoch {after}/" if after else "training unet"
            else:
                after, length = int(rng.integers(IMAGES)), image
                text = f"[{after}/" if after else "predicting with"
            folder = root / f"killed_{number}"
            prepare(folder, root / "data")
            delay = rng.uniform(0, length)
            reached = kill_at(folder, text, delay)
            left = len(list(folder.rglob("*.part*")))
            resumed = subprocess.run(command(folder, "--resume"), capture_output=True, text=True)
            wrong = differences(folder, root / "whole") if resumed.returncode == 0 else ["failed"]
            failures += bool(wrong)
            verdict = "equal" if not wrong else "DIFFERS: " + ", ".join(wrong)
            print(
                f"killed {delay:.2f} s after {text!r:17} (last said: {reached:44}; "
                f"{left} files half-written): {verdict}",
                flush=True,
            )
    print(f"{options.moments - failures} of {options.moments} equal an uninterrupted run")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
