"""The validation images of a finished run with their predicted maps, stored next to its results.

With few validation objects, training images are added.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from singula.arguments import function
from singula.config import Config, config_from_dict
from singula.data.preprocess import Reference
from singula.data.samples import Sample
from singula.errors import UserError
from singula.io.image import Image
from singula.io.pairs import Pair
from singula.io.results import ResultsTree
from singula.paths import user_path
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
_ENOUGH_OBJECTS = 100  # validation objects with which training images are not needed
_MAX_TRAINING = 20  # training images at most
_VARIANCE = 0.25  # largest variance of the score of one object
_BIAS = 0.1  # usual excess of the scores of training images


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


def find_run(folder: Path | str, notify: Notify = lambda line: None) -> Run:
    """Configuration and checkpoint of a finished run.

    Parameters
    ----------
    folder : Path or str
    notify : callable
        Takes each line that the user should know.

    Raises
    ------
    TypeError, UserError
        Wrong arguments; the folder is not that of a finished run, or its checkpoint is missing.
    """
    notify = function(notify, "notify")
    files = open_run(user_path(folder, "folder"), notify)
    config = config_from_dict(files.summary.configuration, source=str(files.tree.run_json))
    started = files.summary.job.started_in
    config = _found_folders(config, [Path(started)] if started else [])
    path = find_checkpoint(config, files.tree)
    checkpoint = with_statistics(config, load_checkpoint(path, notify), lambda line: None)
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


def image_keys(config: Config) -> tuple[str, ...]:
    """Return the keys of all folders that are read: training images can count too."""
    return (*_TRAIN, *(key for key in validation_keys(config) if key not in _TRAIN))


@dataclass(frozen=True)
class Held:
    """Image, or part of an image, with known objects.

    Parameters
    ----------
    name : str
        Name of the stored maps.
    source : Path
    read : callable
        Returns the image and its labels.
    training : bool
        The network was trained on it.
    """

    name: str
    source: Path
    read: Callable[[], tuple[Image, Array]]
    training: bool = False


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


def training_images(config: Config, reader: Reader, notify: Notify) -> list[Held]:
    """Return the images that the network was trained on, without validation images.

    If a folder does not exist any more, return none, with a notice.
    """
    for key in _TRAIN:
        if not Path(str(config.dotted()[key])).exists():
            notify(f"{key}: the folder does not exist any more; training images do not count")
            return []
    pairs, cut = find_pairs(config, "TRAIN", notify), None
    if config.DATA.VAL.FROM_TRAIN:
        parts = split_pairs(config, pairs)
        pairs, cut = (pairs, config) if parts is None else (parts[0], None)
    chosen = np.unique(np.linspace(0, len(pairs) - 1, min(len(pairs), _MAX_TRAINING)).astype(int))
    return [_held(pairs[number], reader, cut, training=True) for number in chosen]


def training_weight(validation: int, training: int) -> float:
    """Return the weight of the training images in the objective for thresholds.

    Parameters
    ----------
    validation, training : int
        Number of objects in the validation images and in the training images.

    Notes
    -----
    Both scores are weighted by the inverse of their expected squared error. For the validation
    images it is their variance, which falls with the number of objects. Scores of training images
    are also too high, by a bias that does not depend on the number of objects.

    Examples
    --------
    >>> round(training_weight(5, 50), 2), round(training_weight(50, 50), 2)
    (0.77, 0.25)
    """
    if not training:
        return 0.0
    of_validation = max(validation, 1) / _VARIANCE
    of_training = 1 / (_BIAS**2 + _VARIANCE / training)
    return of_training / (of_training + of_validation)


def _count_objects(image: Held) -> int:
    labels = image.read()[1]
    return int(np.count_nonzero(np.unique(labels)))


def _add_training(
    config: Config, reader: Reader, held: Sequence[Held], notify: Notify
) -> tuple[list[Held], float]:
    """Add training images if validation objects are few; return all images and the added weight."""
    validation = 0
    for image in held:
        validation += _count_objects(image)
        if validation >= _ENOUGH_OBJECTS:
            return list(held), 0.0
    added: list[Held] = []
    objects = 0
    for image in training_images(config, reader, notify):
        if objects >= _ENOUGH_OBJECTS:
            break
        added.append(image)
        objects += _count_objects(image)
    share = training_weight(validation, objects)
    if added and share:
        notify(
            f"the validation images have only {counted(validation, 'object')}: "
            f"{counted(objects, 'object')} of {counted(len(added), 'training image')} count too, "
            f"with {share:.0%} of the weight"
        )
        return [*held, *added], share
    return list(held), 0.0


def _held(pair: Pair, reader: Reader, cut: Config | None, *, training: bool = False) -> Held:
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
        parts = hold_out([sample], data.VAL.SPLIT_TRAIN, cut.patch, None, reflect=reflect)
        held = parts[0 if training else 1][0].opened()
        array = np.ascontiguousarray(held.image)
        return replace(image, array=array), np.ascontiguousarray(held.labels[..., 0])

    name = f"{pair.name}_training" if training else pair.name
    return Held(name, pair.image, read, training)


def stored_examples(
    run: Run, device: torch.device, notify: Notify
) -> tuple[list[Example], PostSettings]:
    """Return validation images with their maps: stored ones where they are current, else new.

    If the validation images have fewer than 100 objects, training images are added, with the
    weight that `training_weight` gives them together.

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
    held, share = _add_training(config, reader, validation_images(config, reader, notify), notify)
    weights = {
        training: part / max(1, sum(image.training is training for image in held))
        for training, part in ((True, share), (False, 1 - share))
    }
    maps = StoredMaps(
        config, run.tree, run.checkpoint.fingerprint, run.tree.tuning / "maps", notify
    )
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
            one.name,
            image.spatial_shape,
            read,
            spacing=sizes,
            sizes=sizes or image.spacing,
            weight=weights[one.training],
            training=one.training,
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
            notify(f"predicting {counted(len(held), 'image')} with {run.checkpoint.path}")
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
