"""Sections with images and objects: the table of images, pictures, sizes and shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from singula.errors import UserError
from singula.report.figures import Series, histogram
from singula.report.html import Markup, bar, count, folded, join, number, section, table, tag
from singula.report.objects import ImageFacts, Objects, shape_columns
from singula.report.pictures import Panel, layers, panels
from singula.report.run_files import RunFiles, Stage, ranked, reference_threshold
from singula.report.sources import Sources
from singula.words import counted

_SHOWN, _MOST = 20, 2000
_SHIFTED = (
    " Predictions that are too small, too large or of another shape than the truth show as a "
    "shifted or wider histogram."
)
_SMALL = " The circularity of very small objects is coarse and can exceed 1."
_WORDS = {
    "npixels": ("Size", "pixels of an object", "voxels of an object"),
    "diameter": (
        "Diameter",
        "longest side of the bounding box, in pixels",
        "longest side of the bounding box, in voxels",
    ),
    "circularity": ("Circularity", "4π · area ÷ perimeter²; a disk has 1, a thread 0", ""),
    "sphericity": ("Sphericity", "", "36π · volume² ÷ surface³; a ball has 1, a thread 0"),
}


def order(files: RunFiles, stage: Stage, objects: Objects) -> list[str]:
    """Images, the worst first; without scores those with fewest objects first."""
    scored = [name for name in ranked(files.scores, stage.key) if name in objects.images]
    others = [name for name in objects.images if name not in set(scored)]
    return scored + sorted(others, key=lambda name: objects.images[name].n_pred)


def chosen(names: Sequence[str], scored: bool, worst: int = 3) -> dict[str, str]:
    """Which images to show, and as what: the worst and those in the middle of the order."""
    first = "Worst" if scored else "Fewest objects"
    picked = {
        name: first if place == 0 else f"{_ordinal(place + 1)} {first.lower()}"
        for place, name in enumerate(names[:worst])
    }
    middle = len(names) // 2
    if len(names) > 2 and names[middle] in picked:
        picked[names[middle]] += ", median"
    nearby = [middle, middle - 1, middle + 1]
    for place in nearby:
        if 0 <= place < len(names) and names[place] not in picked:
            picked[names[place]] = "Median" if place == middle else "Beside the median"
    if not scored and len(names) > 1:
        picked.setdefault(names[-1], "Most objects")
    return picked


def _ordinal(place: int) -> str:
    return {2: "Second", 3: "Third"}.get(place, f"{place}th")


def table_section(
    files: RunFiles,
    stages: Sequence[Stage],
    objects: Mapping[str, Objects],
    names: Sequence[str],
    links: Mapping[str, str],
) -> Markup:
    """Every image with its scores.

    Parameters
    ----------
    files : RunFiles
    stages : sequence of Stage
        The first one leads; of the others the F1 stands beside.
    objects : mapping of str to Objects
    names : sequence of str
        Images in the order of the table.
    links : mapping of str to str
        Image → anchor of its pictures.
    """
    main, others = stages[0], [s for s in stages[1:] if files.scores.thresholds(s.key)]
    thresholds = files.scores.thresholds(main.key)
    threshold = reference_threshold(thresholds)
    facts = objects[main.key].images
    has_truth = any(f.n_true is not None for f in facts.values())
    columns = ["Image", *(f"F1 at {t:g}" for t in thresholds)]
    columns += [f"PQ at {threshold:g}"] if threshold is not None else []
    columns += [*["True"] * has_truth, "Predicted"]
    columns += ["Matched", "Missed", "False"] if threshold is not None else []
    columns += ["Split", "Merging"] * has_truth
    columns += [f"F1 at {threshold:g}, {files.words(stage)}" for stage in others]
    rows = []
    for name in names[:_MOST]:
        shown = tag("a", name, href=f"#{links[name]}") if name in links else name
        fact = facts.get(name, ImageFacts(0))
        scores = files.scores.row(main.key, name, threshold) if threshold is not None else None
        row: list[object] = [shown]
        row += [bar(files.scores.row(main.key, name, t).get("f1")) for t in thresholds]
        row += [number(scores.get("panoptic_quality"))] if scores is not None else []
        row += [*[count(fact.n_true)] * has_truth, count(fact.n_pred)]
        row += [count(scores.get(k)) for k in ("tp", "fn", "fp")] if scores is not None else []
        row += [count(fact.split), count(fact.merging)] if has_truth else []
        row += [number(files.scores.row(s.key, name, threshold).get("f1")) for s in others]
        rows.append(row)
    made: list[object] = [tag("p", _order_words(threshold, files.words(main), bool(rows)))]
    made.append(table(_with("Images", files.words(main)), columns, rows[:_SHOWN], class_="images"))
    if len(rows) > _SHOWN:
        rest = table("Further images", columns, rows[_SHOWN:], class_="images")
        made.append(folded(f"The other {counted(len(rows) - _SHOWN, 'image')}", rest))
    if len(names) > _MOST:
        made.append(tag("p", f"{counted(len(names) - _MOST, 'more image')} in metrics.csv alone."))
    return section("images", "Images" + (", worst first" if thresholds else ""), *made)


def _with(words: str, more: str) -> str:
    return f"{words}, {more}" if more else words


def _order_words(threshold: float | None, stage: str, any_image: bool) -> str:
    if not any_image:
        return "No instances are left of this run."
    if threshold is None:
        return "Without scores, the images with fewest objects come first."
    return (
        f"In order of F1 at IoU ≥ {threshold:g}{f' ({stage})' if stage else ''}, then of panoptic "
        "quality. F1: 2 × matched ÷ (true + predicted). PQ, panoptic quality: F1 × mean IoU of "
        "the matched pairs. Split and merging are defined under “Splits and merges”."
    )


def picture_section(
    files: RunFiles, sources: Sources, stages: Sequence[Stage], picked: Mapping[str, str]
) -> tuple[Markup | None, dict[str, str]]:
    """The worst and the median images side by side; and where each image's pictures stand.

    Parameters
    ----------
    files : RunFiles
    sources : Sources
    stages : sequence of Stage
        Of one view; the last one is compared with the truth.
    picked : mapping of str to str
        Image → why it is shown.
    """
    final = stages[-1]
    threshold = reference_threshold(files.scores.thresholds(final.key)) or 0.5
    cases, links = [], {}
    compared = False
    for place, (name, why) in enumerate(picked.items()):
        try:
            found = _case(sources, stages, name, threshold)
        except UserError as error:
            sources.note(f"{name}: {error.message}")
            continue
        if found is None:
            continue
        made, plane = found
        compared = compared or made[-1].title == "Compared"
        anchor = f"case-{place}"
        links[name] = anchor
        about = _about(files, final, name, threshold, plane)
        figures = [_figure(p, f"{anchor}-{i}", anchor) for i, p in enumerate(made)]
        row = tag("div", *figures, class_="row", style=f"--columns:{len(figures)}")
        head = tag("h3", f"{why}: ", tag("span", name, class_="name"), id=anchor)
        cases.append(tag("article", head, tag("p", *about, class_="about"), row))
    if not cases:
        return None, {}
    return section("pictures", "Pictures", _legend(threshold, compared), *cases), links


def _case(
    sources: Sources, stages: Sequence[Stage], name: str, threshold: float
) -> tuple[list[Panel], tuple[int, int] | None] | None:
    labels = []
    for stage in stages:
        image = sources.instances(name, stage)
        if image is not None:
            words = "After post-processing" if stage.processed else "Instances"
            labels.append((words, image.array[..., 0]))
    if not labels:
        return None
    truth = sources.truth(name, stages[-1])
    raw = sources.raw(name, stages[-1])
    found = layers(
        raw.array if raw is not None else None,
        truth[..., 0] if truth is not None else None,
        tuple(labels),
        threshold,
    )
    return panels(name, found), found.plane


def _about(
    files: RunFiles, stage: Stage, name: str, threshold: float, plane: tuple[int, int] | None
) -> list[object]:
    """The image's numbers in a line."""
    row = files.scores.row(stage.key, name, threshold)
    words: list[object] = []
    if row:
        words = [f"At IoU ≥ {threshold:g}: F1 ", number(row["f1"]), ", ", count(row["tp"])]
        words += [" matched, ", count(row["fn"]), " missed, ", count(row["fp"]), " false."]
    if plane is not None:
        words.append(
            f" Slice {plane[0] + 1} of {plane[1]}, the fullest; the numbers are the volume's."
            if row
            else f" Slice {plane[0] + 1} of {plane[1]}, the fullest."
        )
    return words


