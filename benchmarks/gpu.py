"""Measure training steps and predictions on a GPU, and the time in which the GPU waits.

    python benchmarks/gpu.py [--data FOLDER] [--quick]

Network, patches and augmentation are those of templates/2d_dsb2018.yaml (U-Net 16 to 256, patches
of 256²); the network of the volume is a U-Net 16 to 128. Times are medians of wall-clock time after
synchronization. Prints Markdown tables:

- steps with one batch on the GPU, and the fraction of the time that its kernels take;
- epochs of trainings with patches prepared by workers, and with prepared patches;
- an image of 4096² and a volume, from statistics to maps, compared with the forward passes alone.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from singula.util.process import prepare_process

prepare_process()

import numpy as np  # noqa: E402
import torch  # noqa: E402

from singula.config import load_config  # noqa: E402
from singula.data.dataset import PatchDataset, Sample  # noqa: E402
from singula.data.normalize import Normalizer  # noqa: E402
from singula.data.patches import read_patch  # noqa: E402
from singula.io.read import read_image, read_labels  # noqa: E402
from singula.models import (  # noqa: E402
    ModelSettings,
    build_model,
    channels_last,
    downsampling,
    fold_batch_norm,
    receptive_radius,
)
from singula.pipeline import from_config  # noqa: E402
from singula.pipeline.augmentation import augment_settings  # noqa: E402
from singula.prediction import (  # noqa: E402
    Predictor,
    PredictSettings,
    max_tile_pixels,
    plan_tiles,
)
from singula.synthetic.fluorescence import make_image  # noqa: E402
from singula.training.checkpoint_saver import CheckpointSettings  # noqa: E402
from singula.training.device import Device, free_memory, training_arithmetic  # noqa: E402
from singula.training.epoch_log import EpochLog  # noqa: E402
from singula.training.fit import FitSettings, Training, fit  # noqa: E402
from singula.training.loader import loader_workers  # noqa: E402
from singula.training.map_metrics import MapScores  # noqa: E402
from singula.training.optimizer import OptimizerSettings  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
MOSAIC = ROOT.parent / "shared/data/bench/mosaic_4096_raw.tif"
GPU = torch.device("cuda:0")
DTYPES = {"32": None, "bf16": torch.bfloat16, "16": torch.float16}
VOLUME = ModelSettings(3, 1, 2, feature_maps=(16, 32, 64, 128), dropout=(0,) * 4)


def samples_of(folder: Path, max_count: int = 60) -> list[Sample]:
    """Return images with labels: those of a folder, or synthetic ones."""
    if not folder.is_dir():
        print(f"{folder}: not found, using synthetic images")
        rng = np.random.default_rng(0)
        synthetic = [make_image((520, 696), rng) for _ in range(8)]
        return [
            Sample(str(i), s.image[..., None], s.labels[..., None]) for i, s in enumerate(synthetic)
        ]
    images, labels = sorted((folder / "raw").iterdir()), sorted((folder / "label").iterdir())
    return [
        Sample(i.stem, read_image(i, 2, 1).array, read_labels(t, 2).array)
        for i, t in list(zip(images, labels, strict=True))[:max_count]
    ]


class PreparedDataset(PatchDataset):
    """A data set of prepared patches."""

    def prepare(self, items: list[dict[str, torch.Tensor]]) -> PreparedDataset:
        """Set the patches that are returned in turn."""
        self.items = items
        return self

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, torch.Tensor]:
        index = key[1] if isinstance(key, tuple) else key
        return self.items[index % len(self.items)]


def median_seconds(work: Callable[[], object], seconds: float) -> float:
    """Return the median seconds of a call, after three calls to warm up."""
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def kernel_seconds(work: Callable[[], object], calls: int = 5) -> float:
    """Return the sum of the times of all kernels in a call, in seconds."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(calls):
            work()
        torch.cuda.synchronize()
    return sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6 / calls


def step_of(config: Any, batch: dict[str, torch.Tensor], precision: str) -> Callable[[], object]:
    """Return a function for one training step, without the training loop."""
    network = build_model(from_config.model_settings(config))
    network = channels_last(network, config.ndim).to(GPU).train()
    loss, optimizer = (
        from_config.instance_loss(config),
        torch.optim.AdamW(network.parameters(), fused=True),
    )
    scores = MapScores(from_config.outputs(config), device=GPU)
    dtype = DTYPES[precision]
    scaler = torch.amp.GradScaler("cuda", enabled=precision == "16")

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype, enabled=dtype is not None):
            logits = network(batch["image"])
            value = loss(logits, batch)
        scaler.scale(value).backward()
        scaler.step(optimizer)
        scaler.update()
        scores.update(logits, batch)

    return step


