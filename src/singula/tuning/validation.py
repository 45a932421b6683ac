"""Validation images of a finished run, with their stored predicted maps.

Training images are added if the validation images have few objects.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from singula.config import Config
from singula.data.preprocess import Reference
from singula.errors import UserError
from singula.io.image import Image
from singula.io.run_folder import ResultsTree
from singula.pipeline import from_config
from singula.pipeline.checkpoints import find_checkpoint, predictor_from
from singula.pipeline.map_cache import StoredMaps
from singula.pipeline.normalization import with_statistics
from singula.pipeline.postprocess import PostSettings, filter_maps, post_settings
from singula.pipeline.predict_image import predict_maps
from singula.pipeline.readers import reader_for
from singula.runs.run import open_run
from singula.training.checkpoint import Checkpoint, load_checkpoint
from singula.tuning.images import (
    FOLDER_KEYS,
    LabeledImage,
    training_images,
    validation_images,
)
from singula.tuning.trial import Example
from singula.util.format import counted
from singula.util.messages import captured_messages
from singula.util.paths import user_path

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)
Array = npt.NDArray[Any]
_ENOUGH_OBJECTS = 100  # validation objects for which training images are not needed
_VARIANCE = 0.25  # maximum variance of the score of an object
_BIAS = 0.1  # typical excess of the scores of training images


@dataclass(frozen=True)
class Run:
    """Finished run with its weights.

    Parameters
    ----------
    tree : ResultsTree
        Folders and files of the run.
    config : Config
        Configuration of the run.
    checkpoint : Checkpoint
        Weights of the run.
    """

    tree: ResultsTree
    config: Config
    checkpoint: Checkpoint


def find_run(folder: Path | str) -> Run:
    """Read the configuration and the checkpoint of a finished run.

    Parameters
    ----------
    folder : Path or str
        Folder of the run, such as ``results/cells/results/cells_1``.

    Raises
    ------
    TypeError, UserError
        An argument is wrong; the folder is not the folder of a finished run; or the checkpoint is
        missing.
    """
    opened = open_run(user_path(folder, "folder"))
    started = opened.summary.job.started_in
    config = _resolve_folders(opened.valid_config(), [Path(started)] if started else [])
    path = find_checkpoint(config, opened.tree)
    checkpoint = load_checkpoint(path, report=True)
    with captured_messages():
        checkpoint = with_statistics(config, checkpoint)
    return Run(opened.tree, config, checkpoint)


def _resolve_folders(config: Config, bases: Sequence[Path]) -> Config:
    """Resolve missing relative folders of images against the folders in which the run started."""
    values, moved = config.dotted(), dict[str, str]()
    for key in FOLDER_KEYS:
        path = Path(values[key])
        if values[key] and not path.is_absolute() and not path.exists():
            existing = [base / path for base in bases if (base / path).exists()]
            if existing:
                moved[key] = str(existing[0])
    return config.replaced(moved) if moved else config


def training_weight(validation: int, training: int) -> float:
    """Return the weight of the training images in the objective of the search.

    Parameters
    ----------
    validation, training : int
        Number of objects in the validation images and in the training images.

    Notes
    -----
    Both scores are weighted by the inverse of their expected squared error. The error of the
    validation score is its variance, which decreases with the number of objects. The training score
    also has a bias, which does not depend on the number of objects.

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


def _count_objects(image: LabeledImage) -> int | None:
    """Return the number of objects of an image; None if no pixel is annotated."""
    ids = np.unique(image.read()[1])
    return int(np.count_nonzero(ids > 0)) if (ids >= 0).any() else None


def add_training(
    images: Sequence[LabeledImage], candidates: Callable[[], Sequence[LabeledImage]]
) -> tuple[list[LabeledImage], float]:
    """Leave out images without annotated pixels, and add training images if objects are few.

    Parameters
    ----------
    images : sequence of LabeledImage
        Validation images.
    candidates : callable
        Function that returns training images.

    Returns
    -------
    images : list of LabeledImage
        All images.
    weight : float
        Total weight of the added images.

    Raises
    ------
    UserError
        ``tuning.not_annotated``: no validation image has annotated pixels.
    """
    images, validation = _annotated(images)
    if validation >= _ENOUGH_OBJECTS:
        return images, 0.0
    added: list[LabeledImage] = []
    objects = 0
    for image in candidates():
        if objects >= _ENOUGH_OBJECTS:
            break
        count = _count_objects(image)
        if count is not None:
            added.append(image)
            objects += count
    weight = training_weight(validation, objects)
    if added and weight:
        _log.warning(
            f"the validation images have only {counted(validation, 'object')}: "
            f"{counted(objects, 'object')} of {counted(len(added), 'training image')} are used "
            f"too, with {weight:.0%} of the weight"
        )
        return [*images, *added], weight
    return images, 0.0


