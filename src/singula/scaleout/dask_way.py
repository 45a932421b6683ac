"""Ways to name the workers of ``--dask``, and the settings that all workers have."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from singula.config.source import mapping_from_yaml
from singula.errors import UserError
from singula.paths import read_text_file, user_path
from singula.words import install_command, show

QUEUES = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster", "sge": "SGECluster"}
_WAYS = "local:N (workers on this machine), tcp://HOST:PORT (a scheduler), or " + ", ".join(
    f"{name}:FILE" for name in QUEUES
)
_SCHEMES = ("tcp", "tls", "ucx", "ws", "wss")
_MOST_LOCAL = 1024
_MOST_JOBS = 100_000
_MOST_BYTES = 1 << 20
# Nothing stays in a worker between tasks, so it never waits for memory that nobody hands back. Its
# thread is not looked at every 10 ms, which takes a twentieth of the time.
WORKERS = {
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.profile.enabled": False,
}
# Blocks are done in a thread, whose own arena would hand large arrays back to the system and take
# them again page by page, whatever `prepare_process` says.
ALLOCATION = {"MALLOC_ARENA_MAX": "1"}
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def thread_settings(threads: int) -> dict[str, str]:
    """Return the environment of a worker with this number of threads, which sleep when idle."""
    return {**dict.fromkeys(_THREADS, str(threads)), "OMP_WAIT_POLICY": "PASSIVE"}


def check_way(way: str) -> None:
    """Validate ``--dask`` completely, without starting or connecting to anything.

    Parameters
    ----------
    way : str
        ``local:N``, the address of a scheduler, or ``slurm:FILE`` (``pbs:``, ``lsf:``, ``sge:``).

    Raises
    ------
    UserError
        ``dask.workers``: other words; ``dask.library_missing``; ``dask.queue_file``: the file does
        not describe jobs; ``dask.encryption``: an encrypted address without certificates.
    """
    kind, _, rest = way.partition(":")
    if kind in QUEUES and rest:
        file = user_path(rest, "--dask", "file")
    elif not _is_local(way) and not _is_address(way):
        raise UserError(
            f"--dask: got {show(way)}, expected {_WAYS}",
            f"give 1 to {_MOST_LOCAL} workers, or the address that `dask scheduler` prints",
            "dask.workers",
        )
    for name in ("distributed", *(["dask_jobqueue"] if kind in QUEUES else ())):
        try:
            import_module(name)
        except ImportError as error:
            raise UserError(
                f"--dask {way}: the library {name} is not installed",
                install_command("dask"),
                "dask.library_missing",
            ) from error
    if kind in QUEUES:
        _, values = queue_values(file)
        check_jobs(kind, file, values)
    elif kind != "local":
        _check_scheme(way, kind)


def _is_local(way: str) -> bool:
    """Return True for ``local:N`` with a usable number of workers."""
    found = re.fullmatch(r"local:0*([1-9][0-9]{0,3})", way)
    return found is not None and int(found[1]) <= _MOST_LOCAL


def _check_scheme(way: str, scheme: str) -> None:
    """Refuse a protocol that is not installed or lacks its certificates."""
    from distributed.comm.registry import get_backend
    from distributed.security import Security

    security: Any = Security
    try:
        get_backend(scheme)
    except (ImportError, ValueError) as error:
        raise UserError(
            f"--dask {way}: the protocol {scheme} is not available here",
            "use tcp://HOST:PORT, or install the library of the protocol",
            "dask.library_missing",
        ) from error
    if scheme in ("tls", "wss"):
        try:
            certificates = security().get_connection_args("client").get("ssl_context")
        except OSError as error:
            raise _not_encrypted(way, str(error)) from error
        if certificates is None:
            raise _not_encrypted(way, "no certificates are configured")


def _not_encrypted(way: str, reason: str) -> UserError:
    return UserError(
        f"--dask {way}: the connection cannot be encrypted ({reason})",
        "set distributed.comm.tls in the configuration of Dask, or use tcp://",
        "dask.encryption",
    )


def _is_address(way: str) -> bool:
    """Return True for the address of a scheduler, with host and port."""
    try:
        address = urlsplit(way)
        port = address.port
    except ValueError:  # brackets, or a port that is not a number in its range
        return False
    complete = way == f"{address.scheme}://{address.netloc}" and "@" not in address.netloc
    usable = re.fullmatch(r"[\w.:%-]+", address.hostname or "") is not None
    return address.scheme in _SCHEMES and complete and usable and bool(port)


def queue_values(file: Path) -> tuple[int, dict[str, Any]]:
    """Read the number of jobs and the arguments of each job from a file.

    Raises
    ------
    UserError
        ``dask.queue_file``: jobs, cores or processes are not numbers; as `mapping_from_yaml`.
    """
    values = mapping_from_yaml(read_text_file(file, _MOST_BYTES), str(file))
    for name, default in (("jobs", None), ("cores", 1), ("processes", 1)):
        found = values.get(name, default)
        if not isinstance(found, int) or isinstance(found, bool) or not 1 <= found <= _MOST_JOBS:
            raise UserError(
                f"{file}: {name}: got {show(found)}, expected 1 to {_MOST_JOBS}",
                "write a mapping with jobs, cores, memory, walltime and what else the queue wants",
                "dask.queue_file",
            )
    return values.pop("jobs"), values


def check_jobs(queue: str, file: Path, values: dict[str, Any]) -> None:
    """Make a job from the arguments of a file without submitting it.

    Raises
    ------
    UserError
        ``dask.queue_file``: dask-jobqueue does not accept the arguments.
    """
    import dask_jobqueue

    job = getattr(dask_jobqueue, QUEUES[queue]).job_cls
    try:
        job(None, name="singula", **one_block_per_job(values)).job_script()
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{file}: {error}", "see the documentation of dask-jobqueue", "dask.queue_file"
        ) from error


def one_block_per_job(values: dict[str, Any]) -> dict[str, Any]:
    """Arguments under which a job does one block at a time, with all its cores.

    Left to itself dask-jobqueue gives a process a thread per core, each with a block of its own.
    """
    processes = values.get("processes", 1)
    threads = max(1, int(values.get("cores") or 1) // int(processes))
    as_named = {f"DASK_{k.upper().replace('.', '__')}": str(v) for k, v in WORKERS.items()}
    settings = {**thread_settings(threads), **ALLOCATION, **as_named}
    exports = [f"export {name}={value}" for name, value in settings.items()]
    return {
        **values,
        "processes": processes,
        "job_script_prologue": [*exports, *values.get("job_script_prologue", ())],
        "worker_extra_args": ["--nthreads", "1", *values.get("worker_extra_args", ())],
    }
