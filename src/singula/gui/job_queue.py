"""Queue of all long jobs: runs, predictions and searches for thresholds.

Only one job is in progress at a time, because two could exhaust the memory. Each waiting job has a
record in its folder, so the queue remains after a restart of the interface, which starts the next
job while it is open.
"""

from __future__ import annotations

import logging
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from singula.errors import UserError
from singula.gui.guard import Guard
from singula.gui.processes import Processes
from singula.gui.run_search import RunSearch, search_runs
from singula.gui.runs import modified_time, read_start
from singula.io.atomic import delete_file, make_folder
from singula.io.record_files import write_record
from singula.io.records.results import QueuedJob
from singula.io.run_lock import find_holder, hold, lock_file
from singula.util.format import counted

_log = logging.getLogger(__name__)
# Prefix of the lock file that a queue holds while it starts a job
_LOCK = "gui_queue"
_INTERNAL = "It did not start because of an internal error of Singula"


class JobKind(ABC):
    """Kind of job, with its files and the way to start it.

    Attributes
    ----------
    noun : str
        Name of the kind for pages.
    page : str
        Page that shows a job of this kind.
    queue_file : str
        Name of the record of a waiting job, in the folder of the job.
    queued_record : type
        Type of this record.
    written_files : tuple of str
        Names of files that a job writes at its start or end, in the folder of the job.
    """

    noun: ClassVar[str]
    page: ClassVar[str]
    queue_file: ClassVar[str]
    queued_record: ClassVar[type[QueuedJob]]
    written_files: ClassVar[tuple[str, ...]]

    @abstractmethod
    def folders(self, search: RunSearch) -> Iterable[Path]:
        """Return the folders that can contain a job of this kind."""

    @abstractmethod
    def is_running(self, folder: Path) -> bool:
        """Return True if the job of a folder is in progress."""

    @abstractmethod
    def start(self, queue: Queue, folder: Path, queued: Any) -> None:
        """Check a waiting job again, and start its process.

        The caller holds the lock ``queue.processes.starting``.

        Parameters
        ----------
        queue : Queue
            The queue.
        folder : Path
            Folder of the job.
        queued : QueuedJob
            Record of the type `queued_record`. Other users may have written it.

        Raises
        ------
        UserError
            The job cannot start any more.
        """

    @abstractmethod
    def record_failure(self, folder: Path, queued: Any, log: str) -> None:
        """Write the files of a job that could not start, so that its page shows the error."""

    def on_remove(self, folder: Path, queued: Any) -> None:  # noqa: B027
        """Delete the other files of a job that the user has removed from the queue."""

    def subject(self, folder: Path) -> Path:
        """Return the folder in the address of the page of a job."""
        return folder

    def queued(self, folder: Path) -> QueuedJob | None:
        """Return the record of a waiting job; None if it does not wait."""
        return read_start(folder / self.queue_file, self.queued_record)


_Job = tuple[JobKind, Path]


@dataclass(frozen=True)
class QueueItem:
    """Job in the queue.

    Parameters
    ----------
    kind : JobKind
        Kind of the job.
    folder : Path
        Folder of the job.
    is_running : bool
        True if it is in progress; False if it waits.
    """

    kind: JobKind
    folder: Path
    is_running: bool

    @property
    def title(self) -> str:
        """Name and kind of the job for pages."""
        return f"{self.kind.subject(self.folder).name} ({self.kind.noun})"


