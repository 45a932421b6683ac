"""Runs that wait until the runs before them have ended.

Each waiting run has a record in its folder, so the queue remains after a restart of the interface,
which starts the next run while it is open.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from pathlib import Path

from singula.errors import UserError
from singula.gui.guard import Guard
from singula.gui.run_search import find_runs
from singula.gui.runs import OUTPUT, QUEUE, RECORD, read_queued, runs_now
from singula.io.atomic import make_folder, write_error
from singula.io.record_files import write_record
from singula.io.records.results import QueuedRun, StartedRun
from singula.pipeline.run import Job
from singula.runs.run import is_finished

_log = logging.getLogger(__name__)


class Queue:
    """Queue of the runs inside of the roots, in the order in which the user started them.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    """

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self._waiting: set[Path] | None = None  # None: not searched yet
        self._running: set[Path] = set()

    def must_wait(self, folder: Path) -> bool:
        """Return True if another run is in progress or waits.

        Parameters
        ----------
        folder : Path
            Folder of the new run.
        """
        self._search()
        return bool((self._running | set(self.waiting())) - {folder})

    def add(self, folder: Path, job: Job) -> None:
        """Add a run at the end.

        Parameters
        ----------
        folder : Path
            Folder of the run.
        job : Job
            The run, with resolved paths.
        """
        make_folder(folder)
        queued = QueuedRun(
            config=str(job.config),
            result_dir=str(job.result_dir),
            name=job.name or job.config.stem,
            run_id=job.run_id,
            gpu=job.gpu,
            resume=job.resume,
            queued=time.time(),
        )
        write_record(folder / QUEUE, queued)
        self._waiting = {*(self._waiting or ()), folder}

    def waiting(self) -> list[Path]:
        """Return the folders of waiting runs, the next one first."""
        if self._waiting is None:
            self._search()
        queued = {folder: read_queued(folder) for folder in self._waiting or ()}
        times = {folder: record.queued for folder, record in queued.items() if record is not None}
        return sorted(times, key=lambda folder: times[folder])

    def take_next(self) -> tuple[Path, Job] | None:
        """Remove and return the next run; None if there is none, or another run is in progress."""
        waiting = self.waiting()
        if not waiting or any(map(runs_now, self._running)):
            return None
        self._search()  # a run could have been started in a terminal
        queued = read_queued(waiting[0])
        if self._running or queued is None:
            return None
        try:
            (waiting[0] / QUEUE).unlink()
        except OSError:  # another interface has started it
            return None
        return waiting[0], job_of(queued)

    def remove(self, folder: Path) -> None:
        """Remove a run, and its folder if it is empty.

        Parameters
        ----------
        folder : Path
            Folder of the run.

        Raises
        ------
        StorageError
            The record cannot be deleted.
        """
        try:
            (folder / QUEUE).unlink(missing_ok=True)
        except OSError as error:
            raise write_error(folder / QUEUE, error) from error
        with suppress(OSError):  # contains other files
            folder.rmdir()

    def _search(self) -> None:
        runs = find_runs(self.guard)
        self._running = {folder for folder in runs if runs_now(folder)}
        self._waiting = {folder for folder in runs if read_queued(folder) is not None}


def job_of(queued: QueuedRun) -> Job:
    """Return the run of a record of the queue."""
    return Job(
        Path(queued.config),
        Path(queued.result_dir),
        queued.name,
        queued.run_id,
        queued.gpu,
        resume=queued.resume,
    )


def record_failed_start(folder: Path, job: Job, error: UserError) -> None:
    """Record that a waiting run could not start, so that its page shows the error.

    The record of a finished run, which should be tested again, is not replaced.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    job : Job
        The run.
    error : UserError
        Reason.
    """
    if is_finished(folder):
        _log.warning(f"{folder}: is not tested again: {error}")
        return
    make_folder(folder)
    with suppress(OSError):
        (folder / OUTPUT).write_text(f"error: {error}\n", encoding="utf-8")
    record = StartedRun(
        pid=1,
        created=0,
        began=time.time(),
        command=["singula", *job.arguments()],
        config=str(job.config),
        result_dir=str(job.result_dir),
        name=job.name or job.config.stem,
        run_id=job.run_id,
        gpu=job.gpu,
        resume=job.resume,
    )
    write_record(folder / RECORD, record)
