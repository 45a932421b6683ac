"""Runs of a sweep: their values, their validation, and the record in the folder of the sweep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json

from singula.commands.sweep.space import check_number, combine, parse_varied
from singula.config import Config, load_config
from singula.config.load import ConfigError
from singula.errors import UserError
from singula.io.record_files import read_record, write_record
from singula.io.records.sweeps import SweepRecord
from singula.io.run_folder import ResultsTree
from singula.io.run_lock import hold, lock_file
from singula.pipeline.provenance import check_data_paths
from singula.pipeline.run import Job
from singula.util.format import counted, list_lines, show
from singula.util.messages import captured_messages, deferred_messages, log_deferred

RECORD = "sweep.json"
SEED = "SYSTEM.SEED"
FOLD = "DATA.VAL.CROSS_VAL_FOLD"
_CROSS_VAL = ("DATA.VAL.CROSS_VAL", "DATA.VAL.CROSS_VAL_NFOLD", FOLD)
# Keys that may change when a sweep continues: they do not change results
_MACHINE = ("SYSTEM.NUM_CPUS", "SYSTEM.NUM_WORKERS", "SYSTEM.DEVICE", "SYSTEM.MAX_MEMORY", "LOG.")
_CACHES = (".INSTANCE_CHANNELS_DIR", ".INSTANCE_CHANNELS_MASK_DIR")
# Fields of the record, by option
_OPTIONS = {"--vary": "varied", "--set": "overrides", "--folds": "folds", "--trials": "trials",
            "--seed": "seed"}  # fmt: skip
_MAX_FOLDS = 100
_MAX_LISTED = 8


@dataclass(frozen=True)
class SweepOptions:
    """Options of the command.

    Parameters
    ----------
    config : Path
        Configuration file.
    varied : sequence of str
        Varied keys, see `parse_varied`.
    overrides : sequence of str
        Keys that are changed in all runs, as ``KEY=VALUE``.
    folds : int, optional
        Number of folds of a cross-validation of each combination.
    trials : int, optional
        Number of random combinations. Default: all combinations.
    seed : int
        Seed of the random combinations.
    result_dir : Path
        Parent of the folder of the sweep.
    name : str, optional
        Name of the folder and prefix of the runs. Default: that of the file with ``_sweep``.
    gpu : str, optional
        Device, as for `Job`.
    live : bool
        Draw a progress bar.
    """

    config: Path
    varied: Sequence[str] = ()
    overrides: Sequence[str] = ()
    folds: int | None = None
    trials: int | None = None
    seed: int = 0
    result_dir: Path = Path()
    name: str | None = None
    gpu: str | None = None
    live: bool = False

    @property
    def job(self) -> Job:
        """Job without varied values, with the run id 1."""
        name = self.name or f"{self.config.stem}_sweep"
        return Job(
            self.config, self.result_dir, name, 1, self.gpu, tuple(self.overrides), live=self.live
        )


@dataclass(frozen=True)
class SweepRun:
    """Run of a sweep.

    Parameters
    ----------
    number : int
        Run id, from 1.
    values : mapping of str to str
        Values of the varied keys.
    combination : int
        Number of the combination of values, from 1. The folds of a cross-validation have the same.
    fold : int, optional
        Fold of the cross-validation, from 1.
    job : Job
        Job with all values.
    config : Config
        Its configuration.
    """

    number: int
    values: Mapping[str, str]
    combination: int
    fold: int | None
    job: Job
    config: Config

    @property
    def tree(self) -> ResultsTree:
        """Paths of its results."""
        return self.job.tree(self.config)

    @property
    def title(self) -> str:
        """Values and fold as text."""
        return describe(self.values, self.fold)


@dataclass(frozen=True)
class Sweep:
    """Valid runs of a sweep.

    Parameters
    ----------
    options : SweepOptions
        Options of the command.
    keys : tuple of str
        Varied keys.
    runs : tuple of SweepRun
        All runs, in order.
    """

    options: SweepOptions
    keys: tuple[str, ...]
    runs: tuple[SweepRun, ...]

    @property
    def folder(self) -> Path:
        """Folder of the sweep, which contains the runs."""
        return self.runs[0].tree.job_dir

    def combinations(self) -> list[list[SweepRun]]:
        """Return the runs of each combination of values."""
        groups: dict[int, list[SweepRun]] = {}
        for run in self.runs:
            groups.setdefault(run.combination, []).append(run)
        return list(groups.values())


def describe(values: Mapping[str, str], fold: int | None = None) -> str:
    """Return values and fold as text, such as ``LR=0.001, fold 2``."""
    texts = [f"{key.rpartition('.')[2]}={value}" for key, value in values.items()]
    return ", ".join([*texts, *([] if fold is None else [f"fold {fold}"])])


def plan_sweep(options: SweepOptions) -> Sweep:
    """Return the runs of a sweep, and validate their configurations.

    Nothing is written.

    Parameters
    ----------
    options : SweepOptions
        Options of the command.

    Raises
    ------
    UserError
        ``sweep.nothing``: neither a varied key nor folds; the codes of `parse_varied` and
        `combine`; ``sweep.fold_keys``, ``sweep.repeated_key``: a key is set twice;
        ``sweep.folds``: the number of folds is not valid; ``sweep.combination``: some combinations
        are not valid; ``config.invalid``: all of them; ``sweep.shared_folder``: two runs write to
        one folder; the codes of `check_test` and `split_pairs`.
    """
    if not options.varied and options.folds is None:
        raise UserError(
            "sweep: got neither --vary nor --folds, expected one of them",
            'give the values of a key, such as --vary "TRAIN.LR=0.001,0.002", or the number of '
            "folds of a cross-validation, such as --folds 5",
            "sweep.nothing",
        )
    varied = parse_varied(options.varied)
    keys = tuple(each.key for each in varied)
    _check_keys(keys, options)
    folds = options.folds or 0
    if options.folds is not None and not 2 <= folds <= _MAX_FOLDS:
        raise UserError(
            f"--folds: got {folds}, expected 2 to {_MAX_FOLDS}",
            "give the number of folds, such as --folds 5",
            "sweep.folds",
        )
    combinations = combine(varied, options.trials, options.seed)
    check_number(len(combinations) * max(folds, 1))
    runs = _load(list(_jobs(options, combinations, folds)), options)
    _check_folders(runs)
    _check_data(runs)
    return Sweep(options, keys, tuple(runs))


def _check_keys(keys: Sequence[str], options: SweepOptions) -> None:
    """Raise an error for a key that several options set."""
    fixed = [text.partition("=")[0].strip() for text in options.overrides]
    for key in keys:
        if key in fixed:
            raise UserError(
                f"--set: got {show(key)}, expected a key that --vary does not change",
                "give the key in only one of the two options",
                "sweep.repeated_key",
            )
    for key in (*keys, *fixed):
        if options.folds is not None and key in _CROSS_VAL:
            raise UserError(
                f"--folds: got also {key}, expected one of them, because --folds sets this key",
                f"omit {key}, or omit --folds and vary {FOLD}",
                "sweep.fold_keys",
            )


def _jobs(
    options: SweepOptions, combinations: Sequence[Mapping[str, str]], folds: int
) -> Iterator[tuple[Mapping[str, str], int, int | None, Job]]:
    """Yield values, number of the combination, fold and job of each run."""
    number = 0
    for combination, values in enumerate(combinations, 1):
        for fold in range(1, folds + 1) if folds else (None,):
            number += 1
            overrides = [*options.overrides, *(f"{key}={value}" for key, value in values.items())]
            if fold is not None:
                settings = zip(_CROSS_VAL, (True, folds, fold), strict=True)
                overrides += [f"{key}={value}" for key, value in settings]
            job = replace(options.job, run_id=number, overrides=tuple(overrides))
            yield values, combination, fold, job


def _load(
    jobs: Sequence[tuple[Mapping[str, str], int, int | None, Job]], options: SweepOptions
) -> list[SweepRun]:
    """Return the runs with their configurations; report all problems together."""
    runs: list[SweepRun] = []
    problems: dict[str, list[str]] = {}
    errors: list[ConfigError] = []
    records = []
    for values, combination, fold, job in jobs:
        try:
            with deferred_messages() as messages:
                config = load_config(job.config, job.overrides)
                job = _with_seed(job, config)
                config = load_config(job.config, job.overrides) if job.overrides else config
        except ConfigError as error:
            errors.append(error)
            for problem in error.problems:
                of_option = problem.place.source == "--set"
                text = problem.text if of_option else str(problem)
                problems.setdefault(text, []).append(describe(values, fold))
            continue
        records.append(messages)
        runs.append(SweepRun(job.run_id, values, combination, fold, job, config))
    if not errors:
        log_deferred(records[0])  # notices about the file, which are the same for all runs
        return runs
    if len(errors) == len(jobs) and not options.varied:
        raise errors[0]
    lines = [
        f"{text} ({_names(titles) if len(titles) < len(jobs) else 'all runs'})"
        for text, titles in problems.items()
    ]
    verb = "is" if len(errors) == 1 else "are"
    raise UserError(
        f"--vary: {len(errors)} of {counted(len(jobs), 'run')} {verb} not valid:"
        f"{list_lines(lines, _MAX_LISTED)}",
        "correct the values; no run was started",
        "sweep.combination",
    )


def _names(titles: Sequence[str]) -> str:
    more = f" and {len(titles) - 3} more" if len(titles) > 3 else ""
    return "; ".join(titles[:3]) + more


def _with_seed(job: Job, config: Config) -> Job:
    """Return the job with a fixed seed: without one, it would depend on the run id."""
    if config.is_set(SEED):
        return job
    return replace(job, overrides=(*job.overrides, f"{SEED}={config.SYSTEM.SEED}"))


def _check_folders(runs: Sequence[SweepRun]) -> None:
    """Raise an error if a configured path is the same for two runs."""
    used: dict[Path, SweepRun] = {}
    for run in runs:
        for lock in {run.tree.run, *run.tree.lock_files(checkpoints=True)}:
            if lock in used:
                place = lock if lock == run.tree.run else lock.parent
                raise UserError(
                    f"{place}: got as a folder of run {used[lock].number} and of run {run.number}, "
                    "expected a folder for each run",
                    "remove the keys of PATHS and LOG from the configuration, or use JOB_ID in "
                    "them, which is replaced by the name of the run",
                    "sweep.shared_folder",
                )
            used[lock] = run


def _check_data(runs: Sequence[SweepRun]) -> None:
    """Validate the images of all runs, from names and headers."""
    from singula.pipeline.load_data import find_pairs
    from singula.pipeline.split import split_pairs
    from singula.pipeline.test_inputs import check_test

    for run in runs:
        check_data_paths(run.config)
    config = runs[0].config
    with captured_messages():  # the runs log them
        if config.TRAIN.ENABLE and config.DATA.VAL.FROM_TRAIN:
            split_pairs(config, find_pairs(config, "TRAIN"))
        if config.TEST.ENABLE:
            check_test(config)


def write_plan(sweep: Sweep) -> None:
    """Write the record of a sweep, or compare it with the existing one.

    Parameters
    ----------
    sweep : Sweep
        The runs.

    Raises
    ------
    UserError
        ``sweep.folder``: the folder contains other runs; ``sweep.changed``: it contains a sweep
        with other values; the codes of `read_record`.
    """
    options, path = sweep.options, sweep.folder / RECORD
    record = SweepRecord(
        config=str(options.config),
        overrides=list(options.overrides),
        varied=list(options.varied),
        folds=options.folds or 0,
        trials=options.trials or 0,
        seed=options.seed,
        runs=[list(run.job.overrides) for run in sweep.runs],
        configuration=from_json(to_json(sweep.runs[0].config.written())),
    )
    with hold([lock_file(sweep.folder)], "sweep", wait=True):
        if path.exists():
            _check_equal(read_record(path, SweepRecord), record, sweep.folder)
            return
        existing = next((run.tree.run for run in sweep.runs if run.tree.run.exists()), None)
        if existing is not None:
            raise UserError(
                f"{existing}: exists already, but {path} does not, so it is not a run of this "
                "sweep",
                "choose another name with --name, or another folder with --result_dir",
                "sweep.folder",
            )
        write_record(path, record)


def _check_equal(old: SweepRecord, new: SweepRecord, folder: Path) -> None:
    """Raise an error if the existing record describes other runs."""
    keys = [
        key
        for key in dict.fromkeys([*old.configuration, *new.configuration])
        if not (key.startswith(_MACHINE) or key.endswith(_CACHES))
        and old.configuration.get(key) != new.configuration.get(key)
    ]
    if old.runs == new.runs and not keys:
        return
    options = [
        (option, getattr(old, name), getattr(new, name))
        for option, name in _OPTIONS.items()
        if getattr(old, name) != getattr(new, name)
    ]
    changes = options or [(k, old.configuration.get(k), new.configuration.get(k)) for k in keys]
    lines = [f"{name}: got {_text(now)}, expected {_text(before)}" for name, before, now in changes]
    raise UserError(
        f"{folder}: contains a sweep with other values:{list_lines(lines, _MAX_LISTED)}",
        "to continue that sweep, repeat the command with the expected values; to start another "
        "one, add --name",
        "sweep.changed",
    )


def _text(value: Any) -> str:
    """Return the value of an option or key for a message."""
    if value in (None, []):
        return "none"
    return show(" ".join(map(str, value)) if isinstance(value, list) else value)
