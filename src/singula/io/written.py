"""Record of the files that Singula wrote to a folder, which protects the files of the user.

A protected folder has a record (`RECORD`) of the size and time of each written file. A file that is
not in the record, or that changed later, belongs to the user. Before it would be replaced, it is
moved to ``previous`` in the protected folder. If the record is missing or damaged, all files belong
to the user.
"""

from __future__ import annotations

import filecmp
import hashlib
import logging
import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from singula.errors import UserError
from singula.io.records.written import Stamp, WrittenFile
from singula.io.replace import remove_folder, replace_path
from singula.util.paths import open_regular

_log = logging.getLogger(__name__)
RECORD = ".singula_files.jsonl"
PREVIOUS = "previous"
_MAX_RECORD = 1 << 28
_MAX_DIGEST = 1 << 20  # bytes of a file that is also identified by its content
_MAX_OUTDATED = 1000  # outdated lines of a record before it is shortened

_OPEN: Stamp = (-1, 0, "")  # of a folder that is being written
_APPEND = (
    os.O_WRONLY
    | os.O_APPEND
    | os.O_CREAT
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a named pipe without a reader would wait for one
)


class WrittenFiles:
    """Files in a folder and below it that Singula wrote.

    Parameters
    ----------
    folder : Path
        Protected folder, which need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.RLock()  # several threads write files
        self._moved = 0
        self._stamps: dict[str, tuple[Stamp, ...]] = {}
        self._lines = 0
        self._has_added = False
        self._read()

    def foreign_files(self, path: Path) -> Iterator[Path]:
        """Yield the files of the user at a path: a file, or all files below a folder."""
        name = self._name(path)
        if self._is_inside(name):
            return
        stamps = self._stamps.get(name)
        if stamps is None and path.is_dir() and not path.is_symlink():
            for inner in path.iterdir():
                if inner.name[0] != ".":
                    yield from self.foreign_files(inner)
        elif os.path.lexists(path) and not _is_current(path, stamps or ()):
            yield path

    def record(self, path: Path, content: Path | None = None) -> None:
        """Record that Singula writes a file or folder.

        Parameters
        ----------
        path : Path
        content : Path, optional
            File or folder that will be renamed to `path`. It is recorded before the rename, so that
            a killed process leaves no unknown file.
        """
        name = self._name(path)
        if self._is_inside(name):
            return
        stamp = _stamp(content or path)
        with self._lock:
            # Until the rename, the previous file is valid too.
            previous = self._stamps.get(name, ())[-1:] if content is not None else ()
            self._add(name, (*previous, stamp))

    def record_open(self, path: Path) -> None:
        """Record that Singula writes to a folder until `record` is called for it."""
        self._add(self._name(path), (_OPEN,))

    def make_way(self, path: Path, content: Path | None = None) -> None:
        """Move a file or folder that will be replaced if it contains files of the user.

        Parameters
        ----------
        path : Path
        content : Path, optional
            File or folder that will replace it; a file with equal content is not moved.
        """
        if next(self.foreign_files(path), None) is None or _is_equal(path, content):
            return
        name = self._name(path)
        with self._lock:
            number, target = 1, self.folder / PREVIOUS / name
            while not self._is_free(target):
                number += 1
                target = self.folder / f"{PREVIOUS}_{number}" / name
            self.rename(path, target)
            self._moved += 1
            is_first = self._moved == 1
        if is_first:
            _log.warning(f"{path}: was not written by Singula, or changed later; moved to {target}")

    def rename(self, old: Path, new: Path) -> None:
        """Rename a file or folder and its entries in the record."""
        with self._lock:
            new.parent.mkdir(parents=True, exist_ok=True)
            replace_path(old, new)
            name, target = self._name(old), self._name(new)
            names = [name] if name in self._stamps else []
            if new.is_dir() and not new.is_symlink():
                names += [inner for inner in self._stamps if inner.startswith(f"{name}/")]
            for moved in names:
                self._add(target + moved[len(name) :], self._stamps.pop(moved))

    def close(self) -> None:
        """Report the number of moved files, and shorten a record with many outdated lines."""
        if self._lines > 2 * len(self._stamps) + _MAX_OUTDATED:
            self._shorten()
        if self._moved > 1:
            _log.warning(f"{self._moved} such files were moved to {self.folder / PREVIOUS}")

    def _is_free(self, target: Path) -> bool:
        """Return True if a path does not exist, and its existing parents are folders."""
        parents = [path for path in target.parents if self.folder in path.parents]
        return not os.path.lexists(target) and not any(
            os.path.lexists(path) and (path.is_symlink() or not path.is_dir()) for path in parents
        )

    def _is_inside(self, name: str) -> bool:
        """Return True for parts of a folder that is recorded as a whole."""
        return any(parent.as_posix() in self._stamps for parent in Path(name).parents)

    def _name(self, path: Path) -> str:
        return Path(os.path.relpath(path, self.folder)).as_posix()

    def _read(self) -> None:
        """Read the record; damaged lines and a damaged file are ignored."""
        with suppress(UserError, OSError):
            path = self.folder / RECORD
            with open_regular(path, max_bytes=_MAX_RECORD, follow_links=False) as file:
                for line in file:
                    self._lines += 1
                    with suppress(ValueError, RecursionError):
                        written = WrittenFile.from_line(line)
                        self._stamps[written.path] = written.stamps

    def _add(self, name: str, stamps: tuple[Stamp, ...]) -> None:
        with self._lock:
            if self._stamps.get(name) != stamps:
                self._stamps[name] = stamps
                self._append(name, stamps)

    def _append(self, name: str, stamps: tuple[Stamp, ...]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        # The file is opened for each line, as other runs may replace it by a shorter one.
        descriptor = os.open(self.folder / RECORD, _APPEND, 0o666)
        try:
            # An earlier run may have been killed in the middle of a line.
            start = b"" if self._has_added else b"\n"
            os.write(descriptor, start + WrittenFile(path=name, stamps=stamps).to_line())
        finally:
            os.close(descriptor)
        self._has_added = True
        self._lines += 1

    def _shorten(self) -> None:
        """Write the record without outdated lines; if lines are lost, more files are protected."""
        temporary = self.folder / f"{RECORD}.{os.getpid()}"
        with suppress(OSError):
            try:
                newest = WrittenFiles(self.folder)._stamps
                lines = [WrittenFile(path=p, stamps=s).to_line() for p, s in newest.items()]
                temporary.write_bytes(b"".join(lines))
                replace_path(temporary, self.folder / RECORD)
            finally:
                temporary.unlink(missing_ok=True)


def _stamp(path: Path) -> Stamp:
    return (*_size_and_time(path), _digest(path))


def _size_and_time(path: Path) -> tuple[int, int]:
    if path.is_dir() and not path.is_symlink():
        from singula.io.files import change_stamp

        return change_stamp(path)
    info = path.lstat()
    return info.st_size, info.st_mtime_ns


def _digest(path: Path) -> str:
    """Return a hash of a small file, which identifies copies of it; else an empty text."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _MAX_DIGEST:
        return ""
    return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()


