"""Sections about the run: training, thresholds, time and memory, configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np

from singula.report.figures import Series, line_chart
from singula.report.html import Markup, collapsible, count, join, section, table, tag
from singula.representations.channel_table import channel_title
from singula.representations.thresholds import THRESHOLDS
from singula.runs.run import Run
from singula.training.charts import learning_curves
from singula.util.format import counted

_SOURCES = {
    "user": "you",
    "tuned": "singula tune",
    "generated": "Singula's proposal",
    "automatic": "automatic",
    "default": "default",
}
_PARTS = {"train": ("training", 0), "val": ("validation", 1)}
_SECONDS = {
    "start": "Start (configuration, device)",
    "digests": "Digests of the images",
    "training": "Training",
    "test": "Test",
    "prediction": "prediction by the network",
    "decoding": "from channels to instances",
    "post-processing": "post-processing",
    "scoring": "scores and pictures",
}


def facts(run: Run) -> Markup:
    """Return the facts about the run in a line below the title."""
    config, summary = run.config, run.summary
    parts = [
        config.PROBLEM.NDIM,
        f"channels {config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS}",
        config.MODEL.ARCHITECTURE,
    ]
    if summary.training is not None and summary.training.epochs is not None:
        parts.append(counted(summary.training.epochs, "epoch"))
    if "device" in summary.machine:
        precision = f", precision {summary.precision}" if summary.precision else ""
        parts.append(f"on {summary.machine['device']}{precision}")
    version = summary.versions.get("singula")
    parts += [f"Singula {version}"] if version else []
    finished = summary.finished[:16].replace("T", " ")
    parts += [f"finished {finished} UTC"] if finished else []
    return tag("p", " · ".join(part for part in parts if part), class_="facts")


def training_section(run: Run) -> Markup | None:
    """Return charts of loss and metrics over the epochs."""
    history = run.history
    if not history:
        return None
    charts = training_charts(history)
    note = None
    if run.summary.training is None:
        note = tag(
            "p", "These curves are from an earlier run in this folder; this run did not train."
        )
    return section(
        "training",
        "Training",
        note,
        tag(
            "p",
            "Loss: the value that training minimizes. IoU: pixels above 0.5 in prediction and "
            "target, divided by pixels above 0.5 in either. Validation images are not used to "
            "train the network. If the validation loss rises while the training loss falls, the "
            "network overfits. Training images are augmented at random and scored before the "
            "end of each epoch, so their scores may be worse than those of validation.",
        ),
        tag("div", *charts, class_="charts"),
    )


def training_charts(history: Sequence[Mapping[str, float]]) -> list[Markup]:
    """Return a chart for the loss and each metric, for training and validation over the epochs."""
    charts = []
    for name, parts in learning_curves(history).items():
        series = [
            Series(*_PARTS[part], np.array(epochs), np.array(values))
            for part, (epochs, values) in parts.items()
        ]
        charts.append(line_chart(_metric_title(name), "epoch", series))
    return charts


def _metric_title(name: str) -> str:
    kind, _, channel = name.partition("_")
    if kind in ("iou", "mae") and channel:
        text = "IoU" if kind == "iou" else "Mean absolute error"
        return f"{text} of channel {channel_title(channel)}"
    return name.replace("_", " ").capitalize()


def threshold_section(run: Run) -> Markup | None:
    """Return the table of the thresholds used to decode the instances."""
    used, sources = run.test.thresholds, run.test.threshold_sources
    if not used:
        return None
    into_contour = run.config.PROBLEM.INSTANCE_SEG.GROW_INTO_CONTOUR
    matter = run.config.decoder.threshold_names(into_contour=into_contour)
    names = dict.fromkeys(name for image in used.values() for name in image)
    rows = []
    for name in names:
        threshold = THRESHOLDS.get(name)
        if sources and name not in sources:
            continue
        if threshold and name not in matter:
            continue
        values = [v for image in used.values() if (v := image.get(name)) is not None]
        if not values:
            continue
        low, middle, high = min(values), float(np.median(values)), max(values)
        source = _SOURCES.get(sources.get(name, ""), "–")
        numbers = (f"{v:.3f}" for v in (low, middle, high))
        rows.append([name, threshold.meaning if threshold else "", source, *numbers])
    return section(
        "thresholds",
        "Thresholds used",
        tag(
            "p",
            "Automatic thresholds are computed for each image by Otsu's method, which divides the "
            "histogram of the channel in two. Your own values override values from singula tune, "
            "which override values that Singula proposed.",
        ),
        table(
            "Over the test images",
            ["Threshold", "Meaning", "Set by", "Minimum", "Median", "Maximum"],
            rows,
            text_columns=3,
        ),
    )


def cost_section(run: Run) -> Markup | None:
    """Return the table of the duration and the memory of each stage."""
    seconds = run.summary.seconds
    if not seconds:
        return None
    memory = run.summary.peak_memory_mb_after
    columns = ["Stage", "Time", *["Peak memory until then"] * bool(memory)]
    rows, in_test = [], False
    for name, value in seconds.items():
        title = _SECONDS.get(name, name.replace("_", " "))
        head = tag("th", title, scope="row", class_="part" if in_test else None)
        row: list[object] = [head, tag("data", _duration(value), value=value)]
        rows.append([*row, *[_mebibytes(memory.get(name))] * bool(memory)])
        in_test = in_test or name == "test"
    peak = run.summary.peak_memory_mb
    return section(
        "costs",
        "Time and memory",
        tag("p", f"Peak memory of the process: {_mebibytes(peak)}.") if peak else None,
        table("Stages of the run; indented stages are part of the test", columns, rows),
    )


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _mebibytes(value: float | None) -> str:
    if not value:
        return "–"
    return f"{value / 1024:.2f} GiB" if value >= 1024 else f"{value:.0f} MiB"


def setup_section(run: Run) -> Markup:
    """Return the configuration and the versions, in collapsible tables."""
    summary = run.summary
    configuration = summary.configuration
    keys = table(
        "All keys with their values, including defaults",
        ["Key", "Value"],
        [[name, tag("code", _plain(value))] for name, value in configuration.items()],
        text_columns=2,
    )
    about: dict[str, object] = dict(summary.versions)
    about |= {f"machine: {k}": v for k, v in summary.machine.items()}
    about |= {
        k: getattr(summary, k) for k in ("seed", "precision") if k in summary.model_fields_set
    }
    training = dict(summary.training) if summary.training is not None else {}
    about |= {
        f"training: {k.replace('_', ' ')}": v
        for k, v in training.items()
        if v and not isinstance(v, dict | list)
    }
    versions = table(
        "Versions and machine",
        ["Name", "Value"],
        [[name, tag("code", _plain(value))] for name, value in about.items()],
        text_columns=2,
    )
    return section(
        "setup",
        "Configuration and versions",
        collapsible(join(("Configuration (", count(len(configuration)), " keys)")), keys),
        collapsible("Versions and machine", versions),
        tag("p", "Folder of the run: ", tag("code", str(run.tree.run))),
    )


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
