"""Settings of the process that must be made before the first large array, and compiled functions.

The C library hands every block above 32 MB back to the system when it is freed, and takes it,
page by page, again for the next one; a network does that hundreds of times a second. And OpenMP's
threads burn their core while they wait, which slows everybody on a shared machine.
"""

from __future__ import annotations

import functools
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from singula.errors import UserError
from singula.words import show

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_MOST_DIGITS = 12
# Variables that a launcher such as torchrun sets: default, smallest and largest value
_LAUNCHER = {
    "RANK": (0, 0, 2**31 - 1),
    "WORLD_SIZE": (1, 1, 2**31 - 1),
    "LOCAL_RANK": (0, 0, 2**31 - 1),
    "LOCAL_WORLD_SIZE": (1, 1, 2**31 - 1),
    "GROUP_WORLD_SIZE": (1, 1, 2**31 - 1),
    "MASTER_PORT": (0, 1, 65535),
}


def prepare_process() -> None:
    """Keep freed memory and let waiting threads sleep; call before importing torch."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if sys.platform.startswith("linux"):
        _keep_memory()


def _keep_memory() -> None:
    import ctypes

    try:
        library = ctypes.CDLL("libc.so.6")  # glibc; musl has another name
        library.mallopt(_M_MMAP_MAX, 0)
        library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    except (OSError, AttributeError):
        return


@contextmanager
def importing() -> Iterator[None]:
    """Import large libraries without a search for garbage meanwhile, a fifth of the time it takes.

    Nor is what they made searched later, and processes that fork share it; nothing that is alive
    now will be, until `gc.unfreeze`.
    """
    searched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if searched:
            gc.enable()


def release_memory() -> None:
    """Hand freed memory back to the system, where what comes next needs another kind of it."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return


def launcher_number(variable: str) -> int:
    """Return a number that the launcher of the processes of a run put into the environment.

    Parameters
    ----------
    variable : str
        RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, GROUP_WORLD_SIZE or MASTER_PORT.

    Returns
    -------
    int
        That of a single process if the variable is empty or not set.

    Raises
    ------
    UserError
        ``environment.number``: the variable is not a number in its range.
    """
    default, low, high = _LAUNCHER[variable]
    text = os.environ.get(variable)
    if not text:
        return default
    if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS:
        number = int(text)
        if low <= number <= high:
            return number
    raise UserError(
        f"environment variable {variable}: got {show(text)}, expected {low} to {high}",
        f"unset {variable}, or start the processes of a run with --gpus or torchrun",
        "environment.number",
    )


def check_launcher() -> None:
    """Validate all variables with which a launcher describes the processes of a run.

    Raises
    ------
    UserError
        ``environment.number`` as for `launcher_number`; ``environment.processes``: a rank is not
        below the number of processes, or several processes have no address to meet at.
    """
    numbers = {variable: launcher_number(variable) for variable in _LAUNCHER}
    ranks = {"RANK": "WORLD_SIZE"}
    if os.environ.get("LOCAL_WORLD_SIZE"):  # not every launcher sets it
        ranks["LOCAL_RANK"] = "LOCAL_WORLD_SIZE"
    for rank, count in ranks.items():
        if numbers[rank] >= numbers[count]:
            raise _processes(
                f"{rank}: got {numbers[rank]}, expected less than {count}, {numbers[count]}"
            )
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if numbers["WORLD_SIZE"] > 1 and missing:
        raise _processes(f"{missing[0]}: not set, expected with WORLD_SIZE above 1")


def thread_limit() -> int | None:
    """Return the first number of ``OMP_NUM_THREADS``; None without one."""
    text = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    usable = text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS and int(text) > 0
    return int(text) if usable else None


def _processes(message: str) -> UserError:
    return UserError(
        f"environment variable {message}",
        "unset the variables of the launcher, or start the processes with --gpus or torchrun",
        "environment.processes",
    )


def available_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Machine code of a function over arrays: made at the first call, kept in a file.

    Parameters
    ----------
    function : callable
        Of the part of Python that numba knows. It runs without the interpreter's lock.
    """
    import numba

    fast: Callable[..., Any]
    try:
        fast = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder to keep the machine code in: compile anew each time
        fast = numba.njit(nogil=True)(function)
    return fast
