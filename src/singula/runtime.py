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

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


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
