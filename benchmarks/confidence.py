"""Compare definitions of a confidence by their AUROC for true against false positives.

    python benchmarks/confidence.py
    python benchmarks/confidence.py --images IMAGES --labels LABELS --model nuclei

An instance is true if it matches an object of the ground truth at IoU 0.5. Prints a row of a
Markdown table for each definition; the first one is `singula.measure.confidence`. The model must
have the channels B and C.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import tifffile
from scipy import ndimage
from scipy.stats import rankdata
from skimage.segmentation import expand_labels

import singula
from singula.metrics import match

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "dsb2018" / "test"
MARGIN = 3  # pixels around an instance


def definitions(
    labels: np.ndarray, maps: dict[str, np.ndarray], model: singula.Model
) -> dict[str, np.ndarray]:
    """Return the confidence of each instance, in ascending order of the ids, by definition."""
    ids = np.unique(labels)[1:]
    contour = singula.encode(labels, "BC")["C"] > 0
    foreground = np.minimum(maps["B"] + maps["C"], 1)
    around = expand_labels(labels, MARGIN)
    background = np.where(labels == 0, around, 0)
    inside = ndimage.mean(foreground, labels, ids)
    return {
        "agreement with the channels of the labels": np.array(
            list(model.confidence(labels, maps).values())
        ),
        "mean of the foreground": inside,
        "mean of the contour channel on the outline": ndimage.mean(
            maps["C"], np.where(contour, expand_labels(labels, 1), 0), ids
        ),
        "foreground inside minus outside": inside
        - np.nan_to_num(ndimage.mean(foreground, background, ids)),
        "size in pixels": ndimage.sum(labels > 0, labels, ids),
    }


def auroc(values: np.ndarray, is_true: np.ndarray) -> float:
    """Return the probability that a true instance has a higher value than a false one."""
    n_true, n_false = is_true.sum(), (~is_true).sum()
    ranks = rankdata(values)[is_true].sum()
    return float((ranks - n_true * (n_true + 1) / 2) / (n_true * n_false))


def main() -> None:
    """Predict all images, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=Path, default=DATA / "raw")
    parser.add_argument("--labels", type=Path, default=DATA / "label")
    parser.add_argument("--model", default="nuclei")
    options = parser.parse_args()
    model = singula.load(options.model)
    values: dict[str, list[float]] = {}
    is_true: list[bool] = []
    for path in sorted(options.images.glob("*.tif")):
        maps = model.predict_maps(tifffile.imread(path))
        labels, _ = model.instances(maps)
        if not labels.any():
            continue
        matched = match(tifffile.imread(options.labels / path.name), labels, 0.5).pred_ids
        is_true += np.isin(np.unique(labels)[1:], matched).tolist()
        for name, column in definitions(labels, maps, model).items():
            values.setdefault(name, []).extend(column.tolist())
    truth = np.array(is_true)
    print(f"{len(truth)} instances, {np.count_nonzero(~truth)} false positives")
    print("| confidence | AUROC | median of true | of false positives |\n|---|---|---|---|")
    for name, column in values.items():
        numbers = np.array(column)
        medians = np.median(numbers[truth]), np.median(numbers[~truth])
        print(f"| {name} | {auroc(numbers, truth):.3f} | {medians[0]:.2f} | {medians[1]:.2f} |")


if __name__ == "__main__":
    main()
