"""Implementation of `singula init`: measure, choose, write, and report the reasons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from singula.autoconfig.objects import check_channels
from singula.autoconfig.rules import Measure, Proposal
from singula.autoconfig.training import step_text
from singula.autoconfig.write import FindStart, check_output, write_proposal
from singula.dataset.facts import Survey, find_folders, survey_dataset
from singula.errors import UserError
from singula.util.format import command, counted
from singula.util.paths import user_path
from singula.util.streams import print_line

_MAX_FILES = 200
_VALUE_WIDTH = 24


def init_dataset(
    dataset: Path,
    output: Path,
    *,
    minutes: float,
    measure: Measure | None = None,
    external_files: bool = False,
    channel: str = "",
    channels: str | None = None,
    find_start: FindStart | None = None,
) -> Proposal:
    """Write the configuration of a data set and report the reasons.

    Parameters
    ----------
    dataset : Path
        Folder of the data set.
    output : Path
        File of the configuration; it must not exist.
    minutes : float
        Maximum duration of the training in minutes.
    measure : callable, optional
        As for `propose`.
    external_files : bool
        Allow image files that refer to other files.
    channel : str
        Name or number of the channel of images; empty for all.
    channels : str, optional
        As for `propose`.
    find_start : callable, optional
        As for `write_proposal`.

    Raises
    ------
    UserError
        As `survey_dataset` and `write_proposal`.
    """
    dataset = user_path(dataset, "dataset")
    output = check_output(output)
    if channels is not None:
        check_channels(channels)  # before all files are read
    survey = _survey(dataset, external_files=external_files, channel=channel)
    proposal, notes = write_proposal(
        survey,
        output,
        minutes=minutes,
        channels=channels,
        measure=measure,
        find_start=find_start,
    )
    for line in (*survey.notes, *notes, *proposal.summary.splitlines()):
        print_line(line)
    if proposal.speed is not None:
        print_line(f"measured on {proposal.speed.measured_on}: {step_text(proposal.speed)}")
    elif measure is not None:
        print_line("a training step could not be timed, so the duration of an epoch is assumed")
    print_line("")
    for line in reasons_table(proposal):
        print_line(line)
    doubtful = [labels for labels in survey.labels if labels.suspicion]
    if doubtful:
        print_line("")
        print_line(f"ATTENTION: {doubtful[0].path}: {doubtful[0].suspicion}")
        files = counted(len(doubtful), "label image")
        print_line(f"  {files} with this problem; correct the labels before a run:")
        print_line(f"  {command('check', dataset)} lists the problems; --fix corrects some of them")
    if _are_masks(survey):
        print_line("")
        print_line("ATTENTION: most ids have several components; are these masks instead of ids?")
        print_line(f"  {command('check', dataset)} lists them; --fix gives each component an id")
        print_line("  then run singula init on the corrected copy; these choices are for the masks")
    print_line("")
    print_line(f"written: {output}")
    print_line(f"first: {command('check', '--config', output)}")
    print_line(f"next: {command('run', '--config', output, '--result_dir', 'results')}")
    return proposal


def _survey(dataset: Path, *, external_files: bool, channel: str) -> Survey:
    """Measure a data set; on errors, point to the command that lists all of them."""
    folders, notes = find_folders(dataset, external_files=external_files, channel=channel)
    try:
        survey = survey_dataset(dataset, folders=folders, max_files=_MAX_FILES)
    except UserError as error:
        hint = f"{command('check', dataset)} lists all problems of the files"
        hint = f"{error.hint}\n  → {hint}" if error.hint else hint
        raise UserError(error.message, hint, error.code) from error
    return replace(survey, notes=(*notes, *survey.notes))


def _are_masks(survey: Survey) -> bool:
    """Return True if the training labels look like masks without ids."""
    n_components = survey.objects("train").n_components
    return len(n_components) > 0 and float((n_components > 1).mean()) > 0.5


def reasons_table(proposal: Proposal) -> list[str]:
    """Return a line with key, value and reason for each choice."""
    rows = [row for row in proposal.reasons if not row[0].endswith("PATH")]
    width = max(len(key) for key, _, _ in rows)
    return [f"{key:<{width}} {value:<{_VALUE_WIDTH}} {why}" for key, value, why in rows]