def random_batch(config: Any, size: int) -> dict[str, torch.Tensor]:
    """Return a batch of noise."""
    shape = tuple(config.DATA.PATCH_SIZE[:-1])
    target = (torch.rand(size, 2, *shape, device=GPU) > 0.7).float()
    image = torch.rand(size, 1, *shape, device=GPU)
    return {"image": image, "target": target, "foreground": target[:, :1] > 0}


def print_steps(config: Any, sizes: tuple[int, ...], seconds: float) -> None:
    """Print the times of steps on one batch on the GPU."""
    print(f"\npatches of {config.DATA.PATCH_SIZE}, U-Net {config.MODEL.FEATURE_MAPS}\n")
    print("| batch | precision | ms per step | ms per patch | kernels | GPU memory, GiB |")
    print("|---|---|---|---|---|---|")
    for size in sizes:
        batch = random_batch(config, size)
        for precision in DTYPES:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            with training_arithmetic():
                step = step_of(config, batch, precision)
                duration = median_seconds(step, seconds)
                busy = kernel_seconds(step)
            memory = torch.cuda.max_memory_allocated() / 2**30
            print(
                f"| {size} | {precision} | {1e3 * duration:.1f} | {1e3 * duration / size:.2f} | "
                f"{busy / duration:.0%} | {memory:.1f} |",
                flush=True,
            )


def epoch_seconds(
    config: Any, dataset: PatchDataset, precision: str, batch: int, workers: int
) -> tuple[float, float]:
    """Return the seconds of the second epoch, and per patch."""
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = EpochLog(folder / "log.csv", draw=lambda history: ends.append(time.perf_counter()))
        log.every = 1
        fit(
            Training(
                channels_last(build_model(from_config.model_settings(config)), 2),
                from_config.instance_loss(config),
                dataset,
                None,
                FitSettings(epochs=2, batch_size=batch, workers=workers),
                OptimizerSettings("ADAMW", 1e-3),
                CheckpointSettings(folder / "best.pth", folder / "last.pth"),
                log,
                Device("cuda", (0,), precision),
                {},
            )
        )
    duration = (ends[-1] - ends[0]) / (len(ends) - 1)
    return duration, duration / len(dataset)


