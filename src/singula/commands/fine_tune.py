"""Data set to fine-tune a model with corrections, and scores before and after."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy.typing as npt

from singula.autoconfig.write import check_output, link_file
from singula.config import Config, load_config
from singula.data.preprocess import Reference
from singula.errors import UserError
from singula.inference import Model, load
from singula.io.atomic import make_folder
from singula.io.formats.table import suffix_of
from singula.io.image import Image
from singula.io.pairing import Pair, pair_files
from singula.io.read import read_image, read_labels
from singula.io.record_files import read_record, write_record
from singula.io.records.review import BeforeRecord
from singula.metrics import match
from singula.metrics.summary import MEAN
from singula.pipeline.readers import reader_for
from singula.runs.corrections import FOLDER
from singula.runs.images import find_folder
from singula.runs.run import Run, is_finished, open_run
from singula.util.boxes import evenly_spaced
from singula.util.format import counted
from singula.util.messages import captured_messages

Array = npt.NDArray[Any]
_log = logging.getLogger(__name__)
BEFORE = "before.json"
"""File with the scores of the model, in the folder of the data set."""
IOU = 0.5
_HELD_OUT = 4  # one of this number of corrected images is held out


@dataclass(frozen=True)
class Comparison:
    """Scores of held-out corrections before and after fine-tuning.

    Parameters
    ----------
    model : str
        Name or path of the model.
    images : int
        Number of held-out images.
    before, after : float
        Mean F1 at IoU 0.5 of these images.
    """

    model: str
    images: int
    before: float
    after: float


def is_corrections(folder: Path) -> bool:
    """Return True if a folder contains corrected label images.

    Parameters
    ----------
    folder : Path
        Folder ``corrected`` next to predictions.
    """
    return folder.name == FOLDER and (folder / "review").is_dir()


def corrected_pairs(folder: Path) -> list[Pair]:
    """Return the corrected label images with their images.

    Parameters
    ----------
    folder : Path
        Folder ``corrected`` next to predictions.

    Raises
    ------
    UserError
        ``corrections.none``: no corrected label image has an image.
    """
    names = sorted(path.stem for path in (folder / "labels").glob("*.tif"))
    places = [(folder / "images" / f"{n}.tif", folder / "labels" / f"{n}.tif", n) for n in names]
    pairs = [Pair(*place) for place in places if place[0].is_file()]
    if not pairs:
        raise UserError(
            f"{folder}: contains no corrected label image with its image",
            "correct an image first, with `singula gui` or napari",
            "corrections.none",
        )
    return pairs


def held_out(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the corrected images that are not used for the training: a quarter, at least one.

    Parameters
    ----------
    pairs : sequence of Pair
        Corrected images. Of a single one, nothing is held out.
    """
    count = max(1, round(len(pairs) / _HELD_OUT)) if len(pairs) > 1 else 0
    return [pairs[number] for number in evenly_spaced(len(pairs), count)] if count else []


def training_pairs(model: Path) -> list[Pair]:
    """Return the training images of a model with their labels, if they are available.

    Parameters
    ----------
    model : Path
        Folder of a run; other models have no training images here.
    """
    if not is_finished(model):
        return []
    with captured_messages():
        run = open_run(model)
    keys = ("DATA.TRAIN.PATH", "DATA.TRAIN.GT_PATH")
    images, labels = (find_folder(run, key) for key in keys)
    train = run.config.DATA.TRAIN
    if images is None or labels is None or train.INPUT_ZARR_MULTIPLE_DATA:
        return []
    if train.IGNORE_PATH:
        # Without the masks, pixels that are not annotated would be background.
        _log.warning(f"the training images of {model} are left out: their labels have masks")
        return []
    try:
        return pair_files(images, labels, *keys, by_order=True)
    except UserError as error:
        _log.warning(f"the training images of {model} are left out: {error.message}")
        return []


