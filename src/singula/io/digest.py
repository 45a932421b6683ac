"""Digests of image files, by which a changed file is recognized."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from singula.errors import UserError
from singula.io.list_images import list_images

MAX_WHOLE = 64 << 30
"""Bytes of a folder up to which files are read completely; of larger ones, samples are read."""
_SAMPLES, _SAMPLE = 16, 1 << 16  # number of samples of a file, and their size in bytes
_BLOCK = 1 << 20
_MAX_FILES = 1000  # files of a sampled folder that is an image, such as a Zarr
_LENGTH = 32  # hexadecimal digits


def file_sha256(path: Path) -> str:
    """Return the SHA-256 hash of a file.

    Raises
    ------
    UserError
        ``io.unreadable``: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(
            f"{path}: got a file that cannot be read ({error.strerror})",
            "check the permissions of the file",
            "io.unreadable",
        ) from error


def digest_images(folder: Path, key: str, *, max_whole: int = MAX_WHOLE) -> dict[str, str]:
    """Return a digest of each image of a folder, by file name.

    Parameters
    ----------
    folder : Path
        Folder of images, or a folder that is an image, such as ``cells.zarr``.
    key : str
        Configuration key of the folder, for messages.
    max_whole : int
        Bytes of all images up to which they are read completely. Beyond, the digest covers the size
        of each file and evenly spaced samples, and begins with ``sampled:``.

    Returns
    -------
    dict of str to str
        SHA-256 hashes, shortened to 128 bits.

    Raises
    ------
    UserError
        The codes of `list_images`.
    OSError
        A file cannot be read.
    """
    paths = list_images(folder, key)
    is_whole = _is_below(paths, max_whole)
    return {path.name: _digest(path, whole=is_whole) for path in paths}


def digest_again(path: Path, digest: str) -> str:
    """Return the digest of a file, computed as an earlier digest of it.

    Parameters
    ----------
    path : Path
        File, or a folder that is an image.
    digest : str
        Earlier digest.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    return _digest(path, whole=not digest.startswith("sampled:"))


def _is_below(paths: list[Path], limit: int) -> bool:
    """Return True if the files have fewer bytes than `limit`; at most as many files are visited."""
    total = 0
    for path in paths:
        for file in _files(path):
            total += file.stat().st_size + 1  # a limit for empty files, too
            if total > limit:
                return False
    return True


def _files(path: Path) -> Iterator[Path]:
    """Yield a file, or the files below a folder, in sorted order without listing all of them."""
    if not path.is_dir():
        yield path
        return
    for parent, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            yield Path(parent, name)


def _digest(path: Path, *, whole: bool) -> str:
    digest = hashlib.sha256()
    is_folder = path.is_dir()
    for file in _files(path) if whole or not is_folder else islice(_files(path), _MAX_FILES):
        if is_folder:
            digest.update(file.relative_to(path).as_posix().encode("utf-8", "surrogateescape"))
            digest.update(b"\0")
        _add_file(digest, file, whole=whole)
    text = digest.hexdigest()[:_LENGTH]
    return text if whole else f"sampled:{text}"


def _add_file(digest: hashlib._Hash, path: Path, *, whole: bool) -> None:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest.update(size.to_bytes(8, "little"))
        if whole or size <= _SAMPLES * _SAMPLE:
            while block := file.read(_BLOCK):
                digest.update(block)
            return
        for number in range(_SAMPLES):
            file.seek(number * (size - _SAMPLE) // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE))
