"""Configuration from the answers of a user, the same for the wizard and the notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from singula.autoconfig.rules import Measure, Proposal, propose
from singula.autoconfig.write import write_proposal
from singula.dataset.facts import Folders, survey_dataset

OBJECTS = {
    "BC": ("cells, nuclei or other objects", "separate, or touching in places"),
    "BCD": ("crowded, round objects", "for example dense nuclei"),
    "BCM": ("objects with a faint outline", "for example cells without a membrane stain"),
    "BP": ("very small spots", "of only a few pixels"),
    "BCDv2": ("objects of very different sizes", "in one image"),
}
"""Kinds of objects, and examples of them, by the channels that the network learns."""
_MAX_FILES = 24


def propose_answered(
    parts: Sequence[Folders],
    ndim: int | None,
    *,
    channels: str | None,
    classes: int | None,
    output: Path,
    minutes: float,
    measure: Measure,
) -> tuple[Proposal, list[str]]:
    """Choose a configuration for folders of images and the answers of a user.

    Parameters
    ----------
    parts : sequence of Folders
        Folders of the data set, training data first.
    ndim : {2, 3}, optional
        Number of spatial dimensions; by default, that of the files.
    channels, classes, minutes, measure
        As for `propose`.
    output : Path
        Configuration file. It is written only if images and labels are in one folder.

    Returns
    -------
    proposal : Proposal
    notes : list of str
        Notices about other files that were written.

    Raises
    ------
    UserError
        The images or labels are invalid.
    """
    # The first argument is only used in messages, because the parts are given.
    survey = survey_dataset(parts[0].images.parent, folders=parts, ndim=ndim, max_files=_MAX_FILES)
    if any(part.flat for part in survey.parts):
        return write_proposal(
            survey, output, minutes=minutes, channels=channels, classes=classes, measure=measure
        )
    proposal = propose(
        survey,
        minutes=minutes,
        stored=output.with_name(f"{output.stem}_channels"),
        channels=channels,
        classes=classes,
        measure=measure,
    )
    return proposal, []
