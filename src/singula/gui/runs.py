"""Read the files of a run: state, progress, curves, log."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import psutil

from singula.errors import UserError
from singula.gui.guard import Guard
from singula.gui.processes import alive
from singula.io.record_files import read_record as read_record_file
from singula.io.records import RunSummary, Started, StartedRun, StoredRecord
from singula.io.results import ResultsTree
from singula.io.run_lock import find_holder, lock_file
from singula.paths import open_regular
from singula.report.run_files import read_history as history_rows

RECORD, OUTPUT = "gui_run.json", "gui_output.log"
S = TypeVar("S", bound=Started)
State = Literal["running", "finished", "incomplete", "stopped", "failed", "unfinished", "damaged"]
WORDS: dict[State, str] = {
    "running": "running",
    "finished": "finished",
    "incomplete": "finished, some images failed",
    "stopped": "stopped",
    "failed": "ended with an error",
    "unfinished": "not finished",
    "damaged": "damaged",
}
RESUMABLE: tuple[State, ...] = ("stopped", "failed", "unfinished", "incomplete", "damaged")
MAX_TABLE = 64 << 20  # bytes of a CSV file or a summary
_MAX_RECORD = 1 << 20
_DEEPEST, _MOST_FOLDERS, _TAIL = 7, 20_000, 200_000
_EPOCH = re.compile(r"\bepoch (\d+)/(\d+):.*?(?:\(.*?, ([\d:]+) left\))?$", re.MULTILINE)
_STEP = re.compile(
    r"\bepoch (\d+)/(\d+), (?:validation )?step (\d+)/(\d+): .*?(?:([\d:]+) left)?$",
    re.MULTILINE,
)
IMAGE = re.compile(r"(?:^|\s)\[(\d+)/(\d+)\] ", re.MULTILINE)
_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT[\d:]+\+00:00 ", re.MULTILINE)


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Parameters
    ----------
    phase : str
        In words.
    share : float
        Part of the present phase that is done, 0 to 1.
    left : str
        Time that the training will still take, or empty.
    """

    phase: str
    share: float
    left: str = ""


@dataclass(frozen=True)
class RunView:
    """All that the interface shows of a run.

    Parameters
    ----------
    folder : Path
    state : str
    progress : Progress
    history : list of dict
        A row per epoch.
    log : str
        Its last lines.
    error : str, optional
        Why it ended, as the command line says it.
    memory : float, optional
        Resident memory of all its processes, MiB.
    record : StartedRun, optional
    elsewhere : bool
        It runs in a terminal, where alone it can be stopped.
    """

    folder: Path
    state: State
    progress: Progress
    history: list[dict[str, float]]
    log: str
    error: str | None
    memory: float | None
    record: StartedRun | None
    elsewhere: bool = False


def find_runs(guard: Guard) -> list[Path]:
    """Folders of runs inside the roots, the one that changed last first."""
    found = {folder for root in guard.roots for folder in _walk(root) if guard.allows(folder)}
    return sorted(found, key=_changed, reverse=True)


def finished_runs(guard: Guard) -> list[Path]:
    """Return the folders of runs that wrote their summary, the one that changed last first."""
    return [folder for folder in find_runs(guard) if os.path.isfile(folder / "run.json")]


def _walk(root: Path) -> Iterator[Path]:
    for seen, (place, folders, files) in enumerate(os.walk(root)):
        here = Path(place)
        depth = len(here.relative_to(root).parts)
        # A run that was started elsewhere and has not finished has neither file, but its log.
        left = {"train_logs", "per_image"} & {*folders} or [f for f in files if f.endswith(".log")]
        begun = here.parent.name == "results" and bool(left)
        if "run.json" in files or RECORD in files or begun:
            yield here
            folders.clear()
        if depth >= _DEEPEST or seen > _MOST_FOLDERS:
            folders.clear()
        folders[:] = sorted(name for name in folders if name[0] != ".")


def _changed(folder: Path) -> float:
    names = ("run.json", RECORD, "predictions.jsonl", "train_logs", ".")
    times = [0.0]
    for name in names:
        with suppress(OSError):
            times.append((folder / name).stat().st_mtime)
    return max(times)


