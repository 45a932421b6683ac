"""Blocks processed by Dask workers, workers that die, and error messages."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from block_work import (
    calls,
    count_faults,
    die_at_seven,
    die_once_at_seven,
    processes,
    refuse_seven,
    slow_square,
    square,
)

from singula.blocks import JobFolder, dask_run
from singula.blocks.runner import OneProcess
from singula.errors import UserError
from singula.util.format import install_command

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.xdist_group("dask workers")
SUPPORT = str(Path(__file__).parents[1] / "support")
GB = 10**9


def quiet(done: int, total: int) -> None:
    """Ignore the progress."""


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Let workers import the module of the work functions."""
    paths = os.pathsep.join([SUPPORT, os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", paths)


@pytest.fixture(scope="module")
def two():
    """Yield a runner with two workers, for tests in which no worker dies."""
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([SUPPORT, before])
    with dask_run.dask_runner("local:2", memory=4 * GB) as runner:
        yield runner
    os.environ["PYTHONPATH"] = before


def test_records_are_those_of_one_process(two, tmp_path):
    alone, shared = JobFolder(tmp_path / "alone"), JobFolder(tmp_path / "shared")
    for job in (alone, shared):
        job.path.mkdir()
    blocks = range(990, 1100)
    seen = []
    OneProcess().run(square, alone, "a", blocks, quiet)
    two.run(square, shared, "a", blocks, lambda done, total: seen.append((done, total)))
    assert alone.done("a") == shared.done("a") == set(blocks)
    for number in blocks:
        one, other = (job.load("a", number) for job in (alone, shared))
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    assert seen[0] == (0, 110)
    assert seen[-1] == (110, 110)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert sorted(calls(shared.path)) == list(blocks)  # each once


def test_both_workers_process_blocks_and_blocks_share_tasks(two, tmp_path):
    job = JobFolder(tmp_path)
    two.run(slow_square, job, "a", range(130), quiet)
    assert len(processes(tmp_path)) == 2
    assert os.getpid() not in processes(tmp_path)
    assert len(list(tmp_path.rglob("*.npz"))) < 130


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of the GNU C library")
def test_workers_keep_the_memory_of_arrays_within_a_task(two, tmp_path):
    """Like a single process; otherwise there would be 200,000 page faults."""
    job = JobFolder(tmp_path)
    two.run(count_faults, job, "a", range(4), quiet)
    assert all(job.load("a", n)["faults"] < 10_000 for n in range(4))


def test_blocks_with_a_record_are_skipped(two, tmp_path):
    job = JobFolder(tmp_path)
    job.save_many("a", {n: {} for n in (0, 1, 4)})
    two.run(square, job, "a", range(6), quiet)
    assert sorted(calls(tmp_path)) == [2, 3, 5]
    two.run(square, job, "a", range(6), quiet)
    assert len(calls(tmp_path)) == 3


def test_a_long_task_returns_the_blocks_it_has_not_started(two, tmp_path, monkeypatch):
    monkeypatch.setattr(dask_run._Dispatcher, "_task_size", lambda self, seconds: 50)
    monkeypatch.setattr(dask_run, "_TASK_SECONDS", 0.2)
    two.run(slow_square, JobFolder(tmp_path), "a", range(60), quiet)
    assert sorted(calls(tmp_path)) == list(range(60))
    assert len(list(tmp_path.rglob("*.npz"))) > 5


def test_the_error_of_a_block_arrives_with_its_hint(two, tmp_path):
    job = JobFolder(tmp_path)
    with pytest.raises(UserError, match="block 7 is not liked") as caught:
        two.run(refuse_seven, job, "a", range(20), quiet)
    assert caught.value.hint == "leave it out"
    assert 7 not in job.done("a")
    # No task continues, and the workers process the next image.
    two.run(square, job, "b", range(20), quiet)
    assert job.done("b") == set(range(20))


@pytest.mark.slow
def test_a_worker_that_dies_loses_its_task_only(tmp_path):
    job = JobFolder(tmp_path)
    with dask_run.dask_runner("local:2", memory=4 * GB) as runner:
        runner.run(die_once_at_seven, job, "a", range(40), quiet)
    assert (tmp_path / "died").exists()
    assert job.done("a") == set(range(40))
    assert all((job.load("a", n)["square"] == n**2).all() for n in range(40))


@pytest.mark.slow
def test_a_block_that_kills_every_worker_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(dask_run, "_ALLOWED_FAILURES", 1)
    job = JobFolder(tmp_path)
    with (
        dask_run.dask_runner("local:2", memory=4 * GB) as runner,
        pytest.raises(UserError, match=r"2 workers died at blocks? \d+( to \d+)? \(a\)") as caught,
    ):
        runner.run(die_at_seven, job, "a", range(20), quiet)
    assert caught.value.code == "dask.workers_died"
    assert "MAX_MEMORY" in caught.value.hint
    assert 7 not in job.done("a")


@pytest.mark.slow
def test_workers_that_start_later_get_blocks(tmp_path, monkeypatch):
    """Process blocks on workers that start one after the other, as jobs of a batch system."""
    monkeypatch.setattr(dask_run, "_COUNT_INTERVAL", 0.2)
    job = JobFolder(tmp_path)
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        runner = dask_run.DaskRunner(client)
        assert runner.workers == 1
        timer = threading.Timer(1.0, cluster.scale, [3])
        timer.start()
        try:
            runner.run(slow_square, job, "a", range(400), quiet)
        finally:
            timer.join()
        assert runner.workers == 3
    assert sorted(calls(tmp_path)) == list(range(400))
    assert len(processes(tmp_path)) == 3


@pytest.mark.parametrize(
    ("limits", "expected"),
    [((8 * GB, 6 * GB), 3 * GB), ((0, 6 * GB), 3 * GB), ((0, 0), None)],
    ids=["the smaller", "one without a limit", "no limits"],
)
def test_memory_of_the_blocks_of_a_worker_with_two_threads(limits, expected):
    with distributed.LocalCluster(
        n_workers=0, processes=False, dashboard_address="127.0.0.1:0"
    ) as cluster:
        cluster.worker_spec = {
            n: {"cls": distributed.Worker, "options": {"nthreads": 2, "memory_limit": limit}}
            for n, limit in enumerate(limits)
        }
        with distributed.Client(cluster) as client:
            cluster.sync(cluster._correct_state)
            client.wait_for_workers(len(limits))
            assert dask_run.DaskRunner(client).memory == expected


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills a process")
def test_a_lost_scheduler_is_an_error(tmp_path):
    file = tmp_path / "scheduler.json"
    start = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1"]
    scheduler = subprocess.Popen(
        [*start, "--port", "0", "--no-dashboard", "--scheduler-file", str(file)],
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 60
    while not file.is_file() and time.monotonic() < until:
        time.sleep(0.1)
    client = distributed.Client(scheduler_file=str(file), timeout="30s")
    worker = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_worker", client.scheduler.address,
         "--nthreads", "1", "--no-dashboard", "--local-directory", str(tmp_path)],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    job = JobFolder(tmp_path / "job")
    job.path.mkdir()
    try:
        with closing(client):
            client.wait_for_workers(1)

            def end(done: int, total: int) -> None:
                if done:
                    scheduler.send_signal(signal.SIGKILL)

            with pytest.raises(UserError) as caught:
                dask_run.DaskRunner(client).run(slow_square, job, "a", range(500), end)
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.wait()
    assert caught.value.code == "dask.scheduler_lost"
    assert job.done("a")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("local", "got 'local', expected local:N"),
        ("local:0", "expected local:N"),
        ("local:x", "expected local:N"),
        ("http://host", "tcp://HOST:PORT"),
        ("slurm:", "slurm:FILE"),
        ("moab:file.yaml", "slurm:FILE"),
        ("pbs:nowhere.yaml", "nowhere.yaml does not exist"),
    ],
)
def test_invalid_options(option, message):
    with pytest.raises(UserError, match=message):
        dask_run.check_dask_option(option)
    with (
        pytest.raises(UserError, match=message),
        dask_run.dask_runner(option, memory=GB),
    ):
        pass


