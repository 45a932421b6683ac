"""Refuse files outside an image container to which its content refers."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from singula.errors import UserError
from singula.io.advice import advice_for
from singula.io.entries import check_openable
from singula.io.image import ArrayPlace
from singula.util.locations import is_remote


def external_file(path: Path, name: object, place: ArrayPlace) -> UserError:
    """Return the error for a reference that leads out of a container.

    Parameters
    ----------
    path : Path
        The container.
    name : object
        Referenced file, or the link in the container that leads to it.
    place : ArrayPlace
        Selection of the user; its command determines the hint.
    """
    return UserError(
        f"{path}: refers to a file outside, {name}; expected all data inside",
        advice_for(place.command).external_files,
        "io.external_file",
    )


@dataclass(frozen=True)
class Boundary:
    """Folder that must contain all files of an image.

    Parameters
    ----------
    path : Path
        Image file or folder, as the user named it.
    folder : Path
        The Zarr or N5 folder, or the parent folder of a file that belongs to a set.
    place : ArrayPlace
        Selection of the user, which allows external files or not.
    """

    path: Path
    folder: Path
    place: ArrayPlace
    _checked: set[str] = field(default_factory=set, repr=False, compare=False)

    def check(self, file: Path | str) -> None:
        """Raise an error for a file outside of the folder, also behind links, or a special file.

        Folders are checked once, files at each call. A special file, such as a pipe, would block
        its reader.

        Parameters
        ----------
        file : Path or str
            File or folder; a file that does not exist is accepted.

        Raises
        ------
        UserError
            ``io.external_file``: the file is outside; the codes of `check_openable`.
        """
        if is_remote(self.folder):  # a store has no links
            return
        full = os.fspath(file)
        parent = os.path.dirname(full)
        if parent not in self._checked and full != os.fspath(self.folder):
            self._check_folder(parent)
        try:
            mode = os.lstat(full).st_mode
        except (OSError, ValueError):  # the reader reports the error
            return
        if stat.S_ISREG(mode):
            return
        if stat.S_ISLNK(mode):
            self._check_target(full)
        check_openable(Path(full))

    def subfolders(self, folder: Path) -> Iterator[Path]:
        """Iterate over the folders in a folder of the container, in sorted order.

        Links to folders of the container are left out, because these folders are listed anyway.

        Raises
        ------
        UserError
            As `check`.
        """
        for entry in sorted(folder.iterdir()):
            if not entry.is_dir():
                continue
            self.check(entry)
            if entry.is_symlink():
                target = entry.resolve()
                if self._holds(target) or folder.resolve().is_relative_to(target):
                    continue
            yield entry

    def _check_folder(self, folder: str) -> None:
        """Check a folder and its parents up to the container."""
        root = os.fspath(self.folder)
        if folder != root:
            inner = folder.removeprefix(os.path.join(root, ""))
            if inner == folder or os.pardir in Path(inner).parts:
                self._check_target(folder)
            else:
                parent = os.path.dirname(folder)
                if parent not in self._checked:
                    self._check_folder(parent)
                if os.path.islink(folder):
                    self._check_target(folder)
        self._checked.add(folder)

    def _check_target(self, file: str) -> None:
        if self.place.external_files:
            return
        target = Path(os.path.realpath(file))
        if not self._holds(target):
            raise external_file(self.path, target, self.place)

    def _holds(self, target: Path) -> bool:
        """Return True if a resolved path is the container or is in it."""
        return target.is_relative_to(os.path.realpath(self.folder))
