"""Scores of predicted maps and instances, and tables of matched instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.metrics import (
    Overlap,
    Ratio,
    Score,
    iou_sums,
    mae_sums,
    match_dataset,
    match_overlap,
    overlap_among,
    score_rows,
)
from singula.metrics.summary import MEAN, POOLED
from singula.representations.channel_table import CHANNELS
from singula.representations.channels.sparse import has_target
from singula.util.format import counted

Maps = Mapping[str, npt.NDArray[Any]]
ClassOf = tuple[npt.NDArray[Any], npt.NDArray[Any]]
AXES = {2: "YX", 3: "ZYX"}
NOT_ANNOTATED = "not annotated"
_MAX_NAMES = 5  # images named in a message


def map_scores(truth: Maps, maps: Maps, foreground: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Return the scores of predicted maps.

    Parameters
    ----------
    truth, maps : mapping of str to ndarray
        Encoded ground truth and predicted maps by name, all of the same shape. Pixels without a
        target are not compared.
    foreground : ndarray of bool
        Pixels of instances. Distances inside of instances are compared only there.

    Returns
    -------
    dict of str to float
        ``iou_<channel>`` at a threshold of 0.5 for binary channels, ``mae_<channel>`` for
        distances. A channel of which no pixel has a target has no score.
    """
    return values(map_sums(truth, maps, foreground))


def map_sums(truth: Maps, maps: Maps, foreground: npt.NDArray[np.bool_]) -> dict[str, Ratio]:
    """Return the numerators and denominators of `map_scores`, to be summed over blocks."""
    sums = {}
    for name, true in truth.items():
        predicted, mask = maps[name], foreground if CHANNELS[name].foreground_only else None
        compared = has_target(name, true)
        if not compared.all():
            if not compared.any():
                continue
            true, predicted = true[compared], predicted[compared]
            mask = None if mask is None else mask[compared]
        if CHANNELS[name].kind == "binary":
            sums[f"iou_{name}"] = iou_sums(true, predicted)
        else:
            sums[f"mae_{name}"] = mae_sums(true, predicted, mask)
    return sums


def values(sums: Mapping[str, Ratio]) -> dict[str, float]:
    """Return the quotients of sums."""
    return {name: ratio.value for name, ratio in sums.items()}


def class_map_scores(
    truth: npt.NDArray[Any], predicted: npt.NDArray[Any], n_classes: int
) -> dict[str, float]:
    """Return ``iou_class_<k>`` for each class, and their mean without background, ``iou_class``.

    Without pixels, there are no scores.
    """
    scores = values(class_map_sums(truth, predicted, n_classes))
    if not scores:
        return {}
    return {"iou_class": float(np.mean(list(scores.values()))), **scores}


def class_map_sums(
    truth: npt.NDArray[Any], predicted: npt.NDArray[Any], n_classes: int
) -> dict[str, Ratio]:
    """Return the numerators and denominators of the class scores, to be summed over blocks."""
    classes = range(1, n_classes) if truth.size else ()
    return {f"iou_class_{k}": iou_sums(truth == k, predicted == k) for k in classes}


