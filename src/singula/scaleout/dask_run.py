"""Blocks done by the workers of a Dask cluster; here, and nowhere else, Dask is imported."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from singula.errors import StorageError, UserError
from singula.paths import user_path
from singula.runtime import available_cores, prepare_process, release_memory, thread_limit
from singula.scaleout.dask_way import (
    ALLOCATION,
    QUEUES,
    WORKERS,
    check_jobs,
    check_way,
    one_block_per_job,
    queue_values,
    thread_settings,
)
from singula.scaleout.job import JobFolder
from singula.scaleout.runner import MOST, Progress, Runner, Work, do_blocks, left_to_do
from singula.signals import blocked_sigint
from singula.streams import printable
from singula.words import counted

if TYPE_CHECKING:
    from distributed import Client, Future

Notify = Callable[[str], None]
# Tasks that the scheduler knows of at a time: per worker, and in all
_AHEAD, _LEAST_AHEAD = 4, 64
# A task costs this process and the scheduler about 2 ms (benchmarks/scheduler.py). With so many
# seconds of work per task, and more the more workers there are, they are idle most of the time.
_SECONDS, _SECONDS_PER_WORKER = 1.0, 0.005
_LOOK = 5.0  # seconds after which workers are counted again
_DEATHS = 5
_PATIENCE = "120s"


class DaskRunner:
    """Sends blocks to workers; what travels is the path of the job and numbers of blocks.

    Some tasks per worker are under way at a time, so a scheduler never holds many, and what is
    known of a finished block is in the job's folder. Blocks that take little time travel together,
    and a task that turns out to take long gives back what it has not begun. A worker that dies
    loses the blocks of its task only: another one does them again.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self._counted, self._workers = -_LOOK, 1

    @property
    def workers(self) -> int:
        """Blocks that are done at a time by the workers that are there now."""
        now = time.monotonic()
        if now - self._counted >= _LOOK:
            found = self.client.scheduler_info(n_workers=0)["total_threads"]
            self._counted, self._workers = now, max(1, int(found))
        return self._workers

    def run(
        self, work: Work, job: JobFolder, phase: str, blocks: Sequence[int], progress: Progress
    ) -> None:
        """See `Runner`.

        Raises
        ------
        UserError
            What a block's work raised; or when workers die again and again at the same blocks.
        StorageError
            When the scheduler is gone.
        """
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError
        from distributed.comm.core import CommClosedError

        waiting = left_to_do(job, phase, blocks)
        progress(len(blocks) - len(waiting), len(blocks))
        errand = _Errand(self, work, job.path.absolute(), phase, waiting)
        try:
            errand.run(lambda left: progress(len(blocks) - left, len(blocks)))
        except KilledWorker as error:
            raise UserError(
                f"--dask: {counted(error.allowed_failures + 1, 'worker')} died, one after "
                "the other, at "
                f"{errand.blocks_of(error.task)} ({phase})",
                "most often they take more memory than they may: use fewer workers, more "
                "SYSTEM.MAX_MEMORY or a smaller TEST.BY_CHUNKS.BLOCK_SHAPE; the same command goes "
                "on with the blocks that are left",
            ) from error
        except (FutureCancelledError, CommClosedError) as error:
            raise StorageError(
                f"--dask: the scheduler is gone ({error})",
                "start it again; the same command goes on with the blocks that are left",
            ) from error


class _Errand:
    """The blocks of one phase on their way to the workers and back."""

    def __init__(
        self, runner: DaskRunner, work: Work, folder: Path, phase: str, waiting: Sequence[int]
    ) -> None:
        self.runner, self.client = runner, runner.client
        self.work, self.folder, self.phase = work, folder, phase
        self.waiting = deque(waiting)
        self.sent: dict[Future[Any], list[int]] = {}
        self.each: float | None = None  # seconds of a block, as far as is known

    def run(self, told: Callable[[int], None]) -> None:
        """Do all of them; `told` takes how many are left."""
        from distributed import as_completed

        flying = as_completed(self._send())
        try:
            for finished in flying.batches():
                results = self.client.gather(finished)
                for future, (left, seconds) in zip(finished, results, strict=True):
                    numbers = self.sent.pop(future)
                    self.waiting.extendleft(reversed(left))
                    self._learn(seconds, len(numbers) - len(left))
                told(len(self.waiting) + sum(map(len, self.sent.values())))
                flying.update(self._send())
        finally:
            self.client.cancel(list(self.sent))

    def blocks_of(self, key: Any) -> str:
        """The blocks of a task in words."""
        found = [n for future, numbers in self.sent.items() if future.key == key for n in numbers]
        return f"blocks {found[0]} to {found[-1]}" if found else str(key)

    def _learn(self, seconds: float, count: int) -> None:
        found = seconds / max(count, 1)
        self.each = found if self.each is None else 0.8 * self.each + 0.2 * found

    def _together(self, seconds: float) -> int:
        """Blocks of the next task: fewer towards the end, so that all workers end together."""
        if self.each is None:
            return 1
        share = ceil(len(self.waiting) / (2 * self.runner.workers))
        return max(1, min(int(seconds / max(self.each, 1e-6)), MOST, share))

    def _send(self) -> list[Future[Any]]:
        """As many tasks as are to be under way."""
        workers = self.runner.workers
        seconds = max(_SECONDS, _SECONDS_PER_WORKER * workers)
        tasks: list[list[int]] = []
        while self.waiting and len(self.sent) + len(tasks) < max(_AHEAD * workers, _LEAST_AHEAD):
            count = min(self._together(seconds), len(self.waiting))
            tasks.append([self.waiting.popleft() for _ in range(count)])
        if not tasks:
            return []
        mark = os.urandom(4).hex()
        job = (self.work, self.folder, self.phase)
        name = printable(self.folder.name)  # keys are UTF-8
        futures: list[Future[Any]] = self.client.map(
            timed_blocks,
            *([part] * len(tasks) for part in job),
            tasks,
            [seconds] * len(tasks),
            pure=False,
            key=[f"{self.phase}-{name}-{t[0]}-{len(t)}-{mark}" for t in tasks],
        )
        self.sent.update(zip(futures, tasks, strict=True))
        return futures


