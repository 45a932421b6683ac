"""Measurement of the hardware: cores, free memory and CUDA devices."""

from __future__ import annotations

import os
from pathlib import Path

from singula.dataset.facts.facts import Machine
from singula.util.process import available_cores

_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


def survey_machine() -> Machine:
    """Measure the cores, free memory and CUDA devices of this machine."""
    import torch

    from singula.training.device import present_gpus

    gpus = present_gpus()
    if not gpus:
        return Machine(available_cores(), free_memory())
    first = torch.cuda.get_device_properties(0)
    return Machine(available_cores(), free_memory(), gpus, first.name, int(first.total_memory))


def free_memory() -> int:
    """Return the free memory in bytes, within the limits of the system and the control group."""
    free = [_system_free()]
    for limit, used in _LIMITS:
        try:
            free.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # no control group, or the limit is "max"
            continue
    return max(0, min(free))


def _system_free() -> int:
    """Return the free memory of the system in bytes."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 4 << 30
