"""Delete runs: move them to a trash folder, restore them, or remove them permanently."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from singula.errors import UserError
from singula.gui.guard import Guard
from singula.gui.run_notes import read_notes
from singula.gui.run_search import (
    PREDICTION_QUEUE,
    SEARCH_QUEUE,
    TRASH,
    is_default_place,
    is_run,
    predictions_inside,
)
from singula.gui.runs import QUEUE, runs_now
from singula.io.atomic import write_error
from singula.io.record_files import read_record, write_record
from singula.io.records.results import DeletedRun
from singula.io.replace import replace_path
from singula.io.run_folder import ResultsTree
from singula.io.run_lock import hold, lock_file
from singula.util.messages import captured_messages

_RECORD, _RUN, _CHECKPOINTS = "deleted.json", "run", "checkpoints"
_MAX_BYTES = 1 << 16


@dataclass(frozen=True)
class TrashEntry:
    """A deleted run.

    Parameters
    ----------
    folder : Path
        Folder in the trash.
    name : str
        Name of the folder of the run.
    title : str
        Title that the user gave to the run; empty without one.
    deleted : float
        Time, seconds since 1970.
    """

    folder: Path
    name: str
    title: str
    deleted: float


def delete_run(guard: Guard, folder: Path) -> TrashEntry:
    """Move the folder of a run and its checkpoints to the trash next to it.

    All files in the folder are moved, also those that the user added. Checkpoints move if they are
    in the default folder.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    folder : Path
        Folder of the run.

    Raises
    ------
    UserError
        ``gui.outside``; ``gui.not_deletable``: it is not the folder of a run with its default
        location, or its checkpoints or the trash are links; ``run.locked``: the run is in progress,
        or another process writes to it.
    StorageError
        The folder cannot be moved.
    """
    given, folder = guard.home / folder, guard.check(folder)
    tree = ResultsTree.of_run(folder)
    contains_root = any(root == folder or folder in root.parents for root in guard.roots)
    if (
        given != folder
        or contains_root
        or not is_default_place(folder)
        or not is_run(folder, guard)
    ):
        raise UserError(
            f"{folder}: is not a run in the folder NAME/results/NAME_NUMBER",
            "delete the folder outside of Singula",
            "gui.not_deletable",
        )
    for path in (tree.checkpoints, folder.parent / TRASH):
        if guard.check(path) != path:  # files elsewhere are neither moved nor written
            raise UserError(
                f"{path}: is a link", "delete the run outside of Singula", "gui.not_deletable"
            )
    if runs_now(folder):
        raise UserError(f"{folder.name}: is running", "stop the run first", "run.locked")
    with hold([lock_file(folder), tree.checkpoint_lock], "delete"):
        entry = _new_entry(folder)
        _move(folder, entry / _RUN)
    with suppress(OSError):
        lock_file(entry / _RUN).unlink()
    _remove_from_queue(entry / _RUN)
    for path in _checkpoints(tree):
        _move(path, entry / _CHECKPOINTS / path.name)
    return _read_entry(entry) or TrashEntry(entry, folder.name, "", time.time())


def _remove_from_queue(run: Path) -> None:
    """Delete the records of waiting jobs in the folder of a run; a restored run must not start."""
    records = [run / QUEUE, ResultsTree.of_run(run).tuning / SEARCH_QUEUE]
    records += [folder / PREDICTION_QUEUE for folder in predictions_inside(run)]
    for record in records:
        with suppress(OSError):
            record.unlink(missing_ok=True)


def _new_entry(folder: Path) -> Path:
    """Create the folder of a deleted run in the trash, with its record."""
    trash = folder.parent / TRASH
    number = 1
    while True:
        entry = trash / (folder.name if number == 1 else f"{folder.name} ({number})")
        try:
            (entry / _CHECKPOINTS).mkdir(parents=True)
        except FileExistsError:
            number += 1
            continue
        except OSError as error:
            raise write_error(entry, error) from error
        write_record(entry / _RECORD, DeletedRun(name=folder.name, deleted=time.time()))
        return entry


def _checkpoints(tree: ResultsTree) -> list[Path]:
    """Return the checkpoints of a run in the default folder."""
    prefix = f"{tree.job_id}-checkpoint-"
    with suppress(OSError):
        return sorted(path for path in tree.checkpoints.iterdir() if path.name.startswith(prefix))
    return []


def _move(path: Path, target: Path) -> None:
    """Rename a file or folder within a file system; existing files are not replaced."""
    try:
        if os.path.lexists(target):
            raise FileExistsError(f"{target} exists")
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_path(path, target)
    except OSError as error:
        raise write_error(target, error) from error


def _read_entry(entry: Path) -> TrashEntry | None:
    """Return a deleted run; None if the folder is not one."""
    if entry.is_symlink() or entry.parent.name != TRASH or not (entry / _RUN).is_dir():
        return None
    record = None
    with captured_messages(), suppress(UserError):
        record = read_record(entry / _RECORD, DeletedRun, max_bytes=_MAX_BYTES, follow_links=False)
    if record is None or not is_default_place(entry.parent.parent / record.name):
        return None
    return TrashEntry(entry, record.name, read_notes(entry / _RUN).title, record.deleted)


def list_trash(folders: list[Path]) -> list[TrashEntry]:
    """Return the deleted runs in trash folders, the most recent first.

    Parameters
    ----------
    folders : list of Path
        Trash folders of `search_runs`.
    """
    entries = []
    for folder in folders:
        with suppress(OSError):  # it cannot be read
            paths = [] if folder.is_symlink() else list(folder.iterdir())
            entries += [entry for entry in map(_read_entry, paths) if entry is not None]
    return sorted(entries, key=lambda entry: entry.deleted, reverse=True)


def restore_run(guard: Guard, entry: Path) -> Path:
    """Move a deleted run and its checkpoints back, and return the folder of the run.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    entry : Path
        Folder in the trash.

    Raises
    ------
    UserError
        ``gui.restore_exists``: a later run has the same name and number; ``gui.not_in_trash``;
        ``gui.outside``.
    StorageError
        A file cannot be moved.
    """
    deleted = _checked_entry(guard, entry)
    target = guard.check(deleted.folder.parent.parent / deleted.name)
    tree = ResultsTree.of_run(target)
    files = {
        path: tree.checkpoints / path.name for path in _children(deleted.folder / _CHECKPOINTS)
    }
    if os.path.lexists(target) or any(map(os.path.lexists, files.values())):
        raise UserError(
            f"{deleted.name}: another run with this name and number exists",
            "delete that run first, or keep this run in the trash",
            "gui.restore_exists",
        )
    # The entry is listed as long as it has the run, so that a failed restoration can be repeated.
    for path, place in files.items():
        _move(path, guard.check(place))
    _move(deleted.folder / _RUN, target)
    with suppress(OSError):  # contains other files
        (deleted.folder / _RECORD).unlink()
        (deleted.folder / _CHECKPOINTS).rmdir()
        deleted.folder.rmdir()
        deleted.folder.parent.rmdir()
    return target


def remove_permanently(guard: Guard, entry: Path) -> None:
    """Remove a deleted run from the disk.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    entry : Path
        Folder in the trash.

    Raises
    ------
    UserError
        ``gui.not_in_trash``; ``gui.outside``.
    StorageError
        A file cannot be removed.
    """
    deleted = _checked_entry(guard, entry)
    try:
        shutil.rmtree(deleted.folder)  # does not follow links
    except OSError as error:
        raise write_error(deleted.folder, error) from error
    with suppress(OSError):  # contains other runs
        deleted.folder.parent.rmdir()


def _checked_entry(guard: Guard, entry: Path) -> TrashEntry:
    """Return a deleted run after a check of its location."""
    full = guard.check(entry)
    deleted = _read_entry(full) if full == guard.home / entry else None
    if deleted is None or full in guard.roots:
        raise UserError(f"{entry}: is not a deleted run", "reload the page", "gui.not_in_trash")
    return deleted


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def describe_size(folder: Path) -> tuple[int, int]:
    """Return the number of files below a folder and their size in bytes; links count as files.

    Parameters
    ----------
    folder : Path
        Any folder.
    """
    count = size = 0
    for name, _, files in os.walk(folder):
        for file in files:
            with suppress(OSError):
                size += (Path(name) / file).lstat().st_size
                count += 1
    return count, size
