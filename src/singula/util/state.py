"""Folder for states of programs, which outlive a command."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path:
    """Return the folder for states of programs of the user, which need not exist.

    Raises
    ------
    RuntimeError
        The user has no home folder.
    """
    state = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    return base / "singula"
