"""Compare the prediction of a large image with its forward passes alone.

    python benchmarks/prediction.py --size 2048 --rounds 3 [--model RUN]

Every method runs once in each round, so other work on the machine affects all methods equally.
Prints medians over the rounds of the CPU time (on a GPU: wall-clock time) and of the ratio to the
forward passes of the same round. The image is the mosaic next to the checkout, or noise; the
network is the U-Net 16–256 with random weights, or that of a run.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from singula.util.process import prepare_process

prepare_process()

import numpy as np  # noqa: E402
import torch  # noqa: E402

from singula.data.normalize import Normalizer, Scaling  # noqa: E402
from singula.data.patches import TilePlan, read_patch  # noqa: E402
from singula.models import (  # noqa: E402
    ModelSettings,
    build_model,
    channels_last,
    downsampling,
    fold_batch_norm,
    receptive_radius,
)
from singula.prediction import (  # noqa: E402
    AlignedTiles,
    Predictor,
    PredictSettings,
    max_tile_pixels,
    plan_tiles,
)
from singula.prediction.openvino import OpenVinoNetwork, has_openvino  # noqa: E402
from singula.training.losses import Output  # noqa: E402

MOSAIC = Path(__file__).resolve().parents[2] / "shared/data/bench/mosaic_4096_raw.tif"
OUTPUTS = (Output("B", "bce", "sigmoid"), Output("C", "bce", "sigmoid"))
PATCHES = TilePlan((256, 256), (0.0, 0.0), (32, 32), (16, 16))
MODEL = ModelSettings(2, 1, 2)
Image = np.ndarray


@dataclass
class Setting:
    """Image, network and settings that all methods share."""

    image: Image
    scaling: Scaling
    network: torch.nn.Module
    device: torch.device

    def predictor(
        self, *, folded: bool = True, bfloat16: bool = False, openvino: bool = False
    ) -> Predictor:
        """Return a predictor of the network."""
        network = fold_batch_norm(self.network) if folded else self.network
        network = channels_last(network, 2)
        if openvino:
            network = OpenVinoNetwork(network, 1, (256, 256), bfloat16=bfloat16, at_once=True)
        return Predictor(network, OUTPUTS, device=self.device, bfloat16=bfloat16)

    def tiles(self, image: Image, max_pixels: int) -> AlignedTiles:
        """Return the tiles chosen for an image."""
        reach = receptive_radius(MODEL)
        plan = plan_tiles(
            image.shape[:2], (32, 32), reach or (), downsampling(MODEL), (256, 256), max_pixels
        )
        if plan is None:
            raise RuntimeError("no tile is small enough")
        return plan


def load_image(size: int) -> Image:
    """Return a square image (y, x, 1) of uint8."""
    if MOSAIC.is_file():
        import tifffile

        return np.ascontiguousarray(tifffile.imread(MOSAIC)[:size, :size, None])
    print("the mosaic is missing, using noise")
    return np.random.default_rng(0).integers(0, 255, (size, size, 1)).astype(np.uint8)


def network_of(run: str | None) -> tuple[torch.nn.Module, Normalizer]:
    """Return a trained network, or one whose normalization layers have statistics of noise."""
    torch.manual_seed(0)
    network = build_model(MODEL)
    if run is not None:
        from singula.inference import find_model
        from singula.training.checkpoint import load_checkpoint, load_weights

        checkpoint = load_checkpoint(find_model(run))
        network = build_model(ModelSettings.from_dict(checkpoint.description["model"]))
        load_weights(network, checkpoint)
        return network.eval(), Normalizer.from_dict(checkpoint.description["normalizer"])
    with torch.no_grad():
        for _ in range(5):
            network.train()(torch.rand(2, 1, 128, 128))
    return network.eval(), Normalizer("div")


def forward_passes(
    setting: Setting, plan: AlignedTiles | TilePlan, batch_size: int
) -> Callable[[], None]:
    """Return a function that runs the forward passes of normalized tiles."""
    tiles = plan.tiles(setting.image.shape[:2])
    patches = [setting.scaling.apply(read_patch(setting.image, t.start, plan.patch)) for t in tiles]
    stacked = torch.from_numpy(np.moveaxis(np.stack(patches), -1, 1)).contiguous()
    network = setting.predictor().network

    def run() -> None:
        with torch.inference_mode():
            for batch in stacked.split(batch_size):
                network(
                    batch.to(setting.device).contiguous(memory_format=torch.channels_last)
                ).cpu()

    return run


def differences(setting: Setting) -> dict[str, float]:
    """Return the largest difference to a single pass over the whole image, on a part of the image.

    For patches that exceed the image by more than the canvas does, only pixels farther from the
    border than the receptive field are compared.
    """
    part = setting.image[:1024, :1024]
    tiles = setting.tiles(part, 300_000)
    whole = TilePlan(tuple(n + 64 for n in part.shape[:2]), (0.0, 0.0), (32, 32), (16, 16))  # type: ignore[arg-type]
    methods = {
        "chosen tiles": (setting.predictor(), tiles),
        "not folded": (setting.predictor(folded=False), tiles),
        "bfloat16": (setting.predictor(bfloat16=True), tiles),
        "patches of 256": (setting.predictor(), PATCHES),
    }
    if has_openvino() and setting.device.type == "cpu":
        methods["OpenVINO"] = (setting.predictor(openvino=True), tiles)
    exact = setting.predictor(folded=False).predict(part, setting.scaling, PredictSettings(whole))
    result = {}
    for name, (predictor, plan) in methods.items():
        maps = predictor.predict(part, setting.scaling, PredictSettings(plan, 1))
        inner = slice(112, -112) if isinstance(plan, TilePlan) else slice(None)
        result[name] = max(float(np.abs(maps[k] - exact[k])[inner, inner].max()) for k in exact)
    return result


def methods_of(setting: Setting) -> dict[str, Callable[[], object]]:
    """Return every method by name; the first one is the reference."""
    plan = setting.tiles(setting.image, max_tile_pixels(2, MODEL.feature_maps[0]))
    shape = setting.image.shape[:2]
    overhead = plan.count(shape) * np.prod(plan.patch) / np.prod(shape)
    overhead_of_patches = PATCHES.count(shape) * np.prod(PATCHES.patch) / np.prod(shape)
    print(f"{plan.count(shape)} tiles of {plan.patch}: {overhead:.2f} pixels processed per pixel;")
    print(f"{PATCHES.count(shape)} patches of {PATCHES.patch}: {overhead_of_patches:.2f}")

    def method(plan: AlignedTiles | TilePlan, batch: int, **variant: bool) -> Callable[[], object]:
        predictor = setting.predictor(**variant)
        settings = PredictSettings(plan, batch)
        return lambda: predictor.predict(setting.image, setting.scaling, settings)

    methods = {
        "bare forward passes of the chosen tiles": forward_passes(setting, plan, 1),
        "patches of 256, padding 32, not folded": method(PATCHES, 4, folded=False),
        "patches of 256, padding 32, folded": method(PATCHES, 4),
        "chosen tiles, not folded": method(plan, 1, folded=False),
        "chosen tiles, folded": method(plan, 1),
        "chosen tiles, folded, bfloat16": method(plan, 1, bfloat16=True),
    }
    if has_openvino() and setting.device.type == "cpu":
        methods["chosen tiles, OpenVINO"] = method(plan, 1, openvino=True)
        methods["chosen tiles, OpenVINO, bfloat16"] = method(plan, 1, openvino=True, bfloat16=True)
    return methods


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", help="a run or checkpoint of a U-Net 16–256 with channels BC")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    image = load_image(options.size)
    device = torch.device(options.device)
    network, normalizer = network_of(options.model)
    setting = Setting(image, normalizer.scaling(image), network, device)
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    methods = methods_of(setting)
    seconds_of: dict[str, list[float]] = {name: [] for name in methods}
    peak: dict[str, int] = {}
    for name, run in methods.items():
        if "bare" in name or "OpenVINO" in name:
            run()  # allocate memory; build the OpenVINO network and compare it
    for _ in range(options.rounds):
        for name, run in methods.items():
            start = clock()
            run()
            seconds_of[name].append(clock() - start)
            usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            peak.setdefault(name, usage // 1024)
    reference = np.array(next(iter(seconds_of.values())))
    print("| | seconds | ratio | peak memory so far, MB |\n|---|---|---|---|")
    for name, seconds in seconds_of.items():
        ratio = np.median(np.array(seconds) / reference)
        print(f"| {name} | {np.median(seconds):.1f} | {ratio:.2f} | {peak[name]} |")
    print("largest difference to the whole image at once")
    for name, value in differences(setting).items():
        print(f"  {name}: {value:.1e}")


if __name__ == "__main__":
    main()