def read_record(folder: Path) -> StartedRun | None:
    """Return the record of a run's start; None where there is none, or where it is damaged."""
    return read_start(folder / RECORD, StartedRun)


def read_start(path: Path, kind: type[S]) -> S | None:
    """Read the record of a started process.

    Parameters
    ----------
    path : Path
    kind : type
        `StartedRun`, or another record of a start.

    Returns
    -------
    Started, optional
        None where the file is missing, cannot be read, or has fields of other types.
    """
    try:
        return read_record_file(path, kind, _ignore, max_bytes=_MAX_RECORD, follow_links=False)
    except UserError:
        return None


def _ignore(line: str) -> None:
    """Ignore a notice."""


def view_run(folder: Path) -> RunView:
    """Read everything about a run."""
    record = read_record(folder)
    process = alive(record, folder / OUTPUT)
    output = tail(folder / OUTPUT) if record is not None else ""
    summary = _summary(folder)
    state = _state(folder, record, process, summary)
    elsewhere = state == "running" and process is None
    log = output if output and not elsewhere else _STAMP.sub("", _own_log(folder))
    history = read_history(folder)
    return RunView(
        folder=folder,
        state=state,
        progress=_progress(state, log, history),
        history=history,
        log=log,
        error=_error(folder, state, log, summary),
        memory=_memory(process),
        record=record,
        elsewhere=elsewhere,
    )


def _error(folder: Path, state: State, log: str, summary: RunSummary | None) -> str | None:
    if state == "damaged":
        return _damage(folder)
    return error_in(log) if state == "failed" else _failures(summary, state)


def state_of(folder: Path) -> State:
    """Return only the state, for lists; a folder that cannot be read is damaged."""
    record = read_record(folder)
    return _state(folder, record, alive(record, folder / OUTPUT), None)


def _state(
    folder: Path,
    record: StartedRun | None,
    process: psutil.Process | None,
    summary: RunSummary | None,
) -> State:
    if process is not None or runs_elsewhere(folder, record):
        return "running"
    if record is None and _log_ends_in_error(folder):
        return "failed"
    if record is None and os.path.lexists(folder / RECORD):
        return "damaged"
    # A run begins again in the folder of an earlier one, whose summary stays until it ends.
    written = _modified(folder / "run.json")
    if written is not None and (record is None or written >= record.began):
        summary = _summary(folder) if summary is None else summary
        if summary is None:
            return "damaged"
        return "incomplete" if summary.test is not None and summary.test.failed else "finished"
    if record is None:
        return "unfinished"
    return "stopped" if record.stopped else "failed"


def _modified(path: Path) -> float | None:
    """Return when a path was changed last; None where there is none."""
    try:
        return path.lstat().st_mtime
    except OSError:
        return None


def _summary(folder: Path) -> RunSummary | None:
    """Return the content of ``run.json``; None where it is missing or damaged."""
    try:
        return read_summary(folder)
    except UserError:
        return None


def read_summary(folder: Path) -> RunSummary:
    """Read ``run.json``.

    Raises
    ------
    UserError
        A part of it is damaged, also one that a report would leave out.
    """
    path, ignored = folder / "run.json", list[str]()
    summary = read_record_file(path, RunSummary, ignored.append, max_bytes=MAX_TABLE)
    if ignored:
        raise UserError(ignored[0], "delete it, or resume the run", "gui.damaged_summary")
    return summary


def _damage(folder: Path) -> str:
    """Return which file of a damaged run is the cause, and why."""
    if read_record(folder) is None and os.path.lexists(folder / RECORD):
        path: Path = folder / RECORD
        kind: type[StoredRecord] = StartedRun
    else:
        path, kind = folder / "run.json", RunSummary
    try:
        if kind is RunSummary:
            read_summary(folder)
        else:
            read_record_file(path, kind, _ignore, max_bytes=_MAX_RECORD, follow_links=False)
        reason = "or not a file"
    except UserError as error:
        reason = error.message.removeprefix(f"{path}: ")
    return f"{path}: is damaged ({reason}); delete it, or resume the run"


def _failures(summary: RunSummary | None, state: State) -> str | None:
    if state != "incomplete" or summary is None or summary.test is None:
        return None
    return "\n".join(f"{name}: {reason}" for name, reason in summary.test.failed.items())


