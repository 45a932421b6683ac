"""Process blocks with the workers of a Dask cluster."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from singula.blocks.dask_options import (
    ALLOCATION,
    QUEUES,
    WORKERS,
    check_dask_option,
    check_jobs,
    one_block_per_job,
    queue_values,
    thread_settings,
)
from singula.blocks.job import JobFolder
from singula.blocks.runner import (
    MAX_BATCH,
    Runner,
    Work,
    do_blocks,
    unfinished_blocks,
)
from singula.errors import StorageError, UserError
from singula.util.format import counted
from singula.util.paths import user_path
from singula.util.process import available_cores, prepare_process, release_memory, thread_limit
from singula.util.progress import ProgressCallback
from singula.util.signals import blocked_signals
from singula.util.slurm import record_progress
from singula.util.streams import printable

if TYPE_CHECKING:
    from distributed import Client, Future

_log = logging.getLogger(__name__)
# Maximum number of tasks submitted at a time: per worker, but at least the minimum in all
_TASKS_PER_WORKER, _MIN_TASKS = 4, 64
# Duration of a task. This process and the scheduler need about 2 ms per task
# (benchmarks/scheduler.py), so that both are idle most of the time with these values.
_TASK_SECONDS, _TASK_SECONDS_PER_WORKER = 1.0, 0.005
_COUNT_INTERVAL = 5.0  # seconds between two counts of the workers
_REPLACE_INTERVAL = 10.0  # seconds between two checks for lost jobs
_ALLOWED_FAILURES = 5  # workers that may die with the same task
_TIMEOUT = "120s"
_LOCALHOST = "127.0.0.1"  # anyone who can connect to a scheduler can run any code
_LOG_LEVELS = {
    "distributed": "warning",
    "distributed.worker": "critical",
    "distributed.worker.memory": "warning",
}


class DaskRunner:
    """Process blocks with the workers of a Dask cluster.

    A task consists of the path of the job and block numbers; workers write results to the folder
    of the job. The scheduler holds only a few tasks per worker at a time. Fast blocks share a task.
    A task that takes longer than expected returns the blocks that it has not started. If a worker
    dies, another worker repeats only the blocks of its task.

    Parameters
    ----------
    client : distributed.Client
        Client connected to the scheduler.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self._count_time, self._workers = -_COUNT_INTERVAL, 1

    @property
    def workers(self) -> int:
        """Number of blocks that the connected workers process at a time."""
        now = time.monotonic()
        if now - self._count_time >= _COUNT_INTERVAL:
            threads = self.client.scheduler_info(n_workers=0)["total_threads"]
            self._count_time, self._workers = now, max(1, int(threads))
        return self._workers

    @property
    def memory(self) -> int | None:
        """Bytes for each block, in the smallest connected worker; None if no worker has a limit.

        A worker with several threads processes as many blocks at a time.
        """
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        limits = [w["memory_limit"] // w["nthreads"] for w in workers if w["memory_limit"]]
        return min(limits, default=None)

    def run(
        self,
        work: Work,
        job: JobFolder,
        phase: str,
        blocks: Sequence[int],
        progress: ProgressCallback,
    ) -> None:
        """Process the blocks; see `Runner.run`.

        Raises
        ------
        UserError
            ``dask.workers_died``: several workers died at the same blocks. Also errors of `work`.
        StorageError
            ``dask.scheduler_lost``: the connection to the scheduler was lost.
        """
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError
        from distributed.comm.core import CommClosedError

        waiting = unfinished_blocks(job, phase, blocks)
        progress(len(blocks) - len(waiting), len(blocks))
        dispatcher = _Dispatcher(self, work, job.path.absolute(), phase, waiting)
        try:
            dispatcher.run(lambda remaining: progress(len(blocks) - remaining, len(blocks)))
        except KilledWorker as error:
            raise UserError(
                f"--dask: {counted(error.allowed_failures + 1, 'worker')} died at "
                f"{dispatcher.blocks_of(error.task)} ({phase})",
                "usually a worker exceeds its memory limit: use fewer workers, give them more "
                "memory (SYSTEM.MAX_MEMORY, or `memory` of the jobs), or set a smaller "
                "TEST.BY_CHUNKS.BLOCK_SHAPE; the same command continues with the remaining blocks",
                "dask.workers_died",
            ) from error
        except (FutureCancelledError, CommClosedError) as error:
            raise StorageError(
                f"--dask: lost the connection to the scheduler ({error})",
                "start the scheduler again; the same command continues with the remaining blocks",
                "dask.scheduler_lost",
            ) from error


class _Dispatcher:
    """Submission of the blocks of a phase to the workers, and collection of their results.

    Parameters
    ----------
    runner : DaskRunner
        Runner with the client.
    work : callable
        Function that processes a block; see `Work`.
    folder : Path
        Absolute path of the job.
    phase : str
        Name of the phase in the folder.
    waiting : sequence of int
        Blocks to process.
    """

    def __init__(
        self, runner: DaskRunner, work: Work, folder: Path, phase: str, waiting: Sequence[int]
    ) -> None:
        self.runner, self.client = runner, runner.client
        self.work, self.folder, self.phase = work, folder, phase
        self.waiting = deque(waiting)
        self.submitted: dict[Future[Any], list[int]] = {}
        self.block_seconds: float | None = None  # moving average

    def run(self, report_progress: Callable[[int], None]) -> None:
        """Process all blocks; `report_progress` is called with the number of remaining blocks."""
        from distributed import as_completed

        pending = as_completed(self._submit())
        try:
            for finished in pending.batches():
                results = self.client.gather(finished)
                for future, (not_started, seconds) in zip(finished, results, strict=True):
                    numbers = self.submitted.pop(future)
                    self.waiting.extendleft(reversed(not_started))
                    self._update_block_seconds(seconds, len(numbers) - len(not_started))
                    record_progress()
                report_progress(len(self.waiting) + sum(map(len, self.submitted.values())))
                pending.update(self._submit())
        finally:
            self.client.cancel(list(self.submitted))

    def blocks_of(self, key: Any) -> str:
        """Return the blocks of a task for a message, such as "block 3" or "blocks 3 to 7"."""
        numbers = next((ns for future, ns in self.submitted.items() if future.key == key), None)
        if not numbers:
            return str(key)
        if len(numbers) == 1:
            return f"block {numbers[0]}"
        return f"blocks {numbers[0]} to {numbers[-1]}"

    def _update_block_seconds(self, seconds: float, count: int) -> None:
        latest = seconds / max(count, 1)
        previous = self.block_seconds
        self.block_seconds = latest if previous is None else 0.8 * previous + 0.2 * latest

    def _task_size(self, seconds: float) -> int:
        """Return the number of blocks of the next task, for a duration in seconds.

        Tasks shrink towards the end of the phase, so that all workers end at about the same time.
        """
        if self.block_seconds is None:
            return 1
        share = ceil(len(self.waiting) / (2 * self.runner.workers))
        return max(1, min(int(seconds / max(self.block_seconds, 1e-6)), MAX_BATCH, share))

    def _submit(self) -> list[Future[Any]]:
        """Submit tasks up to the maximum number, and return their futures."""
        workers = self.runner.workers
        seconds = max(_TASK_SECONDS, _TASK_SECONDS_PER_WORKER * workers)
        max_tasks = max(_TASKS_PER_WORKER * workers, _MIN_TASKS)
        tasks: list[list[int]] = []
        while self.waiting and len(self.submitted) + len(tasks) < max_tasks:
            count = min(self._task_size(seconds), len(self.waiting))
            tasks.append([self.waiting.popleft() for _ in range(count)])
        if not tasks:
            return []
        suffix = os.urandom(4).hex()
        job = (self.work, self.folder, self.phase)
        name = printable(self.folder.name)  # keys are UTF-8
        futures: list[Future[Any]] = self.client.map(
            timed_blocks,
            *([value] * len(tasks) for value in job),
            tasks,
            [seconds] * len(tasks),
            pure=False,
            key=[f"{self.phase}-{name}-{t[0]}-{len(t)}-{suffix}" for t in tasks],
        )
        self.submitted.update(zip(futures, tasks, strict=True))
        return futures


def timed_blocks(
    work: Work, folder: Path, phase: str, numbers: Sequence[int], seconds: float
) -> tuple[list[int], float]:
    """Return the result of `do_blocks`, and its duration in seconds."""
    prepare_process()
    began = time.monotonic()
    not_started = do_blocks(work, folder, phase, numbers, seconds)
    release_memory()
    return not_started, time.monotonic() - began


@contextmanager
def dask_runner(option: str, *, memory: int, gpus: int = 0) -> Iterator[Runner]:
    """Start workers or connect to a scheduler, and yield a runner.

    Parameters
    ----------
    option : str
        Value of ``--dask``: ``local:N``, the address of a scheduler, or ``slurm:FILE`` (``pbs:``,
        ``lsf:``, ``sge:``).
    memory : int
        Memory limit in bytes of all local workers together.
    gpus : int
        Number of GPUs of this machine; local workers use them in turn.

    Raises
    ------
    UserError
        ``dask.scheduler_unreachable``: the scheduler does not answer. Also the codes of
        `check_dask_option`.
    """
    check_dask_option(option)
    _prepare_dask()
    kind, _, rest = option.partition(":")
    if kind == "local":
        with _local_cluster(int(rest), memory, gpus) as client:
            _log.info(f"dask: {counted(int(rest), 'worker')} on this machine")
            yield DaskRunner(client)
    elif kind in QUEUES:
        with _queue_cluster(kind, user_path(rest, "--dask", "file")) as client:
            yield DaskRunner(client)
    else:
        _log.info(f"dask: connecting to the scheduler {option}, for at most {_TIMEOUT}")
        with _connected(option) as client:
            _log.info(f"dask: scheduler {option}; {client.dashboard_link}")
            client.wait_for_workers(1)
            yield DaskRunner(client)


def _prepare_dask() -> None:
    """Set options of Dask for this process and the processes that it starts."""
    import dask

    # A worker may be killed for reasons unrelated to its task, so a task is repeated a few times.
    dask.config.set({"distributed.scheduler.allowed-failures": _ALLOWED_FAILURES, **WORKERS})
    environment = {f"distributed.nanny.pre-spawn-environ.{k}": v for k, v in ALLOCATION.items()}
    dask.config.set(environment)
    if not dask.config.get("logging", {}) and not dask.config.get("distributed.logging", {}):
        # By default, Dask logs each worker that starts or ends. Workers read the log levels from
        # their environment at import. A failure in a worker is raised here; the errors that
        # workers log are about a scheduler that ended before them.
        logging.getLogger("distributed").setLevel(logging.WARNING)
        dask.config.set({"distributed.nanny.pre-spawn-environ.DASK_LOGGING": repr(_LOG_LEVELS)})


@contextmanager
def _local_cluster(workers: int, memory: int, gpus: int) -> Iterator[Client]:
    """Start local workers, each with its share of cores, memory and GPUs."""
    from distributed import Client, Nanny, Scheduler, SpecCluster

    cores = thread_limit() or available_cores()
    thread_environment = thread_settings(max(1, cores // workers))
    specs = {}
    for number in range(workers):
        environment = dict(thread_environment)
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = str(number % gpus)
        specs[number] = {
            "cls": Nanny,
            "options": {
                "nthreads": 1,
                "memory_limit": memory // workers,
                "env": environment,
                "dashboard": False,
                "host": _LOCALHOST,
            },
        }
    dashboard = {"dashboard": False, "dashboard_address": f"{_LOCALHOST}:0"}
    scheduler = {"cls": Scheduler, "options": {"host": _LOCALHOST, "port": 0, **dashboard}}
    # Ctrl-C is sent to all processes of a terminal; this process ends the others.
    with blocked_signals({signal.SIGINT}):
        cluster = SpecCluster(specs, scheduler)
    with cluster, Client(cluster) as client:
        client.wait_for_workers(workers)
        yield client


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(address, timeout=_TIMEOUT)
    except (OSError, TimeoutError) as error:
        raise UserError(
            f"--dask: the scheduler {address} does not answer ({error})",
            "start it with `dask scheduler`, and workers with `dask worker ADDRESS --nthreads 1`",
            "dask.scheduler_unreachable",
        ) from error
    with client:
        yield client


@contextmanager
def _queue_cluster(queue: str, file: Path) -> Iterator[Client]:
    """Submit jobs to a batch system, and yield the client of their workers."""
    from distributed import Client

    cluster = queue_cluster(queue, file)
    jobs = len(cluster.worker_spec)
    with cluster, Client(cluster) as client, _lost_jobs_replaced(cluster, jobs):
        _log.info(f"dask: waiting for the first job of {queue}; {client.dashboard_link}")
        client.wait_for_workers(1)
        yield client


@contextmanager
def _lost_jobs_replaced(cluster: Any, jobs: int) -> Iterator[None]:
    """Replace each job that ends early, such as a job that is cancelled or reaches its time limit.

    The scheduler forgets a worker some seconds after its connection ends
    (``distributed.deploy.lost-worker-timeout``).
    """
    from tornado.ioloop import PeriodicCallback

    replacing = PeriodicCallback(lambda: cluster.scale(jobs=jobs), 1000 * _REPLACE_INTERVAL)
    cluster.loop.add_callback(replacing.start)
    try:
        yield
    finally:
        cluster.loop.add_callback(replacing.stop)


def queue_cluster(queue: str, file: Path) -> Any:
    """Create the cluster that a file describes, and submit its jobs.

    The file is YAML: ``jobs``, the number of jobs, and arguments of the cluster of dask-jobqueue
    (``cores``, ``memory``, ``queue``, ``walltime``, ``job_extra_directives`` …).

    Parameters
    ----------
    queue : str
        A key of `QUEUES`.
    file : Path
        The YAML file.

    Raises
    ------
    UserError
        The codes of `queue_values` and `check_jobs`.
    """
    import dask_jobqueue

    jobs, values = queue_values(file)
    check_jobs(queue, file, values)
    cluster = getattr(dask_jobqueue, QUEUES[queue])(**one_block_per_job(values))
    cluster.scale(jobs=jobs)
    return cluster
