"""Implementation of `singula reproduce`: repeat a run, and compare the results."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from singula.commands.original_inputs import check_data, find_folders, find_model, parse_moves
from singula.config.schema.root import nested
from singula.errors import UserError
from singula.io.records.results import RunSummary
from singula.io.run_lock import hold, output_locks
from singula.io.write import write_csv, write_text
from singula.pipeline.provenance import machine, versions
from singula.pipeline.run import Job
from singula.pipeline.run import run as run_job
from singula.runs.compare import Comparison, compare_runs, largest_f1_difference
from singula.runs.run import Run, open_run
from singula.util.format import command, counted, show
from singula.util.messages import captured_messages
from singula.util.paths import text_problem, user_path
from singula.util.process import thread_limit
from singula.zoo.models import portable_name

_log = logging.getLogger(__name__)
TOLERANCE = 0.01
"""Largest difference of F1 to a run on another machine or with other versions."""
# Differences of the machine that do not change results
_IRRELEVANT = ("system", "cores")


@dataclass(frozen=True)
class Plan:
    """Repetition of a run.

    Parameters
    ----------
    job : Job
        Job that repeats the run.
    processes : int
        Number of processes.
    values : dict
        Configuration of the repetition, by dotted key.
    notices : list of str
        Differences to the original run.
    """

    job: Job
    processes: int
    values: dict[str, Any]
    notices: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Reproduction:
    """Result of the repetition of a run.

    Parameters
    ----------
    run : Path
        Folder of the new run.
    comparisons : list of Comparison
        Comparison of each kind of result.
    environment : list of str
        Differences of versions and machine; empty if results must be identical.
    f1_difference : float, optional
        Result of `largest_f1_difference`.
    """

    run: Path
    comparisons: list[Comparison]
    environment: list[str]
    f1_difference: float | None

    @property
    def is_identical(self) -> bool:
        """True if all results are equal."""
        return not any(comparison.differing for comparison in self.comparisons)

    @property
    def is_reproduced(self) -> bool:
        """True if the results are equal, or close enough for another machine or version."""
        if self.is_identical:
            return True
        if not self.environment:
            return False
        agreements = [c.agreement for c in self.comparisons if c.agreement is not None]
        if self.f1_difference is not None:
            return self.f1_difference <= TOLERANCE
        is_complete = all(c.agreement is not None for c in self.comparisons if "label" in c.result)
        return bool(agreements) and is_complete and min(agreements) >= 1 - TOLERANCE

    def lines(self) -> list[str]:
        """Return the table of the comparisons, and the verdict."""
        width = max((len(c.result) for c in self.comparisons), default=0)
        lines = [f"{c.result:<{width}}  {c.compared:>6}  {c.verdict}" for c in self.comparisons]
        return [f"{'result':<{width}}  {'number':>6}  comparison", *lines, self.verdict]

    @property
    def verdict(self) -> str:
        """Text of the last line."""
        if self.is_identical:
            return "REPRODUCED: all results are identical"
        f1 = self.f1_difference
        size = "" if f1 is None else f"F1 differs by at most {f1:.4f}"
        if self.is_reproduced:
            text = f"{size} (limit {TOLERANCE:g})" if size else "the instances agree"
            return f"REPRODUCED within the tolerance for other versions or machines: {text}"
        if not self.environment:
            cause = "the versions and the processor are the same, so results should be identical"
            return f"NOT REPRODUCED: {cause}" + (f"; {size}" if size else "")
        return f"NOT REPRODUCED: {size or 'the instances differ'} (limit {TOLERANCE:g})"


def reproduce(
    run: Path,
    output: Path | None = None,
    *,
    data: Sequence[str] = (),
    gpu: str | None = None,
    resume: bool = False,
    live: bool = False,
) -> Reproduction:
    """Repeat a run in a new folder, and compare the results with the original.

    Parameters
    ----------
    run : Path
        Folder of a finished run; it is only read.
    output : Path, optional
        New folder. Default: NAME_RUN_reproduced in the working folder.
    data : sequence of str
        Moved folders of the data, as ``OLD=NEW``.
    gpu : str, optional
        Device. Default: that of the original run.
    resume : bool
        Continue an interrupted repetition.
    live : bool
        Draw a progress bar.

    Raises
    ------
    UserError
        ``paths.character``: the name of `output` is not text; ``runs.no_configuration``,
        ``reproduce.folder_exists``, ``reproduce.data_missing``, ``reproduce.data_changed``,
        ``reproduce.data_option``, ``reproduce.model_missing``, ``reproduce.model_changed``,
        ``reproduce.processes``; the codes of `open_run` and of `run`.
    """
    opened = open_run(user_path(run, "run"))
    opened = replace(opened, config=opened.valid_config())
    folder = Path(f"{opened.tree.job_id}_reproduced") if output is None else output
    folder = user_path(folder, "--output", "output folder")
    _check_output(folder, opened, resume=resume)
    folders = find_folders(opened, parse_moves(data))
    if opened.summary.data:
        check_data(opened, folders)
    plan = _plan(opened, folder, folders, find_model(opened), gpu)
    for line in (*plan.notices, *_expected_changes(opened, plan)):
        _log.warning(line)
    with hold(output_locks(folder), "reproduce"):
        text = yaml.safe_dump(nested(plan.values), sort_keys=False)
        write_text(plan.job.config, text)
    job = replace(plan.job, resume=resume, live=live)
    _start(job, plan.processes)
    return _compared(opened, folder, job)


def _check_output(folder: Path, run: Run, *, resume: bool) -> None:
    text = str(folder.absolute())
    problem = text_problem(text)
    if problem is not None:  # the folder is written to the configuration of the repetition
        reason, _, code = problem
        raise UserError(
            f"--output: got {show(text)}, expected a path that can be written to a configuration "
            f"({reason})",
            "give another folder with -o",
            code,
        )
    if resume or not folder.exists() or not any(folder.iterdir()):
        return
    raise UserError(
        f"--output: got {folder}, expected a new or empty folder, so that no results are replaced",
        "give another folder with -o, or continue an interrupted repetition with --resume",
        "reproduce.folder_exists",
    )


def _plan(
    run: Run, output: Path, folders: Mapping[str, str], model: Path | None, gpu: str | None
) -> Plan:
    """Return the job that repeats a run, and the notices about what it repeats differently."""
    summary, tree = run.summary, run.tree
    values = {**summary.configuration, **folders}
    notices = []
    for key in list(values):
        is_place = key.startswith(("PATHS.", "LOG.")) and isinstance(values[key], str)
        if is_place or key.endswith((".INSTANCE_CHANNELS_DIR", ".INSTANCE_CHANNELS_MASK_DIR")):
            del values[key]
    for part in ("TRAIN", "VAL", "TEST"):  # labels are encoded again, in the new folder
        for name, letter in (("INSTANCE_CHANNELS_DIR", "x"), ("INSTANCE_CHANNELS_MASK_DIR", "y")):
            path = output.absolute() / "channels" / part.lower() / letter
            values[f"DATA.{part}.{name}"] = str(path)
    if model is not None:
        name = values["PATHS.CHECKPOINT_FILE"] = portable_name(model)
        if not run.config.TRAIN.ENABLE:
            notices.append(f"the run did not train; it is repeated with its checkpoint {name}")
    if values.get("TEST.REUSE_PREDICTIONS"):
        values["TEST.REUSE_PREDICTIONS"] = False
        notices.append("the run reused stored predictions; the repetition predicts again")
    notices += _set_seed(run, values)
    _set_arithmetic(run, values)
    job = summary.job
    if job.resumed:
        notices.append("the run was resumed after an interruption; it is repeated in one go")
    if job.dask is not None:
        notices.append(
            f"the run used Dask workers ({job.dask}), which do not change results; it is repeated "
            "without them"
        )
    if run.tree.tuning.is_dir():
        notices.append(
            "thresholds from `singula tune` after the run are not part of it; to repeat them, run "
            f"{command('tune', output / tree.name / 'results' / tree.job_id)}"
        )
    device = str(summary.machine.get("device", "cpu"))
    if gpu is None:
        gpu = ",".join(map(str, range(job.processes))) if device == "cuda" else device
    config = output / f"{tree.name}.yaml"
    new = Job(config, output, tree.name, tree.run_id, gpu)
    _check_processes(job.processes, gpu)
    return Plan(new, job.processes, values, notices)


def _set_seed(run: Run, values: dict[str, Any]) -> Iterator[str]:
    """Set the seed of the training in the configuration, which also has that of the split."""
    seed, configured = run.summary.seed, run.config.SYSTEM.SEED
    if seed is None or seed == configured:
        return
    # SYSTEM.SEED was not set: the run id determines the seed of the training.
    if seed == (configured + run.tree.run_id - 1) % 2**32:
        values.pop("SYSTEM.SEED", None)
        return
    values["SYSTEM.SEED"] = seed
    yield (
        f"the training began with seed {seed} and was continued with SYSTEM.SEED {configured}; it "
        f"is repeated with {seed}"
    )


def _set_arithmetic(run: Run, values: dict[str, Any]) -> None:
    """Set automatic choices that depend on the machine to those of the run."""
    machine = run.summary.machine
    if run.summary.precision:
        values["TRAIN.PRECISION"] = run.summary.precision
    if "threads" in machine:
        values["SYSTEM.NUM_CPUS"] = machine["threads"]
        if run.config.TEST.BACKEND == "auto" and "openvino" not in run.summary.versions:
            values["TEST.BACKEND"] = "torch"


def _check_processes(processes: int, gpu: str) -> None:
    """Refuse to repeat a training on fewer GPUs than processes, whose batches would differ."""
    from singula.training.device import parse_gpu, present_gpus

    indices = parse_gpu(gpu)
    if processes > 1 and indices is not None and 0 < present_gpus() < processes:
        raise UserError(
            f"--gpu: got {counted(present_gpus(), 'GPU')}, expected {processes}, because the run "
            f"trained with {counted(processes, 'process', 'processes')}",
            "repeat it on a machine with as many GPUs, or with --gpu cpu",
            "reproduce.processes",
        )


def _start(job: Job, processes: int) -> None:
    if processes == 1:
        run_job(job)
        return
    from singula.commands.launch import launch_run

    code = launch_run(processes, job)
    if code:
        raise UserError(
            f"the repetition ended with exit code {code}",
            "correct the errors above, and repeat the command with --resume",
            "reproduce.failed",
        )


def _expected_changes(original: Run, plan: Plan) -> Iterator[str]:
    """Yield notices about differences of versions and machine, before the run begins."""
    from singula.training.device import choose_device, cpu_threads

    summary = original.summary
    if not summary.data:
        yield "run.json has no digests of the data; changes of the images cannot be detected"
    with captured_messages():  # the run logs them
        device = choose_device(plan.job.gpu, "cpu", plan.values.get("TRAIN.PRECISION", "auto"))
    now: dict[str, Any] = {**versions(), **machine(device), "precision": device.precision}
    if plan.processes > 1:
        now["threads"] = summary.machine.get("threads", "unknown")
    elif "threads" in summary.machine:
        now["threads"] = thread_limit() or cpu_threads(plan.values["SYSTEM.NUM_CPUS"])
    changes = [*_changes(_environment(summary), now), *_inexact_steps(original)]
    if changes:
        yield (
            f"versions or machine differ, so results need not be identical; F1 may differ by "
            f"{TOLERANCE:g}:"
        )
        yield from (f"  {change}" for change in changes)


def _inexact_steps(run: Run) -> Iterator[str]:
    """Yield the steps of a run whose rounding is not fixed, even on the same machine."""
    on_gpu = run.summary.machine.get("device") == "cuda"
    if on_gpu and run.config.TRAIN.ENABLE and run.config.MODEL.UPSAMPLE_LAYER == "upsampling":
        yield "MODEL.UPSAMPLE_LAYER: upsampling: its gradients have no fixed order on a GPU"


def _environment(summary: RunSummary) -> dict[str, Any]:
    """Return all values that can change results by rounding."""
    return {**summary.versions, **summary.machine, "precision": summary.precision}


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys([*old, *new]):
        before, after = old.get(name, "unknown"), new.get(name, "unknown")
        if name not in _IRRELEVANT and before != after:
            yield f"{name}: {before} in the run, {after} here"


def _compared(original: Run, output: Path, job: Job) -> Reproduction:
    name = original.tree.name
    with captured_messages():
        repeated = open_run(output / name / "results" / original.tree.job_id)
    comparisons = compare_runs(original, repeated)
    rows = [
        {
            "result": c.result,
            "compared": c.compared,
            "differing": len(c.differing),
            "difference": c.difference if c.differing else "",
            "names": " ".join(c.differing),
        }
        for c in comparisons
    ]
    write_csv(output / "comparison.csv", rows)
    changes = _changes(_environment(original.summary), _environment(repeated.summary))
    return Reproduction(
        repeated.tree.run,
        comparisons,
        [*changes, *_inexact_steps(original)],
        largest_f1_difference(original, repeated),
    )
