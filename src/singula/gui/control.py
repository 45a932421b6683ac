"""Start, stop and resume `singula run` in a separate process."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from singula.config import Config, load_config
from singula.errors import UserError
from singula.gui.guard import Guard
from singula.gui.job_queue import JobKind, Queue
from singula.gui.processes import Processes, alive, interrupt, write_output
from singula.gui.run_search import RunSearch
from singula.gui.runs import OUTPUT, QUEUE, RECORD, read_record, runs_now
from singula.io.atomic import delete_file, make_folder
from singula.io.record_files import write_record
from singula.io.records.results import QueuedRun, Started, StartedRun
from singula.io.run_folder import RETEST_FILE, ResultsTree
from singula.io.run_lock import check_free
from singula.pipeline.run import Job
from singula.runs.run import SUMMARY, is_finished
from singula.util.messages import captured_messages


@dataclass
class Control:
    """Start, stop and resume runs, including runs of an earlier interface.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    other_kinds : sequence of JobKind
        Kinds of jobs that wait in the same queue.
    """

    guard: Guard
    other_kinds: Sequence[JobKind] = ()
    processes: Processes = field(init=False)
    queue: Queue = field(init=False)
    runs: RunJobs = field(init=False)

    def __post_init__(self) -> None:
        """Prepare to start processes in the first folder."""
        self.processes = Processes(self.guard.home)
        self.runs = RunJobs(self)
        self.queue = Queue(self.guard, self.processes, [self.runs, *self.other_kinds])

    def folder(self, job: Job) -> Path:
        """Return the folder of a run.

        Parameters
        ----------
        job : Job
            The run.

        Raises
        ------
        UserError
            The configuration is invalid; a path is outside of the roots.
        """
        return self.guard.check(self._opened(job)[1].run)

    def _opened(self, job: Job) -> tuple[Config, ResultsTree]:
        path, result_dir = self.guard.check(job.config), self.guard.check(job.result_dir)
        with captured_messages():  # the run prints them
            config = load_config(path)
        name = job.name or path.stem
        tree = ResultsTree(result_dir / name, name, job.run_id, config.path_overrides())
        self.guard.check_run(config, tree)
        return config, tree

    def start(self, job: Job, *, now: bool = False) -> Path:
        """Start or resume a run and return its folder; if another job is in progress, wait for it.

        The configuration is validated first, so that mistakes are reported immediately.

        Parameters
        ----------
        job : Job
            The run.
        now : bool
            Do not wait for other jobs.

        Raises
        ------
        UserError
            ``gui.run_exists``: the run would replace files of an earlier run; ``gui.run_waits``.
            ``run.locked``: another process writes to the run.
            Any error of `folder`.
        """
        with self.processes.starting:
            job, folder = self.checked(job)
            queued = _queued(job)
            start = partial(self.start_process, job, folder)
            self.queue.submit(self.runs, folder, queued, start, now=now)
        return folder

    def checked(self, job: Job) -> tuple[Job, Path]:
        """Return a run with resolved paths and its folder, if it may start.

        Parameters
        ----------
        job : Job
            The run.

        Raises
        ------
        UserError
            Any error of `start`.
        """
        from singula.training.device import parse_gpu

        config, tree = self._opened(job)
        folder = self.guard.check(tree.run)
        parse_gpu(job.gpu or "")
        _check_not_running(folder)
        check_free(tree.lock_files(checkpoints=config.TRAIN.ENABLE))
        # A test with other thresholds moves the earlier results to `previous/`.
        replaces = not job.resume and job.config.name != RETEST_FILE
        existing = _existing_files(tree, training=config.TRAIN.ENABLE) if replaces else None
        if existing is not None:
            is_resumable = existing == "training" and folder.is_dir()
            free = next_run_id(self.guard, job.result_dir, tree.name)
            raise UserError(
                f"{tree.job_id}: already exists, and this run would replace its {existing}",
                f"choose another number, for example {free}, or another name"
                + (", or resume the existing run" if is_resumable else ""),
                "gui.run_exists",
            )
        job = replace(
            job, config=self.guard.check(job.config), result_dir=self.guard.check(job.result_dir)
        )
        return job, folder

    def check_idle(self, folder: Path) -> None:
        """Raise an error if a run waits, or if its process is running.

        Parameters
        ----------
        folder : Path
            Folder of the run.

        Raises
        ------
        UserError
            ``gui.run_waits``; ``run.locked``.
        """
        self.queue.check_not_waiting(self.runs, folder)
        _check_not_running(folder)

    def start_process(self, job: Job, folder: Path) -> None:
        """Start the process of a run that was checked, and write its record.

        Parameters
        ----------
        job : Job
            The run, with resolved paths.
        folder : Path
            Folder of the run.
        """
        arguments = job.arguments()
        make_folder(folder)
        delete_file(folder / RECORD)
        started = self.processes.start(arguments, folder / OUTPUT, append=job.resume)
        write_record(folder / RECORD, _record(job, arguments, started))

    def resume(self, folder: Path) -> Path:
        """Resume the run of a folder with the command that started it, and return the folder.

        Parameters
        ----------
        folder : Path
            Folder of the run.

        Raises
        ------
        UserError
            ``gui.unknown_configuration``: the folder has no record of the configuration.
            Any error of `start`.
        """
        folder = self.guard.check(folder)
        record = read_record(folder)
        if record is not None:
            arguments = (Path(record.config), Path(record.result_dir), record.name, record.run_id)
            return self.start(Job(*arguments, gpu=record.gpu, resume=True))
        tree = ResultsTree.of_run(folder)
        config = tree.only_config_file()
        has_default_name = (tree.job_id, tree.name) == (folder.name, tree.job_dir.name)
        if config is None or not has_default_name:
            raise UserError(
                f"{folder.name}: cannot find the configuration of this run",
                "repeat its command in the terminal, with the option `--resume`",
                "gui.unknown_configuration",
            )
        return self.start(Job(config, tree.job_dir.parent, tree.name, tree.run_id, resume=True))

    def stop(self, folder: Path, *, kill: bool = False) -> None:
        """Interrupt a run like Ctrl-C, or kill it.

        Only the current epoch or image is lost. The method does nothing unless the recorded process
        is a run of Singula in this folder.

        Parameters
        ----------
        folder : Path
            Folder of the run.
        kill : bool
            End the process immediately.
        """
        folder = self.guard.check(folder)
        record = read_record(folder)
        process = alive(record, folder / OUTPUT)
        if record is None or process is None:
            return
        write_record(folder / RECORD, record.model_copy(update={"stopped": True}))
        interrupt(process, kill=kill)


class RunJobs(JobKind):
    """Runs, which train a model, test it, or both.

    Parameters
    ----------
    control : Control
        Control that checks and starts runs.
    """

    noun, page, queue_file, queued_record = "run", "run", QUEUE, QueuedRun
    written_files = RECORD, SUMMARY

    def __init__(self, control: Control) -> None:
        self.control = control

    def folders(self, search: RunSearch) -> Iterable[Path]:
        """Return the folders of runs."""
        return search.runs

    def is_running(self, folder: Path) -> bool:
        """Return True if a run is in progress, started here or in a terminal."""
        return runs_now(folder)

    def start(self, queue: Queue, folder: Path, queued: QueuedRun) -> None:
        """Check a waiting run again, and start it."""
        self.control.start_process(*self.control.checked(_job_of(queued)))

    def record_failure(self, folder: Path, queued: QueuedRun, log: str) -> None:
        """Write log and record of a run that could not start.

        The record of a finished run, which should be tested again, is not replaced.
        """
        if is_finished(folder):
            return
        make_folder(folder)
        write_output(folder / OUTPUT, log)
        job = _job_of(queued)
        started = Started(pid=1, created=0, began=time.time())
        write_record(folder / RECORD, _record(job, job.arguments(), started))


def _check_not_running(folder: Path) -> None:
    if alive(read_record(folder), folder / OUTPUT) is not None:
        raise UserError(
            f"{folder.name}: is already running",
            "stop the run first, or choose another name",
            "run.locked",
        )


def _queued(job: Job) -> QueuedRun:
    return QueuedRun(
        queued=time.time(),
        config=str(job.config),
        result_dir=str(job.result_dir),
        name=job.name or job.config.stem,
        run_id=job.run_id,
        gpu=job.gpu,
        resume=job.resume,
    )


def _job_of(queued: QueuedRun) -> Job:
    return Job(
        Path(queued.config),
        Path(queued.result_dir),
        queued.name,
        queued.run_id,
        queued.gpu,
        resume=queued.resume,
    )


def _record(job: Job, arguments: Sequence[str], started: Started) -> StartedRun:
    values = {**_queued(job).model_dump(exclude={"queued"}), **dict(started)}
    return StartedRun(**values, command=["singula", *arguments])


def _existing_files(tree: ResultsTree, *, training: bool) -> str | None:
    """Return the kind of files that a new run would replace; None if there are none."""
    if tree.run_json.exists():
        return "results"
    if not training:  # a test may start from the checkpoint of its own number
        return None
    files = (tree.checkpoint_last, tree.checkpoint_best, tree.train_log)
    return "training" if any(path.exists() for path in files) else None


def last_lines(text: str, count: int) -> str:
    """Return the last lines of a log.

    Parameters
    ----------
    text : str
        The log.
    count : int
        Maximum number of lines.
    """
    return "\n".join(text.rstrip("\n").split("\n")[-count:])


def run_number(value: object) -> int:
    """Return the number of a run from the text of a field.

    Parameters
    ----------
    value : object
        Text or number that the user entered.

    Raises
    ------
    UserError
        ``gui.run_number``: not a whole number of at least 1.

    Examples
    --------
    >>> run_number("12")
    12
    """
    text = "" if value is None else str(value).strip().removesuffix(".0")
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) < 1:
        raise UserError(
            f"Run number: got {text or 'nothing'}, expected a whole number of at least 1",
            "enter 1, 2, 3 …",
            "gui.run_number",
        )
    return int(text)


def next_run_id(guard: Guard, result_dir: Path, name: str) -> int:
    """Return the first run number without a results folder or checkpoint.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    result_dir : Path
        Parent of the job's folder.
    name : str
        Name of the job.
    """
    try:
        job_dir = guard.check(result_dir / name)
    except UserError:
        return 1
    taken = {path.name for path in _children_of(job_dir / "results")}
    taken |= {
        path.name.partition("-checkpoint-")[0] for path in _children_of(job_dir / "checkpoints")
    }
    return next(i for i in range(1, len(taken) + 2) if f"{name}_{i}" not in taken)


def _children_of(folder: Path) -> Iterable[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