def _is_current(path: Path, stamps: tuple[Stamp, ...]) -> bool:
    """Return True if one of the stamps matches a file or folder."""
    if _OPEN in stamps:
        return True
    with suppress(OSError):
        size, changed = _size_and_time(path)
        same = [stamp for stamp in stamps if stamp[0] == size]
        digests = {stamp[2] for stamp in same} - {""}
        return any(stamp[1] == changed for stamp in same) or bool(
            digests and _digest(path) in digests
        )
    return False


def _is_equal(path: Path, content: Path | None) -> bool:
    if content is None or path.is_symlink() or not (path.is_file() and content.is_file()):
        return False
    return filecmp.cmp(path, content, shallow=False)


# Folders that are protected in this process; None for exempt ones
_active: dict[Path, WrittenFiles | None] = {}
_users: Counter[Path] = Counter()
_lock = threading.Lock()


@contextmanager
def protect(folders: Iterable[Path], *, exempt: Iterable[Path] = ()) -> Iterator[None]:
    """Record the files that are written to folders, and move files of the user before they change.

    This applies to all files that `singula.io.atomic` writes in the context. Contexts can be
    nested; the innermost folder counts.

    Parameters
    ----------
    folders : iterable of Path
        Protected folders, which need not exist.
    exempt : iterable of Path
        Folders of temporary files inside them, which are not recorded.
    """
    recorded = {Path(os.path.abspath(path)): True for path in folders}
    recorded |= {Path(os.path.abspath(path)): False for path in exempt}
    with _lock:
        for path, is_recorded in recorded.items():
            if not _users[path]:
                _active[path] = WrittenFiles(path) if is_recorded else None
            _users[path] += 1
    try:
        yield
    finally:
        with _lock:
            _users.subtract(recorded.keys())
            inactive = [_active.pop(path) for path in recorded if not _users[path]]
        for files in inactive:
            if files is not None:
                files.close()


def _files_of(path: Path) -> WrittenFiles | None:
    """Return the record of the protected folder of a path, or None."""
    if not _active:
        return None
    absolute = Path(os.path.abspath(path))
    return next((_active[p] for p in (absolute, *absolute.parents) if p in _active), None)


def make_way(path: Path, content: Path | None = None) -> None:
    """Call `WrittenFiles.make_way` in a protected folder."""
    files = _files_of(path)
    if files is not None:
        files.make_way(path, content)


def record(path: Path, content: Path | None = None) -> None:
    """Call `WrittenFiles.record` in a protected folder."""
    files = _files_of(path)
    if files is not None:
        files.record(path, content)


def record_open(path: Path) -> None:
    """Call `WrittenFiles.record_open` in a protected folder."""
    files = _files_of(path)
    if files is not None:
        files.record_open(path)


def rename(old: Path, new: Path) -> None:
    """Call `WrittenFiles.rename` in a protected folder; elsewhere, rename a file or folder."""
    files = _files_of(old)
    if files is None:
        replace_path(old, new)
    else:
        files.rename(old, new)


def foreign_files(path: Path) -> Iterator[Path]:
    """Yield the files of the user at a path in a protected folder."""
    files = _files_of(path)
    return iter(()) if files is None else files.foreign_files(path)


def set_aside(folder: Path, paths: Iterable[Path]) -> Path:
    """Move results to ``previous`` in a folder.

    Files that were moved there earlier are deleted. If the user changed one of them, the earlier
    folder remains, and the new folder has a number.

    Returns
    -------
    Path
        The new folder.
    """
    with protect([folder]):
        target, number = folder / PREVIOUS, 1
        while os.path.lexists(target):
            if target.is_dir() and next(foreign_files(target), None) is None:
                remove_folder(target)
                break
            number += 1
            target = folder / f"{PREVIOUS}_{number}"
        for path in paths:
            rename(path, target / path.name)
    return target
