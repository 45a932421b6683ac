"""Compare the instances from the mean of 1, 2, 4 and 8 flipped and rotated views of 2D images.

    python benchmarks/views.py --model RUN --data dsb2018/test

The folder has `raw` and `label`. Prints F1 as the mean over the images, and pooled.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np

import singula
from singula.io.read import read_image, read_labels
from singula.metrics import Match
from singula.prediction.tta import apply_view, undo_view, views

# Indices of `views(2)`
SUBSETS = {
    "1": (0,),
    "2, rotated by 180°": (0, 4),
    "2, mirrored": (0, 1),
    "2, rotated by 90°": (0, 2),
    "4, rotated": (0, 2, 4, 6),
    "4, mirrored": (0, 1, 4, 5),
    "8": tuple(range(8)),
}
THRESHOLDS = (0.5, 0.75)


def maps_of_views(model: singula.Model, image: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Return the maps of each view."""
    result = []
    for view in views(2):

        def one_view(view, forward, batch):
            return undo_view(forward(apply_view(batch, view).contiguous()), view)

        with patch("singula.prediction.predict.mean_over_views", partial(one_view, view)):
            result.append(model.predict_maps(image, augment=True))
    return result


def scores_of(matches: Sequence[Match]) -> str:
    """Return F1 as the mean over the images, and pooled."""
    found = sum(match.tp for match in matches)
    wrong = sum(match.fp + match.fn for match in matches)
    mean = np.mean([match.f1 for match in matches])
    return f"{mean:.3f} / {2 * found / (2 * found + wrong):.3f}"


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="run or checkpoint in 2D")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, help="number of images")
    options = parser.parse_args()
    model = singula.load(options.model)
    matches: dict[str, list[list[Match]]] = {name: [] for name in SUBSETS}
    for path in sorted((options.data / "raw").iterdir())[: options.count]:
        truth = read_labels(options.data / "label" / path.name, 2).array[..., 0]
        single = maps_of_views(model, read_image(path, 2, 1).array)
        for name, indices in SUBSETS.items():
            maps = {
                channel: np.mean([single[i][channel] for i in indices], 0, dtype=np.float32)
                for channel in single[0]
            }
            matches[name].append(singula.match(truth, model.instances(maps)[0], THRESHOLDS))
    print("| views | F1 at 0.5 | F1 at 0.75 |\n|---|---|---|")
    for name, per_image in matches.items():
        print(f"| {name} | {' | '.join(map(scores_of, zip(*per_image, strict=True)))} |")


if __name__ == "__main__":
    main()
