"""Sweeps: many runs of one configuration, resumable, with a table, a chart and ensembles."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from singula.commands.sweep import execute
from singula.commands.sweep.execute import run_sweep
from singula.commands.sweep.plan import SweepOptions, plan_sweep
from singula.commands.sweep.results import CombinationScore, best_combination
from singula.commands.sweep.slurm import write_script
from singula.commands.sweep.space import Interval, combine, parse_varied
from singula.errors import ExitCode, StorageError, UserError
from singula.io.read import read_labels
from singula.pipeline.run import Job
from singula.runs.compare import compare_runs
from singula.runs.run import open_run
from singula.util import slurm

KEYS = {"DATA.VAL.FROM_TRAIN": True, "DATA.VAL.SPLIT_TRAIN": 0.34, "TRAIN.EPOCHS": 1}
LR = "TRAIN.LR=0.01,0.003"
CHANNELS = "PROBLEM.INSTANCE_SEG.DATA_CHANNELS"


@pytest.fixture
def config(write_config, data_2d) -> Path:
    return write_config(data_2d, **KEYS)


def code_of(options: SweepOptions) -> str:
    with pytest.raises(UserError) as error:
        run_sweep(options)
    return error.value.code


# Values and combinations


def test_commas_in_brackets_and_quotes_do_not_separate_values() -> None:
    texts = ["A=1, 2 ,3", "B=[1,2],(3,4)", "C='x,y',z", "D={a: 1, b: [2,3]}"]
    assert [each.values for each in parse_varied(texts)] == [
        ("1", "2", "3"), ("[1,2]", "(3,4)"), ("'x,y'", "z"), ("{a: 1, b: [2,3]}",),
    ]  # fmt: skip


def test_a_grid_contains_each_combination_once() -> None:
    rows = combine(parse_varied(["A=1,2,3", "B=x,y"]), None, 0)
    expected = [{"A": a, "B": b} for a in "123" for b in "xy"]
    assert rows == expected
    drawn = combine(parse_varied(["A=1,2,3", "B=x,y"]), 6, 1)
    assert sorted(drawn, key=str) == sorted(expected, key=str)


def test_random_values_are_in_their_intervals_and_follow_from_the_seed() -> None:
    varied = parse_varied(["A=uniform(-1, 2)", "B=loguniform(1e-4,1e-2)", "C=integer(2,4)"])
    rows = combine(varied, 300, 5)
    assert rows == combine(varied, 300, 5)
    assert rows[:20] == combine(varied, 20, 5)
    assert rows != combine(varied, 300, 6)
    a, b, c = (np.array([float(row[key]) for row in rows]) for key in "ABC")
    assert -1 <= a.min() < -0.9
    assert 1.9 < a.max() <= 2
    assert set(c) == {2, 3, 4}
    assert b.min() >= 1e-4
    assert b.max() <= 1e-2
    assert 0.4 < (b < 1e-3).mean() < 0.6  # each order of magnitude is equally probable


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        ("uniform", 100000, 100001),
        ("uniform", -0.50001, -0.5),
        ("uniform", -1, 1),
        ("loguniform", 100000, 100001),
        ("loguniform", 1e-4, 1.00001e-4),
    ],
)
def test_values_of_a_narrow_interval_differ(kind: str, low: float, high: float) -> None:
    rows = combine(parse_varied([f"A={kind}({low!r},{high!r})"]), 50, 0)
    values = np.array([float(row["A"]) for row in rows])
    assert low <= values.min() < low + 0.2 * (high - low)
    assert high - 0.2 * (high - low) < values.max() <= high


def test_a_rounded_value_stays_in_its_interval() -> None:
    """The limits have more digits than the values."""
    interval, rng = Interval("uniform", 1.0004, 1.1124), np.random.default_rng(0)
    values = [float(interval.draw(rng)) for _ in range(20_000)]
    assert min(values) == 1.0004
    assert max(values) <= 1.1124


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, "sweep.nothing"),
        ({"varied": ["TRAIN.LR"]}, "sweep.syntax"),
        ({"varied": ["=1"]}, "sweep.syntax"),
        ({"varied": ["TRAIN.LR=[1,2"]}, "sweep.syntax"),
        ({"varied": ["TRAIN.LR='1,2"]}, "sweep.syntax"),
        ({"varied": ["TRAIN.LR="]}, "sweep.no_values"),
        ({"varied": ["TRAIN.LR=1,,2"]}, "sweep.no_values"),
        ({"varied": ["TRAIN.LR=0.1,1.0e-1"]}, "sweep.repeated_value"),
        ({"varied": [LR, "TRAIN.LR=1"]}, "sweep.repeated_key"),
        ({"varied": [LR], "overrides": ["TRAIN.LR=1"]}, "sweep.repeated_key"),
        ({"varied": ["TRAIN.LR=uniform(2,1)"], "trials": 2}, "sweep.interval"),
        ({"varied": ["TRAIN.LR=uniform(nan,1)"], "trials": 2}, "sweep.interval"),
        ({"varied": ["TRAIN.LR=loguniform(0,1)"], "trials": 2}, "sweep.interval"),
        ({"varied": ["TRAIN.EPOCHS=integer(1.5,3)"], "trials": 2}, "sweep.interval"),
        ({"varied": ["TRAIN.LR=uniform(1,2)"]}, "sweep.trials"),
        ({"varied": [LR], "trials": 3}, "sweep.trials"),
        ({"varied": ["TRAIN.EPOCHS=integer(1,3)"], "trials": 4}, "sweep.trials"),
        ({"varied": ["TRAIN.EPOCHS=" + ",".join(map(str, range(1, 1100)))]}, "sweep.too_many"),
        ({"varied": [LR], "folds": 1}, "sweep.folds"),
        ({"folds": 2, "overrides": ["DATA.VAL.CROSS_VAL_NFOLD=3"]}, "sweep.fold_keys"),
        ({"folds": 2, "varied": ["DATA.VAL.CROSS_VAL_FOLD=1,2"]}, "sweep.fold_keys"),
        ({"folds": 4}, "data.too_few_images"),
        ({"varied": ["TRAIN.LRR=1,2"]}, "sweep.combination"),
        ({"varied": [f"{CHANNELS}=BC,QQ"]}, "sweep.combination"),
        ({"folds": 2, "overrides": ["TRAIN.LRR=1"]}, "config.invalid"),
        ({"varied": [LR], "overrides": ["PATHS.RESULT_DIR.PATH=x"]}, "sweep.shared_folder"),
        ({"varied": [LR], "overrides": ["DATA.TEST.PATH=missing"]}, "io.no_such_folder"),
        ({"varied": [LR], "name": "a/b"}, "paths.name"),
        ({"varied": [LR], "gpu": "x"}, "device.request"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mistakes_are_reported_before_anything_is_written(changes, code, config, tmp_path) -> None:
    out = tmp_path / "out"
    options = SweepOptions(config, **{"result_dir": out, **changes})
    assert code_of(options) == code
    assert not out.exists()


def test_the_limits_of_an_interval_are_shown_as_written(config, tmp_path) -> None:
    options = SweepOptions(config, ["TRAIN.LR=uniform(2,1)"], result_dir=tmp_path, trials=2)
    with pytest.raises(UserError, match=r"got 'uniform\(2,1\)', expected two numbers"):
        plan_sweep(options)


def test_equal_scores_have_no_best_values() -> None:
    first, equal = CombinationScore(1, "LR=1", [0.2, 0.4]), CombinationScore(2, "LR=2", [0.4, 0.2])
    worse = CombinationScore(3, "LR=3", [0.1])
    assert best_combination([first, worse]) == 1
    assert best_combination([first, equal, worse]) is None
    assert best_combination([first]) is None
    assert best_combination([]) is None


def test_an_invalid_combination_is_named_with_its_values(config, tmp_path) -> None:
    options = SweepOptions(config, [LR, f"{CHANNELS}=BC,QQ"], result_dir=tmp_path / "out")
    with pytest.raises(UserError) as error:
        plan_sweep(options)
    message = error.value.message
    assert "2 of 4 runs" in message
    assert "LR=0.01, DATA_CHANNELS=QQ; LR=0.003, DATA_CHANNELS=QQ" in message
    assert message.count("DATA_CHANNELS: got") == 1


# Execution, with runs that take no time


@pytest.fixture
def started(monkeypatch) -> list[Job]:
    """Replace runs by the summary that they write; return the jobs in their order."""
    jobs: list[Job] = []

    def fake(job: Job) -> None:
        jobs.append(job)
        tree = plan_tree(job)
        tree.run.mkdir(parents=True, exist_ok=True)
        tree.run_json.write_text(json.dumps({"job": {"id": tree.job_id}}))

    monkeypatch.setattr(execute, "run_job", fake)
    return jobs


def plan_tree(job: Job):
    from singula.config import load_config

    return job.tree(load_config(job.config, job.overrides))


def numbers(jobs: list[Job]) -> list[int]:
    return [job.run_id for job in jobs]


def test_all_runs_differ_only_in_the_varied_keys(config, started, tmp_path) -> None:
    options = SweepOptions(config, [LR, f"{CHANNELS}=BC,BD"], result_dir=tmp_path / "out")
    report = run_sweep(options)
    configs = [run.config.written() for run in report.sweep.runs]
    assert numbers(started) == [1, 2, 3, 4]
    differing = {key for key in configs[0] if len({str(c[key]) for c in configs}) > 1}
    # The channels determine further values, but all runs have the same seed.
    assert {"TRAIN.LR", CHANNELS} <= differing
    assert not any(key.startswith(("DATA.TRAIN.PATH", "SYSTEM.")) for key in differing)
    assert {c["SYSTEM.SEED"] for c in configs} == {0}
    table = pd.read_csv(report.table)
    assert list(table[CHANNELS]) == ["BC", "BD", "BC", "BD"]
    assert set(table["state"]) == {"finished"}
    assert report.chart is None  # no run has a score


def test_a_varied_or_given_seed_is_used(config, started, tmp_path) -> None:
    run_sweep(SweepOptions(config, ["SYSTEM.SEED=4,5"], result_dir=tmp_path / "out"))
    assert [job.overrides for job in started] == [("SYSTEM.SEED=4",), ("SYSTEM.SEED=5",)]


def test_an_interrupted_sweep_continues(config, started, tmp_path, monkeypatch) -> None:
    options = SweepOptions(config, ["TRAIN.LR=0.1,0.2,0.3"], result_dir=tmp_path / "out")
    finish = execute.run_job

    def interrupt(job: Job) -> None:
        if job.run_id == 2:
            plan_tree(job).run.mkdir(parents=True)
            raise KeyboardInterrupt
        finish(job)

    monkeypatch.setattr(execute, "run_job", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(options)
    table = pd.read_csv(tmp_path / "out" / "job_sweep" / "sweep.csv")
    assert list(table["state"]) == ["finished", "not finished", "not started"]
    monkeypatch.setattr(execute, "run_job", finish)
    assert numbers(started) == [1]
    report = run_sweep(options)
    assert numbers(started) == [1, 2, 3]
    assert [job.resume for job in started] == [False, True, False]
    assert {result.state for result in report.results} == {"finished"}
    run_sweep(options)
    assert len(started) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("has_progress", [True, False])
def test_a_task_is_requeued_before_its_time_limit(
    has_progress, config, started, tmp_path, monkeypatch, command
) -> None:
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(slurm, "_call", lambda *line: calls.append(line) or "")
    variables = {"JOB_ID": "8", "ARRAY_JOB_ID": "7", "ARRAY_TASK_ID": "1"}
    for name, value in variables.items():
        monkeypatch.setenv(f"SLURM_{name}", value)

    def interrupt(job: Job) -> None:
        started.append(job)
        if has_progress:
            slurm.record_progress()
        try:
            signal.raise_signal(signal.SIGUSR1)
        except KeyboardInterrupt:
            raise UserError("of a library", None, "process.lost") from None

    monkeypatch.setattr(execute, "run_job", interrupt)
    code = command("sweep", config, "--vary", LR, "--result_dir", tmp_path / "out")
    assert numbers(started) == [1]
    assert calls == [("scontrol", "requeue", "7_1")] * has_progress
    assert code == (ExitCode.TERMINATED if has_progress else ExitCode.USER_ERROR), command.err


def test_a_failed_run_does_not_stop_the_others(
    config, started, tmp_path, monkeypatch, command
) -> None:
    finish = execute.run_job

    def fail(job: Job) -> None:
        if job.run_id == 1:
            raise UserError("the loss is not finite", "lower TRAIN.LR", "training.diverged")
        finish(job)

    monkeypatch.setattr(execute, "run_job", fail)
    line = ("sweep", config, "--vary", LR, "--result_dir", tmp_path / "out")
    assert command(*line) == 1
    assert "FAILED: LR=0.01: the loss is not finite" in command.out
    assert "1 of 2 runs not finished" in command.out
    assert numbers(started) == [2]


def test_a_run_of_another_process_is_left_to_it(config, started, tmp_path, monkeypatch) -> None:
    def locked(job: Job) -> None:
        raise UserError("is in use", None, "run.locked")

    monkeypatch.setattr(execute, "run_job", locked)
    options = SweepOptions(config, [LR], result_dir=tmp_path / "out")
    assert run_sweep(options).failed == {}

    def finish_all(job: Job) -> None:
        """Finish this run, and those after it like another process."""
        for number in range(job.run_id, 3):
            tree = plan_tree(replace(job, run_id=number))
            tree.run.mkdir(parents=True)
            tree.run_json.write_text(json.dumps({"job": {"id": tree.job_id}}))
        started.append(job)

    monkeypatch.setattr(execute, "run_job", finish_all)
    run_sweep(options)
    assert numbers(started) == [1]


def test_tasks_of_a_job_array_execute_one_run_each(
    config, started, tmp_path, monkeypatch, command
) -> None:
    script = tmp_path / "array.sh"
    line = ("sweep", config, "--vary", LR, "--set", "TRAIN.BATCH_SIZE=2", "--result_dir")
    assert command(*line, tmp_path / "out", "--slurm", script) == 0, command.err
    text = script.read_text()
    assert "#SBATCH --array=1-2\n" in text
    assert started == []
    words = shlex.split(text.splitlines()[-1])[1:]  # without srun
    words = words[words.index("-m") :]
    assert words[:3] == ["-m", "singula", "sweep"]
    for number in (2, 1):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", str(number))
        assert command(*words[2:]) == 0, command.err
    assert numbers(started) == [2, 1]
    assert "not finished" not in command.out
    for wrong in ("0", "3", "x", "9" * 30):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", wrong)
        assert command(*words[2:]) == 2
    assert command(*words[2:], "--index", 2) == 0, command.err  # takes precedence
    assert command(*line, tmp_path / "out", "--slurm", script) == 2
    with pytest.raises(UserError) as error:
        write_script(SweepOptions(config, [LR]), script)
    assert error.value.code == "sweep.script_exists"
    with pytest.raises(UserError) as error:
        write_script(SweepOptions(config, [LR]), tmp_path / "other.sh", 1)
    assert error.value.code == "sweep.script_index"


def test_a_script_quotes_names(config, tmp_path) -> None:
    folder = tmp_path / "my 50 % folder"
    options = SweepOptions(config, [LR], result_dir=folder, name="it's mine")
    _, script = write_script(options, tmp_path / "array.sh")
    lines = [line.removeprefix("#SBATCH ") for line in script.read_text().splitlines()]
    words = [shlex.split(line) for line in lines if line.startswith(("--job-name", "--output"))]
    output = f"{folder}/it's mine/slurm_%a.log".replace("50 %", "50 %%")
    assert words == [
        ["--job-name=it's mine"],
        [f"--output={output}", "--open-mode=append"],
    ]


def test_a_folder_of_other_runs_is_not_used(config, started, tmp_path) -> None:
    options = SweepOptions(config, [LR], result_dir=tmp_path / "out")
    (tmp_path / "out" / "job_sweep" / "results" / "job_sweep_2").mkdir(parents=True)
    assert code_of(options) == "sweep.folder"
    shutil.rmtree(tmp_path / "out")
    run_sweep(options)
    for other in (
        SweepOptions(config, ["TRAIN.LR=0.01,0.004"], result_dir=tmp_path / "out"),
        SweepOptions(config, [LR], folds=2, result_dir=tmp_path / "out"),
        SweepOptions(config, [LR], ["TRAIN.EPOCHS=3"], result_dir=tmp_path / "out"),
    ):
        assert code_of(other) == "sweep.changed"
    # Only the spelling differs.
    run_sweep(SweepOptions(config, ["TRAIN.LR = 0.01, 0.003"], result_dir=tmp_path / "out"))
    text = config.read_text()
    config.write_text(text.replace("NUM_WORKERS: 0", "NUM_WORKERS: 1"))
    run_sweep(options)
    config.write_text(text.replace("BATCH_SIZE: 4", "BATCH_SIZE: 3"))
    with pytest.raises(UserError, match=r"TRAIN\.BATCH_SIZE: got 3, expected 4"):
        run_sweep(options)
    assert len(started) == 2


def test_a_full_disk_ends_the_sweep(config, started, tmp_path, monkeypatch) -> None:
    def full(job: Job) -> None:
        started.append(job)
        raise StorageError("no space left", None, "storage.full")

    monkeypatch.setattr(execute, "run_job", full)
    assert code_of(SweepOptions(config, [LR], result_dir=tmp_path / "out")) == "storage.full"
    assert numbers(started) == [1]


def test_several_processes_of_a_launcher_are_refused(config, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert code_of(SweepOptions(config, [LR])) == "sweep.launcher"


# Trainings


@pytest.fixture
def folds(make_once, write_config, data_2d, command, tmp_path) -> tuple[Path, list[object]]:
    """Return the folder of a cross-validation, and the command that wrote it."""
    config = write_config(data_2d, **{**KEYS, "TRAIN.EPOCHS": 6})
    line = ["sweep", config, "--folds", 2, "--gpu", "cpu", "--name", "folds", "--result_dir"]

    def fill(folder: Path) -> None:
        assert command(*line, folder) == 0, command.err

    out = Path(shutil.copytree(make_once("sweep_folds", fill), tmp_path / "out"))
    return out / "folds", [*line, out]


def test_the_ensemble_of_the_folds_predicts_like_the_command(
    folds, command, data_2d, tmp_path
) -> None:
    folder, _ = folds
    models = [folder / "results" / f"folds_{fold}" for fold in (1, 2)]
    line = ("predict", data_2d / "test" / "x", "--model", *models, "-o", tmp_path / "predicted")
    assert command(*line) == 0, command.err
    ensemble = open_run(folder / "ensemble" / "results" / "ensemble_1")
    files = ensemble.instance_files(ensemble.final_stage)
    assert len(files) == 2
    for name, path in files.items():
        expected = read_labels(tmp_path / "predicted" / f"{name}.tif", 2).array
        assert expected.max() > 1
        np.testing.assert_array_equal(read_labels(path, 2).array, expected)
    table = pd.read_csv(folder / "sweep.csv")
    assert list(table["fold"]) == ["1", "2", "ensemble"]
    metrics = pd.read_csv(ensemble.tree.metrics_csv)
    rows = metrics[(metrics["threshold"] == 0.5) & (metrics["image"] == "mean over images")]
    assert table["f1"][2] == pytest.approx(rows["f1"].iloc[0])
    with Image.open(folder / "sweep.png") as chart:
        assert np.asarray(chart).std() > 0


def test_finished_folds_and_ensembles_are_not_repeated(folds, command) -> None:
    folder, line = folds
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.pth")}
    before |= {path: path.stat().st_mtime_ns for path in folder.rglob("run.json")}
    table = pd.read_csv(folder / "sweep.csv").drop(columns="folder")  # the folder is a copy
    assert len(before) == 7
    assert command(*line) == 0, command.err
    assert {path: path.stat().st_mtime_ns for path in before} == before
    again = pd.read_csv(folder / "sweep.csv").drop(columns="folder")
    pd.testing.assert_frame_equal(again, table)


@pytest.mark.slow
def test_a_run_equals_the_run_of_the_command(folds, command, tmp_path) -> None:
    folder, line = folds
    overrides = ["SYSTEM.SEED=0", "DATA.VAL.CROSS_VAL=True", "DATA.VAL.CROSS_VAL_NFOLD=2",
                 "DATA.VAL.CROSS_VAL_FOLD=2"]  # fmt: skip
    options = [word for override in overrides for word in ("--set", override)]
    run = ("run", "--config", line[1], "--gpu", "cpu", "--result_dir", tmp_path / "single")
    assert command(*run, *options) == 0, command.err
    single = open_run(tmp_path / "single" / "job" / "results" / "job_1")
    comparisons = compare_runs(open_run(folder / "results" / "folds_2"), single)
    assert len(comparisons) >= 5
    assert [c for c in comparisons if c.differing] == []


@pytest.mark.slow
def test_without_common_test_images_there_is_no_ensemble(folds, command, tmp_path) -> None:
    _, line = folds
    words = [*line[:-1], tmp_path / "other", "--set", "DATA.TEST.USE_VAL_AS_TEST=True"]
    assert command(*words) == 0, command.err
    assert "different test images" in command.out
    table = pd.read_csv(tmp_path / "other" / "folds" / "sweep.csv")
    assert list(table["fold"]) == [1, 2]
    assert table["images"].sum() == 3  # each training image is tested once


@pytest.mark.slow
def test_classes_of_an_ensemble_are_those_of_the_mean(
    write_config, data_classes, command, tmp_path
) -> None:
    config = write_config(data_classes, **KEYS, **{"MODEL.N_CLASSES": 4})
    line = ("sweep", config, "--folds", 3, "--gpu", "cpu", "--result_dir", tmp_path / "out")
    assert command(*line) == 0, command.err
    folder = tmp_path / "out" / "job_sweep"
    runs = [open_run(folder / "results" / f"job_sweep_{fold}") for fold in (1, 2, 3)]
    ensemble = open_run(folder / "ensemble" / "results" / "ensemble_1")
    name = next(iter(ensemble.test.files))
    stage = ensemble.stages[0]
    votes = [run.read_maps(name, stage).array[..., -1].astype(int) for run in runs]
    expected = np.stack([np.sum([vote == k for vote in votes], axis=0) for k in range(4)])
    classes = ensemble.read_maps(name, stage).array[..., -1]
    np.testing.assert_array_equal(classes, expected.argmax(0))
