"""Compare the scores of rescaled images with and without resampling before prediction.

    python benchmarks/scale.py --model RUN --data dsb2018/test --labels dsb2018/train/label

The folder of the data has `raw` and `label`. Images are rescaled with anti-aliasing, labels with
nearest neighbor, and predictions are scored at the size of the rescaled image. `--labels` is needed
only for checkpoints without the sizes of their training objects. Prints F1 at IoU 0.5 and 0.75, as
mean over the images and pooled over the objects, and CPU seconds.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from skimage.transform import rescale

import singula
from singula.data.preprocess import resize_labels
from singula.inference.auto_scale import AutoScale
from singula.io.read import read_image, read_labels
from singula.metrics import Match
from singula.pipeline.object_size import ObjectSizes, TrainedObjects

THRESHOLDS = (0.5, 0.75)


def rescaled(image: np.ndarray, factor: float) -> np.ndarray:
    """Return an image (y, x, c) at another size, with its data type."""
    if factor == 1:
        return image
    values = rescale(
        image.astype(np.float32),
        (factor, factor, 1),
        order=1,
        preserve_range=True,
        anti_aliasing=factor < 1,
    )
    limits = np.iinfo(image.dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(image.dtype)


def sizes_of(folder: Path) -> TrainedObjects:
    """Return the sizes of the objects in label images."""
    sizes = ObjectSizes()
    for path in sorted(folder.iterdir()):
        sizes.add(read_labels(path, 2).array[..., 0], None, None)
    return TrainedObjects.of(sizes.describe())


def timed(function: Any, *arguments: Any, **options: Any) -> tuple[Any, float]:
    """Return the result of a call and its CPU seconds."""
    start = time.process_time()
    result = function(*arguments, **options)
    return result, time.process_time() - start


def scores_of(matches: list[list[Match]]) -> str:
    """Return F1 at both thresholds as table cells: mean over the images / pooled."""
    cells = []
    for column in zip(*matches, strict=True):
        found = sum(match.tp for match in column)
        wrong = sum(match.fp + match.fn for match in column)
        mean = np.mean([match.f1 for match in column])
        cells.append(f"{mean:.3f} / {2 * found / (2 * found + wrong):.3f}")
    return " | ".join(cells)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="run or checkpoint in 2D")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--labels", type=Path, help="training labels")
    parser.add_argument("--factors", type=float, nargs="+", default=[1, 0.5, 2, 3])
    parser.add_argument("--count", type=int, help="number of images")
    parser.add_argument("--verbose", action="store_true", help="print each image")
    options = parser.parse_args()
    model = singula.load(options.model)
    if options.labels is not None:
        model = replace(model, objects=sizes_of(options.labels))
    print(f"objects of the training: {model.objects}")
    paths = sorted((options.data / "raw").iterdir())[: options.count]
    columns = "F1 at 0.5, mean / pooled | at 0.75 | prediction, s | estimate, s"
    print(f"| images scaled by | --scale | {columns} |\n|{'---|' * 6}")
    for factor in options.factors:
        matches: dict[str, list[list[Match]]] = {"1": [], "auto": [], "inverse": []}
        seconds = dict.fromkeys(matches, 0.0)
        estimating = 0.0
        for path in paths:
            image = rescaled(read_image(path, 2, 1).array, factor)
            labels = read_labels(options.data / "label" / path.name, 2).array
            truth = resize_labels(labels, image.shape[:-1])[..., 0]
            auto, spent = timed(model.estimate_scale, image)
            estimating += spent
            scales = {"1": 1.0, "auto": auto.factor, "inverse": 1 / factor}
            for name, scale in scales.items():
                found, spent = timed(model.predict, image, scale=scale)
                matches[name].append([singula.match(truth, found, t) for t in THRESHOLDS])
                seconds[name] += spent
            if options.verbose:
                _print_image(path, truth, auto, {name: m[-1] for name, m in matches.items()})
        for name, row in matches.items():
            cost = f"{estimating:.1f}" if name == "auto" else ""
            print(f"| {factor:g} | {name} | {scores_of(row)} | {seconds[name]:.1f} | {cost} |")


def _print_image(
    path: Path, truth: np.ndarray, auto: AutoScale, matches: dict[str, list[Match]]
) -> None:
    npixels = np.bincount(truth.ravel())[1:]
    diameter = np.median(2 * np.sqrt(npixels[npixels > 0] / np.pi))
    scores = ", ".join(f"{name} {row[0].f1:.2f} {row[1].f1:.2f}" for name, row in matches.items())
    print(f"  {path.stem[:12]} ({diameter:.1f} pixels): {auto}; {scores}")


if __name__ == "__main__":
    main()
