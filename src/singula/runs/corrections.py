"""Corrected label images and the state of their review, next to the predictions.

For a prediction ``FOLDER/NAME.tif``, they are in ``FOLDER/corrected``: ``labels/NAME.tif``,
``review/NAME.json`` and, for images that are known, ``images/NAME.tif``. `singula init` reads this
folder as a data set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from singula.errors import UserError
from singula.io.atomic import make_folder
from singula.io.read import read_labels
from singula.io.record_files import read_record, write_record
from singula.io.records.review import ReviewRecord
from singula.io.run_lock import hold, lock_file
from singula.io.write import write_tiff
from singula.labels.classes import with_class_channel
from singula.metrics import overlap
from singula.metrics.classes import winning_classes
from singula.runs.instances import Instances, LabelSource
from singula.util.boxes import Box
from singula.util.paths import open_regular

Labels = npt.NDArray[Any]
FOLDER = "corrected"
"""Folder of the corrections, in the folder of the predictions."""
State = Literal["accepted", "corrected"]
_BLOCK = 1 << 20  # bytes
OBJECTS = {"corrected": "With corrections", "predicted": "As the model found them"}
"""Choices of `with_corrections`, with their titles."""
_AXES = {2: "YX", 3: "ZYX"}


@dataclass(eq=False)
class Review:
    """Objects of a label image that the user has accepted or corrected.

    Parameters
    ----------
    accepted, corrected : set of int
        Ids of the objects; an id is in one set at most.
    """

    accepted: set[int] = field(default_factory=set)
    corrected: set[int] = field(default_factory=set)

    def mark(self, ids: Iterable[int], state: State | None) -> None:
        """Set the state of objects; None removes it."""
        numbers = set(ids)
        self.accepted -= numbers
        self.corrected -= numbers
        if state is not None:
            getattr(self, state).update(numbers)

    def state(self, number: int) -> State | None:
        """Return the state of an object; None if it has not been reviewed."""
        if number in self.corrected:
            return "corrected"
        return "accepted" if number in self.accepted else None


@dataclass(frozen=True)
class CorrectedFiles:
    """Files of the corrections of one label image.

    Parameters
    ----------
    prediction : Path
        Predicted label image.
    name : str
        Name of the image.
    """

    prediction: Path
    name: str

    @property
    def folder(self) -> Path:
        """Folder of the corrections of all images."""
        return self.prediction.parent / FOLDER

    @property
    def labels(self) -> Path:
        """Corrected label image."""
        return self.folder / "labels" / f"{self.name}.tif"

    @property
    def image(self) -> Path:
        """Copy of the raw image."""
        return self.folder / "images" / f"{self.name}.tif"

    @property
    def review(self) -> Path:
        """State of the review."""
        return self.folder / "review" / f"{self.name}.json"

    @property
    def exist(self) -> bool:
        """True if there are corrections."""
        return self.labels.is_file() and self.review.is_file()

    def version(self) -> str:
        """Return a digest of the saved corrections; empty if there are none."""
        digest, n_files = hashlib.sha256(), 0
        for path in (self.labels, self.review):
            if path.exists():
                with open_regular(path) as file:
                    while block := file.read(_BLOCK):
                        digest.update(block)
                n_files += 1
        return digest.hexdigest() if n_files else ""

    def load(self, predicted: Instances) -> tuple[Instances, Review]:
        """Return the corrected labels, or the predicted ones if there are no corrections.

        Parameters
        ----------
        predicted : Instances
            Content of the prediction.

        Raises
        ------
        UserError
            ``corrections.other_prediction``: the image was predicted again after the corrections.
        """
        if not self.exist:
            return predicted, Review()
        record = read_record(self.review, ReviewRecord)
        if record.digest != _digest(predicted.labels):
            raise UserError(
                f"{self.labels}: contains corrections of an earlier prediction",
                f"move the folder {self.folder} to keep them, then open the image again",
                "corrections.other_prediction",
            )
        stored = read_labels(self.labels, predicted.ndim, predicted.class_image is not None)
        classes = None if predicted.class_image is None else stored.array[..., 1]
        item = replace(predicted, labels=stored.array[..., 0], class_image=classes)
        return item, Review(set(record.accepted), set(record.corrected))

    def save(
        self, predicted: Instances, labels: Labels, review: Review, *, expected: str | None = None
    ) -> str:
        """Write corrected labels, the state of the review and a copy of the raw image.

        The prediction is not changed. Objects that were drawn into the background of an image with
        classes have the most frequent class.

        Parameters
        ----------
        predicted : Instances
            Content of the prediction, with its raw image if it is known.
        labels : ndarray of int, (y, x) or (z, y, x)
            Corrected label image.
        review : Review
            State of the objects.
        expected : str, optional
            `version` of the corrections that these ones continue. By default, saved corrections
            are replaced in any case.

        Returns
        -------
        str
            The new `version`.

        Raises
        ------
        UserError
            ``corrections.changed``: other corrections were saved in the meantime.
        """
        with hold([lock_file(self.folder)], "correct", wait=True):
            if expected is not None and self.version() != expected:
                raise UserError(
                    f"{self.labels}: was changed after it was opened",
                    "open the image again, or replace these corrections",
                    "corrections.changed",
                )
            self._write(predicted, labels, review)
            return self.version()

    def _write(self, predicted: Instances, labels: Labels, review: Review) -> None:
        axes, spacing, unit = _AXES[labels.ndim], predicted.spacing, predicted.unit
        stored = labels.astype(np.min_scalar_type(int(labels.max(initial=0))))
        label_axes = axes
        if predicted.class_image is not None:
            ids, classes = winning_classes(overlap(labels, predicted.class_image))
            common = np.bincount(classes[classes > 0], minlength=2).argmax()
            classes = np.where(classes > 0, classes, common).astype(classes.dtype)
            stored = with_class_channel(stored, ids, classes)
            label_axes += "C"
        image = predicted.image
        if image is not None and not self.image.exists():
            make_folder(self.image.parent)
            write_tiff(self.image, image, axes + "C", spacing, unit)
        make_folder(self.labels.parent)
        write_tiff(self.labels, stored, label_axes, spacing, unit)
        present = set(np.unique(labels).tolist())
        record = ReviewRecord(
            prediction=self.prediction.name,
            digest=_digest(predicted.labels),
            accepted=sorted(review.accepted & present),
            corrected=sorted(review.corrected & present),
        )
        make_folder(self.review.parent)
        write_record(self.review, record)


@dataclass(frozen=True)
class CorrectedSource(LabelSource):
    """A predicted label image that is read with its corrections."""

    def read(self, box: Box | None = None) -> Instances:
        """Read the corrected label image, or a box of it.

        Raises
        ------
        UserError
            ``corrections.other_prediction``: the image was predicted again after the corrections;
            the codes of `LabelSource.read`.
        """
        predicted = super().read()
        try:
            corrected, _ = CorrectedFiles(self.path, self.name).load(predicted)
        except UserError as error:
            if error.code != "corrections.other_prediction":
                raise
            folder = self.path.parent / FOLDER
            raise UserError(
                error.message,
                f"use the predicted objects with --objects predicted, or move the folder {folder}",
                error.code,
            ) from None
        return corrected if box is None else _cropped(corrected, box)


def corrected_instances(
    files: CorrectedFiles, predicted: Instances, note: Callable[[str], None]
) -> Instances | None:
    """Return the corrected instances of an image; None, with a note, if they cannot be read.

    Corrected objects have no confidence, which is that of the predicted shape.

    Parameters
    ----------
    files : CorrectedFiles
        Files of the corrections.
    predicted : Instances
        Predicted instances.
    note : callable
        Receives the reason why existing corrections are not shown.
    """
    if not files.exist:
        return None
    try:
        corrected, review = files.load(predicted)
    except UserError as error:
        note(f"{files.name}: the corrections are not shown: {error.message}")
        return None
    confidence = corrected.confidence
    if confidence is not None:
        confidence = {n: value for n, value in confidence.items() if n not in review.corrected}
    return replace(corrected, origin="corrected", confidence=confidence)


def _cropped(item: Instances, box: Box) -> Instances:
    classes, annotated = item.class_image, item.annotated
    return replace(
        item,
        labels=item.labels[box],
        class_image=None if classes is None else classes[box],
        annotated=None if annotated is None else annotated[box],
    )


def with_corrections(sources: Sequence[LabelSource], objects: str) -> list[LabelSource]:
    """Return label images that are read with or without their corrections.

    Parameters
    ----------
    sources : sequence of LabelSource
        Predicted label images.
    objects : {"corrected", "predicted"}
        Whether existing corrections are used.
    """
    corrected = [CorrectedFiles(source.path, source.name).exist for source in sources]
    if not any(corrected):
        return list(sources)
    return [
        CorrectedSource(**{**vars(source), "origin": "corrected"})
        if is_corrected and objects == "corrected"
        else replace(source, origin="predicted")
        for source, is_corrected in zip(sources, corrected, strict=True)
    ]


def _digest(labels: Labels) -> str:
    """Return a digest that does not depend on the integer type."""
    data = np.ascontiguousarray(labels, "<u4")
    return hashlib.sha256(str(data.shape).encode() + data.tobytes()).hexdigest()


def corrected_names(folder: Path) -> list[str]:
    """Return the names of the images of a folder of predictions that have corrections.

    Parameters
    ----------
    folder : Path
        Folder of the predicted label images.
    """
    names = (path.stem for path in (folder / FOLDER / "labels").glob("*.tif"))
    return sorted(name for name in names if CorrectedFiles(folder / f"{name}.tif", name).exist)


def review_order(confidence: dict[int, float], ids: Iterable[int]) -> list[int]:
    """Return objects in the order of their review: the least certain first.

    Parameters
    ----------
    confidence : dict of int to float
        Confidence by id.
    ids : iterable of int
        Ids of the objects. Those without a confidence, such as new objects, come last.
    """
    return sorted(ids, key=lambda number: (confidence.get(number, 2.0), number))
