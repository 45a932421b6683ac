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


def external_file(path: Path, name: object, place: ArrayPlace) -> UserError:
    """Return the error for a reference that leads out of a container.

    Parameters
    ----------
    path : Path
        The container.
    name : object
        The referenced file, or the link in the container that leads to it.
    place : ArrayPlace
        Names the command, whose remedy the hint gives.
    """
    return UserError(
        f"{path}: refers to a file outside, {name}; expected all data inside",
        advice_for(place.command).external_files,
        "io.external_file",
    )


@dataclass(frozen=True)
class Boundary:
    """The folder that must hold all files of an image.

    Parameters
    ----------
    path : Path
        The image as the user named it.
    folder : Path
        The folder: a Zarr or N5 itself, the parent of a file that belongs to a set.
    place : ArrayPlace
        Allows external files, or not.
    """

    path: Path
    folder: Path
    place: ArrayPlace
    _known: set[str] = field(default_factory=set, repr=False, compare=False)

    def check(self, file: Path | str) -> None:
        """Refuse a file that is outside, also behind links, and one whose reader would block.

        The folders of a container are checked once, its files at each call.

        Parameters
        ----------
        file : Path or str
            A file or folder; one that does not exist passes.

        Raises
        ------
        UserError
            ``io.external_file``; as `check_openable`.
        """
        full = os.fspath(file)
        parent = os.path.dirname(full)
        if parent not in self._known and full != os.fspath(self.folder):
            self._check_folder(parent)
        try:
            mode = os.lstat(full).st_mode
        except (OSError, ValueError):  # the reader reports that
            return
        if stat.S_ISREG(mode):
            return
        if stat.S_ISLNK(mode):
            self._check_target(full)
        check_openable(Path(full))

    def subfolders(self, folder: Path) -> Iterator[Path]:
        """List the folders in a folder of the container in order.

        A link to a folder of the container is left out: that folder is listed in its own place.

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
        """Check a folder and those above it, up to that of the container."""
        root = os.fspath(self.folder)
        if folder != root:
            inner = folder.removeprefix(os.path.join(root, ""))
            if inner == folder or os.pardir in Path(inner).parts:
                self._check_target(folder)
            else:
                parent = os.path.dirname(folder)
                if parent not in self._known:
                    self._check_folder(parent)
                if os.path.islink(folder):
                    self._check_target(folder)
        self._known.add(folder)

    def _check_target(self, file: str) -> None:
        if self.place.external_files:
            return
        target = Path(os.path.realpath(file))
        if not self._holds(target):
            raise external_file(self.path, target, self.place)

    def _holds(self, target: Path) -> bool:
        """Return True if a path without links is that of the container or in it."""
        return target.is_relative_to(os.path.realpath(self.folder))
