"""Which folders the interface may touch."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from singula.config import Config
from singula.errors import UserError

_HISTOGRAM = "DATA.PREPROCESS.MATCH_HISTOGRAM"
# What is read, and the key without which it is not.
_READ = {
    "DATA.TRAIN.PATH": "TRAIN.ENABLE",
    "DATA.TRAIN.GT_PATH": "TRAIN.ENABLE",
    "DATA.VAL.PATH": "TRAIN.ENABLE",
    "DATA.VAL.GT_PATH": "TRAIN.ENABLE",
    "DATA.TEST.PATH": "TEST.ENABLE",
    "DATA.TEST.GT_PATH": "TEST.ENABLE",
    "DATA.TEST.BINARY_MASKS": "TEST.ENABLE",
    f"{_HISTOGRAM}.REFERENCE_PATH": f"{_HISTOGRAM}.ENABLE",
}

_MOST_TOLD, _LONGEST_INSIDE = 80, 200


@dataclass(frozen=True)
class Guard:
    """Lets paths inside some folders through, and refuses all others.

    Parameters
    ----------
    roots : tuple of Path
        Resolved folders.
    """

    roots: tuple[Path, ...]

    @classmethod
    def of(cls, folders: Iterable[Path | str]) -> Guard:
        """Guard of existing folders; of the current one where none is given.

        Raises
        ------
        UserError
            One of them is no folder.
        """
        given = [Path(folder).expanduser() for folder in folders] or [Path()]
        for folder in given:
            if not folder.is_dir():
                raise UserError(f"--root: {folder} is no folder", "give a folder that exists")
        return cls(tuple(dict.fromkeys(folder.resolve() for folder in given)))

    @property
    def home(self) -> Path:
        """Where relative paths begin: the first folder."""
        return self.roots[0]

    def check(self, path: Path | str) -> Path:
        """Resolve a path, symbolic links included, and see that it lies inside.

        A relative path is one in the first folder. The path need not exist.

        Raises
        ------
        UserError
            It leads outside, or cannot be a path.
        """
        try:
            full = (self.home / Path(path).expanduser()).resolve()
            _check_length(full)
        except (OSError, ValueError, RuntimeError) as error:
            text = str(path)
            text = text if len(text) <= _MOST_TOLD else f"{text[:_MOST_TOLD]}…"
            raise UserError(f"{text!r} is no path that can be opened") from error
        if not any(full == root or root in full.parents for root in self.roots):
            folders = ", ".join(map(str, self.roots))
            raise UserError(
                f"{path}: lies outside the folders that this interface may open ({folders})",
                "start it with --root FOLDER for each folder that it shall reach",
            )
        return full

    def allows(self, path: Path | str) -> bool:
        """Whether `check` would let it through."""
        try:
            self.check(path)
        except UserError:
            return False
        return True

    def check_config(self, config: Config) -> None:
        """See that every folder and file that a run of a configuration would touch lies inside.

        Raises
        ------
        UserError
            Names the first key that leads outside.
        """
        values = config.dotted()
        moved = config.path_overrides()
        for key, value in values.items():
            if key in _READ and not values[_READ[key]]:
                continue
            used = key in _READ or key in moved or _is_channel_folder(config, key)
            if not used or not isinstance(value, str) or not value:
                continue
            parts = Path(value).parts
            if key in moved and parts[0] == "JOB_DIR" and ".." not in parts:
                continue
            if "JOB_DIR" in value:
                raise UserError(
                    f"{key}: found {value!r}; allowed JOB_DIR at the beginning of a folder of the "
                    "results, and no way out of it",
                    "name a folder inside those of this interface",
                )
            try:
                self.check(value)
            except UserError as error:
                raise UserError(f"{key}: {error.message}", error.hint) from error

    def short(self, path: Path | str) -> str:
        """A path as people read it: from the folder that it is in."""
        full = Path(path)
        for root in self.roots:
            if full == root or root in full.parents:
                relative = os.path.relpath(full, root)
                return relative if len(self.roots) == 1 else os.path.join(root.name, relative)
        return str(path)

    def listing(self, folder: Path | str) -> tuple[list[Path], list[Path]]:
        """Sub-folders and files of a folder, hidden ones and what leads outside left out.

        Raises
        ------
        UserError
            The folder lies outside or cannot be read.
        """
        full = self.check(folder)
        try:
            entries = sorted(full.iterdir(), key=lambda path: path.name.lower())
        except OSError as error:
            raise UserError(f"{folder}: cannot be listed ({error.strerror})") from error
        seen = [path for path in entries if path.name[0] != "." and self.allows(path)]
        return [path for path in seen if path.is_dir()], [path for path in seen if path.is_file()]


def _check_length(path: Path) -> None:
    """Raise what the system says of a path too long for it, or for names of files in it."""
    try:
        (path / ("x" * _LONGEST_INSIDE)).lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise


def _is_channel_folder(config: Config, key: str) -> bool:
    return key.endswith(("INSTANCE_CHANNELS_DIR", "INSTANCE_CHANNELS_MASK_DIR")) and config.is_set(
        key
    )
