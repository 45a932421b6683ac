"""Time whole runs of Singula and of BiaPy in turn: start, training step, prediction.

    python benchmarks/program.py [--peer PYTHON] [--rounds 3]

Both train the same U-Net (16 to 256 channels, two outputs: interior and contour) on the same
patches of 256², six per batch, with rotation and flips, and then predict one large image, in
separate processes with all cores. Times are wall-clock times, so no other program should run.
The rows are:

* start: from the command to the end of the first training step;
* training step: the mean of the second epoch, per patch, loading included;
* prediction: of the large image, from reading its patches to the finished maps.

Singula trains and predicts in float32 and in bfloat16. It also trains on prepared patches, which
shows the cost of preparing them. The images are those of ../shared/data with 256² pixels and the
mosaic there, or synthetic images. `peers.py` installs the program of `--peer`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
PATCHES, VALIDATION, BATCH, SIDE = 96, 6, 6, 256
Times = dict[str, float]

CONFIG = """
PROBLEM: {{TYPE: INSTANCE_SEG, NDIM: 2D, INSTANCE_SEG: {{DATA_CHANNELS: {channels}}}}}
DATA:
  PATCH_SIZE: (256, 256, 1)
  TRAIN: {{PATH: {data}/train/raw, GT_PATH: {data}/train/label, IN_MEMORY: True}}
  VAL: {{PATH: {data}/val/raw, GT_PATH: {data}/val/label, IN_MEMORY: True{val}}}
  TEST: {{PATH: {data}/test/raw, LOAD_GT: False, IN_MEMORY: True{test}}}
AUGMENTOR: {{ENABLE: True, RANDOM_ROT: True, VFLIP: True, HFLIP: True}}
MODEL: {{ARCHITECTURE: unet, FEATURE_MAPS: [16, 32, 64, 128, 256]}}
TRAIN: {{ENABLE: True, OPTIMIZER: ADAMW, LR: 0.001, EPOCHS: 2, BATCH_SIZE: 6, PATIENCE: 20}}
TEST: {{ENABLE: True}}
"""
SINGULA_VALUES = {"channels": "BC", "val": "", "test": ""}
BIAPY_VALUES = {
    "channels": "['F', 'C']",
    "val": ", FROM_TRAIN: False",
    "test": ", PADDING: '(32, 32)'",
}

# Run `singula run`, and write the times at which epochs start and steps end.
TIMED_RUN = """
import sys, time
cached, marks = sys.argv.pop(1) == "cached", open(sys.argv.pop(1), "w", buffering=1)
from singula import cli
from singula.util.process import prepare_process
prepare_process()
import singula.pipeline.run
from singula.data.dataset import PatchDataset
from singula.training.progress import ProgressReport
def mark(hook, word):
    before = getattr(ProgressReport, hook)
    def marked(self, *args):
        print(word, time.time(), file=marks)
        return before(self, *args)
    setattr(ProgressReport, hook, marked)
mark("start_epoch", "epoch")
mark("step_done", "step")
if cached:
    items, prepare = {}, PatchDataset.__getitem__
    def prepared(self, place):
        key = id(self), place[1] if isinstance(place, tuple) else place
        if key not in items:
            items[key] = prepare(self, place)
        return items[key]
    PatchDataset.__getitem__ = prepared
cli.run_main()
"""


def write_data(folder: Path, side: int) -> None:
    """Write training and validation patches, and the image to predict."""
    import tifffile

    pairs = real_pairs() or synthetic_pairs()
    for part, begin, count in (("train", 0, PATCHES), ("val", PATCHES, VALIDATION)):
        for kind in ("raw", "label"):
            (folder / part / kind).mkdir(parents=True)
        for number in range(begin, begin + count):
            for kind, image in zip(("raw", "label"), pairs[number % len(pairs)], strict=True):
                tifffile.imwrite(folder / part / kind / f"{number:03}.tif", image)
    mosaic = SHARED / "bench" / "mosaic_4096_raw.tif"
    large = tifffile.imread(mosaic) if mosaic.is_file() else np.tile(pairs[0][0], (16, 16))
    (folder / "test" / "raw").mkdir(parents=True)
    tifffile.imwrite(folder / "test" / "raw" / "large.tif", large[:side, :side])


def real_pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return real images of 256² pixels with their labels; empty if there are none."""
    import tifffile

    pairs = []
    folder = SHARED / "dsb2018" / "train"
    for raw in sorted((folder / "raw").glob("*")):
        image = tifffile.imread(raw)
        if image.shape == (SIDE, SIDE):
            label = next((folder / "label").glob(raw.stem + ".*"))
            pairs.append((image, tifffile.imread(label)))
        if len(pairs) == PATCHES + VALIDATION:
            break
    return pairs


