"""Train networks and recipes for equal CPU time on one core, and score them on the test images.

    python benchmarks/equal_time.py --data dsb2018 --minutes 5
    python benchmarks/equal_time.py --data volumes --minutes 4 --only unet unet_light
    python benchmarks/equal_time.py --data dsb2018 --minutes 5 --only lr_5e-3 average

Data: `dsb2018` next to the checkout, the same images with a third of the resolution (`small`), or
synthetic volumes of touching nuclei with cubic voxels (`volumes`). The configuration is that of
`singula init`; each trial changes the network or the recipe. The time counts everything in the
training loop: drawing, augmenting and encoding patches, and the steps. The learning rate follows
one cycle over this time. The contour threshold with the highest scores on the validation images is
used for the test images. Prints a row of a Markdown table for each trial.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from skimage.transform import downscale_local_mean
from torch.utils.data import default_collate

from singula.autoconfig import write_proposal
from singula.config import Config, load_config
from singula.data.dataset import EpochSampler, PatchDataset
from singula.dataset.facts import Machine, survey_dataset
from singula.io.read import read_image
from singula.metrics import match, match_dataset
from singula.models import ModelSettings, build_model, channels_last, downsampling, fold_batch_norm
from singula.pipeline import from_config
from singula.pipeline.augmentation import augment_settings
from singula.pipeline.load_data import find_pairs, load_training
from singula.prediction import Predictor, PredictSettings, whole_plan
from singula.representations.decoders import decode
from singula.synthetic.fluorescence import make_dataset
from singula.training.device import has_bfloat16
from singula.training.optimizer import make_optimizer
from singula.util.process import prepare_process

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "dsb2018"
CONTOURS = (0.05, 0.1, 0.2, 0.3)


@dataclass(frozen=True)
class Trial:
    """A network and a recipe.

    Parameters
    ----------
    model : dict
        Fields of `ModelSettings` that replace those of the configuration.
    lr, batch
        Factors of the learning rate and of the batch size.
    average : float
        Decay of an exponential moving average of the weights, which is scored; 0 for none.
    """

    model: dict[str, Any] = field(default_factory=dict)
    lr: float = 1.0
    batch: float = 1.0
    average: float = 0.0


def light(*maps: int) -> Trial:
    """Return the trial of `unet_light` with these feature maps."""
    return Trial({"architecture": "unet_light", "feature_maps": maps, "dropout": drop(maps)})


def full(*maps: int, **changes: Any) -> Trial:
    """Return the trial of `unet` with these feature maps."""
    return Trial({"architecture": "unet", "feature_maps": maps, "dropout": drop(maps), **changes})


def drop(maps: tuple[int, ...]) -> tuple[float, ...]:
    """Return the dropout that `singula init` chooses."""
    return ((0.0,) * len(maps) + (0.1, 0.2))[-len(maps) :]


TRIALS = {
    "dsb2018": {
        "unet": full(16, 32, 64, 128, 256),
        "unet_light": light(16, 32, 64, 128),
        "unet_light 24": light(24, 48, 96, 192),
        "unet_light 32": light(32, 64, 128, 256),
        "unet 8": full(8, 32, 64, 128, 256),
        "unet interpolation": full(16, 32, 64, 128, 256, upsample="upsampling"),
        "lr_5e-3": replace(light(16, 32, 64, 128), lr=2.5),
        "batch_4": replace(light(16, 32, 64, 128), batch=0.5),
        "average": replace(light(16, 32, 64, 128), average=0.998),
    },
    "small": {"unet": full(16, 32, 64), "unet_light": light(16, 32)},
    "volumes": {
        "unet": full(16, 32, 64, 128),
        "unet_light": light(16, 32, 64),
        "unet_light 32": light(32, 64, 128),
    },
}


def data_set(name: str, folder: Path) -> Path:
    """Return the folder of a data set, which is created if needed."""
    root = folder / name
    if name == "dsb2018":
        return DATA
    if root.exists():
        return root
    if name == "volumes":
        many = {"n_train": 10, "n_val": 2, "n_test": 4}
        make_dataset(root, 3, np.random.default_rng(7), shape=(64, 96, 96), **many)
        return root
    for path in sorted(DATA.glob("t*/raw/*")) + sorted(DATA.glob("val/raw/*")):
        label = path.parents[1] / "label" / path.name
        image, labels = tifffile.imread(path), tifffile.imread(label)
        size = tuple(slice(0, side // 3 * 3) for side in labels.shape)
        for source, small in (
            (path, np.rint(downscale_local_mean(image[size], (3, 3))).astype(np.uint8)),
            (label, labels[size][1::3, 1::3]),
        ):
            target = root / source.relative_to(DATA)
            target.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(target, small)
    return root


def batches(dataset: PatchDataset, size: int, seed: int) -> Iterator[dict[str, torch.Tensor]]:
    """Yield batches of shuffled patches without end."""
    sampler = EpochSampler(len(dataset), shuffle=True, vary=True, seed=seed, rank=0, world=1)
    for epoch in range(1_000_000):
        sampler.set_epoch(epoch)
        keys = list(sampler)
        for first in range(0, len(keys) - size + 1, size):
            yield default_collate([dataset[key] for key in keys[first : first + size]])


def one_cycle(progress: float) -> float:
    """Return the factor of the learning rate at a fraction of the training."""
    if progress < 0.3:
        return 0.04 + 0.48 * (1 - math.cos(math.pi * progress / 0.3))
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - 0.3) / 0.7)))


def train(
    config: Config, trial: Trial, dataset: PatchDataset, seconds: float, seed: int
) -> tuple[torch.nn.Module, ModelSettings, int]:
    """Return the network after this CPU time, its settings, and the number of steps."""
    settings = replace(from_config.model_settings(config), **trial.model)
    torch.manual_seed(seed)
    network = channels_last(build_model(settings), config.ndim).train()
    loss, chosen = from_config.instance_loss(config), from_config.optimizer_settings(config)
    optimizer = make_optimizer(network.parameters(), chosen)
    size = max(1, round(config.TRAIN.BATCH_SIZE * trial.batch))
    averaged = {name: value.clone() for name, value in network.state_dict().items()}
    started = time.process_time()
    for step, batch in enumerate(batches(dataset, size, seed), 1):
        used = (time.process_time() - started) / seconds
        for group in optimizer.param_groups:
            group["lr"] = chosen.lr * trial.lr * one_cycle(used)
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16()):
            logits = network(batch["image"])
        optimizer.zero_grad()
        loss(logits, batch).backward()
        optimizer.step()
        if trial.average:
            share = 1 - min(trial.average, (1 + step) / (10 + step))
            for name, value in network.state_dict().items():
                if value.is_floating_point():
                    averaged[name].lerp_(value, share)
                else:
                    averaged[name].copy_(value)
        if used >= 1:
            break
    if trial.average:
        network.load_state_dict(averaged)
    return network.eval(), settings, step


def score(config: Config, predictor: Predictor, multiple: tuple[int, ...]) -> list[float]:
    """Return F1 at 0.5 and at 0.75, each as mean over images and pooled, of the test images."""
    normalizer, channels = from_config.normalizer(config), config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS

    def results(part: str, contours: Iterable[float]) -> dict[float, list[float]]:
        found: dict[float, list[Any]] = {contour: [] for contour in contours}
        for pair in find_pairs(config, part):
            if pair.label is None:
                raise ValueError(f"{pair.image} has no labels")
            image = read_image(pair.image, config.ndim).array
            truth = read_image(pair.label, config.ndim).array[..., 0]
            plan = PredictSettings(whole_plan(image.shape[:-1], multiple))
            maps = predictor.predict(image, normalizer.scaling(image), plan)
            for contour, matches in found.items():
                keys = {**from_config.decode_keys(config), "TH_CONTOUR": contour}
                decoder = from_config.decode_settings(config).from_keys(keys)
                labels = decode(maps, channels, settings=decoder).labels
                matches.append(match(truth, labels, (0.5, 0.75)))
        return {
            contour: [row.f1 for at in (0, 1) for row in (means[at], pooled[at])]
            for contour, matches in found.items()
            for means, pooled in [(match_dataset(matches, by_image=True), match_dataset(matches))]
        }

    validation = results("VAL", CONTOURS)
    best = max(validation, key=lambda contour: sum(validation[contour]))
    return results("TEST", [best])[best]


def pixels_per_second(network: torch.nn.Module, config: Config) -> float:
    """Return the pixels per CPU second of the folded network in float32, the best of three."""
    sides = (1024, 1024) if config.ndim == 2 else (64, 128, 128)
    image, best = torch.rand(1, config.in_channels, *sides), 0.0
    folded = channels_last(fold_batch_norm(network), config.ndim)
    for _ in range(3):
        started = time.process_time()
        with torch.inference_mode():
            folded(image)
        best = max(best, math.prod(sides) / (time.process_time() - started))
    return best


def main() -> None:
    """Train and score one trial after the other."""
    prepare_process()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=tuple(TRIALS), default="dsb2018")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the patches")
    parser.add_argument("--output", type=Path, default=ROOT / "out" / "equal_time")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = options.output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{options.data}.yaml"
    if not file.exists():
        machine = Machine(cores=1, memory=8 << 30)
        survey = survey_dataset(data_set(options.data, folder), machine=machine)
        write_proposal(survey, file, minutes=options.minutes)
    config = load_config(file, ["DATA.TRAIN.REPLICATE=1"])
    training, _ = load_training(config, channels=folder / "channels")
    dataset = PatchDataset(
        [sample.without_targets() for sample in training],
        from_config.patch_settings(config, "TRAIN"),
        from_config.normalizer(config),
        from_config.encode_settings(config, "TRAIN"),
        augment=augment_settings(config),
    )
    print("| trial | parameters | steps | F1 at 0.5, mean / pooled | F1 at 0.75 "
          "| Mpixel/s |\n|---|---|---|---|---|---|", flush=True)  # fmt: skip
    for name, trial in TRIALS[options.data].items():
        if options.only and name not in options.only:
            continue
        network, settings, steps = train(config, trial, dataset, options.minutes * 60, options.seed)
        speed = pixels_per_second(network, config)
        predictor = Predictor(network, from_config.instance_loss(config).outputs)
        mean, pooled, strict, strict_pooled = score(config, predictor, downsampling(settings))
        print(
            f"| {name} | {sum(p.numel() for p in network.parameters()) / 1e6:.2f} M | {steps} "
            f"| {mean:.3f} / {pooled:.3f} | {strict:.3f} / {strict_pooled:.3f} "
            f"| {speed / 1e6:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