@pytest.mark.parametrize("option", ["local:2", "tcp://host:8786", "tcp://[::1]:8786", "ws://a.b:1"])
def test_valid_options(option):
    dask_run.check_dask_option(option)


def test_a_scheduler_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(dask_run, "_TIMEOUT", "1s")
    with (
        pytest.raises(UserError, match=r"tcp://127.0.0.1:9 does not answer") as caught,
        dask_run.dask_runner("tcp://127.0.0.1:9", memory=GB),
    ):
        pass
    assert caught.value.code == "dask.scheduler_unreachable"


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(UserError, match="distributed is not installed") as caught,
        dask_run.dask_runner("local:2", memory=GB),
    ):
        pass
    assert caught.value.hint == install_command("dask")


PROGRAM = """
import sys
from pathlib import Path
from block_work import square
from singula.blocks import JobFolder
from singula.blocks.dask_run import dask_runner
from singula.util.messages import print_messages
if __name__ == "__main__":
    with print_messages(print), dask_runner("local:2", memory=4 * 10**9) as runner:
        print(runner.client.scheduler.address)
        runner.run(square, JobFolder(sys.argv[1]), "a", range(30), lambda done, total: None)
"""


@pytest.mark.slow
def test_a_run_prints_one_line_and_listens_on_this_machine_only(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "dask: 2 workers on this machine"
    assert lines[1].startswith("tcp://127.0.0.1:")
    assert len(lines) == 2
