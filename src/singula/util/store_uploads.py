"""Upload of files to object stores; an incomplete upload is never taken for a complete one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from singula.util.object_stores import METADATA_NAMES, RecentAnswers, file_stamp, open_store
from singula.util.store_errors import errors_of

INCOMPLETE = ".singula_upload"
"""Name of the empty file in a folder of a store that exists while the folder is uploaded."""
_N_UPLOADS = 32  # files at the same time


def check_writable(url: str) -> None:
    """Write an empty file below a URL, and delete it again.

    Parameters
    ----------
    url : str
        Folder of an object store, which need not exist.

    Raises
    ------
    UserError
        The codes of `singula.util.store_errors.errors_of`.
    """
    _Folder(url).put(INCOMPLETE, b"")
    _Folder(url).delete([INCOMPLETE])


def is_incomplete(url: str) -> bool:
    """Return True if an upload of a folder has not ended."""
    return file_stamp(f"{url}/{INCOMPLETE}") is not None


def upload_file(source: Path, url: str) -> None:
    """Upload a file; an existing one is replaced when the new one is complete.

    Raises
    ------
    UserError
        The codes of `singula.util.store_errors.errors_of`.
    """
    folder, _, name = url.rpartition("/")
    _Folder(folder).put(name, source)


def delete_file(url: str) -> None:
    """Delete a file if it exists.

    Raises
    ------
    UserError
        The codes of `singula.util.store_errors.errors_of`.
    """
    folder, _, name = url.rpartition("/")
    _Folder(folder).delete([name])


def begin_folder(url: str) -> None:
    """Mark a folder as incomplete, and delete its files: the metadata of Zarr before the chunks.

    Raises
    ------
    UserError
        The codes of `singula.util.store_errors.errors_of`.
    """
    folder = _Folder(url)
    folder.put(INCOMPLETE, b"")
    names = folder.names()
    root = names & {*METADATA_NAMES}
    metadata = {name for name in names if name.rpartition("/")[2] in METADATA_NAMES} - root
    for group in (root, metadata, names - root - metadata - {INCOMPLETE}):
        if group:
            folder.delete(sorted(group))


def upload_folder(source: Path, url: str) -> None:
    """Upload the files of a Zarr folder after `begin_folder`, its own metadata last.

    Without metadata, no reader finds the image. With them, all chunks exist.

    Parameters
    ----------
    source : Path
        Zarr folder on this computer.
    url : str
        Folder of an object store.

    Raises
    ------
    UserError
        The codes of `singula.util.store_errors.errors_of`.
    """
    files = sorted(path.relative_to(source) for path in source.rglob("*") if path.is_file())
    chunks = [file for file in files if file.name not in METADATA_NAMES]
    metadata = [file for file in files if file.name in METADATA_NAMES]
    folder = _Folder(url)

    def put(file: Path) -> None:
        folder.put(file.as_posix(), source / file)

    pool = ThreadPoolExecutor(_N_UPLOADS)
    try:
        list(pool.map(put, chunks))
    finally:
        pool.shutdown(cancel_futures=True)
    for file in sorted(metadata, key=lambda file: len(file.parts), reverse=True):
        put(file)
    folder.delete([INCOMPLETE])


class _Folder:
    """Folder of an object store, whose requests are repeated by obstore.

    Parameters
    ----------
    url : str
        URL of the folder.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._store = open_store(url)

    def put(self, name: str, content: Path | bytes) -> None:
        """Write a file."""
        import obstore

        with _writing(f"{self._url}/{name}"):
            obstore.put(self._store, name, content)

    def delete(self, names: Sequence[str]) -> None:
        """Delete files that may be missing."""
        import obstore

        with _writing(self._url):
            obstore.delete(self._store, names)

    def names(self) -> set[str]:
        """Return the names of all files below the folder."""
        import obstore

        with errors_of(self._url):
            return {str(entry["path"]) for batch in obstore.list(self._store) for entry in batch}


@contextmanager
def _writing(url: str) -> Iterator[None]:
    """Convert the errors of a store, and forget its earlier answers."""
    try:
        with errors_of(url):
            yield
    finally:
        RecentAnswers.forget()
