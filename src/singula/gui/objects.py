"""Names, filters and plots of the measurements of objects, for the table of an image."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Value = float | None
Limits = tuple[float, float]
_BINS = 30
_MAX_POINTS = 5000
_STATISTICS = {
    "mean": "mean intensity",
    "sum": "total intensity",
    "min": "lowest intensity",
    "max": "highest intensity",
    "std": "variation of intensity (SD)",
}
_WORDS = {
    "label": "object",
    "circularity": "circularity (1: disk)",
    "sphericity": "sphericity (1: ball)",
    "elongation": "outline² ÷ 4π area",
    "axis_ratio": "length ÷ width",
    "equivalent_diameter": "diameter",
    "bounding_box_diameter": "longest side",
}
_SHOWN = re.compile(
    r"label|class|npixels|area_.*|volume_.*|equivalent_diameter_.*|circularity|sphericity|"
    r"intensity_mean.*"
)
_MAX_SHOWN = 6


def column_label(name: str, ndim: int) -> str:
    """Return the name of a measurement for the page.

    Parameters
    ----------
    name : str
        Column of the measurements, such as ``area_µm²``.
    ndim : {2, 3}
        Number of spatial axes.
    """
    if name == "npixels":
        return "volume (voxels)" if ndim == 3 else "area (px)"
    intensity = re.fullmatch(r"intensity_(\w+?)(?:_ch(\d+))?", name)
    if intensity and intensity[1] in _STATISTICS:
        channel = f", channel {intensity[2]}" if intensity[2] else ""
        return _STATISTICS[intensity[1]] + channel
    if name in _WORDS:
        return _WORDS[name]
    text, _, unit = name.rpartition("_")
    text = _WORDS.get(text, text).removeprefix("centroid_").replace("_", " ")
    return f"{text} ({unit})" if text else name


def initial_columns(names: Sequence[str]) -> list[str]:
    """Return the columns that the table shows first: the most used ones."""
    shown = [name for name in names if _SHOWN.fullmatch(name)]
    if any(name.startswith(("area_", "volume_")) for name in shown):
        shown.remove("npixels")
    return shown[:_MAX_SHOWN]


@dataclass
class ObjectData:
    """Measurements of the objects of an image.

    Parameters
    ----------
    columns : list of str
        Names of the measurements; the first is ``label``.
    rows : list of dict
        Values of each object by column; None for a value that does not exist.
    ndim : {2, 3}
        Number of spatial axes.
    """

    columns: list[str]
    rows: list[dict[str, Value]]
    ndim: int

    @property
    def labels(self) -> dict[str, str]:
        """Names for the page of all columns but positions in another unit than pixels."""
        return {
            name: column_label(name, self.ndim)
            for name in self.columns
            # The viewer uses pixel coordinates.
            if not name.startswith("centroid_") or name.endswith("_px")
        }

    def values(self, name: str) -> Array:
        """Return a column; NaN for missing values."""
        return np.array([math.nan if (v := row[name]) is None else v for row in self.rows], float)

    def limits(self, name: str) -> Limits:
        """Return the smallest and largest value of a column; 0 and 1 without values."""
        values = self.values(name)
        values = values[np.isfinite(values)]
        return (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)

    def passing(self, filters: Mapping[str, Limits]) -> list[int] | None:
        """Return the ids of the objects within all limits; None without filters.

        Parameters
        ----------
        filters : mapping of str to (float, float)
            Smallest and largest allowed value by column. Objects without a value do not pass.
        """
        if not filters:
            return None
        passes = np.ones(len(self.rows), bool)
        for name, (low, high) in filters.items():
            values = self.values(name)
            with np.errstate(invalid="ignore"):
                passes &= (values >= low) & (values <= high)
        return [int(row["label"] or 0) for row, ok in zip(self.rows, passes, strict=True) if ok]


def histogram(data: ObjectData, name: str, ids: Iterable[int] | None) -> dict[str, Any]:
    """Return the bins of a histogram of one measurement.

    Parameters
    ----------
    data : ObjectData
        Measurements.
    name : str
        Column.
    ids : iterable of int, optional
        Objects that pass the filters; None: all.

    Returns
    -------
    dict
        ``edges``; ``all`` and ``passing``, the number of objects in each bin; ``bin_of``, the bin
        by id.
    """
    values, numbers = data.values(name), [int(row["label"] or 0) for row in data.rows]
    is_valid = np.isfinite(values)
    low, high = data.limits(name)
    whole = all(value.is_integer() for value in values[is_valid].tolist())
    bins = min(_BINS, int(high - low) + 1) if whole and high - low < _BINS else _BINS
    edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    index = np.clip(np.searchsorted(edges, values, "right") - 1, 0, bins - 1)
    allowed = None if ids is None else set(ids)
    passes = is_valid & np.array([allowed is None or n in allowed for n in numbers], bool)
    return {
        "edges": edges.tolist(),
        "all": np.bincount(index[is_valid], minlength=bins).tolist(),
        "passing": np.bincount(index[passes], minlength=bins).tolist(),
        "bin_of": {n: int(i) for n, i, ok in zip(numbers, index, is_valid, strict=True) if ok},
    }


def scatter(data: ObjectData, x: str, y: str, ids: Iterable[int] | None) -> dict[str, Any]:
    """Return the points of a scatter plot of two measurements.

    Parameters
    ----------
    data : ObjectData
        Measurements.
    x, y : str
        Columns.
    ids : iterable of int, optional
        Objects that pass the filters; None: all.

    Returns
    -------
    dict
        ``points``: id, x, y and whether it passes, of each object with both values, evenly thinned
        out to 5,000; ``x`` and ``y``: the limits.
    """
    first, second = data.values(x), data.values(y)
    allowed = None if ids is None else set(ids)
    numbers = [int(row["label"] or 0) for row in data.rows]
    points = [
        [n, a, b, allowed is None or n in allowed]
        for n, a, b in zip(numbers, first.tolist(), second.tolist(), strict=True)
        if math.isfinite(a) and math.isfinite(b)
    ]
    step = -(-len(points) // _MAX_POINTS) or 1
    return {"points": points[::step], "x": list(data.limits(x)), "y": list(data.limits(y))}