def arrange_corrections(folder: Path, model: Path, output: Path) -> Path:
    """Write a data set of corrections and the training images of the model, and return its folder.

    A quarter of the corrected images is for the test.

    Parameters
    ----------
    folder : Path
        Folder ``corrected`` next to predictions.
    model : Path
        Folder of a run, a checkpoint, or the name of a built-in model.
    output : Path
        Configuration file to write later. The data set is in ``NAME_data`` next to it.

    Raises
    ------
    UserError
        ``corrections.none``; ``init.data_folder_exists``: the folder of the data set exists; the
        codes of `singula.autoconfig.write.check_output` and `singula.inference.load`.
    """
    data = check_output(output).with_name(f"{output.stem}_data")
    if data.exists():
        raise UserError(
            f"--output: the data set must be written to {data}, which already exists",
            "give another name with --output, or move this folder",
            "init.data_folder_exists",
        )
    pairs = corrected_pairs(folder)
    test = held_out(pairs)
    train = [pair for pair in pairs if pair not in test]
    _read_all(_load(model), test)  # before a file is written, as the model can be unsuitable
    further = training_pairs(model)
    for part, chosen in (("train", train), ("test", test)):
        for pair in chosen:
            _add(pair, data / part, pair.name, copy=True)
    for pair in further:
        _add(pair, data / "train", f"model_{pair.name}", copy=False)
    used = counted(len(train), "corrected image")
    _log.info(f"training: {used} and {counted(len(further), 'training image')} of the model")
    if not test:
        _log.warning("no image is held out for a comparison: correct two images or more")
    return data


def score_before(data: Path, model: Path, config: Path) -> BeforeRecord | None:
    """Score the model before the training on the test images of a data set, and write the result.

    The images are resampled as in the test after the training, so that both scores can be compared.

    Parameters
    ----------
    data : Path
        Folder that `arrange_corrections` wrote.
    model : Path
        Folder of a run, a checkpoint, or the name of a built-in model.
    config : Path
        Configuration of the training.

    Returns
    -------
    BeforeRecord or None
        None without test images, or if the model cannot segment them, after a warning.
    """
    folders = (data / "test" / "x", data / "test" / "y")
    if not folders[0].is_dir():
        return None
    pairs = pair_files(*folders, "DATA.TEST.PATH", "DATA.TEST.GT_PATH")
    with captured_messages():
        of_training = load_config(config)
    try:
        record = _score(model, pairs, of_training)
    except UserError as error:  # the configuration is complete without this score
        _log.warning(f"no score before the training: {error.message}")
        return None
    write_record(data / BEFORE, record)
    _log.info(
        f"test: {counted(len(pairs), 'corrected image')}, which {model} segments with F1 "
        f"{record.f1:.3f} at IoU {IOU:g} before the training"
    )
    return record


def compare_fine_tuning(
    run: Run, allows: Callable[[Path], bool] = lambda _: True
) -> Comparison | None:
    """Return the scores of a run that was fine-tuned with corrections; None for other runs.

    Parameters
    ----------
    run : Run
        Finished run.
    allows : callable
        Return True for files that may be read.
    """
    images = find_folder(run, "DATA.TEST.PATH")
    file = None if images is None else images.parent.parent / BEFORE
    if file is None or not allows(file) or not file.is_file() or not run.stages:
        return None
    after = run.scores.row(run.final_stage.key, MEAN, IOU).get("f1")
    try:
        before = read_record(file, BeforeRecord)
    except UserError:
        return None
    if after is None:
        return None
    return Comparison(before.model, before.images, before.f1, after)


def _add(pair: Pair, folder: Path, name: str, *, copy: bool) -> None:
    """Add an image and its labels, with a common name, to a part of a data set."""
    for source, place in ((pair.image, "x"), (pair.label, "y")):
        if source is None:
            continue
        target = make_folder(folder / place) / f"{name}{suffix_of(source)}"
        if copy:
            shutil.copyfile(source, target)
        else:
            link_file(source.resolve(), target)


def _load(name: Path) -> Model:
    with captured_messages():
        return load(name)


def _read_all(model: Model, pairs: Sequence[Pair]) -> list[tuple[Pair, Image, Array]]:
    """Return images and labels, read for a model."""
    return [
        (
            pair,
            read_image(pair.image, model.ndim),
            read_labels(pair.label, model.ndim, bool(model.reader.n_classes)).array[..., 0],
        )
        for pair in pairs
        if pair.label is not None
    ]


def _score(name: Path, pairs: Sequence[Pair], config: Config) -> BeforeRecord:
    """Return the mean F1 of a model on images that are resampled as configured."""
    model = _load(name)
    reader = reader_for(config, "TEST", Reference((), ()))
    scores = []
    for pair, image, truth in _read_all(model, pairs):
        factors = None
        if reader.common is not None:
            spacing = reader.spacing or image.spacing
            factors = reader.common.factors(pair.image, spacing, image.unit)
        scores.append(match(truth, model.predict(image.array, scale=factors), IOU).f1)
    return BeforeRecord(model=str(name), images=len(scores), f1=fmean(scores))
