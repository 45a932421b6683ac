"""Run the search of `singula tune` in a separate process, and read its files."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from singula.config import Config
from singula.config.thresholds import KEYS
from singula.errors import UserError
from singula.gui.guard import Guard
from singula.gui.job_queue import JobKind, Queue
from singula.gui.processes import alive, error_message, interrupt, write_output
from singula.gui.results import Results, open_results
from singula.gui.retune import PREFIX
from singula.gui.run_search import SEARCH_QUEUE, RunSearch
from singula.gui.runs import IMAGE, read_record, read_start, tail
from singula.io.record_files import write_record
from singula.io.record_tables import read_table
from singula.io.records.results import QueuedSearch, StartedSearch
from singula.io.records.tables import TrialRow
from singula.io.run_folder import ResultsTree
from singula.io.run_lock import check_free, find_holder, lock_file
from singula.runs.run import Run
from singula.tuning.trial import check_goal
from singula.util.format import GROUPED, ungrouped

RECORD, OUTPUT, TRIALS = "gui_search.json", "gui_search.log", "trials.csv"
QUEUE = SEARCH_QUEUE
State = Literal["none", "waiting", "running", "finished", "stopped", "failed"]
_TRIED = re.compile(
    rf"^ *((?:({GROUPED}) of about )?({GROUPED}) settings? tried, best [\d.]+)$", re.MULTILINE
)
_SCORES = ("pq", "f1", "precision", "recall")


@dataclass(frozen=True)
class SearchResult:
    """Result of a search.

    Parameters
    ----------
    before, after : dict of str to float
        Mean ``pq``, ``f1``, ``precision`` and ``recall`` of the validation images.
    values : dict of str to float
        Best thresholds by key in ``PROBLEM.INSTANCE_SEG``; empty if the configured ones are best.
    goal : dict
        ``metric`` and ``iou`` of the search.
    """

    before: dict[str, float]
    after: dict[str, float]
    values: dict[str, float]
    goal: dict[str, Any]

    @property
    def provenance(self) -> dict[str, Any]:
        """Description of the search for the checkpoint."""
        metric = self.goal["metric"]
        return {**self.goal, "before": self.before[metric], "after": self.after[metric]}


@dataclass(frozen=True)
class SearchView:
    """State and progress of a search.

    Parameters
    ----------
    state : str
        One of `State`.
    phase : str
        Description of the progress.
    share : float, optional
        Completed fraction of the predictions, 0 to 1; None if the remaining work is unknown.
    error : str, optional
        Error message, as on the command line.
    result : SearchResult, optional
        Result of a finished search.
    """

    state: State
    phase: str = ""
    share: float | None = None
    error: str | None = None
    result: SearchResult | None = None


def start_search(results: Results, guard: Guard, queue: Queue, *, metric: str, iou: float) -> None:
    """Start ``singula tune`` on a run, without saving the thresholds in its checkpoint.

    If another job is in progress, the search waits for it.

    Parameters
    ----------
    results : Results
        Results of the run.
    guard : Guard
        Folders that the interface may open.
    queue : Queue
        Queue of the interface.
    metric : {"pq", "f1"}
        Score to maximize.
    iou : float
        IoU threshold of the matching, 0 to 1.

    Raises
    ------
    UserError
        ``gui.run_missing``: the folder of the run was deleted.
        ``gui.outside``: validation images are outside of the roots.
        ``run.locked``: another process writes to the run.
        ``gui.run_waits``: a search of this run waits already.
        The metric or IoU is invalid.
    """
    check_goal(metric, iou)
    queued = QueuedSearch.model_validate({"queued": time.time(), "metric": metric, "iou": iou})
    with queue.processes.starting:
        _check(results.run, guard)
        start = partial(_start, results.run.tree, queue, queued)
        queue.submit(SEARCH, results.run.tree.tuning, queued, start)


def _check(run: Run, guard: Guard) -> None:
    """Raise an error if a search cannot start."""
    tree = run.tree
    if not tree.run.is_dir():
        raise UserError(
            f"{tree.run}: the folder was deleted", "open another run", "gui.run_missing"
        )
    _check_paths(run, guard)
    if alive(_record(tree), tree.tuning / OUTPUT) is not None:
        raise UserError(
            f"{tree.run.name}: a search is already running",
            "wait for the search, or cancel it",
            "run.locked",
        )
    check_free([lock_file(tree.run)])


def _start(tree: ResultsTree, queue: Queue, queued: QueuedSearch) -> None:
    arguments = ["tune", str(tree.run), "--metric", queued.metric, "--iou", f"{queued.iou:g}"]
    arguments += ["--no-save"]
    start = read_record(tree.run)
    arguments += ["--gpu", start.gpu] if start is not None and start.gpu else []
    (tree.tuning / RECORD).unlink(missing_ok=True)
    started = queue.processes.start(arguments, tree.tuning / OUTPUT)
    write_record(tree.tuning / RECORD, _started(queued, dict(started)))


def _started(queued: QueuedSearch, process: dict[str, Any]) -> StartedSearch:
    return StartedSearch(**process, metric=queued.metric, iou=queued.iou)


class SearchJobs(JobKind):
    """Searches for thresholds, in the folder ``tuning/`` of a run."""

    noun, page = "search for best settings", "tune"
    queue_file, queued_record = QUEUE, QueuedSearch
    written_files = RECORD, TRIALS

    def folders(self, search: RunSearch) -> Iterable[Path]:
        """Return the folders of searches, which may not exist."""
        return [ResultsTree.of_run(folder).tuning for folder in search.runs]

    def subject(self, folder: Path) -> Path:
        """Return the folder of the run."""
        return folder.parent

    def is_running(self, folder: Path) -> bool:
        """Return True if a search is in progress, started here or in a terminal."""
        if alive(read_start(folder / RECORD, StartedSearch), folder / OUTPUT) is not None:
            return True
        holder = find_holder(lock_file(folder.parent))
        return holder is not None and holder.task == "tune"

    def start(self, queue: Queue, folder: Path, queued: QueuedSearch) -> None:
        """Check a waiting search again, and start it."""
        run = open_results(folder.parent, queue.guard).run
        _check(run, queue.guard)
        _start(run.tree, queue, queued)

    def record_failure(self, folder: Path, queued: QueuedSearch, log: str) -> None:
        """Write log and record of a search that could not start."""
        write_output(folder / OUTPUT, log)
        process = {"pid": 1, "created": 0, "began": time.time()}
        write_record(folder / RECORD, _started(queued, process))


SEARCH = SearchJobs()


def stop_search(tree: ResultsTree) -> None:
    """Interrupt a search; the next search continues with its predictions."""
    record = _record(tree)
    process = alive(record, tree.tuning / OUTPUT)
    if record is not None and process is not None:
        write_record(tree.tuning / RECORD, record.model_copy(update={"stopped": True}))
        interrupt(process, kill=record.stopped)


def view_search(tree: ResultsTree) -> SearchView:
    """Read state, progress and result of the last search of a run.

    Parameters
    ----------
    tree : ResultsTree
        Results folder of the run.
    """
    if SEARCH.queued(tree.tuning) is not None:
        return SearchView("waiting")
    record = _record(tree)
    if record is None:
        return SearchView("none")
    output = tail(tree.tuning / OUTPUT)
    if alive(record, tree.tuning / OUTPUT) is not None:
        return SearchView("running", *_progress(output))
    trials = tree.tuning / TRIALS
    # The search writes this file at its end; an older file is from an earlier search.
    if trials.is_file() and trials.stat().st_mtime >= record.began:
        try:
            return SearchView("finished", result=_read_result(trials, record))
        except UserError as error:
            return SearchView("failed", error=error.message)
    if record.stopped:
        return SearchView("stopped")
    return SearchView("failed", error=error_message(output))


def watch_search(queue: Queue, tree: ResultsTree) -> SearchView:
    """Read state, progress and result of a search, and its place in the queue.

    Parameters
    ----------
    queue : Queue
        Queue of the interface.
    tree : ResultsTree
        Results folder of the run.
    """
    view = view_search(tree)
    if view.state == "waiting":
        return replace(view, phase=queue.describe(SEARCH, tree.tuning))
    error = queue.error(SEARCH, tree.tuning)
    return SearchView("failed", error=error) if error and not view.error else view


def tests_on_validation(config: Config) -> bool:
    """Return True if the test images of a configuration are its validation images.

    Parameters
    ----------
    config : Config
        Configuration of a run.
    """
    test, val = config.DATA.TEST, config.DATA.VAL
    if test.USE_VAL_AS_TEST:
        return True
    same = bool(test.PATH) and Path(test.PATH).resolve() == Path(val.PATH).resolve()
    return same and not val.FROM_TRAIN


def _check_paths(run: Run, guard: Guard) -> None:
    """Raise an error if the search would read or write outside of the roots."""
    config = run.valid_config()
    values = config.dotted()
    guard.check_below(run.tree.locations())
    from singula.tuning.images import image_keys

    keys = [*image_keys(config), "PATHS.CHECKPOINT_FILE"]
    # Relative paths may refer to the first root, or to the folder in which the run was started.
    start_folder = run.summary.job.started_in or guard.home
    for key in keys:
        paths = [base / values[key] for base in (guard.home, Path(start_folder)) if values[key]]
        for path in paths:
            if path.exists():
                guard.check(path)


def _record(tree: ResultsTree) -> StartedSearch | None:
    return read_start(tree.tuning / RECORD, StartedSearch)


def _progress(output: str) -> tuple[str, float | None]:
    tried, images = list(_TRIED.finditer(output)), list(IMAGE.finditer(output))
    if tried:
        text, done, total = tried[-1].groups()
        return text, ungrouped(done) / max(1, ungrouped(total)) if done else None
    if "searching for" in output:
        return "Trying the first settings", None
    if images:
        done, total = int(images[-1][1]), int(images[-1][2])
        return f"Predicting images: {done} of {total}", done / max(1, total)
    return "Starting", 0.0


def _read_result(trials: Path, record: StartedSearch) -> SearchResult:
    """Read the result of a finished search.

    Parameters
    ----------
    trials : Path
        Table of all trials; the first one has the configured thresholds.
    record : StartedSearch
        Record of the search.

    Raises
    ------
    UserError
        ``gui.damaged_trials``: the table cannot be read, or lacks values.
    """
    rows = read_table(trials, TrialRow, "search again")
    if not rows:
        raise UserError(
            f"{trials}: got no rows, expected at least one", "search again", "gui.damaged_trials"
        )
    # The column `chosen` marks the choice among equal scores; without it, use the first.
    best = max(rows, key=lambda row: (row.chosen, getattr(row, record.metric)))
    values = {
        KEYS[name].removeprefix(PREFIX): float(text)
        for name, text in best.__pydantic_extra__.items()
        if name in KEYS and _is_number(text)
    }
    return SearchResult(
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