def timed_blocks(
    work: Work, folder: Path, phase: str, numbers: Sequence[int], seconds: float
) -> tuple[list[int], float]:
    """See `do_blocks`; gives also the seconds that it took."""
    prepare_process()
    began = time.monotonic()
    left = do_blocks(work, folder, phase, numbers, seconds)
    release_memory()
    return left, time.monotonic() - began


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
    check_way(way)
    _prepare_dask()
    kind, _, rest = way.partition(":")
    if kind == "local":
        with _local_cluster(int(rest), memory, gpus) as client:
            notify(f"dask: {counted(int(rest), 'worker')} on this machine")
            yield DaskRunner(client)
    elif kind in QUEUES:
        with _queue_cluster(kind, user_path(rest, "--dask", "file"), notify) as client:
            yield DaskRunner(client)
    else:
        notify(f"dask: looking for the scheduler {way}, for {_PATIENCE} at most")
        with _connected(way) as client:
            notify(f"dask: scheduler {way}; {client.dashboard_link}")
            client.wait_for_workers(1)
            yield DaskRunner(client)


def _prepare_dask() -> None:
    """Settings of the library, for this process and those that it starts."""
    import dask

    # A worker that is killed takes down what it was doing, which may be nobody's fault five times.
    dask.config.set({"distributed.scheduler.allowed-failures": _DEATHS, **WORKERS})
    started = {f"distributed.nanny.pre-spawn-environ.{k}": v for k, v in ALLOCATION.items()}
    dask.config.set(started)
    if not dask.config.get("logging", {}) and not dask.config.get("distributed.logging", {}):
        # Left to itself the library tells of each worker that comes and goes. The workers read
        # their settings when they import it, so those are in their environment before. What fails
        # in a worker is an error here; theirs are of a scheduler that went home before them.
        logging.getLogger("distributed").setLevel(logging.WARNING)
        dask.config.set({"distributed.nanny.pre-spawn-environ.DASK_LOGGING": repr(_LOGS)})


@contextmanager
def _local_cluster(workers: int, memory: int, gpus: int) -> Iterator[Client]:
    """Processes of this machine, each with its share of cores, memory and GPUs."""
    from distributed import Client, Nanny, Scheduler, SpecCluster

    cores = thread_limit() or available_cores()
    shared = thread_settings(max(1, cores // workers))
    specs = {}
    for number in range(workers):
        environment = dict(shared)
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = str(number % gpus)
        specs[number] = {
            "cls": Nanny,
            "options": {
                "nthreads": 1,
                "memory_limit": memory // workers,
                "env": environment,
                "dashboard": False,
                "host": _HERE,
            },
        }
    page = {"dashboard": False, "dashboard_address": f"{_HERE}:0"}
    scheduler = {"cls": Scheduler, "options": {"host": _HERE, "port": 0, **page}}
    with blocked_sigint():  # Ctrl-C reaches all processes of a terminal; this one ends the others
        cluster = SpecCluster(specs, scheduler)
    with cluster, Client(cluster) as client:
        client.wait_for_workers(workers)
        yield client


_HERE = "127.0.0.1"  # whoever reaches a scheduler can run anything
_LOGS = {
    "distributed": "warning",
    "distributed.worker": "critical",
    "distributed.worker.memory": "warning",
}


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(address, timeout=_PATIENCE)
    except (OSError, TimeoutError) as error:
        raise UserError(
            f"--dask: the scheduler {address} does not answer ({error})",
            "start it with `dask scheduler`, and workers with `dask worker ADDRESS --nthreads 1`",
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
    import dask_jobqueue

    jobs, values = queue_values(file)
    check_jobs(queue, file, values)
    cluster = getattr(dask_jobqueue, QUEUES[queue])(**one_block_per_job(values))
    cluster.scale(jobs=jobs)
    return cluster