def read_history(folder: Path) -> list[dict[str, float]]:
    """Rows of the training log so far; the row that is just being written is left out."""
    tree = ResultsTree.of_run(folder)
    logs = [tree.train_log] if tree.train_log.is_file() else sorted(tree.train_logs.glob("*.csv"))
    logs = [path for path in logs if ".previous" not in path.name]
    if not logs:
        return []
    try:
        return history_rows(logs[0], _ignore)
    except UserError:
        return []


def tail(path: Path) -> str:
    """The end of a text file, from the beginning of a line."""
    try:
        with open_regular(path, follow_links=False) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            text = file.read(_TAIL).decode("utf-8", "replace")
    except (OSError, UserError):
        return ""
    return text if size <= _TAIL else text[text.find("\n") + 1 :]


def runs_elsewhere(folder: Path, record: StartedRun | None) -> bool:
    """Return True if the run is on, although no interface started it: in a terminal."""
    if alive(record, folder / OUTPUT) is not None:
        return False
    holder = find_holder(lock_file(folder))
    return holder is not None and holder.task in ("run", "")


def _own_logs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.log") if path.name != OUTPUT)


def _own_log(folder: Path) -> str:
    """The log that every run keeps; its lines begin with the time."""
    logs = _own_logs(folder)
    return tail(logs[0]) if logs else ""


def _log_ends_in_error(folder: Path) -> bool:
    """Whether nothing was written after an error: the run did not go on."""
    log = _own_log(folder)
    last = list(_STAMP.finditer(log))[-1:]
    return bool(last) and log.startswith("error: ", last[0].end())


def _progress(state: State, log: str, history: list[dict[str, float]]) -> Progress:
    if state in ("finished", "incomplete"):
        return Progress("Finished", 1.0)
    # A log may hold an earlier run of the same folder; what counts is what came last.
    lines = [m for kind in (_EPOCH, _STEP, IMAGE) for m in list(kind.finditer(log))[-1:]]
    last = max(lines, key=lambda match: match.start(), default=None)
    if last is not None and last.re is IMAGE:
        done, total = int(last[1]), int(last[2])
        return Progress(f"Testing: image {done} of {total}", done / max(1, total))
    if last is not None and last.re is _EPOCH:
        done, total = int(last[1]), int(last[2])
        left = last[3] or "" if state == "running" else ""
        return Progress(f"Training: epoch {done} of {total}", done / max(1, total), left)
    if last is not None:
        return _within_epoch(last, state)
    if "training " in log:
        return Progress("Training: first epoch", 0.0)
    return Progress("Starting" if state == "running" else "Not begun", 0.0)


def _within_epoch(line: re.Match[str], state: State) -> Progress:
    """Return the progress of a status line; validation follows the last training step."""
    epoch, total, step, steps = (int(line[group]) for group in range(1, 5))
    validating = "validation step" in line[0]
    share = 1.0 if validating else step / max(1, steps)
    left = line[5] or "" if state == "running" else ""
    what = "validation step" if validating else "step"
    phase = f"Training: epoch {epoch} of {total}, {what} {step} of {steps}"
    return Progress(phase, (epoch - 1 + share) / max(1, total), left)


def error_in(output: str) -> str:
    """What a user should read of the output of a command that failed."""
    trace = output.rfind("Traceback (most recent call last)")
    told = max(output.rfind("\nerror: "), 0 if output.startswith("error: ") else -1)
    if told >= 0 and told > trace:
        return output[told:].strip().removeprefix("error: ")
    lines = [line for line in output[max(trace, 0) :].splitlines() if line.strip()]
    if trace >= 0:
        return (
            f"{lines[-1]}\nThis is a fault of the program, not yours; the whole message is "
            "at the end of the log below."
        )
    if lines:
        return f"It ended without saying why. Its last line: {lines[-1]}"
    return "It ended without saying why; the system may have run out of memory."


def _memory(process: psutil.Process | None) -> float | None:
    if process is None:
        return None
    total = 0
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return None
    for member in family:
        try:
            total += member.memory_info().rss
        except psutil.Error:
            continue
    return total / 2**20
