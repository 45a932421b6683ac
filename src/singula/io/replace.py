"""Rename and delete files that another program may have open, which Windows refuses."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

# Errors of Windows: access denied, sharing violation, lock violation
_DENIED, _SHARED, _LOCKED = 5, 32, 33
_WAITS = (0.05, 0.1, 0.2, 0.4, 0.8)  # seconds; virus scanners and indexers close files soon


def replace_path(old: Path | str, new: Path | str) -> None:
    """Rename a file or folder; retry for a short time on Windows if another program has it open.

    Parameters
    ----------
    old : Path or str
        Existing file or folder.
    new : Path or str
        New path; an existing file is replaced.
    """
    _retry(lambda: os.replace(old, new))


def remove_file(path: Path) -> None:
    """Delete a file if it exists; retry as `replace_path`."""
    _retry(lambda: path.unlink(missing_ok=True))


def remove_folder(path: Path) -> None:
    """Delete a folder with its content; retry as `replace_path`."""
    _retry(lambda: shutil.rmtree(path))


def is_in_use(error: OSError, path: Path) -> bool:
    """Return True if another program has a file open, which Windows does not replace.

    Parameters
    ----------
    error : OSError
        Error of `replace_path`, `remove_file` or `remove_folder`.
    path : Path
        File that was written or deleted.
    """
    number = getattr(error, "winerror", None)
    # A file that is open can also cause "access denied", as a folder without permission does.
    is_denied = number == _DENIED and path.exists() and os.access(path.parent, os.W_OK)
    return number in (_SHARED, _LOCKED) or is_denied


def _retry(change: Callable[[], object]) -> None:
    for wait in _WAITS:
        try:
            change()
        except PermissionError as error:
            if getattr(error, "winerror", None) not in (_DENIED, _SHARED, _LOCKED):
                raise
            time.sleep(wait)
        else:
            return
    change()
