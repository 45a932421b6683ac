"""Variables of SLURM, and the decision to put a job back into the queue."""

import os
import signal
import sys
from pathlib import Path

import pytest

from singula.errors import UserError
from singula.util import slurm
from singula.util.signals import INTERRUPTION
from singula.util.slurm import (
    ends_by_limit,
    first_host,
    join_step,
    launcher_variables,
    record_progress,
    requeue_if_interrupted,
    requeue_interrupted,
    tasks_per_node,
    was_requeued,
)

# As srun of SLURM 22.05 set them for the second process on the second of two nodes
STEP = {
    "SLURM_JOB_ID": "41",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "5",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_TASKS_PER_NODE": "3,2",
    "SLURM_STEP_NODELIST": "n[1-2]",
    "SLURM_PROCID": "4",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "MASTER_ADDR": "n1",
}


def test_the_variables_of_srun_describe_a_process() -> None:
    values = launcher_variables(STEP)
    port = int(values.pop("MASTER_PORT"))
    assert 1024 < port < 32768
    assert values == {
        "RANK": "4", "WORLD_SIZE": "5", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2",
        "GROUP_WORLD_SIZE": "2", "MASTER_ADDR": "n1",
    }  # fmt: skip
    other = launcher_variables({**STEP, "SLURM_PROCID": "0", "SLURM_LOCALID": "0"})
    assert other["MASTER_PORT"] == str(port)
    assert launcher_variables({**STEP, "SLURM_JOB_ID": "42"})["MASTER_PORT"] != str(port)
    assert launcher_variables({**STEP, "SLURM_STEP_ID": "1"})["MASTER_PORT"] != str(port)


@pytest.mark.parametrize(
    "gpus", [{"SLURM_GPUS_PER_TASK": "1"}, {"SLURM_TRES_PER_TASK": "cpu=4,gres/gpu=1"}]
)
def test_a_process_with_its_gpus_is_the_first_of_its_machine(gpus: dict[str, str]) -> None:
    values = launcher_variables({**STEP, **gpus})
    assert (values["RANK"], values["LOCAL_RANK"], values["LOCAL_WORLD_SIZE"]) == ("4", "0", "1")


@pytest.mark.parametrize(
    "change",
    [
        {"SLURM_PROCID": "x"},
        {"SLURM_PROCID": ""},
        {"SLURM_STEP_TASKS_PER_NODE": "2(y3)"},
        {"SLURM_NODEID": "2"},
        {"SLURM_STEP_NODELIST": "", "MASTER_ADDR": ""},
        {"SLURM_JOB_ID": "²"},
    ],
)
def test_a_wrong_variable_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(UserError) as error:
        launcher_variables({**STEP, **change})
    assert error.value.code == "environment.slurm"
    assert next(iter(change)) in error.value.message


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("n1", "n1"),
        ("n1,n2", "n1"),
        ("n[01-12,20]", "n01"),
        ("n[3,5-6],m1", "n3"),
        ("rack[1-2]node[08-09]", "rack1node08"),
        ("gpu-a[7]-ib,x", "gpu-a7-ib"),
    ],
)
def test_the_first_node_is_the_master(text: str, first: str) -> None:
    assert first_host(text) == first


def test_counts_of_processes_are_expanded() -> None:
    assert tasks_per_node("4") == [4]
    assert tasks_per_node("2(x2),1,3(x1)") == [2, 2, 1, 3]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in [*os.environ]:
        if name.startswith(("SLURM_", "RANK", "WORLD_SIZE", "LOCAL_", "MASTER_", "GROUP_")):
            monkeypatch.delenv(name)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE",
                 "MASTER_PORT"):  # fmt: skip
        monkeypatch.setenv(name, "")  # removed after the test
    return monkeypatch


def test_only_a_step_of_several_processes_is_joined(environment: pytest.MonkeyPatch) -> None:
    join_step()
    assert not os.environ["RANK"]
    # A batch script has the number of tasks of the job, but is one process.
    for name, value in {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}.items():
        environment.setenv(name, value)
    join_step()
    assert not os.environ["RANK"]
    for name, value in STEP.items():
        environment.setenv(name, value)
    environment.setenv("MASTER_PORT", "1234")
    join_step()
    assert (os.environ["RANK"], os.environ["WORLD_SIZE"]) == ("4", "5")
    assert os.environ["MASTER_PORT"] == "1234"


def test_another_launcher_has_priority(environment: pytest.MonkeyPatch) -> None:
    for name, value in {**STEP, "RANK": "1", "WORLD_SIZE": "2"}.items():
        environment.setenv(name, value)
    join_step()
    assert (os.environ["RANK"], os.environ["WORLD_SIZE"]) == ("1", "2")


