"""Sections about images and objects: table of images, pictures, sizes and shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from singula.errors import UserError
from singula.report.figures import Series, histogram
from singula.report.html import Markup, bar, collapsible, count, join, number, section, table, tag
from singula.report.maps import draw_maps, stored_maps
from singula.report.matches import MATCH_KINDS, swatch_style
from singula.report.objects import ImageFacts, Objects, shape_columns
from singula.report.pictures import Panel, draw_panels
from singula.runs.images import RunImages
from singula.runs.run import Run, Stage
from singula.util.format import counted

_VISIBLE_ROWS, _MAX_ROWS = 20, 2000
_SHIFTED = (
    " If the sizes or shapes of the objects found differ from those of your labels, their "
    "histogram is shifted or wider."
)
_SMALL = " The circularity of very small objects is imprecise and can exceed 1."
_SHAPE_TEXTS = {
    "npixels": ("Size", "pixels of an object", "voxels of an object"),
    "diameter": (
        "Diameter",
        "longest side of the bounding box, in pixels",
        "longest side of the bounding box, in voxels",
    ),
    "circularity": ("Circularity", "4π · area ÷ perimeter²; 1 for a disk, 0 for a thread", ""),
    "sphericity": ("Sphericity", "", "36π · volume² ÷ surface³; 1 for a ball, 0 for a thread"),
}


def sort_images(run: Run, stage: Stage, objects: Objects) -> list[str]:
    """Return the names of images, the worst first; without scores, the fewest objects first."""
    names = [name for name in run.image_names(stage) if name in objects.images]
    n_scored = len(set(names) & set(run.scores.images(stage.key)))
    return names[:n_scored] + sorted(names[n_scored:], key=lambda n: objects.images[n].n_pred)


def select_images(names: Sequence[str], scored: bool, worst: int = 3) -> dict[str, str]:
    """Select the images to show: the worst, and the images around the median.

    Parameters
    ----------
    names : sequence of str
        All images, the worst first.
    scored : bool
        True if the images are sorted by scores, False if by number of objects.
    worst : int
        Number of worst images.

    Returns
    -------
    dict of str to str
        Title of each selected image.
    """
    first = "Worst" if scored else "Fewest objects"
    titles = {
        name: first if rank == 0 else f"{_ordinal(rank + 1)} {first.lower()}"
        for rank, name in enumerate(names[:worst])
    }
    middle = len(names) // 2
    if len(names) > 2 and names[middle] in titles:
        titles[names[middle]] += ", median"
    for rank in (middle, middle - 1, middle + 1):
        if 0 <= rank < len(names) and names[rank] not in titles:
            titles[names[rank]] = "Median" if rank == middle else "Next to the median"
    if not scored and len(names) > 1:
        titles.setdefault(names[-1], "Most objects")
    return titles


def _ordinal(rank: int) -> str:
    return {2: "Second", 3: "Third"}.get(rank, f"{rank}th")


def table_section(
    run: Run,
    stages: Sequence[Stage],
    objects: Mapping[str, Objects],
    names: Sequence[str],
    links: Mapping[str, str],
) -> Markup:
    """Return the table of all images with their scores.

    Parameters
    ----------
    run : Run
        Finished run.
    stages : sequence of Stage
        Stages; all scores are shown for the first, and only F1 for the others.
    objects : mapping of str to Objects
        Objects of each stage, by its key.
    names : sequence of str
        Images in the order of the table.
    links : mapping of str to str
        Anchor of the pictures of an image, by its name.
    """
    main, others = stages[0], [s for s in stages[1:] if run.scores.thresholds(s.key)]
    thresholds = run.scores.thresholds(main.key)
    threshold = run.threshold(main)
    facts = objects[main.key].images
    has_truth = any(f.n_true is not None for f in facts.values())
    columns = ["Image", *(f"F1 at {t:g}" for t in thresholds)]
    columns += [f"PQ at {threshold:g}"] if threshold is not None else []
    columns += [*["In your labels"] * has_truth, "Found"]
    columns += ["Matched", "Missed", "False"] if threshold is not None else []
    columns += ["Split", "Merging"] * has_truth
    columns += [f"F1 at {threshold:g}, {run.stage_label(stage)}" for stage in others]
    rows, unannotated = [], set(run.scores.unannotated(main.key))
    for name in names[:_MAX_ROWS]:
        shown = tag("a", name, href=f"#{links[name]}") if name in links else name
        if name in unannotated:
            shown = join((shown, " (not annotated)"))
        fact = facts.get(name, ImageFacts(0))
        scores = run.scores.row(main.key, name, threshold) if threshold is not None else None
        row: list[object] = [shown]
        row += [bar(run.scores.row(main.key, name, t).get("f1")) for t in thresholds]
        row += [number(scores.get("panoptic_quality"))] if scores is not None else []
        row += [*[count(fact.n_true)] * has_truth, count(fact.n_pred)]
        row += [count(scores.get(k)) for k in ("tp", "fn", "fp")] if scores is not None else []
        row += [count(fact.split), count(fact.merging)] if has_truth else []
        row += [number(run.scores.row(s.key, name, threshold).get("f1")) for s in others]
        rows.append(row)
    label = run.stage_label(main)
    content: list[object] = [tag("p", _describe_order(threshold, label, bool(rows)))]
    visible = rows[:_VISIBLE_ROWS]
    content.append(table(_qualified("Images", label), columns, visible, class_="images"))
    if len(rows) > _VISIBLE_ROWS:
        others_table = table("More images", columns, rows[_VISIBLE_ROWS:], class_="images")
        title = f"The other {counted(len(rows) - _VISIBLE_ROWS, 'image')}"
        content.append(collapsible(title, others_table))
    if len(names) > _MAX_ROWS:
        hidden = counted(len(names) - _MAX_ROWS, "more image")
        content.append(tag("p", f"{hidden} only in metrics.csv."))
    return section("images", "Images" + (", worst first" if thresholds else ""), *content)


def _qualified(title: str, label: str) -> str:
    return f"{title}, {label}" if label else title


def _describe_order(threshold: float | None, stage: str, any_image: bool) -> str:
    if not any_image:
        return "The run has no stored objects."
    if threshold is None:
        return "There are no scores; images are sorted by number of objects."
    return (
        f"Sorted by F1 at IoU ≥ {threshold:g}{f' ({stage})' if stage else ''}, then by panoptic "
        "quality. F1, detection score: 2 × matched ÷ (in your labels + found). PQ, panoptic "
        "quality: F1 × mean IoU of the matched pairs. Split and merging are defined under “Splits "
        "and merges”."
    )


def picture_section(
    images: RunImages, stages: Sequence[Stage], selected: Mapping[str, str]
) -> tuple[Markup | None, dict[str, str]]:
    """Return the pictures of the selected images, and the anchor of each image.

    Parameters
    ----------
    images : RunImages
        Images, ground truth and instances.
    stages : sequence of Stage
        Stages of one view; the last is compared with the ground truth.
    selected : mapping of str to str
        Result of `select_images`.
    """
    final = stages[-1]
    threshold = images.run.threshold(final) or 0.5
    cases, links = [], {}
    compared = False
    for index, (name, title) in enumerate(selected.items()):
        try:
            case = _panels_of(images, stages, name, threshold)
        except UserError as error:
            images.note(f"{name}: {error.message}")
            continue
        if case is None:
            continue
        pictures, plane = case
        compared = compared or pictures[-1].title == "Compared"
        anchor = f"case-{index}"
        links[name] = anchor
        summary = _summarize(images.run, final, name, threshold, plane)
        figures = [_figure(p, f"{anchor}-{i}", anchor) for i, p in enumerate(pictures)]
        row = tag("div", *figures, class_="row", style=f"--columns:{len(figures)}")
        maps = _map_row(images, final, name, plane) if index == 0 else None
        head = tag("h3", f"{title}: ", tag("span", name, class_="name"), id=anchor)
        cases.append(tag("article", head, tag("p", *summary, class_="about"), row, maps))
    if not cases:
        return None, {}
    return section("pictures", "Pictures", _legend(threshold, compared), *cases), links


def _map_row(
    images: RunImages, stage: Stage, name: str, plane: tuple[int, int] | None
) -> Markup | None:
    """Return the pictures of the network's maps, if the run stored them."""
    instances = images.instances(name, stage) if images.window(name) is None else None
    if instances is None:
        return None
    maps = stored_maps(images.run, name, stage, instances.labels.shape)
    if maps is None:
        return None
    try:
        panels = draw_maps(maps, name, None if plane is None else plane[0])
    except UserError as error:
        images.note(f"{name}: {error.message}")
        return None
    figures = [_figure(panel, f"map-{i}", "pictures") for i, panel in enumerate(panels)]
    text = tag("p", "Maps that the network predicted for this image:", class_="about")
    row = tag("div", *figures, class_="row", style=f"--columns:{min(len(figures), 4)}")
    return join((text, row))


