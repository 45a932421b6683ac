"""Sections with numbers: headline, scores at every threshold, channels, splits and merges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from singula.evaluate.summary import MEAN, POOLED
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
from singula.report.run_files import RunFiles, Scores, Stage, class_view, reference_threshold

MATCHING = (
    "A predicted and a true object match if their IoU (intersection over union: the pixels that "
    "they share, divided by the pixels of both together) reaches the threshold. Each object has at "
    "most one partner."
)
RATES = {
    "precision": ("Precision", "matched ÷ predicted: how much of what was predicted is right"),
    "recall": ("Recall", "matched ÷ true: how much of what is there was found"),
    "f1": ("F1", "2 × matched ÷ (true + predicted); 1 only if all is found and nothing is false"),
    "accuracy": (
        "Accuracy",
        "matched ÷ (matched + missed + false), elsewhere sometimes called average precision",
    ),
    "panoptic_quality": ("PQ", "panoptic quality: F1 × mean IoU of the matched pairs"),
    "mean_matched_score": ("Matched IoU", "mean IoU of the matched pairs"),
}
_COUNTS = {"n_true": "True", "n_pred": "Predicted", "tp": "Matched", "fn": "Missed", "fp": "False"}


def headline(files: RunFiles, stage: Stage | None, objects: Mapping[str, Objects]) -> Markup:
    """The result in a few words."""
    if stage is None:
        return tag("p", "This run tested no images.", class_="lead")
    facts = objects[stage.key]
    images, pred = len(facts.images), facts.total("n_pred") or 0
    scores = files.scores
    threshold = reference_threshold(scores.thresholds(stage.key))
    pooled, mean = (scores.row(stage.key, name, threshold) for name in (POOLED, MEAN))
    if threshold is None or not pooled:
        words = f"{_plural(images, 'test image')}, {_plural(pred, 'predicted object')}."
        why = " There are no scores, because the run had no truth to compare with."
        return tag("p", words, why if not files.has_truth else None, class_="lead")
    lead = tag(
        "p",
        f"{_plural(images, 'test image')}, ",
        f"{_plural(int(pooled['n_true'] or 0), 'true object')}, ",
        f"{_plural(int(pooled['n_pred'] or 0), 'predicted object')}. ",
        f"A predicted object counts as right where it matches a true one at IoU ≥ {threshold:g} "
        "(the pixels that they share, divided by the pixels of both together). All objects of the "
        "test set count alike here.",
        class_="lead",
    )
    return join((lead, _cards(pooled, mean, facts)))


def _cards(
    pooled: Mapping[str, float | None], mean: Mapping[str, float | None], facts: Objects
) -> Markup:
    cut, run_together = facts.total("split"), facts.total("merging")
    cards = [
        _card(
            number(pooled["f1"]),
            "F1",
            "2 × matched ÷ (true + predicted); 1 if all is found and nothing is false. ",
            "Mean over images: ",
            number(mean.get("f1")),
        ),
        _card(
            percent(pooled["recall"]),
            "of the true objects found",
            "Recall: ",
            count(pooled["tp"]),
            " of ",
            count(pooled["n_true"]),
            ", ",
            count(pooled["fn"]),
            " missed",
        ),
        _card(
            percent(pooled["precision"]),
            "of the predicted objects right",
            "Precision: ",
            count(pooled["tp"]),
            " of ",
            count(pooled["n_pred"]),
            ", ",
            count(pooled["fp"]),
            " false",
        ),
        _card(
            number(pooled["mean_matched_score"]),
            "mean IoU of matched pairs",
            "how well found objects fit; times F1 it is the panoptic quality: ",
            number(pooled["panoptic_quality"]),
        ),
    ]
    if cut is not None:
        cards.append(
            _card(
                join((count(cut), " / ", count(run_together))),
                "split / merging",
                "true objects in several pieces, and predictions that run several together",
            )
        )
    return tag("div", *cards, class_="cards")


def _card(value: Markup, words: str, *more: object) -> Markup:
    return tag("div", tag("b", value), tag("span", words), tag("small", *more), class_="card")


def _plural(how_many: int, words: str) -> str:
    number_words = f"{how_many:,}".replace(",", "\u202f")
    return f"{number_words} {words}{'' if how_many == 1 else 's'}"


def score_section(files: RunFiles, stages: Sequence[Stage]) -> Markup | None:
    """Every threshold, over objects and over images, post-processed beside as decoded."""
    scored = [stage for stage in stages if files.scores.thresholds(stage.key)]
    if not scored:
        return None
    views = dict.fromkeys(stage.view for stage in scored)
    tables = [_score_tables(files, [s for s in scored if s.view == view]) for view in views]
    meanings = definitions([(head, meaning) for head, meaning in RATES.values()])
    return section(
        "scores",
        "Scores at every threshold",
        tag("p", MATCHING),
        *tables,
        tag("h3", "What the columns mean"),
        meanings,
        tag(
            "p",
            "Pooled over objects: all objects as if of one image, so crowded images weigh more. "
            "Mean over images: the score of each image, averaged; images weigh alike. An image "
            "with no object in truth and prediction scores 1.",
        ),
    )


def _score_tables(files: RunFiles, stages: Sequence[Stage]) -> Markup:
    """A table over objects and one over images for a view."""
    scores, both = files.scores, len(stages) > 1
    words = files.words(stages[0]).removesuffix("as decoded").strip(", ")
    made = [tag("h3", words.capitalize())] if words else []
    for kind, caption in ((POOLED, "Pooled over objects"), (MEAN, "Mean over images")):
        counts = _COUNTS if kind == POOLED else {}
        columns = ["IoU ≥", *(["Instances"] if both else [])]
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
        made.append(table(caption, columns, rows, text_columns=1 + both))
    return join(made)


def map_section(files: RunFiles) -> Markup | None:
    """How well the network's channels agree with their targets."""
    values = next((m for v in files.scores.rows if (m := files.scores.maps(v, MEAN))), {})
    if not values:
        return None
    places = {"per_patch": "Patches", "per_image": "Joined images", "full_image": "Whole images"}
    places["as_3d_stack"] = "Stack"
    used = {key: words for key, words in places.items() if any(v.startswith(key) for v in values)}
    kinds = dict.fromkeys(
        name.removeprefix(f"{place}_")
        for name in values
        for place in used
        if name.startswith(place)
    )
    rows = []
    for kind in kinds:
        measure, channel = kind.split("_", 1)
        words = channel.replace("_", " ") if channel != "class" else "class, mean"
        row: list[object] = [words, "IoU" if measure == "iou" else "mean absolute error"]
        rows.append([*row, *(number(values.get(f"{place}_{kind}")) for place in used)])
    return section(
        "channels",
        "Predicted channels",
        tag(
            "p",
            "Before any object is made: how well the network's channels agree with those made "
            "from the truth, averaged over images. IoU: pixels above 0.5 in both, divided by "
            "pixels above 0.5 in either (1 is best). Mean absolute error: average difference per "
            "pixel (0 is best). A thin contour has a low IoU even where it looks right.",
        ),
        table(
            "Channels, mean over images",
            ["Channel", "Score", *used.values()],
            rows,
            text_columns=2,
        ),
    )


