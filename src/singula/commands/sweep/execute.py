"""Execution of a sweep: each run that is not finished, the ensembles, the table and the chart."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from singula.commands.launch import count_gpus, launch_run
from singula.commands.sweep.chart import CHART, draw_results
from singula.commands.sweep.ensemble import (
    ensemble_folder,
    reason_without_ensemble,
    score_ensemble,
)
from singula.commands.sweep.plan import Sweep, SweepOptions, SweepRun, plan_sweep, write_plan
from singula.commands.sweep.results import (
    Result,
    finished_runs,
    objective_of,
    read_results,
    result_of,
    state_of,
    write_results,
)
from singula.errors import StorageError, UserError, refuse_if_out_of_memory
from singula.io.run_lock import hold, lock_file
from singula.pipeline.run import run as run_job
from singula.runs.run import is_finished
from singula.util.format import counted, show
from singula.util.process import launcher_number
from singula.util.signals import INTERRUPTION

_log = logging.getLogger(__name__)
TASK_VARIABLE = "SLURM_ARRAY_TASK_ID"


@dataclass(frozen=True)
class SweepReport:
    """Result of the command.

    Parameters
    ----------
    sweep : Sweep
        The runs.
    results : list of Result
        Results of all runs and ensembles, also those of other commands.
    table : Path
        Table of the results.
    chart : Path, optional
        Chart; None if no run has a score.
    failed : dict of str to str
        Errors of the runs and ensembles of this command, by their title.
    """

    sweep: Sweep
    results: list[Result]
    table: Path
    chart: Path | None
    failed: dict[str, str]


def run_sweep(options: SweepOptions, index: int | None = None) -> SweepReport:
    """Start the runs of a sweep that are not finished, and write the table and the chart.

    Interrupted runs continue. A run that fails is reported, and the next one starts. A run that
    another process executes is left to it.

    Parameters
    ----------
    options : SweepOptions
        Options of the command.
    index : int, optional
        Number of the only run to start, from 1. Default: that of the task of a SLURM job array;
        otherwise all runs.

    Raises
    ------
    UserError
        ``sweep.launcher``: several processes execute the command; ``sweep.index``: `index` is not
        the number of a run; the codes of `plan_sweep` and `write_plan`.
    """
    if launcher_number("WORLD_SIZE") > 1:
        raise UserError(
            "sweep: got several processes of a launcher, expected one",
            'start the command once; --gpu "0,1" trains each run on two GPUs',
            "sweep.launcher",
        )
    if options.gpu is not None:
        from singula.training.device import parse_gpu

        parse_gpu(options.gpu)  # raise before anything is written
    sweep = plan_sweep(options)
    chosen = _chosen(sweep, index)
    write_plan(sweep)
    remaining = [run for run in chosen if state_of(run) != "finished"]
    if len(remaining) < len(chosen):
        total = counted(len(chosen), "run")
        _log.info(f"{len(chosen) - len(remaining)} of {total} finished already")
    failed: dict[str, str] = {}
    for run in remaining:
        if state_of(run) == "finished":  # by another process, since the list was made
            continue
        try:
            error = _execute(run, len(sweep.runs))
        except BaseException:  # a signal, or an error of the disk
            with suppress(UserError):
                _write_table(sweep)
            raise
        if error is not None:
            failed[run.title] = error
        _write(sweep)  # the table of the runs so far
    with hold([lock_file(sweep.folder)], "sweep", wait=True):
        failed |= _score_ensembles(sweep)
        return SweepReport(sweep, *_write(sweep), failed)


def _chosen(sweep: Sweep, index: int | None) -> Sequence[SweepRun]:
    """Return the runs that this command starts."""
    source, given = "--index", index
    if given is None and os.environ.get(TASK_VARIABLE):
        text = os.environ[TASK_VARIABLE]
        source = f"environment variable {TASK_VARIABLE}"
        given = int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else -1
        if given < 0:
            raise _wrong_index(source, text, len(sweep.runs))
        _log.info(f"{TASK_VARIABLE}: run {given} of {len(sweep.runs)}")
    if given is None:
        return sweep.runs
    if not 1 <= given <= len(sweep.runs):
        raise _wrong_index(source, given, len(sweep.runs))
    return sweep.runs[given - 1 : given]


def _wrong_index(source: str, given: object, count: int) -> UserError:
    return UserError(
        f"{source}: got {show(given)}, expected 1 to {count}, the number of runs",
        f"start the job array with the numbers 1-{count}, or unset the variable",
        "sweep.index",
    )


def _execute(run: SweepRun, count: int) -> str | None:
    """Start or continue a run, and return its error; None if it is finished."""
    folder = run.tree.run
    _log.info(f"[run {run.number} of {count}] {run.title}: {folder}")
    job = replace(run.job, resume=folder.is_dir())
    try:
        count_processes = count_gpus(job.gpu)
        if count_processes > 1:
            code = launch_run(count_processes, job)
            return f"ended with exit code {code}" if code > 1 else _failed_images(run)
        with refuse_if_out_of_memory():
            run_job(job)
        return _failed_images(run)
    except StorageError:  # the next run could not be written either
        raise
    except UserError as error:
        if INTERRUPTION.received is not None:  # it caused the error
            raise
        if error.code == "run.locked":
            _log.info(f"  another process executes run {run.number}")
            return None
        _log.warning(f"run {run.number} FAILED: {error}")
        return error.message
    finally:
        gc.collect()


def _failed_images(run: SweepRun) -> str | None:
    return "some test images failed" if state_of(run) == "images failed" else None


def _score_ensembles(sweep: Sweep) -> dict[str, str]:
    """Score the ensembles of the combinations whose folds are finished, and return the errors."""
    errors: dict[str, str] = {}
    reasons: set[str] = set()
    for runs in sweep.combinations() if sweep.runs[0].fold is not None else ():
        opened = finished_runs(runs)
        if opened is None:
            continue
        reason = reason_without_ensemble(opened)
        if reason is not None:
            reasons.add(reason)
            continue
        try:
            with refuse_if_out_of_memory():
                score_ensemble(runs, opened)
        except UserError as error:
            title = f"ensemble {runs[0].combination}"
            _log.warning(f"{title} FAILED: {error}")
            errors[title] = error.message
    for reason in sorted(reasons):
        _log.info(f"no ensemble is scored: {reason}")
    return errors


def _write(sweep: Sweep) -> tuple[list[Result], Path, Path | None]:
    """Write the table and the chart."""
    with hold([lock_file(sweep.folder)], "sweep", wait=True):
        results, table = _write_table(sweep)
        chart = draw_results(sweep, results, objective_of(results), sweep.folder / CHART)
    return results, table, chart


def _write_table(sweep: Sweep) -> tuple[list[Result], Path]:
    """Write the table, unless another process writes it."""
    with hold([lock_file(sweep.folder)], "sweep"):
        ensembles = []
        for runs in sweep.combinations() if sweep.runs[0].fold is not None else ():
            folder = ensemble_folder(runs)
            if is_finished(folder):
                ensembles.append(result_of(runs[0], folder, is_ensemble=True))
        results = read_results(sweep, ensembles)
        return results, write_results(sweep, results)


def unfinished(report: SweepReport) -> str | None:
    """Return a line about the runs that are not finished; None if all are."""
    count = sum(result.state in ("not finished", "not started") for result in report.results)
    total = counted(len(report.sweep.runs), "run")
    return f"{count} of {total} not finished: repeat the command to continue" if count else None
