"""Jobs of SLURM: the processes of ``srun``, and jobs that are continued after their time limit."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from singula.errors import UserError
from singula.util.signals import INTERRUPTION, TASKS_VARIABLE, WARNING_SIGNAL

_log = logging.getLogger(__name__)
_JOB = "SLURM_JOB_ID"
_SECONDS = 30.0  # limit of a command of SLURM
_FIRST_PORT, _N_PORTS = 12000, 20000  # below the ports that systems give to clients
# A running job that received SIGTERM less than these seconds before its time limit is continued:
# --signal=TERM@60 sent it. Earlier, a user ended the process.
_BEFORE_LIMIT = 300


def is_in_job() -> bool:
    """Return True if this process is part of a job of SLURM."""
    return bool(os.environ.get(_JOB))


def was_requeued() -> bool:
    """Return True if SLURM started this job before, and put it back into the queue."""
    return is_in_job() and os.environ.get("SLURM_RESTART_COUNT", "0") not in ("", "0")


def deferrable_signals() -> tuple[int, ...]:
    """Return the signals after which a training finishes its step and writes a checkpoint.

    SIGTERM only in a job: other programs expect that a process ends at once.
    """
    if not is_in_job():
        return () if WARNING_SIGNAL is None else (WARNING_SIGNAL,)
    return tuple({signal.SIGTERM, WARNING_SIGNAL or signal.SIGTERM})


def join_step() -> None:
    """Set the launcher variables of this process if ``srun`` started several processes.

    Variables that are set already, such as those of torchrun, are not changed.

    Raises
    ------
    UserError
        ``environment.slurm``: a variable of SLURM is missing or wrong.
    """
    if os.environ.get("RANK") or os.environ.get(TASKS_VARIABLE, "1") in ("", "1"):
        return
    for name, value in launcher_variables(os.environ).items():
        if not os.environ.get(name):
            os.environ[name] = value


def launcher_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the launcher variables of a process that ``srun`` started.

    Parameters
    ----------
    variables : mapping
        Variables of SLURM.

    Returns
    -------
    dict
        RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, GROUP_WORLD_SIZE, MASTER_ADDR and
        MASTER_PORT. If SLURM gives each process its own GPUs (``--gpus-per-task``), each process is
        the only one on its machine, because it sees only these GPUs.

    Raises
    ------
    UserError
        ``environment.slurm``: a variable is missing or wrong.

    Examples
    --------
    >>> from singula.util.slurm import launcher_variables
    >>> values = launcher_variables(
    ...     {
    ...         "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1",
    ...         "SLURM_STEP_TASKS_PER_NODE": "2(x2)", "SLURM_NODEID": "1", "SLURM_JOB_ID": "7",
    ...         "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NODELIST": "node[08-09]",
    ...         "MASTER_ADDR": "node08",
    ...     }
    ... )  # fmt: skip
    >>> values["RANK"], values["WORLD_SIZE"], values["LOCAL_RANK"], values["LOCAL_WORLD_SIZE"]
    ('3', '4', '1', '2')
    """
    counts = tasks_per_node(_text(variables, "SLURM_STEP_TASKS_PER_NODE"))
    node = _number(variables, "SLURM_NODEID")
    if node >= len(counts):
        raise _wrong("SLURM_NODEID", str(node), f"less than {len(counts)}")
    local, local_count = _number(variables, "SLURM_LOCALID"), counts[node]
    per_task = variables.get("SLURM_GPUS_PER_TASK") or variables.get("SLURM_TRES_PER_TASK", "")
    if variables.get("SLURM_GPUS_PER_TASK") or "gpu" in per_task:
        local, local_count = 0, 1
    job = _number(variables, _JOB)
    step = variables.get("SLURM_STEP_ID", "0")
    port = _FIRST_PORT + (7 * job + (int(step) if step.isdecimal() else 0)) % _N_PORTS
    return {
        "RANK": str(_number(variables, "SLURM_PROCID")),
        "WORLD_SIZE": str(_number(variables, TASKS_VARIABLE)),
        "LOCAL_RANK": str(local),
        "LOCAL_WORLD_SIZE": str(local_count),
        "GROUP_WORLD_SIZE": variables.get("SLURM_STEP_NUM_NODES", str(len(counts))),
        "MASTER_ADDR": variables.get("MASTER_ADDR")
        or _address(first_host(_text(variables, "SLURM_STEP_NODELIST"))),
        "MASTER_PORT": variables.get("MASTER_PORT") or str(port),
    }


def tasks_per_node(text: str) -> list[int]:
    """Return the number of processes on each node.

    Examples
    --------
    >>> from singula.util.slurm import tasks_per_node
    >>> tasks_per_node("2(x3),1")
    [2, 2, 2, 1]
    """
    counts: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,6})(?:\(x(\d{1,6})\))?", part)
        if match is None:
            raise _wrong("SLURM_STEP_TASKS_PER_NODE", text, "such as 2(x3),1")
        counts += [int(match[1])] * int(match[2] or 1)
    return counts


def first_host(nodes: str) -> str:
    """Return the first name of a list of nodes.

    Examples
    --------
    >>> from singula.util.slurm import first_host
    >>> first_host("rack[1-2]gpu[07,09-12],login"), first_host("n3,n7")
    ('rack1gpu07', 'n3')
    """
    first = re.match(r"(?:[^,\[\]]|\[[^\]]*\])+", nodes)
    if first is None:
        raise _wrong("SLURM_STEP_NODELIST", nodes, "a list of nodes")
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", first[0])


