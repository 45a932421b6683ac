"""Write a proposed configuration, and bring images and labels into folders of their own."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from singula.arguments import function, instance, number
from singula.errors import UserError
from singula.io.atomic import make_folder, write_error
from singula.io.formats import suffix_of
from singula.io.write import write_text
from singula.paths import user_path
from singula.propose.choice import Choice
from singula.propose.propose import MINUTES, Measure, Proposal, propose
from singula.survey import PartFacts, Survey


def write_proposal(
    survey: Survey,
    output: Path | str,
    *,
    minutes: float = MINUTES,
    channels: Choice | None = None,
    measure: Measure | None = None,
) -> tuple[Proposal, list[str]]:
    """Write the configuration of a data set.

    Images and labels that lie side by side in one folder are linked (copied where links cannot be)
    into two folders beside the configuration, since the format wants it so.

    Parameters
    ----------
    survey : Survey
    output : Path or str
        The file; it must not exist.
    minutes : float
        What the training may take.
    channels, measure : optional
        As for `propose`.

    Returns
    -------
    proposal : Proposal
    notes : list of str
        What was made beside it.

    Raises
    ------
    TypeError, UserError
        Wrong arguments; the file exists; it cannot be written; there is nothing to learn.
    """
    survey = instance(survey, "survey", Survey)
    number(minutes, "minutes (--minutes)", above=0)
    if channels is not None:
        instance(channels, "channels", Choice)
    if measure is not None:
        function(measure, "measure")
    output = check_output(output)
    arranged, notes = _arranged(survey, output.with_name(f"{output.stem}_data"))
    proposal = propose(
        arranged,
        minutes=minutes,
        stored=output.with_name(f"{output.stem}_channels"),
        channels=channels,
        measure=measure,
    )
    for part, new in zip(survey.parts, arranged.parts, strict=True):
        if part is not new:
            _link(part, new)
    write_text(output, proposal.yaml)
    return proposal, notes


def check_output(output: Path | str) -> Path:
    """Refuse a file that exists, or is no YAML file.

    Raises
    ------
    UserError
    """
    output = user_path(output, "output (--output)")
    if output.is_dir():
        raise UserError(
            f"--output: {output} is a folder", f"name a file, for example {output / 'config.yaml'}"
        )
    if output.exists():
        raise UserError(
            f"--output: {output} exists, and is left as it is",
            "choose another name with --output, or move it away",
        )
    if output.suffix.lower() not in (".yaml", ".yml"):
        raise UserError(
            f"--output: {output} does not end in .yaml", f"name it {output.name or 'config'}.yaml"
        )
    return output


def _arranged(survey: Survey, folder: Path) -> tuple[Survey, list[str]]:
    """The same data set with folders of its own for images and labels."""
    if not any(part.flat for part in survey.parts):
        return survey, []
    if folder.exists():
        raise UserError(
            f"--output: the images and labels lie side by side, and {folder}, where they would be "
            "linked into two folders, exists",
            "choose another name with --output, or move that folder away",
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
    note = f"images and labels lie side by side: links to them, in two folders, are in {folder}"
    return replace(survey, parts=parts), [note]


def _link(part: PartFacts, new: PartFacts) -> None:
    for pair in part.pairs:
        for source, target in ((pair.image, new.image_dir), (pair.label, new.label_dir)):
            if source is not None and target is not None:
                # Both get the image's name, so that they pair whatever they were called.
                name = pair.name + suffix_of(source)
                _link_file(source.resolve(), make_folder(target) / name)


def _link_file(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source)
    except OSError:  # a file system without links
        try:
            shutil.copy2(source, target)
        except OSError as error:
            raise write_error(target, error) from error
