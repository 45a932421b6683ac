"""Table of all images of a prediction, and all their objects in one table."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from statistics import median
from typing import Any

from singula.errors import UserError
from singula.util.paths import read_text_file

_MAX_BYTES = 1 << 28


@dataclass(frozen=True)
class ImageSummary:
    """Row of an image.

    Parameters
    ----------
    name : str
        Name of the image.
    objects : int, optional
        Number of objects; None if the table of measurements cannot be read.
    sizes : list of float
        Area of each object in pixels, or volume in voxels.
    """

    name: str
    objects: int | None
    sizes: list[float]

    @property
    def size(self) -> float | None:
        """Median of the sizes; None without objects."""
        return median(self.sizes) if self.sizes else None


def summarize_images(
    tables: Mapping[str, Path], sizes: Mapping[str, list[float]] | None = None
) -> list[ImageSummary]:
    """Return number and sizes of the objects of each image.

    Parameters
    ----------
    tables : mapping of str to Path
        Tables of measurements by the name of the image.
    sizes : mapping of str to list of float, optional
        Sizes of the corrected objects of images with corrections, which replace the table.
    """
    summaries = []
    for name, path in tables.items():
        if sizes is not None and name in sizes:
            summaries.append(ImageSummary(name, len(sizes[name]), sizes[name]))
            continue
        rows = _read(path)
        areas = [float(row["npixels"]) for row in rows or () if row.get("npixels")]
        summaries.append(ImageSummary(name, None if rows is None else len(rows), areas))
    return summaries


def joined_table(
    tables: Mapping[str, Path], corrected: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
) -> str:
    """Return the measurements of all images as CSV, with the name of the image as first column.

    Parameters
    ----------
    tables : mapping of str to Path
        Tables of measurements by the name of the image; those that cannot be read are omitted.
    corrected : mapping of str to sequence of mapping, optional
        Rows of images with corrections, which replace the table. The second column, ``objects``,
        is then ``predicted`` or ``corrected``, as in exported tables.
    """
    rows: list[dict[str, Any]] = []
    for name, path in tables.items():
        is_corrected = corrected is not None and name in corrected
        origin = {"objects": "corrected" if is_corrected else "predicted"} if corrected else {}
        measured = corrected[name] if corrected and is_corrected else _read(path) or ()
        rows += [{"image": name, **origin, **row} for row in measured]
    columns = dict.fromkeys(column for row in rows for column in row)
    text = StringIO(newline="")
    writer = csv.DictWriter(text, columns or ["image"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def has_no_objects(summaries: Iterable[ImageSummary]) -> bool:
    """Return True if all images were measured and none has an object."""
    counts = [summary.objects for summary in summaries]
    return bool(counts) and all(count == 0 for count in counts)


def _read(path: Path) -> list[dict[str, str]] | None:
    """Return the rows of a table; None if it cannot be read."""
    with suppress(UserError, csv.Error):
        text = read_text_file(path, _MAX_BYTES, follow_links=False)
        return list(csv.DictReader(StringIO(text, newline="")))
    return None
