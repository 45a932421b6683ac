"""Find and read the test images of a finished run, with ground truth and instances."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from singula.data.preprocess import resize_labels
from singula.errors import UserError
from singula.io.formats.containers import array_places
from singula.io.image import ArrayPlaces
from singula.io.lazy import open_image, open_labels
from singula.io.pairing import Pair, pair_files
from singula.io.read import read_image
from singula.io.unannotated import with_masks
from singula.runs.instances import Instances, LabelSource
from singula.runs.run import Run, Stage
from singula.util.boxes import Box, center_box
from singula.util.format import command
from singula.util.locations import location

Array = npt.NDArray[Any]
T = TypeVar("T")
_MAX_PIXELS = 64_000_000  # maximum size of an image processed in blocks that is read completely
IMAGE_KEY, LABEL_KEY = "DATA.TEST.PATH", "DATA.TEST.GT_PATH"


@dataclass
class RunImages:
    """Reader of images, ground truth and instances; files that cannot be read are noted.

    Parameters
    ----------
    run : Run
        Finished run.
    pairs : dict of str to Pair
        Image and ground truth by the name of the image.
    notes : list of str
        Notices for the reader of the report.
    """

    run: Run
    pairs: dict[str, Pair] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _windows: dict[str, Box | None] = field(default_factory=dict)

    def window(self, name: str) -> Box | None:
        """Return the box that is read of a very large image; None for other images."""
        if name not in self._windows:
            self._windows[name] = self._find_window(name)
        return self._windows[name]

    def _find_window(self, name: str) -> Box | None:
        stages = [s for s in self.run.stages if s.view == "per_image"]
        paths = [path for s in stages if (path := self.run.instance_files(s).get(name))]
        if not paths or paths[0].suffix != ".zarr":
            return None
        shape = open_labels(paths[0], self.run.ndim).spatial_shape
        if prod(shape) <= _MAX_PIXELS:
            return None
        box = center_box(shape)
        ranges = ", ".join(f"{b.start} to {b.stop} of {n}" for b, n in zip(box, shape, strict=True))
        self.note(f"{name} is large: its pictures and shapes show only the center ({ranges})")
        return box

    def instances(self, name: str, stage: Stage) -> Instances | None:
        """Read the instances; the configuration overrides the pixel size of the file."""
        source = self.run.label_image(name, stage)
        return None if source is None else self._read(source)

    def raw(self, name: str, stage: Stage, shape: tuple[int, ...]) -> Array | None:
        """Read the raw image (y, x, c) or (z, y, x, c), or all images as a stack.

        An image whose spatial shape is not `shape`, that of the instances, is noted and omitted.
        """
        read = [self._image(pair, self.run.ndim) for pair in self._pairs(name, stage)]
        image = _joined([plane for plane in read if plane is not None], stage)
        if image is not None and image.shape[:-1] != shape:
            self._note_shape(name, "image", image.shape[:-1], shape)
            return None
        return image

    def truth(self, name: str, stage: Stage, shape: tuple[int, ...]) -> Instances | None:
        """Read the ground truth; another spatial shape than `shape` is noted and omitted."""
        read = [self._truth(pair) for pair in self._pairs(name, stage)]
        truths = [plane for plane in read if plane is not None]
        labels = _joined([truth.labels for truth in truths], stage)
        if labels is None:
            return None
        if labels.shape != shape:
            self._note_shape(name, "ground truth", labels.shape, shape)
            return None
        classes = [truth.class_image for truth in truths if truth.class_image is not None]
        annotated = None
        if any(truth.annotated is not None for truth in truths):
            masks = [
                np.ones(truth.labels.shape, bool) if truth.annotated is None else truth.annotated
                for truth in truths
            ]
            annotated = _joined(masks, stage)
        return replace(
            truths[0], labels=labels, class_image=_joined(classes, stage), annotated=annotated
        )

    def _pairs(self, name: str, stage: Stage) -> list[Pair]:
        """Return the files of an image, or of all images for a stack."""
        if stage.view == "as_3d_stack":
            return list(self.pairs.values())
        return [self.pairs[name]] if name in self.pairs else []

    def _image(self, pair: Pair, ndim: int) -> Array | None:
        box, config = self.window(pair.name), self.run.config
        arguments: Any = (pair.image, ndim, config.in_channels)
        options: Any = {"allow_gray": config.DATA.FORCE_RGB, "arrays": pair.arrays}
        if box is not None:
            return self._try(lambda: open_image(*arguments, **options).read(box))
        image = self._try(lambda: read_image(*arguments, **options).array)
        return None if image is None else self._resized(image)

    def _truth(self, pair: Pair) -> Instances | None:
        if pair.label is None:
            return None
        run, arrays = self.run, pair.label_arrays
        truth = self._read(
            LabelSource(pair.label, pair.name, run.ndim, run.has_classes, arrays=arrays)
        )
        if truth is None:
            return None
        classes = truth.class_image
        return replace(
            truth,
            labels=self._resized(truth.labels),
            class_image=None if classes is None else self._resized(classes),
            annotated=None if truth.annotated is None else self._resized(truth.annotated),
        )

    def _resized(self, array: Array) -> Array:
        """Return the array with the shape to which the test resized its images."""
        shape = self._new_shape()
        return array if shape is None else resize_labels(array, shape)

    def _new_shape(self) -> tuple[int, ...] | None:
        """Return the shape to which test images were resized; None if they were not resized."""
        keys = self.run.config.DATA.PREPROCESS
        shape = keys.RESIZE.OUTPUT_SHAPE
        if not (keys.TEST and keys.RESIZE.ENABLE) or len(shape) != self.run.ndim:
            return None
        return tuple(shape)

    def _read(self, source: LabelSource) -> Instances | None:
        return self._try(lambda: source.read(self.window(source.name)))

    def _try(self, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except UserError as error:
            self.note(error.message)
            return None

    def note(self, message: str) -> None:
        """Add a notice for the reader of the report, unless it was added before."""
        if message not in self.notes:
            self.notes.append(message)

    def _note_shape(
        self, name: str, kind: str, shape: tuple[int, ...], expected: tuple[int, ...]
    ) -> None:
        self.note(
            f"{name}: the {kind} has shape {shape} and the instances have shape {expected}; they "
            "are not compared"
        )


def _joined(planes: list[Array], stage: Stage) -> Array | None:
    """Return an image, or the stack of all images; None if their shapes differ."""
    if not planes or len({plane.shape for plane in planes}) > 1:
        return None
    return np.stack(planes) if stage.view == "as_3d_stack" else planes[0]


def open_images(run: Run, *, external_files: bool = False) -> RunImages:
    """Find the test images of a run from the paths in its configuration.

    Parameters
    ----------
    run : Run
        Finished run.
    external_files : bool
        Allow test images to refer to files elsewhere.
    """
    images = RunImages(run)
    for name, reason in run.test.failed.items():
        images.note(f"{name} failed in the test: {reason}")
    if not run.stages:
        return images
    data = run.config.DATA
    if data.TEST.USE_VAL_AS_TEST:
        name = "TRAIN" if data.VAL.FROM_TRAIN else "VAL"
        places = _places(run, getattr(data, name), external_files=external_files)
        used = [
            Pair(
                location(image),
                location(label) if label else None,
                stem,
                places.image,
                places.labels,
            )
            for stem, (image, label) in run.test.files.items()
            if image
        ]
        used = _with_masks(run, used, f"DATA.{name}", images)
        images.pairs = {pair.name: pair for pair in used}
        return images
    places = _places(run, run.config.TEST.BY_CHUNKS, external_files=external_files)
    folders = {IMAGE_KEY: find_folder(run, IMAGE_KEY)}
    if run.has_truth and not places.together:
        folders[LABEL_KEY] = find_folder(run, LABEL_KEY)
    for key, folder in folders.items():
        if folder is None:
            images.note(
                f"{key}: the folder {run.summary.configuration.get(key)} was not found; its images "
                "are missing here. Build the report again in the folder in which the run was "
                f"started: {command('report', run.tree.run)}"
            )
    if (folder := folders[IMAGE_KEY]) is None:
        return images
    labels = folders.get(LABEL_KEY)
    try:
        # The run has already validated the pairs.
        pairs = pair_files(folder, labels, IMAGE_KEY, LABEL_KEY, places=places, by_order=True)
    except UserError as error:
        images.note(error.message)
        return images
    images.pairs = {pair.name: pair for pair in _with_masks(run, pairs, "DATA.TEST", images)}
    return images


def _with_masks(run: Run, pairs: Iterable[Pair], part: str, images: RunImages) -> list[Pair]:
    """Return pairs with the masks of pixels that are not annotated, if their folder exists."""
    key, pairs = f"{part}.IGNORE_PATH", list(pairs)
    folder = find_folder(run, key)
    if folder is None:
        return pairs
    try:
        return with_masks(pairs, str(folder), key)
    except UserError as error:
        images.note(error.message)
        return pairs


def _places(run: Run, keys: Any, *, external_files: bool) -> ArrayPlaces:
    """Return the arrays of images and labels within container files, from keys of a section."""
    return array_places(
        keys.INPUT_ZARR_MULTIPLE_DATA_RAW_PATH,
        keys.INPUT_ZARR_MULTIPLE_DATA_GT_PATH,
        keys.INPUT_IMG_AXES_ORDER,
        keys.INPUT_MASK_AXES_ORDER,
        together=keys.INPUT_ZARR_MULTIPLE_DATA and run.has_truth,
        external_files=external_files,
        channel=run.config.DATA.CHANNEL,
    )


def find_folder(run: Run, key: str) -> Path | None:
    """Return the folder of a key; None if it does not exist.

    A relative path is resolved in the working folder, in the folder in which the run was started,
    and in the parents of the results folder.

    Parameters
    ----------
    run : Run
        Finished run.
    key : str
        Key of a path, such as ``DATA.TEST.PATH``.
    """
    configured = run.summary.configuration.get(key)
    if not configured:
        return None
    started = run.summary.job.started_in
    bases = [Path(), *([Path(started)] if started else []), *run.tree.run.absolute().parents]
    return next((base / configured for base in bases if (base / configured).is_dir()), None)
