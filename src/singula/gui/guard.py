"""Access control for files: folders that the interface may read and write."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from singula.config import Config
from singula.errors import UserError
from singula.io.run_folder import ResultsTree
from singula.util.paths import user_path

_HISTOGRAM = "DATA.PREPROCESS.MATCH_HISTOGRAM"
# Keys of input paths, with the key that enables reading the path
_INPUTS = {
    "DATA.TRAIN.PATH": "TRAIN.ENABLE",
    "DATA.TRAIN.GT_PATH": "TRAIN.ENABLE",
    "DATA.TRAIN.IGNORE_PATH": "TRAIN.ENABLE",
    "DATA.VAL.PATH": "TRAIN.ENABLE",
    "DATA.VAL.GT_PATH": "TRAIN.ENABLE",
    "DATA.VAL.IGNORE_PATH": "TRAIN.ENABLE",
    "DATA.TEST.PATH": "TEST.ENABLE",
    "DATA.TEST.GT_PATH": "TEST.ENABLE",
    "DATA.TEST.IGNORE_PATH": "TEST.ENABLE",
    "DATA.TEST.BINARY_MASKS": "TEST.ENABLE",
    f"{_HISTOGRAM}.REFERENCE_PATH": f"{_HISTOGRAM}.ENABLE",
}

_MAX_SHOWN, _MAX_NAME = 80, 200  # characters


@dataclass(frozen=True)
class Guard:
    """Access control that accepts only paths inside of the roots.

    Parameters
    ----------
    roots : tuple of Path
        Resolved folders.
    """

    roots: tuple[Path, ...]

    @classmethod
    def of(cls, folders: Iterable[Path | str]) -> Guard:
        """Return a guard of existing folders.

        Parameters
        ----------
        folders : iterable of Path or str
            The roots; if empty, the current folder.

        Raises
        ------
        UserError
            ``gui.root_missing``: a root is not a folder.
        """
        paths = [user_path(folder, "--root") for folder in folders] or [Path()]
        for folder in paths:
            if not folder.is_dir():
                raise UserError(
                    f"--root: {folder} is not a folder",
                    "give an existing folder",
                    "gui.root_missing",
                )
        return cls(tuple(dict.fromkeys(folder.resolve() for folder in paths)))

    @property
    def home(self) -> Path:
        """First root, in which relative paths are resolved."""
        return self.roots[0]

    def check(self, path: Path | str) -> Path:
        """Resolve a path and its symbolic links, and return it if it is inside of a root.

        Parameters
        ----------
        path : Path or str
            Path, relative to the first root. It need not exist.

        Raises
        ------
        UserError
            ``gui.outside``: the path is outside of the roots.
            ``gui.invalid_path``: the system cannot open such a path.
        """
        try:
            full = (self.home / Path(path).expanduser()).resolve()
            os.fspath(full).encode()  # addresses and pages must be UTF-8
            _check_length(full)
        except (OSError, ValueError, RuntimeError) as error:
            text = str(path)
            text = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
            raise UserError(
                f"{text!r}: is not a valid path", "correct the path", "gui.invalid_path"
            ) from error
        if not any(full == root or root in full.parents for root in self.roots):
            folders = ", ".join(map(str, self.roots))
            raise UserError(
                f"{path}: is outside of the folders that the interface may open ({folders})",
                "restart `singula gui` with --root FOLDER for each folder that it may open",
                "gui.outside",
            )
        return full

    def allows(self, path: Path | str) -> bool:
        """Return True if `check` accepts the path."""
        try:
            self.check(path)
        except UserError:
            return False
        return True

    def check_entries(self, folder: Path) -> Path:
        """Check a folder and its entries, of which a link could lead outside, and return it."""
        for path in (full := self.check(folder)).glob("*"):
            self.check(path)
        return full

    def check_below(self, paths: Iterable[Path | str]) -> None:
        """Check paths and all symbolic links in them, so that nothing outside is written.

        Links to other locations inside of the roots are followed.

        Parameters
        ----------
        paths : iterable of Path or str
            Files and folders; they need not exist.

        Raises
        ------
        UserError
            ``gui.outside``: a path or a link leads outside of the roots.
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
            except OSError:  # a file, missing or unreadable: nothing is written below it
                continue

    def check_run(self, config: Config, tree: ResultsTree) -> None:
        """Check all paths that a run reads or writes, including symbolic links.

        Parameters
        ----------
        config : Config
            Configuration of the run.
        tree : ResultsTree
            Results folder of the run.

        Raises
        ------
        UserError
            ``gui.outside``: a key or a path leads outside of the roots.
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
        """Check the keys of a configuration that are paths.

        Parameters
        ----------
        config : Config
            Configuration of a run.

        Raises
        ------
        UserError
            ``gui.outside``: the path of a key leads outside of the roots.
            ``gui.job_dir``: JOB_DIR is not at the beginning of a path of the results.
        """
        for key, error in self.config_errors(config).items():
            raise UserError(f"{key}: {error.message}", error.hint, error.code) from error

    def config_errors(self, config: Config) -> dict[str, UserError]:
        """Return the errors of `check_config` by dotted key, without the key in the message.

        Parameters
        ----------
        config : Config
            Configuration of a run.
        """
        errors: dict[str, UserError] = {}
        values = config.dotted()
        moved = config.path_overrides()
        tests_validation = config.TEST.ENABLE and config.DATA.TEST.USE_VAL_AS_TEST
        for key, value in values.items():
            is_validation = tests_validation and key.startswith(("DATA.TRAIN.", "DATA.VAL."))
            if key in _INPUTS and not (values[_INPUTS[key]] or is_validation):
                continue
            chosen = _is_channel_folder(key) and config.is_set(key)
            used = key in _INPUTS or key in moved or chosen
            if not used or not isinstance(value, str) or not value:
                continue
            parts = Path(value).parts
            if key in moved and parts[0] == "JOB_DIR" and ".." not in parts:
                continue
            if "JOB_DIR" in value:
                errors[key] = UserError(
                    f"got {value!r}, expected JOB_DIR only at the beginning of a folder of the "
                    "results, without ..",
                    "choose a folder that the interface may open",
                    "gui.job_dir",
                )
                continue
            try:
                self.check(value)
            except UserError as error:
                errors[key] = error
        return errors

    def short(self, path: Path | str) -> str:
        """Return a path for pages and fields: relative to the first root, or else absolute.

        `check` of the text returns the path.
        """
        full = Path(path)
        if full == self.home or self.home in full.parents:
            relative = os.path.relpath(full, self.home)
            if not relative.startswith("~"):  # not a home folder
                return relative
        return str(path)

    def listing(self, folder: Path | str) -> tuple[list[Path], list[Path]]:
        """Return folders and files in a folder, without hidden entries and links to the outside.

        Parameters
        ----------
        folder : Path or str
            Folder inside of the roots.

        Raises
        ------
        UserError
            ``gui.outside``: the folder is outside of the roots.
            ``gui.unreadable_folder``: the folder cannot be read.
        """
        full = self.check(folder)
        try:
            entries = sorted(full.iterdir(), key=lambda path: path.name.lower())
        except OSError as error:
            raise UserError(
                f"{folder}: cannot be read ({error.strerror})",
                "choose another folder",
                "gui.unreadable_folder",
            ) from error
        shown = [path for path in entries if path.name[0] != "." and self.allows(path)]
        return [path for path in shown if path.is_dir()], [path for path in shown if path.is_file()]


def _check_length(path: Path) -> None:
    """Raise an OSError if the path, or a file in it, would be too long for the system."""
    try:
        (path / ("x" * _MAX_NAME)).lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise


def _is_channel_folder(key: str) -> bool:
    return key.endswith(("INSTANCE_CHANNELS_DIR", "INSTANCE_CHANNELS_MASK_DIR"))


def _used_with(key: str) -> str:
    """Return the key that enables the stage which stores channels in a folder."""
    return "TEST.ENABLE" if key.startswith("DATA.TEST.") else "TRAIN.ENABLE"
