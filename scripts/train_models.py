"""Train the models of the package, and copy them to ``src/singula/zoo``.

    python scripts/train_models.py DSB2018 WORK
    python scripts/train_models.py DSB2018 WORK --models nuclei_he --set SYSTEM.NUM_CPUS=1

DSB2018 is the folder of the images of the Data Science Bowl 2018 (stage 1, CC0) with the folders
``train``, ``val``, ``test`` and ``rgb_train``, each with ``raw`` and ``label``. An interrupted
command continues when it is repeated. The configurations are in ``scripts/models``. A model with
files ``NAME_refine*.yaml`` is trained in several stages: each one starts from the weights of the
stage before and changes the keys of its file. ``{train}`` in a value is the folder of this part.

- ``nuclei`` is trained on ``train`` and validated on ``val``; its last stage is trained on both.
  ``test`` is for its scores only.
- ``nuclei_he`` is trained on the stained images of ``rgb_train``, split as in
  ``nuclei_he_split.yaml``.
- ``nuclei_3d`` is trained on drawn volumes of different sizes, voxel sizes, crowding, blur and
  noise.

The decoding thresholds are those of the configurations. Tuned ones would fit the sizes of the
validation images, while the models are used for images of other scales. The scores of the test
images and the size of the training objects go to the card, ``model.yaml``. With ``--volume``,
``nuclei_3d`` is scored on a real volume, and else on drawn ones.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml
from tifffile import imread

from singula.util.process import prepare_process

prepare_process()

import singula  # noqa: E402
from singula.inference.publish import publish  # noqa: E402
from singula.io.write import write_tiff  # noqa: E402
from singula.metrics.matching import match_dataset  # noqa: E402
from singula.pipeline.run import Job, run  # noqa: E402
from singula.synthetic.fluorescence import Appearance, make_image  # noqa: E402
from singula.training.checkpoint import read_checkpoint  # noqa: E402

ZOO = Path(singula.__file__).parent / "zoo"
THRESHOLDS = (0.5, 0.75)
CONFIGURATIONS = Path(__file__).parent / "models"
Parts = dict[str, Path]


def main() -> None:
    """Train the models of the command line."""
    arguments = parse()
    work: Path = arguments.work.absolute()
    for name in arguments.models:
        parts = DATASETS[name](arguments.images.absolute(), work / "data" / name)
        run_folder = train(name, work, parts, arguments.overrides)
        target = publish(run_folder, ZOO / name / "model.pth")
        test = parts["test"]
        if name == "nuclei_3d" and arguments.volume is not None:
            test = arguments.volume.absolute()
        write_card(ZOO / name / "model.yaml", target, score(target, test))


def parse() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", type=Path, metavar="DSB2018", help="folder of the images")
    parser.add_argument("work", type=Path, metavar="WORK", help="folder for data and runs")
    parser.add_argument(
        "--volume", type=Path, help="folder with raw and label of real volumes, for the scores"
    )
    parser.add_argument("--models", nargs="+", choices=DATASETS, default=list(DATASETS))
    parser.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE",
        help="change one key of the configurations",
    )  # fmt: skip
    return parser.parse_args()


def train(name: str, work: Path, parts: Parts, overrides: list[str]) -> Path:
    """Train all stages of a model or continue its training, and return its run folder.

    Parameters
    ----------
    name : str
        Name of the model.
    work : Path
        Folder for the runs.
    parts : dict of Path
        Folder with ``raw`` and ``label`` by part: train, val and test.
    overrides : list of str
        Changed keys, ``KEY=VALUE``.
    """
    channels = work / "channels" / name
    keys = [f"DATA.{part.upper()}.{key}={path}"
            for part, folder in parts.items()
            if part in ("train", "val", "test")
            for key, path in (
                ("PATH", folder / "raw"),
                ("GT_PATH", folder / "label"),
                ("INSTANCE_CHANNELS_DIR", channels / part / "raw"),
                ("INSTANCE_CHANNELS_MASK_DIR", channels / part / "label"),
            )]  # fmt: skip
    run_folder = train_stage(name, name, work, (*keys, *overrides))
    before = name
    for refine in sorted(CONFIGURATIONS.glob(f"{name}_refine*.yaml")):
        changes = yaml.safe_load(refine.read_text(encoding="utf-8"))
        weights = best_weights(work / before)
        start = ("MODEL.LOAD_CHECKPOINT=True", f"PATHS.CHECKPOINT_FILE={weights}")
        changed = (f"{key}={fill(value, parts)}" for key, value in changes.items())
        run_folder = train_stage(name, refine.stem, work, (*keys, *start, *changed, *overrides))
        before = refine.stem
    return run_folder


def fill(value: object, parts: Parts) -> object:
    """Replace the names of parts in braces by their folders."""
    return value.format(**parts) if isinstance(value, str) else value


def train_stage(name: str, job_name: str, work: Path, overrides: tuple[str, ...]) -> Path:
    """Train one stage of a model or continue it, and return its run folder."""
    started = (work / job_name / "checkpoints").is_dir()
    configuration = CONFIGURATIONS / f"{name}.yaml"
    return run(Job(configuration, work, job_name, overrides=overrides, resume=started)).tree.run


def best_weights(job: Path) -> Path:
    """Return the checkpoint of a job with the lowest validation loss."""
    return next((job / "checkpoints").glob("*-checkpoint-best.pth"))


def score(checkpoint: Path, part: Path) -> dict[str, float]:
    """Return the F1 of a model on images with labels, as the mean over images and pooled."""
    model = singula.load(checkpoint)
    matches = []
    for file in sorted((part / "raw").glob("*.tif")):
        truth = imread(part / "label" / file.name)
        matches.append(singula.match(truth, model.predict(imread(file)), THRESHOLDS))
    means, pooled = match_dataset(matches, by_image=True), match_dataset(matches)
    scores = {f"F1 at IoU {m.threshold:g}, mean over images": round(m.f1, 3) for m in means}
    return scores | {f"F1 at IoU {m.threshold:g}, pooled": round(m.f1, 3) for m in pooled}


def write_card(card: Path, checkpoint: Path, scores: dict[str, float]) -> None:
    """Write the size of the training objects and the scores to the card of a model."""
    values = yaml.safe_load(card.read_text(encoding="utf-8"))
    sizes = read_checkpoint(checkpoint)["singula"]["object_size"]
    values |= {"object_size": round(float(max(sizes)), 1), "scores": scores}
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)
    card.write_text(text, encoding="utf-8")
    print(text)


def fluorescence(images: Path, folder: Path) -> Parts:
    """Return the parts of the fluorescence images."""
    joined = folder / "train_val"
    for part in ("train", "val"):
        link_images(images / part, joined)
    return {part: images / part for part in ("train", "val", "test")} | {"train_val": joined}


def link_images(source: Path, target: Path) -> None:
    """Link all images and label images of a folder in another one."""
    for kind in ("raw", "label"):
        (target / kind).mkdir(parents=True, exist_ok=True)
        for file in (source / kind).glob("*.tif"):
            link = target / kind / file.name
            if not link.exists():
                link.symlink_to(file)


def stained(images: Path, folder: Path) -> Parts:
    """Link the stained images of each part, and return the folders of the parts."""
    text = (CONFIGURATIONS / "nuclei_he_split.yaml").read_text(encoding="utf-8")
    split: dict[str, list[str]] = yaml.safe_load(text)
    for part, names in split.items():
        for kind in ("raw", "label"):
            target = folder / part / kind
            target.mkdir(parents=True, exist_ok=True)
            for name in names:
                link = target / f"{name}.tif"
                if not link.exists():
                    link.symlink_to(images / "rgb_train" / kind / f"{name}.tif")
    return {part: folder / part for part in split}


VOLUMES = {"train": 60, "val": 8, "test": 8}
VOLUME_SHAPE = (32, 96, 96)


def drawn(images: Path, folder: Path) -> Parts:
    """Draw volumes of different appearance, and return the folders of the parts."""
    for number, (part, count) in enumerate(VOLUMES.items()):
        for index in range(count):
            name = f"{index:03d}.tif"
            if (folder / part / "label" / name).is_file():
                continue
            rng = np.random.default_rng([7, number, index])
            image, labels, spacing = draw_volume(rng)
            for kind, array in (("raw", image), ("label", labels)):
                (folder / part / kind).mkdir(parents=True, exist_ok=True)
                write_tiff(folder / part / kind / name, array, "ZYX", spacing)
    return {part: folder / part for part in VOLUMES}


def draw_volume(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """Return a volume, its labels and its spacing."""
    depth = float(rng.choice([1.0, 1.5, 2.0, 2.0, 3.0]))
    smallest = float(np.exp(rng.uniform(np.log(4.5), np.log(11.0))))
    appearance = Appearance(
        radius=(smallest, smallest * float(rng.uniform(1.1, 1.6))),
        coverage=float(rng.uniform(0.15, 0.5)),
        clustered=float(rng.uniform(0.4, 0.9)),
        closeness=float(rng.uniform(0.85, 1.0)),
        blur=(float(rng.uniform(1.2, 3.5)), *[float(rng.uniform(0.7, 1.8))] * 2),
        haze=float(rng.uniform(0.1, 0.9)),
        photons=float(np.exp(rng.uniform(np.log(12), np.log(150)))),
    )
    spacing = (depth, 1.0, 1.0)
    drawing = make_image(VOLUME_SHAPE, rng, spacing=spacing, appearance=appearance)
    return drawing.image, drawing.labels, spacing


DATASETS: dict[str, Callable[[Path, Path], Parts]] = {
    "nuclei": fluorescence,
    "nuclei_he": stained,
    "nuclei_3d": drawn,
}

if __name__ == "__main__":
    sys.exit(main())
