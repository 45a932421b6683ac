"""Memory, threads and launcher variables of the process, and compiled functions.

`prepare_process` must run before the first large array is allocated. Without it, the C library
returns every freed block above 32 MB to the system and requests it again page by page, hundreds of
times a second in a network. Idle OpenMP threads would also keep their cores busy, which slows other
programs on a shared machine.
"""

from __future__ import annotations

import functools
import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from singula.errors import UserError
from singula.util.format import show

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_MAX_DIGITS = 12
TIMEOUT_VARIABLE = "SINGULA_TIMEOUT"
"""Variable with the seconds that a process waits for another one in a step of the training."""
PREVIEW_VARIABLE = "SINGULA_PREVIEW"
"""Variable with which the interface requests a picture of the prediction during the training."""
# Variables that a launcher such as torchrun sets: default, minimum and maximum
_LAUNCHER = {
    "RANK": (0, 0, 2**31 - 1),
    "WORLD_SIZE": (1, 1, 2**31 - 1),
    "LOCAL_RANK": (0, 0, 2**31 - 1),
    "LOCAL_WORLD_SIZE": (1, 1, 2**31 - 1),
    "GROUP_WORLD_SIZE": (1, 1, 2**31 - 1),
    "MASTER_PORT": (0, 1, 65535),
    TIMEOUT_VARIABLE: (1800, 1, 2**31 - 1),
}


def prepare_process() -> None:
    """Keep freed memory and let idle threads sleep; call this before importing torch."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if sys.platform == "darwin":  # operations that the GPU of a Mac lacks run on the CPU
        os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    _keep_memory()


def _keep_memory() -> None:
    if sys.platform != "linux":
        return
    import ctypes

    try:
        library = ctypes.CDLL("libc.so.6")  # glibc; musl has another name
        library.mallopt(_M_MMAP_MAX, 0)
        library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    except (OSError, AttributeError):
        return


@contextmanager
def importing() -> Iterator[None]:
    """Disable garbage collection while large libraries are imported.

    This saves a fifth of the import time. All objects that exist afterwards stay exempt from
    collection until `gc.unfreeze`, so that forked processes share their memory.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def release_memory() -> None:
    """Return freed memory to the system, for use by other libraries and processes."""
    if sys.platform != "linux":
        return
    import ctypes

    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return


def launcher_number(variable: str) -> int:
    """Return a number that the launcher of a distributed run set in the environment.

    Parameters
    ----------
    variable : str
        Name of the variable: RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, GROUP_WORLD_SIZE,
        MASTER_PORT or SINGULA_TIMEOUT.

    Returns
    -------
    int
        Value of the variable; the value for a single process if it is empty or not set.

    Raises
    ------
    UserError
        ``environment.number``: the variable is not a number in its range.
    """
    default, low, high = _LAUNCHER[variable]
    text = os.environ.get(variable)
    if not text:
        return default
    if text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS:
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
        below the number of processes, or several processes have no common address.
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
    """Return the first number of ``OMP_NUM_THREADS``; None if it has none."""
    text = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    is_valid = text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS and int(text) > 0
    return int(text) if is_valid else None


def _processes(message: str) -> UserError:
    return UserError(
        f"environment variable {message}",
        "unset the variables of the launcher, or start the processes with --gpus or torchrun",
        "environment.processes",
    )


def available_cores() -> int:
    """Return the number of processor cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    if sys.platform == "win32":
        import psutil

        return len(psutil.Process().cpu_affinity())
    return os.cpu_count() or 1  # macOS cannot limit a process to some cores


def process_exists(number: int) -> bool:
    """Return True if this machine has a process with a number.

    ``os.kill(number, 0)`` must not be used for this: on Windows, it sends Ctrl-C.
    """
    import psutil

    try:
        return bool(psutil.pid_exists(number))
    except OverflowError:
        return False


def free_threads() -> int:
    """Return the number of threads that a function on one array may use.

    Returns
    -------
    int
        ``OMP_NUM_THREADS``, or the available cores. 1 in all threads but the main one: images that
        are processed in several threads or by a worker already use the cores.
    """
    if threading.current_thread() is not threading.main_thread():
        return 1
    return min(thread_limit() or available_cores(), available_cores())


@functools.cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function over arrays with numba, and cache the machine code in a file.

    Parameters
    ----------
    function : callable
        Function in the subset of Python that numba supports. It is compiled at its first call and
        runs without the interpreter's lock.

    Returns
    -------
    callable
        Compiled function.
    """
    import numba

    fast: Callable[..., Any]
    try:
        fast = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no writable cache folder: compile again in each process
        fast = numba.njit(nogil=True)(function)
    return fast


def is_stored(function: Callable[..., Any]) -> bool | None:
    """Return True if the cache has valid machine code of a function.

    Parameters
    ----------
    function : callable
        Argument of `compiled`.

    Returns
    -------
    bool or None
        False if the function must be compiled; None if it cannot be stored, or if this version of
        numba has another kind of cache.
    """
    dispatcher: Any = compiled(function)
    if dispatcher.stats.cache_path is None:
        return None
    try:  # numba has no public function for this; the index is empty if the source has changed
        return bool(dispatcher._cache._cache_file._load_index())
    except (AttributeError, OSError):
        return None


def python_command() -> list[str]:
    """Return the first words of a command that starts this Python in another process.

    Python files of the working directory are not imported, unless it contains this package.
    """
    return [sys.executable, *(["-P"] if uses_safe_path() else [])]


def uses_safe_path() -> bool:
    """Return True if processes can import this package without the working directory."""
    return Path(__file__).resolve().parents[2] != Path.cwd().resolve()