def print_epochs(config: Any, augmented: PatchDataset, ready: PreparedDataset, steps: int) -> None:
    """Print the times of trainings with and without preparing patches."""
    print("\n| batch | precision | workers | ms per patch | prepared patches | ratio |")
    print("|---|---|---|---|---|---|")
    for batch, precision, count in (
        (6, "32", 5), (6, "bf16", 0), (6, "bf16", 5), (32, "bf16", 5), (32, "bf16", -1),
        (96, "bf16", 5), (96, "bf16", -1),
    ):  # fmt: skip
        patches = batch * (max(12, steps // 4) if batch > 32 else steps)
        count = loader_workers(count, "cuda")
        durations = []
        for dataset in (augmented, ready):
            places = dataset.places
            repeat = -(-patches // len(places))
            dataset.places = (places * repeat)[:patches]
            durations.append(epoch_seconds(config, dataset, precision, batch, count)[1])
            dataset.places = places
        augmented_ms, prepared_ms = (1e3 * duration for duration in durations)
        print(
            f"| {batch} | {precision} | {count} | {augmented_ms:.2f} | {prepared_ms:.2f} | "
            f"{augmented_ms / prepared_ms:.2f} |",
            flush=True,
        )


def load_image(size: int) -> np.ndarray:
    """Return a mosaic of nuclei (y, x, 1)."""
    if MOSAIC.is_file():
        import tifffile

        return np.ascontiguousarray(tifffile.imread(MOSAIC)[:size, :size, None])
    print(f"{MOSAIC}: not found, using a synthetic image")
    tile = make_image((size // 4, size // 4), np.random.default_rng(0)).image
    return np.tile(tile, (4, 4))[..., None]


def network_with_statistics(model: ModelSettings, image: np.ndarray) -> torch.nn.Module:
    """Return a network whose normalization layers have statistics of the image."""
    torch.manual_seed(0)
    network = build_model(model).train()
    part = image[tuple(slice(0, 64) for _ in range(model.ndim))].astype(np.float32) / 255
    with torch.no_grad():
        for _ in range(5):
            network(torch.from_numpy(np.moveaxis(part, -1, 0)[None].copy()))
    return channels_last(fold_batch_norm(network.eval()), model.ndim)


def print_prediction(model: ModelSettings, image: np.ndarray, rounds: int) -> None:
    """Print the times of a prediction, and of its forward passes alone."""
    shape, ndim, batch = image.shape[:-1], model.ndim, 2 if model.ndim == 3 else 1
    margin, min_shape = ((32, 32), (256, 256)) if ndim == 2 else ((8, 8, 8), (64, 64, 64))
    max_pixels = max_tile_pixels(ndim, 16, memory=free_memory(GPU)) // batch
    plan = plan_tiles(
        shape, margin, receptive_radius(model) or (), downsampling(model), min_shape, max_pixels
    )
    if plan is None:
        raise RuntimeError("no tile is small enough")
    network, settings = network_with_statistics(model, image), PredictSettings(plan, batch)
    overhead = plan.count(shape) * np.prod(plan.patch) / np.prod(shape)
    print(
        f"\n{shape}: {plan.count(shape)} tiles of {plan.patch}, {overhead:.2f} pixels processed "
        "per pixel\n"
    )
    print("| | 32 | bf16 |\n|---|---|---|")
    float32, bfloat16 = (
        prediction_times(network, image, settings, half, rounds) for half in (False, True)
    )
    for name in float32:
        print(f"| {name} | {float32[name]} | {bfloat16[name]} |", flush=True)


def prediction_times(
    network: torch.nn.Module,
    image: np.ndarray,
    settings: PredictSettings,
    bfloat16: bool,
    rounds: int,
) -> dict[str, str]:
    """Return the texts of a column by the name of the row."""
    outputs = from_config.outputs(load_config(ROOT / "templates/2d_dsb2018.yaml"))
    predictor = Predictor(network, outputs, 0, GPU, bfloat16=bfloat16)
    normalizer, plan = Normalizer("scale_range", clip=(0.1, 99.9)), settings.plan
    scaling = normalizer.scaling(image)
    tiles = list(plan.tiles(image.shape[:-1]))
    patches = [scaling.apply(read_patch(image, t.start, plan.patch)) for t in tiles]
    stacked = torch.from_numpy(np.moveaxis(np.stack(patches), -1, 1)).contiguous().to(GPU)

    def forward_passes() -> None:
        with torch.inference_mode():
            for part in stacked.split(settings.batch_size):
                predictor.forward(part)

    def predict_image() -> None:
        predictor.predict(image, scaling, settings)

    forward_times = [_seconds_of(forward_passes) for _ in range(rounds + 1)][1:]
    threaded = [_seconds_of(predict_image) for _ in range(rounds + 1)]
    predictor.overlap = False
    serial = [_seconds_of(predict_image) for _ in range(rounds)]
    medians = {
        "statistics of the image": _seconds_of(lambda: normalizer.scaling(image)),
        "forward passes alone": statistics.median(forward_times),
        "prediction": statistics.median(threaded[1:]),
        "prediction, the first one": threaded[0],
        "prediction without threads": statistics.median(serial),
    }
    ratio = medians["prediction"] / medians["forward passes alone"]
    texts = {name: f"{value:.3f} s" for name, value in medians.items()}
    return {**texts, "prediction to forward passes": f"{ratio:.2f} ×"}


def _seconds_of(work: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data/dsb2018/train")
    parser.add_argument("--quick", action="store_true", help="few steps, small images")
    options = parser.parse_args()
    print(
        f"{torch.cuda.get_device_name(GPU)}, torch {torch.__version__}, "
        f"cuDNN {torch.backends.cudnn.version()}"
    )
    config = load_config(ROOT / "templates/2d_dsb2018.yaml")
    common = (
        samples_of(options.data, 8 if options.quick else 60),
        from_config.patch_settings(config, "TRAIN"),
        from_config.normalizer(config),
        from_config.encode_settings(config, "TRAIN"),
    )
    augmented = PatchDataset(*common, augment=augment_settings(config))
    items = [augmented[0, i % len(augmented)] for i in range(96)]
    ready = PreparedDataset(*common, augment=augment_settings(config)).prepare(items)
    seconds = 0.1 if options.quick else 0.7
    print_steps(config, (6, 32, 96), seconds)
    print_steps(load_config(ROOT / "templates/3d_instance_segmentation.yaml"), (2, 8), seconds)
    size, rounds = (1024, 2) if options.quick else (4096, 5)
    print_prediction(from_config.model_settings(config), load_image(size), rounds)
    shape = (32, 128, 128) if options.quick else (96, 384, 384)
    volume = make_image((32, 128, 128), np.random.default_rng(0)).image
    tiled = np.tile(volume, [a // b for a, b in zip(shape, (32, 128, 128), strict=True)])
    print_prediction(VOLUME, tiled[..., None], rounds)
    print_epochs(config, augmented, ready, 12 if options.quick else 160)


if __name__ == "__main__":
    main()
