"""Folder that stores the results of the blocks of an image, so that a run can be resumed."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from singula.blocks.records import Arrays, damaged_blocks, read_block, write_records
from singula.io.atomic import atomic_path, make_folder
from singula.io.record_files import read_record, write_record
from singula.io.records.base import StoredRecord
from singula.util.paths import open_regular, user_path
from singula.util.slurm import record_progress

R = TypeVar("R", bound=StoredRecord)
_PER_FOLDER = 1000
_MAX_FOLDERS = 64  # whose files are remembered: of a block and of its neighbors
_FILE = re.compile(r"(\d{3})(?:-(\d{3}))?\.npz")


class JobFolder:
    """Folder of a job: for each phase, one record per block and tables of all blocks.

    The record of a block is written last, so a block with a record is done. Records contain small
    arrays and no pixels. Consecutive blocks that were processed together share a file, whose name
    is the range of their numbers: ``PHASE/000012/003-017.npz`` contains blocks 12003 to 12017.

    Parameters
    ----------
    path : Path or str
        The folder; it is created with the first file.

    Raises
    ------
    UserError
        The value is not a path.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = user_path(path, "path")
        self._files: dict[Path, dict[int, Path]] = {}

    def done(self, phase: str) -> set[int]:
        """Return the numbers of all blocks with a record."""
        numbers: set[int] = set()
        for folder in _entries(self.path / phase):
            if folder.name.isdigit():
                numbers.update(*(blocks for _, blocks in _files_in(folder)))
        return numbers

    def missing(self, phase: str, numbers: Sequence[int]) -> list[int]:
        """Return the given blocks that have no record, in the same order."""
        folders = {self._folder(phase, number) for number in numbers}
        done = {n for f in folders for _, blocks in _files_in(f) for n in blocks}
        return [number for number in numbers if number not in done]

    def save(self, phase: str, number: int, arrays: Arrays) -> None:
        """Write the record of a block."""
        self.save_many(phase, {number: arrays})

    def save_many(self, phase: str, records: Mapping[int, Arrays]) -> None:
        """Write the records of blocks; consecutive blocks share a file."""
        for run in _runs(sorted(records)):
            first, last = run[0] % _PER_FOLDER, run[-1] % _PER_FOLDER
            name = f"{first:03d}.npz" if first == last else f"{first:03d}-{last:03d}.npz"
            write_records(self._folder(phase, run[0]) / name, {n: records[n] for n in run})
            record_progress()

    def load(self, phase: str, number: int) -> dict[str, npt.NDArray[Any]]:
        """Read the record of a block.

        Raises
        ------
        FileNotFoundError
            The block has no record.
        """
        folder = self._folder(phase, number)
        files = self._files.get(folder, {})
        if number in files:
            try:
                return read_block(files[number], number)
            except FileNotFoundError:
                pass  # the phase was deleted and processed again
        files = {n: path for path, blocks in _files_in(folder) for n in blocks}
        self._files.pop(folder, None)
        if len(self._files) >= _MAX_FOLDERS:
            self._files.pop(next(iter(self._files)))  # the folder that was listed first
        self._files[folder] = files
        if number not in files:
            raise FileNotFoundError(f"{folder}: block {number} has no record")
        return read_block(files[number], number)

    def _folder(self, phase: str, number: int) -> Path:
        return self.path / phase / f"{number // _PER_FOLDER:06d}"

    def delete_phase(self, phase: str) -> None:
        """Delete the records and tables of a phase."""
        shutil.rmtree(self.path / phase, ignore_errors=True)

    def delete_all_except(self, names: Collection[str]) -> None:
        """Delete all phases and notes except the named ones and the plan."""
        for path in self.path.iterdir() if self.path.is_dir() else ():
            if path.is_dir() and path.name not in names:
                shutil.rmtree(path, ignore_errors=True)
            elif path.suffix == ".json" and path.stem not in (*names, "plan"):
                path.unlink(missing_ok=True)

    def table(self, phase: str, name: str) -> Path:
        """Return the file of a table, an array computed from the records of all blocks."""
        return self.path / phase / f"{name}.npy"

    def save_table(self, phase: str, name: str, values: npt.NDArray[Any]) -> None:
        """Write a table."""
        with atomic_path(self.table(phase, name)) as temporary:
            np.save(temporary, values)

    def open_table(self, phase: str, name: str) -> npt.NDArray[Any]:
        """Return a table as a memory map; tables of up to 4 KB are read."""
        path = self.table(phase, name)
        open_regular(path).close()
        # Small files include empty arrays, which cannot be mapped.
        mode: Literal["r"] | None = "r" if path.stat().st_size > 4096 else None
        with damaged_blocks(path):
            table: npt.NDArray[Any] = np.load(path, mmap_mode=mode, allow_pickle=False)
            if not isinstance(table, np.ndarray) or table.dtype.kind not in "biuf":
                raise ValueError("contains no array of numbers")
            return table

    def write_note(self, name: str, note: StoredRecord) -> None:
        """Write a note about the job as JSON."""
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
        hint = f"delete {self.path} to process the image again"
        return read_record(self.path / f"{name}.json", kind, hint=hint)


def _entries(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _files_in(folder: Path) -> Iterator[tuple[Path, range]]:
    """Yield the record files of a folder, with the numbers of their blocks."""
    begin = int(folder.name) * _PER_FOLDER
    for path in _entries(folder):
        match = _FILE.fullmatch(path.name)
        if match is not None:
            last = int(match[2] or match[1])
            yield path, range(begin + int(match[1]), begin + last + 1)


def _runs(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield runs of consecutive numbers, each within one folder; the input is ascending."""
    start = 0
    for end in range(1, len(numbers) + 1):
        follows = end < len(numbers) and numbers[end] == numbers[end - 1] + 1
        if not follows or numbers[end] % _PER_FOLDER == 0:
            yield numbers[start:end]
            start = end


def save_arrays(path: Path, arrays: Arrays) -> None:
    """Write named arrays to a compressed NumPy archive."""
    make_folder(path.parent)
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **dict(arrays))  # type: ignore[arg-type]


def load_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read all arrays of a NumPy archive."""
    with damaged_blocks(path), open_regular(path) as file, np.load(file) as stored:
        return {name: stored[name] for name in stored.files}
