"""Search the folders of runs and predictions, and sort them by time."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from singula.errors import UserError
from singula.gui.guard import Guard
from singula.gui.runs import (
    QUEUE,
    RECORD,
    modified_time,
    read_record,
    read_start,
    run_logs,
)
from singula.io.records.results import QueuedRun
from singula.runs.run import SUMMARY, is_finished, read_summary
from singula.util.format import grouped
from singula.util.messages import captured_messages

TRASH, PREDICTION_RECORD = ".singula_trash", "gui_predict.json"
PREDICTION_QUEUE, SEARCH_QUEUE = "gui_predict_queue.json", "gui_search_queue.json"
MAX_FOLDERS = 20_000
_MAX_DEPTH, _MAX_DEPTH_IN_RUN = 7, 3


@dataclass
class RunSearch:
    """Result of a search for runs and predictions.

    Parameters
    ----------
    runs : list of Path
        Folders of runs, the most recent first.
    predictions : list of Path
        Folders with predictions that the interface started, the most recent first.
    trash : list of Path
        Trash folders.
    is_complete : bool
        False if the search ended because there are too many folders.
    """

    runs: list[Path] = field(default_factory=list)
    predictions: list[Path] = field(default_factory=list)
    trash: list[Path] = field(default_factory=list)
    is_complete: bool = True

    @property
    def notice(self) -> str:
        """Message if the search ended early; else empty."""
        if self.is_complete:
            return ""
        return (
            f"Only {grouped(MAX_FOLDERS)} folders were searched, so results can be missing: "
            "restart `singula gui` with --root FOLDER for the folder of your results"
        )


def find_runs(guard: Guard) -> list[Path]:
    """Return the folders of all runs inside of the roots, the most recent first."""
    return search_runs(guard).runs


def finished_runs(guard: Guard) -> list[Path]:
    """Return the folders of runs with a summary, the most recent first."""
    return [folder for folder in find_runs(guard) if is_finished(folder)]


def search_runs(guard: Guard) -> RunSearch:
    """Search the roots for runs, predictions and folders of the trash.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    """
    search = RunSearch()
    for root in guard.roots:
        _walk(root, search)
    allowed = {folder for folder in search.runs if guard.allows(folder)}
    search.runs = sorted(allowed, key=time_of, reverse=True)
    allowed = {folder for folder in search.predictions if guard.allows(folder)}
    search.predictions = sorted(
        allowed, key=lambda folder: modified_time(folder / PREDICTION_RECORD) or 0.0, reverse=True
    )
    search.trash = sorted({folder for folder in search.trash if guard.allows(folder)})
    return search


def _walk(root: Path, search: RunSearch) -> None:
    """Add the runs, predictions and trash folders below a root."""
    for count, (name, folders, files) in enumerate(os.walk(root)):
        folder = Path(name)
        if count >= MAX_FOLDERS:
            search.is_complete = False
            return
        if PREDICTION_RECORD in files:
            search.predictions.append(folder)
        if _has_run(folder, folders, files):
            search.runs.append(folder)
            search.predictions += predictions_inside(folder)
            folders.clear()
        if TRASH in folders:
            search.trash.append(folder / TRASH)
        if len(folder.relative_to(root).parts) >= _MAX_DEPTH or name.endswith(".zarr"):
            folders.clear()
        folders[:] = sorted(name for name in folders if name[0] != ".")


def predictions_inside(run: Path) -> list[Path]:
    """Return the folders of predictions inside of the folder of a run.

    Parameters
    ----------
    run : Path
        Folder of the run.
    """
    predictions = []
    for name, folders, files in os.walk(run):
        folder = Path(name)
        if PREDICTION_RECORD in files:
            predictions.append(folder)
        is_deep = len(folder.relative_to(run).parts) >= _MAX_DEPTH_IN_RUN
        folders[:] = [] if is_deep or name.endswith(".zarr") else sorted(folders)
    return predictions


def _has_run(folder: Path, folders: Iterable[str], files: Iterable[str]) -> bool:
    """Return True if the entries of a folder are those of a run."""
    if {SUMMARY, RECORD, QUEUE} & {*files}:
        return True
    # An unfinished run of the command line has neither a summary nor a record, but other files.
    others = {"train_logs", "per_image"} & {*folders} or any(f.endswith(".log") for f in files)
    return folder.parent.name == "results" and bool(others)


def is_run(folder: Path, guard: Guard) -> bool:
    """Return True if a folder inside of the roots contains a run, finished or not."""
    if not guard.allows(folder) or not folder.is_dir():
        return False
    entries = [path.name for path in folder.iterdir()]
    return _has_run(folder, entries, entries)


def is_default_place(folder: Path) -> bool:
    """Return True for NAME/results/NAME_NUMBER, the default location of the folder of a run.

    Parameters
    ----------
    folder : Path
        Folder of a run.

    Examples
    --------
    >>> is_default_place(Path("cells/results/cells_1")), is_default_place(Path("images/cells_1"))
    (True, False)
    """
    name, _, number = folder.name.rpartition("_")
    is_number = bool(name) and number.isascii() and number.isdigit()
    return is_number and folder.parent.name == "results" and folder.parent.parent.name == name


def time_of(folder: Path) -> float:
    """Return the time at which a run was started or ended, whichever is later.

    Changes of the folder, such as an export or a note, do not count.

    Parameters
    ----------
    folder : Path
        Folder of the run.

    Returns
    -------
    float
        Seconds since 1970; 0 if it is unknown.
    """
    times = [time for name in (SUMMARY, RECORD, QUEUE) if (time := _stored_time(folder / name))]
    if not times:  # started in a terminal, and not finished
        files = [*run_logs(folder), folder / "predictions.jsonl"]
        files += [folder / "train_logs", folder / "per_image"]
        times = [time for path in files if (time := modified_time(path))]
    return max(times, default=0.0)


def _stored_time(path: Path) -> float | None:
    modified = modified_time(path)
    return None if modified is None else _parse_time(path, modified)


@lru_cache(maxsize=20_000)
def _parse_time(path: Path, modified: float) -> float:
    """Return the time in a file of a run; the time of the file if there is none."""
    with captured_messages(), suppress(UserError, ValueError):
        if path.name == SUMMARY:
            return datetime.fromisoformat(read_summary(path.parent).finished).timestamp()
        record = read_record(path.parent) if path.name == RECORD else None
        if record is not None:
            return record.began
        queued = read_start(path, QueuedRun) if path.name == QUEUE else None
        if queued is not None:
            return queued.queued
    return modified
