"""Compare a training from scratch with fine-tuning a built-in model, on few images.

    python benchmarks/finetune.py --out /tmp/finetune
    python benchmarks/finetune.py --out /tmp/finetune --set stained --images 4 8 --rates 5e-4 2e-3
    python benchmarks/finetune.py --out /tmp/finetune --set stained --model my_model.pth --seeds 3

Sets: `stained`, the stained images of `rgb_train` as inverted gray (12 of 54 for the test, at equal
distances in the order of their names), and `drawn`, synthetic nuclei. Both trainings of a row have
the same network, channels, patches and number of steps, so they take equal CPU time; an eighth of
the images, at least one, is used for validation. Channels and thresholds are those of the model,
with its tuned values. An interrupted command continues when it is repeated: results are stored by
the content of the checkpoint of the model. Prints a row of a Markdown table for each number of
images: mean F1 at IoU 0.5 of the test images over all seeds, and the CPU seconds of a training.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import yaml

import singula
from singula.inference import find_model
from singula.metrics import match, match_dataset
from singula.synthetic.fluorescence import make_dataset

RGB = Path(__file__).resolve().parents[2] / "shared" / "data" / "dsb2018" / "rgb_train"
N_TEST, MAX_TRAIN = 12, 32
BATCH, STEPS_PER_EPOCH = 8, 12


def write_set(name: str, folder: Path) -> None:
    """Write the images of a set to ``train`` and ``test``, each with ``x`` and ``y``."""
    if folder.is_dir():
        return
    written = folder.with_name("writing")
    shutil.rmtree(written, ignore_errors=True)
    _write_set(name, written)
    written.rename(folder)


def _write_set(name: str, folder: Path) -> None:
    if name == "drawn":
        random = np.random.default_rng(5)
        counts = {"n_train": MAX_TRAIN, "n_val": 1, "n_test": N_TEST}
        make_dataset(folder, 2, random, shape=(256, 256), **counts)
        return
    files = sorted((RGB / "raw").glob("*.tif"))
    tested = {int(number) for number in np.linspace(0, len(files) - 1, N_TEST).round()}
    for number, path in enumerate(files):
        target = folder / ("test" if number in tested else "train")
        for part in ("x", "y"):
            (target / part).mkdir(parents=True, exist_ok=True)
        gray = tifffile.imread(path).astype(np.float32) @ np.array([0.299, 0.587, 0.114])
        tifffile.imwrite(target / "x" / path.name, (255 - gray).round().astype(np.uint8))
        labels = tifffile.imread(RGB / "label" / path.name)
        tifffile.imwrite(target / "y" / path.name, labels)


def link_images(data: Path, folder: Path, count: int) -> int:
    """Link the first images of a set, in a fixed random order; return the number for training."""
    names = sorted(path.name for path in (data / "train" / "x").glob("*.tif"))
    chosen = np.random.default_rng(1).permutation(names)[:count]
    n_val = max(1, count // 8)
    for number, name in enumerate(chosen):
        for part in ("x", "y"):
            target = folder / ("val" if number < n_val else "train") / part / str(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                target.symlink_to((data / "train" / part / str(name)).resolve())
    return count - n_val


def write_config(
    folder: Path, model: str, n_train: int, steps: int, rate: float, seed: int, *, start: bool
) -> Path:
    """Write a configuration with the network and the augmentation of a model."""
    checkpoint = find_model(model)
    keys: dict[str, Any] = yaml.safe_load(singula.load(model).config.to_yaml())
    replicate = max(1, round(BATCH * STEPS_PER_EPOCH / n_train))
    epochs = max(1, round(steps * BATCH / (n_train * replicate)))
    data = keys["DATA"]
    for part in ("train", "val"):
        data[part.upper()] |= {
            "PATH": str(folder / part / "x"),
            "GT_PATH": str(folder / part / "y"),
        }
        for end, key in (("x", "INSTANCE_CHANNELS_DIR"), ("y", "INSTANCE_CHANNELS_MASK_DIR")):
            data[part.upper()][key] = str(folder / f"channels_{part}" / end)
    data["EXTRACT_RANDOM_PATCH"], data["TRAIN"]["REPLICATE"] = True, replicate
    data["VAL"]["FROM_TRAIN"] = False
    keys["MODEL"]["LOAD_CHECKPOINT"] = start
    keys["SYSTEM"] = {"SEED": seed, "NUM_CPUS": 1, "NUM_WORKERS": 0}
    keys["PATHS"] = {"CHECKPOINT_FILE": str(checkpoint) if start else ""}
    keys["TRAIN"] |= {
        "ENABLE": True, "EPOCHS": epochs, "BATCH_SIZE": BATCH, "LR": rate, "OPTIMIZER": "ADAMW",
        "W_DECAY": 0.02, "LR_SCHEDULER": {"NAME": "onecycle"},
    }  # fmt: skip
    keys["TEST"]["ENABLE"] = False
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(keys))
    return path


def score(model: str | Path, data: Path) -> dict[str, float]:
    """Return F1 of the test images, as a mean and pooled over all objects."""
    loaded, matches = singula.load(model), []
    for path in sorted((data / "test" / "x").glob("*.tif")):
        labels = loaded.predict(tifffile.imread(path))
        truth = tifffile.imread(data / "test" / "y" / path.name)
        matches.append(match(truth, labels, (0.5,))[0])
    pooled = match_dataset([[m] for m in matches])[0]
    return {"mean": float(np.mean([m.f1 for m in matches])), "pooled": float(pooled.f1)}


def stored_or_new(path: Path, compute: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Return the result in a JSON file, which is computed and written if it does not exist."""
    if not path.is_file():
        values = compute()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    result: dict[str, float] = json.loads(path.read_text())
    return result