def _legend(threshold: float, compared: bool) -> Markup:
    if not compared:
        return tag("p", "Each object has its own colour.")
    kinds = (
        ("tp", "green: prediction that matches a true object"),
        ("fn", "red: true object that was missed"),
        ("fp", "blue: prediction without a true object"),
        ("fnfp", "magenta: missed object under a false prediction"),
        ("fntp", "yellow: missed object under a prediction of another one"),
    )
    keys = [tag("li", tag("i", class_=f"swatch {k}"), words) for k, words in kinds]
    before = (
        "Each object has its own colour; colours in truth and prediction are not related. A "
        f"picture grows when it is clicked. In the last one, at IoU ≥ {threshold:g}:"
    )
    return join((tag("p", before), tag("ul", *keys, class_="keys")))


def _figure(panel: Panel, anchor: str, back: str) -> Markup:
    width, height = panel.size
    picture = tag(
        "img",
        src=Markup(panel.source),
        alt=panel.alt,
        width=width,
        height=height,
        class_="small" if max(width, height) < 200 else None,
    )
    large = tag("a", picture, href=f"#{anchor}", aria_label=f"Enlarge: {panel.alt}")
    close = tag("a", "✕ close", href=f"#{back}", class_="close")
    return tag("figure", close, tag("figcaption", panel.title), large, id=anchor, class_="panel")


def shape_section(files: RunFiles, stage: Stage, objects: Objects, ndim: int) -> Markup | None:
    """Histograms of the objects' sizes and shapes, truth against prediction."""
    charts, rows = [], []
    for column in shape_columns(ndim):
        title, *meanings = _WORDS[column]
        ratio = column in ("circularity", "sphericity")
        sides = (("truth", "truth", 0), ("predicted", "pred", 1))
        series = [Series(words, look, objects.values(side, column)) for words, side, look in sides]
        series = [one for one in series if len(one.x)]
        if not series:
            continue
        charts.append(histogram(title, meanings[ndim - 2], series))
        for one in series:
            middle = np.percentile(one.x, (5, 50, 95))
            shown = [number(v, 2) if ratio else count(v) for v in middle.tolist()]
            rows.append([title, one.name, *shown])
    if not charts:
        return None
    return section(
        "shapes",
        "Sizes and shapes",
        tag(
            "p",
            _with("All objects of the test set", files.words(stage)) + ".",
            _SHIFTED if objects.truth else None,
            _SMALL if ndim == 2 else None,
        ),
        tag("div", *charts, class_="charts"),
        table(
            "Below the first number lie 5 % of the objects",
            ["Measure", "Objects", "5 %", "Median", "95 %"],
            rows,
            text_columns=2,
        ),
    )
