"""Find and read the test images of a finished run, with ground truth and instances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.data.preprocess import resize_labels
from singula.errors import UserError
from singula.io.formats.containers import array_places
from singula.io.image import ArrayPlace, ArrayPlaces, Image
from singula.io.lazy import LazyImage, open_image, open_labels
from singula.io.pairing import Pair, pair_files
from singula.io.read import read_image, read_labels
from singula.io.records import TestSummary
from singula.runs.run_files import RunFiles, Stage
from singula.util.boxes import Box, center_box
from singula.util.format import command

Array = npt.NDArray[Any]
_MAX_PIXELS = 64_000_000  # maximum size of an image processed in blocks that is read completely
IMAGE_KEY, LABEL_KEY = "DATA.TEST.PATH", "DATA.TEST.GT_PATH"


@dataclass
class Sources:
    """Reader of images, ground truth and instances; files that cannot be read are noted.

    Parameters
    ----------
    files : RunFiles
        Files of the run.
    pairs : dict of str to Pair
        Image and ground truth by the name of the image.
    notes : list of str
        Notices for the reader of the report.
    """

    files: RunFiles
    pairs: dict[str, Pair] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _windows: dict[str, Box | None] = field(default_factory=dict)

    def window(self, name: str) -> Box | None:
        """Return the box that is read of a very large image; None for other images."""
        if name not in self._windows:
            self._windows[name] = self._find_window(name)
        return self._windows[name]

    def _find_window(self, name: str) -> Box | None:
        stages = [s for s in self.files.stages() if s.view == "per_image"]
        paths = [path for s in stages if (path := self.files.instance_files(s).get(name))]
        if not paths or paths[0].suffix != ".zarr":
            return None
        shape = open_labels(paths[0], self.files.ndim).spatial_shape
        if prod(shape) <= _MAX_PIXELS:
            return None
        box = center_box(shape)
        ranges = ", ".join(f"{b.start} to {b.stop} of {n}" for b, n in zip(box, shape, strict=True))
        self.note(f"{name} is large: its pictures and shapes show only the center ({ranges})")
        return box

    def raw(self, name: str, stage: Stage) -> Image | None:
        """Read the raw image, or all images as a stack."""
        if stage.view != "as_3d_stack":
            pair = self.pairs.get(name)
            return self._image(pair, self.files.ndim) if pair else None
        planes = [self._image(pair, 2) for pair in self.pairs.values()]
        stack = _stacked([plane.array for plane in planes if plane is not None])
        return None if stack is None else Image(stack, name=name)

    def truth(self, name: str, stage: Stage) -> Array | None:
        """Read the ground truth: labels (…, 1), or labels and classes (…, 2)."""
        if stage.view != "as_3d_stack":
            pair = self.pairs.get(name)
            image = self._truth(pair, self.files.ndim) if pair else None
            return image.array if image is not None else None
        planes = [self._truth(pair, 2) for pair in self.pairs.values()]
        return _stacked([plane.array for plane in planes if plane is not None])

    def instances(self, name: str, stage: Stage) -> Image | None:
        """Read the instances: labels (…, 1), or labels and classes (…, 2).

        The configuration overrides the pixel size of the file.
        """
        ndim = 3 if stage.view == "as_3d_stack" else self.files.ndim
        path = self.files.instance_files(stage).get(name)
        image = self._labels(path, ndim, box=self.window(name))
        sizes = self.files.key("DATA.TEST.RESOLUTION", [-1])
        if image is not None and len(sizes) == ndim and min(sizes) > 0:
            return image.with_spacing(tuple(float(size) for size in sizes))
        return image

    def _image(self, pair: Pair, ndim: int) -> Image | None:
        patch = self.files.key("DATA.PATCH_SIZE")
        grey = bool(self.files.key("DATA.FORCE_RGB", False))
        box = self.window(pair.name)
        if box is not None:
            count = int(patch[-1]) if patch else None
            return self._try(
                lambda: _part(
                    open_image(pair.image, ndim, count, allow_gray=grey, arrays=pair.arrays), box
                )
            )
        image = self._try(
            lambda: read_image(
                pair.image,
                ndim,
                int(patch[-1]) if patch else None,
                allow_gray=grey,
                arrays=pair.arrays,
            )
        )
        if image is None or self._new_shape(ndim) is None:
            return image
        return replace(image, array=resize_labels(image.array, self._new_shape(ndim) or ()))

    def _labels(
        self,
        path: Path | None,
        ndim: int,
        arrays: ArrayPlace | None = None,
        box: Box | None = None,
    ) -> Image | None:
        if path is None:
            return None
        classes = self.files.has_classes
        if box is not None:
            return self._try(lambda: _part(open_labels(path, ndim, classes, arrays=arrays), box))
        return self._try(lambda: read_labels(path, ndim, classes, arrays=arrays))

    def _truth(self, pair: Pair, ndim: int) -> Image | None:
        image = self._labels(pair.label, ndim, pair.label_arrays, self.window(pair.name))
        if image is None or self._new_shape(ndim) is None:
            return image
        return replace(image, array=resize_labels(image.array, self._new_shape(ndim) or ()))

    def _new_shape(self, ndim: int) -> tuple[int, ...] | None:
        """Return the shape to which test images were resized; None if they were not resized."""
        keys = "DATA.PREPROCESS.TEST", "DATA.PREPROCESS.RESIZE.ENABLE"
        if not all(self.files.key(key, False) for key in keys):
            return None
        shape = tuple(int(n) for n in self.files.key("DATA.PREPROCESS.RESIZE.OUTPUT_SHAPE", ()))
        return shape if len(shape) == ndim else None

    def _try(self, read: Callable[[], Image]) -> Image | None:
        try:
            return read()
        except UserError as error:
            self.note(error.message)
            return None

    def note(self, message: str) -> None:
        """Add a notice for the reader of the report, unless it was added before."""
        if message not in self.notes:
            self.notes.append(message)


def _part(image: LazyImage, box: Box) -> Image:
    return Image(image.read(box), image.spacing, image.unit, image.name, image.path)


def open_sources(files: RunFiles, *, external_files: bool = False) -> Sources:
    """Find the test images of a run from the paths in its configuration.

    Parameters
    ----------
    files : RunFiles
        Files of the run.
    external_files : bool
        Allow test images to refer to files elsewhere.
    """
    sources = Sources(files)
    test = files.summary.test or TestSummary()
    for name, reason in test.failed.items():
        sources.note(f"{name} failed in the test: {reason}")
    if not files.stages():
        return sources
    if files.key("DATA.TEST.USE_VAL_AS_TEST", False):
        part = "TRAIN" if files.key("DATA.VAL.FROM_TRAIN", True) else "VAL"
        places = _places(files, f"DATA.{part}", external_files=external_files)
        sources.pairs = {
            name: Pair(
                Path(image), Path(label) if label else None, name, places.image, places.labels
            )
            for name, (image, label) in test.files.items()
            if image
        }
        return sources
    images = _find_folder(files, IMAGE_KEY)
    places = _places(files, "TEST.BY_CHUNKS", external_files=external_files)
    has_label_folder = files.has_truth and not places.together
    labels = _find_folder(files, LABEL_KEY) if has_label_folder else None
    for key, folder in ((IMAGE_KEY, images), (LABEL_KEY, labels)):
        if folder is None and (key == IMAGE_KEY or has_label_folder):
            sources.note(
                f"{key}: the folder {files.key(key)} was not found; its images are missing here. "
                "Build the report again in the folder in which the run was started: "
                f"{command('report', files.tree.run)}"
            )
    if images is None:
        return sources
    try:
        # The run has already validated the pairs.
        pairs = pair_files(images, labels, IMAGE_KEY, LABEL_KEY, places=places, by_order=True)
    except UserError as error:
        sources.note(error.message)
        return sources
    sources.pairs = {pair.name: pair for pair in pairs}
    return sources


def _places(files: RunFiles, section: str, *, external_files: bool) -> ArrayPlaces:
    """Return the arrays of images and labels within container files."""
    raw, truth, *axes = (
        str(files.key(f"{section}.INPUT_{name}", default))
        for name, default in (
            ("ZARR_MULTIPLE_DATA_RAW_PATH", ""),
            ("ZARR_MULTIPLE_DATA_GT_PATH", ""),
            ("IMG_AXES_ORDER", "TZCYX"),
            ("MASK_AXES_ORDER", "TZCYX"),
        )
    )
    together = bool(files.key(f"{section}.INPUT_ZARR_MULTIPLE_DATA", False)) and files.has_truth
    return array_places(
        raw, truth, axes[0], axes[1], together=together, external_files=external_files
    )


def _find_folder(files: RunFiles, key: str) -> Path | None:
    """Return the folder of a key; None if it does not exist.

    A relative path is resolved in the working folder, in the folder in which the run was started,
    and in the parents of the results folder.
    """
    configured = files.key(key)
    if not configured:
        return None
    path = Path(configured)
    started = files.summary.job.started_in
    bases = [Path(), *([Path(started)] if started else []), *files.tree.run.absolute().parents]
    return next((base / path for base in bases if (base / path).is_dir()), None)


def _stacked(planes: list[Array]) -> Array | None:
    """Stack images into a volume; None if their shapes differ."""
    if not planes or len({plane.shape for plane in planes}) > 1:
        return None
    return np.stack(planes)
