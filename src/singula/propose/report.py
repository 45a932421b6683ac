"""`singula init`: survey, propose, write, and say why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from singula.errors import UserError
from singula.paths import user_path
from singula.propose.propose import Measure, Proposal
from singula.propose.training import step_text
from singula.propose.write import check_output, write_proposal
from singula.survey import Survey, find_folders, survey_dataset
from singula.words import command, counted

_MOST_FILES = 200
_VALUE_WIDTH = 24


def init_dataset(
    dataset: Path,
    output: Path,
    *,
    minutes: float,
    notify: Callable[[str], None],
    measure: Measure | None = None,
    external_files: bool = False,
) -> Proposal:
    """Write the configuration of a data set and say why it is so.

    Parameters
    ----------
    dataset : Path
        Its folder.
    output : Path
        The file; it must not exist.
    minutes : float
        What the training may take.
    notify : callable
        Takes each line.
    measure : callable, optional
        As for `propose`.
    external_files : bool
        Image files may refer to files outside.

    Raises
    ------
    UserError
        As `survey_dataset` and `write_proposal`.
    """
    dataset = user_path(dataset, "dataset")
    output = check_output(output)
    survey = _look(dataset, external_files=external_files)
    proposal, notes = write_proposal(survey, output, minutes=minutes, measure=measure)
    for line in (*survey.notes, *notes, *proposal.summary.splitlines()):
        notify(line)
    if proposal.speed is not None:
        notify(f"measured on {proposal.speed.measured_on}: {step_text(proposal.speed)}")
    elif measure is not None:
        notify("a training step could not be timed here, so the time of an epoch is a guess")
    notify("")
    for line in reasons_table(proposal):
        notify(line)
    doubtful = [labels for labels in survey.labels if labels.suspicion]
    if doubtful:
        notify("")
        notify(f"ATTENTION: {doubtful[0].path}: {doubtful[0].suspicion}")
        notify(f"  {counted(len(doubtful), 'label image')} like this; correct them before a run:")
        notify(f"  {command('check', dataset)} describes how; its --fix corrects what it can")
    if _masks(survey):
        notify("")
        notify("ATTENTION: most ids of the labels are in several pieces: masks instead of ids?")
        notify(f"  {command('check', dataset)} lists them, and its --fix gives each piece an id;")
        notify("  then run singula init on that copy, as the choices above fit the masks")
    notify("")
    notify(f"written: {output}")
    notify(f"first: {command('check', '--config', output)}")
    notify(f"next: {command('run', '--config', output, '--result_dir', 'results')}")
    return proposal


def _look(dataset: Path, *, external_files: bool) -> Survey:
    """Survey a data set; of files that are wrong, point to the command that lists them all."""
    folders, notes = find_folders(dataset, external_files=external_files)
    try:
        survey = survey_dataset(dataset, folders=folders, most_files=_MOST_FILES)
    except UserError as error:
        hint = f"{command('check', dataset)} lists all that is wrong with the files"
        hint = f"{error.hint}\n  → {hint}" if error.hint else hint
        raise UserError(error.message, hint, error.code) from error
    return replace(survey, notes=(*notes, *survey.notes))


def _masks(survey: Survey) -> bool:
    """Whether training labels look like masks of all objects together."""
    pieces = survey.objects("train").pieces
    return len(pieces) > 0 and float((pieces > 1).mean()) > 0.5


def reasons_table(proposal: Proposal) -> list[str]:
    """A line for each choice: key, value, why."""
    rows = [row for row in proposal.reasons if not row[0].endswith("PATH")]
    width = max(len(key) for key, _, _ in rows)
    return [f"{key:<{width}} {value:<{_VALUE_WIDTH}} {why}" for key, value, why in rows]
