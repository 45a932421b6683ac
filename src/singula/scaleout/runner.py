"""Who works on the blocks: this process, one after the other, or the workers of a cluster."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from singula.scaleout.job import JobFolder
from singula.scaleout.records import Arrays, size_of

Work = Callable[[Path, int], Arrays]
"""From the folder of a job and the number of a block to the block's record.

A function of a module, so that other processes can import it; pixels it reads and writes itself.
"""
Progress = Callable[[int, int], None]
"""Takes how many blocks of how many are done."""
_SECONDS = 1.0  # what a kill may lose, where a block does not take longer
_BYTES = 2**22  # of the records that are held before they are written
MOST = 1000
"""Blocks that are done together, at most."""


class Runner(Protocol):
    """Applies work to blocks."""

    @property
    def workers(self) -> int:
        """How many blocks are done at a time."""

    def run(
        self, work: Work, job: JobFolder, phase: str, blocks: Sequence[int], progress: Progress
    ) -> None:
        """Do the blocks of a phase that have no record yet; all have one afterwards."""


class OneProcess:
    """Does block after block in this process."""

    workers = 1

    def run(
        self, work: Work, job: JobFolder, phase: str, blocks: Sequence[int], progress: Progress
    ) -> None:
        """See `Runner`."""
        waiting = deque(left_to_do(job, phase, blocks))
        progress(len(blocks) - len(waiting), len(blocks))
        while waiting:
            numbers = [waiting.popleft() for _ in range(min(MOST, len(waiting)))]
            waiting.extendleft(reversed(do_blocks(work, job.path, phase, numbers)))
            progress(len(blocks) - len(waiting), len(blocks))


def left_to_do(job: JobFolder, phase: str, blocks: Iterable[int]) -> list[int]:
    """Blocks without a record."""
    done = job.done(phase)
    return [number for number in blocks if number not in done]


def do_blocks(
    work: Work, folder: Path, phase: str, numbers: Sequence[int], seconds: float = _SECONDS
) -> list[int]:
    """Work on blocks until time is up, and write their records last; gives those that are left.

    At least one is done. Blocks that have a record are not done again: another worker may have
    died on its way through the same ones.

    Parameters
    ----------
    work : callable
    folder : Path
        Of the job.
    phase : str
    numbers : sequence of int
    seconds : float
        After which no other block is begun.
    """
    job, began = JobFolder(folder), time.monotonic()
    waiting = deque(job.missing(phase, numbers))
    records: dict[int, Arrays] = {}
    held = 0
    try:
        while waiting and held < _BYTES and (not records or time.monotonic() - began < seconds):
            number = waiting.popleft()
            records[number] = work(folder, number)
            held += size_of(records[number])
    finally:  # an error in one block takes nothing from those before it
        job.save_many(phase, records)
    return list(waiting)
