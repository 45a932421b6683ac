"""A run: configuration, training, prediction, scores and results."""

from __future__ import annotations

import gc
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from singula.config import Config, load_config
from singula.errors import UserError
from singula.io.atomic import atomic_path
from singula.io.run_folder import ResultsTree
from singula.io.run_lock import hold
from singula.io.run_log import RunLog
from singula.pipeline.provenance import RunInputs, check_data_paths, data_digests, first_model
from singula.pipeline.summary import peak_memory_mib, write_summary
from singula.util.format import command, counted
from singula.util.locations import location
from singula.util.messages import messages_once, no_messages, pass_messages
from singula.util.process import check_launcher, importing, launcher_number
from singula.util.progress import StatusLines
from singula.util.slurm import was_requeued

if TYPE_CHECKING:
    from singula.pipeline.test_run import TestRun
    from singula.pipeline.train import TrainReport
    from singula.training.device import Device

_log = logging.getLogger(__name__)
_MAX_NAMED = 10


@dataclass(frozen=True)
class Job:
    """Arguments of a run on the command line.

    Parameters
    ----------
    config : Path
        YAML file of the configuration.
    result_dir : Path
        Parent of the folder of the job.
    name : str, optional
        Name of the job. Default: name of the configuration file.
    run_id : int
        Number of the run.
    gpu : str, optional
        Device: ``0``, ``cuda:0``, ``"0, 1"`` or ``cpu``. Default: as configured.
    overrides : sequence of str
        Keys to override, as ``KEY=VALUE``.
    resume : bool
        Continue an interrupted run.
    live : bool
        Draw a progress bar.
    dask : str, optional
        Dask workers that process the blocks of large images: ``local:N``, ``tcp://HOST:PORT`` or
        ``slurm:FILE``.
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
        """Return the arguments of the command ``singula`` for this run."""
        arguments = ["run", "--config", str(self.config), "--result_dir", str(self.result_dir)]
        arguments += ["--name", self.name] if self.name else []
        arguments += ["--run_id", str(self.run_id)]
        arguments += ["--gpu", self.gpu] if self.gpu else []
        for override in self.overrides:
            arguments += ["--set", override]
        arguments += ["--dask", self.dask] if self.dask else []
        return [*arguments, *(["--resume"] if self.resume else [])]


@dataclass(frozen=True)
class RunReport:
    """Result of a run.

    Parameters
    ----------
    tree : ResultsTree
        Results folder.
    config : Config
        Configuration of the run.
    training : TrainReport, optional
        Report of the training; None if the run does not train.
    test : TestRun, optional
        Finished test; None if the run does not test.
    """

    tree: ResultsTree
    config: Config
    training: TrainReport | None = None
    test: TestRun | None = None


def run(job: Job) -> RunReport:
    """Train and test as configured, and write the results.

    Messages are logged and written to the log file of the run, by the first process only.

    Parameters
    ----------
    job : Job
        Arguments of the run.

    Raises
    ------
    UserError
        The configuration, a folder or a file is invalid. ``run.locked``: another process writes to
        this run. ``dask.without_blocks``: `dask` is set, but the run does not test in blocks.
        ``test.all_failed``: all test images failed.
    """
    check_launcher()
    rank = launcher_number("RANK")
    log = RunLog()
    try:
        with ExitStack() as stack:
            stack.enter_context(messages_once())
            stack.enter_context(no_messages() if rank else pass_messages(log.write))
            return _run(job, log, rank, stack)
    except UserError as error:
        log.write(f"error: {error}")
        raise
    finally:
        log.close()
        gc.unfreeze()  # `importing` froze objects that the caller may have deleted since


def _run(job: Job, log: RunLog, rank: int, stack: ExitStack) -> RunReport:
    start = time.perf_counter()
    if was_requeued() and not job.resume:
        _log.info("SLURM started this job before: continuing as with --resume")
        job = replace(job, resume=True)
    config = load_config(job.config, job.overrides)
    tree = job.tree(config)
    check_data_paths(config)
    if job.dask is not None and not (config.TEST.ENABLE and config.TEST.BY_CHUNKS.ENABLE):
        raise UserError(
            f"--dask {job.dask}: got TEST.BY_CHUNKS.ENABLE or TEST.ENABLE: False, expected True, "
            "because workers share the blocks of test images",
            "add --set TEST.BY_CHUNKS.ENABLE=True, or omit --dask",
            "dask.without_blocks",
        )
    if job.dask is not None:
        from singula.blocks.dask_options import check_dask_option

        check_dask_option(job.dask)  # before hours of training
    if job.gpu is not None:
        from singula.training.device import parse_gpu

        parse_gpu(job.gpu)  # raise before anything is written
    if job.resume and not tree.run.is_dir():
        _log.warning(f"--resume: the run {tree.run} does not exist yet; a new run starts")
    if rank == 0:  # the other processes of this run write nothing
        files = tree.lock_files(checkpoints=config.TRAIN.ENABLE)
        stack.enter_context(hold(files, "run"))
        stack.enter_context(tree.protect())
        tree.prepare()
        log.open(tree.log_file)
        _copy_config(job.config, tree)
        _warn_if_data_in_job_folder(config, tree)
    if config.TRAIN.ENABLE and config.TEST.ENABLE:
        with importing():
            from singula.pipeline.test_inputs import check_test

        check_test(config)
    device = _device(config, job.gpu)
    _log.info(f"results: {tree.run}")
    seconds = {"start": time.perf_counter() - start}
    inputs = RunInputs() if rank else _inputs(config, tree, job, seconds)
    memory = {"start": peak_memory_mib()}
    training = _train(config, tree, device, job, seconds, main=rank == 0)
    if training is not None:
        memory["training"] = peak_memory_mib()
    test = None
    if config.TEST.ENABLE:
        test = _test(config, tree, device, seconds, job, main=rank == 0)
        memory["test"] = peak_memory_mib()
    if rank == 0:
        for line in inputs.without_digests:
            _log.warning(line)
        write_summary(config, tree, device, inputs, seconds, memory, training, test)
        _report(tree)
        if test is not None:
            _check_any_done(test, tree)
    return RunReport(tree, config, training, test)


def _check_any_done(test: TestRun, tree: ResultsTree) -> None:
    """Refuse a test in which every image failed; the training before it is kept."""
    if test.failed and not test.results.instances:
        raise UserError(
            f"none of {counted(len(test.failed), 'test image')} could be processed: "
            f"{_names(test.failed)}",
            "correct the errors in the lines above, and repeat the command with --resume "
            f"(log: {tree.log_file})",
            "test.all_failed",
        )


def _names(failed: Mapping[str, str]) -> str:
    more = f" … and {len(failed) - _MAX_NAMED} more" if len(failed) > _MAX_NAMED else ""
    return f"{', '.join(list(failed)[:_MAX_NAMED])}{more}"


def _warn_if_data_in_job_folder(config: Config, tree: ResultsTree) -> None:
    """Report a folder of the job that also contains the images."""
    values, job_dir = config.dotted(), tree.job_dir.resolve()
    for key in ("DATA.TRAIN.PATH", "DATA.VAL.PATH", "DATA.TEST.PATH"):
        if values[key] and job_dir in location(values[key]).resolve().parents:
            _log.warning(
                f"results are written to {tree.job_dir}, which also contains {key}; choose"
            )
            _log.warning("  another folder with --result_dir to keep them separate")
            return


def _copy_config(path: Path, tree: ResultsTree) -> None:
    target = tree.config_file(path)
    if target.exists() and target.samefile(path):
        return
    with atomic_path(target) as temporary:
        shutil.copyfile(path, temporary)


def _device(config: Config, gpu: str | None) -> Device:
    with importing():
        import torch

        from singula.training.device import choose_device, use_cores
        from singula.training.processes import join_processes

    use_cores(config.SYSTEM.NUM_CPUS)
    device = choose_device(gpu, config.SYSTEM.DEVICE, config.TRAIN.PRECISION)
    if device.kind == "cpu":
        _log.info(f"computing on {counted(torch.get_num_threads(), 'CPU thread')}")
    join_processes(device)
    return device


def _inputs(config: Config, tree: ResultsTree, job: Job, seconds: dict[str, float]) -> RunInputs:
    """Return the data, weights and options of the run, before they can change."""
    start = time.perf_counter()
    with StatusLines("computing digests of the images"):
        (data, warnings), model = data_digests(config), first_model(config, tree)
    seconds["digests"] = time.perf_counter() - start
    processes = launcher_number("WORLD_SIZE")
    return RunInputs(data, warnings, model, processes, job.dask, job.resume)


def _train(
    config: Config,
    tree: ResultsTree,
    device: Device,
    job: Job,
    seconds: dict[str, float],
    *,
    main: bool,
) -> TrainReport | None:
    if not config.TRAIN.ENABLE:
        return None
    with importing():
        from singula.pipeline.train import train
        from singula.training.loader import loader_workers
        from singula.training.processes import set_position

    set_position("preparing the training")
    start = time.perf_counter()
    report = train(
        config,
        tree,
        device,
        resume=job.resume,
        workers=loader_workers(config.SYSTEM.NUM_WORKERS, device.kind),
        live=job.live,
        main=main,
    )
    seconds["training"] = time.perf_counter() - start
    _log.info(
        f"trained in {seconds['training']:.0f} s; "
        f"best {config.TRAIN.CHECKPOINT_MONITOR} checkpoint: {report.result.best}"
    )
    return report


def _test(
    config: Config,
    tree: ResultsTree,
    device: Device,
    seconds: dict[str, float],
    job: Job,
    *,
    main: bool,
) -> TestRun | None:
    from singula.io.record_tables import write_table
    from singula.io.records.tables import MetricsRow
    from singula.pipeline.score import score_lines
    from singula.training.processes import set_position

    set_position("test")
    start = time.perf_counter()
    test: TestRun
    if config.TEST.BY_CHUNKS.ENABLE:
        if not main:  # the runner starts the workers of the blocks
            return None
        from singula.pipeline.blocks.test import BlockTest

        test = BlockTest(config, tree, device, job.resume, job.dask, job.live).run()
    else:
        from singula.pipeline.test import WholeImageTest

        # A large image can take minutes until its line is printed.
        with StatusLines("testing: predicting, decoding and scoring", enabled=main):
            test = WholeImageTest(config, tree, device, job.resume).run()
    if not main:
        return test
    results = test.results
    rows = results.scores.rows()
    if rows:
        write_table(tree.metrics_csv, rows, MetricsRow)
        for line in score_lines(results.scores):
            _log.info(line)
    seconds["test"] = time.perf_counter() - start
    seconds.update(results.seconds)
    done = sum(name not in test.failed for name in test.sources)
    _log.info(f"tested {counted(done, 'image')} in {seconds['test']:.0f} s: {tree.run}")
    if results.instances and not any(results.instances.values()):
        _log.warning("ATTENTION: no instance was found in any image")
        _log.warning(
            "  if the maps in per_image/ show the objects, tune the thresholds: "
            f"{command('tune', tree.run)}; otherwise train longer"
        )
    total = counted(len({*test.sources, *test.failed}), "test image")
    if test.failed and results.instances:  # each error was printed with its image
        _log.warning(
            f"FAILED: {len(test.failed)} of {total}, for the reasons above: {_names(test.failed)}"
        )
    return test


def _report(tree: ResultsTree) -> None:
    """Write ``report.html``; an error is logged, so that the run does not fail."""
    from singula.report.build import build_report

    try:
        _log.info(f"report: {build_report(tree.run)}")
    except Exception as error:
        reason = str(error) or type(error).__name__
        again = command("report", tree.run)
        _log.warning(f"the report could not be written ({reason}); to repeat it: {again}")