def test_a_restart_is_recognized(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SLURM_RESTART_COUNT", "1")
    assert not was_requeued()  # not a job
    environment.setenv("SLURM_JOB_ID", "1")
    assert was_requeued()
    environment.setenv("SLURM_RESTART_COUNT", "0")
    assert not was_requeued()


JOB = "JobId=7 JobName=a JobState={} Reason=None RunTime={} TimeLimit={} TimeMin=N/A"


@pytest.mark.parametrize(
    ("job", "by_limit"),
    [
        (("RUNNING", "00:59:10", "01:00:00"), True),
        (("RUNNING", "00:10:00", "01:00:00"), False),  # a user ended the process
        (("COMPLETING", "00:59:10", "01:00:00"), False),  # cancelled or preempted
        (("COMPLETING", "01:00:25", "01:00:00"), True),
        (("TIMEOUT", "1-00:00:25", "1-00:00:00"), True),
        (("COMPLETING", "1-00:00:25", "UNLIMITED"), False),
    ],
)
def test_the_time_limit_differs_from_a_cancellation(job: tuple[str, ...], by_limit: bool) -> None:
    assert ends_by_limit(JOB.format(*job)) == by_limit


def test_an_answer_without_times_is_no_time_limit() -> None:
    assert not ends_by_limit("slurm_load_jobs error: Unable to contact slurm controller")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("number", "job", "requeued"),
    [
        (signal.SIGINT, ("RUNNING", "00:59:10", "01:00:00"), False),
        (signal.SIGTERM, ("RUNNING", "00:59:10", "01:00:00"), True),
        (signal.SIGTERM, ("COMPLETING", "00:20:00", "01:00:00"), False),
        (getattr(signal, "SIGUSR1", 0), ("RUNNING", "00:20:00", "01:00:00"), True),
    ],
)
def test_only_a_job_at_its_limit_is_requeued(
    number: int,
    job: tuple[str, ...],
    requeued: bool,
    environment: pytest.MonkeyPatch,
    messages: list[str],
) -> None:
    calls = []

    def call(*line: str) -> str:
        calls.append(line)
        return JOB.format(*job) if "show" in line else ""

    environment.setattr(slurm, "_call", call)
    record_progress()
    requeue_interrupted(number)
    assert not calls  # not a job
    environment.setenv("SLURM_JOB_ID", "7")
    requeue_interrupted(number)
    assert (("scontrol", "requeue", "7") in calls) == requeued
    environment.setenv("SLURM_ARRAY_JOB_ID", "5")
    environment.setenv("SLURM_ARRAY_TASK_ID", "3")
    requeue_interrupted(number)
    assert (("scontrol", "requeue", "5_3") in calls) == requeued
    assert not any("ATTENTION" in line for line in messages)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_the_last_task_of_an_array_is_not_confused_with_the_others(
    environment: pytest.MonkeyPatch,
) -> None:
    def call(*line: str) -> str:
        """Answer as SLURM 22.05: the number of the array names all tasks that are not finished."""
        tasks = {
            "7_1": JOB.format("RUNNING", "00:10:00", "01:00:00"),
            "7_2": JOB.format("RUNNING", "00:59:10", "01:00:00"),
        }
        calls.append(line)
        return "\n".join(tasks.values()) if line[-1] == "7" else tasks[line[-1]]

    calls: list[tuple[str, ...]] = []
    environment.setattr(slurm, "_call", call)
    for name, value in {"JOB": "7", "ARRAY_JOB": "7", "ARRAY_TASK": "1"}.items():
        environment.setenv(f"SLURM_{name}_ID", value)
    record_progress()
    requeue_interrupted(signal.SIGTERM)  # cancelled, while the other task reaches its limit
    assert [line[1] for line in calls] == ["show"]


def test_a_failed_requeue_is_reported(
    environment: pytest.MonkeyPatch, messages: list[str], tmp_path: Path
) -> None:
    environment.setenv("SLURM_JOB_ID", "7")
    environment.setenv("PATH", str(tmp_path))  # without scontrol
    record_progress()
    requeue_interrupted(slurm.WARNING_SIGNAL)
    assert any("ATTENTION" in line for line in messages) or slurm.WARNING_SIGNAL is None


def interrupted_library(*, has_progress: bool = True, announced: bool = False) -> None:
    if has_progress:
        record_progress()
    INTERRUPTION.announced = announced
    try:
        signal.raise_signal(signal.SIGUSR1)
    except KeyboardInterrupt:
        raise RuntimeError("of a library") from None


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("rank", "requeued"), [("", True), ("0", True), ("1", False)])
def test_an_error_that_replaces_the_interruption_requeues_the_job(
    rank: str, requeued: bool, environment: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, ...]] = []
    environment.setattr(slurm, "_call", lambda *line: calls.append(line) or "")
    environment.setenv("SLURM_JOB_ID", "7")
    environment.setenv("RANK", rank)
    context = requeue_if_interrupted()
    with pytest.raises(RuntimeError, match="of a library"), INTERRUPTION.in_progress(), context:
        interrupted_library()
    assert calls == [("scontrol", "requeue", "7")] * requeued
    environment.setattr(INTERRUPTION, "received", None)
    calls.clear()
    with pytest.raises(ValueError, match="a mistake"), requeue_if_interrupted():
        raise ValueError("a mistake")
    assert not calls


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_job_without_progress_is_not_requeued(environment: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, ...]] = []
    environment.setattr(slurm, "_call", lambda *line: calls.append(line) or "")
    environment.setenv("SLURM_JOB_ID", "7")
    record_progress()  # by an earlier command of this process
    with pytest.raises(UserError) as error, INTERRUPTION.in_progress(), requeue_if_interrupted():
        interrupted_library(has_progress=False)
    assert error.value.code == "environment.no_progress"
    assert INTERRUPTION.received is None  # the command line prints the error
    assert not calls


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_job_that_a_started_process_requeued_is_not_requeued_again(
    environment: pytest.MonkeyPatch,
) -> None:
    calls: list[tuple[str, ...]] = []
    environment.setattr(slurm, "_call", lambda *line: calls.append(line) or "")
    environment.setenv("SLURM_JOB_ID", "7")
    context = requeue_if_interrupted()
    with pytest.raises(RuntimeError), INTERRUPTION.in_progress(), context:
        interrupted_library(announced=True)
    environment.setattr(INTERRUPTION, "received", None)
    INTERRUPTION.announced = False
    assert not calls
