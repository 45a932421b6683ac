"""One run as several processes of this machine."""

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
from singula.runtime import available_cores
from singula.signals import INTERRUPTION
from singula.workflow import Job

GRACE_SECONDS = 20.0
_MOST_PER_CORE = 16  # processes; a machine may have more GPUs than cores
_ANNOUNCED = (ExitCode.INTERRUPTED, ExitCode.TERMINATED)


def launch_run(count: int, job: Job) -> int:
    """Run ``singula run`` as `count` processes; return their exit code.

    Raises
    ------
    UserError
        For a mistake in the configuration, which is said once, not by every process.
        ``run.locked``: another process writes to this run.
        ``launch.too_many_processes``: far more processes than this machine has cores.
    """
    from singula.config import load_config
    from singula.io.run_lock import check_free

    _check_cores(count)
    config = load_config(job.config, list(job.overrides))
    # The first process takes the locks; here the command fails before the others wait for it.
    check_free(job.tree(config).lock_files(checkpoints=config.TRAIN.ENABLE))
    gpu = job.gpu
    if gpu is None:
        gpu = ",".join(map(str, range(count)))
        _check_gpus(count)
    return launch(count, replace(job, gpu=gpu).arguments())


def _check_cores(count: int) -> None:
    most = _MOST_PER_CORE * available_cores()
    if count > most:
        raise UserError(
            f"--gpus: got {count}, expected at most {most} processes on this machine",
            "give the number of GPUs to train on",
            "launch.too_many_processes",
        )


def _check_gpus(count: int) -> None:
    """See that so many GPUs are there, or none at all."""
    from singula.training.device import check_gpus, present_gpus

    if present_gpus():
        check_gpus(f"--gpus {count}", tuple(range(count)))


def launch(count: int, arguments: Sequence[str]) -> int:
    """Start ``singula ARGUMENTS`` as `count` processes that find each other, and wait for them.

    They get the environment of ``torch.distributed.run``, so a run behaves the same in both. Here
    the exit code is that of the run, and SIGINT and SIGTERM end all processes.

    Parameters
    ----------
    count : int
        Processes.
    arguments : sequence of str
        As on the command line, without the program's name.

    Returns
    -------
    int
        The exit code of the first process that failed, else 0.

    Raises
    ------
    KeyboardInterrupt
        After SIGINT or SIGTERM, when all processes have ended.
    """
    port = str(_free_port())
    threads = str(max(1, available_cores() // count))
    processes = []
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
        command = [sys.executable, "-m", "singula", *arguments]
        processes.append(subprocess.Popen(command, env=environment, preexec_fn=_end_with_parent()))
    try:
        return _wait(processes)
    except KeyboardInterrupt:
        # A terminal sends SIGINT to all of them, other programs to this one only. Processes that
        # are about to end ignore SIGTERM.
        for process in processes:
            process.terminate()
        _wait(processes)
        INTERRUPTION.announced = processes[0].returncode in _ANNOUNCED
        raise
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()


def _wait(processes: Sequence[subprocess.Popen[bytes]]) -> int:
    """Wait for all; once one has failed, end those that do not notice it in time."""
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
                if terminated:  # it waits for others in a library, where it handles no signal
                    process.kill()
                else:
                    process.terminate()
            terminated = True
            deadline = time.monotonic() + GRACE_SECONDS
        time.sleep(0.1)


def _end_with_parent() -> Callable[[], object] | None:
    """What a child does first so that it does not outlive a killed parent (Linux only)."""
    if not sys.platform.startswith("linux"):
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


def gpus_named(gpu: str | None) -> int:
    """How many GPUs of this machine ``--gpu`` names; 1 where there is none.

    Raises
    ------
    UserError
        When there are some, but not all that are named.
    """
    if gpu is None or "," not in gpu:
        return 1
    from singula.training.device import check_gpus, parse_gpu, present_gpus

    wanted = parse_gpu(gpu) or ()
    if not present_gpus():
        return 1
    check_gpus(f"--gpu {gpu!r}", wanted)
    return len(wanted)
