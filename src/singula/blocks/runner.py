"""Run a function on all blocks of an image, and record its results."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from singula.blocks.job import JobFolder
from singula.blocks.records import Arrays, size_of
from singula.util.progress import ProgressCallback

Work = Callable[[Path, int], Arrays]
"""Function from the folder of a job and the number of a block to the record of the block.

It is defined in a module, so that other processes can import it. It reads and writes the pixels of
the block.
"""
_SECONDS = 1.0  # maximum loss if the process is killed, unless a block takes longer
_BYTES = 2**22  # maximum size of the records in memory before they are written
MAX_BATCH = 1000
"""Maximum number of blocks that are processed together."""


class Runner(Protocol):
    """Interface of classes that process blocks."""

    @property
    def workers(self) -> int:
        """Number of blocks that are processed at a time."""

    @property
    def memory(self) -> int | None:
        """Bytes for each block that is processed; None: the memory of this process."""

    def run(
        self,
        work: Work,
        job: JobFolder,
        phase: str,
        blocks: Sequence[int],
        progress: ProgressCallback,
    ) -> None:
        """Process the blocks of a phase that have no record; afterwards all have one.

        Parameters
        ----------
        work : callable
            Function that processes a block; see `Work`.
        job : JobFolder
            Folder of the records.
        phase : str
            Name of the phase in the folder.
        blocks : sequence of int
            Numbers of all blocks of the phase.
        progress : callable
            Called with the number of blocks that are done, and of all blocks.
        """


class OneProcess:
    """Process blocks sequentially in this process."""

    workers = 1
    memory = None

    def run(
        self,
        work: Work,
        job: JobFolder,
        phase: str,
        blocks: Sequence[int],
        progress: ProgressCallback,
    ) -> None:
        """Process the blocks; see `Runner.run`."""
        waiting = deque(unfinished_blocks(job, phase, blocks))
        progress(len(blocks) - len(waiting), len(blocks))
        while waiting:
            numbers = [waiting.popleft() for _ in range(min(MAX_BATCH, len(waiting)))]
            waiting.extendleft(reversed(do_blocks(work, job.path, phase, numbers)))
            progress(len(blocks) - len(waiting), len(blocks))


def unfinished_blocks(job: JobFolder, phase: str, blocks: Iterable[int]) -> list[int]:
    """Return the blocks that have no record."""
    done = job.done(phase)
    return [number for number in blocks if number not in done]


def do_blocks(
    work: Work, folder: Path, phase: str, numbers: Sequence[int], seconds: float = _SECONDS
) -> list[int]:
    """Process blocks for a limited time, write their records, and return the remaining blocks.

    At least one block is processed. Blocks with a record are skipped: the same blocks may have been
    given to another worker, which died after some of them.

    Parameters
    ----------
    work : callable
        Function that processes a block; see `Work`.
    folder : Path
        Folder of the job.
    phase : str
        Name of the phase in the folder.
    numbers : sequence of int
        Numbers of the blocks.
    seconds : float
        Time after which no further block is started.

    Returns
    -------
    list of int
        Numbers of the blocks that were not started.
    """
    job, began = JobFolder(folder), time.monotonic()
    waiting = deque(job.missing(phase, numbers))
    records: dict[int, Arrays] = {}
    record_bytes = 0
    try:
        while (
            waiting
            and record_bytes < _BYTES
            and (not records or time.monotonic() - began < seconds)
        ):
            number = waiting.popleft()
            records[number] = work(folder, number)
            record_bytes += size_of(records[number])
    finally:  # if a block fails, keep the records of the blocks before it
        job.save_many(phase, records)
    return list(waiting)
