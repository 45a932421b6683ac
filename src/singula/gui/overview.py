"""Table of all images of a prediction, and all their objects in one table."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from statistics import median

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


def summarize_images(tables: dict[str, Path]) -> list[ImageSummary]:
    """Return number and sizes of the objects of each image.

    Parameters
    ----------
    tables : dict of str to Path
        Tables of measurements by the name of the image.
    """
    summaries = []
    for name, path in tables.items():
        rows = _read(path)
        sizes = [float(row["npixels"]) for row in rows or () if row.get("npixels")]
        count = None if rows is None else len(rows)
        summaries.append(ImageSummary(name, count, sizes))
    return summaries


def joined_table(tables: dict[str, Path]) -> str:
    """Return the measurements of all images as CSV, with the name of the image as first column.

    Parameters
    ----------
    tables : dict of str to Path
        Tables of measurements by the name of the image; those that cannot be read are omitted.
    """
    rows = [{"image": name, **row} for name, path in tables.items() for row in _read(path) or ()]
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
