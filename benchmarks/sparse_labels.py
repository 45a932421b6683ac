"""Train a 3D network on a few annotated slices of each volume, and score complete volumes.

    python benchmarks/sparse_labels.py --output out/sparse_labels
    python benchmarks/sparse_labels.py --output out/sparse_labels --slices 2 --seconds 160

Draws volumes of touching nuclei with 32 slices (`singula.synthetic`): 3 for training, 1 for
validation and 3 for the test. In the training and validation labels, all but N slices are -1, "not
annotated". The slices are equally spaced: slice i of N is at (i + 0.5) * 32 / N, rounded down. The
test labels are complete. The configuration is that of `singula init` for these labels; a training
has the same CPU time on one core for each N (see `equal_time.py`). The contour threshold with the
highest F1 on the annotated slices of the validation volume is used for the test volumes. Prints a
row of a Markdown table for each N. ``predictions.png`` shows sections of a test volume with the
outlines of the ground truth (blue) and of the predictions (yellow). Finished trainings are stored
in the output folder, so the command can be repeated after an interruption.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from equal_time import Trial, train
from numpy.typing import NDArray

from singula.autoconfig import write_proposal
from singula.config import Config, load_config
from singula.data.dataset import PatchDataset
from singula.dataset.facts import Machine, survey_dataset
from singula.metrics import Score, match, match_dataset
from singula.models import build_model, downsampling
from singula.pipeline import from_config
from singula.pipeline.augmentation import augment_settings
from singula.pipeline.load_data import find_pairs, load_training, read_pair
from singula.pipeline.readers import reader_for
from singula.prediction import Predictor, PredictSettings, whole_plan
from singula.representations.decoders import decode
from singula.synthetic.fluorescence import make_dataset
from singula.util.process import prepare_process

ROOT = Path(__file__).resolve().parents[1]
SHAPE, SPACING = (32, 96, 96), (2.0, 1.0, 1.0)
IMAGES = {"n_train": 3, "n_val": 1, "n_test": 3}
CONTOURS = (0.05, 0.1, 0.2, 0.3, 0.4)
IOUS = (0.5, 0.75)
Labels = NDArray[Any]
Scene = tuple[NDArray[Any], Labels, dict[str, Any]]
Views = tuple[Any, ...]


def annotated_slices(count: int) -> list[int]:
    """Return the indices of equally spaced slices."""
    return [int((i + 0.5) * SHAPE[0] / count) for i in range(count)]


def data_set(folder: Path, count: int) -> Path:
    """Return a folder with the volumes and `count` annotated slices in each; drawn if needed."""
    root = folder / f"slices_{count}"
    if root.exists():
        return root
    make_dataset(root, 3, np.random.default_rng(11), shape=SHAPE, spacing=SPACING, **IMAGES)
    if count == SHAPE[0]:
        return root
    for path in [*root.glob("train/y/*.tif"), *root.glob("val/y/*.tif")]:
        labels = tifffile.imread(path).astype(np.int16)
        sparse = np.full_like(labels, -1)
        sparse[annotated_slices(count)] = labels[annotated_slices(count)]
        tifffile.imwrite(path, sparse, metadata={"axes": "ZYX"})
    return root


def configuration(folder: Path, count: int, seconds: float) -> Config:
    """Return the configuration that `singula init` writes for the labels; written once."""
    file = folder / f"slices_{count}.yaml"
    data = data_set(folder, count)
    if not file.exists():
        survey = survey_dataset(data, machine=Machine(cores=1, memory=8 << 30))
        write_proposal(survey, file, minutes=seconds / 60)
    return load_config(file, ["DATA.TRAIN.REPLICATE=1"])


def trained(config: Config, file: Path, seconds: float, seed: int) -> torch.nn.Module:
    """Return the network; an existing file of weights is used."""
    network = build_model(from_config.model_settings(config))
    if not file.exists():
        training, _ = load_training(config, channels=file.with_suffix(".channels"))
        dataset = PatchDataset(
            [sample.without_targets() for sample in training],
            from_config.patch_settings(config, "TRAIN"),
            from_config.normalizer(config),
            from_config.encode_settings(config, "TRAIN"),
            augment=augment_settings(config),
        )
        result, _, steps = train(config, Trial(), dataset, seconds, seed)
        print(f"{file.stem}: {len(dataset)} patches, {steps} steps", flush=True)
        torch.save(result.state_dict(), file)
    network.load_state_dict(torch.load(file, weights_only=True))
    return network.eval()


def predict(config: Config, network: torch.nn.Module, part: str) -> Iterator[Scene]:
    """Yield the image, the ground truth and the predicted maps of each volume of a part."""
    predictor = Predictor(network, from_config.instance_loss(config).outputs)
    plan_sides = downsampling(from_config.model_settings(config))
    normalizer = from_config.normalizer(config)
    for pair in find_pairs(config, part):
        image, truth = read_pair(reader_for(config, part), pair)
        plan = PredictSettings(whole_plan(image.array.shape[:-1], plan_sides))
        maps = predictor.predict(image.array, normalizer.scaling(image.array), plan)
        yield image.array[..., 0], truth[..., 0], maps


def instances(config: Config, maps: dict[str, Any], contour: float) -> Labels:
    """Return the decoded instances for a contour threshold."""
    keys = {**from_config.decode_keys(config), "TH_CONTOUR": contour}
    settings = from_config.decode_settings(config).from_keys(keys)
    channels = config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS
    spacing = from_config.spacing(config, "TEST")
    return decode(maps, channels, settings=settings, spacing=spacing).labels


def evaluate(config: Config, network: torch.nn.Module) -> tuple[float, list[Score], list[Views]]:
    """Return the contour threshold, the scores of the test volumes, and views of them."""
    volumes = list(predict(config, network, "VAL"))
    quality = {}
    for contour in CONTOURS:
        decoded = [(truth, instances(config, maps, contour)) for _, truth, maps in volumes]
        pooled = match_dataset([match(*pair, IOUS) for pair in decoded])
        quality[contour] = sum(score.f1 for score in pooled)
    best = max(CONTOURS, key=lambda contour: quality[contour])
    matches, views = [], []
    for image, truth, maps in predict(config, network, "TEST"):
        labels = instances(config, maps, best)
        matches.append(match(truth, labels, IOUS))
        views.append((image, truth, labels))
    scores = [*match_dataset(matches, by_image=True), *match_dataset(matches)]
    return best, scores, views


def draw(rows: list[Views], file: Path) -> None:
    """Draw the middle slice and the middle xz section of each volume, with outlines."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(rows), 2, figsize=(8, 3 * len(rows)), squeeze=False)
    for line, (title, image, truth, labels) in zip(axes, rows, strict=True):
        middle = image.shape[0] // 2, image.shape[1] // 2
        for axis, cut, aspect in (
            (line[0], np.s_[middle[0]], 1),
            (line[1], np.s_[:, middle[1]], SPACING[0] / SPACING[1]),
        ):
            axis.imshow(image[cut], "gray", aspect=aspect, vmax=np.percentile(image, 99.8))
            for ids, color in ((truth[cut], "#3f7fff"), (labels[cut], "#ffb000")):
                for number in np.unique(ids[ids > 0]):
                    axis.contour(ids == number, [0.5], colors=color, linewidths=0.8)
            axis.set_axis_off()
        line[0].set_title(f"{title}, xy", fontsize=9)
        line[1].set_title(f"{title}, xz", fontsize=9)
    figure.tight_layout()
    figure.savefig(file, dpi=80)


def main() -> None:
    """Train and score one number of slices after the other."""
    prepare_process()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, nargs="*", default=(1, 2, 4, SHAPE[0]))
    parser.add_argument("--seconds", type=float, default=40, help="CPU time of each training")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the patches")
    parser.add_argument("--output", type=Path, default=ROOT / "out" / "sparse_labels")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = options.output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    print("| annotated slices | F1 at 0.5, mean / pooled | F1 at 0.75 | contour threshold |\n"
          "|---|---|---|---|", flush=True)  # fmt: skip
    for count in options.slices:
        config = configuration(folder, count, options.seconds)
        file = folder / f"slices_{count}_seed_{options.seed}.pt"
        network = trained(config, file, options.seconds, options.seed)
        best, (mean, strict, pooled, strict_pooled), views = evaluate(config, network)
        print(
            f"| {count} of {SHAPE[0]} | {mean.f1:.3f} / {pooled.f1:.3f} "
            f"| {strict.f1:.3f} / {strict_pooled.f1:.3f} | {best:g} |",
            flush=True,
        )
        pictures.append((f"{count} of {SHAPE[0]} slices", *views[0]))
    draw(pictures, folder / "predictions.png")


if __name__ == "__main__":
    main()
