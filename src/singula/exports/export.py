"""Export of the instances of runs, label images and arrays; table of formats."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from singula.errors import UserError
from singula.exports.coco import write_coco
from singula.exports.imagej import write_rois
from singula.exports.ome_zarr import write_ome_zarr
from singula.exports.parts import count_ids
from singula.exports.qupath import write_geojson
from singula.exports.sources import add_images, find_sources, instances_from_array
from singula.exports.tables import UNKNOWN, calibration, write_table
from singula.io.image import Spacing
from singula.io.run_lock import hold, output_locks
from singula.io.units import check_unit
from singula.io.written import protect
from singula.runs.corrections import OBJECTS, with_corrections
from singula.runs.instances import Instances
from singula.runs.run import is_finished
from singula.util.arguments import choice, flag, instance, text
from singula.util.format import counted, show
from singula.util.paths import user_path

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Format:
    """A file format for instances.

    Parameters
    ----------
    file : str
        Name of the file; ``{}`` is the name of the image, for formats with a file per image.
    write_image : callable, optional
        Write one image to a path.
    write_all : callable, optional
        Write all images to a path.
    label : str
        Program or content, with the kind of file, for lists of formats.
    intensities : bool
        Write the intensities of instances, for which the images of a run are read.
    """

    file: str
    label: str
    write_image: Callable[[Instances, Path], None] | None = None
    write_all: Callable[[Iterable[Instances], Path], None] | None = None
    intensities: bool = False


# To add a format, add a row.
FORMATS: dict[str, Format] = {
    "imagej": Format("{}_rois.zip", "ImageJ or Fiji: outlines (.zip)", write_image=write_rois),
    "qupath": Format(
        "{}.geojson",
        "QuPath: outlines and measurements (.geojson)",
        write_image=write_geojson,
        intensities=True,
    ),
    "ome-zarr": Format("{}.ome.zarr", "OME-Zarr: label images", write_image=write_ome_zarr),
    "csv": Format(
        "instances.csv", "Table of measurements (.csv)", write_all=write_table, intensities=True
    ),
    "coco": Format("instances_coco.json", "COCO: outlines (.json)", write_all=write_coco),
}


def export(
    source: Path | str | npt.NDArray[Any],
    to: str,
    output: Path | str | None = None,
    *,
    spacing: Spacing | None = None,
    unit: str | None = None,
    overwrite: bool = False,
    external_files: bool = False,
    objects: str = "corrected",
) -> list[Path]:
    """Write instances for another program; the public `singula.export`.

    Parameters
    ----------
    source : Path, str or ndarray
        Folder of a finished run (its instances after all steps are exported), folder of label
        images, label image, or array of labels (y, x) or (z, y, x).
    to : str
        Format: ``imagej``, ``qupath``, ``ome-zarr``, ``csv`` or ``coco``.
    output : Path or str, optional
        Output folder; by default ``exports`` in the folder of the run.
    spacing : float or sequence of float, optional
        Pixel size, z first; overrides the metadata and the configuration.
    unit : str, optional
        Unit of the pixel size, such as ``µm`` or ``nm``.
    overwrite : bool
        Replace existing files.
    external_files : bool
        Allow label images to refer to files elsewhere, such as a Zarr whose chunks are links.
    objects : {"corrected", "predicted"}
        Export the saved corrections of label images that have some, or the predictions. If there
        are corrections of any image, the files state for each image which ones they contain.

    Returns
    -------
    list of Path
        Files and folders that were written.

    Raises
    ------
    TypeError, UserError
        An argument is invalid. ``export.no_folder``: no output folder; ``export.exists``: a file
        exists; ``export.volume``: the format does not support volumes; ``run.locked``: another
        process writes to the output folder or its run; ``corrections.other_prediction``: the image
        was predicted again after its correction; the codes of `find_sources`.

    Examples
    --------
    >>> import numpy as np, singula
    >>> labels = np.zeros((20, 30), np.uint16)
    >>> labels[2:8, 3:9] = 1
    >>> [path.name for path in singula.export(labels, "imagej", "rois")]
    ['labels_rois.zip']
    >>> (table,) = singula.export(labels, "csv", "tables", spacing=0.5, unit="µm")
    >>> table.read_text(encoding="utf-8").splitlines()[0][:40]
    'image,label,centroid_y_px,centroid_x_px,'
    """
    kind = FORMATS[choice(to, "--to", FORMATS)]
    overwrite = flag(overwrite, "overwrite")
    external_files = flag(external_files, "external_files")
    objects = choice(objects, "--objects", OBJECTS)
    if output is not None:
        output = user_path(output, "output", "output folder")
    if unit is not None:
        unit = text(unit, "--unit")
        check_unit(unit, "--unit")
    items, names, default = _open(
        source,
        spacing,
        unit,
        kind,
        objects,
        external_files=external_files,
    )
    folder = output if output is not None else default
    if folder is None:
        raise UserError(
            "--output: got none, expected a folder", "add -o FOLDER", "export.no_folder"
        )
    if output is None:  # the run may be read-only: name the option for another folder
        folder = user_path(folder, "--output", "output folder")
    run = [] if default is None else [default.parent]  # files written by a run are recorded
    with hold(output_locks(folder), "export"), protect(run):
        return _write(kind, items, names, folder, overwrite=overwrite)


def _write(
    kind: Format,
    items: Iterator[Instances],
    names: list[str],
    folder: Path,
    *,
    overwrite: bool,
) -> list[Path]:
    targets = [folder / kind.file.format(name) for name in names]
    if kind.write_all is not None:
        targets = targets[:1]
    existing = [target for target in targets if target.exists()]
    if existing and not overwrite:
        raise UserError(
            f"{existing[0]}: already exists"
            + (f", and {len(existing) - 1} more" if len(existing) > 1 else ""),
            "give another folder with --output, or replace the files with --overwrite",
            "export.exists",
        )
    announce = _Announcer()
    if kind.write_all is not None:
        kind.write_all((announce(item) for item in items), targets[0])
        return targets
    if kind.write_image is not None:
        for item, target in zip(items, targets, strict=True):
            kind.write_image(announce(item), target)
    return targets


def _open(
    source: Path | str | npt.NDArray[Any],
    spacing: Spacing | None,
    unit: str | None,
    kind: Format,
    objects: str,
    *,
    external_files: bool,
) -> tuple[Iterator[Instances], list[str], Path | None]:
    """Return an iterator over the instances, the names of the images, and the default folder."""
    if not isinstance(source, str | Path) and hasattr(source, "__array__"):
        item = instances_from_array(source, "labels", spacing, unit)
        return iter([item]), [item.name], None
    path = user_path(source, "source")
    predicted = find_sources(path, spacing=spacing, unit=unit, external_files=external_files)
    sources = with_corrections(predicted, objects)
    names = [source.name for source in sources]
    items: Iterator[Instances] = (source.read() for source in sources)
    if not is_finished(path):
        return items, names, None
    if kind.intensities:
        items = add_images(items, path, external_files=external_files)
    return items, names, path / "exports"


class _Announcer:
    """Log the number of instances of each image, and once a warning about its pixel size."""

    def __init__(self) -> None:
        self.warned_of_unit = self.warned_of_size = False

    def __call__(self, item: Instances) -> Instances:
        if not _log.isEnabledFor(logging.INFO):  # counting takes time
            return item
        origin = f", {item.origin}" if item.origin else ""
        _log.info(f"{item.name}: {counted(count_ids(item.labels), 'instance')}{origin}")
        if item.size_notice and not self.warned_of_size:
            self.warned_of_size = True
            _log.warning(f"  {item.size_notice}")
        if not self.warned_of_unit and calibration(item)[1] == UNKNOWN:
            self.warned_of_unit = True
            _log.warning(f"  pixel size {item.spacing} of unknown unit: set it with --unit")
        return item


def sizes_from_text(text: str, name: str = "text") -> tuple[float, ...]:
    """Parse the value of ``--spacing``.

    Parameters
    ----------
    text : str
        2 or 3 positive numbers separated by commas, such as ``0.25,0.25``.
    name : str
        Name of the value in errors, such as ``--spacing``.

    Returns
    -------
    tuple of float
        Pixel size along each axis.

    Raises
    ------
    TypeError
        Not texts.
    UserError
        ``export.spacing``: any other text.
    """
    name = instance(name, "name", str)
    instance(text, "text", str)
    invalid = UserError(
        f"{name}: got {show(text)}, expected 2 or 3 positive numbers such as 0.25,0.25",
        "give one number for each axis, z first, with decimal points",
        "export.spacing",
    )
    try:
        sizes = tuple(float(part) for part in text.strip("()[] ").split(","))
    except ValueError as error:
        raise invalid from error
    if len(sizes) not in (2, 3) or not all(0 < size < math.inf for size in sizes):
        raise invalid
    return sizes
