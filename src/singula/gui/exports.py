"""Export of objects from the interface, to a folder or as a download."""

from __future__ import annotations

import shutil
from pathlib import Path

from singula.errors import UserError
from singula.exports import FORMATS, export
from singula.gui.guard import Guard
from singula.runs.corrections import FOLDER, OBJECTS, corrected_names
from singula.runs.images import open_images
from singula.runs.run import is_finished, open_run
from singula.util.messages import captured_messages


def count_corrected(source: Path) -> int:
    """Return the number of images with corrections of a run or of a folder of label images.

    Parameters
    ----------
    source : Path
        Folder of a finished run, or of label images.
    """
    folder = _labels_folder(source)
    return 0 if folder is None else len(corrected_names(folder))


def _labels_folder(source: Path) -> Path | None:
    """Return the folder of the exported label images; None if a run has none."""
    if not is_finished(source):
        return source
    with captured_messages():
        run = open_run(source)
    files = run.instance_files(run.final_stage) if run.stages else {}
    return next(iter(files.values())).parent if files else None


def export_to_folder(
    guard: Guard, source: Path, to: str, folder: str, *, replace: bool, objects: str = "corrected"
) -> list[Path]:
    """Write the objects of a run or of label images to a folder, and return the files.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    source : Path
        Folder of a finished run, or of label images.
    to : str
        Key of `singula.exports.FORMATS`.
    folder : str
        Folder to write; it is created if necessary.
    replace : bool
        Replace existing files.
    objects : str
        Key of `singula.runs.corrections.OBJECTS`.

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
        return _export(guard, source, to, target, objects, replace=replace)
    except UserError as error:
        if error.code != "export.exists":
            raise
        raise UserError(
            error.message,
            "choose another folder, or allow to replace existing files",
            "gui.export_exists",
        ) from None


def export_for_download(
    guard: Guard, source: Path, to: str, scratch: Path, *, objects: str = "corrected"
) -> Path:
    """Write the objects to a temporary folder, and return one file with all of them.

    Parameters
    ----------
    guard, source, to, objects
        As for `export_to_folder`.
    scratch : Path
        Empty folder; several files are packed into a ZIP file in it.

    Raises
    ------
    UserError
        As for `export_to_folder`.
    """
    name = f"{source.name}_{to.replace('-', '_')}"
    files = _export(guard, source, to, scratch / name, objects, replace=False)
    if len(files) == 1 and files[0].is_file():
        return files[0]
    return Path(shutil.make_archive(str(scratch / name), "zip", scratch / name))


def _export(
    guard: Guard, source: Path, to: str, target: Path, objects: str, *, replace: bool
) -> list[Path]:
    source = guard.check_entries(source)
    if (folder := _labels_folder(source)) is not None:
        guard.check_below([folder / FOLDER])
    with captured_messages():
        if is_finished(source) and FORMATS[to].intensities:
            _check_images(guard, source)
        try:
            return export(source, to, target, overwrite=replace, objects=objects)
        except UserError as error:
            if error.code != "corrections.other_prediction" or folder is None:
                raise
            raise UserError(
                error.message,
                f'choose "{OBJECTS["predicted"]}" at Objects, or move the folder '
                f"{guard.short(folder / FOLDER)}",
                error.code,
            ) from None


def _check_images(guard: Guard, source: Path) -> None:
    """Raise an error if the images, from which intensities are measured, are outside."""
    for pair in open_images(open_run(source)).pairs.values():
        guard.check(pair.image.absolute())  # as it is read, relative to the current folder
