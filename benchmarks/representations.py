"""Compare representations: the same network and CPU time for each list of channels.

    python benchmarks/representations.py out/representations --minutes 1
    python benchmarks/representations.py out/representations --sets rods --channels BC F+H+V
    python benchmarks/representations.py out/representations --show
    python benchmarks/representations.py out/representations --facts
    python benchmarks/representations.py out/representations --exact --images 12

Sets: `dsb2018` next to the checkout, and the drawn sets of `singula.synthetic.datasets`. The
configuration is that of `singula init` for one core; only the channels, their weights and their
options change. Options follow a colon: `F+H+V:H.norm=False,V.norm=False`. The time counts drawing,
augmenting and encoding patches, and the steps of the training, on one thread. For each list, the
thresholds and the minimum size with the highest panoptic quality on the validation images are
searched as in `singula tune`, and used for the test images. Results are stored in
`FOLDER/results.json`, which each call extends; stored combinations are skipped. Prints a Markdown
table for each set, and the channels that `singula init` chooses. `--exact` trains nothing: it
decodes the channels of the test labels, which shows the best result that a list can have.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from equal_time import Trial, train

from singula.autoconfig import write_proposal
from singula.autoconfig.objects import choose_channel_weights, choose_channels
from singula.autoconfig.sizes import Sizes
from singula.config import Config, load_config
from singula.data.dataset import PatchDataset
from singula.data.samples import Sample
from singula.dataset.facts import Machine, Survey, survey_dataset
from singula.errors import UserError
from singula.io.read import read_image, read_labels
from singula.metrics import match, match_dataset
from singula.models import downsampling
from singula.pipeline import from_config
from singula.pipeline.augmentation import augment_settings
from singula.pipeline.load_data import find_pairs
from singula.prediction import Predictor, PredictSettings, whole_plan
from singula.representations.channels import encode_with
from singula.representations.decoders import DecodeSettings, decode
from singula.representations.table import SEPARATOR
from singula.representations.watershed import Watershed
from singula.synthetic.datasets import DRAWINGS, make_drawn_dataset
from singula.tuning.tuner import Example, Tuner
from singula.util.boxes import evenly_spaced
from singula.util.process import prepare_process

ROOT = Path(__file__).resolve().parents[1]
DSB2018 = ROOT.parent / "shared" / "data" / "dsb2018"
SETS = ("dsb2018", *DRAWINGS)
LISTS = {
    2: ("BC", "BCD", "F+C+Db", "F+C+T", "BDv2", "F+P", "F+H+V", "F+R", "F+A"),
    3: ("BC", "BCD", "F+C+Db", "F+C+T", "BDv2", "F+P", "F+H+V+Z", "F+R", "A"),
}
MACHINE = Machine(cores=1, memory=8 << 30)
_SEG = "PROBLEM.INSTANCE_SEG"


@dataclass(frozen=True)
class Result:
    """Scores of one list of channels on one set; F1 and PQ as mean over images, and pooled.

    Parameters
    ----------
    data, channels : str
        Name of the set, and list of channels with its options.
    minutes : float
        CPU time of the training.
    images, seed, steps : int
        Number of training images, seed, and number of steps.
    network : str
        Architecture and feature maps.
    f1, f1_strict, pq : (float, float)
        F1 at the IoU 0.5, F1 at 0.75, panoptic quality at 0.5.
    decoding, searching : float
        CPU seconds to decode a test image, and to search the thresholds.
    pixels : float
        Mean number of pixels of a test image.
    thresholds : dict
        Thresholds, minimum size and seed morphology of the test.
    """

    data: str
    channels: str
    minutes: float
    images: int
    seed: int
    steps: int
    network: str
    f1: tuple[float, float]
    f1_strict: tuple[float, float]
    pq: tuple[float, float]
    decoding: float
    searching: float
    pixels: float
    thresholds: dict[str, Any]


def print_facts(names: Sequence[str], folder: Path, count: int) -> None:
    """Print the shapes of the training objects of sets, and the channels that `init` chooses."""
    print("| set | objects | length / width | convexity | outline shared | density | `init` |")
    print("|---|---|---|---|---|---|---|")
    for name in names:
        sizes = Sizes.of(survey_of(name, folder, count))
        shape, chosen = sizes.shape, choose_channels(sizes, MACHINE)
        shares = (shape.convexity, shape.contact, shape.density)
        texts = (f"{share:.0%}" for share in shares)
        row = (f"`{name}`", f"{sizes.count}", f"{shape.elongation:.1f}", *texts)
        print(f"| {' | '.join(row)} | `{chosen.value}` |", flush=True)


def n_axes(name: str) -> int:
    """Return the number of axes of the images of a set."""
    return len(DRAWINGS[name].shape) if name in DRAWINGS else 2


def data_set(name: str, folder: Path, count: int) -> Path:
    """Return the folder of a set with `count` training images, which is created if needed."""
    root = folder / f"{name}_{count}"
    if root.exists():
        return root
    counts = {"train": count, "val": max(2, count // 10), "test": max(2, count // 3)}
    if name in DRAWINGS:
        sized = {f"n_{part}": number for part, number in counts.items()}
        make_drawn_dataset(root, name, np.random.default_rng(12), **sized)
        return root
    for part, number in counts.items():
        files = sorted((DSB2018 / part / "raw").glob("*.tif"))
        for index in evenly_spaced(len(files), min(number, len(files))):
            for kind, source in (("x", "raw"), ("y", "label")):
                target = root / part / kind / files[index].name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(DSB2018 / part / source / target.name)
    return root


def survey_of(name: str, folder: Path, count: int) -> Survey:
    """Return the measurements of a set."""
    return survey_dataset(data_set(name, folder, count), machine=MACHINE)


def configuration(name: str, text: str, folder: Path, options: argparse.Namespace) -> Config:
    """Return the configuration of `singula init` with other channels."""
    file = folder / f"{name}_{options.images}.yaml"
    if not file.exists():
        survey = survey_of(name, folder, options.images)
        write_proposal(survey, file, minutes=options.minutes)
    channels, _, extra = text.partition(":")
    listed = channels.split(SEPARATOR)
    weights = choose_channel_weights(SEPARATOR.join(listed), 1).value
    changes = [
        "DATA.TRAIN.REPLICATE=1",
        f"{_SEG}.DATA_CHANNELS={channels}",
        f"{_SEG}.DATA_CHANNEL_WEIGHTS={weights}",
    ]
    if extra:
        changes.append(f"{_SEG}.DATA_CHANNELS_EXTRA_OPTS=[{extra}]")
    return load_config(file, changes)


def samples(config: Config, part: str) -> Iterator[Sample]:
    """Yield the images of a part with their labels."""
    for pair in find_pairs(config, part):
        if pair.label is None:
            raise ValueError(f"{pair.image} has no labels")
        image = read_image(pair.image, config.ndim, channels=config.in_channels)
        yield Sample(pair.name, image.array, read_labels(pair.label, config.ndim).array)


def predicted(config: Config, predictor: Predictor, part: str) -> list[Example]:
    """Return the predicted maps of a part with the ground truth."""
    normalizer = from_config.normalizer(config)
    sides = downsampling(from_config.model_settings(config))
    spacing = from_config.spacing(config, part)
    examples = []
    for sample in samples(config, part):
        image, truth = np.asarray(sample.image), np.asarray(sample.labels)[..., 0]
        plan = PredictSettings(whole_plan(image.shape[:-1], sides))
        maps = predictor.predict(image, normalizer.scaling(image), plan)
        read = partial(tuple, (maps, truth))
        examples.append(Example(sample.name, truth.shape, read, spacing, spacing))
    return examples


def tuned(config: Config, examples: Sequence[Example]) -> tuple[DecodeSettings, dict[str, Any]]:
    """Return the best settings for these images, with and without the seed morphology of `init`."""
    settings = from_config.decode_settings(config)
    variants = [settings]
    if settings.seed_morph and isinstance(config.decoder, Watershed):
        variants.append(replace(settings, seed_morph=()))
    best: tuple[float, DecodeSettings, dict[str, Any]] | None = None
    for variant in variants:
        trial = Tuner(examples, config.decoder, variant).search()[1]
        if best is None or trial.value > best[0]:
            chosen = {**trial.thresholds, "seed_morph": list(variant.seed_morph)}
            best = trial.value, variant.changed(trial.thresholds), chosen
    if best is None:
        raise RuntimeError("no settings")
    return best[1], best[2]


def measure(name: str, text: str, folder: Path, options: argparse.Namespace) -> Result:
    """Train, search the thresholds, and score the test images."""
    config = configuration(name, text, folder, options)
    dataset = PatchDataset(
        list(samples(config, "TRAIN")),
        from_config.patch_settings(config, "TRAIN"),
        from_config.normalizer(config),
        from_config.encode_settings(config, "TRAIN"),
        augment=augment_settings(config),
    )
    network, model, steps = train(config, Trial(), dataset, options.minutes * 60, options.seed)
    predictor = Predictor(network, from_config.instance_loss(config).outputs)
    started = time.process_time()
    validation = predicted(config, predictor, "VAL")
    if options.tuning_images:
        chosen = evenly_spaced(len(validation), options.tuning_images)
        validation = [validation[index] for index in chosen]
    settings, thresholds = tuned(config, validation)
    searching = time.process_time() - started
    matches, seconds, pixels = [], [], []
    for example in predicted(config, predictor, "TEST"):
        maps, truth = example.read()
        started = time.process_time()
        decoded = decode(maps, config.decoder, settings=settings, spacing=example.spacing)
        seconds.append(time.process_time() - started)
        pixels.append(truth.size)
        matches.append(match(truth, decoded.labels, (0.5, 0.75)))
    means, pooled = match_dataset(matches, by_image=True), match_dataset(matches)
    return Result(
        name,
        text,
        options.minutes,
        options.images,
        options.seed,
        steps,
        f"{model.architecture} {', '.join(map(str, model.feature_maps))}",
        (means[0].f1, pooled[0].f1),
        (means[1].f1, pooled[1].f1),
        (means[0].panoptic_quality, pooled[0].panoptic_quality),
        fmean(seconds),
        searching,
        fmean(pixels),
        thresholds,
    )


def print_exact(name: str, folder: Path, options: argparse.Namespace) -> None:
    """Decode the exact channels of the test labels, and print a row for each list."""
    print(f"\n`{name}`, exact channels\n")
    print("| channels | F1 at 0.5 | F1 at 0.75 | PQ | decoding, ms |\n|---|---|---|---|---|")
    for text in options.channels or LISTS[n_axes(name)]:
        matches, seconds = [], []
        try:
            config = configuration(name, text, folder, options)
            settings = from_config.decode_settings(config)
            encoding = from_config.encode_settings(config, "TEST")
            for sample in samples(config, "TEST"):
                truth = np.asarray(sample.labels)[..., 0]
                maps = encode_with(encoding, truth)
                maps = {code: values.astype(np.float32) for code, values in maps.items()}
                started = time.process_time()
                decoded = decode(maps, config.decoder, settings=settings, spacing=encoding.spacing)
                seconds.append(time.process_time() - started)
                matches.append(match(truth, decoded.labels, (0.5, 0.75)))
        except UserError as error:
            print(f"{name}, {text}: {error}", flush=True)
            continue
        half, strict = match_dataset(matches, by_image=True)
        scores = f"{half.f1:.3f} | {strict.f1:.3f} | {half.panoptic_quality:.3f}"
        # The first image includes the compilation of kernels.
        print(f"| `{text}` | {scores} | {1000 * min(seconds):.1f} |", flush=True)


def print_tables(results: Sequence[dict[str, Any]], folder: Path) -> None:
    """Print a Markdown table for each set, the best list first."""
    for name in dict.fromkeys(row["data"] for row in results):
        rows = [row for row in results if row["data"] == name]
        first = rows[0]
        proposal = proposed_channels(folder, name, first["images"])
        print(f"\n`{name}` ({first['network']}); `singula init` chooses {proposal}\n")
        print("| channels | steps | F1 at 0.5 | F1 at 0.75 | PQ | decoding, ms |")
        print("|---|---|---|---|---|---|")
        for row in sorted(rows, key=lambda row: -row["f1"][0]):
            pairs = (f"{row[key][0]:.3f} / {row[key][1]:.3f}" for key in ("f1", "f1_strict", "pq"))
            decoding = f"{1000 * row['decoding']:.1f}"
            print(f"| `{row['channels']}` | {row['steps']} | {' | '.join(pairs)} | {decoding} |")


def proposed_channels(folder: Path, name: str, count: int) -> str:
    """Return the channels in the configuration of `singula init`."""
    return load_config(folder / f"{name}_{count}.yaml").PROBLEM.INSTANCE_SEG.DATA_CHANNELS


def main() -> None:
    """Measure the combinations that are not stored, one after the other."""
    prepare_process()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--channels", nargs="+", help="lists, with options after a colon")
    parser.add_argument("--minutes", type=float, default=1.0, help="CPU time of a training")
    parser.add_argument("--images", type=int, default=60, help="training images")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the patches")
    parser.add_argument(
        "--tuning-images", type=int, default=0, help="validation images of the search; 0: all"
    )
    parser.add_argument("--show", action="store_true", help="only print the stored results")
    parser.add_argument("--exact", action="store_true", help="only decode exact channels")
    parser.add_argument("--facts", action="store_true", help="only print the shapes of the sets")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if options.facts:
        print_facts(options.sets, folder, options.images)
        return
    if options.exact:
        for name in options.sets:
            print_exact(name, folder, options)
        return
    stored = folder / "results.json"
    results: list[dict[str, Any]] = json.loads(stored.read_text()) if stored.exists() else []
    keys = ("data", "channels", "minutes", "images", "seed")
    measured = {tuple(row[key] for key in keys) for row in results}
    for name in () if options.show else options.sets:
        for text in options.channels or LISTS[n_axes(name)]:
            if (name, text, options.minutes, options.images, options.seed) in measured:
                continue
            try:
                result = measure(name, text, folder, options)
            except UserError as error:
                print(f"{name}, {text}: {error}", flush=True)
                continue
            results.append(asdict(result))
            stored.write_text(json.dumps(results, indent=1))
            print(f"{name}, {text}: F1 {result.f1[0]:.3f}, {result.steps} steps", flush=True)
    print_tables(results, folder)


if __name__ == "__main__":
    main()
