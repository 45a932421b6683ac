"""Measurement of the hardware: cores, free memory and GPUs."""

from __future__ import annotations

from singula.dataset.facts.facts import Machine
from singula.util.memory import free_memory
from singula.util.process import available_cores


def survey_machine() -> Machine:
    """Measure the cores, free memory and GPUs of this machine."""
    import torch

    from singula.training.device import gpu_name, has_mps, present_gpus

    gpus = present_gpus()
    if not gpus and has_mps():
        name, memory = gpu_name(torch.device("mps")), int(torch.mps.recommended_max_memory())
        return Machine(available_cores(), free_memory(), 1, name, memory, "mps")
    if not gpus:
        return Machine(available_cores(), free_memory())
    first = torch.cuda.get_device_properties(0)
    return Machine(available_cores(), free_memory(), gpus, first.name, int(first.total_memory))
