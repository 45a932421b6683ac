"""A corrected copy of a whole data set; the originals are only read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from singula.arguments import function, instance
from singula.errors import UserError
from singula.inspection.channels import read_channels
from singula.inspection.correct import Corrected, correct_labels
from singula.inspection.files import label_spacing
from singula.inspection.findings import Finding, Inspection
from singula.inspection.given import read_given_labels
from singula.io.atomic import atomic_folder, atomic_path, make_folder
from singula.io.formats import full_suffix_of
from singula.io.image import Image
from singula.io.pairs import Pair
from singula.io.run_lock import NAME, hold, output_locks
from singula.io.write import write_tiff
from singula.paths import user_path
from singula.words import counted

Notify = Callable[[str], None]
_UNDONE = {
    "one_hot": "planes made ids",
    "inverted": "inverted, each region its own id",
    "background": "background set to 0",
    "slices": "cuts through adjacent slices linked",
}


@dataclass(frozen=True)
class FixReport:
    """What a corrected copy holds.

    Parameters
    ----------
    folder : Path
    files : int
        Images.
    corrected : dict of Path to str
        Original label file → what was changed.
    left_out : dict of Path to str
        Original file → why the copy is without it.
    """

    folder: Path
    files: int
    corrected: dict[Path, str]
    left_out: dict[Path, str]


def check_target(folder: Path, inspection: Inspection | None = None) -> None:
    """Refuse a folder in which something is, or that is among the originals.

    Raises
    ------
    UserError
    """
    folder = user_path(folder, "folder (--fix)")
    if inspection is not None:
        instance(inspection, "inspection", Inspection)
    if folder.exists() and (
        not folder.is_dir() or any(path.name != NAME for path in folder.iterdir())
    ):
        raise UserError(
            f"--fix: {folder} exists and is not empty",
            "give a new folder; the corrected copy never replaces anything",
        )
    for part in inspection.parts if inspection else ():
        for source in (part.images, part.labels):
            if source and source.resolve() in (folder.resolve(), *folder.resolve().parents):
                raise UserError(
                    f"--fix: {folder} is inside {source}, which holds the originals",
                    "give a folder outside of the data",
                )


def write_fixed(
    inspection: Inspection, folder: Path | str, *, notify: Notify | None = None
) -> FixReport:
    """Write ``folder/{train,val,test}/{x,y}`` with corrected labels.

    Images, and labels without anything to correct, are copied as they are; corrected labels, and
    images whose channels are several files, are written as TIFF under the name of the image.

    Parameters
    ----------
    inspection : Inspection
    folder : Path or str
        New or empty.
    notify : callable, optional
        Told of every label that is corrected, and of everything that is left out.

    Returns
    -------
    FixReport

    Raises
    ------
    TypeError, UserError
        Wrong arguments; the folder holds something, is among the originals, or cannot be written.
        ``run.locked``: another process writes to it.
    """
    inspection = instance(inspection, "inspection", Inspection)
    folder = user_path(folder, "folder")
    if notify is not None:
        function(notify, "notify")
    check_target(folder, inspection)
    make_folder(folder)
    with hold(output_locks(folder), "check", notify):
        check_target(folder, inspection)  # another process may have written to it
        return _write_copy(inspection, folder, notify)


def _write_copy(inspection: Inspection, folder: Path, notify: Notify | None) -> FixReport:
    fixable: dict[Path, list[Finding]] = {}
    unusable: dict[Path, str] = {}
    for finding in inspection.findings:
        if finding.fixable and finding.label is not None:
            fixable.setdefault(finding.label, []).append(finding)
        if finding.unusable:
            file = finding.image or finding.file
            whose = "" if file == finding.file else f"its labels {finding.file}: "
            unusable.setdefault(file, whose + finding.text)
    report = FixReport(folder, 0, {}, dict(unusable))
    count = 0
    for part in inspection.parts:
        if notify and part.channels:
            notify(
                f"{part.name}: the channels of {counted(len(part.channels), 'image')} put together"
            )
        for pair in part.pairs:
            if not unusable.keys().isdisjoint((pair.image, pair.image.parent)):
                continue
            files = part.channels.get(pair.name)
            try:
                whole = read_channels(files, inspection.ndim, pair.arrays) if files else None
            except UserError as error:  # only the first channel was looked at
                report.left_out[pair.image] = error.message
                continue
            target = folder / part.name
            count += 1
            _write_image(pair, whole, target / "x")
            words = _write_labels(inspection, pair, target / "y", fixable.get(pair.label or Path()))
            if words and pair.label is not None:
                report.corrected[pair.label] = words
                if notify:
                    notify(f"corrected: {pair.label}: {words}")
    if notify:
        for path, why in report.left_out.items():
            notify(f"left out: {path}: {why}")
    return FixReport(folder, count, report.corrected, report.left_out)


def _write_image(pair: Pair, whole: Image | None, folder: Path) -> None:
    """Copy an image as it is, or write what was put together of several files."""
    if whole is None:
        _copy(pair.image, folder / pair.image.name)
        return
    axes = f"{'ZYX'[-whole.ndim :]}C"
    write_tiff(folder / f"{pair.name}.tif", whole.array, axes, whole.spacing, whole.unit)


def _write_labels(
    inspection: Inspection, pair: Pair, folder: Path, findings: list[Finding] | None
) -> str:
    """Copy the labels of an image and correct them; gives in words what was changed."""
    if pair.label is None:
        return ""
    if not findings and pair.label != pair.image:
        _copy(pair.label, folder / f"{pair.name}{full_suffix_of(pair.label)}")
        return ""
    ndim, place = inspection.ndim, pair.label_arrays
    background = next((one.where[0].id for one in findings or () if one.kind == "background"
                       and one.where), None)  # fmt: skip
    given = read_given_labels(pair.label, ndim, arrays=place, background=background)
    labels, words = given.labels, ""
    if findings:
        semantic = any(finding.kind == "semantic" for finding in findings)
        done = correct_labels(
            labels, inspection.smallest, semantic=semantic, each_piece=given.colours > 0
        )
        labels, words = done.labels, _words(done, findings)
    spacing, unit = label_spacing(pair.label, ndim, place)
    axes = "ZYX"[-ndim:]
    labels, axes = (labels, f"{axes}C") if labels.shape[-1] > 1 else (labels[..., 0], axes)
    write_tiff(folder / f"{pair.name}.tif", labels, axes, spacing, unit)
    return words


def _words(done: Corrected, findings: list[Finding]) -> str:
    kinds = {finding.kind for finding in findings}
    said = [words for kind, words in _UNDONE.items() if kind in kinds]
    if "semantic" in kinds:
        said.append("each region its own id")
    elif done.pieces:
        said.append(f"{counted(done.pieces, 'piece')} given a new id")
    if done.tiny:
        said.append(f"{counted(done.tiny, 'tiny piece')} dropped")
    if done.filled:
        said.append(f"{counted(done.filled, 'pixel')} of holes filled")
    if "classes" in kinds:
        said.append("one class for each object")
    if "label_type" in kinds:
        said.append("stored as unsigned integers")
    return ", ".join(said)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        with atomic_folder(target) as temporary:
            shutil.copytree(source, temporary, symlinks=True, dirs_exist_ok=True)
        return
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
