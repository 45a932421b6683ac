"""Read the files of runs: state, progress, training curves and log."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import psutil

from singula.config import load_config
from singula.errors import UserError
from singula.gui.processes import alive, error_message
from singula.io.record_files import read_record as read_record_file
from singula.io.records.base import StoredRecord
from singula.io.records.results import QueuedRun, RunSummary, StartedRun
from singula.io.run_folder import ResultsTree
from singula.io.run_lock import find_holder, lock_file
from singula.runs.run import SUMMARY, read_history, read_summary
from singula.util.messages import captured_messages
from singula.util.paths import open_regular

RECORD, OUTPUT, QUEUE = "gui_run.json", "gui_output.log", "gui_queue.json"
S = TypeVar("S", bound=StoredRecord)
State = Literal[
    "waiting", "running", "finished", "empty", "incomplete", "stopped", "failed", "unfinished",
    "damaged",
]  # fmt: skip
STATE_LABELS: dict[State, str] = {
    "waiting": "waiting for another job",
    "running": "running",
    "finished": "finished",
    "empty": "finished, no objects",
    "incomplete": "finished, some images failed",
    "stopped": "stopped",
    "failed": "ended with an error",
    "unfinished": "not finished",
    "damaged": "damaged",
}
FINISHED: tuple[State, ...] = ("finished", "empty", "incomplete")
RESUMABLE: tuple[State, ...] = ("stopped", "failed", "unfinished", "incomplete", "damaged")
_MAX_RECORD = 1 << 20
_TAIL_BYTES = 200_000
_EPOCH = re.compile(r"\bepoch (\d+)/(\d+):.*?(?:\(.*?, ([\d:]+) left\))?$", re.MULTILINE)
_STEP = re.compile(
    r"\bepoch (\d+)/(\d+), (?:validation )?step (\d+)/(\d+): .*?(?:([\d:]+) left)?$",
    re.MULTILINE,
)
IMAGE = re.compile(r"(?:^|\s)\[(\d+)/(\d+)\] ", re.MULTILINE)
_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT[\d:]+\+00:00 ", re.MULTILINE)


@dataclass(frozen=True)
class Progress:
    """Progress of a run.

    Parameters
    ----------
    phase : str
        Description for the page.
    share : float
        Completed fraction of the current phase, 0 to 1.
    remaining : str
        Remaining time of the training as ``h:mm`` or ``m:ss``; empty if unknown.
    """

    phase: str
    share: float
    remaining: str = ""


@dataclass(frozen=True)
class RunView:
    """Data of the page of a run.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    state : str
        One of `State`.
    progress : Progress
        Current phase and its progress.
    history : list of dict
        Losses and scores of each epoch.
    log : str
        Last lines of the log.
    error : str, optional
        Error message, as on the command line.
    memory : float, optional
        Resident memory of all processes of the run, MiB.
    record : StartedRun, optional
        Record of the start by the interface.
    elsewhere : bool
        True if the run was started in a terminal and can only be stopped there.
    has_progress : bool
        True if the run has finished an epoch or an image, with which *Resume* continues.
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
    has_progress: bool = False


def runs_now(folder: Path) -> bool:
    """Return True if the run of a folder is in progress, started here or in a terminal."""
    record = read_record(folder)
    return alive(record, folder / OUTPUT) is not None or runs_elsewhere(folder, record)


def read_record(folder: Path) -> StartedRun | None:
    """Return the record of a run; None if it is missing or damaged."""
    return read_start(folder / RECORD, StartedRun)


def read_start(path: Path, kind: type[S]) -> S | None:
    """Read the record of a started process, or of a job that waits for another one.

    Parameters
    ----------
    path : Path
        JSON file.
    kind : type
        Subclass of `Started` or `QueuedJob`.

    Returns
    -------
    StoredRecord, optional
        None if the file is missing, cannot be read, or has fields of other types.
    """
    with captured_messages(), suppress(UserError):
        return read_record_file(path, kind, max_bytes=_MAX_RECORD, follow_links=False)
    return None


def view_run(folder: Path) -> RunView:
    """Read all data about a run.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    """
    record = read_record(folder)
    process = alive(record, folder / OUTPUT)
    output = tail(folder / OUTPUT) if record is not None else ""
    state = _state(folder, record, process)
    elsewhere = state == "running" and process is None
    log = output if output and not elsewhere else _STAMP.sub("", _run_log(folder))
    history: list[dict[str, float]] = []
    with captured_messages(), suppress(UserError):
        # Keys of the summary could lead outside of the roots.
        history = read_history(ResultsTree.of_run(folder))
    return RunView(
        folder=folder,
        state=state,
        progress=_progress(state, log, history),
        history=history,
        log=log,
        error=_error(folder, state, log),
        memory=_memory(process),
        record=record,
        elsewhere=elsewhere,
        has_progress=bool(history) or (folder / "predictions.jsonl").is_file(),
    )


def trains(folder: Path, record: StartedRun | None) -> bool:
    """Return False if the configuration of a run only predicts; True if it cannot be read.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    record : StartedRun, optional
        Record of its start by an interface.
    """
    copy = ResultsTree.of_run(folder).only_config_file()
    path = copy if copy is not None else Path(record.config) if record is not None else None
    with captured_messages(), suppress(UserError):
        return path is None or load_config(path).TRAIN.ENABLE
    return True


def _error(folder: Path, state: State, log: str) -> str | None:
    if state == "failed":
        return error_message(log)
    if state == "incomplete":
        test = _undamaged_summary(folder).test
        return (
            "\n".join(f"{name}: {reason}" for name, reason in test.failed.items()) if test else ""
        )
    return _damage(folder) if state == "damaged" else None


