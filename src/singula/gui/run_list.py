"""Rows of the list of runs: state, scores, title and note."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from singula.errors import UserError
from singula.gui.guard import Guard
from singula.gui.run_notes import read_notes
from singula.gui.run_search import search_runs, time_of
from singula.gui.runs import FINISHED, State, modified_time, state_of
from singula.gui.trash import TrashEntry, list_trash
from singula.metrics.summary import MEAN
from singula.runs.run import SUMMARY, open_run
from singula.util.messages import captured_messages

_MAX_RUNS = 200


@dataclass(frozen=True)
class RunScores:
    """Result of a finished run.

    Parameters
    ----------
    images : int
        Number of test images.
    objects : int
        Number of objects in all test images.
    f1, iou : float, optional
        Mean F1 of the test images, and the IoU threshold; None without labels.
    """

    images: int
    objects: int
    f1: float | None = None
    iou: float | None = None


@dataclass(frozen=True)
class RunRow:
    """Row of the list of runs.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    state : State
        State of the run.
    time : float
        Time of the start or the end, seconds since 1970; 0 if it is unknown.
    title, note : str
        Texts of the user; the title is the name of the folder without one.
    archived : bool
        True if the run is listed separately.
    scores : RunScores, optional
        Result; None if the run is not finished or was not tested.
    """

    folder: Path
    state: State
    time: float
    title: str
    note: str
    archived: bool
    scores: RunScores | None = None


@dataclass
class RunList:
    """Runs and deleted runs inside of the roots.

    Parameters
    ----------
    rows : list of RunRow
        The most recent runs first.
    trash : list of TrashEntry
        Deleted runs.
    notices : list of str
        Runs that are not listed, and why.
    """

    rows: list[RunRow] = field(default_factory=list)
    trash: list[TrashEntry] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def list_runs(guard: Guard) -> RunList:
    """Return the runs and deleted runs inside of the roots.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    """
    search = search_runs(guard)
    rows = [describe_run(folder) for folder in search.runs[:_MAX_RUNS]]
    notices = []
    if search.notice:
        notices.append(search.notice)
    if len(search.runs) > _MAX_RUNS:
        notices.append(f"{len(search.runs) - _MAX_RUNS} older runs are not listed")
    return RunList(rows, list_trash(search.trash), notices)


def describe_run(folder: Path) -> RunRow:
    """Return the row of a run.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    """
    notes, state = read_notes(folder), state_of(folder)
    stamps = [modified_time(folder / name) or 0.0 for name in (SUMMARY, "metrics.csv")]
    scores = _scores(folder, *stamps) if state in FINISHED else None
    title = notes.title or folder.name
    return RunRow(folder, state, time_of(folder), title, notes.note, notes.archived, scores)


@lru_cache(maxsize=2000)
def _scores(folder: Path, _summary: float, _metrics: float) -> RunScores | None:
    """Return the result of a run; the times of its files invalidate the cache."""
    with captured_messages(), suppress(UserError):
        run = open_run(folder)
        counts = run.test.instances
        if not counts:
            return None
        result = RunScores(len(counts), sum(counts.values()))
        if not run.stages:
            return result
        stage = run.final_stage
        iou = run.threshold(stage)
        f1 = run.scores.row(stage.key, MEAN, iou).get("f1")
        return result if f1 is None else RunScores(result.images, result.objects, f1, iou)
    return None
