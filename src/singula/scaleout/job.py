"""What is known of each block: a folder of small files that outlives whoever writes them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.io.atomic import atomic_path, make_folder

Arrays = Mapping[str, npt.NDArray[Any]]
_PER_FOLDER = 1000


class JobFolder:
    """The records of a job: for each phase one of each block, and tables of all blocks together.

    A record is written last, so a block that has one is done. It is a table, and holds no pixels.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def record(self, phase: str, number: int) -> Path:
        """File of a block's record."""
        folder = self.path / phase / f"{number // _PER_FOLDER:06d}"
        return folder / f"{number % _PER_FOLDER:03d}.npz"

    def done(self, phase: str) -> set[int]:
        """Blocks that have a record."""
        found = set()
        for folder in (self.path / phase).glob("[0-9]" * 6):
            first = int(folder.name) * _PER_FOLDER
            found |= {first + int(file.stem) for file in folder.glob("[0-9]*.npz")}
        return found

    def save(self, phase: str, number: int, arrays: Arrays) -> None:
        """Write a block's record."""
        save_arrays(self.record(phase, number), arrays)

    def load(self, phase: str, number: int) -> dict[str, npt.NDArray[Any]]:
        """Read a block's record."""
        return load_arrays(self.record(phase, number))

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
        empty = np.load(path, mmap_mode=None) if path.stat().st_size <= 4096 else None
        found: npt.NDArray[Any] = np.load(path, mmap_mode="r") if empty is None else empty
        return found

    def write_note(self, name: str, values: Mapping[str, Any]) -> None:
        """Write something small as JSON."""
        with atomic_path(self.path / f"{name}.json") as temporary:
            temporary.write_text(json.dumps(values, indent=1), encoding="utf-8")

    def read_note(self, name: str) -> dict[str, Any] | None:
        """Read it; None when it is not there."""
        path = self.path / f"{name}.json"
        if not path.is_file():
            return None
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found


def save_arrays(path: Path, arrays: Arrays) -> None:
    """Write named arrays, compressed."""
    make_folder(path.parent)
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **dict(arrays))  # type: ignore[arg-type]


def load_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read named arrays."""
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}
