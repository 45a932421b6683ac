"""Data set to fine-tune a model with corrections, and scores before and after."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from singula.autoconfig.write import check_output, link_file
from singula.errors import UserError
from singula.inference import load
from singula.io.atomic import make_folder
from singula.io.formats.table import suffix_of
from singula.io.pairing import Pair, pair_files
from singula.io.read import read_image, read_labels
from singula.io.record_files import read_record, write_record
from singula.io.records.review import BeforeRecord
from singula.metrics import match
from singula.metrics.summary import MEAN
from singula.runs.corrections import FOLDER
from singula.runs.images import find_folder
from singula.runs.run import Run, is_finished, open_run
from singula.util.boxes import evenly_spaced
from singula.util.format import counted
from singula.util.messages import captured_messages

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

    A quarter of the corrected images is for the test. The model is scored on them, so that its
    scores can be compared with those after the training.

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
    record = _score(model, test)  # before a file is written, as the model can be unsuitable
    further = training_pairs(model)
    for part, chosen in (("train", train), ("test", test)):
        for pair in chosen:
            _add(pair, data / part, pair.name, copy=True)
    for pair in further:
        _add(pair, data / "train", f"model_{pair.name}", copy=False)
    used = counted(len(train), "corrected image")
    _log.info(f"training: {used} and {counted(len(further), 'training image')} of the model")
    if record is not None:
        write_record(data / BEFORE, record)
        _log.info(
            f"test: {counted(len(test), 'corrected image')}, which {model} segments with F1 "
            f"{record.f1:.3f} at IoU {IOU:g} before the training"
        )
    else:
        _log.warning("no image is held out for a comparison: correct two images or more")
    return data


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


def _score(name: Path, pairs: Sequence[Pair]) -> BeforeRecord | None:
    """Return the mean F1 of a model; None without images, for which the model is loaded too."""
    with captured_messages():
        model = load(name)
    scores = []
    for pair in pairs:
        if pair.label is None:
            continue
        image = read_image(pair.image, model.ndim).array
        truth = read_labels(pair.label, model.ndim, bool(model.reader.n_classes)).array[..., 0]
        scores.append(match(truth, model.predict(image), IOU).f1)
    return BeforeRecord(model=str(name), images=len(scores), f1=fmean(scores)) if scores else None