def _panels_of(
    images: RunImages, stages: Sequence[Stage], name: str, threshold: float
) -> tuple[list[Panel], tuple[int, int] | None] | None:
    labels = []
    for stage in stages:
        instances = images.instances(name, stage)
        if instances is not None:
            title = "After post-processing" if stage.processed else "Objects found"
            labels.append((title, instances.labels))
    if not labels:
        return None
    shape = labels[-1][1].shape
    truth = images.truth(name, stages[-1], shape)
    raw = images.raw(name, stages[-1], shape)
    return draw_panels(name, raw, truth.labels if truth is not None else None, labels, threshold)


def _summarize(
    run: Run, stage: Stage, name: str, threshold: float, plane: tuple[int, int] | None
) -> list[object]:
    """Return the scores of an image in a sentence."""
    row = run.scores.row(stage.key, name, threshold)
    parts: list[object] = []
    if row:
        parts = [f"At IoU ≥ {threshold:g}: F1 ", number(row["f1"]), ", ", count(row["tp"])]
        parts += [" matched, ", count(row["fn"]), " missed, ", count(row["fp"]), " false."]
    if plane is not None:
        parts.append(
            f" Slice {plane[0] + 1} of {plane[1]}, with the most labeled pixels; the numbers "
            "describe the whole volume."
            if row
            else f" Slice {plane[0] + 1} of {plane[1]}, with the most labeled pixels."
        )
    return parts


