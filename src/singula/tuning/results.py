"""Search for thresholds, and its results as tables and chart."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from singula.io.record_tables import write_table
from singula.io.records.tables import TrialRow
from singula.io.write import write_csv
from singula.metrics import score_rows
from singula.pipeline import from_config
from singula.pipeline.postprocess import PostSettings, process_instances, seed_filter
from singula.pipeline.thresholds import configured
from singula.tuning.chart import draw_search
from singula.tuning.trial import METRICS, Example, Steps, Trial
from singula.tuning.tuner import Tuner
from singula.util.arguments import instance
from singula.util.format import counted, grouped

if TYPE_CHECKING:
    from singula.config import Config

_log = logging.getLogger(__name__)
_TITLES = {
    "panoptic_quality": "mean panoptic quality",
    "f1": "mean F1",
    "precision": "mean precision",
    "recall": "mean recall",
    "tp": "matched objects",
    "fp": "false objects",
    "fn": "missed objects",
}
_GOALS = {"pq": "mean panoptic quality", "f1": "mean F1"}
_INTERVAL = 5.0  # seconds between notices


@dataclass(frozen=True)
class TuneResult:
    """Result of a tuning.

    Parameters
    ----------
    before, after : Trial
        Configured thresholds, and the best trial; equal if no trial was better.
    thresholds : dict
        Best thresholds by configuration key without prefix, without automatic thresholds; TH_TYPE
        is included if it applies to all thresholds.
    start : dict
        Configured values of the searched parameters; automatic thresholds have their mean.
    th_type : str
        ``manual`` if all searched thresholds are configured, else ``auto``.
    trials : list of Trial
        All trials.
    metric : str
        ``pq`` or ``f1``.
    iou : float
        Threshold of the IoU.
    files : dict of str to Path
        ``table``, ``trials``, ``configuration`` and, with two parameters or more, ``picture``.
    saved : Path, optional
        Checkpoint to which the thresholds were written.
    """

    before: Trial
    after: Trial
    thresholds: dict[str, Any]
    start: dict[str, float]
    th_type: str
    trials: list[Trial]
    metric: str
    iou: float
    files: dict[str, Path]
    saved: Path | None = None

    @property
    def has_match(self) -> bool:
        """True if an object matches the labels with any setting."""
        return max(trial.value for trial in self.trials) > 0

    @property
    def details(self) -> dict[str, Any]:
        """Objective of the search and its scores, to store with the thresholds."""
        before, after = (
            float(getattr(trial.score, METRICS[self.metric])) for trial in (self.before, self.after)
        )
        return {"metric": self.metric, "iou": self.iou, "before": before, "after": after}


def make_tuner(
    examples: Sequence[Example], post: PostSettings, config: Config, metric: str, iou: float
) -> Tuner:
    """Return a tuner with the configured decoding and steps.

    Parameters
    ----------
    examples : sequence of Example
        Images with maps and ground truth.
    post : PostSettings
        Steps other than decoding.
    config : Config
        Configuration of the run.
    metric, iou
        As for `singula.tune`.
    """
    return Tuner(
        examples,
        config.decoder,
        from_config.decode_settings(config),
        metric=metric,
        iou=iou,
        steps=_steps(post),
    )


def search_thresholds(tuner: Tuner, config: Config, folder: Path) -> TuneResult:
    """Search the best thresholds, and write the tables and the chart.

    Parameters
    ----------
    tuner : Tuner
        Images with their maps.
    config : Config
        Configuration with the thresholds before the search.
    folder : Path
        Folder to write to.
    """
    n_validation = sum(not example.training for example in tuner.examples)
    images = counted(n_validation, "validation image")
    if n_validation < len(tuner.examples):
        images += f" and {counted(len(tuner.examples) - n_validation, 'training image')}"
    _log.info(f"searching for the best {_goal(tuner)} on {images}")
    trials, after = tuner.search(_Progress(tuner))
    thresholds = {**configured(config), **after.thresholds}
    start = tuner.start()
    searched = {p.key: start[p.key] for p in tuner.parameters()}
    files = _write(folder, tuner, trials, after, start)
    result = TuneResult(
        trials[0], after, thresholds, searched, _type(tuner), trials, tuner.metric, tuner.iou, files
    )
    if not result.has_match:
        _log.warning(
            f"all {counted(len(trials), 'setting')} score 0: no object matches the labels with any "
            "thresholds, so none are saved; train longer, or compare the predicted maps with the "
            "labels"
        )
    return result


def _steps(post: PostSettings) -> Steps:
    """Return the configured steps other than decoding."""

    def instances(labels: Any, maps: Any, sizes: Any) -> Any:
        processed = process_instances(labels, maps, measured, sizes)
        return labels if processed.labels is None else processed.labels

    def seeds(labels: Any, sizes: Any) -> Any:
        change = seed_filter(post, sizes)
        return labels if change is None else change(labels)

    measured = replace(post, measure=bool(post.conditions))
    return Steps(
        seeds if post.close_radius is not None else None,
        instances if post.has_own_result else None,
    )


def _type(tuner: Tuner) -> str:
    """Return "auto" if a searched threshold is configured as automatic, else "manual"."""
    return "auto" if any(map(tuner.settings.is_automatic, chain(*tuner.groups()))) else "manual"


class _Progress:
    """Function that reports the progress of a search at intervals."""

    def __init__(self, tuner: Tuner) -> None:
        self.tuner = tuner
        self.last = time.monotonic()

    def __call__(self, count: int, best: float) -> None:
        if count % 50 == 0 or time.monotonic() - self.last > _INTERVAL:
            self.last = time.monotonic()
            total = self.tuner.n_expected
            of = f"{grouped(count)} of about " if count < total else ""
            number = counted(max(count, total), "setting")
            _log.info(f"  {of}{number} tried, best {best:.4f}")


def _goal(tuner: Tuner) -> str:
    return f"{_GOALS[tuner.metric]} at IoU {tuner.iou:g}"


def _write(
    folder: Path, tuner: Tuner, trials: list[Trial], after: Trial, start: dict[str, float]
) -> dict[str, Path]:
    """Write the tables and the chart."""
    rows = [
        {"setting": setting, **row}
        for setting, trial in (("before", trials[0]), ("after", after))
        for row in _score_rows(tuner, trial)
    ]
    files = {"table": write_csv(folder / "tuning.csv", rows)}
    tried = [
        {
            **{"TH_TYPE": _type(tuner), **trial.thresholds},
            **{name: getattr(trial.score, field) for name, field in METRICS.items()},
            **{name: getattr(trial.score, name) for name in ("precision", "recall")},
            "searched": trial.value,
            "chosen": int(trial is after),
        }
        for trial in trials
    ]
    files["trials"] = write_table(folder / "trials.csv", tried, TrialRow)
    picture = draw_search(trials, after, start, _goal(tuner), folder / "tuning.png")
    if picture is not None:
        files["picture"] = picture
    return files


def _score_rows(tuner: Tuner, trial: Trial) -> list[dict[str, object]]:
    """Return rows of the validation images, their mean and pool, then of the training images."""
    pairs = list(zip(tuner.examples, trial.images, strict=True))
    validation = {example.name: [score] for example, score in pairs if not example.training}
    training = {example.name: [score] for example, score in pairs if example.training}
    return score_rows(validation) + score_rows(training)[: len(training)]


def result_lines(result: TuneResult) -> list[str]:
    """Return a table of the thresholds and scores before and after the tuning, as lines of text.

    Raise `TypeError` if `result` is not a `TuneResult`.
    """
    result = instance(result, "result", TuneResult)
    rows = [("", "before", "after")]
    rows.append(("TH_TYPE", result.th_type, str(result.thresholds.get("TH_TYPE", result.th_type))))
    for key, value in result.start.items():
        rows.append((key, f"{value:.3g}", f"{result.thresholds.get(key, value):.3g}"))
    for name, title in _TITLES.items():
        scores = [getattr(trial.score, name) for trial in (result.before, result.after)]
        before, after = (f"{v:.4f}" if isinstance(v, float) else str(v) for v in scores)
        rows.append((title, before, after))
    return [f"  {name:<24} {before:>12} {after:>12}" for name, before, after in rows]