def synthetic_pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return images with labels as in `singula demo`."""
    from singula.synthetic.fluorescence import make_image

    rng = np.random.default_rng(0)
    images = [make_image((SIDE, SIDE), rng) for _ in range(24)]
    return [(image.image, image.labels) for image in images]


def run_singula(folder: Path, precision: str, *, cached: bool) -> Times:
    """Run Singula once, and return its times by row."""
    config, marks = folder / "singula.yaml", folder / "marks"
    config.write_text(CONFIG.format(data=folder / "data", **SINGULA_VALUES), encoding="utf-8")
    name = f"singula_{precision}"
    command = [sys.executable, "-c", TIMED_RUN, "cached" if cached else "real", marks]
    command += ["--config", config, "--result_dir", folder, "--name", name]
    command += ["--set", f"TRAIN.PRECISION={precision}", "--set", f"TEST.PRECISION={precision}"]
    if cached:
        command += ["--set", "TEST.ENABLE=False"]
    start = time.time()
    run_command([str(word) for word in command], lambda line: None)
    events = [line.split() for line in marks.read_text().splitlines()]
    epochs = [float(seconds) for word, seconds in events if word == "epoch"]
    steps = [float(seconds) for word, seconds in events if word == "step"]
    times = {
        "start": steps[0] - start,
        "training step": (steps[-1] - epochs[-1]) / PATCHES,
    }
    summary = folder / name / "results" / f"{name}_1" / "run.json"
    if not cached:
        times["prediction"] = json.loads(summary.read_text())["seconds"]["prediction"]
    return times


def run_biapy(folder: Path, python: str) -> Times:
    """Run BiaPy once, and return its times by row, from its output."""
    config = folder / "biapy.yaml"
    config.write_text(CONFIG.format(data=folder / "data", **BIAPY_VALUES), encoding="utf-8")
    seen: dict[str, list[float]] = {"first": [], "begin": [], "end": []}
    words = {"Epoch: [1]  [ 0/": "first", "# OV-CROP #": "begin", "END MERGE-OV-CROP": "end"}
    per_step = []

    def on_line(line: str) -> None:
        for word, key in words.items():
            if word in line:
                seen[key].append(time.time())
        if "Epoch: [2] Total time" in line and (match := re.search(r"\(([\d.]+) s / it\)", line)):
            per_step.append(float(match[1]))

    start = time.time()
    script = Path(python).with_name("biapy")
    run_command(
        [python, str(script), "--config", str(config), "--result_dir", str(folder / "biapy"),
         "--name", "biapy", "--run_id", "1"],
        on_line,
    )  # fmt: skip
    return {
        "start": seen["first"][0] - start,
        "training step": per_step[0] / BATCH,
        "prediction": seen["end"][-1] - seen["begin"][0],
    }


def run_command(command: list[str], on_line: Callable[[str], None]) -> None:
    """Run a command, and pass each line of its output to a function."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    lines = []
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
    ) as process:
        for line in process.stdout or ():
            lines.append(line)
            on_line(line)
    if process.returncode:
        sys.exit("".join(lines[-30:]))


def main() -> None:
    """Run the programs in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that can import biapy")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", type=int, default=4096, help="side of the predicted image")
    options = parser.parse_args()
    results: dict[str, list[Times]] = {}
    for _ in range(options.rounds):
        # Each round has a new folder, so that no run finds checkpoints or channels of another.
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_data(folder / "data", options.side)
            if options.peer:
                results.setdefault("BiaPy", []).append(run_biapy(folder, options.peer))
            for precision in ("32", "bf16"):
                times = run_singula(folder, precision, cached=False)
                results.setdefault(f"Singula, {precision}", []).append(times)
                prepared = run_singula(folder, precision, cached=True)
                results.setdefault(f"Singula, {precision}, prepared patches", []).append(prepared)
    print_table(results)


def print_table(results: dict[str, list[Times]]) -> None:
    """Print medians of seconds, and of the ratio to BiaPy in the same round."""
    print("| | start | training step per patch | prediction |\n|---|---|---|---|")
    for program, rounds in results.items():
        cells = []
        for row, digits in (("start", 1), ("training step", 4), ("prediction", 1)):
            if row not in rounds[0]:
                cells.append("–")
                continue
            text = f"{statistics.median(times[row] for times in rounds):.{digits}f} s"
            if "BiaPy" in results and program != "BiaPy":
                pairs = zip(rounds, results["BiaPy"], strict=True)
                ratio = statistics.median(singula[row] / biapy[row] for singula, biapy in pairs)
                text += f" ({ratio:.2f} ×)"
            cells.append(text)
        print(f"| {program} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
