"""The search of `singula tune` as a process of its own, and what its files say of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from singula.config import Config
from singula.config.thresholds import KEYS
from singula.errors import UserError
from singula.gui.guard import Guard
from singula.gui.processes import Processes, alive, interrupt
from singula.gui.results import Results
from singula.gui.retune import PREFIX, config_of
from singula.gui.runs import IMAGE, error_in, read_record, read_start, tail
from singula.io.record_files import read_table, write_record
from singula.io.records import StartedSearch, TrialRow
from singula.io.results import ResultsTree
from singula.io.run_lock import check_free, lock_file
from singula.tuning.tuner import check_goal

RECORD, OUTPUT, TRIALS = "gui_search.json", "gui_search.log", "trials.csv"
State = Literal["none", "running", "finished", "stopped", "failed"]
_TRIED = re.compile(r"^ *(\d[\d\u202f]* settings? tried, best [\d.]+)$", re.MULTILINE)
_SCORES = ("pq", "f1", "precision", "recall")


@dataclass(frozen=True)
class Found:
    """What a search found.

    Parameters
    ----------
    before, after : dict of str to float
        Mean ``pq``, ``f1``, ``precision`` and ``recall`` of the validation images.
    values : dict of str to float
        By key of ``PROBLEM.INSTANCE_SEG``; empty where nothing was better than the configured.
    goal : dict
        ``metric`` and ``iou``.
    """

    before: dict[str, float]
    after: dict[str, float]
    values: dict[str, float]
    goal: dict[str, Any]

    @property
    def worth(self) -> dict[str, Any]:
        """What a checkpoint remembers of it."""
        metric = self.goal["metric"]
        return {**self.goal, "before": self.before[metric], "after": self.after[metric]}


@dataclass(frozen=True)
class SearchView:
    """How a search stands.

    Parameters
    ----------
    state : str
    words : str
        How far it is.
    share : float, optional
        Part of the predictions that is done; None while nobody knows what is left.
    error : str, optional
        Why it ended, as the command line says it.
    found : Found, optional
    """

    state: State
    words: str = ""
    share: float | None = None
    error: str | None = None
    found: Found | None = None


def start_search(
    results: Results, guard: Guard, processes: Processes, *, metric: str, iou: float
) -> None:
    """Start ``singula tune`` on a run; its checkpoint stays as it is.

    Raises
    ------
    UserError
        For an IoU that is none; images outside the folders of the interface. ``run.locked``: a
        process works on the run already.
    """
    check_goal(metric, iou)
    tree = results.files.tree
    if not tree.run.is_dir():
        raise UserError(f"{tree.run}: is no longer there", "open another run")
    _check_places(results, config_of(results), guard)
    arguments = ["tune", str(tree.run), "--metric", metric, "--iou", f"{iou:g}", "--no-save"]
    run = read_record(tree.run)
    arguments += ["--gpu", run.gpu] if run is not None and run.gpu else []
    with processes.starting:
        if alive(_record(tree), tree.tuning / OUTPUT) is not None:
            raise UserError(
                f"{tree.run.name} is being tuned already", "wait, or cancel it first", "run.locked"
            )
        check_free([lock_file(tree.run)])
        (tree.tuning / RECORD).unlink(missing_ok=True)
        started = processes.start(arguments, tree.tuning / OUTPUT)
        record = StartedSearch.model_validate({**dict(started), "metric": metric, "iou": iou})
        write_record(tree.tuning / RECORD, record)


def stop_search(tree: ResultsTree) -> None:
    """Ask a search to stop; what it has predicted is kept for the next one."""
    record = _record(tree)
    process = alive(record, tree.tuning / OUTPUT)
    if record is not None and process is not None:
        write_record(tree.tuning / RECORD, record.model_copy(update={"stopped": True}))
        interrupt(process, kill=record.stopped)


def view_search(tree: ResultsTree) -> SearchView:
    """Read how the last search of a run stands."""
    record = _record(tree)
    if record is None:
        return SearchView("none")
    output = tail(tree.tuning / OUTPUT)
    if alive(record, tree.tuning / OUTPUT) is not None:
        return SearchView("running", *_progress(output))
    trials = tree.tuning / TRIALS
    # Written when everything was tried; an older one is of an earlier search.
    if trials.is_file() and trials.stat().st_mtime >= record.began:
        try:
            return SearchView("finished", found=_found(trials, record))
        except UserError as error:
            return SearchView("failed", error=error.message)
    if record.stopped:
        return SearchView("stopped")
    return SearchView("failed", error=error_in(output))


def _check_places(results: Results, config: Config, guard: Guard) -> None:
    """See that everything that the search reads and writes lies inside."""
    tree, values = results.files.tree, config.dotted()
    guard.check_below(tree.locations())
    from singula.tuning.validation import image_keys

    keys = [*image_keys(config), "PATHS.CHECKPOINT_FILE"]
    # Relative folders are looked for here, and where the run was started.
    started = results.files.summary.job.started_in or guard.home
    for key in keys:
        places = [base / values[key] for base in (guard.home, Path(started)) if values[key]]
        for place in places:
            if place.exists():
                guard.check(place)


def _record(tree: ResultsTree) -> StartedSearch | None:
    return read_start(tree.tuning / RECORD, StartedSearch)


def _progress(output: str) -> tuple[str, float | None]:
    tried, images = list(_TRIED.finditer(output)), list(IMAGE.finditer(output))
    if tried:
        return tried[-1][1], None
    if "searching for" in output:
        return "Trying the first settings", None
    if images:
        done, total = int(images[-1][1]), int(images[-1][2])
        return f"Predicting images: {done} of {total}", done / max(1, total)
    return "Starting", 0.0


def _found(trials: Path, record: StartedSearch) -> Found:
    """Return the first of all trials, which is what is configured, and the one that was chosen.

    Raises
    ------
    UserError
        The table cannot be read, or lacks values.
    """
    rows = read_table(trials, TrialRow, "search again")
    if not rows:
        raise UserError(f"{trials}: has no rows", "search again", "gui.damaged_trials")
    # Of equally good ones the search chose; without that column the first of them counts.
    best = max(rows, key=lambda row: (row.chosen, getattr(row, record.metric)))
    values = {
        KEYS[name].removeprefix(PREFIX): float(text)
        for name, text in best.__pydantic_extra__.items()
        if name in KEYS and _is_number(text)
    }
    return Found(
        _scores(rows[0]),
        _scores(best),
        {} if best is rows[0] else values,
        {"metric": record.metric, "iou": record.iou},
    )


def _scores(row: TrialRow) -> dict[str, float]:
    return {name: getattr(row, name) for name in _SCORES}


def _is_number(text: str) -> bool:
    try:
        return isfinite(float(text))
    except ValueError:
        return False
