"""The table of formats, and the way from a run's folder to their files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.arguments import choice, flag, function, instance, text
from singula.errors import UserError
from singula.exports.coco import write_coco
from singula.exports.imagej import write_rois
from singula.exports.ome_zarr import write_ome_zarr
from singula.exports.qupath import write_geojson
from singula.exports.source import Instances, Source, find_sources, of_array
from singula.exports.tables import UNKNOWN, calibration, write_table
from singula.io.image import Spacing
from singula.io.run_lock import hold, output_locks
from singula.io.units import check_unit
from singula.io.written import protect
from singula.paths import user_path
from singula.words import counted, show

Notify = Callable[[str], None]


@dataclass(frozen=True)
class Format:
    """A format that instances are written in.

    Parameters
    ----------
    file : str
        Name of the file; with ``{}`` for the image's name where each image has its own.
    one : callable, optional
        Writes one image to a path.
    every : callable, optional
        Writes all images to a path.
    """

    file: str
    one: Callable[[Instances, Path], None] | None = None
    every: Callable[[Iterable[Instances], Path], None] | None = None


# A new format is a row here.
FORMATS: dict[str, Format] = {
    "imagej": Format("{}_rois.zip", one=write_rois),
    "qupath": Format("{}.geojson", one=write_geojson),
    "ome-zarr": Format("{}.ome.zarr", one=write_ome_zarr),
    "csv": Format("instances.csv", every=write_table),
    "coco": Format("instances_coco.json", every=write_coco),
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
    notify: Notify | None = None,
) -> list[Path]:
    """Write instances for another program; the public `singula.export`.

    Parameters
    ----------
    source : Path, str or ndarray
        The folder of a finished run (its instances after all steps), a folder of label images, a
        label image, or an array of labels (y, x) or (z, y, x).
    to : str
        ``imagej``, ``qupath``, ``ome-zarr``, ``csv`` or ``coco``.
    output : Path or str, optional
        Folder to write to; ``exports`` in the folder of a run by default.
    spacing : float or sequence of float, optional
        Size of a pixel, z first, instead of what files and configuration say.
    unit : str, optional
        Its unit, such as ``µm`` or ``nm``.
    overwrite : bool
        Replace files that are there.
    external_files : bool
        Label images may refer to files outside, such as the chunks of a Zarr that are links.
    notify : callable, optional
        Takes a line for each image.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    TypeError, UserError
        A wrong argument; no instances; a file that is there already; a volume in a format that has
        none. ``run.locked``: another process writes to the folder, or to the run that it is in.
    """
    kind = FORMATS[choice(to, "--to", FORMATS)]
    overwrite = flag(overwrite, "overwrite")
    external_files = flag(external_files, "external_files")
    if output is not None:
        output = user_path(output, "output", "output folder")
    if unit is not None:
        unit = text(unit, "--unit")
        check_unit(unit, "--unit")
    if notify is not None:
        notify = function(notify, "notify")
    items, names, default = _found(source, spacing, unit, external_files=external_files)
    folder = output if output is not None else default
    if folder is None:
        raise UserError("--output: there is no folder to write to", "name one", "export.no_folder")
    run = [] if default is None else [default.parent]  # what is written in it is recorded
    with hold(output_locks(folder), "export", notify), protect(run, notify):
        return _write(kind, items, names, folder, overwrite=overwrite, notify=notify)


def _write(
    kind: Format,
    items: Iterator[Instances],
    names: list[str],
    folder: Path,
    *,
    overwrite: bool,
    notify: Notify | None,
) -> list[Path]:
    targets = [folder / kind.file.format(name) for name in names]
    if kind.every is not None:
        targets = targets[:1]
    there = [target for target in targets if target.exists()]
    if there and not overwrite:
        raise UserError(
            f"{there[0]}: is there already"
            + (f", and {len(there) - 1} more" if len(there) > 1 else ""),
            "give another folder with --output, or replace it with --overwrite",
            "export.exists",
        )
    told = _Told(notify)
    if kind.every is not None:
        kind.every((told(item) for item in items), targets[0])
        return targets
    if kind.one is not None:
        for item, target in zip(items, targets, strict=True):
            kind.one(told(item), target)
    return targets


def _found(
    source: Path | str | npt.NDArray[Any],
    spacing: Spacing | None,
    unit: str | None,
    *,
    external_files: bool,
) -> tuple[Iterator[Instances], list[str], Path | None]:
    """Instances one after the other, their names, and the folder to write to by default."""
    if not isinstance(source, str | Path) and hasattr(source, "__array__"):
        item = of_array(source, "labels", spacing, unit)
        return iter([item]), [item.name], None
    path = user_path(source, "source")
    sources: list[Source] = find_sources(
        path, spacing=spacing, unit=unit, external_files=external_files
    )
    place = path / "exports" if (path / "run.json").is_file() else None
    return (s.read() for s in sources), [s.name for s in sources], place


class _Told:
    """Says of each image what is written of it."""

    def __init__(self, notify: Notify | None) -> None:
        self.notify = notify
        self.warned = self.replaced = False

    def __call__(self, item: Instances) -> Instances:
        if self.notify is None:
            return item
        count = np.count_nonzero(np.unique(item.labels))
        self.notify(f"{item.name}: {counted(int(count), 'instance')}")
        if item.replaced and not self.replaced:
            self.replaced = True
            self.notify(f"  {item.replaced}")
        if not self.warned and calibration(item)[1] == UNKNOWN:
            self.warned = True
            self.notify(
                f"  size of a pixel {item.spacing}, in a unit that nothing says: see --unit"
            )
        return item


def sizes_from_text(text: str) -> tuple[float, ...]:
    """Numbers of ``--spacing``, such as 0.25,0.25.

    Parameters
    ----------
    text : str

    Raises
    ------
    TypeError
        Not text.
    UserError
        ``export.spacing``: other text.
    """
    instance(text, "text", str)
    refused = UserError(
        f"--spacing (text): got {show(text)}, expected 2 or 3 positive numbers such as 0.25,0.25",
        "give one number for each axis, z first, decimals after a point",
        "export.spacing",
    )
    try:
        sizes = tuple(float(part) for part in text.strip("()[] ").split(","))
    except ValueError as error:
        raise refused from error
    if len(sizes) not in (2, 3) or not all(0 < size < math.inf for size in sizes):
        raise refused
    return sizes
