"""Sections about scores: summary, scores at all thresholds, channels, splits and merges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from singula.metrics.summary import MEAN, POOLED
from singula.report.html import (
    Markup,
    count,
    definitions,
    join,
    number,
    percent,
    section,
    table,
    tag,
)
from singula.report.objects import Objects
from singula.representations.channel_table import CHANNELS, channel_title
from singula.runs.run import Run, Stage
from singula.runs.scores import Scores, class_view
from singula.util.format import counted

MATCHING = (
    "An object found and an object in your labels match if their IoU (intersection over union: the "
    "number of shared pixels, divided by the number of pixels in either) reaches the threshold. "
    "Each object has at most one match."
)
RATES = {
    "precision": (
        "Precision",
        "matched ÷ found: the fraction of the objects found that are correct",
    ),
    "recall": (
        "Recall",
        "matched ÷ in your labels: the fraction of the objects in your labels that were found",
    ),
    "f1": (
        "F1",
        "detection score: 2 × matched ÷ (in your labels + found); 1 only if no object is missed or "
        "false",
    ),
    "accuracy": (
        "Accuracy",
        "matched ÷ (matched + missed + false), sometimes called average precision",
    ),
    "panoptic_quality": ("PQ", "panoptic quality: F1 × mean IoU of the matched pairs"),
    "mean_matched_score": ("Matched IoU", "mean IoU of the matched pairs"),
}
_MAX_PLANES = 8  # of a family whose maps have rows of their own
_COUNTS = {
    "n_true": "In your labels", "n_pred": "Found", "tp": "Matched", "fn": "Missed", "fp": "False"
}  # fmt: skip


def headline(run: Run, stage: Stage | None, objects: Mapping[str, Objects]) -> Markup:
    """Return a summary of the result."""
    if stage is None:
        return tag("p", "This run tested no images.", class_="lead")
    facts = objects[stage.key]
    images, pred = len(facts.images), facts.total("n_pred") or 0
    scores = run.scores
    threshold = run.threshold(stage)
    pooled, mean = (scores.row(stage.key, name, threshold) for name in (POOLED, MEAN))
    if threshold is None or not pooled:
        counts = f"{counted(images, 'test image')}, {counted(pred, 'object')} found."
        reason = None
        if not run.has_truth:
            reason = " There are no scores, because the run had no labels."
        elif scores.unannotated(stage.key):
            reason = " There are no scores, because no test image is annotated."
        return tag("p", counts, reason, class_="lead")
    unannotated = len(scores.unannotated(stage.key))
    lead = tag(
        "p",
        f"{counted(images, 'test image')}"
        + (f" ({unannotated} not annotated and not scored), " if unannotated else ", "),
        f"{counted(int(pooled['n_true'] or 0), 'object')} in your labels, ",
        f"{counted(int(pooled['n_pred'] or 0), 'object')} found. ",
        f"An object found is correct if it matches an object in your labels at IoU ≥ {threshold:g} "
        "(the number of shared pixels, divided by the number of pixels in either). All objects of "
        "the test set have the same weight.",
        class_="lead",
    )
    return join((lead, _cards(pooled, mean, facts)))


def _cards(
    pooled: Mapping[str, float | None], mean: Mapping[str, float | None], facts: Objects
) -> Markup:
    split, merging = facts.total("split"), facts.total("merging")
    # Without objects, a fraction is not 0 but undefined.
    recall, precision, shape = (
        pooled[score] if pooled[n_objects] else None
        for score, n_objects in (
            ("recall", "n_true"), ("precision", "n_pred"), ("mean_matched_score", "tp")
        )
    )  # fmt: skip
    cards = [
        _card(
            number(pooled["f1"]),
            "Detection score (F1)",
            "2 × matched ÷ (in your labels + found); 1 if no object is missed or false. ",
            "Mean over images: ",
            number(mean.get("f1")),
        ),
        _card(
            percent(recall),
            "of the objects in your labels found",
            "Recall: ",
            count(pooled["tp"]),
            " of ",
            count(pooled["n_true"]),
            ", ",
            count(pooled["fn"]),
            " missed",
        ),
        _card(
            percent(precision),
            "of the objects found correct",
            "Precision: ",
            count(pooled["tp"]),
            " of ",
            count(pooled["n_pred"]),
            ", ",
            count(pooled["fp"]),
            " false",
        ),
        _card(
            number(shape),
            "mean IoU of matched pairs",
            "accuracy of the shapes of found objects; multiplied by F1, the panoptic quality: ",
            number(pooled["panoptic_quality"]),
        ),
    ]
    if split is not None:
        cards.append(
            _card(
                join((count(split), " / ", count(merging))),
                "split / merging",
                "objects in your labels that are split, and found ones that merge several",
            )
        )
    return tag("div", *cards, class_="cards")


def _card(value: Markup, title: str, *details: object) -> Markup:
    return tag("div", tag("b", value), tag("span", title), tag("small", *details), class_="card")


def score_section(run: Run, stages: Sequence[Stage]) -> Markup | None:
    """Return the scores at all thresholds, pooled over objects and averaged over images."""
    scored = [stage for stage in stages if run.scores.images(stage.key)]
    scored = [stage for stage in scored if run.scores.thresholds(stage.key)]
    if not scored:
        return None
    views = dict.fromkeys(stage.view for stage in scored)
    tables = [_score_tables(run, [s for s in scored if s.view == view]) for view in views]
    meanings = definitions([(head, meaning) for head, meaning in RATES.values()])
    return section(
        "scores",
        "Scores at all thresholds",
        tag("p", MATCHING),
        *tables,
        tag("h3", "What the columns mean"),
        meanings,
        tag(
            "p",
            "Pooled over objects: all objects have the same weight, so crowded images weigh more. "
            "Mean over images: the average of the scores of the images, which have the same "
            "weight. An image without objects in your labels and in the result scores 1. An image "
            "without annotated pixels has no score.",
        ),
    )


def _score_tables(run: Run, stages: Sequence[Stage]) -> Markup:
    """Return the table pooled over objects and the table averaged over images, for a view."""
    scores, both = run.scores, len(stages) > 1
    label = run.stage_label(stages[0]).removesuffix("as decoded").strip(", ")
    parts = [tag("h3", label.capitalize())] if label else []
    for kind, caption in ((POOLED, "Pooled over objects"), (MEAN, "Mean over images")):
        counts = _COUNTS if kind == POOLED else {}
        columns = ["IoU ≥", *(["Result"] if both else [])]
        columns += [head for head, _ in RATES.values()] + list(counts.values())
        rows = []
        for threshold in scores.thresholds(stages[0].key):
            for stage in stages:
                row = scores.row(stage.key, kind, threshold)
                cells: list[object] = [f"{threshold:g}"]
                if both:
                    cells.append("post-processed" if stage.processed else "as decoded")
                cells += [number(row.get(name)) for name in RATES]
                cells += [count(row.get(name)) for name in counts]
                rows.append(cells)
        parts.append(table(caption, columns, rows, text_columns=1 + both))
    return join(parts)


def map_section(run: Run) -> Markup | None:
    """Return the scores of the predicted channels."""
    values = next((m for v in run.scores.rows if (m := run.scores.maps(v, MEAN))), {})
    if not values:
        return None
    titles = {
        "per_patch": "Patches",
        "per_image": "Images from tiles",
        "full_image": "Whole images",
    }
    titles["as_3d_stack"] = "Stack"
    used = {key: title for key, title in titles.items() if any(v.startswith(key) for v in values)}
    kinds = dict.fromkeys(
        name.removeprefix(f"{view}_") for name in values for view in used if name.startswith(view)
    )
    rows = []
    for (title, measure), group in _map_groups(kinds).items():
        row: list[object] = [title, "IoU" if measure == "iou" else "mean absolute error"]
        for view in used:
            scores = [v for kind in group if (v := values.get(f"{view}_{kind}")) is not None]
            row.append(number(sum(scores) / len(scores) if scores else None))
        rows.append(row)
    return section(
        "channels",
        "Predicted channels",
        tag(
            "p",
            "Comparison of the channels that the network predicts with the channels of the ground "
            "truth, averaged over images. IoU: pixels above 0.5 in both, divided by pixels above "
            "0.5 in either (1 is best). Mean absolute error: average difference per pixel (0 is "
            "best). A thin contour has a low IoU even if it looks correct.",
        ),
        table(
            "Channels, mean over images",
            ["Channel", "Score", *used.values()],
            rows,
            text_columns=2,
        ),
    )


def _map_groups(kinds: Iterable[str]) -> dict[tuple[str, str], list[str]]:
    """Return the scores of each row: of a family of many maps, their mean is shown."""
    groups: dict[tuple[str, str], list[str]] = {}
    names = list(kinds)
    families = Counter(_family(name) for name in names)
    for name in names:
        measure, channel = name.split("_", 1)
        family = _family(name)
        if family and families[family] > _MAX_PLANES:
            title = f"{family} (mean of {counted(families[family], 'map')})"
        elif channel == "class":
            title = "class, mean"
        else:
            title = channel_title(channel).replace("_", " ")
        groups.setdefault((title, measure), []).append(name)
    return groups


def _family(name: str) -> str:
    channel = CHANNELS.get(name.split("_", 1)[1])
    return "" if channel is None else str(channel.family)


def split_section(
    run: Run, stages: Sequence[Stage], objects: Mapping[str, Objects]
) -> Markup | None:
    """Return the table of split and merged objects."""
    rows = []
    for stage in stages:
        facts = objects[stage.key]
        if facts.total("split") is None:
            continue
        cells = [count(facts.total(k)) for k in ("n_true", "split", "n_pred", "merging")]
        label = run.stage_label(stage) or "all"
        rows.append([label[0].upper() + label[1:], *cells])
    if not rows:
        return None
    return section(
        "splits",
        "Splits and merges",
        tag(
            "p",
            "Two objects cover each other if they share more than half of the pixels of the "
            "smaller object. An object in your labels is split if two or more objects found cover "
            "it. An object found is merging if it covers two or more objects in your labels. "
            "Neither depends on an IoU threshold.",
        ),
        table(
            "All test images",
            ["Result", "Objects in your labels", "Split", "Objects found", "Merging"],
            rows,
        ),
    )


def class_section(run: Run, stage: Stage, objects: Mapping[str, Objects]) -> Markup | None:
    """Return the counts and scores of the objects of each class."""
    facts = objects[stage.key]
    if not facts.pred_classes and not facts.true_classes:
        return None
    has_truth = bool(facts.truth)
    rows = []
    for kind in sorted({*facts.pred_classes, *facts.true_classes}):
        row: list[object] = [f"class\u00a0{kind}" if kind else "no class"]
        if has_truth:
            row.append(count(facts.true_classes.get(kind, 0)))
        rows.append([*row, count(facts.pred_classes.get(kind, 0))])
    return section(
        "classes",
        "Classes",
        tag(
            "p",
            "The class of an object is the most frequent class of its pixels. For these scores, "
            "only objects of the same class are matched; columns are defined under “Scores”.",
        ),
        table("Objects of each class", ["Class", *["In your labels"] * has_truth, "Found"], rows),
        _class_scores(run.scores, stage),
    )


def _class_scores(scores: Scores, stage: Stage) -> Markup | None:
    """Return the scores of each class, with objects matched within the class."""
    rows = []
    for kind in scores.classes(stage.key):
        view = class_view(stage.key, kind)
        for threshold in scores.thresholds(view):
            row = scores.row(view, POOLED, threshold)
            rates = [number(row.get(name)) for name in RATES]
            counts = [count(row.get(name)) for name in _COUNTS]
            rows.append([f"class\u00a0{kind}", f"{threshold:g}", *rates, *counts])
    if not rows:
        return None
    return table(
        "Scores of each class, pooled over objects",
        ["Class", "IoU ≥", *(head for head, _ in RATES.values()), *_COUNTS.values()],
        rows,
    )
