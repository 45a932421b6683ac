"""One training step and one tile of a configured network, measured on this machine."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import torch
from torch.utils.data import default_collate

from singula.config import Config
from singula.data.dataset import PatchDataset
from singula.data.samples import Sample
from singula.errors import UserError
from singula.inspection import Inspection
from singula.inspection.files import too_large
from singula.io.pairs import Pair
from singula.models import build_model, channels_last
from singula.prediction import Predictor
from singula.stages import settings as from_config
from singula.stages.augmentation import augment_settings
from singula.stages.reading import Reader, reader_for
from singula.training.device import Device
from singula.training.metrics import MapScores
from singula.training.optimise import make_optimiser

if TYPE_CHECKING:
    from singula.stages.estimate import Timing, Work

Array = npt.NDArray[Any]
_TIMES, _LONG = 5, 6.0
_DRAWN = {2: (512, 512), 3: (48, 96, 96)}
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
    decoding = _decoding(config) if config.TEST.BY_CHUNKS.ENABLE and work.images else 0.0
    timing = Timing(
        step, validation, tile, parameters, resting, training, predicting, draw, decoding
    )
    threads = torch.get_num_threads()
    cores = f"{threads} CPU thread{'' if threads == 1 else 's'}"
    return timing, cores if device.kind == "cpu" else torch.cuda.get_device_name()


def first_sample(config: Config, inspection: Inspection) -> Sample | None:
    """The first training image that can be read with its labels; of a very large one its middle."""
    reader = reader_for(config, "TRAIN")
    for part in inspection.parts:
        for pair in part.pairs if part.name == "train" else ():
            try:
                if pair.label is None:
                    continue
                if too_large(reader.shape(pair.image, pair.arrays)):
                    image, labels = _middle(reader, pair, config.patch)
                else:
                    image = reader.image(pair.image, pair.arrays).array
                    labels = reader.labels(pair.label, pair.label_arrays)
                if image.shape[:-1] == labels.shape[:-1]:
                    return Sample(pair.name, image, labels)
            except UserError:
                continue
    return None


def _middle(reader: Reader, pair: Pair, patch: Sequence[int]) -> tuple[Array, Array]:
    """Twice the patch along each axis, from the middle of an image and of its labels."""
    image = reader.open_image(pair.image, pair.arrays)
    labels = reader.open_labels(pair.label or pair.image, pair.label_arrays)
    sides = [min(size, 2 * side) for size, side in zip(image.spatial_shape, patch, strict=True)]
    starts = [(n - side) // 2 for n, side in zip(image.spatial_shape, sides, strict=True)]
    box = tuple(slice(s, s + side) for s, side in zip(starts, sides, strict=True))
    return image.read(box), labels.read(box)


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


def _decoding(config: Config) -> float:
    """Seconds per pixel to make instances of the blurred channels of drawn cells."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    from singula.channels import encode_with
    from singula.demo import make_image
    from singula.instances import decode

    labels = make_image(_DRAWN[config.ndim], np.random.default_rng(0)).labels
    encoded = encode_with(from_config.encode_settings(config, "TEST"), labels)
    maps = {name: gaussian_filter(v.astype(np.float32), 0.7) for name, v in encoded.items()}
    channels = config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS
    settings = from_config.decode_settings(config)
    taken = _fastest(lambda: decode(maps, channels, settings=settings), lambda: None)
    return taken / labels.size


def _seconds(work: Callable[[], object], device: Device) -> float:
    """Seconds of something that a device does."""
    return _fastest(work, lambda: _wait(device))


def _fastest(work: Callable[[], object], wait: Callable[[], None]) -> float:
    """The shortest of several times, so that what else the machine does counts little."""
    work()
    wait()
    times: list[float] = []
    while len(times) < _TIMES and (len(times) < 2 or sum(times) < _LONG):
        began = time.perf_counter()
        work()
        wait()
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
