"""The story of a run: read the configuration, train, predict, score, and leave the results."""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from singula.config import Config, load_config
from singula.errors import UserError
from singula.io.atomic import atomic_path
from singula.io.log import RunLog
from singula.io.results import ResultsTree
from singula.io.run_lock import hold
from singula.io.status import StatusLines
from singula.runtime import check_launcher, importing, launcher_number
from singula.stages.summary import peak_memory, write_summary
from singula.words import command, counted

if TYPE_CHECKING:
    from singula.stages.chunks.run import ChunkRun
    from singula.stages.predict import TestRun
    from singula.stages.train import TrainReport
    from singula.training.device import Device

Notify = Callable[[str], None]
_MOST_NAMED = 10


@dataclass(frozen=True)
class Job:
    """What the command line says about a run.

    Parameters
    ----------
    config : Path
        The YAML file.
    result_dir : Path
        Parent of the job's folder.
    name : str, optional
        Name of the job; the configuration file's by default.
    run_id : int
    gpu : str, optional
        ``0``, ``cuda:0``, ``"0, 1"``, ``cpu``.
    overrides : sequence of str
        ``KEY=VALUE``.
    resume : bool
        Go on where an earlier run of this job stopped.
    live : bool
        Draw a progress bar.
    dask : str, optional
        Who works on the blocks of large images: ``local:N``, ``tcp://HOST:PORT``, ``slurm:FILE``.
    """

    config: Path
    result_dir: Path = Path()
    name: str | None = None
    run_id: int = 1
    gpu: str | None = None
    overrides: Sequence[str] = ()
    resume: bool = False
    live: bool = False
    dask: str | None = None

    def tree(self, config: Config) -> ResultsTree:
        """Return the paths of the results."""
        name = self.name or self.config.stem
        return ResultsTree(self.result_dir / name, name, self.run_id, config.path_overrides())

    def arguments(self) -> list[str]:
        """What stands behind ``singula`` on the command line."""
        words = ["run", "--config", str(self.config), "--result_dir", str(self.result_dir)]
        words += ["--name", self.name] if self.name else []
        words += ["--run_id", str(self.run_id)]
        words += ["--gpu", self.gpu] if self.gpu else []
        for override in self.overrides:
            words += ["--set", override]
        words += ["--dask", self.dask] if self.dask else []
        return [*words, *(["--resume"] if self.resume else [])]


@dataclass(frozen=True)
class RunReport:
    """What a run left.

    Parameters
    ----------
    tree : ResultsTree
        Where everything is.
    config : Config
    training : TrainReport, optional
    test : TestRun or ChunkRun, optional
    """

    tree: ResultsTree
    config: Config
    training: TrainReport | None = None
    test: TestRun | ChunkRun | None = None


def run(job: Job, notify: Notify) -> RunReport:
    """Do what the configuration asks for.

    Parameters
    ----------
    job : Job
    notify : callable
        Takes each line that the user should read.

    Returns
    -------
    RunReport

    Raises
    ------
    UserError
        For every mistake in the configuration, the folders or the files. ``run.locked``: another
        process writes to this run.
    """
    check_launcher()
    rank = launcher_number("RANK")
    log = RunLog(notify, quiet=rank > 0)
    try:
        with ExitStack() as locks:
            return _run(job, log, rank, locks)
    except UserError as error:
        log.keep(f"error: {error}")
        raise
    finally:
        log.close()
        gc.unfreeze()  # what was alive at `importing` may be the garbage of whoever called


def _run(job: Job, log: RunLog, rank: int, locks: ExitStack) -> RunReport:
    began = time.perf_counter()
    config = load_config(job.config, job.overrides, notify=log)
    tree = job.tree(config)
    if job.dask is not None and not (config.TEST.ENABLE and config.TEST.BY_CHUNKS.ENABLE):
        raise UserError(
            f"--dask {job.dask}: workers share the blocks of test images, but "
            "TEST.BY_CHUNKS.ENABLE or TEST.ENABLE is False",
            "add --set TEST.BY_CHUNKS.ENABLE=True, or leave --dask out",
        )
    if job.dask is not None:
        from singula.scaleout.dask_way import check_dask_option

        check_dask_option(job.dask)  # not after hours of training
    if job.gpu is not None:
        from singula.training.device import parse_gpu

        parse_gpu(job.gpu)  # a mistake is said before anything is written
    if job.resume and not tree.run.is_dir():
        log(f"--resume: there is no run {tree.run} to go on with; it begins")
    if rank == 0:  # the other processes of this run write nothing
        files = tree.lock_files(checkpoints=config.TRAIN.ENABLE)
        locks.enter_context(hold(files, "run", log))
        locks.enter_context(tree.protect(log))
        tree.prepare()
        log.open(tree.log_file)
        _copy_config(job.config, tree)
        _tell_of_data_beside(config, tree, log)
    if config.TRAIN.ENABLE and config.TEST.ENABLE:
        with importing():
            from singula.stages.inputs import check_test

        check_test(config, log)
    device = _device(config, job.gpu, log)
    log(f"results: {tree.run}")
    seconds = {"start": time.perf_counter() - began}
    memory = {"start": peak_memory()}
    training = _train(config, tree, device, log, job, seconds, main=rank == 0)
    if training is not None:
        memory["training"] = peak_memory()
    test = None
    if config.TEST.ENABLE:
        test = _test(config, tree, device, log, seconds, job, main=rank == 0)
        memory["test"] = peak_memory()
    if rank == 0:
        write_summary(config, tree, device, seconds, memory, training, test)
        _report(tree, log)
        if test is not None:
            _check_any_done(test, tree)
    return RunReport(tree, config, training, test)


