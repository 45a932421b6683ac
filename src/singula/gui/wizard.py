"""From a few answers to a filled form: folders, what to find, classes, names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from singula.errors import UserError
from singula.gui.form import Form
from singula.gui.guard import Guard
from singula.gui.pictures import thumbnail
from singula.inspection import Inspection, InspectSettings, inspect_dataset
from singula.io.read import read_image, read_labels
from singula.propose import Choice, Proposal, propose, write_proposal
from singula.survey import Folders, find_folders, survey_dataset
from singula.words import counted

AUTO = "auto"
FIND = {
    AUTO: "Let the data decide (recommended)",
    "BC": "Cells, nuclei or other objects, apart or touching",
    "BCD": "Crowded round objects: also learn how deep a pixel lies inside",
    "BCM": "Objects whose outline is faint: also learn the whole mask",
    "BP": "Objects that are hardly more than a point",
    "BCDv2": "Objects of very different size",
}
"""What to find, by the channels that the network learns for it."""
_CHANNELS = "PROBLEM.INSTANCE_SEG.DATA_CHANNELS"
_WEIGHTS = "PROBLEM.INSTANCE_SEG.DATA_CHANNEL_WEIGHTS"
_EXAMPLES = {2: ((12, 2, 4), (256, 256), None), 3: ((4, 1, 2), (24, 96, 96), (2.0, 1.0, 1.0))}


@dataclass(frozen=True)
class Answers:
    """What the wizard has learned so far.

    Parameters
    ----------
    ndim : {2, 3}, optional
        None: as the files are.
    find : str
        A key of `FIND`.
    parts : tuple of Folders
        Training data first.
    classes : int
        Kinds of objects, 1 without any distinction.
    minutes : float
        What the training may take.
    output : Path
        The configuration to be written.
    result_dir : Path
        Where runs go.
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
    """One image of a part, small.

    Parameters
    ----------
    name : str
    png : bytes, optional
        None where it cannot be read.
    words : str
        Its size, or what is wrong.
    """

    name: str
    png: bytes | None
    words: str


def recognise(guard: Guard, dataset: str) -> tuple[list[Folders], list[str]]:
    """Find images and labels in the folder of a data set.

    Raises
    ------
    UserError
        It lies outside, or its layout is not known.
    """
    if not dataset.strip():
        raise UserError("no folder is chosen", "choose the folder that holds your images")
    parts, notes = find_folders(guard.check(dataset))
    for part in parts:
        _check_part(guard, part)
    return parts, notes


def parts_of(guard: Guard, entered: Sequence[tuple[str, str, str]]) -> list[Folders]:
    """Folders that were entered one by one: name of the part, images, labels.

    Raises
    ------
    UserError
        One lies outside or is no folder; training images or labels are missing.
    """
    parts = []
    for name, images, labels in entered:
        if not images.strip():
            continue
        part = Folders(name, guard.check(images), guard.check(labels) if labels.strip() else None)
        _check_part(guard, part)
        parts.append(part)
    if not parts or parts[0].name != "train" or parts[0].labels is None:
        raise UserError("folders of training images and of their labels are needed", "choose both")
    return parts


def _check_part(guard: Guard, part: Folders) -> None:
    for folder in (part.images, part.labels):
        if folder is None:
            continue
        guard.check(folder)
        if not folder.is_dir():
            raise UserError(f"{folder}: is no folder", "choose another one")
    for pair in part.pairs():
        for path in (pair.image, pair.label):
            if path is not None:
                guard.check(path)


def samples(part: Folders, ndim: int | None, most: int = 4) -> list[Sample]:
    """Some images of a part with their objects outlined, spread over the folder."""
    pairs = part.pairs()
    places = sorted({int(i) for i in np.linspace(0, len(pairs) - 1, most)}) if pairs else []
    found = []
    for place in places:
        pair = pairs[place]
        for axes in (ndim,) if ndim else (2, 3):
            try:
                image = read_image(pair.image, axes).array
                labels = None
                if pair.label is not None:
                    labels = read_labels(pair.label, axes, arrays=pair.label_arrays).array[..., 0]
                    labels = labels if labels.shape == image.shape[:-1] else None
            except UserError as error:
                sample = Sample(pair.name, None, error.message)
                continue
            size = " × ".join(map(str, image.shape[:-1]))
            there = 0 if labels is None else len(np.unique(labels[labels > 0]))
            objects = "" if labels is None else f", {counted(there, 'object')}"
            sample = Sample(pair.name, thumbnail(image, labels), size + objects)
            break
        found.append(sample)
    return found


