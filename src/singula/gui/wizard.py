"""Wizard: fill the form from a few answers about data, objects, classes and file names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from singula.autoconfig import Proposal
from singula.autoconfig.answers import OBJECTS, propose_answered
from singula.dataset.facts import Folders, find_folders
from singula.errors import UserError
from singula.gui.form import Form, check_target
from singula.gui.guard import Guard
from singula.gui.tiles import thumbnail
from singula.io.pairing import Pair
from singula.io.read import read_image, read_labels
from singula.util.format import counted, shape_text
from singula.util.sparse_labels import without_unannotated

AUTO = "auto"
FIND = {AUTO: "Decide from my labels (recommended)"} | {
    channels: f"{kind[0].upper()}{kind[1:]}, {example}"
    for channels, (kind, example) in OBJECTS.items()
}
"""Kinds of objects, by the channels that the network learns for them."""


@dataclass(frozen=True)
class Answers:
    """Answers to the questions of the wizard.

    Parameters
    ----------
    ndim : {2, 3}, optional
        Number of spatial dimensions; by default, that of the files.
    find : str
        Key in `FIND`.
    parts : tuple of Folders
        Folders of the data set, training data first.
    classes : int
        Number of classes of objects; 1 without classes.
    minutes : float
        Time limit of the training.
    output : Path
        Configuration file to write.
    result_dir : Path
        Folder for results.
    """

    ndim: int | None = None
    find: str = AUTO
    parts: tuple[Folders, ...] = ()
    classes: int = 1
    minutes: float = 30.0
    output: Path = Path("config.yaml")
    result_dir: Path = Path("results")


@dataclass(frozen=True)
class Sample:
    """Small picture of an image.

    Parameters
    ----------
    name : str
        Name of the image.
    png : bytes, optional
        Picture; None if the image cannot be read.
    caption : str
        Size of the image and number of objects, or the error.
    """

    name: str
    png: bytes | None
    caption: str


def recognize(guard: Guard, dataset: str) -> tuple[list[Folders], list[str]]:
    """Find images and labels in the folder of a data set.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    dataset : str
        Entered path of the folder.

    Returns
    -------
    parts : list of Folders
        Training, validation and test data.
    notes : list of str
        Notices about the layout.

    Raises
    ------
    UserError
        ``gui.no_folder``: the path is empty.
        ``gui.outside``: the folder, or a link in it, leads outside of the roots.
        The layout is not supported.
    """
    if not dataset.strip():
        raise UserError(
            "no folder is chosen", "choose the folder with your images", "gui.no_folder"
        )
    parts, notes = find_folders(guard.check(dataset))
    for part in parts:
        _check_part(guard, part)
    return parts, notes


def parts_from_fields(guard: Guard, entered: Sequence[tuple[str, str, str]]) -> list[Folders]:
    """Return the parts of a data set whose folders were entered separately.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    entered : sequence of (str, str, str)
        Name of the part, folder of images, and folder of labels; empty if not entered.

    Raises
    ------
    UserError
        ``gui.outside``: a folder is outside of the roots.
        ``gui.not_a_folder``: a path is not a folder.
        ``gui.no_training_data``: training images or labels are missing.
    """
    parts = []
    for name, images, labels in entered:
        if not images.strip():
            continue
        part = Folders(name, guard.check(images), guard.check(labels) if labels.strip() else None)
        _check_part(guard, part)
        parts.append(part)
    if not parts or parts[0].name != "train" or parts[0].labels is None:
        raise UserError(
            "training images and labels: one or both folders are missing",
            "choose both folders",
            "gui.no_training_data",
        )
    return parts


def _check_part(guard: Guard, part: Folders) -> None:
    for folder in (part.images, part.labels):
        if folder is None:
            continue
        if not guard.check(folder).is_dir():
            raise UserError(
                f"{folder}: is not a folder", "choose another folder", "gui.not_a_folder"
            )
        guard.check_entries(folder)


def samples(pairs: Sequence[Pair], ndim: int | None, count: int = 4) -> list[Sample]:
    """Return pictures of some images, with their objects outlined.

    Parameters
    ----------
    pairs : sequence of Pair
        Images and labels.
    ndim : {2, 3}, optional
        Number of spatial dimensions; by default, that of each file.
    count : int
        Maximum number of images.
    """
    indices = sorted({int(i) for i in np.linspace(0, len(pairs) - 1, count)}) if pairs else []
    pictures = []
    for index in indices:
        pair = pairs[index]
        for axes in (ndim,) if ndim else (2, 3):
            try:
                image = read_image(pair.image, axes).array
                labels = None
                if pair.label is not None:
                    labels = read_labels(pair.label, axes, arrays=pair.label_arrays).array[..., 0]
                    labels = without_unannotated(labels)
                    labels = labels if labels.shape == image.shape[:-1] else None
            except UserError as error:
                files = (pair.image, pair.label or pair.image)
                reason = next(
                    (error.message.removeprefix(f"{path}: ") for path in files
                     if error.message.startswith(f"{path}: ")), error.message,
                )  # fmt: skip
                sample = Sample(pair.name, None, reason)
                continue
            size = shape_text(image.shape[:-1])
            n_objects = 0 if labels is None else len(np.unique(labels[labels > 0]))
            objects = "" if labels is None else f", {counted(n_objects, 'object')}"
            sample = Sample(pair.name, thumbnail(image, labels), size + objects)
            break
        pictures.append(sample)
    return pictures


def propose_form(answers: Answers, guard: Guard) -> tuple[Form, Proposal, list[str]]:
    """Fill the form like `singula init`, and apply the answers.

    Parameters
    ----------
    answers : Answers
        Answers to the questions of the wizard.
    guard : Guard
        Folders that the interface may open.

    Returns
    -------
    form : Form
        Form with the proposed values.
    proposal : Proposal
        Proposal with the reason for each value.
    notes : list of str
        Notices about other files that were written.

    Raises
    ------
    UserError
        The codes of `check_target`.
        ``gui.outside``: a path is outside of the roots.
        ``gui.no_folder``: there are no data.
        ``gui.unknown_objects``: the kind of objects is not in `FIND`.
        The images or labels are invalid.
    """
    output = guard.check(answers.output)
    guard.check(answers.result_dir)
    guard.check_below([output.with_name(f"{output.stem}_{end}") for end in ("data", "channels")])
    check_target(output)
    if answers.find not in FIND:
        raise UserError(
            f"what to find: got {answers.find!r}, expected one of {', '.join(FIND)}",
            "choose one of the kinds of objects",
            "gui.unknown_objects",
        )
    parts = [part for part in answers.parts if part.labels is not None or part.name == "test"]
    if not parts:
        raise UserError(
            "no folder is chosen", "choose the folder with your images", "gui.no_folder"
        )
    from singula.pipeline.timing import measure_proposal

    proposal, notes = propose_answered(
        parts,
        answers.ndim,
        channels=None if answers.find == AUTO else answers.find,
        classes=answers.classes,
        output=output,
        minutes=answers.minutes,
        measure=measure_proposal,
    )
    form = Form(
        {choice.key: choice.value for choice in proposal.choices},
        {choice.key: choice.comment for choice in proposal.choices if choice.comment},
        ["Written by `singula gui` from the properties of the data:", *_summary(proposal)],
    )
    return form, proposal, notes


def _summary(proposal: Proposal) -> list[str]:
    return [f"  {line}" for line in proposal.summary.splitlines()]


def make_example(guard: Guard, ndim: int) -> Path:
    """Write a data set of synthetic nuclei and return its folder.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open; the first one receives the data.
    ndim : {2, 3}
        Number of spatial dimensions.

    Raises
    ------
    UserError
        ``gui.folder_exists``: the folder exists.
    """
    from singula.synthetic.fluorescence import make_example_dataset

    folder = guard.check(f"example_{ndim}d")
    if folder.exists():
        raise UserError(
            f"{folder.name}: already exists", "choose this folder as your data", "gui.folder_exists"
        )
    make_example_dataset(folder, ndim)
    return folder
