"""Launch a run as several processes on one machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from singula.errors import ExitCode, UserError
from singula.pipeline.run import Job
from singula.util.messages import captured_messages
from singula.util.process import available_cores, python_command
from singula.util.signals import INTERRUPTION

GRACE_SECONDS = 20.0
_MAX_PER_CORE = 16  # processes; a machine may have more GPUs than cores
_ANNOUNCED = (ExitCode.INTERRUPTED, ExitCode.TERMINATED)


def launch_run(count: int, job: Job) -> int:
    """Run ``singula run`` as several processes and return the exit code.

    Parameters
    ----------
    count : int
        Number of processes.
    job : Job
        Job that every process runs.

    Raises
    ------
    UserError
        Any mistake in the configuration, reported once instead of by every process.
        ``run.locked``: another process writes to this run.
        ``launch.too_many_processes``: far more processes than this machine has cores.
    """
    from singula.config import load_config
    from singula.io.run_lock import check_free

    _check_cores(count)
    with captured_messages():  # the processes print them
        config = load_config(job.config, list(job.overrides))
    # Fail here, before processes wait for the first one, which takes the locks.
    check_free(job.tree(config).lock_files(checkpoints=config.TRAIN.ENABLE))
    gpu = job.gpu
    if gpu is None:
        gpu = ",".join(map(str, range(count)))
        _check_gpus(count)
    return launch(count, replace(job, gpu=gpu).arguments())


def _check_cores(count: int) -> None:
    max_processes = _MAX_PER_CORE * available_cores()
    if count > max_processes:
        raise UserError(
            f"--gpus: got {count}, expected at most {max_processes} processes on this machine",
            "give the number of GPUs to train on",
            "launch.too_many_processes",
        )


def _check_gpus(count: int) -> None:
    """Raise an error if there are GPUs, but fewer than `count`."""
    from singula.training.device import check_gpus, present_gpus

    if present_gpus():
        check_gpus(f"--gpus {count}", tuple(range(count)))


def launch(count: int, arguments: Sequence[str]) -> int:
    """Start ``singula ARGUMENTS`` as processes of one distributed group, and wait for them.

    The processes get the same environment variables as from ``torch.distributed.run``. In contrast
    to it, the exit code of the run is kept, and SIGINT and SIGTERM end all processes.

    Parameters
    ----------
    count : int
        Number of processes.
    arguments : sequence of str
        Arguments as on the command line, without the program's name.

    Returns
    -------
    int
        Exit code of the first process that failed, or 0.

    Raises
    ------
    KeyboardInterrupt
        SIGINT or SIGTERM was received; all processes have ended.
    """
    port = str(_free_port())
    threads = str(max(1, available_cores() // count))
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(count):
            environment = {
                "OMP_NUM_THREADS": threads,
                **os.environ,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(count),
                "LOCAL_WORLD_SIZE": str(count),
                "GROUP_WORLD_SIZE": "1",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
            }
            command = [*python_command(), "-m", "singula", *arguments]
            processes.append(
                subprocess.Popen(command, env=environment, preexec_fn=_end_with_parent())
            )
        return _wait(processes)
    except KeyboardInterrupt:
        # A terminal sends SIGINT to all processes, other programs only to this one. Processes that
        # already handle SIGINT ignore SIGTERM. Windows always sends Ctrl-C and Ctrl-Break to all
        # processes, and `terminate` would end them without cleaning up.
        if sys.platform != "win32":
            for process in processes:
                process.terminate()
        _wait(processes)
        INTERRUPTION.announced = any(p.returncode in _ANNOUNCED for p in processes[:1])
        raise
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()


def _wait(processes: Sequence[subprocess.Popen[bytes]]) -> int:
    """Wait for all processes, and end them if a process failed `GRACE_SECONDS` ago."""
    deadline = float("inf")
    failure, terminated = 0, False
    while True:
        codes = [process.poll() for process in processes]
        failure = failure or next((code for code in codes if code), 0)
        if None not in codes:
            return failure if failure >= 0 else 128 - failure
        if failure and deadline == float("inf"):
            deadline = time.monotonic() + GRACE_SECONDS
        if time.monotonic() > deadline:
            for process in processes:
                if terminated:  # it waits in a library that does not handle signals
                    process.kill()
                else:
                    process.terminate()
            terminated = True
            deadline = time.monotonic() + GRACE_SECONDS
        time.sleep(0.1)


def _end_with_parent() -> Callable[[], object] | None:
    """Return a function that makes a child end with its parent; None if not on Linux."""
    if sys.platform != "linux":
        return None
    import ctypes

    library = ctypes.CDLL(None)
    set_death_signal = 1  # PR_SET_PDEATHSIG
    return lambda: library.prctl(set_death_signal, signal.SIGTERM)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def count_gpus(gpu: str | None) -> int:
    """Return the number of GPUs in ``--gpu``; 1 if this machine has no GPU.

    Parameters
    ----------
    gpu : str, optional
        Value of the option.

    Raises
    ------
    UserError
        The machine has GPUs, but not all of those in `gpu`.
    """
    if gpu is None or "," not in gpu:
        return 1
    from singula.training.device import check_gpus, parse_gpu, present_gpus

    numbers = parse_gpu(gpu) or ()
    if not present_gpus():
        return 1
    check_gpus(f"--gpu {gpu!r}", numbers)
    return len(numbers)
