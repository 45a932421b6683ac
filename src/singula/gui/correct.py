"""Corrections and review of the objects of an image, for the Correct page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from singula.errors import UserError
from singula.gui.guard import Guard
from singula.gui.pictures import Scene
from singula.gui.results import Results, check_instances, open_results
from singula.gui.retune import Retune
from singula.gui.segment import SegmentedImages, open_segmentation
from singula.gui.segment_process import RECORD
from singula.labels.change import Change
from singula.labels.edit import LabelEditor
from singula.pipeline.confidence import predicted_confidence
from singula.runs.corrections import CorrectedFiles, Review, State, review_order
from singula.runs.instances import Instances

Tool = Literal["select", "delete", "merge", "split", "draw", "extend", "cut"]
TOOLS: tuple[Tool, ...] = get_args(Tool)
OUTLINE_TOOLS: frozenset[Tool] = frozenset({"draw", "extend", "cut"})
"""Tools that need an outline; the other ones need clicks."""
Position = tuple[int, int, int]
_MAX_PIXELS = 1 << 26


@dataclass(eq=False)
class Correction:
    """Label image of an image that the user corrects and reviews.

    Parameters
    ----------
    scene : Scene
        Image and labels that the page displays.
    predicted : Instances
        Content of the prediction.
    files : CorrectedFiles
        Files of the corrections.
    editor : LabelEditor
        Label image with the corrections.
    review : Review
        State of the objects when the page was opened, and accepted objects.
    confidence : dict of int to float
        Confidence of the predicted objects by id; empty if it is unknown.
    version : str
        `CorrectedFiles.version` of the opened or last saved corrections.

    Attributes
    ----------
    tool : str
        The chosen tool.
    selected : int
        Id of the marked object; 0 for none.
    start : tuple of int, optional
        First click (z, y, x) of a tool that needs two.
    ids : set of int
        Ids of all objects.
    """

    scene: Scene
    predicted: Instances
    files: CorrectedFiles
    editor: LabelEditor
    review: Review
    confidence: dict[int, float]
    version: str = ""
    tool: Tool = "select"
    selected: int = 0
    start: Position | None = None

    ids: set[int] = field(init=False)

    def __post_init__(self) -> None:
        """Collect the ids, which corrections then change."""
        self.ids = set(np.unique(self.editor.labels).tolist()) - {0}

    @property
    def state_of_review(self) -> Review:
        """State of all objects, with those of the applied corrections."""
        changed = {number for change in self.editor.changes for number in change.ids}
        return Review(self.review.accepted - changed, self.review.corrected | changed)

    def state(self, number: int) -> State | None:
        """Return the state of an object; None if it was not reviewed."""
        return self.state_of_review.state(number)

    def progress(self) -> tuple[int, int]:
        """Return the number of reviewed objects, and of all objects."""
        review, ids = self.state_of_review, self.ids
        return sum(review.state(number) is not None for number in ids), len(ids)

    def neighbor(self, step: int) -> int:
        """Return the next object to review, or with a step of -1 the previous one; 0 for none.

        Objects follow each other by their confidence, the least certain first. Reviewed objects
        are left out.

        Parameters
        ----------
        step : {1, -1}
            Direction.
        """
        review = self.state_of_review
        order = review_order(self.confidence, self.ids)
        place = order.index(self.selected) if self.selected in order else (-1 if step > 0 else 0)
        turned = [order[(place + step * n) % len(order)] for n in range(1, len(order) + 1)]
        return next((number for number in turned if review.state(number) is None), 0)

    def choose(self, tool: Tool) -> None:
        """Choose a tool, and forget a first click."""
        self.tool, self.start = tool, None

    def click(self, position: Position) -> bool:
        """Apply the tool at a pixel, and return True if the labels changed.

        Parameters
        ----------
        position : tuple of int
            Slice, row and column: (z, y, x).

        Raises
        ------
        UserError
            ``edit.…``: the correction is not possible there.
        """
        number = self.scene.instance_at(*position)
        before, start = len(self.editor.changes), self.start
        self.selected, self.start = number, None
        if self.tool == "delete" and number:
            self.delete()
        elif self.tool in ("merge", "split") and start is None:
            self.start = position if number else None
        elif self.tool == "merge" and start is not None:
            first = self.scene.instance_at(*start)
            self.selected = first
            if number in (0, first):
                self.start = start  # wait for another object
            else:
                self.selected = self.editor.merge([first, number])
        elif self.tool == "split" and start is not None:
            ends = [self._point(place) for place in (start, position)]
            self.selected = self.editor.split(self.scene.instance_at(*start), ends)[0]
        return self._finish(before)

    def outline(self, corners: Sequence[Sequence[float]], plane: int) -> bool:
        """Apply a tool that needs an outline, and return True if the labels changed.

        *Extend* changes the object under the first corner, or the marked one; *cut* changes the
        marked object, or the one with the most pixels in the outline.

        Parameters
        ----------
        corners : sequence of sequence of float
            Corners (y, x) in pixels.
        plane : int
            Number of the slice.

        Raises
        ------
        UserError
            ``edit.…``: the correction is not possible there; ``gui.no_object``: no object is
            marked.
        """
        before = len(self.editor.changes)
        place = plane if self.editor.labels.ndim == 3 else None
        if self.tool == "draw":
            self.selected = self.editor.draw(corners, place)
            return self._finish(before)
        number = self._outlined(corners, plane)
        if not number:
            raise UserError(
                "no object is marked", "begin the outline in the object, or mark it first",
                "gui.no_object",
            )  # fmt: skip
        parts = self.editor.reshape(number, corners, place, add=self.tool == "extend")
        self.selected = parts[0] if parts else 0
        return self._finish(before)

    def _outlined(self, corners: Sequence[Sequence[float]], plane: int) -> int:
        first = self.scene.instance_at(plane, *(round(value) for value in corners[0]))
        if self.tool == "extend":
            return first or self.selected
        return self.selected or first

    def _point(self, position: Position) -> tuple[int, ...]:
        return position[-self.editor.labels.ndim :]

    def delete(self) -> bool:
        """Delete the marked object, and return True if there was one."""
        before = len(self.editor.changes)
        if self.selected:
            self.editor.delete([self.selected])
            self.selected = 0
        return self._finish(before)

    def undo(self) -> bool:
        """Undo the last correction, and return True if there was one."""
        self.start, change = None, self.editor.undo()
        return change is not None and self._show(change)

    def redo(self) -> bool:
        """Repeat the last undone correction, and return True if there was one."""
        self.start, change = None, self.editor.redo()
        return change is not None and self._show(change)

    def accept(self) -> None:
        """Mark the selected object as right."""
        if self.selected and self.state(self.selected) is None:
            self.review.mark([self.selected], "accepted")

    def save(self) -> None:
        """Write the corrected labels and the state of the review.

        Raises
        ------
        UserError
            ``corrections.changed``: other corrections were saved after the image was opened.
        """
        self.version = self.files.save(
            self.predicted, self.editor.labels, self.state_of_review, expected=self.version
        )

    def _finish(self, before: int) -> bool:
        """Display the last correction, if there is one more than before."""
        changes = self.editor.changes
        selected = self.selected
        changed = len(changes) > before and self._show(changes[-1])
        self.selected = selected
        return changed

    def _show(self, change: Change) -> bool:
        """Update ids, marked object and picture after the box of a change got other labels."""
        present = set(np.unique(self.editor.labels[change.box]).tolist())
        altered = set(change.ids)
        # The box of an extension does not contain the whole object.
        self.ids -= set() if change.name == "extend" else altered - present
        self.ids |= altered & present
        self.selected = min(altered & self.ids, default=0)
        self.scene.replace_instances(self.editor.labels)
        return True


@dataclass(frozen=True, eq=False)
class CorrectableImages:
    """Images of a prediction or a run that can be corrected.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    folder : Path
        Folder of the prediction or of the run.
    opened : SegmentedImages or Results
        Opened prediction or run.
    """

    guard: Guard
    folder: Path
    opened: SegmentedImages | Results

    @property
    def names(self) -> list[str]:
        """Names of the images."""
        if isinstance(self.opened, SegmentedImages):
            return list(self.opened.sources)
        return self.opened.run.image_names(self.opened.run.final_stage)

    @property
    def title(self) -> str:
        """Folder, and the stage of the objects if the run has several."""
        parts = [self.guard.short(self.folder)]
        if isinstance(self.opened, Results):
            parts += filter(None, [self.opened.run.stage_label(self.opened.run.final_stage)])
        return ", ".join(parts)

    @property
    def labels_folder(self) -> Path:
        """Folder of the predicted label images."""
        if isinstance(self.opened, SegmentedImages):
            return self.folder
        run = self.opened.run
        return next(iter(run.instance_files(run.final_stage).values())).parent

    def read(self, name: str) -> Correction:
        """Open an image with its corrections, if there are any.

        Parameters
        ----------
        name : str
            One of `names`.

        Raises
        ------
        UserError
            ``gui.too_large``: the image is too large for the page;
            ``corrections.other_prediction``; a file cannot be read.
        """
        if isinstance(self.opened, SegmentedImages):
            scene, predicted = self.opened.read(name)
            path = self.opened.sources[name].path
            values = dict(predicted.confidence or {})
        else:
            scene, predicted, path = self._of_run(self.opened, name)
            values = _of_maps(self.opened, name, predicted)
        if predicted.labels.size > _MAX_PIXELS:
            raise _too_large(name)
        files = CorrectedFiles(path, name)
        self.guard.check_below([files.folder])
        predicted = replace(predicted, image=scene.raw)
        version = files.version()  # before the files are read, so that a later change is detected
        corrected, review = files.load(predicted)
        editor = LabelEditor(corrected.labels, predicted.spacing)
        labels = {**scene.labels, "instances": editor.labels}
        scene = Scene(scene.raw, labels, None, spacing=scene.spacing, unit=scene.unit)
        scene.middle_slice()  # in this thread
        return Correction(scene, predicted, files, editor, review, values, version)

    def _of_run(self, results: Results, name: str) -> tuple[Scene, Instances, Path]:
        stage = results.run.final_stage
        if results.images.window(name) is not None:
            raise _too_large(name)
        predicted = results.instances(name, stage)
        path = results.run.instance_files(stage)[name]
        return results.scene(name, stage, predicted.labels), predicted, path


def _too_large(name: str) -> UserError:
    return UserError(
        f"{name}: is too large for this page",
        "correct it in napari, or export it to QuPath",
        "gui.too_large",
    )


def open_correctable(guard: Guard, folder: Path | str) -> CorrectableImages:
    """Open the folder of a prediction of the interface, or of a finished run.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    folder : Path or str
        The folder.

    Raises
    ------
    UserError
        ``gui.outside``; ``gui.no_instances``: the run has no instances; the folder is neither.
    """
    path = guard.check(folder)
    if (path / RECORD).is_file():
        return CorrectableImages(guard, path, open_segmentation(guard, path))
    results = open_results(path, guard)
    check_instances(results)
    return CorrectableImages(guard, path, results)


def _of_maps(results: Results, name: str, predicted: Instances) -> dict[int, float]:
    """Compute the confidence from the stored maps of a run; empty without maps of this shape."""
    try:
        retune = Retune(results, name, results.run.final_stage)
        return predicted_confidence(retune.config, predicted.labels, retune.maps)
    except UserError:
        return {}
