"""Timing of the training steps and tiles of a configured network on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryDirectory
from typing import Any

import numpy.typing as npt
import torch
from torch.utils.data import default_collate

from singula.autoconfig import Proposal
from singula.config import Config, config_from_dict
from singula.data.dataset import PatchDataset
from singula.data.samples import Sample
from singula.dataset.checks import Inspection
from singula.dataset.facts import Survey
from singula.dataset.scan import is_too_large
from singula.errors import UserError
from singula.io.pairing import Pair
from singula.models import build_model, channels_last
from singula.pipeline import from_config
from singula.pipeline.augmentation import augment_settings
from singula.pipeline.peak_memory import PeakMemory
from singula.pipeline.readers import Reader, reader_for
from singula.prediction import Predictor
from singula.representations.channels import encode_with
from singula.training.checkpoint import FORMAT, KEY, write_checkpoint
from singula.training.device import (
    Device,
    choose_device,
    gpu_name,
    to_device,
    training_arithmetic,
    use_cores,
)
from singula.training.loader import loader_workers
from singula.training.map_metrics import MapScores
from singula.training.optimizer import make_optimizer
from singula.training.speed import TrainingSpeed
from singula.training.trainer import DTYPES
from singula.util.boxes import center_box
from singula.util.format import counted
from singula.util.memory import resident_memory
from singula.util.messages import captured_messages

Array = npt.NDArray[Any]
_REPEATS, _MAX_TOTAL = 5, 6.0  # repetitions of a tile, and seconds for all of them
# Repeat a step until both minimums are reached, or until the maximum number of seconds
_MIN_REPEATS, _MIN_SECONDS, _MAX_SECONDS = 4, 0.5, 6.0
_EPOCH_END = 0.1  # seconds per epoch for logs and charts
_DEMO_SHAPE = {2: (512, 512), 3: (48, 96, 96)}


@dataclass(frozen=True)
class Timing:
    """Measured times and memory of the network on this machine.

    Parameters
    ----------
    step, validation, tile : float
        Seconds of a training step, a validation batch with its patches, and a batch of tiles.
    parameters : int
        Number of parameters of the network.
    resting, training, predicting : int
        Bytes of memory of the process before the measurement, and at the peak of training and
        prediction.
    draw : float
        Seconds to crop, augment and encode the patches of a step.
    decoding : float
        Seconds per pixel to decode synthetic cells in memory; measured only for images in blocks.
    epoch : float
        Seconds at the end of an epoch.
    """

    step: float
    validation: float
    tile: float
    parameters: int
    resting: int
    training: int
    predicting: int
    draw: float = 0.0
    decoding: float = 0.0
    epoch: float = 0.0


def measure_proposal(survey: Survey, proposal: Proposal) -> TrainingSpeed | None:
    """Time training steps of a proposed network with its patches, batch and precision.

    This function is the `measure` argument of `singula.autoconfig.rules`. It takes a few seconds.

    Parameters
    ----------
    survey : Survey
        Survey of the data. Patches are cropped from the first readable training image.
    proposal : Proposal
        Proposed configuration.

    Returns
    -------
    TrainingSpeed, optional
        Seconds of each operation. None if the step cannot be timed, for example because the memory
        does not suffice.
    """
    config = config_from_dict({choice.key: choice.value for choice in proposal.choices})
    part = survey.part("train")
    return time_configuration(config, part.pairs if part is not None else ())


def time_configuration(
    config: Config, pairs: Iterable[Pair], gpu: str | None = None
) -> TrainingSpeed | None:
    """Time training steps of a configured network on the device that it will use.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    pairs : iterable of Pair
        Training images. Patches are cropped from the first readable image.
    gpu : str, optional
        Device to use instead of ``SYSTEM.DEVICE``.

    Returns
    -------
    TrainingSpeed, optional
        Seconds of each operation. None if the step cannot be timed.
    """
    use_cores(config.SYSTEM.NUM_CPUS)
    with captured_messages():
        device = choose_device(gpu, config.SYSTEM.DEVICE, config.TRAIN.PRECISION)
    sample = _first_readable(config, pairs)
    if sample is None:
        return None
    workers = loader_workers(config.SYSTEM.NUM_WORKERS, device.kind)
    try:
        network = build_model(from_config.model_settings(config))
        network = to_device(channels_last(network, config.ndim), device.torch)
        speed = measure_training(config, network, device, sample)
    except (UserError, RuntimeError, MemoryError):
        return None
    return replace(speed, workers=workers, measured_on=processor_name(device))


def processor_name(device: Device) -> str:
    """Return the name of the GPU, or the number of CPU threads."""
    if device.kind != "cpu":
        return gpu_name(device.torch)
    return counted(torch.get_num_threads(), "CPU thread")


def measure_network(
    config: Config, device: Device, sample: Sample | None, tiles: Sequence[int] | None
) -> tuple[Timing, str]:
    """Measure the time and memory of the network.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    device : Device
        Device of the network.
    sample : Sample, optional
        Training image from which patches are cropped. None: do not measure training.
    tiles : sequence of int, optional
        Number of tiles per forward pass, and spatial shape of a tile. None: do not measure
        prediction.

    Returns
    -------
    timing : Timing
        Seconds and bytes of memory.
    name : str
        Name of the processor.

    Notes
    -----
    The first repetition is not used, because it allocates memory and compiles. The time of a
    training step is the median of the other repetitions, the time of a tile is the minimum.
    """
    resting = resident_memory()
    network = build_model(from_config.model_settings(config))
    network = to_device(channels_last(network, config.ndim), device.torch)
    speed, tile = TrainingSpeed(0.0, 0.0), 0.0
    training = predicting = resting
    if sample is not None:
        with PeakMemory(device) as peak:
            speed = measure_training(config, network, device, sample)
        training = peak.bytes
    if tiles is not None:
        outputs = from_config.outputs(config)
        predictor = Predictor(network, outputs, from_config.n_classes(config), device.torch)
        batch = torch.rand((tiles[0], config.in_channels, *tiles[1:]), device=device.torch)
        with torch.inference_mode(), PeakMemory(device) as peak:
            tile = _seconds(lambda: predictor.forward(batch).cpu(), device)
        predicting = peak.bytes
    parameters = sum(p.numel() for p in network.parameters())
    decoding = _decoding(config) if config.TEST.BY_CHUNKS.ENABLE and tiles is not None else 0.0
    timing = Timing(
        speed.step,
        speed.validation,
        tile,
        parameters,
        resting,
        training,
        predicting,
        speed.draw,
        decoding,
        speed.epoch,
    )
    return timing, processor_name(device)


def first_sample(config: Config, inspection: Inspection) -> Sample | None:
    """Return the first readable training image with labels; of a very large image, the center."""
    pairs = (pair for part in inspection.parts if part.name == "train" for pair in part.pairs)
    return _first_readable(config, pairs)


def _first_readable(config: Config, pairs: Iterable[Pair]) -> Sample | None:
    reader = reader_for(config, "TRAIN")
    for pair in pairs:
        try:
            if pair.label is None:
                continue
            if is_too_large(reader.shape(pair.image, pair.arrays)):
                image, labels = _center(reader, pair, config.patch)
            else:
                image = reader.image(pair.image, pair.arrays).array
                labels = reader.labels(pair)
            is_annotated = bool((labels[..., 0] >= 0).any())
            if image.shape[:-1] == labels.shape[:-1] and is_annotated:
                return Sample(pair.name, image, labels)
        except UserError:
            continue
    return None


def _center(reader: Reader, pair: Pair, patch: Sequence[int]) -> tuple[Array, Array]:
    """Read the center of an image and its labels, with twice the side of a patch."""
    image = reader.open_image(pair.image, pair.arrays)
    labels = reader.open_labels(pair.label or pair.image, pair.label_arrays)
    box = center_box(image.spatial_shape, [2 * side for side in patch])
    return image.read(box), labels.read(box)


def measure_training(
    config: Config, network: torch.nn.Module, device: Device, sample: Sample
) -> TrainingSpeed:
    """Time training steps, validation batches, patches and checkpoints.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    network : Module
        Network on the device; its weights are changed.
    device : Device
        Device of the network.
    sample : Sample
        Image from which patches are cropped.
    """
    dataset = _patches(config, sample)
    validation = _patches(config, _encoded(config, sample), augmented=False)
    low = DTYPES.get(device.precision)
    optimizer = make_optimizer(network.parameters(), from_config.optimizer_settings(config))
    objective = from_config.instance_loss(config).to(device.torch)
    n_classes = from_config.n_classes(config)
    scores = MapScores(from_config.outputs(config), n_classes, device.torch)
    batch: dict[str, torch.Tensor] = {}
    epochs = iter(range(1_000_000))

    def draw(source: PatchDataset = dataset) -> None:
        epoch = next(epochs)  # another augmentation in each call
        items = [source[epoch, i % len(source)] for i in range(config.TRAIN.BATCH_SIZE)]
        batch.update({k: v.to(device.torch) for k, v in default_collate(items).items()})

    def forward() -> torch.Tensor:
        with torch.autocast(device.kind, low, enabled=low is not None):
            logits = network(batch["image"])
            loss: torch.Tensor = objective(logits, batch)
        scores.update(logits.detach(), batch)
        return loss

    def step() -> None:
        network.train()
        loss = forward()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def validate() -> None:
        network.eval()
        draw(validation)
        with torch.inference_mode():
            forward()

    with training_arithmetic(), TemporaryDirectory() as folder:

        def save() -> None:
            contents = {
                "state_dict": network.state_dict(),
                "optimizer_states": [optimizer.state_dict()],
                KEY: {"format": FORMAT},
            }
            write_checkpoint(contents, Path(folder, "last.pth"))

        return TrainingSpeed(
            # The mean, because the cost depends on the random augmentation.
            draw=fmean(_times(draw, device)),
            step=median(_times(step, device)),
            validation=median(_times(validate, device)),
            # The best checkpoint has no optimizer state: a third of the size of the last one.
            epoch=_EPOCH_END + 4 / 3 * median(_times(save, device)),
        )


def _encoded(config: Config, sample: Sample) -> Sample:
    """Return the sample with encoded channels, as in validation."""
    encoding = from_config.encode_settings(config, "TRAIN")
    if encoding.from_labels:
        return replace(sample, targets=None)
    return replace(sample, targets=encode_with(encoding, sample.labels[..., 0]))


def _patches(config: Config, sample: Sample, *, augmented: bool = True) -> PatchDataset:
    """Return the patches of a sample."""
    normalizer = from_config.normalizer(config)
    if normalizer.needs_fit:
        normalizer = normalizer.fit([sample.image])
    return PatchDataset(
        [sample],
        replace(from_config.patch_settings(config, "TRAIN"), min_foreground=0.0),
        normalizer,
        from_config.encode_settings(config, "TRAIN"),
        augment=augment_settings(config) if augmented else None,
        seed=config.SYSTEM.SEED,
    )


def _times(work: Callable[[], object], device: Device) -> list[float]:
    """Return the seconds of repetitions, without the first repetition."""
    times: list[float] = []
    first_start = time.perf_counter()
    while True:
        start = time.perf_counter()
        work()
        _wait(device)
        now = time.perf_counter()
        times.append(now - start)
        spent = now - first_start
        enough = len(times) > _MIN_REPEATS and spent >= _MIN_SECONDS
        if len(times) > 1 and (enough or spent >= _MAX_SECONDS):
            return times[1:]


def _decoding(config: Config) -> float:
    """Return the seconds per pixel to decode the blurred channels of synthetic cells."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    from singula.representations.decoders import decode
    from singula.synthetic.fluorescence import make_image

    labels = make_image(_DEMO_SHAPE[config.ndim], np.random.default_rng(0)).labels
    encoded = encode_with(from_config.encode_settings(config, "TEST"), labels)
    maps = {name: gaussian_filter(v.astype(np.float32), 0.7) for name, v in encoded.items()}
    decoder = config.decoder
    settings = from_config.decode_settings(config)
    seconds = _fastest(lambda: decode(maps, decoder, settings=settings), lambda: None)
    return seconds / labels.size


def _seconds(work: Callable[[], object], device: Device) -> float:
    """Return the minimum seconds of an operation on a device."""
    return _fastest(work, lambda: _wait(device))


def _fastest(work: Callable[[], object], wait: Callable[[], None]) -> float:
    """Return the minimum seconds of repetitions, which other processes affect least."""
    work()
    wait()
    times: list[float] = []
    while len(times) < _REPEATS and (len(times) < 2 or sum(times) < _MAX_TOTAL):
        start = time.perf_counter()
        work()
        wait()
        times.append(time.perf_counter() - start)
    return min(times)


def _wait(device: Device) -> None:
    if device.kind == "cuda":
        torch.cuda.synchronize()
    elif device.kind == "mps":
        torch.mps.synchronize()
