"""Open HDF5 files without locks, and explain the locks of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from singula.errors import StorageError, UserError

_VARIABLE = "HDF5_USE_FILE_LOCKING"
# The library has no codes for these errors; the texts are from HDF5 1.10 to 2.0.
_LOCKED = "unable to lock file"
_MARKED = "already open for"
_OTHER_LOCKING = "file locking flag values don't match"


def open_for_reading(h5py: Any, path: Path) -> Any:
    """Open an HDF5 file for reading without a lock, so that no writer is blocked.

    A file that another program writes in single-writer-multiple-reader mode is opened in that mode.

    Parameters
    ----------
    h5py : module
        The imported library.
    path : Path
        HDF5 file.

    Returns
    -------
    h5py.File
        The open file.

    Raises
    ------
    UserError
        ``io.file_locked``: another program has the file open for writing.
    OSError
        The file cannot be read for another reason.
    """
    try:
        return _open_unlocked(h5py, path)
    except OSError as error:
        if _LOCKED not in str(error) and _MARKED not in str(error):
            raise
        raise _locked_error(path, error) from error


def _open_unlocked(h5py: Any, path: Path) -> Any:
    try:
        return h5py.File(path, "r", locking=False)
    except (TypeError, ValueError):  # h5py was built with an HDF5 that always locks
        return h5py.File(path, "r")
    except OSError as error:
        if _OTHER_LOCKING in str(error):  # this process has already opened it with a lock
            return h5py.File(path, "r")
        if _MARKED not in str(error):
            raise
        try:
            return h5py.File(path, "r", locking=False, swmr=True)
        except OSError:  # the first error names the cause
            raise error from None


def _locked_error(path: Path, error: OSError) -> UserError:
    """Return the error for a file that another program has opened."""
    reason = str(error).partition("(")[2].rstrip(")") or str(error)
    if _LOCKED in str(error):
        hint = (
            f"set the environment variable {_VARIABLE}=FALSE to read it without a lock, or close "
            "it in the program that writes it; a network disk may refuse locks in general"
        )
    else:
        hint = (
            "close it in the program that writes it, or copy it when that program has finished; "
            "after a crash of that program, remove the mark with h5clear -s FILE. "
            f"{_VARIABLE} does not affect this mark"
        )
    return UserError(
        f"{path}: is locked: another program has it open for writing ({reason})",
        hint,
        "io.file_locked",
    )


def open_for_writing(h5py: Any, path: Path) -> Any:
    """Create an HDF5 file.

    Parameters
    ----------
    h5py : module
        The imported library.
    path : Path
        HDF5 file; an existing file is replaced.

    Returns
    -------
    h5py.File
        The open file.

    Raises
    ------
    StorageError
        ``io.file_locked``: the file system refuses locks.
    OSError
        The file cannot be created for another reason.
    """
    try:
        return h5py.File(path, "w")
    except OSError as error:
        if _LOCKED not in str(error):
            raise
        raise StorageError(
            f"{path}: got no lock on the new file ({error}), expected a file system with locks",
            f"set the environment variable {_VARIABLE}=FALSE, or write to another disk",
            "io.file_locked",
        ) from error
