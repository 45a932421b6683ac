"""Export to CSV: measurements in pixels, and in micrometers if the pixel size is known."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from singula.exports.parts import measure_parts
from singula.io.lazy_array import LazyArray
from singula.io.units import in_microns
from singula.io.write import write_csv
from singula.measure.morphology import SURFACE, measure_instances, measurements
from singula.measure.table import additional_columns
from singula.runs.instances import Instances

if TYPE_CHECKING:
    import pandas as pd

UNKNOWN = "unit"


def calibration(item: Instances) -> tuple[tuple[float, ...] | None, str]:
    """Return the pixel size and its unit; known units of length are converted to micrometers.

    Parameters
    ----------
    item : Instances
        Label image with its metadata.

    Returns
    -------
    spacing : tuple of float or None
        Pixel size along each axis, z first; None if it is unknown.
    unit : str
        ``µm``, any other unit unchanged, ``unit`` for a size without a unit, or ``px`` if the size
        is unknown.
    """
    return _calibration(item.spacing, item.unit)


def _calibration(
    spacing: tuple[float, ...] | None, unit: str | None
) -> tuple[tuple[float, ...] | None, str]:
    if spacing is None:
        return None, "px"
    sizes, symbol = in_microns(spacing, unit)
    return sizes, (symbol or "").strip() or UNKNOWN


def instance_table(item: Instances) -> pd.DataFrame:
    """Measure all instances of a label image; names of columns include the unit.

    Parameters
    ----------
    item : Instances
        Label image with its metadata.

    Returns
    -------
    pandas.DataFrame
        ``label``; ``class`` if there are classes; positions and sizes in pixels
        (``centroid_y_px``, ``npixels`` …) and, if the pixel size is known, in its unit
        (``centroid_y_µm``, ``area_µm²`` …). Ratios have no unit. The intensities of
        `Instances.image`, and ``confidence`` if it is known, are the last columns.

    Notes
    -----
    Measurements are defined in `measurements`. The perimeter is computed from steps between
    pixels, so it has a unit of length only for square pixels. ``equivalent_diameter`` is the
    diameter of the disk or ball of the same size. Lengths of a slide in pixels refer to its finest
    level; ``npixels`` counts pixels of the label image.
    """
    spacing, unit = calibration(item)
    if isinstance(item.labels, LazyArray):
        image = item.image if isinstance(item.image, LazyArray) else None
        instances, more = measure_parts(item.labels, spacing, image)
        measured = measurements(instances, spacing=spacing)
    else:
        measured = measure_instances(item.labels, spacing=spacing)
        more = additional_columns(item.labels, item.image, spacing=spacing)
    if item.confidence is not None:
        values = item.confidence
        more["confidence"] = np.array([values.get(n, np.nan) for n in measured["label"].tolist()])
    classes = None
    if item.classes is not None:
        classes = [item.classes.get(int(label), 0) for label in measured["label"]]
    slide = None if item.slide is None else item.slide.downsample
    return _with_units(measured, more, classes, spacing, unit, slide)


def convert_table(
    table: pd.DataFrame, spacing: tuple[float, ...] | None, unit: str | None
) -> pd.DataFrame:
    """Convert a table of the results folder to the columns of `instance_table`.

    Parameters
    ----------
    table : DataFrame
        Columns of `measurements` and `additional_columns`, and ``class`` if there are classes.
    spacing : tuple of float, optional
        Pixel size with which the instances were measured.
    unit : str, optional
        Unit of `spacing`.
    """
    sizes, name = _calibration(spacing, unit)
    more = table.filter(regex="^(axis_ratio|intensity_)")
    measured = table.copy()
    if spacing is not None and sizes is not None:
        step = sizes[0] / spacing[0]
        for column, power in (("area", 2), ("volume", 3), (SURFACE, 2)):
            if column in measured:
                measured[column] *= step**power
    columns = {str(column): more[column].to_numpy() for column in more}
    return _with_units(measured, columns, table.get("class"), sizes, name, None)


def _with_units(
    measured: pd.DataFrame,
    more: Mapping[str, object],
    classes: Sequence[int] | pd.Series | None,
    spacing: tuple[float, ...] | None,
    unit: str,
    downsample: Sequence[float] | None,
) -> pd.DataFrame:
    """Return the columns of `instance_table` for measurements with a pixel size in `unit`."""
    ndim = 3 if "axis-2" in measured else 2
    steps = downsample or (1.0,) * ndim
    axes = "zyx"[-ndim:]
    columns: dict[str, object] = {"label": measured["label"]}
    if classes is not None:
        columns["class"] = classes
    for number, axis in enumerate(axes):
        center = measured[f"axis-{number}"]
        if downsample is not None:
            center = (center + 0.5) * steps[number] - 0.5
        columns[f"centroid_{axis}_px"] = center
    columns["npixels"] = measured["npixels"]
    step = math.sqrt(math.prod(steps)) if downsample is not None else 1
    columns["bounding_box_diameter_px"] = measured["diameter"] * step
    if ndim == 2:
        columns["perimeter_px"] = measured["perimeter"] * step
    if spacing is not None:
        for number, axis in enumerate(axes):
            # The center of the first pixel is half a pixel away from the corner of the image.
            center = measured[f"axis-{number}"] + 0.5
            columns[f"centroid_{axis}_{unit}"] = center * spacing[number]
        columns |= _sizes(measured, spacing, unit)
    elif ndim == 3:
        columns["surface_px²"] = measured[SURFACE]
    names = ("circularity", "elongation") if ndim == 2 else ("sphericity",)
    columns |= {name: measured[name] for name in names}
    columns |= more
    import pandas as pd

    return pd.DataFrame(columns)


def _sizes(measured: pd.DataFrame, spacing: tuple[float, ...], unit: str) -> dict[str, object]:
    """Return the columns of sizes in the unit of the pixel size."""
    if "volume" in measured:
        volume = measured["volume"]
        return {
            f"volume_{unit}³": volume,
            f"equivalent_diameter_{unit}": np.cbrt(6 * volume / math.pi),
            f"surface_{unit}²": measured[SURFACE],
        }
    area = measured["area"]
    columns: dict[str, object] = {
        f"area_{unit}²": area,
        f"equivalent_diameter_{unit}": np.sqrt(4 * area / math.pi),
    }
    if math.isclose(*spacing, rel_tol=1e-6):
        columns[f"perimeter_{unit}"] = measured["perimeter"] * spacing[0]
    return columns


def write_table(items: Iterable[Instances], target: Path) -> None:
    """Write a table with the instances of all images; the first column is ``image``.

    Columns without a value for an image are empty. The column ``objects`` is ``predicted`` or
    ``corrected`` if objects of any image were corrected.

    Parameters
    ----------
    items : iterable of Instances
        Label images with their metadata.
    target : Path
        CSV file to write.
    """
    import pandas as pd

    tables = []
    for item in items:
        table = instance_table(item)
        table.insert(0, "image", item.name)
        if item.origin:
            table.insert(1, "objects", item.origin)
        tables.append(table)
    # An empty table would convert columns of integers to floats.
    nonempty = [table for table in tables if len(table)] or tables[:1]
    write_csv(target, pd.concat(nonempty, ignore_index=True))