def mean_scores(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each column over the rows that have the column."""
    columns = dict.fromkeys(name for row in rows for name in row)
    return {k: float(np.mean([row[k] for row in rows if k in row])) for k in columns}


@dataclass
class Scores:
    """Scores of a test set.

    Parameters
    ----------
    matches : dict
        Scores at each threshold, by view and image. Views are ``per_image``, ``full_image`` and
        ``as_3d_stack``, each also with ``_post_processing``.
    classes : dict
        Scores of the instances of a class, by view and class, and by image.
    maps : dict
        Scores of maps with a prefix (``per_patch_iou_B``, ``per_image_iou_B`` …), by image.
    """

    matches: dict[str, dict[str, list[Score]]] = field(default_factory=dict)
    classes: dict[tuple[str, int], dict[str, list[Score]]] = field(default_factory=dict)
    maps: dict[str, dict[str, float]] = field(default_factory=dict)

    def add_maps(self, image: str, prefix: str, scores: Mapping[str, float]) -> None:
        """Add the map scores of an image, with a prefix."""
        row = self.maps.setdefault(image, {})
        row.update({f"{prefix}_{name}": value for name, value in scores.items()})

    def dataset(self, view: str = "per_image", *, by_image: bool) -> list[Score]:
        """Return the scores of the test set at each threshold; empty without ground truth."""
        matches = self.matches.get(view, {})
        return list(match_dataset(matches.values(), by_image=by_image)) if matches else []

    def rows(self) -> list[dict[str, object]]:
        """Return the rows of ``metrics.csv``: for each view the images, and then the test set."""
        rows: list[dict[str, object]] = []
        overall = mean_scores(list(self.maps.values()))
        for view, matches in self.matches.items():
            for row in score_rows(matches):
                image = str(row["image"])
                maps = overall if image in (MEAN, POOLED) else self.maps.get(image, {})
                rows.append({"view": view, **row, **maps})
        for (view, number), matches in self.classes.items():
            rows += [{"view": view, "class": number, **row} for row in score_rows(matches)]
        matched = {image for matches in self.matches.values() for image in matches}
        # Slices of a stack, or all images without matching
        others = {i: scores for i, scores in self.maps.items() if scores and i not in matched}
        for view in ("per_image", "as_3d_stack"):
            of_view = {i: s for i, s in others.items() if (view == "as_3d_stack") == _of_stack(s)}
            rows += [{"view": view, "image": i, **scores} for i, scores in of_view.items()]
            if of_view:
                rows.append({"view": view, "image": MEAN, **mean_scores(list(of_view.values()))})
        return rows


def _of_stack(scores: Mapping[str, float]) -> bool:
    return any(name.startswith("as_3d_stack") for name in scores)


def association_name(image: str, view: str) -> str:
    """Return the name of an image in the file names of its associations."""
    return image if view in ("per_image", "as_3d_stack") else f"{image}_{view}"


def score_classes(
    scores: Scores,
    image: str,
    view: str,
    table: Overlap,
    truth: ClassOf,
    predicted: ClassOf,
    thresholds: Sequence[float],
) -> None:
    """Match the instances of each class separately.

    Parameters
    ----------
    scores : Scores
        Scores to which the image is added.
    image, view : str
        Name of the image, and view of the prediction.
    table : Overlap
        Overlap of true and predicted instances.
    truth, predicted : (ndarray, ndarray)
        Ids of the instances and the class of each, as from `winning_classes`.
    thresholds : sequence of float
        IoU from which instances match.
    """
    last = max(int(classes.max(initial=0)) for _, classes in (truth, predicted))
    for number in range(1, last + 1):
        true, pred = (ids[classes == number] for ids, classes in (truth, predicted))
        if not len(true) and not len(pred):
            continue
        matches = match_overlap(overlap_among(table, true, pred), thresholds)
        scores.classes.setdefault((view, number), {})[image] = [*matches]


def result_text(count: int, scores: Scores, image: str, view: str = "per_image") -> str:
    """Return the number of instances of an image and their F1, before and after post-processing.

    If a part of the image is annotated, F1 compares only the instances in this part, which the text
    counts separately.

    Parameters
    ----------
    count : int
        Number of instances after all steps.
    scores : Scores
        Scores of the test set.
    image, view : str
        Name of the image, and its view without ``_post_processing``.
    """
    stages = [scores.matches.get(key, {}).get(image) for key in (view, f"{view}_post_processing")]
    scored = [matches for matches in stages if matches]
    if not scored:
        return counted(count, "instance")
    if not scored[0][0].n_images:
        return f"{counted(count, 'instance')}, {NOT_ANNOTATED}"
    texts = [
        f"{counted(matches[0].n_pred, 'instance')}, "
        + ", ".join(f"F1 {m.f1:.3f} at {m.threshold:g}" for m in matches)
        for matches in scored
    ]
    is_partial = scored[-1][0].n_pred != count
    start = f"{counted(count, 'instance')}; in the annotated part: " if is_partial else ""
    return start + "; post-processed: ".join(texts)


_HEADER = (
    f"  {'IoU ≥':>6} {'F1 mean':>8} {'pooled':>7} {'prec.':>7} {'recall':>7} "
    f"{'accuracy':>8} {'PQ mean':>8} {'pooled':>7} {'matched IoU':>11} "
    f"{'TP':>6} {'FP':>6} {'FN':>6}"
)


def _table_lines(title: str, matches: Mapping[str, Sequence[Score]]) -> list[str]:
    """Return the lines of the scores of a view, or a line that no image is annotated."""
    left_out = [name for name, scores in matches.items() if not scores[0].n_images]
    lines = [title, _HEADER]
    if left_out:
        names = ", ".join(left_out[:_MAX_NAMES]) + (" …" if len(left_out) > _MAX_NAMES else "")
        lines.insert(1, f"  {counted(len(left_out), 'image')} {NOT_ANNOTATED}, not scored: {names}")
    if len(left_out) == len(matches):
        return [title, "  no score, because no image is annotated"]
    pairs = zip(
        match_dataset(matches.values(), by_image=True), match_dataset(matches.values()), strict=True
    )
    return lines + [
        f"  {m.threshold:>6.2f} {m.f1:>8.3f} {p.f1:>7.3f} {p.precision:>7.3f} "
        f"{p.recall:>7.3f} {p.accuracy:>8.3f} {m.panoptic_quality:>8.3f} "
        f"{p.panoptic_quality:>7.3f} {p.mean_matched_score:>11.3f} "
        f"{p.tp:>6} {p.fp:>6} {p.fn:>6}"
        for m, p in pairs
    ]


def score_lines(scores: Scores) -> list[str]:
    """Return the lines of a text table of the scores."""
    lines = []
    for view, matches in scores.matches.items():
        title = f"Instances ({view.replace('_', ' ')}, {counted(len(matches), 'image')})"
        lines += _table_lines(title, matches)
    for (view, number), matches in scores.classes.items():
        title = f"Instances of class {number} ({view.replace('_', ' ')})"
        lines += _table_lines(title, matches)
    overall = mean_scores(list(scores.maps.values()))
    if overall:
        lines.append("Maps (mean over images)")
        for prefix in ("per_patch", "per_image", "full_image", "as_3d_stack"):
            columns = {
                k.removeprefix(f"{prefix}_").replace("_", " "): v
                for k, v in overall.items()
                if k.startswith(prefix)
            }
            if columns:
                text = ", ".join(f"{name} {value:.3f}" for name, value in columns.items())
                lines.append(f"  {prefix.replace('_', ' '):<11} {text}")
    return lines
