"""Output folders on this computer and in object stores, to which complete results are uploaded."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from singula.errors import UserError
from singula.io.replace import remove_file, remove_folder
from singula.util.locations import check_url, is_remote
from singula.util.object_stores import list_names
from singula.util.paths import as_name, user_path
from singula.util.s3_options import s3_options
from singula.util.state import state_folder
from singula.util.store_uploads import (
    begin_folder,
    check_writable,
    delete_file,
    is_incomplete,
    upload_file,
    upload_folder,
)

UPLOADS_VARIABLE = "SINGULA_UPLOADS"
"""Environment variable with the folder for results that are not uploaded yet."""


@dataclass(frozen=True)
class OutputFolder:
    """Folder of results on this computer, or in an object store.

    All files are written to `local`. `publish` moves them to the object store.

    Parameters
    ----------
    path : Path
        Folder, or URL of the scheme s3.

    Raises
    ------
    UserError
        ``paths.remote``: a URL of a web server.
    """

    path: Path

    def __post_init__(self) -> None:
        """Raise an error for a URL of a web server."""
        if self.is_remote:
            check_url(self.path, "output", "output")

    @property
    def is_remote(self) -> bool:
        """True for a folder in an object store."""
        return is_remote(self.path)

    @cached_property
    def local(self) -> Path:
        """Folder on this computer, which need not exist; `path` unless that is a URL.

        Raises
        ------
        UserError
            ``paths.…``: the folder in the environment is not valid.
        """
        if not self.is_remote:
            return self.path
        key = f"{s3_options().get('endpoint', '')}\0{self.path}"
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return _uploads_folder() / f"{as_name(self.path.name)[:40]}_{digest}"

    def check(self) -> None:
        """Raise an error if the object store does not exist, or refuses to write.

        Raises
        ------
        UserError
            The codes of `singula.util.store_errors.errors_of`.
        """
        if self.is_remote:
            check_writable(str(self.path))

    def existing(self, names: Iterable[str]) -> list[Path]:
        """Return the paths of files and folders that exist, of these names."""
        if not self.is_remote:
            return [path for path in map(self.path.joinpath, names) if path.exists()]
        listed = set(list_names(str(self.path)))
        return [self.path / name for name in names if name in listed]

    def published(self, name: str) -> Path | None:
        """Return the URL of a folder that has been uploaded; None if it is incomplete or missing.

        Of an output folder on this computer, nothing is uploaded.
        """
        target = self.path / name
        if not self.is_remote or not target.is_dir() or is_incomplete(str(target)):
            return None
        return target

    def publish(self, folder: str, files: Sequence[str]) -> None:
        """Move results to the object store, so that the folder appears when all are complete.

        Files of `files` that do not exist on this computer are deleted from the object store if a
        folder is uploaded, because they belong to an earlier one.

        Parameters
        ----------
        folder : str
            Name of a Zarr folder; empty if only files are uploaded.
        files : sequence of str
            Names of files.

        Raises
        ------
        UserError
            The codes of `singula.util.store_errors.errors_of`.
        """
        if not self.is_remote:
            return
        try:
            if folder:
                begin_folder(str(self.path / folder))
            for name in files:
                if (self.local / name).is_file():
                    upload_file(self.local / name, str(self.path / name))
                elif folder:
                    delete_file(str(self.path / name))
            if folder:
                upload_folder(self.local / folder, str(self.path / folder))
        except UserError as error:
            hint = f"{error.hint}; the results are in {self.local}, and --resume uploads them"
            raise UserError(error.message, hint, error.code) from error
        for name in files:
            remove_file(self.local / name)
        if folder:
            remove_folder(self.local / folder)


def _uploads_folder() -> Path:
    text = os.environ.get(UPLOADS_VARIABLE)
    if text:
        return user_path(text, UPLOADS_VARIABLE, "output folder")
    try:
        return state_folder() / "uploads"
    except RuntimeError as error:
        raise UserError(
            f"{UPLOADS_VARIABLE}: got no folder, expected one, as there is no home folder",
            "set the variable to a folder for results that are not uploaded yet",
            "paths.missing",
        ) from error
