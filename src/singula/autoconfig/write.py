"""Writing of a proposed configuration, with images and labels in separate folders."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from singula.autoconfig.rules import MINUTES, Measure, Proposal, check_trainable, propose
from singula.autoconfig.setting import Choice
from singula.dataset.facts import PartFacts, Survey
from singula.errors import UserError
from singula.io.atomic import make_folder, write_error
from singula.io.formats.table import suffix_of
from singula.io.write import write_text
from singula.util.arguments import function, instance
from singula.util.paths import user_path

FindStart = Callable[[Survey], Sequence[Choice]]
"""Function that compares a data set with a model, and returns the choices of a training from it."""


def write_proposal(
    survey: Survey,
    output: Path | str,
    *,
    minutes: float = MINUTES,
    channels: str | None = None,
    classes: int | None = None,
    measure: Measure | None = None,
    find_start: FindStart | None = None,
) -> tuple[Proposal, list[str]]:
    """Write the configuration of a data set.

    The configuration needs images and labels in separate folders. If they are in one folder, they
    are linked (or copied, if the file system has no links) into two folders next to the
    configuration.

    Parameters
    ----------
    survey : Survey
        Measurements of the data set.
    output : Path or str
        File of the configuration; it must not exist.
    minutes : float
        Maximum duration of the training in minutes.
    channels, classes, measure : optional
        As for `propose`.
    find_start : callable, optional
        Function that returns the choices of a training from the weights of a model. They take
        precedence over all other choices.

    Returns
    -------
    proposal : Proposal
    notes : list of str
        Notes for the user on folders that were created.

    Raises
    ------
    TypeError
        An argument has a wrong type.
    UserError
        The file exists or cannot be written; also as `propose`.
    """
    survey = instance(survey, "survey", Survey)
    output = check_output(output)
    arranged, notes = _with_separate_folders(survey, output.with_name(f"{output.stem}_data"))
    fixed: tuple[Choice, ...] = ()
    if find_start is not None:
        find = function(find_start, "find_start")
        check_trainable(survey)
        fixed = tuple(find(survey))
    proposal = propose(
        arranged,
        minutes=minutes,
        stored=output.with_name(f"{output.stem}_channels"),
        channels=channels,
        classes=classes,
        measure=measure,
        fixed=fixed,
    )
    for part, arranged_part in zip(survey.parts, arranged.parts, strict=True):
        if part is not arranged_part:
            _link(part, arranged_part)
    write_text(output, proposal.yaml)
    return proposal, notes


def check_output(output: Path | str) -> Path:
    """Validate the path of the configuration: a new file with a YAML suffix.

    Raises
    ------
    UserError
        ``init.output_is_folder``, ``init.output_exists``, ``init.output_suffix``.
    """
    output = user_path(output, "output (--output)")
    if output.is_dir():
        raise UserError(
            f"--output: {output} is a folder, expected a file",
            f"give a file, for example {output / 'config.yaml'}",
            "init.output_is_folder",
        )
    if output.exists():
        raise UserError(
            f"--output: {output} already exists",
            "give another name with --output, or move the file",
            "init.output_exists",
        )
    if output.suffix.lower() not in (".yaml", ".yml"):
        raise UserError(
            f"--output: got {output}, expected a name that ends in .yaml",
            f"name it {output.name or 'config'}.yaml",
            "init.output_suffix",
        )
    return output


def _with_separate_folders(survey: Survey, folder: Path) -> tuple[Survey, list[str]]:
    """Return the survey with separate folders for images and labels, and notes for the user."""
    if not any(part.flat for part in survey.parts):
        return survey, []
    if folder.exists():
        raise UserError(
            f"--output: images and labels are in one folder and must be linked into {folder}, "
            "which already exists",
            "give another name with --output, or move this folder",
            "init.data_folder_exists",
        )
    parts = tuple(
        replace(
            part,
            image_dir=folder / part.name / "x",
            label_dir=folder / part.name / "y",
        )
        if part.flat
        else part
        for part in survey.parts
    )
    note = f"images and labels are in one folder; links to them are in two folders in {folder}"
    return replace(survey, parts=parts), [note]


def _link(part: PartFacts, new: PartFacts) -> None:
    """Link the files of a part into its new folders."""
    for pair in part.pairs:
        for source, target in ((pair.image, new.image_dir), (pair.label, new.label_dir)):
            if source is not None and target is not None:
                # Both get the name of the image, so that they are paired by name.
                name = pair.name + suffix_of(source)
                link_file(source.resolve(), make_folder(target) / name)


def link_file(source: Path, target: Path) -> None:
    """Link a file, or copy it if the file system has no links.

    Parameters
    ----------
    source : Path
        The file, as an absolute path.
    target : Path
        Name of the link, in an existing folder.
    """
    try:
        target.symlink_to(source)
    except OSError:  # a file system without links
        try:
            shutil.copy2(source, target)
        except OSError as error:
            raise write_error(target, error) from error
