"""One training step and one tile of a configured network, measured on this machine."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from singula.config import Config
from singula.models import build_model, channels_last
from singula.prediction import Predictor
from singula.stages import settings as from_config
from singula.training.device import Device
from singula.training.optimise import make_optimiser

if TYPE_CHECKING:
    from singula.stages.estimate import Timing, Work

_DTYPES = {"bf16": torch.bfloat16, "16": torch.float16}


def measure_network(config: Config, work: Work, device: Device) -> tuple[Timing, str]:
    """Time the network on random numbers, and see what memory it takes.

    Returns
    -------
    timing : Timing
    name : str
        What was computed on.

    Notes
    -----
    Each is done twice, and the second is timed: the first one reserves memory.
    """
    from singula.stages.estimate import Timing

    model = from_config.model_settings(config)
    resting = _resident()
    network = channels_last(build_model(model), config.ndim).to(device.torch)
    optimiser = make_optimiser(network.parameters(), from_config.optimiser_settings(config))
    layout = torch.channels_last if config.ndim == 2 else torch.channels_last_3d
    width = config.in_channels
    shape = (max(1, min(config.TRAIN.BATCH_SIZE, work.patches)), width, *config.patch)
    batch = torch.rand(shape, device=device.torch).contiguous(memory_format=layout)
    low = _DTYPES.get(device.precision)

    def step() -> None:
        network.train()
        with torch.autocast(device.kind, low, enabled=low is not None):
            logits = network(batch)
        # As dear as the configured loss, which is little beside the network
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            logits.float(), torch.zeros_like(logits, dtype=torch.float32)
        )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    def validate() -> None:
        network.eval()
        with torch.inference_mode(), torch.autocast(device.kind, low, enabled=low is not None):
            network(batch)

    step_time = validation_time = tile_time = 0.0
    training = predicting = resting
    if work.patches:
        with _Peak(device) as peak:
            step_time = _second(step, device)
            validation_time = _second(validate, device)
        training = peak.bytes
    if work.images:
        outputs = from_config.outputs(config)
        predictor = Predictor(network, outputs, from_config.n_classes(config), device.torch)
        tiles = torch.rand((work.tile_batch, width, *work.tile), device=device.torch)
        with torch.inference_mode(), _Peak(device) as peak:
            tile_time = _second(lambda: predictor.forward(tiles).cpu(), device)
        predicting = peak.bytes
    parameters = sum(p.numel() for p in network.parameters())
    timing = Timing(
        step_time, validation_time, tile_time, parameters, resting, training, predicting
    )
    threads = torch.get_num_threads()
    cores = f"{threads} CPU thread{'' if threads == 1 else 's'}"
    return timing, cores if device.kind == "cpu" else torch.cuda.get_device_name()


def _second(work: Callable[[], object], device: Device) -> float:
    """Seconds of the second time."""
    work()
    _wait(device)
    began = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: Device) -> None:
    if device.kind == "cuda":
        torch.cuda.synchronize()


class _Peak:
    """Largest memory of the process within a block: of the GPU, where that is what computes."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.bytes = 0

    def __enter__(self) -> _Peak:
        if self.device.kind == "cuda":
            torch.cuda.reset_peak_memory_stats()
        else:
            with suppress(OSError):  # Linux: forget the peak so far
                Path("/proc/self/clear_refs").write_text("5")
        return self

    def __exit__(self, *_: object) -> None:
        if self.device.kind == "cuda":
            self.bytes = int(torch.cuda.max_memory_allocated())
        else:
            self.bytes = _status("VmHWM") or _highest()


def _resident() -> int:
    """Bytes of the process now."""
    return _status("VmRSS") or _highest()


def _status(name: str) -> int:
    """A line of Linux's table about this process, in bytes; 0 where there is none."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0


def _highest() -> int:
    try:
        import resource
    except ImportError:
        return 0
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024
