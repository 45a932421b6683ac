"""Blocks done by the workers of a Dask cluster; here, and nowhere else, Dask is imported."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from singula.errors import UserError
from singula.runtime import available_cores
from singula.scaleout.job import JobFolder
from singula.scaleout.runner import Progress, Runner, Work, do_block, left_to_do

if TYPE_CHECKING:
    from distributed import Client

Notify = Callable[[str], None]
_AHEAD = 4  # blocks per worker that the scheduler knows of at a time
_QUEUES = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster", "sge": "SGECluster"}
_WAYS = "local:N (workers on this machine), tcp://HOST:PORT (a scheduler), or " + ", ".join(
    f"{name}:FILE" for name in _QUEUES
)
_PATIENCE = "120s"


class DaskRunner:
    """Sends blocks to workers; what travels is the path of the job and the number of a block.

    A few blocks per worker are under way at a time, so a scheduler never holds many, and what is
    known of a finished block is in the job's folder. A worker that dies loses its block only:
    another one does it again.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, client: Client) -> None:
        self.client = client

    @property
    def workers(self) -> int:
        """Workers that are there now."""
        return max(1, len(self.client.scheduler_info(n_workers=-1)["workers"]))

    def run(
        self, work: Work, job: JobFolder, phase: str, blocks: Sequence[int], progress: Progress
    ) -> None:
        """See `Runner`."""
        from distributed import as_completed

        waiting = left_to_do(job, phase, blocks)
        done = len(blocks) - len(waiting)
        progress(done, len(blocks))
        folder = job.path.absolute()
        rest = iter(waiting)

        def send(count: int) -> list[Any]:
            numbers = list(islice(rest, count))
            return self.client.map(
                do_block,
                [work] * len(numbers),
                [folder] * len(numbers),
                [phase] * len(numbers),
                numbers,
                pure=False,
                key=[f"{phase}-{folder.name}-{n}-{os.urandom(4).hex()}" for n in numbers],
            )

        flying = as_completed(send(_AHEAD * self.workers))
        for future in flying:
            future.result()  # the worker's error, if there was one
            future.release()
            done += 1
            progress(done, len(blocks))
            flying.update(send(1))


@contextmanager
def dask_runner(way: str, notify: Notify, *, memory: int, gpus: int = 0) -> Iterator[Runner]:
    """Workers by the words of ``--dask``.

    Parameters
    ----------
    way : str
        ``local:N``, the address of a scheduler, or ``slurm:FILE`` (``pbs:``, ``lsf:``, ``sge:``).
    notify : callable
    memory : int
        Bytes that the workers of this machine may take together.
    gpus : int
        GPUs of this machine, dealt out to its workers in turn.

    Raises
    ------
    UserError
        For other words, a missing library, a scheduler that does not answer.
    """
    try:
        import dask
        import distributed  # noqa: F401
    except ImportError as error:
        raise UserError(
            "--dask: the library distributed is not installed", 'pip install "singula[dask]"'
        ) from error
    # A worker that is killed takes down what it was doing, which may be nobody's fault five times.
    dask.config.set({"distributed.scheduler.allowed-failures": 5})
    local = re.fullmatch(r"local:(\d+)", way)
    if local and int(local[1]) > 0:
        with _local_cluster(int(local[1]), memory, gpus) as client:
            notify(f"dask: {local[1]} workers on this machine; {client.dashboard_link}")
            yield DaskRunner(client)
        return
    queue, _, file = way.partition(":")
    if queue in _QUEUES and file:
        with _queue_cluster(queue, Path(file), notify) as client:
            yield DaskRunner(client)
        return
    if re.fullmatch(r"(tcp|tls|ucx|ws|wss)://.+", way):
        with _connected(way) as client:
            notify(f"dask: scheduler {way}; {client.dashboard_link}")
            client.wait_for_workers(1)
            yield DaskRunner(client)
        return
    raise UserError(f"--dask: found {way!r}; allowed: {_WAYS}")


@contextmanager
def _local_cluster(workers: int, memory: int, gpus: int) -> Iterator[Client]:
    """Processes of this machine, each with its share of cores, memory and GPUs."""
    from distributed import Client, Nanny, Scheduler, SpecCluster

    threads = max(1, available_cores() // workers)
    specs = {}
    for number in range(workers):
        environment = {name: str(threads) for name in _THREADS}
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = str(number % gpus)
        specs[number] = {
            "cls": Nanny,
            "options": {
                "nthreads": 1,
                "memory_limit": memory // workers,
                "env": environment,
                "dashboard": False,
            },
        }
    scheduler = {"cls": Scheduler, "options": {"dashboard": False, "port": 0}}
    with (
        SpecCluster(specs, scheduler, silence_logs=40) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(workers)
        yield client


_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(address, timeout=_PATIENCE)
    except (OSError, TimeoutError) as error:
        raise UserError(
            f"--dask: the scheduler {address} does not answer ({error})",
            "start it with `dask scheduler`, and workers with `dask worker ADDRESS`",
        ) from error
    with client:
        yield client


@contextmanager
def _queue_cluster(queue: str, file: Path, notify: Notify) -> Iterator[Client]:
    """Workers as jobs of a batch system."""
    from distributed import Client

    cluster = queue_cluster(queue, file)
    with cluster, Client(cluster) as client:
        notify(f"dask: waiting for the first job of {queue}; {client.dashboard_link}")
        client.wait_for_workers(1)
        yield client


def queue_cluster(queue: str, file: Path) -> Any:
    """The cluster that a file describes, its jobs submitted.

    The file is YAML: ``jobs``, how many, and for the others the arguments of dask-jobqueue's
    cluster (``cores``, ``memory``, ``queue``, ``walltime``, ``job_extra_directives`` …).

    Raises
    ------
    UserError
        For a file that is missing, no YAML mapping, or has arguments that are not known.
    """
    try:
        import dask_jobqueue
        import yaml
    except ImportError as error:
        raise UserError(
            f"--dask {queue}: the library dask-jobqueue is not installed",
            'pip install "singula[dask]"',
        ) from error
    if not file.is_file():
        raise UserError(
            f"--dask {queue}:FILE: there is no file {file}",
            "a YAML file with jobs, cores, memory, walltime and what else the queue wants",
        )
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{file}: is no YAML ({error})") from error
    if not isinstance(values, dict) or not isinstance(values.get("jobs"), int):
        raise UserError(
            f"{file}: found {values!r}; give a mapping with jobs (a number), cores, memory …"
        )
    jobs = values.pop("jobs")
    values = {"processes": 1, "python": None, **values}
    values = {name: value for name, value in values.items() if value is not None}
    try:
        cluster = getattr(dask_jobqueue, _QUEUES[queue])(**values)
    except (TypeError, ValueError) as error:
        raise UserError(f"{file}: {error}", "see dask-jobqueue's documentation") from error
    cluster.scale(jobs=jobs)
    return cluster
