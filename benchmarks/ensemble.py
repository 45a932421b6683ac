"""Compare an ensemble of the folds of a cross-validation with the single folds.

    python benchmarks/ensemble.py --out /tmp/ensemble --images 222 --minutes 3
    python benchmarks/ensemble.py --out /tmp/ensemble --images 24 --model nuclei --steps 120

Each fold trains on some images of `dsb2018/train` that are not its validation images. The number of
epochs is that of `singula init` for these minutes and one core, if no step is timed. `singula tune`
searches the thresholds of each fold, and those of the ensemble on the maps of the fold that was not
trained on the image. Prints a Markdown table: F1 of the images of `dsb2018/test` as mean over
images and pooled over all objects, with the configured and the tuned thresholds. With `--model`,
the folds are fine-tuned from this model on the stained images of `finetune.py`, and scored on its
test images. An interrupted command continues when it is repeated.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import finetune
import tifffile

import singula
from singula.autoconfig import write_proposal
from singula.dataset.facts import Folders, Machine, survey_dataset
from singula.inference import Model
from singula.metrics import match, match_dataset
from singula.tuning import tune
from singula.util.boxes import evenly_spaced

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "dsb2018"
OVERLAPS = (0.5, 0.75)
LABELS = {"raw": "label", "x": "y"}


def write_config(path: Path, count: int, minutes: float) -> None:
    """Write the configuration of `singula init` for some training images, at equal distances."""
    folder = path.with_name("images")
    files = sorted((DATA / "train" / "raw").glob("*.tif"))
    for number in evenly_spaced(len(files), count):
        for part in ("raw", "label"):
            target = folder / part / files[number].name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            target.symlink_to(DATA / "train" / part / target.name)
    folders = [Folders("train", folder / "raw", folder / "label")]
    machine = Machine(cores=1, memory=8 << 30)
    survey = survey_dataset(folder, folders=folders, max_files=60, machine=machine)
    write_proposal(survey, path, minutes=minutes)


def write_stained(out: Path, count: int, model: str, steps: int) -> Path:
    """Write the configuration of a fine-tuning on stained images; return their folder."""
    data = out / "stained"
    finetune.write_set("stained", data)
    files = sorted((data / "train" / "x").glob("*.tif"))
    for number in evenly_spaced(len(files), count):
        for part in ("x", "y"):
            target = out / "train" / part / files[number].name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            target.symlink_to((data / "train" / part / target.name).resolve())
    finetune.write_config(out, model, count * 2 // 3, steps, 2e-3, 0, start=True)
    return data


def train(config: Path, out: Path, fold: int, folds: int) -> tuple[Path, float]:
    """Train a fold, or continue its training; return the folder of its run and its CPU seconds."""
    run = out / "folds" / "results" / f"folds_{fold}"
    stored = out / f"seconds_{fold}.json"
    if stored.is_file():
        return run, float(json.loads(stored.read_text()))
    keys = {
        "DATA.VAL.FROM_TRAIN": True, "DATA.VAL.CROSS_VAL": True, "DATA.VAL.CROSS_VAL_NFOLD": folds,
        "DATA.VAL.CROSS_VAL_FOLD": fold, "DATA.TEST.USE_VAL_AS_TEST": False, "TEST.ENABLE": False,
        "SYSTEM.NUM_CPUS": 1,
    }  # fmt: skip
    line = ["run", "--config", config, "--result_dir", out, "--name", "folds", "--run_id", fold]
    line += [part for key, value in keys.items() for part in ("--set", f"{key}={value}")]
    line += ["--gpu", "cpu", *(["--resume"] if (run / "checkpoints").is_dir() else [])]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    words = [sys.executable, "-m", "singula", *map(str, line)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    stored.write_text(json.dumps(seconds))
    return run, seconds


def scores(model: Model, maps: Sequence[dict[str, Any]], tested: Sequence[Path]) -> list[float]:
    """Return F1 as mean and pooled, at IoU 0.5 and then at 0.75."""
    matches = []
    for path, channels in zip(tested, maps, strict=True):
        folder = LABELS[path.parent.name]
        truth = tifffile.imread(path.parents[1] / folder / path.name)
        matches.append(match(truth, model.instances(channels)[0], OVERLAPS))
    means, pooled = match_dataset(matches, by_image=True), match_dataset(matches)
    return [row.f1 for at in range(len(OVERLAPS)) for row in (means[at], pooled[at])]


def main() -> None:
    """Train the folds, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--images", type=int, default=222, help="for training and validation")
    parser.add_argument("--minutes", type=float, default=3.0, help="of the training of a fold")
    parser.add_argument("--model", help="start of the training on stained images")
    parser.add_argument("--steps", type=int, default=240, help="of the training with --model")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    config = args.out / "config.yaml"
    data = DATA
    if args.model is not None:
        data = write_stained(args.out, args.images, args.model, args.steps)
    elif not config.exists():
        write_config(config, args.images, args.minutes)
    trained = [train(config, args.out, fold, args.folds) for fold in range(1, args.folds + 1)]
    print("CPU seconds:", ", ".join(f"{seconds:.0f}" for _, seconds in trained), flush=True)
    runs = [run for run, _ in trained]
    tested = sorted(path for part in LABELS for path in (data / "test" / part).glob("*.tif"))
    print("| model | thresholds | F1 at 0.5, mean / pooled | F1 at 0.75, mean / pooled |")
    print("|---|---|---|---|")
    members = [*((run,) for run in runs), tuple(runs)]
    maps: dict[int, list[dict[str, Any]]] = {}
    for kind in ("configured", "tuned"):
        ensemble_first = reversed(range(len(members)))
        by_number = {
            number: scored(args.out, kind, number, members[number], tested, maps)
            for number in ensemble_first
        }
        results = [by_number[number] for number in range(len(members))]
        for number, values in enumerate(results[:-1], start=1):
            print_row(f"fold {number}", kind, values)
        print_row("mean of the folds", kind, [fmean(v) for v in zip(*results[:-1], strict=True)])
        print_row("ensemble", kind, results[-1])


def scored(
    out: Path,
    kind: str,
    number: int,
    member: Sequence[Path],
    tested: Sequence[Path],
    maps: dict[int, list[dict[str, Any]]],
) -> list[float]:
    """Return the scores of a fold or of the ensemble, or the stored scores of an earlier call."""
    stored = out / f"scores_{kind}_{number}.json"
    if stored.is_file():
        values: list[float] = json.loads(stored.read_text())
        return values
    if kind == "tuned":
        tune(member[0] if len(member) == 1 else list(member))
    model = singula.load(list(member))
    print(f"{kind}: {model.notices[-1]}", file=sys.stderr, flush=True)
    if number not in maps:
        maps[number] = [model.predict_maps(tifffile.imread(path)) for path in tested]
    values = scores(model, maps[number], tested)
    stored.write_text(json.dumps(values))
    return values


def print_row(name: str, kind: str, values: Sequence[float]) -> None:
    """Print a row of the table."""
    half, strict = (f"{values[at]:.3f} / {values[at + 1]:.3f}" for at in (0, 2))
    print(f"| {name} | {kind} | {half} | {strict} |", flush=True)


if __name__ == "__main__":
    main()
