"""Folders that contain files of Singula and of the user."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from singula.errors import UserError
from singula.io.atomic import is_protected, remove_leftovers
from singula.io.record_files import read_record, write_record
from singula.io.records.results import ChannelFile, ChannelManifest
from singula.util.format import counted
from singula.util.locations import is_remote

_log = logging.getLogger(__name__)
MANIFEST = "fingerprints.json"


class SharedFolder:
    """Folder whose manifest lists the files of Singula; files of the user are never replaced.

    If a file of the user has the name of a file to write, a subfolder is used instead.

    Parameters
    ----------
    path : Path
        Folder, which is created with the first file.
    key : str
        Configuration key of the folder, for messages.
    spare : str
        Name of the subfolder.
    fallback : Path, optional
        Folder for files that cannot be written to `path` because of permissions or a read-only
        file system. Existing files in `path` are used.
    """

    def __init__(
        self,
        path: Path,
        key: str,
        spare: str,
        fallback: Path | None = None,
    ) -> None:
        self.path = path
        remove_leftovers(path)
        self._key = key
        self._spare = spare
        self._entries = _read_manifest(path / MANIFEST)
        self._saved_at = float("-inf")
        self._unsaved = False
        self._reported: set[Path] = set()
        self._fallback = SharedFolder(fallback, key, spare) if fallback else None

    def find(
        self, file: str, accept: Callable[[ChannelFile], bool]
    ) -> tuple[Path, ChannelFile] | None:
        """Return the path and entry of a file of Singula that `accept` accepts, or None."""
        for path in self._places(file):
            entry = self.entry(path)
            if entry is not None and accept(entry) and os.access(path, os.R_OK):
                self._report_subfolder(path)
                return path, entry
        return self._fallback.find(file, accept) if self._fallback is not None else None

    def entry(self, path: Path) -> ChannelFile | None:
        """Return the entry of a file in the manifest; None if the file was changed."""
        entry = self._entries.get(self._name(path))
        return entry if entry is not None and entry.stamp == stamp_of(path) else None

    def put(
        self,
        file: str,
        entry: ChannelFile,
        is_equal: Callable[[Path], bool],
        write: Callable[[Path], object],
    ) -> Path:
        """Write a file without replacing a file of the user, and record it.

        Parameters
        ----------
        file : str
            File name.
        entry : ChannelFile
            Entry for the manifest.
        is_equal : callable
            Returns True if an existing file can be used in place of the new file.
        write : callable
            Writes the complete file, or no file.

        Returns
        -------
        Path
            Path of the file.

        Raises
        ------
        UserError
            ``channels.foreign_files``: files of the user are in both folders;
            ``storage.forbidden``: the folders cannot be written.
        """
        try:
            return self._put(file, entry, is_equal, write)
        except UserError as error:
            if self._fallback is None or not is_protected(error):
                raise
            self._report_once(
                self._fallback.path,
                f"{self.path} cannot be written, so {self._fallback.path} is used instead",
            )
            return self._fallback.put(file, entry, is_equal, write)

    def _put(
        self,
        file: str,
        entry: ChannelFile,
        is_equal: Callable[[Path], bool],
        write: Callable[[Path], object],
    ) -> Path:
        for path in self._places(file):
            if os.path.exists(path):  # False in a folder without permission
                if is_equal(path):
                    if self._name(path) in self._entries:  # otherwise, it belongs to the user
                        self.record(path, entry)
                    return path
                if self.entry(path) is None:
                    continue
            self._report_subfolder(path)
            with self.named_errors():
                write(path)
            self.record(path, entry)
            return path
        raise UserError(
            f"{self._key}: {self.path / file} and the file in {self._spare} were not written by "
            "Singula, which does not replace them",
            f"move them to another folder, or set {self._key} to another folder",
            "channels.foreign_files",
        )

    def record(self, path: Path, entry: ChannelFile) -> None:
        """Record that a file belongs to Singula; write the manifest once per second at most."""
        if self._fallback is not None and self._fallback.path in path.parents:
            self._fallback.record(path, entry)
            return
        entry = entry.model_copy(update={"stamp": stamp_of(path)})
        if self._entries.get(self._name(path)) == entry:
            return
        self._entries[self._name(path)] = entry
        self._unsaved = True
        if time.monotonic() - self._saved_at > 1:
            self.save()

    def save(self) -> None:
        """Write the manifest if it changed."""
        if self._unsaved:
            files = {name: entry.model_dump() for name, entry in self._entries.items()}
            try:
                with self.named_errors():
                    write_record(self.path / MANIFEST, ChannelManifest(files=files))
            except UserError as error:  # only the identities of unchanged label files are lost
                if self._fallback is None or not is_protected(error):
                    raise
            self._saved_at, self._unsaved = time.monotonic(), False
        if self._fallback is not None:
            self._fallback.save()

    def _places(self, file: str) -> tuple[Path, Path]:
        return self.path / file, self.path / self._spare / file

    def _name(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()

    def _report_subfolder(self, path: Path) -> None:
        """Report once that the subfolder is used."""
        if path.parent != self.path:
            self._report_once(
                path.parent,
                f"{self.path / path.name} was not written by Singula and is not replaced; "
                f"{path.parent} is used instead",
            )

    def _report_once(self, used: Path, line: str) -> None:
        if used not in self._reported:
            _log.warning(f"{self._key}: {line}")
        self._reported.add(used)

    @contextmanager
    def named_errors(self) -> Iterator[None]:
        """Add the key of the folder to errors about writing."""
        try:
            yield
        except UserError as error:
            cause = error.__cause__
            is_full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
            hint = error.hint if is_full else f"set {self._key} to a folder that you can write to"
            raise UserError(f"{self._key}: {error.message}", hint, error.code) from cause


def identity(path: Path) -> list[str | int] | None:
    """Return data that identify an unchanged file without reading it, or None.

    The change time is included, as copying and unpacking can restore the other values. The result
    is None for folders, URLs and missing files, and for files younger than two seconds, which may
    change again within the resolution of the times.
    """
    if is_remote(path):
        return None
    try:
        info = path.stat()
    except OSError:
        return None
    age = time.time_ns() - max(info.st_mtime_ns, info.st_ctime_ns)
    if age < 2 * 10**9 or path.is_dir():
        return None
    return [str(path.resolve()), info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino]


def stamp_of(path: Path) -> list[int] | None:
    """Return size and time of a file; None if it is missing."""
    try:
        info = path.stat()
    except OSError:
        return None
    return [info.st_size, info.st_mtime_ns]


def _read_manifest(path: Path) -> dict[str, ChannelFile]:
    """Read the entries; files without a valid entry belong to the user.

    Raises
    ------
    UserError
        ``records.newer_version``.
    """
    if not os.path.lexists(path):  # or the folder cannot be searched
        return {}
    try:
        manifest = read_record(path, ChannelManifest)
    except UserError as error:
        if error.code == "records.newer_version":
            raise
        _log.warning(f"{error.message}; Singula does not replace the files in this folder")
        return {}
    entries, lost = {}, []
    for name, values in manifest.files.items():
        try:
            entries[name] = ChannelFile.model_validate(values)
        except ValidationError as error:
            lost.append(f"{name}: {error.errors()[0]['msg']}")
    if lost:
        _log.warning(
            f"{path}: {counted(len(lost), 'invalid entry', 'invalid entries')} ({lost[0]})"
        )
    return entries
