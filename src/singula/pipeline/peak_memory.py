"""Measurement of the peak memory of a step."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import torch

from singula.training.device import Device
from singula.util.memory import peak_memory


class PeakMemory:
    """Context manager that measures the peak memory of the process, or of the GPU if it is used."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.bytes = 0

    def __enter__(self) -> PeakMemory:
        if self.device.kind == "cuda":
            torch.cuda.reset_peak_memory_stats()
        else:
            with suppress(OSError):  # reset the peak on Linux
                Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        if self.device.kind == "cuda":
            self.bytes = int(torch.cuda.max_memory_allocated())
        elif self.device.kind == "mps":  # the peak is not recorded; cached memory is part of this
            self.bytes = int(torch.mps.driver_allocated_memory())
        else:
            self.bytes = peak_memory()
