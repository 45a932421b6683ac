"""A folder that holds files of ours beside files of the user, and never mixes them up."""

from __future__ import annotations

import errno
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from singula.errors import UserError
from singula.io.atomic import is_protected, remove_leftovers
from singula.io.record_files import read_record, write_record
from singula.io.records.results import ChannelFile, ChannelManifest
from singula.util.format import counted

MANIFEST = "fingerprints.json"


class SharedFolder:
    """Files known by a manifest; foreign ones stay, and a sub-folder is used instead.

    Parameters
    ----------
    path : Path
        The folder; created with the first file.
    key : str
        Configuration key that names it, for messages.
    spare : str
        Name of the sub-folder.
    notify : callable, optional
        Told once when the sub-folder or `fallback` is used.
    fallback : Path, optional
        Folder for files that cannot be written to `path` because of permissions or a read-only
        file system. Files that are in `path` already are used from there.
    """

    def __init__(
        self,
        path: Path,
        key: str,
        spare: str,
        notify: Callable[[str], None] | None = None,
        fallback: Path | None = None,
    ) -> None:
        self.path = path
        remove_leftovers(path)
        self._key = key
        self._spare = spare
        self._notify = notify
        self._entries = _read_manifest(path / MANIFEST, notify or warnings.warn)
        self._saved_at = float("-inf")
        self._unsaved = False
        self._told: set[Path] = set()
        self._fallback = SharedFolder(fallback, key, spare, notify) if fallback else None

    def find(
        self, file: str, accept: Callable[[ChannelFile], bool]
    ) -> tuple[Path, ChannelFile] | None:
        """Look for `file` where it is ours and accepted."""
        for path in self._places(file):
            entry = self.entry(path)
            if entry is not None and accept(entry) and os.access(path, os.R_OK):
                self._tell(path)
                return path, entry
        return self._fallback.find(file, accept) if self._fallback is not None else None

    def entry(self, path: Path) -> ChannelFile | None:
        """Give what the manifest says of a file, if it is as we wrote it."""
        entry = self._entries.get(self._name(path))
        return entry if entry is not None and entry.stamp == stamp_of(path) else None

    def put(
        self,
        file: str,
        entry: ChannelFile,
        same: Callable[[Path], bool],
        write: Callable[[Path], object],
    ) -> Path:
        """Write a file where it replaces no foreign file, and record it.

        Parameters
        ----------
        file : str
            File name.
        entry : ChannelFile
            What to record.
        same : callable
            Whether a file that is there already may stay in place of the new one.
        write : callable
            Writes the file, whole or not at all.

        Returns
        -------
        Path
            Where the file is.

        Raises
        ------
        UserError
            If the folders cannot be written, or foreign files occupy both places.
        """
        try:
            return self._put(file, entry, same, write)
        except UserError as error:
            if self._fallback is None or not is_protected(error):
                raise
            self._tell_once(
                self._fallback.path,
                f"{self.path} cannot be written, so {self._fallback.path} is used in its place",
            )
            return self._fallback.put(file, entry, same, write)

    def _put(
        self,
        file: str,
        entry: ChannelFile,
        same: Callable[[Path], bool],
        write: Callable[[Path], object],
    ) -> Path:
        for path in self._places(file):
            if os.path.exists(path):  # False in a folder that may not be searched
                if same(path):
                    if self._name(path) in self._entries:  # else it is the user's, and stays so
                        self.record(path, entry)
                    return path
                if self.entry(path) is None:
                    continue
            self._tell(path)
            with self.named_errors():
                write(path)
            self.record(path, entry)
            return path
        raise UserError(
            f"{self._key}: {self.path / file} and the one in {self._spare} were not written by "
            "Singula, so they are not replaced",
            f"move them away, or set {self._key} to another folder",
        )

    def record(self, path: Path, entry: ChannelFile) -> None:
        """Note that a file is ours; the manifest is written once per second at most."""
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
            except UserError as error:  # only identities of unchanged label files are lost
                if self._fallback is None or not is_protected(error):
                    raise
            self._saved_at, self._unsaved = time.monotonic(), False
        if self._fallback is not None:
            self._fallback.save()

    def _places(self, file: str) -> tuple[Path, Path]:
        return self.path / file, self.path / self._spare / file

    def _name(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()

    def _tell(self, path: Path) -> None:
        """Print once that the sub-folder is used."""
        if path.parent != self.path:
            self._tell_once(
                path.parent,
                f"{self.path / path.name} was not written by Singula; such files stay as they "
                f"are, and {path.parent} is used in their place",
            )

    def _tell_once(self, used: Path, line: str) -> None:
        if self._notify is not None and used not in self._told:
            self._notify(f"{self._key}: {line}")
        self._told.add(used)

    @contextmanager
    def named_errors(self) -> Iterator[None]:
        """Say which key leads to the folder that cannot be written."""
        try:
            yield
        except UserError as error:
            cause = error.__cause__
            full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
            hint = error.hint if full else f"set {self._key} to a folder that you may write to"
            raise UserError(f"{self._key}: {error.message}", hint, error.code) from cause


def identity(path: Path) -> list[str | int] | None:
    """Give what tells without reading whether a file is still the same; None if nothing does.

    The change time is part of it, because copying and unpacking can restore the others. A file
    younger than two seconds may change again without a trace, and a folder says nothing of its
    files. Whoever reads a missing one says so.
    """
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


def _read_manifest(path: Path, notify: Callable[[str], None]) -> dict[str, ChannelFile]:
    """Read the entries; files without a valid entry count as the user's.

    Raises
    ------
    UserError
        ``records.newer_version``.
    """
    if not os.path.lexists(path):  # also if the folder is private
        return {}
    try:
        manifest = read_record(path, ChannelManifest, notify)
    except UserError as error:
        if error.code == "records.newer_version":
            raise
        notify(f"{error.message}; the files in this folder count as files of the user")
        return {}
    entries, lost = {}, []
    for name, values in manifest.files.items():
        try:
            entries[name] = ChannelFile.model_validate(values)
        except ValidationError as error:
            lost.append(f"{name}: {error.errors()[0]['msg']}")
    if lost:
        notify(f"{path}: {counted(len(lost), 'invalid entry', 'invalid entries')} ({lost[0]})")
    return entries
