"""Communication of the processes of a run.

Every wait for another process has a time limit, and its error names the process and the step.
While the first process encodes a data set or decodes a volume, the others wait for days if
necessary. Lost machines and cut connections are nevertheless detected within minutes: the system
tests idle TCP connections (`_test_connections`).
"""

from __future__ import annotations

import atexit
import functools
import os
import re
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch

from singula.errors import UserError
from singula.training.device import Device
from singula.util.process import TIMEOUT_VARIABLE, launcher_number
from singula.util.signals import INTERRUPTION

Result = TypeVar("Result")
# Limit while the first process works alone
_WORK_TIMEOUT = timedelta(days=2)
# Seconds without an answer after which the system closes a connection
_IDLE, _INTERVAL, _PROBES = 30, 10, 6
# Texts of the errors of gloo, NCCL and the store of torch
_COMMUNICATION = re.compile(r"gloo|nccl|store|socket|connection|timed out|timeout", re.IGNORECASE)
_TIMED_OUT = re.compile(r"timed out|timeout", re.IGNORECASE)


class _Position:
    """Step of the run, for messages."""

    text = "start"


def set_position(text: str) -> None:
    """Set the step of the run that errors of communication name, such as ``epoch 3, step 41``."""
    _Position.text = text


def world_and_rank() -> tuple[int, int]:
    """Return the number of processes of the run and the rank of this process."""
    return launcher_number("WORLD_SIZE"), launcher_number("RANK")


def join_processes(device: Device) -> None:
    """Initialize the process groups of a run with several processes.

    Parameters
    ----------
    device : Device
        Device of this process.

    Raises
    ------
    UserError
        ``process.lost``, ``process.timeout``: the processes do not reach each other.
    """
    world, _ = world_and_rank()
    if world == 1 or torch.distributed.is_initialized():
        return
    if device.kind == "cuda":
        torch.cuda.set_device(device.torch)
    backend = "nccl" if device.kind == "cuda" else "gloo"
    set_position("start")
    with report_lost_process():
        torch.distributed.init_process_group(backend, timeout=_step_timeout())
        # Threads of a process group that run at interpreter exit can abort the process.
        atexit.register(leave_processes)
        _work_group()
        _step_group()
    _test_connections()


def leave_processes() -> None:
    """Destroy the process groups of this process, if there are any.

    A group of NCCL is not destroyed: this would wait for all processes, and one of them may be
    waiting for a message of this process.
    """
    groups = torch.distributed
    if not groups.is_available() or not groups.is_initialized():
        return
    for group in (_work_group, _step_group):
        if group.cache_info().currsize:
            groups.destroy_process_group(group())
            group.cache_clear()
    if groups.get_backend() == "gloo":
        groups.destroy_process_group()


def _step_timeout() -> timedelta:
    return timedelta(seconds=launcher_number(TIMEOUT_VARIABLE))


@functools.cache
def _work_group() -> Any:
    """Return the process group for Python objects and for waits while one process works."""
    return torch.distributed.new_group(backend="gloo", timeout=_WORK_TIMEOUT)


@functools.cache
def _step_group() -> Any:
    """Return the process group for values in main memory within a step."""
    return torch.distributed.new_group(backend="gloo", timeout=_step_timeout())


def _test_connections() -> None:
    """Let the system close TCP connections of this process whose other end does not answer.

    Without this, a process waits until its time limit if a cable is cut or a machine loses power,
    because no message announces this. A slow connection stays open.
    """
    if not sys.platform.startswith("linux"):
        return
    folder = Path("/proc/self/fd")
    options = {
        socket.TCP_KEEPIDLE: _IDLE,
        socket.TCP_KEEPINTVL: _INTERVAL,
        socket.TCP_KEEPCNT: _PROBES,
        socket.TCP_USER_TIMEOUT: 1000 * (_IDLE + _INTERVAL * _PROBES),
    }
    for name in os.listdir(folder) if folder.is_dir() else ():
        with suppress(OSError):  # a file that was closed in the meantime
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as connection:
                is_tcp = connection.family in (socket.AF_INET, socket.AF_INET6)
                if is_tcp and connection.type == socket.SOCK_STREAM:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                    for option, value in options.items():
                        connection.setsockopt(socket.IPPROTO_TCP, option, value)