def state_of(folder: Path) -> State:
    """Return the state of a run; "damaged" if its files cannot be read."""
    record = read_record(folder)
    return _state(folder, record, alive(record, folder / OUTPUT))


def _state(folder: Path, record: StartedRun | None, process: psutil.Process | None) -> State:
    if process is not None or runs_elsewhere(folder, record):
        return "running"
    if read_start(folder / QUEUE, QueuedRun) is not None:
        return "waiting"
    if record is None and _log_ends_in_error(folder):
        return "failed"
    if record is None and os.path.lexists(folder / RECORD):
        return "damaged"
    # The summary of an earlier run in the same folder remains until this run ends.
    written = modified_time(folder / SUMMARY)
    if written is not None and (record is None or written >= record.began):
        return _finished_state(folder)
    if record is None:
        return "unfinished"
    return "stopped" if record.stopped else "failed"


def modified_time(path: Path) -> float | None:
    """Return the modification time of a path; None if it does not exist."""
    try:
        return path.lstat().st_mtime
    except OSError:
        return None


def _undamaged_summary(folder: Path) -> RunSummary:
    """Read the summary of a run.

    Raises
    ------
    UserError
        ``gui.damaged_summary``: a part of the file is damaged, even if a report would omit it.
    """
    with captured_messages() as ignored:
        summary = read_summary(folder)
    if ignored:
        raise UserError(ignored[0], "delete the file, or resume the run", "gui.damaged_summary")
    return summary


def _finished_state(folder: Path) -> State:
    """Return the state of a run that has written its summary."""
    try:
        test = _undamaged_summary(folder).test
    except UserError:
        return "damaged"
    if test is None:
        return "finished"
    if test.failed:
        return "incomplete"
    return "empty" if test.instances and not any(test.instances.values()) else "finished"


def _damage(folder: Path) -> str:
    """Return a message with the damaged file of a run and the reason."""
    is_record = read_record(folder) is None and os.path.lexists(folder / RECORD)
    path = folder / (RECORD if is_record else SUMMARY)
    reason = "or not a file"
    try:
        if is_record:
            with captured_messages():
                read_record_file(path, StartedRun, max_bytes=_MAX_RECORD, follow_links=False)
        else:
            _undamaged_summary(folder)
    except UserError as error:
        reason = error.message.removeprefix(f"{path}: ")
    return f"{path}: is damaged ({reason}); delete the file, or resume the run"


def tail(path: Path) -> str:
    """Return the last lines of a text file, at most 200,000 bytes; empty if it cannot be read.

    Parameters
    ----------
    path : Path
        File; links are not followed.
    """
    try:
        with open_regular(path, follow_links=False) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read(_TAIL_BYTES).decode("utf-8", "replace")
    except (OSError, UserError):
        return ""
    return text if size <= _TAIL_BYTES else text[text.find("\n") + 1 :]


def runs_elsewhere(folder: Path, record: StartedRun | None) -> bool:
    """Return True if the run is running, but was not started by an interface.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    record : StartedRun, optional
        Record of its start by an interface.
    """
    if alive(record, folder / OUTPUT) is not None:
        return False
    holder = find_holder(lock_file(folder))
    return holder is not None and holder.task in ("run", "")


def run_logs(folder: Path) -> list[Path]:
    """Return the logs that the run of a folder wrote itself."""
    return sorted(path for path in folder.glob("*.log") if path.name != OUTPUT)


def _run_log(folder: Path) -> str:
    """Return the end of the log that every run writes; each line begins with the time."""
    logs = run_logs(folder)
    return tail(logs[0]) if logs else ""


def _log_ends_in_error(folder: Path) -> bool:
    """Return True if the last entry of the log is an error."""
    log = _run_log(folder)
    last = list(_STAMP.finditer(log))[-1:]
    return bool(last) and log.startswith("error: ", last[0].end())


def _progress(state: State, log: str, history: list[dict[str, float]]) -> Progress:
    if state in FINISHED:
        return Progress("Finished", 1.0)
    if state == "waiting":
        return Progress("Starts when the jobs before it have ended", 0.0)
    # The log may also contain an earlier run of the same folder: use the last line.
    lines = [m for kind in (_EPOCH, _STEP, IMAGE) for m in list(kind.finditer(log))[-1:]]
    last = max(lines, key=lambda match: match.start(), default=None)
    if last is not None and last.re is IMAGE:
        done, total = int(last[1]), int(last[2])
        return Progress(f"Testing: image {done} of {total}", done / max(1, total))
    if last is not None and last.re is _EPOCH:
        done, total = int(last[1]), int(last[2])
        remaining = last[3] or "" if state == "running" else ""
        return Progress(f"Training: epoch {done} of {total}", done / max(1, total), remaining)
    if last is not None:
        return _within_epoch(last, state)
    if "training " in log:
        return Progress("Training: first epoch", 0.0)
    return Progress("Starting" if state == "running" else "Not started", 0.0)


def _within_epoch(line: re.Match[str], state: State) -> Progress:
    """Return the progress given by a status line within an epoch."""
    epoch, total, step, steps = (int(line[group]) for group in range(1, 5))
    validating = "validation step" in line[0]
    share = 1.0 if validating else step / max(1, steps)
    remaining = line[5] or "" if state == "running" else ""
    kind = "validation step" if validating else "step"
    phase = f"Training: epoch {epoch} of {total}, {kind} {step} of {steps}"
    return Progress(phase, (epoch - 1 + share) / max(1, total), remaining)


def _memory(process: psutil.Process | None) -> float | None:
    if process is None:
        return None
    total = 0
    try:
        processes = [process, *process.children(recursive=True)]
    except psutil.Error:
        return None
    for member in processes:
        try:
            total += member.memory_info().rss
        except psutil.Error:
            continue
    return total / 2**20
