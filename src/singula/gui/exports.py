"""Export of objects from the interface, to a folder or as a download."""

from __future__ import annotations

import shutil
from pathlib import Path

from singula.errors import UserError
from singula.exports import FORMATS, export
from singula.gui.guard import Guard
from singula.runs.images import open_images
from singula.runs.run import is_finished, open_run
from singula.util.messages import captured_messages

FORMAT_TITLES = {
    "imagej": "ImageJ or Fiji: outlines (.zip)",
    "qupath": "QuPath: outlines and measurements (.geojson)",
    "ome-zarr": "OME-Zarr: label images",
    "csv": "Table of measurements (.csv)",
    "coco": "COCO: outlines (.json)",
}
"""Descriptions of the formats for the page."""


def export_to_folder(
    guard: Guard, source: Path, to: str, folder: str, *, replace: bool
) -> list[Path]:
    """Write the objects of a run or of label images to a folder, and return the files.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    source : Path
        Folder of a finished run, or of label images.
    to : str
        Key of `FORMAT_TITLES`.
    folder : str
        Folder to write; it is created if necessary.
    replace : bool
        Replace existing files.

    Raises
    ------
    UserError
        ``gui.no_output``: no folder; ``gui.export_exists``: a file exists; ``gui.outside``: a path
        is outside of the roots; the codes of `singula.exports.export`.
    """
    if not folder.strip():
        raise UserError("no folder for the export is chosen", "choose a folder", "gui.no_output")
    target = guard.check(folder)
    guard.check_below([target])
    try:
        return _export(guard, source, to, target, replace=replace)
    except UserError as error:
        if error.code != "export.exists":
            raise
        raise UserError(
            error.message,
            "choose another folder, or allow to replace existing files",
            "gui.export_exists",
        ) from None


def export_for_download(guard: Guard, source: Path, to: str, scratch: Path) -> Path:
    """Write the objects to a temporary folder, and return one file with all of them.

    Parameters
    ----------
    guard, source, to
        As for `export_to_folder`.
    scratch : Path
        Empty folder; several files are packed into a ZIP file in it.

    Raises
    ------
    UserError
        As for `export_to_folder`.
    """
    name = f"{source.name}_{to.replace('-', '_')}"
    files = _export(guard, source, to, scratch / name, replace=False)
    if len(files) == 1 and files[0].is_file():
        return files[0]
    return Path(shutil.make_archive(str(scratch / name), "zip", scratch / name))


def _export(guard: Guard, source: Path, to: str, target: Path, *, replace: bool) -> list[Path]:
    source = guard.check_entries(source)
    with captured_messages():
        if is_finished(source) and FORMATS[to].intensities:
            _check_images(guard, source)
        return export(source, to, target, overwrite=replace)


def _check_images(guard: Guard, source: Path) -> None:
    """Raise an error if the images, from which intensities are measured, are outside."""
    for pair in open_images(open_run(source)).pairs.values():
        guard.check(pair.image)