@contextmanager
def report_lost_process() -> Iterator[None]:
    """Convert errors of communication to a `UserError` with the rank and the step.

    Raises
    ------
    UserError
        ``process.lost``: another process ended, or the connection to it is cut;
        ``process.timeout``: another process did not answer within the time limit.
    """
    try:
        yield
    except (RuntimeError, OSError) as error:
        reason = _short(str(error)) or type(error).__name__
        world, rank = world_and_rank()
        if isinstance(error, UserError) or world == 1 or not _COMMUNICATION.search(str(error)):
            raise
        place = f"rank {rank} of {world}, {_Position.text}"
        if _TIMED_OUT.search(reason) and not re.search("Connection timed out", reason):
            raise UserError(
                f"{place}: another process did not answer within the time limit ({reason})",
                "check the other machines and the network, and repeat the command with --resume; "
                f"{TIMEOUT_VARIABLE} in the environment sets the seconds of the limit",
                "process.timeout",
            ) from error
        raise UserError(
            f"{place}: another process ended, or the connection to it is cut ({reason})",
            "read the message of that process, or check the network, and repeat the command with "
            "--resume",
            "process.lost",
        ) from error


def _short(text: str) -> str:
    """Return the first sentence of an error of torch, without the file of its source code."""
    line = next(iter(text.splitlines()), "")
    return re.sub(r"^\[\S+\] ", "", line).partition(". This is")[0]


def main_first(work: Callable[[], Result]) -> Result:
    """Call a function in the first process, and then in all other processes.

    The other processes can read files that the first process has written.

    Parameters
    ----------
    work : callable
        Function without parameters.

    Returns
    -------
    object
        Result of the function in this process.

    Raises
    ------
    UserError
        As for `report_lost_process`.
    """
    world, rank = world_and_rank()
    if world == 1:
        return work()
    if rank == 0:
        result = work()
    with report_lost_process():
        torch.distributed.barrier(_work_group())
    return result if rank == 0 else work()


def share_from_main(value: Result) -> Result:
    """Return the value of the first process, in every process; it must be picklable."""
    world, _ = world_and_rank()
    if world == 1:
        return value
    box = [value]
    with report_lost_process():
        torch.distributed.broadcast_object_list(box, src=0, group=_work_group())
    return box[0]


def gather_to_main(value: Result) -> list[Result]:
    """Return the values of all processes by rank in the first process; elsewhere an empty list."""
    world, rank = world_and_rank()
    if world == 1:
        return [value]
    # The value of the first process is not sent.
    box: list[Any] | None = [None] * world if rank == 0 else None
    with report_lost_process():
        torch.distributed.gather_object(None if rank == 0 else value, box, 0, _work_group())
    return [] if box is None else [value, *box[1:]]


def sum_over_processes(values: torch.Tensor) -> torch.Tensor:
    """Return the sum of a tensor on the device over all processes, in every process."""
    world, _ = world_and_rank()
    if world > 1:
        with report_lost_process():
            torch.distributed.all_reduce(values)
    return values


def share_buffers(network: torch.nn.Module) -> None:
    """Copy the buffers of the first process, such as batch statistics, to every process."""
    with report_lost_process():
        for buffer in network.buffers():
            torch.distributed.broadcast(buffer, src=0)


def deferred_signal() -> int:
    """Return the deferred signal that any process of the run received; 0 if none did.

    All processes must call this at the same step, and get the same number. The signal counts as
    received in every process afterwards.
    """
    number = int(INTERRUPTION.deferred_signal or 0)
    world, _ = world_and_rank()
    if world > 1 and INTERRUPTION.defers:
        flag = torch.tensor([number])
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX, group=_step_group())
        number = int(flag)
    if number and INTERRUPTION.received is None:
        INTERRUPTION.received = number
    return number