def _legend(threshold: float, compared: bool) -> Markup:
    if not compared:
        return tag("p", "Each object has a different color.")
    keys = [
        tag("li", tag("i", class_="swatch", style=swatch_style(kind)), kind.label)
        for kind in MATCH_KINDS
    ]
    text = (
        "Objects in your labels and objects found that match have the same color. Click a "
        f"picture to enlarge it. Colors of the last picture, at IoU ≥ {threshold:g}:"
    )
    return join((tag("p", text), tag("ul", *keys, class_="keys")))


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


def shape_section(run: Run, stage: Stage, objects: Objects, ndim: int) -> Markup | None:
    """Return histograms of the sizes and shapes of true and predicted objects."""
    charts, rows = [], []
    for column in shape_columns(ndim):
        title, *meanings = _SHAPE_TEXTS[column]
        ratio = column in ("circularity", "sphericity")
        sides = (("your labels", "truth", 0), ("found", "pred", 1))
        series = [Series(name, style, objects.values(side, column)) for name, side, style in sides]
        series = [s for s in series if len(s.x)]
        if not series:
            continue
        charts.append(histogram(title, meanings[ndim - 2], series))
        for s in series:
            percentiles = np.percentile(s.x, (5, 50, 95))
            shown = [number(v, 2) if ratio else count(v) for v in percentiles.tolist()]
            rows.append([title, s.name, *shown])
    if not charts:
        return None
    return section(
        "shapes",
        "Sizes and shapes",
        tag(
            "p",
            _qualified("All objects of the test set", run.stage_label(stage)) + ".",
            _SHIFTED if objects.truth else None,
            _SMALL if ndim == 2 else None,
        ),
        tag("div", *charts, class_="charts"),
        table(
            "Percentiles over all objects",
            ["Property", "Objects", "5 %", "Median", "95 %"],
            rows,
            text_columns=2,
        ),
    )
