"""Listing of the images of a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from singula.errors import UserError
from singula.io.entries import broken_link, is_broken_link, is_folder, is_plain_file
from singula.io.formats.table import FOLDER_SUFFIXES, IMAGE_SUFFIXES, format_of, suffix_of
from singula.io.names import natural
from singula.util.locations import is_remote, location
from singula.util.store_errors import missing_url


def list_images(folder: Path | str, key: str) -> list[Path]:
    """Return the images of a folder in natural order (img2 before img10).

    Hidden files, subfolders, files of other formats and additional files of Cellpose are skipped.
    Folders such as ``cells.zarr`` count as files; `folder` can be such a folder. Links without a
    target, pipes and files without permission are included: the error on reading them names the
    file.

    Parameters
    ----------
    folder : Path or str
        Folder of images, or a folder that is an image, such as ``cells.zarr``.
    key : str
        Configuration key of the folder, for messages.

    Raises
    ------
    UserError
        ``io.no_such_folder``, ``io.not_a_folder``, ``io.unreadable_folder``; ``data.empty_folder``:
        the folder has no files; ``data.no_images``: no file has a known format.
    """
    folder = location(folder)
    try:
        _check_folder(folder, key)
        if is_image_file(folder):
            return [folder]
        files = [path for path in folder.iterdir() if path.name[0] != "." and _is_file(path)]
    except OSError as error:
        raise UserError(
            f"{key}: the folder {folder} cannot be read ({error.strerror})",
            "ask its owner for read permission",
            "io.unreadable_folder",
        ) from error
    images = [path for path in files if is_image_file(path)]
    if not images:
        raise _no_images(folder, key, files)
    return sorted(images, key=lambda path: natural(path.name))


def is_image_file(path: Path) -> bool:
    """Return True if the suffix belongs to a known format and the path is not a plain folder."""
    return format_of(path) is not None and _is_file(path) and not _is_from_cellpose(path)


def _is_from_cellpose(path: Path) -> bool:
    """Return True for the additional files of Cellpose: sessions (pickles) and flows."""
    name = path.name.lower()
    if not name.endswith("_seg.npy"):
        return name.endswith(("_flows.tif", "_flows.tiff"))
    try:
        if not is_plain_file(path):  # opening a pipe would block
            return False
        with path.open("rb") as file:
            return b"'|O'" in file.read(128)
    except OSError:  # reported when it is read as an image
        return False


def _is_file(path: Path) -> bool:
    """Return True for files, and for entries whose kind cannot be determined."""
    if suffix_of(path) in FOLDER_SUFFIXES:
        return is_folder(path) or not is_plain_file(path)
    return not is_folder(path)


def _check_folder(folder: Path, key: str) -> None:
    if is_broken_link(folder):
        error = broken_link(folder)
        raise UserError(f"{key}: {error.message}", error.hint, error.code)
    if not folder.exists():
        if is_remote(folder):
            error = missing_url(folder)
            raise UserError(f"{key}: {error.message}", error.hint, error.code)
        parent = next((path for path in folder.absolute().parents if path.is_dir()), folder)
        raise UserError(
            f"{key}: the folder {folder} does not exist",
            f"correct the path (it exists up to {parent})",
            "io.no_such_folder",
        )
    if not folder.is_dir():
        raise UserError(
            f"{key}: got the file {folder}, expected a folder",
            f"give the folder with the images, for example {folder.parent}",
            "io.not_a_folder",
        )


def _no_images(folder: Path, key: str, files: Sequence[Path]) -> UserError:
    allowed = ", ".join(IMAGE_SUFFIXES)
    if not files:
        subfolders = sorted(path.name for path in folder.iterdir() if path.is_dir())
        message = f"{key}: the folder {folder} is empty"
        if subfolders:
            names = ", ".join(subfolders[:5])
            message = f"{key}: the folder {folder} contains only folders ({names})"
        return UserError(
            message, f"give the folder that contains the images ({allowed})", "data.empty_folder"
        )
    suffixes = Counter(path.suffix.lower() or "no suffix" for path in files)
    listed = ", ".join(f"{suffix} ({count})" for suffix, count in suffixes.most_common(8))
    return UserError(
        f"{key}: the folder {folder} contains no image: got the suffixes {listed}, expected "
        f"{allowed}",
        "save the images as TIFF, for example with Fiji",
        "data.no_images",
    )
