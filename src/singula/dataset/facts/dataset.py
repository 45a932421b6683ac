"""Measurement of a whole data set: its folders, dimensions, images and labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from singula.dataset.annotated import describe_annotation
from singula.dataset.facts.facts import Machine, PartFacts, Survey
from singula.dataset.facts.folders import Folders, find_folders
from singula.dataset.facts.images import survey_image
from singula.dataset.facts.machine import survey_machine
from singula.dataset.facts.objects import survey_labels
from singula.dataset.scan import count_notes, decide_ndim, scan_pair
from singula.io.pairing import Pair, pairing_rule
from singula.io.read import left_out_note
from singula.util.arguments import instance, integer, items, of_class
from singula.util.boxes import evenly_spaced
from singula.util.paths import user_path


def survey_dataset(
    path: Path | str,
    *,
    folders: Sequence[Folders] | None = None,
    ndim: int | None = None,
    max_files: int | None = None,
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
        The folder is not a data set, has no training data, or a file cannot be read or paired.
    """
    path = user_path(path, "path")
    if ndim is not None:
        ndim = integer(ndim, "ndim", at_least=2, at_most=3)
    if max_files is not None:
        max_files = integer(max_files, "max_files", at_least=1)
    if machine is not None:
        instance(machine, "machine", Machine)
    notes: list[str] = []
    if folders is not None:
        folders = items(folders, "folders", of_class(Folders))
    else:
        folders, notes = find_folders(path)
    paired = [part.pairs() for part in folders]
    for part, pairs in zip(folders, paired, strict=True):
        rule = pairing_rule(pairs) if part.labels != part.images else None
        if rule is not None:
            notes.append(f"{rule[0]}: {rule[1]}")
    if ndim is None:
        ndim = decide_ndim(paired)
    left_out: list[str] = []
    parts = tuple(
        _survey_part(part, pairs, ndim, max_files, left_out)
        for part, pairs in zip(folders, paired, strict=True)
    )
    notes += count_notes(left_out)
    notes += count_notes(
        f"{part.name}: {note}" for part in parts for image in part.images for note in image.notes
    )
    notes += _sparse_notes(parts)
    channels = max((image.channels for part in parts for image in part.images), default=1)
    return Survey(
        path,
        ndim,
        channels,
        parts,
        survey_machine() if machine is None else machine,
        tuple(dict.fromkeys(notes)),
    )


def _sparse_notes(parts: Sequence[PartFacts]) -> list[str]:
    """Return notes on parts with labels that are annotated in part."""
    notes = []
    for part in parts:
        text = describe_annotation([labels.annotated for labels in part.labels])
        if text is not None:
            notes.append(f"{part.name}: {text}")
    if any(labels.is_section for part in parts for labels in part.labels):
        notes.append(
            "single slices are annotated: sizes are estimated from the cross sections, as if "
            "objects were as deep as wide"
        )
    return notes


def _survey_part(
    folders: Folders,
    pairs: Sequence[Pair],
    ndim: int,
    max_files: int | None,
    left_out: list[str],
) -> PartFacts:
    """Measure the files of one part; see `survey_dataset` for the parameters.

    Append notes on images of files that are not read to `left_out`.
    """
    scans = [scan_pair(pair, ndim) for pair in pairs]
    left_out += [
        f"images: {left_out_note(image.header)}" for image, _ in scans if image.header.left_out
    ]
    chosen = [scans[index] for index in evenly_spaced(len(scans), max_files or len(scans))]
    return PartFacts(
        folders.name,
        folders.images,
        folders.labels,
        tuple(pairs),
        tuple(image.shape for image, _ in scans),
        tuple(survey_image(image) for image, _ in chosen),
        tuple(survey_labels(labels) for _, labels in chosen if labels is not None),
    )
