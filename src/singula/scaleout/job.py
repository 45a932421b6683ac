"""What is known of each block: a folder of small files that outlives whoever writes them."""

from __future__ import annotations

import os
import re
import shutil
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from singula.io.atomic import atomic_path, make_folder
from singula.io.record_files import read_record, write_record
from singula.io.records import StoredRecord
from singula.paths import open_regular, user_path
from singula.scaleout.records import Arrays, damaged_blocks, read_block, write_records

R = TypeVar("R", bound=StoredRecord)
_PER_FOLDER = 1000
_FILE = re.compile(r"(\d{3})(?:-(\d{3}))?\.npz")


class JobFolder:
    """The records of a job: for each phase one of each block, and tables of all blocks together.

    A record is written last, so a block that has one is done. It is a table, and holds no pixels.
    Blocks that follow one another and were done together share a file, whose name says which they
    are: ``PHASE/000012/003-017.npz`` has the blocks 12003 to 12017.

    Parameters
    ----------
    path : Path or str

    Raises
    ------
    UserError
        Not a path.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = user_path(path, "path")
        self._files: dict[Path, dict[int, Path]] = {}

    def done(self, phase: str) -> set[int]:
        """Blocks that have a record."""
        found: set[int] = set()
        for folder in _entries(self.path / phase):
            if folder.name.isdigit():
                found.update(*(blocks for _, blocks in _files_in(folder)))
        return found

    def missing(self, phase: str, numbers: Sequence[int]) -> list[int]:
        """Those of some blocks that have no record."""
        folders = {self._folder(phase, number) for number in numbers}
        done = {n for f in folders for _, blocks in _files_in(f) for n in blocks}
        return [number for number in numbers if number not in done]

    def save(self, phase: str, number: int, arrays: Arrays) -> None:
        """Write a block's record."""
        self.save_many(phase, {number: arrays})

    def save_many(self, phase: str, records: Mapping[int, Arrays]) -> None:
        """Write the records of some blocks, those that follow one another into one file."""
        for run in _runs(sorted(records)):
            first, last = run[0] % _PER_FOLDER, run[-1] % _PER_FOLDER
            name = f"{first:03d}.npz" if first == last else f"{first:03d}-{last:03d}.npz"
            write_records(self._folder(phase, run[0]) / name, {n: records[n] for n in run})

    def load(self, phase: str, number: int) -> dict[str, npt.NDArray[Any]]:
        """Read a block's record.

        Raises
        ------
        FileNotFoundError
            When it has none.
        """
        folder = self._folder(phase, number)
        known = self._files.get(folder, {})
        if number in known:
            try:
                return read_block(known[number], number)
            except FileNotFoundError:
                pass  # the phase was forgotten, and done again
        known = self._files[folder] = {
            n: path for path, blocks in _files_in(folder) for n in blocks
        }
        if number not in known:
            raise FileNotFoundError(f"{folder}: block {number} has no record")
        return read_block(known[number], number)

    def _folder(self, phase: str, number: int) -> Path:
        return self.path / phase / f"{number // _PER_FOLDER:06d}"

    def forget(self, phase: str) -> None:
        """Delete the records of a phase, and its tables."""
        shutil.rmtree(self.path / phase, ignore_errors=True)

    def forget_all_but(self, names: Collection[str]) -> None:
        """Delete every phase and note but these; the plan stays."""
        for path in self.path.iterdir() if self.path.is_dir() else ():
            if path.is_dir() and path.name not in names:
                shutil.rmtree(path, ignore_errors=True)
            elif path.suffix == ".json" and path.stem not in (*names, "plan"):
                path.unlink(missing_ok=True)

    def table(self, phase: str, name: str) -> Path:
        """File of something that all blocks' records together gave."""
        return self.path / phase / f"{name}.npy"

    def save_table(self, phase: str, name: str, values: npt.NDArray[Any]) -> None:
        """Write such a table."""
        with atomic_path(self.table(phase, name)) as temporary:
            np.save(temporary, values)

    def open_table(self, phase: str, name: str) -> npt.NDArray[Any]:
        """View such a table; it stays on disk."""
        path = self.table(phase, name)
        open_regular(path).close()
        mode: Literal["r"] | None = "r" if path.stat().st_size > 4096 else None
        with damaged_blocks(path):
            found: npt.NDArray[Any] = np.load(path, mmap_mode=mode, allow_pickle=False)
            if not isinstance(found, np.ndarray) or found.dtype.kind not in "biuf":
                raise ValueError("contains no array of numbers")
            return found

    def write_note(self, name: str, note: StoredRecord) -> None:
        """Write a note about the job, as JSON."""
        write_record(self.path / f"{name}.json", note)

    def has_note(self, name: str) -> bool:
        """Return True if a note exists."""
        return (self.path / f"{name}.json").exists()

    def find_note(self, name: str, kind: type[R]) -> R | None:
        """Read a note; None if it does not exist.

        Raises
        ------
        UserError
            The note is damaged, see `singula.io.record_files.read_record`.
        """
        return self.read_note(name, kind) if self.has_note(name) else None

    def read_note(self, name: str, kind: type[R]) -> R:
        """Read a note that an earlier step has written.

        Raises
        ------
        UserError
            The note is missing or damaged.
        """
        hint = f"delete {self.path} to begin the image again"
        return read_record(self.path / f"{name}.json", kind, warnings.warn, hint=hint)


def _entries(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _files_in(folder: Path) -> Iterator[tuple[Path, range]]:
    """Files of records in a folder, and the blocks that they hold."""
    begin = int(folder.name) * _PER_FOLDER
    for path in _entries(folder):
        found = _FILE.fullmatch(path.name)
        if found is not None:
            last = int(found[2] or found[1])
            yield path, range(begin + int(found[1]), begin + last + 1)


def _runs(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """Ascending numbers, cut where one is left out or another folder begins."""
    start = 0
    for end in range(1, len(numbers) + 1):
        follows = end < len(numbers) and numbers[end] == numbers[end - 1] + 1
        if not follows or numbers[end] % _PER_FOLDER == 0:
            yield numbers[start:end]
            start = end


def save_arrays(path: Path, arrays: Arrays) -> None:
    """Write named arrays, compressed."""
    make_folder(path.parent)
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **dict(arrays))  # type: ignore[arg-type]


def load_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read named arrays."""
    with damaged_blocks(path), open_regular(path) as file, np.load(file) as stored:
        return {name: stored[name] for name in stored.files}
