"""Names of new files and folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import count
from pathlib import Path


def free_name(folder: Path, stem: str, suffixes: Sequence[str] = ("",)) -> str:
    """Return the first of STEM, STEM_2, … for which no file NAME + suffix exists.

    Parameters
    ----------
    folder : Path
        Folder of the new files, which may not exist.
    stem : str
        Proposed name without suffix.
    suffixes : sequence of str
        Suffixes of all names that must be free.

    Returns
    -------
    str
        The name without suffix.
    """
    stems = (stem if number == 1 else f"{stem}_{number}" for number in count(1))
    return next(
        name
        for name in stems
        if not any(os.path.lexists(folder / f"{name}{suffix}") for suffix in suffixes)
    )
