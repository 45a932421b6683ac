"""Survey of a whole data set: find it, decide on its dimensions, look into its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from singula.arguments import flag, instance, integer, items, of_class
from singula.errors import UserError
from singula.io.image import Header
from singula.io.pairs import Pair
from singula.io.read import image_layout, label_layout, left_out_note, read_header
from singula.paths import user_path
from singula.survey.facts import ImageFacts, LabelFacts, Machine, PartFacts, Survey
from singula.survey.folders import Folders, find_folders
from singula.survey.images import survey_image
from singula.survey.machine import survey_machine
from singula.survey.objects import survey_labels
from singula.words import counted

_Result = TypeVar("_Result")
_LOOK_FIRST = 5
_MOST_CHANNELS = 16


def survey_dataset(
    path: Path | str,
    *,
    folders: Sequence[Folders] | None = None,
    ndim: int | None = None,
    most_files: int | None = None,
    strict: bool = True,
    machine: Machine | None = None,
) -> Survey:
    """Look at the files of a data set.

    Parameters
    ----------
    path : Path or str
        Its folder; `singula.survey.find_folders` says what layouts are known.
    folders : sequence of Folders, optional
        Where the parts are, if that is known already.
    ndim : {2, 3}, optional
        Spatial dimensions; found out by default.
    most_files : int, optional
        Look into so many image pairs of each part at most, spread evenly; all by default. The
        headers of all are read.
    strict : bool
        Raise the first problem of a file or a pairing; else gather them in `Survey.problems` and
        go on with what is left.
    machine : Machine, optional
        Measured by default.

    Returns
    -------
    Survey

    Raises
    ------
    TypeError, UserError
        Wrong arguments; no data set there, nothing to train on; when `strict`, whatever is wrong
        with a file.
    """
    path = user_path(path, "path")
    if ndim is not None:
        ndim = integer(ndim, "ndim", at_least=2, at_most=3)
    if most_files is not None:
        most_files = integer(most_files, "most_files", at_least=1)
    strict = flag(strict, "strict")
    if machine is not None:
        instance(machine, "machine", Machine)
    notes: list[str] = []
    if folders is not None:
        folders = items(folders, "folders", of_class(Folders))
    else:
        folders, notes = find_folders(path)
    problems: list[UserError] = []

    def attempt(work: Callable[[], _Result]) -> _Result | None:
        try:
            return work()
        except UserError as error:
            if strict:
                raise
            problems.append(error)
            return None

    paired = [
        (part, pairs)
        for part in folders
        if (pairs := attempt(lambda part=part: part.pairs(notes.append)))  # type: ignore[misc]
    ]
    if not paired:
        raise problems[0]
    if ndim is None:
        ndim = decide_ndim([pair for _, pairs in paired for pair in pairs[:_LOOK_FIRST]])
    told: Counter[str] = Counter()
    parts = tuple(_part(part, pairs, ndim, most_files, attempt, told) for part, pairs in paired)
    notes += [f"{note} ({counted(count, 'file')})" for note, count in told.items()]
    notes += _file_notes(parts)
    channels = max((image.channels for part in parts for image in part.images), default=1)
    return Survey(
        path,
        ndim,
        channels,
        parts,
        survey_machine() if machine is None else machine,
        tuple(problems),
        tuple(dict.fromkeys(notes)),
    )


def _part(
    folders: Folders,
    pairs: Sequence[Pair],
    ndim: int,
    most_files: int | None,
    attempt: Callable[[Callable[[], object]], object],
    told: Counter[str],
) -> PartFacts:
    shapes: list[tuple[int, ...]] = []
    fit: list[Pair] = []
    for pair in pairs:
        shape = attempt(lambda pair=pair: _shape(pair, ndim, told))  # type: ignore[misc]
        if isinstance(shape, tuple):
            shapes.append(shape)
            fit.append(pair)
    images: list[ImageFacts] = []
    labels: list[LabelFacts] = []
    for pair in _spread(fit, most_files):
        image = attempt(lambda pair=pair: survey_image(pair.image, ndim, arrays=pair.arrays))  # type: ignore[misc]
        if isinstance(image, ImageFacts):
            images.append(image)
        found = pair.label and attempt(
            lambda pair=pair: survey_labels(pair.label, ndim, arrays=pair.label_arrays)  # type: ignore[misc]
        )
        if isinstance(found, LabelFacts):
            labels.append(found)
    return PartFacts(
        folders.name,
        folders.images,
        folders.labels,
        tuple(fit),
        tuple(shapes),
        tuple(images),
        tuple(labels),
    )


def _shape(pair: Pair, ndim: int, told: Counter[str]) -> tuple[int, ...]:
    """Return the spatial shape of an image, equal to that of its labels, from the headers.

    Images in the file that are not read are noted in `told`.
    """
    header = read_header(pair.image, pair.arrays)
    shape = image_layout(pair.image, header, ndim, None).spatial_shape
    if header.left_out:
        told[f"images: {left_out_note(header)}"] += 1
    if pair.label is not None:
        stored = read_header(pair.label, pair.label_arrays, labels=True)
        own = label_layout(pair.label, stored, ndim, False).spatial_shape
        if own != shape:
            raise UserError(
                f"{pair.image}: its shape is {shape}, but that of its label {pair.label} is {own}",
                "give each image the label of the same size; check that the right files are paired",
            )
    return shape


def _file_notes(parts: Sequence[PartFacts]) -> list[str]:
    """List the notes on the images, with the number of files."""
    found = Counter(
        f"{part.name}: {note}" for part in parts for image in part.images for note in image.notes
    )
    return [f"{note} ({counted(count, 'file')})" for note, count in found.items()]


def _spread(pairs: Sequence[Pair], most: int | None) -> list[Pair]:
    if most is None or len(pairs) <= most:
        return list(pairs)
    return [pairs[place] for place in np.linspace(0, len(pairs) - 1, most).astype(int)]


def decide_ndim(pairs: Sequence[Pair]) -> int:
    """Decide whether files are images or volumes: by their axes, else by shapes that agree.

    Parameters
    ----------
    pairs : sequence of Pair
        The first few.

    Raises
    ------
    UserError
        Some are images and some volumes, or none is either.
    """
    votes: Counter[int] = Counter()
    last: UserError | None = None
    for pair in pairs:
        try:
            votes[_ndim_of(pair)] += 1
        except UserError as error:
            last = error
    if len(votes) > 1:
        raise UserError(
            f"{pairs[0].image.parent}: some of the files are images (2D) and some volumes (3D)",
            "keep them in two data sets",
        )
    if not votes:
        raise last or UserError("there is no image")
    return next(iter(votes))


def _ndim_of(pair: Pair) -> int:
    header = read_header(pair.image, pair.arrays)
    if header.axes is not None and header.palette is None and "Q" not in header.axes:
        return 3 if "Z" in header.axes else 2
    labels = None
    if pair.label is not None:
        labels = read_header(pair.label, pair.label_arrays, labels=True)
    if header.palette is not None:
        return 2
    problem: UserError | None = None
    for ndim in (2, 3):
        try:
            if _fits(pair, header, labels, ndim):
                return ndim
        except UserError as error:
            problem = problem or error
    raise problem or UserError(
        f"{pair.image}: {header} does not fit its labels {pair.label} ({labels})",
        "give each image the label of the same size",
    )


def _fits(pair: Pair, header: Header, labels: Header | None, ndim: int) -> bool:
    """Whether image and labels can both be read with so many dimensions."""
    layout = image_layout(pair.image, header, ndim, None)
    if pair.label is None or labels is None:
        return layout.channels <= _MOST_CHANNELS
    own = label_layout(pair.label, labels, ndim, False)
    return own.spatial_shape == layout.spatial_shape