def inspect(
    parts: Sequence[Folders], ndim: int | None, notify: Callable[[str], None] | None = None
) -> Inspection:
    """What `singula check` finds in these folders."""
    return inspect_dataset(parts, InspectSettings(ndim=ndim), notify=notify)


def draft(answers: Answers, guard: Guard) -> tuple[Form, Proposal, list[str]]:
    """Fill the form as `singula init` would, then as was answered.

    Returns
    -------
    form : Form
    proposal : Proposal
        With the reason for each value.
    notes : list of str
        What was written beside the configuration.

    Raises
    ------
    UserError
        The folders or what is in them; a configuration of that name exists.
    """
    output = guard.check(answers.output)
    guard.check(answers.result_dir)
    guard.check_below([output.with_name(f"{output.stem}_{end}") for end in ("data", "channels")])
    if output.suffix.lower() not in (".yaml", ".yml"):
        raise UserError(f"{output.name}: is no YAML file's name", f"name it {output.name}.yaml")
    if output.exists():
        raise UserError(f"{answers.output}: exists already", "choose another name")
    if answers.find not in FIND:
        raise UserError(f"{answers.find!r} cannot be found; known are {', '.join(FIND)}")
    parts = [part for part in answers.parts if part.labels is not None or part.name == "test"]
    if not parts:
        raise UserError("no folders are chosen", "choose the folder that holds your images")
    from singula.stages.timing import measure_proposal

    # The name of a data set is only for messages where its parts are known.
    survey = survey_dataset(parts[0].images.parent, folders=parts, ndim=answers.ndim, max_files=24)
    notes: list[str] = []
    channels = None if answers.find == AUTO else Choice(_CHANNELS, answers.find, FIND[answers.find])
    if any(part.flat for part in survey.parts):
        proposal, notes = write_proposal(
            survey, output, minutes=answers.minutes, channels=channels, measure=measure_proposal
        )
    else:
        stored = output.with_name(f"{output.stem}_channels")
        proposal = propose(
            survey,
            minutes=answers.minutes,
            stored=stored,
            channels=channels,
            measure=measure_proposal,
        )
    form = Form(
        {choice.key: choice.value for choice in proposal.choices},
        {choice.key: choice.comment for choice in proposal.choices if choice.comment},
        ["Written by `singula gui` after a look at the data:", *_summary(proposal)],
    )
    _answered(form, answers)
    return form, proposal, notes


def _summary(proposal: Proposal) -> list[str]:
    return [f"  {line}" for line in proposal.summary.splitlines()]


def _answered(form: Form, answers: Answers) -> None:
    """Put what the user said in the place of what the data say."""
    proposed = int(form.values.get("MODEL.N_CLASSES", 2))
    wanted = answers.classes + 1 if answers.classes > 1 else 2
    if wanted != proposed:
        form.set("MODEL.N_CLASSES", str(wanted))
        form.reset(_WEIGHTS)


def make_example(guard: Guard, ndim: int) -> Path:
    """Write synthetic nuclei to practise with; gives the new folder.

    Raises
    ------
    UserError
        The folder is there already.
    """
    from singula.demo import make_dataset

    folder = guard.check(f"example_{ndim}d")
    if folder.exists():
        raise UserError(f"{folder.name}: is there already", "choose it as your data")
    (train, val, test), shape, spacing = _EXAMPLES[ndim]
    make_dataset(
        folder,
        ndim,
        np.random.default_rng(7),
        n_train=train,
        n_val=val,
        n_test=test,
        shape=shape,
        spacing=spacing,
    )
    return folder
