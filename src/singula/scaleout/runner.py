"""Who works on the blocks: this process, one after the other, or the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from singula.scaleout.job import Arrays, JobFolder

Work = Callable[[Path, int], Arrays]
"""From the folder of a job and the number of a block to the block's record.

A function of a module, so that other processes can import it; pixels it reads and writes itself.
"""
Progress = Callable[[int, int], None]
"""Takes how many blocks of how many are done."""


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
        waiting = left_to_do(job, phase, blocks)
        done = len(blocks) - len(waiting)
        progress(done, len(blocks))
        for number in waiting:
            do_block(work, job.path, phase, number)
            done += 1
            progress(done, len(blocks))


def left_to_do(job: JobFolder, phase: str, blocks: Iterable[int]) -> list[int]:
    """Blocks without a record."""
    done = job.done(phase)
    return [number for number in blocks if number not in done]


def do_block(work: Work, folder: Path, phase: str, number: int) -> None:
    """Work on a block, and write its record last."""
    JobFolder(folder).save(phase, number, work(folder, number))
