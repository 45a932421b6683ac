"""Access control for files: the folders that the interface may read and write."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from singula.config import Config
from singula.errors import UserError
from singula.io.results import ResultsTree
from singula.paths import user_path

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
        given = [user_path(folder, "--root") for folder in folders] or [Path()]
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
            os.fspath(full).encode()  # addresses and pages hold UTF-8 only
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

    def check_below(self, paths: Iterable[Path | str]) -> None:
        """Check locations and every symbolic link below them, so that writing stays inside.

        Links to other locations inside the roots are followed. The locations need not exist.

        Raises
        ------
        UserError
            A location or a link leads outside.
        """
        waiting = [self.check(path) for path in paths]
        done: set[Path] = set()
        while waiting:
            folder = waiting.pop()
            if folder in done:
                continue
            done.add(folder)
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.is_symlink():
                            waiting.append(self.check(entry.path))
                        elif entry.is_dir(follow_symlinks=False):
                            waiting.append(Path(entry.path))
            except OSError:  # a file, missing, or not readable: nothing can be written below it
                continue

    def check_run(self, config: Config, tree: ResultsTree) -> None:
        """Check every location that a run reads or writes, links included.

        Parameters
        ----------
        config : Config
        tree : ResultsTree
            The results of the run.

        Raises
        ------
        UserError
            Names the key or the path that leads outside.
        """
        self.check_config(config)
        values = config.dotted()
        channels = [
            value
            for key, value in values.items()
            if _is_channel_folder(key) and values[_used_with(key)] and value
        ]
        self.check_below([*tree.locations(), *channels])

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
            chosen = _is_channel_folder(key) and config.is_set(key)
            used = key in _READ or key in moved or chosen
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


def _is_channel_folder(key: str) -> bool:
    return key.endswith(("INSTANCE_CHANNELS_DIR", "INSTANCE_CHANNELS_MASK_DIR"))


def _used_with(key: str) -> str:
    """Return the key that turns on the stage which stores channels in a folder."""
    return "TEST.ENABLE" if key.startswith("DATA.TEST.") else "TRAIN.ENABLE"
