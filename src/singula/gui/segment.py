"""Images and label images of a prediction, for the Segment page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.errors import UserError
from singula.exports.sources import find_sources
from singula.exports.tables import calibration, instance_table
from singula.gui.guard import Guard
from singula.gui.pictures import Scene
from singula.gui.segment_process import read_prediction
from singula.inference import gather_images
from singula.inference.tasks import image_tasks
from singula.io.formats.table import stem_of
from singula.io.image import ArrayPlace
from singula.io.read import read_header, read_image
from singula.runs.corrections import CorrectedFiles, corrected_instances
from singula.runs.instances import Instances, LabelSource
from singula.util.messages import captured_messages

Array = npt.NDArray[Any]
_MAX_PIXELS = 1 << 28  # of an image that the page shows


@dataclass
class SegmentedImages:
    """Label images of a prediction, with the images that it predicted.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    folder : Path
        Folder of the label images.
    images : Path
        Image or folder that was predicted.
    channel : str
        Name or number of the predicted channel; empty for all.
    sources : dict of str to LabelSource
        Label images by name.
    notes : list of str
        Reasons why images are not shown.
    """

    guard: Guard
    folder: Path
    images: Path
    channel: str
    sources: dict[str, LabelSource]
    notes: list[str] = field(default_factory=list)

    def read(self, name: str, objects: str = "predicted") -> tuple[Scene, Instances]:
        """Return an image with its instances, with the origin ``corrected`` after corrections.

        Parameters
        ----------
        name : str
            Name of the image.
        objects : str
            Key of `singula.runs.corrections.OBJECTS`. Without corrections, the predicted instances
            are returned.

        Raises
        ------
        UserError
            ``gui.too_large``: the page does not show images of this size; the label image cannot be
            read.
        """
        source = self.sources[name]
        self.guard.check_below([source.path])
        if source.slide is not None or _count_pixels(source) > _MAX_PIXELS:
            raise UserError(
                f"{source.path}: is too large for this page",
                f"open {name}_overlay.png in the same folder, or export the instances with "
                f"`singula export {self.folder} --to qupath`",
                "gui.too_large",
            )
        with captured_messages():
            instances = source.read()
        instances = replace(instances, confidence=_confidence(self.table_file(name)))
        raw = self._raw(name, instances.labels.shape)
        if objects == "corrected":
            instances = self._corrected(name, instances, self.notes.append) or instances
        labels, (spacing, unit) = {"instances": instances.labels}, calibration(instances)
        scene = Scene(raw, labels, None, spacing=spacing, unit=unit)
        scene.middle_slice()  # in this thread
        return scene, instances

    def _corrected(
        self, name: str, predicted: Instances, note: Callable[[str], None]
    ) -> Instances | None:
        files = CorrectedFiles(self.sources[name].path, name)
        for path in (files.labels, files.review):
            self.guard.check(path)
        return corrected_instances(files, predicted, note)

    def corrected_names(self) -> list[str]:
        """Return the names of the images with corrections."""
        return [
            name for name, source in self.sources.items() if CorrectedFiles(source.path, name).exist
        ]

    def corrected_sizes(self) -> dict[str, list[float]]:
        """Return the sizes of the corrected objects by image, in pixels."""
        sizes = {}
        for name in self.corrected_names():
            with captured_messages(), suppress(UserError):  # reported when the image is shown
                item = self._corrected(name, self.sources[name].read(), _ignore)
                if item is not None:
                    counts = np.unique(item.labels[item.labels > 0], return_counts=True)[1]
                    sizes[name] = counts.astype(float).tolist()
        return sizes

    def corrected_rows(self, names: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        """Return the measurements of the corrected objects of images.

        Parameters
        ----------
        names : iterable of str
            Names of images; those without corrections are left out.
        """
        rows = {}
        for name in set(names).intersection(self.corrected_names()):
            scene, item = self.read(name, "corrected")
            if item.origin == "corrected":
                table = instance_table(replace(item, image=scene.raw)).astype(object)
                records = table.where(table.notna(), "").to_dict("records")
                rows[name] = [{str(key): value for key, value in row.items()} for row in records]
        return rows

    def table_file(self, name: str) -> Path:
        """Return the file with the measurements of an image, which may not exist."""
        return self.folder / f"{name}_stats.csv"

    def tables(self) -> dict[str, Path]:
        """Return the files with the measurements of all images inside of the roots."""
        files = {name: self.table_file(name) for name in self.sources}
        return {name: file for name, file in files.items() if self.guard.allows(file)}

    def _raw(self, name: str, shape: tuple[int, ...]) -> Array | None:
        """Read the image of a label image; None, with a note, if it cannot be shown."""
        self.notes.clear()
        place = ArrayPlace(command="predict", channel=self.channel)
        try:
            for path in gather_images([self.images]):
                if not name.startswith(stem_of(path)):
                    continue
                self.guard.check_below([path])
                for pair in image_tasks(path, place, None, None):
                    if pair.name == name:
                        with captured_messages():
                            image = read_image(path, len(shape), arrays=pair.arrays).array
                        if image.shape[:-1] == shape:
                            return image
        except UserError as error:
            self.notes.append(f"The image is not shown: {error.message}")
            return None
        self.notes.append("The image is not shown: it was moved or changed after the prediction.")
        return None


def _ignore(_: str) -> None:
    """Omit a note, which is shown with its image."""


def _confidence(file: Path) -> dict[int, float] | None:
    """Read the confidence from the table of a prediction; None if it has no such column."""
    if not file.is_file():
        return None
    import pandas as pd

    try:
        table = pd.read_csv(file)
    except (ValueError, OSError):
        return None
    if not {"label", "confidence"} <= set(table.columns):
        return None
    rows = table[["label", "confidence"]].dropna().to_numpy().tolist()
    return {int(number): float(value) for number, value in rows}


def _count_pixels(source: LabelSource) -> int:
    return math.prod(read_header(source.path, source.arrays).shape)


def open_segmentation(guard: Guard, folder: Path) -> SegmentedImages:
    """Open the label images of a prediction.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    folder : Path
        Folder of the results.

    Raises
    ------
    UserError
        ``gui.outside``; ``data.no_images``: the folder contains no label image.
    """
    record = read_prediction(guard, folder)
    folder = guard.check_entries(folder)
    with captured_messages():
        sources = {source.name: source for source in find_sources(folder)}
    return SegmentedImages(guard, folder, guard.check(record.images), record.channel, sources)
