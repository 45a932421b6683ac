"""Measurements with units: pixels, and micrometres where the size of a pixel is known."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from singula.exports.source import Instances
from singula.io.units import in_microns
from singula.io.write import write_csv
from singula.measure.morphology import SURFACE, measure

if TYPE_CHECKING:
    import pandas as pd

UNKNOWN = "unit"


def calibration(item: Instances) -> tuple[tuple[float, ...] | None, str]:
    """Size of a pixel and its unit: micrometres for every unit of length that is known.

    Returns
    -------
    spacing : tuple of float, optional
        None when the size is not known.
    unit : str
        ``µm``, another unit as it was given, or ``unit`` where a size came without one.
    """
    if item.spacing is None:
        return None, "px"
    spacing, unit = in_microns(item.spacing, item.unit)
    return spacing, (unit or "").strip() or UNKNOWN


def instance_table(item: Instances) -> pd.DataFrame:
    """Every instance with its measurements, the unit in the name of each column.

    Parameters
    ----------
    item : Instances

    Returns
    -------
    pandas.DataFrame
        ``label``; ``class`` where there are classes; then positions and sizes in pixels
        (``centroid_y_px``, ``npixels`` …) and, where the size of a pixel is known, in its unit
        (``centroid_y_µm``, ``area_µm²`` …). Ratios have no unit.

    Notes
    -----
    `singula.measure` says how each is measured. The perimeter counts steps between pixels, so it
    has a length only where pixels are square. ``equivalent_diameter`` is that of the disk or ball
    of the same size.
    """
    spacing, unit = calibration(item)
    found = measure(item.labels, spacing=spacing)
    axes = "zyx"[-item.ndim :]
    columns: dict[str, object] = {"label": found["label"]}
    if item.classes is not None:
        columns["class"] = [item.classes.get(int(label), 0) for label in found["label"]]
    for number, axis in enumerate(axes):
        columns[f"centroid_{axis}_px"] = found[f"axis-{number}"]
    columns["npixels"] = found["npixels"]
    columns["bounding_box_diameter_px"] = found["diameter"]
    if item.ndim == 2:
        columns["perimeter_px"] = found["perimeter"]
    if spacing is not None:
        for number, axis in enumerate(axes):
            # The centre of the first pixel is half a pixel away from the corner of the image
            columns[f"centroid_{axis}_{unit}"] = (found[f"axis-{number}"] + 0.5) * spacing[number]
        columns |= _sizes(item, found, spacing, unit)
    elif item.ndim == 3:
        columns["surface_px²"] = found[SURFACE]
    names = ("circularity", "elongation") if item.ndim == 2 else ("sphericity",)
    columns |= {name: found[name] for name in names}
    import pandas as pd

    return pd.DataFrame(columns)


def _sizes(
    item: Instances, found: pd.DataFrame, spacing: tuple[float, ...], unit: str
) -> dict[str, object]:
    """What has a unit."""
    if item.ndim == 3:
        volume = found["volume"]
        return {
            f"volume_{unit}³": volume,
            f"equivalent_diameter_{unit}": np.cbrt(6 * volume / math.pi),
            f"surface_{unit}²": found[SURFACE],
        }
    area = found["area"]
    columns: dict[str, object] = {
        f"area_{unit}²": area,
        f"equivalent_diameter_{unit}": np.sqrt(4 * area / math.pi),
    }
    if math.isclose(*spacing, rel_tol=1e-6):
        columns[f"perimeter_{unit}"] = found["perimeter"] * spacing[0]
    return columns


def write_table(items: Iterable[Instances], target: Path) -> None:
    """One table of the instances of all images, ``image`` being its first column.

    A column that an image has no value for is empty there.
    """
    import pandas as pd

    tables = []
    for item in items:
        table = instance_table(item)
        table.insert(0, "image", item.name)
        tables.append(table)
    # A table without rows would make columns of whole numbers fractions
    filled = [table for table in tables if len(table)] or tables[:1]
    write_csv(target, pd.concat(filled, ignore_index=True))
