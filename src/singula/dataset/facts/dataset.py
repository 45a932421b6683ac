"""Measurement of a whole data set: its folders, dimensions, images and labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from singula.dataset.facts.facts import ImageFacts, LabelFacts, Machine, PartFacts, Survey
from singula.dataset.facts.folders import Folders, find_folders
from singula.dataset.facts.images import survey_image
from singula.dataset.facts.machine import survey_machine
from singula.dataset.facts.objects import survey_labels
from singula.errors import UserError
from singula.io.image import Header
from singula.io.pairing import Pair
from singula.io.read import image_layout, label_layout, left_out_note, read_header
from singula.util.arguments import flag, instance, integer, items, of_class
from singula.util.format import counted
from singula.util.paths import user_path

_Result = TypeVar("_Result")
_FILES_TO_DECIDE = 5  # read to decide between images and volumes
_MAX_CHANNELS = 16


def survey_dataset(
    path: Path | str,
    *,
    folders: Sequence[Folders] | None = None,
    ndim: int | None = None,
    max_files: int | None = None,
    strict: bool = True,
    machine: Machine | None = None,
) -> Survey:
    """Measure the images and labels of a data set.

    Parameters
    ----------
    path : Path or str
        Folder of the data set; see `singula.dataset.facts.find_folders` for the layouts.
    folders : sequence of Folders, optional
        Folders of the parts; by default, `find_folders` detects them.
    ndim : {2, 3}, optional
        Number of spatial dimensions; by default, decided from the files.
    max_files : int, optional
        Maximum number of image pairs per part that are read, spread evenly; all by default. The
        headers of all files are read.
    strict : bool
        Raise the first error of a file or a pairing. If False, collect the errors in
        `Survey.problems` and leave these files out.
    machine : Machine, optional
        Machine that trains; by default, this machine is measured.

    Returns
    -------
    Survey

    Raises
    ------
    TypeError
        An argument has a wrong type.
    UserError
        The folder is not a data set, or has no training data. If `strict`, also the first error
        of a file.
    """
    path = user_path(path, "path")
    if ndim is not None:
        ndim = integer(ndim, "ndim", at_least=2, at_most=3)
    if max_files is not None:
        max_files = integer(max_files, "max_files", at_least=1)
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
        ndim = decide_ndim([pair for _, pairs in paired for pair in pairs[:_FILES_TO_DECIDE]])
    left_out: Counter[str] = Counter()
    parts = tuple(
        _survey_part(part, pairs, ndim, max_files, attempt, left_out) for part, pairs in paired
    )
    notes += [f"{note} ({counted(count, 'file')})" for note, count in left_out.items()]
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


def _survey_part(
    folders: Folders,
    pairs: Sequence[Pair],
    ndim: int,
    max_files: int | None,
    attempt: Callable[[Callable[[], object]], object],
    left_out: Counter[str],
) -> PartFacts:
    """Measure the files of one part that match; see `survey_dataset` for the parameters."""
    shapes: list[tuple[int, ...]] = []
    valid_pairs: list[Pair] = []
    for pair in pairs:
        shape = attempt(lambda pair=pair: _shape(pair, ndim, left_out))  # type: ignore[misc]
        if isinstance(shape, tuple):
            shapes.append(shape)
            valid_pairs.append(pair)
    images: list[ImageFacts] = []
    labels: list[LabelFacts] = []
    for pair in _spread(valid_pairs, max_files):
        image = attempt(lambda pair=pair: survey_image(pair.image, ndim, arrays=pair.arrays))  # type: ignore[misc]
        if isinstance(image, ImageFacts):
            images.append(image)
        label = pair.label and attempt(
            lambda pair=pair: survey_labels(pair.label, ndim, arrays=pair.label_arrays)  # type: ignore[misc]
        )
        if isinstance(label, LabelFacts):
            labels.append(label)
    return PartFacts(
        folders.name,
        folders.images,
        folders.labels,
        tuple(valid_pairs),
        tuple(shapes),
        tuple(images),
        tuple(labels),
    )


def _shape(pair: Pair, ndim: int, left_out: Counter[str]) -> tuple[int, ...]:
    """Return the spatial shape of an image from its header; its labels must have the same shape.

    Count notes on images of the file that are not read in `left_out`.
    """
    header = read_header(pair.image, pair.arrays)
    shape = image_layout(pair.image, header, ndim, None).spatial_shape
    if header.left_out:
        left_out[f"images: {left_out_note(header)}"] += 1
    if pair.label is not None:
        stored = read_header(pair.label, pair.label_arrays, labels=True)
        label_shape = label_layout(pair.label, stored, ndim, False).spatial_shape
        if label_shape != shape:
            raise UserError(
                f"{pair.image}: got shape {shape}, expected {label_shape} as in its labels "
                f"{pair.label}",
                "give each image labels of the same size; check that the right files are paired",
                "data.shape_mismatch",
            )
    return shape


def _file_notes(parts: Sequence[PartFacts]) -> list[str]:
    """Return the notes on the images, each with the number of files."""
    counts = Counter(
        f"{part.name}: {note}" for part in parts for image in part.images for note in image.notes
    )
    return [f"{note} ({counted(count, 'file')})" for note, count in counts.items()]


def _spread(pairs: Sequence[Pair], max_files: int | None) -> list[Pair]:
    """Return at most `max_files` pairs, spread evenly."""
    if max_files is None or len(pairs) <= max_files:
        return list(pairs)
    return [pairs[index] for index in np.linspace(0, len(pairs) - 1, max_files).astype(int)]


def decide_ndim(pairs: Sequence[Pair]) -> int:
    """Return 2 if the files are images, 3 if they are volumes.

    The axes in a file decide; without axes, the dimensions in which image and labels agree.

    Parameters
    ----------
    pairs : sequence of Pair
        Some files of the data set.

    Raises
    ------
    UserError
        ``data.mixed_dimensions``: some files are images and some are volumes. Also if no file
        can be read as an image or a volume.
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
            f"{pairs[0].image.parent}: some files are images (2D) and some volumes (3D)",
            "keep images and volumes in two data sets",
            "data.mixed_dimensions",
        )
    if not votes:
        raise last or UserError("the data set has no images", code="data.no_images")
    return next(iter(votes))


def _ndim_of(pair: Pair) -> int:
    """Return the number of spatial dimensions of an image and its labels."""
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
        f"{pair.image}: got {header}, which does not match its labels {pair.label} ({labels})",
        "give each image labels of the same size",
        "data.shape_mismatch",
    )


def _fits(pair: Pair, header: Header, labels: Header | None, ndim: int) -> bool:
    """Return True if image and labels can both be read with this number of dimensions."""
    layout = image_layout(pair.image, header, ndim, None)
    if pair.label is None or labels is None:
        return layout.channels <= _MAX_CHANNELS
    label = label_layout(pair.label, labels, ndim, False)
    return label.spatial_shape == layout.spatial_shape