def split_section(
    files: RunFiles, stages: Sequence[Stage], objects: Mapping[str, Objects]
) -> Markup | None:
    """How many objects were cut or run together."""
    rows = []
    for stage in stages:
        facts = objects[stage.key]
        if facts.total("split") is None:
            continue
        cells = [count(facts.total(k)) for k in ("n_true", "split", "n_pred", "merging")]
        words = files.words(stage) or "all"
        rows.append([words[0].upper() + words[1:], *cells])
    if not rows:
        return None
    return section(
        "splits",
        "Splits and merges",
        tag(
            "p",
            "Two objects cover each other if they share more than half of the pixels of the "
            "smaller one. A true object is split if two or more predicted objects cover it; a "
            "predicted object is merging if it covers two or more true ones. This does not depend "
            "on an IoU threshold.",
        ),
        table(
            "All test images",
            ["Instances", "True objects", "of them split", "Predicted", "of them merging"],
            rows,
        ),
    )


def class_section(files: RunFiles, stage: Stage, objects: Mapping[str, Objects]) -> Markup | None:
    """Objects of each class."""
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
            "The class of an object is the most frequent class of its pixels. In the scores, "
            "objects are matched with objects of the same class alone; the columns are those "
            "under “Scores”.",
        ),
        table("Objects of each class", ["Class", *["True"] * has_truth, "Predicted"], rows),
        _class_scores(files.scores, stage),
    )


def _class_scores(scores: Scores, stage: Stage) -> Markup | None:
    """Matching of the objects of each class by themselves."""
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