def _address(host: str) -> str:
    """Return a node's name if it can be resolved, or else its address in SLURM's configuration."""
    with suppress(OSError):
        socket.getaddrinfo(host, None)
        return host
    match = re.search(r"\bNodeAddr=(\S+)", _call("scontrol", "show", "node", "-o", host))
    return match[1] if match else host


class _Progress:
    """Work of this process that is stored and not repeated when the job starts again."""

    is_stored = False


def record_progress() -> None:
    """Record that a requeued job continues after work of this process, and does not repeat it.

    Call this after a checkpoint with new steps, a test image, a block or an encoded image was
    written.
    """
    _Progress.is_stored = True


@contextmanager
def requeue_if_interrupted() -> Iterator[None]:
    """Call `requeue_interrupted` in the first process if a signal ends runs in this context.

    Libraries can replace the `KeyboardInterrupt` of a signal with another error. A process that
    this one started, and that announced the interruption, has requeued the job already.

    Raises
    ------
    UserError
        The code of `requeue_interrupted`.
    """
    _Progress.is_stored = False
    try:
        yield
    except BaseException:
        number, is_first = INTERRUPTION.received, (os.environ.get("RANK") or "0") == "0"
        if number is not None and is_first and not INTERRUPTION.announced:
            requeue_interrupted(number)
        raise


def requeue_interrupted(number: int | None) -> None:
    """Put the job of this process back into the queue, if it was interrupted by its time limit.

    The first process of a run calls this after everything is written, because SLURM ends the job
    at once.

    Parameters
    ----------
    number : int, optional
        Signal that interrupted the run. A job that was cancelled or preempted is not changed: SLURM
        itself requeues a preempted one.

    Raises
    ------
    UserError
        ``environment.no_progress``: the job would be requeued forever, because it stored nothing
        from which it could continue.
    """
    is_warned = number is not None and number == WARNING_SIGNAL
    if not is_in_job() or not (is_warned or (number == signal.SIGTERM and _is_at_limit())):
        return
    job = _job_name()
    if not _Progress.is_stored:
        INTERRUPTION.received = None  # the error is printed instead of the interruption
        raise UserError(
            f"job {job} of SLURM: got no finished training step, test image or block before its "
            "time limit, expected at least one; it is not put back into the queue, because it "
            "would repeat the same work",
            "request more time (#SBATCH --time) than the preparation of the data and a step, an "
            "image or a block need, and submit the job again",
            "environment.no_progress",
        )
    _log.info(f"job {job} of SLURM: back into the queue, to continue after its time limit")
    answer = _call("scontrol", "requeue", job)
    if answer.strip():
        _log.warning(
            f"ATTENTION: job {job} could not be requeued ({answer.strip()[:200]}); submit it again "
            "with --requeue, and with --resume in the script"
        )


def _job_name() -> str:
    """Return the number of the job for commands of SLURM; for a task of an array, as ``7_3``.

    The last task of an array has the number of the array in SLURM_JOB_ID, which names all tasks.
    """
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    return f"{array}_{task}" if array and task else os.environ[_JOB]


def _is_at_limit() -> bool:
    """Return True if the job reached its time limit, or still runs and soon reaches it."""
    return ends_by_limit(_call("scontrol", "show", "job", "-o", _job_name()))


def ends_by_limit(job: str) -> bool:
    """Return True if the time limit of a job ends it, rather than a user or a preemption.

    Parameters
    ----------
    job : str
        Answer of ``scontrol show job``.

    Examples
    --------
    >>> from singula.util.slurm import ends_by_limit
    >>> ends_by_limit("JobState=RUNNING RunTime=00:59:10 TimeLimit=01:00:00")
    True
    >>> ends_by_limit("JobState=COMPLETING RunTime=00:59:10 TimeLimit=01:00:00")  # cancelled
    False
    """
    fields = dict(re.findall(r"\b(JobState|RunTime|TimeLimit)=(\S+)", job))
    used, limit = (_seconds(fields.get(name, "")) for name in ("RunTime", "TimeLimit"))
    if used is None or limit is None:
        return False
    return limit - used < (_BEFORE_LIMIT if fields.get("JobState") == "RUNNING" else 1)


def _seconds(text: str) -> int | None:
    """Return the seconds of a time such as ``1-02:03:04``; None for another text."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", text)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _call(*line: str) -> str:
    """Run a command of SLURM, and return its output and errors."""
    try:
        done = subprocess.run(
            line, check=False, capture_output=True, text=True, timeout=_SECONDS,
            start_new_session=True,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stdout + done.stderr


def _text(variables: Mapping[str, str], name: str) -> str:
    text = variables.get(name)
    if not text:
        raise _wrong(name, text or "nothing", "a value, as srun sets it")
    return text


def _number(variables: Mapping[str, str], name: str) -> int:
    text = _text(variables, name)
    if not (text.isascii() and text.isdecimal() and len(text) <= 10):
        raise _wrong(name, text, "a number")
    return int(text)


def _wrong(name: str, value: str, expected: str) -> UserError:
    return UserError(
        f"environment variable {name}: got {value[:80]}, expected {expected}",
        "start the processes with srun, or set RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and "
        "MASTER_PORT",
        "environment.slurm",
    )
