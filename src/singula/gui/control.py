"""Start, stop and resume `singula run` as a process of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from singula.config import Config, load_config
from singula.errors import UserError
from singula.gui.guard import Guard
from singula.gui.processes import Processes, alive, interrupt
from singula.gui.runs import OUTPUT, RECORD, read_record
from singula.io.atomic import make_folder, write_error
from singula.io.record_files import write_record
from singula.io.records import StartedRun
from singula.io.results import ResultsTree
from singula.io.run_lock import check_free
from singula.workflow import Job


@dataclass
class Control:
    """Runs that this interface started, and those of an earlier one.

    Parameters
    ----------
    guard : Guard
    """

    guard: Guard
    processes: Processes = field(init=False)

    def __post_init__(self) -> None:
        """Make what starts them."""
        self.processes = Processes(self.guard.home)

    def folder(self, job: Job) -> Path:
        """The run's folder.

        Raises
        ------
        UserError
            The configuration, or a folder or the name in it, is wrong or outside the roots.
        """
        return self.guard.check(self._opened(job)[1].run)

    def _opened(self, job: Job) -> tuple[Config, ResultsTree]:
        path, result_dir = self.guard.check(job.config), self.guard.check(job.result_dir)
        config = load_config(path)
        name = job.name or path.stem
        tree = ResultsTree(result_dir / name, name, job.run_id, config.path_overrides())
        self.guard.check_run(config, tree)
        return config, tree

    def start(self, job: Job) -> Path:
        """Start a run, or go on with a stopped one; gives the run's folder.

        The configuration is checked before, so a mistake in it is said at once.

        Raises
        ------
        UserError
            As `folder` does; what an earlier run of this name and number has left would be
            replaced. ``run.locked``: a process works on the run already.
        """
        with self.processes.starting:
            return self._start(job)

    def _start(self, job: Job) -> Path:
        from singula.training.device import parse_gpu

        config, tree = self._opened(job)
        folder = self.guard.check(tree.run)
        parse_gpu(job.gpu or "")
        if alive(read_record(folder), folder / OUTPUT) is not None:
            raise UserError(
                f"{folder.name} is running already",
                "stop it first, or take another name",
                "run.locked",
            )
        check_free(tree.lock_files(checkpoints=config.TRAIN.ENABLE))
        left = None if job.resume else _left_behind(tree, training=config.TRAIN.ENABLE)
        if left is not None:
            resumed = left == "training" and folder.is_dir()
            free = next_run_id(self.guard, job.result_dir, tree.job_id.rpartition("_")[0])
            raise UserError(
                f"{tree.job_id} is there already, and its {left} would be replaced",
                f"take another number, for example {free}, or another name"
                + (", or resume it" if resumed else ""),
            )
        job = replace(
            job, config=self.guard.check(job.config), result_dir=self.guard.check(job.result_dir)
        )
        arguments = job.arguments()
        make_folder(folder)
        _delete(folder / RECORD)
        started = self.processes.start(arguments, folder / OUTPUT, append=job.resume)
        record = StartedRun(
            **dict(started),
            command=["singula", *arguments],
            config=str(job.config),
            result_dir=str(job.result_dir),
            name=job.name or job.config.stem,
            run_id=job.run_id,
            gpu=job.gpu,
            resume=job.resume,
        )
        write_record(folder / RECORD, record)
        return folder

    def resume(self, folder: Path) -> Path:
        """Go on with the run of a folder, by the same command with ``--resume``.

        Raises
        ------
        UserError
            It is not known with which configuration it was started.
        """
        folder = self.guard.check(folder)
        record = read_record(folder)
        if record is not None:
            known = (Path(record.config), Path(record.result_dir), record.name, record.run_id)
            return self.start(Job(*known, gpu=record.gpu, resume=True))
        tree = ResultsTree.of_run(folder)
        name, _, number = folder.name.rpartition("_")
        copies = sorted(tree.config_files.glob("*.y*ml"))
        if len(copies) != 1 or not number.isdecimal() or folder.parent.parent.name != name:
            raise UserError(
                f"{folder.name}: it is not known which configuration it was started with",
                "resume it in the terminal: the same command with --resume",
            )
        return self.start(Job(copies[0], tree.job_dir.parent, name, int(number), resume=True))

    def stop(self, folder: Path, *, kill: bool = False) -> None:
        """Ask a run to stop, as Ctrl-C does; or end it at once.

        Only the present epoch or image is lost: files are complete at any time. Nothing happens
        unless the recorded process is a run of Singula in this folder.
        """
        folder = self.guard.check(folder)
        record = read_record(folder)
        process = alive(record, folder / OUTPUT)
        if record is None or process is None:
            return
        write_record(folder / RECORD, record.model_copy(update={"stopped": True}))
        interrupt(process, kill=kill)


def _delete(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:  # a folder
        raise write_error(path, error) from error


def _left_behind(tree: ResultsTree, *, training: bool) -> str | None:
    """What a run that begins anew would replace; None where there is nothing to lose."""
    if tree.run_json.exists():
        return "results"
    if not training:  # a test may well begin with the checkpoint of its own number
        return None
    begun = (tree.checkpoint_last, tree.checkpoint_best, tree.train_log)
    return "training" if any(path.exists() for path in begun) else None


def last_lines(text: str, count: int) -> str:
    """The last lines of a log."""
    return "\n".join(text.rstrip("\n").split("\n")[-count:])


def next_run_id(guard: Guard, result_dir: Path, name: str) -> int:
    """The first number of which no run of this name has left a folder or a checkpoint."""
    try:
        place = guard.check(result_dir / name)
    except UserError:
        return 1
    taken = {path.name for path in _children_of(place / "results")}
    taken |= {
        path.name.partition("-checkpoint-")[0] for path in _children_of(place / "checkpoints")
    }
    return next(i for i in range(1, len(taken) + 2) if f"{name}_{i}" not in taken)


def _children_of(folder: Path) -> Iterable[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
