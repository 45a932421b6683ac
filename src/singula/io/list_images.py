"""List the images of a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from singula.errors import UserError
from singula.io.entries import broken_link, is_broken_link, is_folder, is_plain_file
from singula.io.formats.table import FOLDER_SUFFIXES, IMAGE_SUFFIXES, format_of, suffix_of
from singula.io.names import natural


def list_images(folder: Path | str, key: str) -> list[Path]:
    """List the images of a folder in natural order (img2 before img10).

    Hidden files, sub-folders, files of other formats and what Cellpose leaves beside images and
    masks are left out; folders such as ``cells.zarr`` are files to the user. The folder may itself
    be such a one. Links without a target, pipes and files without permission are listed, too: the
    error on reading them names the file, so that none disappears without a message.

    Parameters
    ----------
    folder : Path or str
        Where to look.
    key : str
        The configuration key that named the folder, for messages.

    Raises
    ------
    UserError
        No such folder, a file in its place, or no image in it.
    """
    folder = Path(folder)
    try:
        _check_folder(folder, key)
        if is_image_file(folder):
            return [folder]
        files = [path for path in folder.iterdir() if path.name[0] != "." and _is_file(path)]
    except OSError as error:
        raise UserError(
            f"{key}: the folder {folder} cannot be read ({error.strerror})",
            "ask its owner for the right to read it",
        ) from error
    images = [path for path in files if is_image_file(path)]
    if not images:
        raise _no_images(folder, key, files)
    return sorted(images, key=lambda path: natural(path.name))


def is_image_file(path: Path) -> bool:
    """Return True if the suffix is that of a known format and the entry is not a plain folder."""
    return format_of(path) is not None and _is_file(path) and not _of_cellpose(path)


def _of_cellpose(path: Path) -> bool:
    """Whether Cellpose wrote it beside image and masks: its session (a pickle), or flows."""
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
        parent = next((part for part in folder.absolute().parents if part.is_dir()), folder)
        raise UserError(
            f"{key}: the folder {folder} does not exist",
            f"correct the path (it exists up to {parent})",
        )
    if not folder.is_dir():
        raise UserError(
            f"{key}: {folder} is a file, not a folder",
            f"give the folder with the images, for example {folder.parent}",
        )


def _no_images(folder: Path, key: str, files: Sequence[Path]) -> UserError:
    allowed = ", ".join(IMAGE_SUFFIXES)
    if not files:
        inner = sorted(part.name for part in folder.iterdir() if part.is_dir())
        message = f"{key}: the folder {folder} is empty"
        if inner:
            message = f"{key}: the folder {folder} holds only folders ({', '.join(inner[:5])})"
        return UserError(message, f"give the folder that holds the images ({allowed})")
    found = Counter(path.suffix.lower() or "no suffix" for path in files)
    listed = ", ".join(f"{suffix} ({count})" for suffix, count in found.most_common(8))
    return UserError(
        f"{key}: the folder {folder} holds no image; suffixes found: {listed}; allowed: {allowed}",
        "save the images as TIFF, for example with Fiji",
    )
