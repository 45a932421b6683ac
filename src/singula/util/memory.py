"""Free memory, memory of this process, and work that is repeated with less memory."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from singula.errors import is_out_of_memory

Size = TypeVar("Size")
Result = TypeVar("Result")
_STATUS = "/proc/self/status"
# Files of the control group, by version: limit and use
_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


def retry_with_less_memory(
    work: Callable[[Size], Result], size: Size, reduce: Callable[[Size, str], Size]
) -> Result:
    """Return `work(size)`; after each out-of-memory error, repeat it with a reduced size.

    Parameters
    ----------
    work : callable
        Function of the size.
    size : object
        Description of the memory that `work` uses, such as a batch size.
    reduce : callable
        Return the next size, from the last size and the first line of the error. It raises an error
        if the size cannot be reduced.
    """
    while True:
        try:
            return work(size)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            reason = (str(error) or type(error).__name__).splitlines()[0]
        # Outside of the handler, because the exception references the tensors of `work`.
        release_gpu_memory()
        size = reduce(size, reason)


def release_gpu_memory() -> None:
    """Delete unreferenced tensors, and return the cached memory of torch to the GPU."""
    import torch

    gc.collect()
    torch.cuda.empty_cache()  # without effect if no GPU is used
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def free_memory() -> int:
    """Return the free memory in bytes, within the limits of the system and the control group."""
    free = [_system_free()]
    for limit, used in _LIMITS:
        try:
            free.append(_number(limit) - _number(used))
        except (OSError, ValueError):  # no control group, or the limit is "max"
            continue
    return max(0, min(free))


def _number(file: str) -> int:
    return int(Path(file).read_text(encoding="utf-8"))


def _system_free() -> int:
    """Return the free memory of the system in bytes."""
    available = _linux_memory("/proc/meminfo", "MemAvailable")
    if available:
        return available
    import psutil

    return int(psutil.virtual_memory().available)


def resident_memory() -> int:
    """Return the resident memory of this process, in bytes."""
    resident = _linux_memory(_STATUS, "VmRSS")
    if resident:
        return resident
    import psutil

    return int(psutil.Process().memory_info().rss)


def peak_memory() -> int:
    """Return the peak resident memory of this process, in bytes."""
    peak = _linux_memory(_STATUS, "VmHWM")
    if peak:
        return peak
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def _linux_memory(file: str, name: str) -> int:
    """Return a value of a file of ``/proc`` in bytes; 0 if it does not exist."""
    with suppress(OSError):
        for line in Path(file).read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0
