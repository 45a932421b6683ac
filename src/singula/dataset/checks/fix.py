"""Corrected copy of a data set; the original files are not changed."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from singula.dataset.checks.channels import read_channels
from singula.dataset.checks.correct import Corrected, correct_labels
from singula.dataset.checks.findings import Finding, Inspection
from singula.dataset.checks.label_encodings import read_any_labels
from singula.errors import UserError
from singula.io.atomic import atomic_folder, atomic_path, make_folder
from singula.io.formats.table import full_suffix_of
from singula.io.geometry import geometry
from singula.io.image import Image
from singula.io.pairing import Pair
from singula.io.run_lock import NAME, hold, output_locks
from singula.io.write import write_tiff
from singula.util.arguments import instance
from singula.util.format import counted
from singula.util.paths import user_path

_log = logging.getLogger(__name__)
_CORRECTED = {
    "one_hot": "planes converted to ids",
    "inverted": "inverted, each region its own id",
    "background": "background set to 0",
    "slices": "objects linked across slices",
}


@dataclass(frozen=True)
class FixReport:
    """Contents of a corrected copy.

    Parameters
    ----------
    folder : Path
        Folder of the copy.
    files : int
        Number of images.
    corrected : dict of Path to str
        Description of the changes by original label file.
    left_out : dict of Path to str
        Reason by original file that the copy does not contain.
    """

    folder: Path
    files: int
    corrected: dict[Path, str]
    left_out: dict[Path, str]


def check_target(folder: Path, inspection: Inspection | None = None) -> None:
    """Raise an error if a folder is not empty, or is inside the data.

    Parameters
    ----------
    folder : Path
        Folder for the corrected copy.
    inspection : Inspection, optional
        Inspection of the data.

    Raises
    ------
    UserError
        ``check.target_not_empty``, ``check.target_in_data``.
    """
    folder = user_path(folder, "folder (--fix)")
    if inspection is not None:
        instance(inspection, "inspection", Inspection)
    if folder.exists() and (
        not folder.is_dir() or any(path.name != NAME for path in folder.iterdir())
    ):
        raise UserError(
            f"--fix: {folder} exists and is not empty",
            "give a new folder; the corrected copy does not replace files",
            "check.target_not_empty",
        )
    for part in inspection.parts if inspection else ():
        for source in (part.images, part.labels):
            if source and source.resolve() in (folder.resolve(), *folder.resolve().parents):
                raise UserError(
                    f"--fix: {folder} is inside {source}, which contains the original files",
                    "give a folder outside of the data",
                    "check.target_in_data",
                )


def write_fixed(inspection: Inspection, folder: Path | str) -> FixReport:
    """Write ``folder/{train,val,test}/{x,y}`` with corrected labels.

    Images and correct labels are copied without changes. Corrected labels, and images with channels
    in separate files, are written as TIFF with the name of the image.

    Parameters
    ----------
    inspection : Inspection
        Inspection of the data.
    folder : Path or str
        New or empty folder.

    Returns
    -------
    FixReport

    Raises
    ------
    TypeError
        An argument has a wrong type.
    UserError
        The folder is not empty, is inside the data, or cannot be written. ``run.locked``: another
        process writes to it.
    """
    inspection = instance(inspection, "inspection", Inspection)
    folder = user_path(folder, "folder")
    check_target(folder, inspection)
    make_folder(folder)
    with hold(output_locks(folder), "check"):
        check_target(folder, inspection)  # another process may have written to the folder
        return _write_copy(inspection, folder)


def _write_copy(inspection: Inspection, folder: Path) -> FixReport:
    """Write the corrected copy; see `write_fixed` for the parameters."""
    fixable: dict[Path, list[Finding]] = {}
    unusable: dict[Path, str] = {}
    for finding in inspection.findings:
        if finding.fixable and finding.label is not None:
            fixable.setdefault(finding.label, []).append(finding)
        if finding.unusable:
            file = finding.image or finding.file
            prefix = "" if file == finding.file else f"its labels {finding.file}: "
            unusable.setdefault(file, prefix + finding.text)
    report = FixReport(folder, 0, {}, dict(unusable))
    count = 0
    for part in inspection.parts:
        if part.channels:
            _log.info(f"{part.name}: channels of {counted(len(part.channels), 'image')} merged")
        for pair in part.pairs:
            if not unusable.keys().isdisjoint((pair.image, pair.image.parent)):
                continue
            files = part.channels.get(pair.name)
            try:
                merged = read_channels(files, inspection.ndim, pair.arrays) if files else None
            except UserError as error:  # the inspection read only the first channel
                report.left_out[pair.image] = error.message
                continue
            target = folder / part.name
            count += 1
            _write_image(pair, merged, target / "x")
            changes = _write_labels(
                inspection, pair, target / "y", fixable.get(pair.label or Path())
            )
            if changes and pair.label is not None:
                report.corrected[pair.label] = changes
                _log.info(f"corrected: {pair.label}: {changes}")
    for path, reason in report.left_out.items():
        _log.warning(f"left out: {path}: {reason}")
    return FixReport(folder, count, report.corrected, report.left_out)


def _write_image(pair: Pair, merged: Image | None, folder: Path) -> None:
    """Copy an image, or write an image that was merged from several files."""
    if merged is None:
        _copy(pair.image, folder / pair.image.name)
        return
    axes = f"{'ZYX'[-merged.ndim :]}C"
    write_tiff(folder / f"{pair.name}.tif", merged.array, axes, merged.spacing, merged.unit)


def _write_labels(
    inspection: Inspection, pair: Pair, folder: Path, findings: list[Finding] | None
) -> str:
    """Copy the labels of an image, correct them, and return a description of the changes."""
    if pair.label is None:
        return ""
    if not findings and pair.label != pair.image:
        _copy(pair.label, folder / f"{pair.name}{full_suffix_of(pair.label)}")
        return ""
    ndim, arrays = inspection.ndim, pair.label_arrays
    background = next((finding.where[0].id for finding in findings or ()
                       if finding.kind == "background" and finding.where), None)  # fmt: skip
    given = read_any_labels(pair.label, ndim, arrays=arrays, background=background)
    labels, changes = given.labels, ""
    if findings:
        semantic = any(finding.kind == "semantic" for finding in findings)
        corrected = correct_labels(
            labels, inspection.smallest, semantic=semantic, each_piece=given.n_colors > 0
        )
        labels, changes = corrected.labels, _describe(corrected, findings)
    spacing, unit = geometry(given.header, ndim)
    axes = "ZYX"[-ndim:]
    labels, axes = (labels, f"{axes}C") if labels.shape[-1] > 1 else (labels[..., 0], axes)
    write_tiff(folder / f"{pair.name}.tif", labels, axes, spacing, unit)
    return changes


def _describe(corrected: Corrected, findings: list[Finding]) -> str:
    """Return a description of the corrections."""
    kinds = {finding.kind for finding in findings}
    changes = [text for kind, text in _CORRECTED.items() if kind in kinds]
    if "semantic" in kinds:
        changes.append("each region its own id")
    elif corrected.pieces:
        changes.append(f"{counted(corrected.pieces, 'component')} given a new id")
    if corrected.tiny:
        changes.append(f"{counted(corrected.tiny, 'tiny component')} removed")
    if corrected.filled:
        changes.append(f"{counted(corrected.filled, 'pixel')} of holes filled")
    if "classes" in kinds:
        changes.append("one class for each object")
    if "label_type" in kinds:
        changes.append("stored as unsigned integers")
    return ", ".join(changes)


def _copy(source: Path, target: Path) -> None:
    """Copy a file, or a folder such as a Zarr store."""
    if source.is_dir():
        with atomic_folder(target) as temporary:
            shutil.copytree(source, temporary, symlinks=True, dirs_exist_ok=True)
        return
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
