"""The validation images of a finished run with their predicted maps, stored beside its results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from singula.config import Config, config_from_dict
from singula.data.preprocess import Reference
from singula.data.samples import Sample
from singula.errors import UserError
from singula.io.image import Image
from singula.io.pairs import Pair
from singula.io.results import ResultsTree
from singula.report.run_files import open_run
from singula.stages import settings as from_config
from singula.stages.data import find_pairs, validation_pairs
from singula.stages.normalization import with_statistics
from singula.stages.post import PostSettings, filter_maps, post_settings
from singula.stages.reading import Reader, reader_for
from singula.stages.split import hold_out, split_pairs
from singula.stages.stored import StoredMaps
from singula.stages.weights import find_checkpoint, predictor_from
from singula.training.checkpoint import Checkpoint, load_checkpoint
from singula.tuning.tuner import Example
from singula.words import counted

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]
Notify = Callable[[str], None]
_TRAIN = ("DATA.TRAIN.PATH", "DATA.TRAIN.GT_PATH")
_VAL = ("DATA.VAL.PATH", "DATA.VAL.GT_PATH")


@dataclass(frozen=True)
class Run:
    """A finished run with its weights.

    Parameters
    ----------
    tree : ResultsTree
    config : Config
        As it ran.
    checkpoint : Checkpoint
    """

    tree: ResultsTree
    config: Config
    checkpoint: Checkpoint


def find_run(folder: Path | str) -> Run:
    """Configuration and checkpoint of a finished run.

    Raises
    ------
    UserError
        When the folder is no finished run's, or its checkpoint is gone.
    """
    files = open_run(Path(folder))
    keys = files.summary.get("configuration", {})
    config = config_from_dict(keys, source=str(files.tree.run_json))
    started = files.summary.get("job", {}).get("started_in")
    config = _found_folders(config, [Path(started)] if started else [])
    path = find_checkpoint(config, files.tree)
    checkpoint = with_statistics(config, load_checkpoint(path), lambda line: None)
    return Run(files.tree, config, checkpoint)


def _found_folders(config: Config, bases: Sequence[Path]) -> Config:
    """Folders of images as they stand, or from where the run was started."""
    values, moved = config.dotted(), dict[str, str]()
    for key in (*_TRAIN, *_VAL):
        path = Path(values[key])
        if not path.is_absolute() and not path.exists():
            there = [base / path for base in bases if (base / path).exists()]
            if there:
                moved[key] = str(there[0])
    return config.replaced(moved) if moved else config


def validation_keys(config: Config) -> tuple[str, str]:
    """Keys of the folders of images and labels that the training validated on."""
    return _TRAIN if config.DATA.VAL.FROM_TRAIN else _VAL


@dataclass(frozen=True)
class Held:
    """A validation image, or the part of a training image that validates."""

    name: str
    source: Path
    read: Callable[[], tuple[Image, Array]]


def validation_images(config: Config, reader: Reader, notify: Notify) -> list[Held]:
    """What the training validated on, read as test images are.

    Raises
    ------
    UserError
        For folders that are gone or do not pair up.
    """
    for key in validation_keys(config):
        folder = Path(str(config.dotted()[key]))
        if not folder.exists():
            raise UserError(
                f"{key}: the run validated on images in {folder}, which is not there any more",
                "put them back, or a link to them: thresholds are searched on these images",
            )
    cut = False
    if config.DATA.VAL.FROM_TRAIN:
        pairs = find_pairs(config, "TRAIN", notify)
        parts = split_pairs(config, pairs)
        cut, pairs = parts is None, pairs if parts is None else parts[1]
    else:
        pairs, _ = validation_pairs(config, notify)
    return [_held(pair, reader, config if cut else None) for pair in pairs]


def _held(pair: Pair, reader: Reader, cut: Config | None) -> Held:
    if pair.label is None:
        raise UserError(f"{pair.image}: has no label image")
    label = pair.label

    def read() -> tuple[Image, Array]:
        image = reader.image(pair.image, pair.arrays)
        labels = reader.labels(label, pair.label_arrays)
        if cut is None:
            return image, labels[..., 0]
        sample = Sample(pair.name, image.array, labels)
        data = cut.DATA
        reflect = data.REFLECT_TO_COMPLETE_SHAPE
        (part,) = hold_out([sample], data.VAL.SPLIT_TRAIN, cut.patch, None, reflect=reflect)[1]
        held = part.opened()
        array = np.ascontiguousarray(held.image)
        return replace(image, array=array), np.ascontiguousarray(held.labels[..., 0])

    return Held(pair.name, pair.image, read)


def stored_examples(
    run: Run, device: torch.device, notify: Notify
) -> tuple[list[Example], PostSettings]:
    """Validation images with their maps: those of before where they are current, else predicted.

    Parameters
    ----------
    run : Run
    device : torch.device
        Where to predict.
    notify : callable

    Returns
    -------
    examples : list of Example
    post : PostSettings
        Steps besides decoding.
    """
    config = run.config
    known = run.checkpoint.description.get("reference")
    reader = reader_for(config, "TEST", Reference.from_dict(known) if known else None)
    held = validation_images(config, reader, notify)
    maps = StoredMaps(config, run.tree, run.checkpoint.fingerprint, run.tree.tuning / "maps")
    # Masks belong to test images.
    post = replace(post_settings(config), masks=None, measure=False)
    shapes = _predict_missing(run, held, maps, device, notify)
    sizes = from_config.spacing(config, "TEST")

    def example(one: Held) -> Example:
        image = shapes[one.name]

        def read() -> tuple[Mapping[str, Array], Array]:
            full, truth = one.read()
            return filter_maps(maps.read(one.name, "per_image", full), post, None), truth

        return Example(
            one.name, image.spatial_shape, read, spacing=sizes, sizes=sizes or image.spacing
        )

    return [example(one) for one in held], post


def _predict_missing(
    run: Run, held: Sequence[Held], maps: StoredMaps, device: torch.device, notify: Notify
) -> dict[str, Image]:
    """See that every image has current maps; gives the geometry of each."""
    network = None
    found: dict[str, Image] = {}
    predicted = 0
    for one in held:
        image, _ = one.read()
        # A part of an image is known by its shape: it always lies at the end.
        found[one.name] = replace(image, array=np.empty((*image.spatial_shape, 0), np.uint8))
        if maps.state(one.name, "per_image", one.source) == "current" and _fits(maps, one, image):
            continue
        if network is None:
            network = predictor_from(run.config, run.checkpoint, device, notify)
            notify(
                f"predicting {counted(len(held), 'validation image')} with {run.checkpoint.path}"
            )
        predictor, normalizer = network
        settings = from_config.predict_settings(run.config, image.spatial_shape)
        made = predictor.predict(image.array, normalizer.scaling(image.array), settings)
        maps.write(one.name, "per_image", dict(made), image, one.source)
        predicted += 1
        notify(f"[{len(found)}/{len(held)}] {one.name}")
    if predicted < len(held):
        notify(f"{len(held) - predicted} of {len(held)} predictions of before are used")
    return found


def _fits(maps: StoredMaps, one: Held, image: Image) -> bool:
    try:
        maps.read(one.name, "per_image", image)
    except UserError:
        return False
    return True
