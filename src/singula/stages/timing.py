"""One training step and one tile of a configured network, measured on this machine."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.utils.data import default_collate

from singula.config import Config
from singula.data.dataset import PatchDataset
from singula.data.samples import Sample
from singula.models import build_model, channels_last
from singula.prediction import Predictor
from singula.stages import settings as from_config
from singula.stages.augmentation import augment_settings
from singula.training.device import Device
from singula.training.metrics import MapScores
from singula.training.optimise import make_optimiser

if TYPE_CHECKING:
    from singula.stages.estimate import Timing, Work

_TIMES, _LONG = 5, 6.0
_DTYPES = {"bf16": torch.bfloat16, "16": torch.float16}


def measure_network(
    config: Config, work: Work, device: Device, sample: Sample | None
) -> tuple[Timing, str]:
    """Time the network, and see what memory it takes.

    Parameters
    ----------
    config : Config
    work : Work
    device : Device
    sample : Sample, optional
        An image of the training data, to draw patches from; needed where there is training.

    Returns
    -------
    timing : Timing
    name : str
        What was computed on.

    Notes
    -----
    The first time, which reserves memory and compiles, does not count; of the others the shortest.
    """
    from singula.stages.estimate import Timing

    resting = _resident()
    network = build_model(from_config.model_settings(config))
    network = channels_last(network, config.ndim).to(device.torch)
    draw = step = validation = tile = 0.0
    training = predicting = resting
    if work.patches and sample is not None:
        with _Peak(device) as peak:
            draw, step, validation = _training(config, network, device, sample)
        training = peak.bytes
    if work.images:
        outputs = from_config.outputs(config)
        predictor = Predictor(network, outputs, from_config.n_classes(config), device.torch)
        shape = (work.tile_batch, config.in_channels, *work.tile)
        tiles = torch.rand(shape, device=device.torch)
        with torch.inference_mode(), _Peak(device) as peak:
            tile = _seconds(lambda: predictor.forward(tiles).cpu(), device)
        predicting = peak.bytes
    parameters = sum(p.numel() for p in network.parameters())
    timing = Timing(step, validation, tile, parameters, resting, training, predicting, draw)
    threads = torch.get_num_threads()
    cores = f"{threads} CPU thread{'' if threads == 1 else 's'}"
    return timing, cores if device.kind == "cpu" else torch.cuda.get_device_name()


def _training(
    config: Config, network: torch.nn.Module, device: Device, sample: Sample
) -> tuple[float, float, float]:
    """Seconds to draw a batch, of a step with it, and of a forward pass."""
    normalizer = from_config.normalizer(config)
    if normalizer.needs_fit:
        normalizer = normalizer.fit([sample.image])
    patches = from_config.patch_settings(config, "TRAIN")
    dataset = PatchDataset(
        [sample],
        replace(patches, least_foreground=0.0),
        normalizer,
        from_config.encode_settings(config, "TRAIN"),
        augment=augment_settings(config),
        seed=config.SYSTEM.SEED,
    )
    low = _DTYPES.get(device.precision)
    optimiser = make_optimiser(network.parameters(), from_config.optimiser_settings(config))
    objective = from_config.instance_loss(config)
    scores = MapScores(from_config.outputs(config), from_config.n_classes(config))
    scores = scores.to(device.torch)
    batch: dict[str, torch.Tensor] = {}
    epochs = iter(range(1_000_000))

    def draw() -> None:
        epoch = next(epochs)  # other random changes each time
        items = [dataset[epoch, i % len(dataset)] for i in range(config.TRAIN.BATCH_SIZE)]
        batch.update({k: v.to(device.torch) for k, v in default_collate(items).items()})

    def step() -> None:
        network.train()
        with torch.autocast(device.kind, low, enabled=low is not None):
            logits = network(batch["image"])
            loss = objective(logits, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        scores.update(logits.detach(), batch)

    def validate() -> None:
        network.eval()
        with torch.inference_mode(), torch.autocast(device.kind, low, enabled=low is not None):
            network(batch["image"])

    return _seconds(draw, device), _seconds(step, device), _seconds(validate, device)


def _seconds(work: Callable[[], object], device: Device) -> float:
    """The shortest of several times, so that what else the machine does counts little."""
    work()
    _wait(device)
    times: list[float] = []
    while len(times) < _TIMES and (len(times) < 2 or sum(times) < _LONG):
        began = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - began)
    return min(times)


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
