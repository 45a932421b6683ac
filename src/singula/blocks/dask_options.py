"""Values of the option ``--dask``, and settings that all workers of Dask share."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from singula.config.yaml_source import mapping_from_yaml
from singula.errors import UserError
from singula.util.format import install_command, show
from singula.util.paths import read_text_file, user_path

QUEUES = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster", "sge": "SGECluster"}
_FORMS = "local:N (workers on this machine), tcp://HOST:PORT (a scheduler), or " + ", ".join(
    f"{name}:FILE" for name in QUEUES
)
_SCHEMES = ("tcp", "tls", "ucx", "ws", "wss")
_MAX_LOCAL = 1024
_MAX_JOBS = 100_000
_MAX_BYTES = 1 << 20
# A worker keeps no data between tasks, so pausing it would not free any memory. The profiler, which
# samples each thread every 10 ms, would take 5 % of the time.
WORKERS = {
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.profile.enabled": False,
}
# Blocks are processed in a thread. With its own malloc arena, the thread would return large arrays
# to the system and request them again page by page, despite `prepare_process`.
ALLOCATION = {"MALLOC_ARENA_MAX": "1"}
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def thread_settings(threads: int) -> dict[str, str]:
    """Return the environment variables of a worker with a number of threads.

    Idle threads sleep, so that they do not take time from other workers.
    """
    return {**dict.fromkeys(_THREADS, str(threads)), "OMP_WAIT_POLICY": "PASSIVE"}


def check_dask_option(option: str) -> None:
    """Validate the value of ``--dask``, without starting workers or connecting to a scheduler.

    Parameters
    ----------
    option : str
        ``local:N``, the address of a scheduler, or ``slurm:FILE`` (``pbs:``, ``lsf:``, ``sge:``).

    Raises
    ------
    UserError
        ``dask.workers``: another value; ``dask.library_missing``: Dask, dask-jobqueue or a protocol
        is not installed; ``dask.queue_file``: the file does not describe jobs;
        ``dask.encryption``: an encrypted address without certificates.
    """
    kind, _, rest = option.partition(":")
    if kind in QUEUES and rest:
        file = user_path(rest, "--dask", "file")
    elif not _is_local(option) and not _is_address(option):
        raise UserError(
            f"--dask: got {show(option)}, expected {_FORMS}",
            f"give 1 to {_MAX_LOCAL} workers, or the address that `dask scheduler` prints",
            "dask.workers",
        )
    for name in ("distributed", *(["dask_jobqueue"] if kind in QUEUES else ())):
        try:
            import_module(name)
        except ImportError as error:
            raise UserError(
                f"--dask {option}: the library {name} is not installed",
                install_command("dask"),
                "dask.library_missing",
            ) from error
    if kind in QUEUES:
        _, values = queue_values(file)
        check_jobs(kind, file, values)
    elif kind != "local":
        _check_scheme(option, kind)


def _is_local(option: str) -> bool:
    """Return True for ``local:N`` with a valid number of workers."""
    match = re.fullmatch(r"local:0*([1-9][0-9]{0,3})", option)
    return match is not None and int(match[1]) <= _MAX_LOCAL


def _check_scheme(address: str, scheme: str) -> None:
    """Raise an error if a protocol is not installed or has no certificates."""
    from distributed.comm.registry import get_backend
    from distributed.security import Security

    security: Any = Security
    try:
        get_backend(scheme)
    except (ImportError, ValueError) as error:
        raise UserError(
            f"--dask {address}: the protocol {scheme} is not installed",
            "use tcp://HOST:PORT, or install the library of the protocol",
            "dask.library_missing",
        ) from error
    if scheme in ("tls", "wss"):
        try:
            certificates = security().get_connection_args("client").get("ssl_context")
        except OSError as error:
            raise _not_encrypted(address, str(error)) from error
        if certificates is None:
            raise _not_encrypted(address, "no certificates are configured")


def _not_encrypted(address: str, reason: str) -> UserError:
    return UserError(
        f"--dask {address}: the connection cannot be encrypted ({reason})",
        "set distributed.comm.tls in the configuration of Dask, or use tcp://",
        "dask.encryption",
    )


def _is_address(option: str) -> bool:
    """Return True for the address of a scheduler, with host and port."""
    try:
        address = urlsplit(option)
        port = address.port
    except ValueError:  # unbalanced brackets, or an invalid port
        return False
    is_plain = option == f"{address.scheme}://{address.netloc}" and "@" not in address.netloc
    has_host = re.fullmatch(r"[\w.:%-]+", address.hostname or "") is not None
    return address.scheme in _SCHEMES and is_plain and has_host and bool(port)


def queue_values(file: Path) -> tuple[int, dict[str, Any]]:
    """Read the number of jobs and the arguments of each job from a YAML file.

    Raises
    ------
    UserError
        ``dask.queue_file``: jobs, cores or processes are not numbers in the range; the codes of
        `mapping_from_yaml` and `read_text_file`.
    """
    values = mapping_from_yaml(read_text_file(file, _MAX_BYTES), str(file))
    for name, default in (("jobs", None), ("cores", 1), ("processes", 1)):
        value = values.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MAX_JOBS:
            raise UserError(
                f"{file}: {name}: got {show(value)}, expected 1 to {_MAX_JOBS}",
                "write a mapping of jobs, cores, memory, walltime and other options of the queue",
                "dask.queue_file",
            )
    return values.pop("jobs"), values


def check_jobs(queue: str, file: Path, values: dict[str, Any]) -> None:
    """Validate the arguments of a file by creating a job, without submitting it.

    Parameters
    ----------
    queue : str
        A key of `QUEUES`.
    file : Path
        The file, for the message.
    values : dict
        Arguments from `queue_values`.

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
    """Return arguments for jobs that process one block at a time, with all their cores.

    By default, dask-jobqueue starts a thread per core, and each thread processes another block.
    """
    processes = values.get("processes", 1)
    threads = max(1, int(values.get("cores") or 1) // int(processes))
    variables = {f"DASK_{k.upper().replace('.', '__')}": str(v) for k, v in WORKERS.items()}
    settings = {**thread_settings(threads), **ALLOCATION, **variables}
    exports = [f"export {name}={value}" for name, value in settings.items()]
    return {
        **values,
        "processes": processes,
        "job_script_prologue": [*exports, *values.get("job_script_prologue", ())],
        "worker_extra_args": ["--nthreads", "1", *values.get("worker_extra_args", ())],
    }