def _annotated(images: Sequence[LabeledImage]) -> tuple[list[LabeledImage], int]:
    """Return the validation images with annotated pixels, and the number of their objects."""
    counts = [_count_objects(image) for image in images]
    annotated = [image for image, n in zip(images, counts, strict=True) if n is not None]
    if images and not annotated:
        raise UserError(
            f"no pixel of {counted(len(images), 'validation image')} is annotated, expected labels "
            "other than -1",
            "annotate objects in a validation image",
            "tuning.not_annotated",
        )
    if len(annotated) < len(images):
        _log.warning(
            f"{counted(len(images) - len(annotated), 'validation image')} without annotated pixels "
            "are not used"
        )
    return annotated, sum(n for n in counts if n is not None)


def image_weights(images: Sequence[LabeledImage], added: float) -> dict[bool, float]:
    """Return the weight of a validation image (False) and of a training image (True).

    Parameters
    ----------
    images : sequence of LabeledImage
        All images.
    added : float
        Total weight of the training images.
    """
    return {
        training: total / max(1, sum(image.training is training for image in images))
        for training, total in ((True, added), (False, 1 - added))
    }


def stored_examples(run: Run, device: torch.device) -> tuple[list[Example], PostSettings]:
    """Return the validation images of a run with their maps, and predict missing or outdated maps.

    If the validation images have fewer than 100 objects, training images are added with the total
    weight `training_weight`.

    Parameters
    ----------
    run : Run
        Finished run.
    device : torch.device
        Device for prediction.

    Returns
    -------
    examples : list of Example
        Images with maps and ground truth.
    post : PostSettings
        Steps other than decoding.
    """
    config = run.config
    stored = run.checkpoint.description.get("reference")
    reader = reader_for(config, "TEST", Reference.from_dict(stored) if stored else None)
    validation = validation_images(config, reader)
    images, added_weight = add_training(validation, lambda: training_images(config, reader))
    weights = image_weights(images, added_weight)
    maps = StoredMaps(config, run.tree, run.checkpoint.fingerprint, run.tree.tuning / "maps")
    # The configured masks are masks of test images.
    post = replace(post_settings(config), masks=None, measure=False)
    shapes = predict_missing(run, images, maps, device)
    sizes = from_config.spacing(config, "TEST")

    def example(labeled: LabeledImage) -> Example:
        image = shapes[labeled.name]

        def read() -> tuple[Mapping[str, Array], Array]:
            full, truth = labeled.read()
            return filter_maps(maps.read(labeled.name, "per_image", full), post, None), truth

        return Example(
            labeled.name,
            image.spatial_shape,
            read,
            spacing=from_config.decoding_spacing(config, sizes),
            sizes=sizes or image.spacing,
            weight=weights[labeled.training],
            training=labeled.training,
        )

    return [example(labeled) for labeled in images], post


def predict_missing(
    run: Run,
    images: Sequence[LabeledImage],
    maps: StoredMaps,
    device: torch.device,
) -> dict[str, Image]:
    """Predict missing or outdated maps, and return the images without pixels, by name."""
    network = None
    empty: dict[str, Image] = {}
    predicted = 0
    for labeled in images:
        image, _ = labeled.read()
        # The shape identifies a part of an image, because the part is always at the end.
        name = labeled.name
        empty[name] = replace(image, array=np.empty((*image.spatial_shape, 0), np.uint8))
        is_current = maps.state(name, "per_image", labeled.source) == "current"
        if is_current and _matches(maps, name, image):
            continue
        if network is None:
            network = predictor_from(run.config, run.checkpoint, device)
            _log.info(f"predicting {counted(len(images), 'image')} with {run.checkpoint.path}")
        prediction = predict_maps(run.config, *network, image.array)
        maps.write(name, "per_image", prediction, image, labeled.source)
        predicted += 1
        _log.info(f"[{len(empty)}/{len(images)}] {name}")
    if predicted < len(images):
        _log.info(
            f"using the stored predictions of {len(images) - predicted} of {len(images)} images"
        )
    return empty


def _matches(maps: StoredMaps, name: str, image: Image) -> bool:
    try:
        maps.read(name, "per_image", image)
    except UserError:
        return False
    return True