def _check_any_done(test: TestRun | ChunkRun, tree: ResultsTree) -> None:
    """Refuse a test in which every image failed; the training before it is kept."""
    if test.failed and not test.finish.instances:
        raise UserError(
            f"none of {counted(len(test.failed), 'test image')} could be done: "
            f"{_names(test.failed)}",
            "correct the causes in the lines above, and repeat the command with --resume "
            f"(log: {tree.log_file})",
            "test.all_failed",
        )


def _names(failed: Mapping[str, str]) -> str:
    more = f" … and {len(failed) - _MOST_NAMED} more" if len(failed) > _MOST_NAMED else ""
    return f"{', '.join(list(failed)[:_MOST_NAMED])}{more}"


def _tell_of_data_beside(config: Config, tree: ResultsTree, log: Notify) -> None:
    """Say it when the job has the name of the folder of the images, and lies in the same place."""
    values, job_dir = config.dotted(), tree.job_dir.resolve()
    for key in ("DATA.TRAIN.PATH", "DATA.VAL.PATH", "DATA.TEST.PATH"):
        if values[key] and job_dir in Path(values[key]).resolve().parents:
            log(f"results are written into {tree.job_dir}, where {key} lies too: choose another")
            log("  place with --result_dir if they should not mix")
            return


def _copy_config(path: Path, tree: ResultsTree) -> None:
    target = tree.config_file(path)
    if target.exists() and target.samefile(path):
        return
    with atomic_path(target) as temporary:
        shutil.copyfile(path, temporary)


def _device(config: Config, gpu: str | None, log: Notify) -> Device:
    with importing():
        import torch

        from singula.training.device import choose_device, join_processes, use_cores

    use_cores(config.SYSTEM.NUM_CPUS)
    device = choose_device(gpu, config.SYSTEM.DEVICE, config.TRAIN.PRECISION, log)
    if device.kind == "cpu":
        log(f"computing on {counted(torch.get_num_threads(), 'CPU thread')}")
    join_processes(device)
    return device


def _train(
    config: Config,
    tree: ResultsTree,
    device: Device,
    log: Notify,
    job: Job,
    seconds: dict[str, float],
    *,
    main: bool,
) -> TrainReport | None:
    if not config.TRAIN.ENABLE:
        return None
    with importing():
        from singula.stages.train import train
        from singula.training.loader import loader_workers

    began = time.perf_counter()
    report = train(
        config,
        tree,
        device,
        log,
        resume=job.resume,
        workers=loader_workers(config.SYSTEM.NUM_WORKERS, device.kind),
        live=job.live,
        main=main,
    )
    seconds["training"] = time.perf_counter() - began
    log(
        f"trained in {seconds['training']:.0f} s; "
        f"best {config.TRAIN.CHECKPOINT_MONITOR} checkpoint: {report.result.best}"
    )
    return report


def _test(
    config: Config,
    tree: ResultsTree,
    device: Device,
    log: Notify,
    seconds: dict[str, float],
    job: Job,
    *,
    main: bool,
) -> TestRun | ChunkRun | None:
    from singula.io.write import write_csv
    from singula.stages.score import score_lines

    began = time.perf_counter()
    test: TestRun | ChunkRun
    if config.TEST.BY_CHUNKS.ENABLE:
        if not main:  # the blocks have workers of their own
            return None
        from singula.stages.chunks.run import ChunkRun

        test = ChunkRun(config, tree, device, log, job.resume, job.dask, job.live).run()
    else:
        from singula.stages.predict import TestRun

        # A large image can take minutes until its line is printed.
        with StatusLines(log, "testing: predicting, decoding and scoring", enabled=main) as status:
            test = TestRun(config, tree, device, status, job.resume).run()
    if not main:
        return test
    report = test.finish
    rows = report.scores.rows()
    if rows:
        write_csv(tree.metrics_csv, rows)
        for line in score_lines(report.scores):
            log(line)
    seconds["test"] = time.perf_counter() - began
    seconds.update(report.seconds)
    done = sum(name not in test.failed for name in test.sources)
    log(f"tested {counted(done, 'image')} in {seconds['test']:.0f} s: {tree.run}")
    if report.instances and not any(report.instances.values()):
        log("ATTENTION: no instance was found in any image")
        log(
            "  where the maps in per_image/ show the objects, other thresholds find them: "
            f"{command('tune', tree.run)}; else train longer"
        )
    every = counted(len({*test.sources, *test.failed}), "test image")
    if test.failed and report.instances:  # each reason was printed with its image
        log(f"FAILED: {len(test.failed)} of {every}, for the reasons above: {_names(test.failed)}")
    return test


def _report(tree: ResultsTree, log: Notify) -> None:
    """``report.html``; a run whose results are there does not fail for want of it."""
    from singula.report.build import build_report

    try:
        log(f"report: {build_report(tree.run, log)}")
    except Exception as error:
        reason = str(error) or type(error).__name__
        again = command("report", tree.run)
        log(f"the report could not be made ({reason}); to try again: {again}")