class Queue:
    """Queue of the jobs inside of the roots, in the order in which the user started them.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    processes : Processes
        Processes of the interface.
    kinds : sequence of JobKind
        Kinds of jobs that wait for each other.
    """

    def __init__(self, guard: Guard, processes: Processes, kinds: Sequence[JobKind]) -> None:
        self.guard, self.processes, self.kinds = guard, processes, tuple(kinds)
        # Threads of pages read these sets, so they are replaced, not changed.
        self._waiting: frozenset[_Job] | None = None  # None: not searched yet
        self._running: frozenset[_Job] = frozenset()
        self._locked: frozenset[_Job] = frozenset()
        self._errors: dict[_Job, tuple[str, float]] = {}

    def submit(
        self,
        kind: JobKind,
        folder: Path,
        queued: QueuedJob,
        start: Callable[[], object],
        *,
        now: bool = False,
    ) -> None:
        """Start a job that was checked, or let it wait until the jobs before it have ended.

        The caller holds the lock ``processes.starting``.

        Parameters
        ----------
        kind : JobKind
            Kind of the job.
        folder : Path
            Folder of the job.
        queued : QueuedJob
            Record of the waiting job.
        start : callable
            Function that starts the process.
        now : bool
            Do not wait for other jobs.

        Raises
        ------
        UserError
            ``gui.run_waits``: the job waits already.
        """
        if not now:
            self.check_not_waiting(kind, folder)
        self._search()
        others = (self._running | set(self._in_order())) - {(kind, folder)}
        self._errors.pop((kind, folder), None)
        if not now and others:
            make_folder(folder)
            write_record(folder / kind.queue_file, queued)
            self._add_waiting(kind, folder)
        else:
            start()
            delete_file(folder / kind.queue_file)
            self._running |= {(kind, folder)}

    def check_not_waiting(self, kind: JobKind, folder: Path) -> None:
        """Raise an error if a job waits.

        Parameters
        ----------
        kind : JobKind
            Kind of the job.
        folder : Path
            Folder of the job.

        Raises
        ------
        UserError
            ``gui.run_waits``.
        """
        if kind.queued(folder) is not None:
            raise UserError(
                f"{kind.subject(folder).name}: waits already",
                "open its page to start it now, or to remove it from the queue",
                "gui.run_waits",
            )

    def items(self) -> list[QueueItem]:
        """Return the jobs in progress, then the waiting ones, the next one first."""
        if self._waiting is None:
            self._search()
        running = sorted(
            (job for job in self._running if job[0].is_running(job[1])), key=lambda job: job[1]
        )
        return [
            *(QueueItem(*job, is_running=True) for job in running),
            *(QueueItem(*job, is_running=False) for job in self._in_order()),
        ]

    def waiting(self) -> list[Path]:
        """Return the folders of waiting jobs, the next one first."""
        return [item.folder for item in self.items() if not item.is_running]

    def describe(self, kind: JobKind, folder: Path) -> str:
        """Return the jobs for which a job waits as text.

        Parameters
        ----------
        kind : JobKind
            Kind of the waiting job.
        folder : Path
            Folder of the waiting job.
        """
        self.items()  # searches the folders first
        self._add_waiting(kind, folder)  # after a restart, a job in a deep folder is unknown
        if (kind, folder) in self._locked:
            return "Waiting for another command that writes to its folder"
        items = self.items()
        place = next(
            (
                index
                for index, item in enumerate(items)
                if not item.is_running and (item.kind, item.folder) == (kind, folder)
            ),
            len(items),
        )
        if not place:
            return "Starts in a moment"
        others = f" and {counted(place - 1, 'other job')}" if place > 1 else ""
        return f"Waiting for {items[0].title}{others}"

    def start_next(self) -> None:
        """Start the next job if no other job is in progress; call it regularly.

        A job that cannot start any more, for example because its images were moved, leaves the
        queue, and its page shows the error. A job with files that another command writes to remains
        in the queue, and the next one starts. None starts while another interface starts one.
        """
        with self.processes.starting:
            locked: set[_Job] = set()
            for kind, folder in self._startable():
                try:
                    self._start(kind, folder)
                except UserError as error:
                    if error.code == "run.locked":
                        is_starting = find_holder(lock_file(folder, _LOCK)) is not None
                        if is_starting or kind.queued(folder) is None:  # in another interface
                            break
                        locked.add((kind, folder))
                        continue
                    # The files in the folder can belong to another process.
                    log = "" if error.code == "gui.run_exists" else f"error: {error}\n"
                    self._fail(kind, folder, str(error), log)
                except Exception as error:  # an error of one job must not stop the others
                    _log.exception(f"{folder}: cannot start")
                    text = f"{_INTERNAL} ({type(error).__name__}: {error})"
                    self._fail(kind, folder, text, traceback.format_exc())
                if kind.queued(folder) is None:
                    break
            self._locked = frozenset(locked)

    def _start(self, kind: JobKind, folder: Path) -> None:
        """Start a waiting job.

        Its record remains until the process has started, so that pages show no other state. The
        lock excludes other interfaces.
        """
        with hold([lock_file(folder, _LOCK)], "run"):
            queued = kind.queued(folder)
            if queued is None:  # another interface has started it
                return
            kind.start(self, folder, queued)
            delete_file(folder / kind.queue_file)
        self._errors.pop((kind, folder), None)
        self._running |= {(kind, folder)}

    def _fail(self, kind: JobKind, folder: Path, text: str, log: str) -> None:
        """Remove a job that could not start; its page must show the error."""
        if self._errors.get((kind, folder), ("",))[0] != text:
            _log.warning(f"{folder}: cannot start: {text}")
        queued = kind.queued(folder)
        if log and queued is not None:
            try:
                kind.record_failure(folder, queued, log)
            except Exception:  # for example, a full disk
                _log.exception(f"{folder}: the error cannot be written")
        self._errors[kind, folder] = text, time.time()
        with suppress(UserError):  # in a protected folder, the job remains
            delete_file(folder / kind.queue_file)

    def error(self, kind: JobKind, folder: Path) -> str | None:
        """Return the error of a job that could not start; None if it has started since.

        Parameters
        ----------
        kind : JobKind
            Kind of the job.
        folder : Path
            Folder of the job.
        """
        text, failed = self._errors.get((kind, folder), (None, 0.0))
        if text is None or kind.is_running(folder):
            return None
        written = (modified_time(folder / name) or 0.0 for name in kind.written_files)
        return None if max(written) > failed else text

    def start_now(self, kind: JobKind, folder: Path) -> None:
        """Start a waiting job next to the jobs in progress.

        Parameters
        ----------
        kind : JobKind
            Kind of the job.
        folder : Path
            Folder of the job.

        Raises
        ------
        UserError
            The job cannot start; it remains in the queue.
        """
        folder = self.guard.check(folder)
        with self.processes.starting:
            if kind.queued(folder) is not None:
                self._start(kind, folder)

    def remove(self, kind: JobKind, folder: Path) -> None:
        """Remove a waiting job, and its folder if it is empty.

        Parameters
        ----------
        kind : JobKind
            Kind of the job.
        folder : Path
            Folder of the job.

        Raises
        ------
        StorageError
            A file cannot be deleted.
        """
        folder = self.guard.check(folder)
        with self.processes.starting:
            queued = kind.queued(folder)
            delete_file(folder / kind.queue_file)
            if queued is not None:
                kind.on_remove(folder, queued)
            with suppress(OSError):  # contains other files
                folder.rmdir()

    def _startable(self) -> list[_Job]:
        """Return the waiting jobs, the next one first; empty if another job is in progress."""
        if not self._in_order() or any(kind.is_running(folder) for kind, folder in self._running):
            return []
        self._search()  # a job could have been started in a terminal
        return [] if self._running else self._in_order()

    def _add_waiting(self, kind: JobKind, folder: Path) -> None:
        self._waiting = (self._waiting or frozenset()) | {(kind, folder)}

    def _in_order(self) -> list[_Job]:
        if self._waiting is None:
            self._search()
        records = {job: job[0].queued(job[1]) for job in self._waiting or ()}
        times = {job: record.queued for job, record in records.items() if record is not None}
        return sorted(times, key=lambda job: times[job])

    def _search(self) -> None:
        search = search_runs(self.guard)
        jobs = {(kind, folder) for kind in self.kinds for folder in kind.folders(search)}
        # The search omits deep and hidden folders.
        jobs |= self._running | (self._waiting or frozenset())
        jobs = {job for job in jobs if self.guard.allows(job[1])}  # it may be a link
        self._running = frozenset(job for job in jobs if job[0].is_running(job[1]))
        self._waiting = frozenset(job for job in jobs if job[0].queued(job[1]) is not None)
