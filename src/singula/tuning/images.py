"""Images with ground truth of a finished run: for validation, and for training."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.config import Config
from singula.data.samples import Sample
from singula.errors import UserError
from singula.io.image import Image
from singula.io.pairing import Pair
from singula.pipeline.load_data import find_pairs, validation_pairs
from singula.pipeline.readers import Reader
from singula.pipeline.split import hold_out, split_pairs
from singula.util.boxes import evenly_spaced

_log = logging.getLogger(__name__)
Array = npt.NDArray[Any]
_TRAIN = ("DATA.TRAIN.PATH", "DATA.TRAIN.GT_PATH")
_VAL = ("DATA.VAL.PATH", "DATA.VAL.GT_PATH")
_MASKS = ("DATA.TRAIN.IGNORE_PATH", "DATA.VAL.IGNORE_PATH")
FOLDER_KEYS = (*_TRAIN, *_VAL, *_MASKS)
"""Keys of all folders with images, labels and masks for training and validation."""
MAX_TRAINING = 20
"""Maximum number of training images."""


def validation_keys(config: Config) -> tuple[str, str]:
    """Return the keys of the folders with the validation images and labels."""
    return _TRAIN if config.DATA.VAL.FROM_TRAIN else _VAL


def image_keys(config: Config) -> tuple[str, ...]:
    """Return the keys of all folders that a tuning may read; no masks if a value is empty."""
    return (*_TRAIN, _MASKS[0]) if config.DATA.VAL.FROM_TRAIN else FOLDER_KEYS


@dataclass(frozen=True)
class LabeledImage:
    """Image, or part of an image, with ground truth.

    Parameters
    ----------
    name : str
        Name of the stored maps.
    source : Path
        File of the image.
    read : callable
        Function that returns the image and its labels.
    training : bool
        The network was trained on it.
    """

    name: str
    source: Path
    read: Callable[[], tuple[Image, Array]]
    training: bool = False


def validation_images(config: Config, reader: Reader) -> list[LabeledImage]:
    """Return the validation images of a training, to be read like test images.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    reader : Reader
        Reader of test images.

    Raises
    ------
    UserError
        ``tuning.images_missing``: a folder does not exist; or images lack labels.
    """
    pairs, cut = validation_part(config)
    return [labeled_image(pair, reader, cut) for pair in pairs]


def validation_part(config: Config) -> tuple[list[Pair], Config | None]:
    """Return the files of the validation images of a training.

    Parameters
    ----------
    config : Config
        Configuration of the run.

    Returns
    -------
    pairs : list of Pair
        Images with labels.
    cut : Config, optional
        The configuration, if only a part of each image is used for validation.

    Raises
    ------
    UserError
        ``tuning.images_missing``: a folder does not exist.
    """
    for key in validation_keys(config):
        folder = Path(str(config.dotted()[key]))
        if not folder.exists():
            raise UserError(
                f"{key}: {folder} does not exist, expected the validation images of the run",
                "restore the folder, or create a link to it: thresholds are tuned on these images",
                "tuning.images_missing",
            )
    if not config.DATA.VAL.FROM_TRAIN:
        return validation_pairs(config)[0], None
    pairs = find_pairs(config, "TRAIN")
    parts = split_pairs(config, pairs)
    return (pairs, config) if parts is None else (parts[1], None)


def training_images(config: Config, reader: Reader) -> list[LabeledImage]:
    """Return up to 20 images that the network was trained on, without validation images.

    If a folder does not exist, return no images, with a notice.

    Parameters
    ----------
    config, reader
        As for `validation_images`.
    """
    pairs, cut = training_part(config)
    selected = [pairs[number] for number in evenly_spaced(len(pairs), MAX_TRAINING)]
    return [labeled_image(pair, reader, cut, training=True) for pair in selected]


def training_part(config: Config) -> tuple[list[Pair], Config | None]:
    """Return the files of the images that the network was trained on.

    Parameters
    ----------
    config : Config
        Configuration of the run.

    Returns
    -------
    pairs : list of Pair
        Images with labels; empty, with a notice, if a folder does not exist.
    cut : Config, optional
        The configuration, if a part of each image is used for validation.
    """
    for key in _TRAIN:
        if not Path(str(config.dotted()[key])).exists():
            _log.warning(f"{key}: the folder does not exist; training images are not used")
            return [], None
    pairs = find_pairs(config, "TRAIN")
    if not config.DATA.VAL.FROM_TRAIN:
        return pairs, None
    parts = split_pairs(config, pairs)
    return (pairs, config) if parts is None else (parts[0], None)


def labeled_image(
    pair: Pair, reader: Reader, cut: Config | None, *, training: bool = False
) -> LabeledImage:
    """Return an image with ground truth, which is read when it is needed.

    Parameters
    ----------
    pair : Pair
        Files of the image.
    reader : Reader
        Reader of test images.
    cut : Config, optional
        Configuration by which the image is divided; None for the whole image.
    training : bool
        The network was trained on the image or, with `cut`, on this part.

    Raises
    ------
    UserError
        ``tuning.label_missing``: the image has no label image.
    """
    if pair.label is None:
        raise UserError(
            f"{pair.image}: has no label image", "add the label image", "tuning.label_missing"
        )

    def read() -> tuple[Image, Array]:
        image = reader.image(pair.image, pair.arrays)
        labels = reader.labels(pair)
        if cut is None:
            return image, labels[..., 0]
        sample = Sample(pair.name, image.array, labels)
        data = cut.DATA
        reflect = data.REFLECT_TO_COMPLETE_SHAPE
        parts = hold_out([sample], data.VAL.SPLIT_TRAIN, cut.patch, None, reflect=reflect)
        part = parts[0 if training else 1][0].opened()
        array = np.ascontiguousarray(part.image)
        return replace(image, array=array), np.ascontiguousarray(part.labels[..., 0])

    name = f"{pair.name}_training" if training else pair.name
    return LabeledImage(name, pair.image, read, training)
