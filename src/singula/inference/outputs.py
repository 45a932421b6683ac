"""Files that a prediction writes next to a label image: measurements and a picture."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from singula.exports.tables import convert_table, instance_table
from singula.inference.image_scales import read_for, with_shown_color
from singula.inference.model import Model
from singula.inference.overlay import write_outlines, write_outlines_of_files
from singula.io.lazy import open_labels
from singula.io.lazy_array import LazyArray
from singula.io.pairing import Pair
from singula.io.read import read_labels
from singula.io.slide_notes import slide_of
from singula.io.write import write_csv, write_csv_parts
from singula.labels import table_parts
from singula.report.overlay import OVERLAY_SUFFIX
from singula.runs.instances import Instances

if TYPE_CHECKING:
    import numpy.typing as npt

TABLE_SUFFIX = "_stats.csv"
"""End of the names of tables that `singula predict` writes next to label images."""


@dataclass(frozen=True)
class Outputs:
    """Files to write next to a label image.

    Parameters
    ----------
    table : bool
        Write the measurements.
    overlay : bool
        Write the picture of the outlines.
    """

    table: bool
    overlay: bool

    def missing(self, target: Path) -> Outputs:
        """Return the files that do not exist next to a label image."""
        return Outputs(
            self.table and not table_file(target).is_file(),
            self.overlay and not overlay_file(target).is_file(),
        )

    def names(self, target: Path) -> list[str]:
        """Return the names of the files."""
        files = [table_file(target)] * self.table + [overlay_file(target)] * self.overlay
        return [file.name for file in files]

    def remove_earlier(self, target: Path, inputs: Collection[Path], *, all_files: bool) -> None:
        """Remove the files of an earlier label image, before another one is written.

        Parameters
        ----------
        target : Path
            Label image.
        inputs : collection of Path
            Resolved paths of images that are never removed.
        all_files : bool
            Also remove files that will not be written.
        """
        for path, is_written in (
            (table_file(target), self.table),
            (overlay_file(target), self.overlay),
        ):
            if (is_written or all_files) and path.resolve() not in inputs:
                path.unlink(missing_ok=True)

    def write(self, target: Path, item: Instances) -> None:
        """Write the files for a label image with its raw image, in memory or on disk."""
        if self.table:
            write_csv(table_file(target), instance_table(item))
        if not self.overlay:
            return
        image, labels = item.image, item.labels
        if isinstance(image, LazyArray) and isinstance(labels, LazyArray):
            write_outlines_of_files(overlay_file(target), image.source, labels.source)
        elif image is not None:
            write_outlines(overlay_file(target), image, labels)

    def write_of_blocks(
        self, target: Path, model: Model, pair: Pair, labels: Path, table: Path | None
    ) -> None:
        """Write the files for an image in blocks, of which the table was measured in blocks.

        Parameters
        ----------
        target : Path
            Final name of the label image.
        model : Model
            Trained model.
        pair : Pair
            The image.
        labels : Path
            Label image.
        table : Path, optional
            Table of the run in blocks. None: write no table.
        """
        item = _lazy_instances(model, pair, labels, target.stem)
        if table is not None and self.table:
            import pandas as pd

            with pd.read_csv(table, chunksize=table_parts.ROWS) as parts:
                converted = (convert_table(part, item.spacing, item.unit) for part in parts)
                write_csv_parts(table_file(target), converted)
        replace(self, table=False).write(target, item)


def complete_outputs(
    model: Model, pair: Pair, labels: Path, target: Path, outputs: Outputs
) -> None:
    """Write files for a label image of an earlier prediction.

    Parameters
    ----------
    model : Model
        Trained model.
    pair : Pair
        The image.
    labels : Path
        Label image.
    target : Path
        Path with the name of the label image; the files are written next to it.
    outputs : Outputs
        Files to write.
    """
    if labels.suffix == ".zarr":
        item = _lazy_instances(model, pair, labels, target.stem)
    else:
        stored = read_labels(labels, model.ndim, bool(model.reader.n_classes))
        classes = stored.array[..., 1] if model.reader.n_classes else None
        item = Instances(
            target.stem, stored.array[..., 0], classes, stored.spacing, stored.unit,
            image=read_for(model, pair).array,
        )  # fmt: skip
    outputs.write(target, item)


def _lazy_instances(model: Model, pair: Pair, labels: Path, name: str) -> Instances:
    """Return a label image and its raw image, of which no pixels are read."""
    source = open_labels(labels, model.ndim, bool(model.reader.n_classes))
    whole = LazyArray.of(source)
    pair = with_shown_color(model, pair)
    image = LazyArray.of(model.reader.open_image(pair.image, pair.arrays))
    return Instances(
        name,
        cast("npt.NDArray[np.uint32]", whole[..., 0]),
        whole[..., 1] if model.reader.n_classes else None,
        source.spacing,
        source.unit,
        image=cast("npt.NDArray[np.uint32]", image),
        slide=slide_of(labels),
    )


def describe_results(output: Path, names: Sequence[str]) -> str:
    """Return the existing files of the first image with results as text, in parentheses.

    Parameters
    ----------
    output : Path
        Folder of the results.
    names : sequence of str
        Names of the results.
    """
    for target in (output / f"{name}.tif" for name in names):
        files = (
            target, output / f"{target.stem}.zarr", table_file(target), overlay_file(target)
        )  # fmt: skip
        written = [file.name for file in files if file.exists()]
        if written:
            return f" ({', '.join(written)}{', …' if len(names) > 1 else ''})"
    return ""


def overlay_file(target: Path) -> Path:
    """Return the file of the picture that belongs to a label image."""
    return target.with_name(f"{target.stem}{OVERLAY_SUFFIX}")


def table_file(target: Path) -> Path:
    """Return the file of the measurements that belong to a label image."""
    return target.with_name(f"{target.stem}{TABLE_SUFFIX}")
