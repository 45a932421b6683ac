"""Work on blocks for tests of runners, in a module that other processes can import."""

import os
import time
from pathlib import Path

import numpy as np

from singula.errors import UserError


def square(folder: Path, number: int) -> dict[str, np.ndarray]:
    """Return the number of the block and its square; log the call."""
    with (folder / "calls.txt").open("a") as file:
        file.write(f"{number} {os.getpid()}\n")
    return {"number": np.array(number), "square": np.full((2, 3), number**2)}


def slow_square(folder: Path, number: int) -> dict[str, np.ndarray]:
    time.sleep(0.05)
    return square(folder, number)


def refuse_seven(folder: Path, number: int) -> dict[str, np.ndarray]:
    if number == 7:
        raise UserError("block 7 is not liked", "leave it out", "test.block")
    return square(folder, number)


def die_once_at_seven(folder: Path, number: int) -> dict[str, np.ndarray]:
    """End the first process that works on block 7, as if it were killed."""
    mark = folder / "died"
    if number == 7 and not mark.exists():
        mark.touch()
        os._exit(9)
    return square(folder, number)


def die_at_seven(folder: Path, number: int) -> dict[str, np.ndarray]:
    if number == 7:
        os._exit(9)
    return square(folder, number)


def count_faults(folder: Path, number: int) -> dict[str, np.ndarray]:
    """Return the number of page faults while arrays are allocated and freed."""
    import resource

    def come_and_go(times: int) -> None:
        for _ in range(times):
            [np.ones(2**21, np.uint8) for _ in range(20)]

    come_and_go(3)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    come_and_go(20)
    return {"faults": np.array(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)}


def calls(folder: Path) -> list[int]:
    """Return the numbers of all processed blocks, with repetitions."""
    return [int(line.split()[0]) for line in (folder / "calls.txt").read_text().splitlines()]


def processes(folder: Path) -> set[int]:
    """Return the processes that worked."""
    return {int(line.split()[1]) for line in (folder / "calls.txt").read_text().splitlines()}
