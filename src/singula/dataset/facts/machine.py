"""Measurement of the hardware: cores, free memory and CUDA devices."""

from __future__ import annotations

from singula.dataset.facts.facts import Machine
from singula.util.memory import free_memory
from singula.util.process import available_cores


def survey_machine() -> Machine:
    """Measure the cores, free memory and CUDA devices of this machine."""
    import torch

    from singula.training.device import present_gpus

    gpus = present_gpus()
    if not gpus:
        return Machine(available_cores(), free_memory())
    first = torch.cuda.get_device_properties(0)
    return Machine(available_cores(), free_memory(), gpus, first.name, int(first.total_memory))