def key_of(model: str) -> str:
    """Return a name for the folder of the results of a model, which depends on its checkpoint."""
    checkpoint = find_model(model)
    return f"{Path(model).stem}_{hashlib.sha256(checkpoint.read_bytes()).hexdigest()[:8]}"


def train(
    args: argparse.Namespace, name: str, count: int, rate: float, seed: int, *, start: bool
) -> dict[str, float]:
    """Train and score once, or continue an interrupted training."""
    data = args.out / name / "data"
    folder = folder_of(args, name, count, rate, seed, start=start)
    folder.mkdir(parents=True, exist_ok=True)
    n_train = link_images(data, folder, count)
    config = write_config(folder, args.model, n_train, args.steps, rate, seed, start=start)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    line = ["-m", "singula", "run", "--config", config, "--result_dir", folder, "--name", "job"]
    started = (folder / "job" / "checkpoints").is_dir()
    line += ["--gpu", "cpu", *(["--resume"] if started else [])]
    subprocess.run([sys.executable, *line], check=True, stdout=subprocess.DEVNULL)
    seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    checkpoint = folder / "job" / "checkpoints" / "job_1-checkpoint-best.pth"
    return {**score(checkpoint, data), "seconds": seconds}


def folder_of(
    args: argparse.Namespace, name: str, count: int, rate: float, seed: int, *, start: bool
) -> Path:
    """Return the folder of a training."""
    kind = "fine-tuned" if start else "scratch"
    model: Path = args.out / name / key_of(args.model)
    return model / f"{count}_{kind}_{rate:g}_{args.steps}_{seed}"


def mean_result(
    args: argparse.Namespace, name: str, count: int, rate: float, *, start: bool
) -> dict[str, float]:
    """Return the mean scores and CPU seconds over the seeds."""
    results = [
        stored_or_new(
            folder_of(args, name, count, rate, seed, start=start) / "result.json",
            partial(train, args, name, count, rate, seed, start=start),
        )
        for seed in range(args.seeds)
    ]
    return {key: float(np.mean([r[key] for r in results])) for key in results[0]}


def main() -> None:
    """Train, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", choices=("stained", "drawn"), nargs="+", default=None)
    parser.add_argument("--images", type=int, nargs="+", default=[4, 8, 16, 32])
    parser.add_argument("--rates", type=float, nargs="+", default=[2e-3])
    parser.add_argument("--scratch-rate", type=float, default=2e-3)
    parser.add_argument("--steps", type=int, default=240, help="of every training")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each number")
    parser.add_argument("--model", default="nuclei", help="built-in model, run or checkpoint")
    args = parser.parse_args()
    rates = " | ".join(f"fine-tuned, rate {rate:g}" for rate in args.rates)
    print(f"| set | images | model alone | from scratch | {rates} | CPU s |")
    print("|---|---|---|---|" + "---|" * (len(args.rates) + 1))
    for name in args.set or ("stained", "drawn"):
        data = args.out / name / "data"
        write_set(name, data)
        alone = stored_or_new(
            args.out / name / key_of(args.model) / "alone.json", partial(score, args.model, data)
        )
        for count in args.images:
            trained = [mean_result(args, name, count, args.scratch_rate, start=False)]
            trained += [mean_result(args, name, count, rate, start=True) for rate in args.rates]
            cells = " | ".join(f"{r['mean']:.3f}" for r in trained)
            seconds = " and ".join(f"{r['seconds']:.0f}" for r in trained)
            print(f"| {name} | {count} | {alone['mean']:.3f} | {cells} | {seconds} |", flush=True)


if __name__ == "__main__":
    main()
