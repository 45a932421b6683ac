"""Results of a sweep: a table with a row per run, the best combination, and the text of both."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal

from singula.commands.sweep.plan import Sweep, SweepRun, describe
from singula.errors import UserError
from singula.io.write import write_csv
from singula.metrics.summary import MEAN
from singula.runs.run import Run, is_finished, open_run
from singula.util.messages import captured_messages

TABLE = "sweep.csv"
State = Literal["finished", "images failed", "not finished", "not started"]
_SCORES = ("f1", "precision", "recall", "panoptic_quality")


@dataclass(frozen=True)
class Result:
    """Result of a run, or of the ensemble of the folds of a combination.

    Parameters
    ----------
    run : SweepRun
        The run; for an ensemble, that of the first fold.
    folder : Path
        Folder of the results.
    state : str
        State of the run.
    is_ensemble : bool
        True for an ensemble.
    iou : float, optional
        Minimum IoU of matched objects; None without scores.
    scores : dict of str to float
        Scores of the test images, as the mean over images.
    val_loss : float, optional
        Smallest validation loss of the training.
    seconds : float, optional
        Seconds of training and test.
    images, objects : int, optional
        Numbers of test images and of objects in them.
    """

    run: SweepRun
    folder: Path
    state: State
    is_ensemble: bool = False
    iou: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    val_loss: float | None = None
    seconds: float | None = None
    images: int | None = None
    objects: int | None = None

    @property
    def fold(self) -> int | str | None:
        """Fold, or ``ensemble``; None without folds."""
        return "ensemble" if self.is_ensemble else self.run.fold

    def row(self) -> dict[str, Any]:
        """Return the row of the table; missing values are empty."""
        row = {
            "run": None if self.is_ensemble else self.run.number,
            **self.run.values,
            **({} if self.run.fold is None else {"fold": self.fold}),
            "state": self.state,
            "iou": self.iou,
            **{name: self.scores.get(name) for name in _SCORES},
            "val_loss": self.val_loss,
            "images": self.images,
            "objects": self.objects,
            "seconds": self.seconds,
            "folder": str(self.folder),
        }
        # With None, a column of integers would become one of floats.
        return {name: "" if value is None else value for name, value in row.items()}


@dataclass(frozen=True)
class Objective:
    """Number by which combinations are compared.

    Parameters
    ----------
    name : str
        Name with the IoU, for messages and charts.
    column : str
        Column of the table.
    larger : bool
        True if larger numbers are better.
    """

    name: str
    column: Literal["f1", "val_loss"]
    larger: bool

    def of(self, result: Result) -> float | None:
        """Return the number of a run; None without one."""
        value = result.val_loss if self.column == "val_loss" else result.scores.get(self.column)
        return value if value is not None and math.isfinite(value) else None


def state_of(run: SweepRun) -> State:
    """Return the state of a run from its files."""
    tree = run.tree
    if not is_finished(tree.run):
        return "not finished" if tree.run.is_dir() else "not started"
    with captured_messages():
        return "images failed" if open_run(tree.run).test.failed else "finished"


def read_result(run: SweepRun) -> Result:
    """Return the result of a run.

    Raises
    ------
    UserError
        The codes of `open_run`.
    """
    if not is_finished(run.tree.run):
        return Result(run, run.tree.run, state_of(run))
    return result_of(run, run.tree.run)


def result_of(run: SweepRun, folder: Path, *, is_ensemble: bool = False) -> Result:
    """Return the result in the folder of a finished run.

    Parameters
    ----------
    run : SweepRun
        The run, or the first run of an ensemble.
    folder : Path
        Folder of the results.
    is_ensemble : bool
        True for the folder of an ensemble.
    """
    with captured_messages():
        opened = open_run(folder)
    iou, scores = _scores(opened)
    losses = [row["val_loss"] for row in opened.history if "val_loss" in row]
    losses = [loss for loss in losses if math.isfinite(loss)]
    seconds = [opened.summary.seconds.get(stage, 0.0) for stage in ("training", "test")]
    counts = opened.test.instances
    return Result(
        run,
        folder,
        "images failed" if opened.test.failed else "finished",
        is_ensemble,
        iou,
        scores,
        min(losses, default=None) if not is_ensemble else None,
        round(sum(seconds), 1),
        len(counts) if counts else None,
        sum(counts.values()) if counts else None,
    )


def _scores(run: Run) -> tuple[float | None, dict[str, float]]:
    """Return the IoU threshold and the scores of the last stage, as the mean over images."""
    if not run.stages:
        return None, {}
    stage = run.final_stage
    iou = run.threshold(stage)
    row = run.scores.row(stage.key, MEAN, iou)
    scores = {name: value for name in _SCORES if (value := row.get(name)) is not None}
    return (iou, scores) if scores else (None, {})


def objective_of(results: Sequence[Result]) -> Objective:
    """Return the number by which runs are compared: F1 of the test, or else the validation loss."""
    ious = {result.iou for result in results if "f1" in result.scores}
    if not ious:
        return Objective("smallest validation loss", "val_loss", larger=False)
    at = f" at IoU {ious.pop():g}" if len(ious) == 1 else ""
    return Objective(f"F1{at}, mean over images", "f1", larger=True)


def write_results(sweep: Sweep, results: Sequence[Result]) -> Path:
    """Write the table, and return its path."""
    return write_csv(sweep.folder / TABLE, [result.row() for result in results])


@dataclass(frozen=True)
class CombinationScore:
    """Objective of a combination of values.

    Parameters
    ----------
    number : int
        Number of the combination, from 1.
    title : str
        Values as text.
    values : list of float
        Objective of each run of the combination.
    ensemble : float, optional
        Objective of the ensemble of the folds.
    """

    number: int
    title: str
    values: list[float]
    ensemble: float | None = None

    @property
    def mean(self) -> float:
        """Mean over the runs."""
        return fmean(self.values)

    def text(self) -> str:
        """Return the mean, the standard deviation, and the ensemble, as text."""
        spread = ""
        if self.values[1:]:
            spread = f" ± {stdev(self.values):.3f} (mean and standard deviation over folds)"
        ensemble = "" if self.ensemble is None else f"; ensemble {self.ensemble:.3f}"
        return f"{self.mean:.3f}{spread}{ensemble}"


def combination_scores(
    sweep: Sweep, results: Sequence[Result], objective: Objective
) -> list[CombinationScore]:
    """Return the objective of each combination whose runs all have one, the best first."""
    scores = []
    for runs in sweep.combinations():
        of_runs = [r for r in results if r.run.combination == runs[0].combination]
        values = [objective.of(result) for result in of_runs if not result.is_ensemble]
        present = [value for value in values if value is not None]
        if len(present) < len(runs):
            continue
        ensembles = [objective.of(result) for result in of_runs if result.is_ensemble]
        ensemble = next(iter(ensembles), None)
        number, title = runs[0].combination, describe(runs[0].values)
        scores.append(CombinationScore(number, title, present, ensemble))
    return sorted(scores, key=lambda score: -score.mean if objective.larger else score.mean)


def best_combination(scores: Sequence[CombinationScore]) -> int | None:
    """Return the number of the combination with the best score; None if it is the only one or ties.

    Parameters
    ----------
    scores : sequence of CombinationScore
        Scores, the best first.
    """
    if len(scores) < 2 or scores[0].mean == scores[1].mean:
        return None
    return scores[0].number


def table_lines(sweep: Sweep, results: Sequence[Result]) -> Iterator[str]:
    """Yield the table as text, and the best combination.

    Parameters
    ----------
    sweep : Sweep
        The runs.
    results : sequence of Result
        Results of the runs and the ensembles.
    """
    objective = objective_of(results)
    names = [key.rpartition(".")[2] for key in sweep.keys]
    has_folds = any(run.fold is not None for run in sweep.runs)
    rows = [["run", *names, *(["fold"] if has_folds else []), "state", objective.column, "seconds"]]
    for result in results:
        value = objective.of(result)
        rows.append(
            [
                "" if result.is_ensemble else str(result.run.number),
                *(result.run.values[key] for key in sweep.keys),
                *([str(result.fold)] if has_folds else []),
                result.state,
                "" if value is None else f"{value:.4f}",
                "" if result.seconds is None else f"{result.seconds:.0f}",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(
            f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)
        ).rstrip()
    scores = combination_scores(sweep, results, objective)
    if not scores:
        return
    yield f"{objective.name}:"
    best = best_combination(scores)
    for score in scores[:5]:
        mark = "best: " if score.number == best else "      "
        yield f"  {mark}{score.title}{': ' if score.title else ''}{score.text()}"


def finished_runs(runs: Sequence[SweepRun]) -> list[Run] | None:
    """Return the opened runs; None if one of them is not finished."""
    if not all(is_finished(run.tree.run) for run in runs):
        return None
    with captured_messages():
        return [open_run(run.tree.run) for run in runs]


def read_results(sweep: Sweep, ensembles: Sequence[Result]) -> list[Result]:
    """Return the results of all runs, each combination followed by its ensemble.

    A run whose files are damaged counts as not finished.
    """
    results = []
    for runs in sweep.combinations():
        for run in runs:
            try:
                results.append(read_result(run))
            except UserError:
                results.append(Result(run, run.tree.run, "not finished"))
        results += [e for e in ensembles if e.run.combination == runs[0].combination]
    return results
