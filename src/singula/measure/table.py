"""Table of the size, shape and intensities of instances, in pixels or physical units."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from singula.errors import UserError
from singula.io.image import Spacing, check_spacing
from singula.io.units import METERS, check_unit, unit_symbol
from singula.labels.index import index_labels
from singula.measure.intensity import intensities, intensity_columns
from singula.measure.moments import axis_ratio, second_moments
from singula.measure.morphology import SURFACE, measurements, shapes
from singula.util.arguments import label_image, text

if TYPE_CHECKING:
    import pandas as pd

_UNNAMED = "unit"
_ASCII = {"µm": "um", "Å": "angstrom"}


def measure(
    labels: np.ndarray,
    image: np.ndarray | None = None,
    *,
    spacing: Spacing | None = None,
    units: str | None = None,
) -> pd.DataFrame:
    """Measure size, shape and intensities of every instance; the public `singula.measure`.

    Parameters
    ----------
    labels : ndarray of int
        (y, x) or (z, y, x), 0 the background; ids need not be consecutive.
    image : ndarray, optional
        Intensities of the pixels, in the shape of `labels`, or with a last axis of channels.
    spacing : float or sequence of float, optional
        Voxel size, one value or one per axis in the order of the axes.
    units : str, optional
        Unit of all lengths, areas and volumes: ``px`` for pixels, ``physical`` for the unit of
        `spacing`, or the name of this unit, such as ``um`` or ``nm``. By default ``physical`` if
        `spacing` is given, else ``px``.

    Returns
    -------
    pandas.DataFrame
        One row per instance, sorted by id. The names of columns end in the unit: ``_px``, ``_px2``;
        ``_unit``, ``_unit2`` for ``physical``; ``_um``, ``_um2`` for a named unit.

        - ``label``; the centroid ``centroid_z_px``, ``centroid_y_px``, ``centroid_x_px``, where
          the center of the first pixel is 0, as in scikit-image and napari; ``npixels``;
        - images: ``area_px2``, ``perimeter_px``, ``circularity`` 4πA/p², ``elongation`` p²/4πA;
        - volumes: ``volume_px3``, ``surface_px2`` S, ``sphericity`` 36πV²/S³;
        - ``equivalent_diameter_px``, the diameter of the disk or ball of the same size;
          ``bounding_box_diameter_px``, the longest side of the bounding box;
        - ``axis_ratio``: longest by shortest axis of the ellipse or ellipsoid with the same
          second moments; 1 for a disk, 2 for an object twice as long as wide;
        - with `image`: ``intensity_mean``, ``intensity_sum``, ``intensity_min``, ``intensity_max``
          and ``intensity_std``. The names of several channels end in ``_ch1``, ``_ch2`` and so on.
          Pixels that are NaN are left out; values are NaN if all pixels are.

        The perimeter is a sum of steps between pixels. It and the two ratios computed from it
        suppose square pixels; without these, there is no perimeter in physical units. Instances
        too small to have a perimeter, such as a single pixel, have perimeter 0 and circularity NaN.

    Raises
    ------
    TypeError, UserError
        Not a label image, not its image, or an invalid spacing. ``measure.units``: physical units
        without a spacing; ``units.unknown``: not a unit of length.

    Notes
    -----
    The perimeter equals `skimage.measure.perimeter` with 4-connectivity (K. Benkrid and
    D. Crookes, *Design and FPGA implementation of a perimeter estimator*). The surface equals
    `skimage.measure.marching_cubes` (T. Lewiner et al., 2003) with `mesh_surface_area`. Both are
    sums of contributions of small neighborhoods. A contribution depends only on which pixels of
    the neighborhood belong to the instance, so a table of contributions measures all instances at
    once.

    Examples
    --------
    >>> import numpy as np, singula
    >>> labels = np.zeros((6, 8), int)
    >>> labels[1:5, 1:3] = 1  # 4 × 2 pixels
    >>> labels[1:4, 4:7] = 2
    >>> table = singula.measure(labels)
    >>> table[["label", "area_px2", "axis_ratio"]]
       label  area_px2  axis_ratio
    0      1       8.0         2.0
    1      2       9.0         1.0

    With a pixel size, lengths are physical; with an image, there are intensities:

    >>> image = 10.0 * labels
    >>> table = singula.measure(labels, image, spacing=0.5, units="um")
    >>> table[["label", "area_um2", "intensity_mean", "intensity_sum"]]
       label  area_um2  intensity_mean  intensity_sum
    0      1      2.00            10.0           80.0
    1      2      2.25            20.0          180.0
    """
    index, ids = index_labels(label_image(labels))
    unit = _unit(units, spacing is not None)
    sizes = check_spacing(spacing, index.ndim)
    if unit == "px":
        sizes = (1.0,) * index.ndim
    instances = shapes(index, spacing=sizes)
    table = measurements(instances, spacing=sizes)
    columns: dict[str, Any] = {"label": ids[table["label"]]}
    for axis, letter in enumerate("zyx"[-index.ndim :]):
        columns[f"centroid_{letter}_{unit}"] = table[f"axis-{axis}"] * sizes[axis]
    columns["npixels"] = table["npixels"]
    if index.ndim == 2:
        size = columns[f"area_{unit}2"] = table["area"]
        if math.isclose(*sizes, rel_tol=1e-6):
            columns[f"perimeter_{unit}"] = table["perimeter"] * sizes[0]
        columns |= {name: table[name] for name in ("circularity", "elongation")}
        diameter = np.sqrt(4 * size / math.pi)
    else:
        size = columns[f"volume_{unit}3"] = table["volume"]
        columns[f"surface_{unit}2"] = table[SURFACE]
        columns["sphericity"] = table["sphericity"]
        diameter = np.cbrt(6 * size / math.pi)
    sides = (instances.high - instances.low) * sizes
    columns[f"equivalent_diameter_{unit}"] = diameter
    columns[f"bounding_box_diameter_{unit}"] = sides.max(axis=1, initial=0)
    columns |= additional_columns(index, image, spacing=sizes)
    import pandas as pd

    return pd.DataFrame(columns)


def additional_columns(
    labels: np.ndarray, image: np.ndarray | None = None, *, spacing: Spacing | None = None
) -> dict[str, np.ndarray]:
    """Return the columns of `measure` that the tables in the results folder do not have.

    Parameters
    ----------
    labels, image, spacing
        See `measure`.

    Returns
    -------
    dict of str to ndarray of float64, shape (rows,)
        ``axis_ratio`` and, with `image`, the columns of the intensities, sorted by id.

    Raises
    ------
    TypeError, UserError
        As for `measure`.
    """
    columns = {"axis_ratio": axis_ratio(second_moments(labels), spacing=spacing)}
    if image is not None:
        columns |= intensity_columns(intensities(labels, image))
    return columns


def _unit(units: str | None, has_spacing: bool) -> str:
    """Return the end of the names of lengths."""
    if units is None:
        return _UNNAMED if has_spacing else "px"
    if text(units, "units") == "px":
        return units
    symbol = _UNNAMED
    if units != "physical":
        check_unit(units, "units")
        symbol = unit_symbol(units) or ""
        if symbol not in METERS:
            raise UserError(
                f"units: got {units!r}, expected px, physical or a unit of length such as µm",
                "use one of these, for example units='µm'",
                "units.unknown",
            )
    if not has_spacing:
        raise UserError(
            f"units: got {units!r} without a spacing, expected both",
            "give the voxel size with spacing, or measure in pixels: units='px'",
            "measure.units",
        )
    return _ASCII.get(symbol, symbol)
