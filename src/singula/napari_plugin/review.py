"""Review of the objects in a layer: queue of the least certain, corrections, and their files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from singula.config import Config
from singula.errors import UserError
from singula.napari_plugin.segmentation import METADATA, Frame, Segmentation, frames_of
from singula.util.format import counted

if TYPE_CHECKING:
    from singula.runs.corrections import CorrectedFiles

Array = Any


@dataclass(frozen=True)
class QueueItem:
    """Object to review.

    Parameters
    ----------
    frame : tuple of int
        Index of its image along the leading axes.
    number : int
        Id of the object.
    confidence : float
        Agreement of the predicted maps with the shape of the object, 0 to 1.
    box : tuple of slice
        Box of the object, (y, x) or (z, y, x).
    """

    frame: Frame
    number: int
    confidence: float
    box: tuple[slice, ...]

    @property
    def center(self) -> tuple[float, ...]:
        """Center of the box in pixels, with the index of the image."""
        middle = ((side.start + side.stop - 1) / 2 for side in self.box)
        return (*map(float, self.frame), *middle)


@dataclass(frozen=True)
class ReviewSource:
    """Prediction of a layer: configuration of its model, maps and names of its images.

    Parameters
    ----------
    config : Config
        Configuration of the model.
    ndim : {2, 3}
        Number of spatial axes.
    maps : callable
        Returns the maps of an image by its index.
    names : dict of tuple to str
        Names of the images by their index.
    shapes : dict of tuple to tuple
        Shapes of the images by their index, if images are padded.
    run : Path, optional
        Folder of the run; None for a segmentation of this session.
    """

    config: Config
    ndim: int
    maps: Callable[[Frame], Mapping[str, Array]]
    names: dict[Frame, str]
    shapes: dict[Frame, tuple[int, ...]] = field(default_factory=dict)
    run: Path | None = None

    def crop(self, array: Array, frame: Frame) -> Array:
        """Return an image of a layer without its padding."""
        part = array[frame]
        shape = self.shapes.get(frame)
        return part if shape is None else part[tuple(map(slice, shape))]


def review_source(metadata: Mapping[str, Any], shape: tuple[int, ...]) -> ReviewSource:
    """Return the prediction of a layer from its metadata.

    Parameters
    ----------
    metadata : mapping
        Metadata of the layer.
    shape : tuple of int
        Shape of its labels.

    Raises
    ------
    UserError
        ``napari.no_prediction``: the layer is not a prediction of Singula; the codes of `open_run`.
    """
    origin = metadata.get(METADATA)
    if isinstance(origin, Segmentation):
        model = origin.model
        frames = frames_of(shape, model.ndim)
        names = {frame: "_".join(["image", *map(str, frame)]) for frame in frames}
        return ReviewSource(model.config, model.ndim, origin.maps, names)
    if isinstance(origin, Mapping) and "run" in origin:
        return _source_of_run(origin, shape)
    raise UserError(
        "objects: got a layer without predictions, expected objects that Singula found",
        "choose a layer of the widget Segment, or open the folder of a run",
        "napari.no_prediction",
    )


def _source_of_run(origin: Mapping[str, Any], shape: tuple[int, ...]) -> ReviewSource:
    from singula.runs.run import open_run

    run = open_run(Path(origin["run"]))
    stage = next(stage for stage in run.stages if stage.key == origin["stage"])
    config, ndim = run.valid_config(), run.ndim_of(stage)
    frames = frames_of(shape, ndim)
    names = dict(zip(frames, origin["names"], strict=True))

    def maps(frame: Frame) -> dict[str, Array]:
        array = run.read_maps(names[frame], stage).array
        return {name: np.ascontiguousarray(array[..., i]) for i, name in enumerate(run.map_names)}

    shapes = dict(zip(frames, map(tuple, origin["shapes"]), strict=True))
    return ReviewSource(config, ndim, maps, names, shapes, run.tree.run)


def queue_frame(labels: Array, source: ReviewSource, frame: Frame) -> list[QueueItem]:
    """Return the objects of one image, the least certain first.

    Parameters
    ----------
    labels : ndarray of int
        Labels of the layer.
    source : ReviewSource
        Prediction of the layer.
    frame : tuple of int
        Index of the image.

    Raises
    ------
    UserError
        ``confidence.no_maps``: the image was enlarged, so that its maps have another shape.
    """
    from scipy.ndimage import find_objects

    from singula.pipeline.confidence import predicted_confidence
    from singula.runs.corrections import review_order

    ids = source.crop(np.asarray(labels), frame)
    values = predicted_confidence(source.config, ids, source.maps(frame))
    boxes = find_objects(ids)
    return [
        QueueItem(frame, number, values.get(number, 1.0), boxes[number - 1])
        for number in review_order(values, values)
    ]


def queue_all(labels: Array, source: ReviewSource) -> Iterator[list[QueueItem]]:
    """Yield the queue of each image."""
    for frame in source.names:
        yield queue_frame(labels, source, frame)


def split_object(
    labels: Array, number: int, points: Sequence[Sequence[float]]
) -> tuple[tuple[Array, ...], Array, list[int]]:
    """Split an object of one image between two or more points.

    Parameters
    ----------
    labels : ndarray of int, (y, x) or (z, y, x)
        Label image, which is not changed.
    number : int
        Id of the object.
    points : sequence of sequence of float
        A position in each part.

    Returns
    -------
    pixels : tuple of ndarray
        Indices of the pixels that change.
    values : ndarray of int
        Their new ids.
    ids : list of int
        Ids of the parts.

    Raises
    ------
    UserError
        The codes of `LabelEditor.split`.
    """
    from singula.labels.edit import LabelEditor

    editor = LabelEditor(labels)
    ids = editor.split(number, points)
    pixels = np.nonzero(editor.labels != labels)
    return pixels, editor.labels[pixels].astype(np.asarray(labels).dtype), ids


def save_corrections(
    source: ReviewSource,
    predicted: Array,
    corrected: Array,
    accepted: Mapping[Frame, set[int]],
    *,
    image: Array | None = None,
    folder: Path | None = None,
    voxel_size: tuple[float, ...] | None = None,
    versions: dict[Path, str] | None = None,
    replace: bool = False,
) -> list[Path]:
    """Write corrected label images next to the predictions, and return their files.

    The predictions are not changed. The folder of the corrected images is a data set for training.
    Files of other predictions in a folder are not replaced; the next free name is used.

    Parameters
    ----------
    source : ReviewSource
        Prediction of the layer.
    predicted, corrected : ndarray of int
        Labels of the layers before and after the corrections.
    accepted : mapping of tuple to set of int
        Accepted objects of each image.
    image : ndarray, optional
        Image of the layers, with colors as its last axis if it has one more axis than the labels.
    folder : Path, optional
        Folder for the predictions of a segmentation, which has no files yet.
    voxel_size : tuple of float, optional
        Size of a voxel along each spatial axis.
    versions : dict of Path to str, optional
        Versions of the label images that this review saved before, which are updated. Other
        corrections are not replaced. By default, all are replaced.
    replace : bool
        Replace other corrections, too.

    Raises
    ------
    UserError
        ``napari.no_folder``: a segmentation needs a folder; ``corrections.changed``: there are
        other corrections, of this or of another program, and no file was replaced.
    """
    from singula.io.write import write_tiff
    from singula.runs.corrections import CorrectedFiles, Review
    from singula.runs.instances import Instances

    stored = _stored_predictions(source)
    contents = []
    for frame, name in source.names.items():
        before, after = (source.crop(np.asarray(ids), frame) for ids in (predicted, corrected))
        differs = before != after
        changed = set(np.unique([before[differs], after[differs]]).tolist()) - {0}
        review = Review()
        review.mark(accepted.get(frame, set()), "accepted")
        review.mark(changed, "corrected")
        raw = None if image is None else source.crop(np.asarray(image), frame)
        if raw is not None and raw.ndim == after.ndim:
            raw = raw[..., None]
        if name in stored:
            path, item = stored[name]
        elif folder is None:
            raise UserError(
                "folder: got none, expected a folder for the corrections",
                "choose a folder",
                "napari.no_folder",
            )
        else:
            ids = before.astype(np.uint32)
            path = _free_path(folder, name, ids)
            write_tiff(path, ids, "ZYX"[-source.ndim :], voxel_size)
            item = Instances(path.stem, ids, None, voxel_size)
        item = _with_image(item, raw)
        contents.append((CorrectedFiles(path, path.stem), item, after, review))
    is_checked = versions is not None and not replace
    versions = {} if versions is None else versions
    if is_checked:
        _check_versions([files for files, *_ in contents], versions)
    for files, item, after, review in contents:
        expected = versions.get(files.labels, "") if is_checked else None
        ids = after.astype(np.uint32)
        versions[files.labels] = files.save(item, ids, review, expected=expected)
    return [files.labels for files, *_ in contents]


def _check_versions(corrections: Sequence[CorrectedFiles], versions: Mapping[Path, str]) -> None:
    """Raise an error if any image has corrections that were not saved by this review."""
    others = [
        files.name for files in corrections if files.version() != versions.get(files.labels, "")
    ]
    if others:
        more = f" and {counted(len(others) - 1, 'other image')}" if len(others) > 1 else ""
        raise UserError(
            f"{others[0]}{more}: got corrections that were saved elsewhere, expected those of this "
            "review",
            "press Save corrections and choose Replace, or correct the image on the page Correct",
            "corrections.changed",
        )


def _free_path(folder: Path, name: str, ids: Array) -> Path:
    """Return the path of a label image, with a number if a file with other content exists."""
    for number in count(1):
        path = folder / (f"{name}.tif" if number == 1 else f"{name}-{number}.tif")
        if not path.exists() or _has_labels(path, ids):
            return path
    raise AssertionError


def _has_labels(path: Path, ids: Array) -> bool:
    from singula.io.read import read_labels

    try:
        return np.array_equal(read_labels(path, ids.ndim).array[..., 0], ids)
    except UserError:  # such as a raw image
        return False


def _with_image(item: Any, raw: Array | None) -> Any:
    from dataclasses import replace

    return item if raw is None else replace(item, image=raw)


def _stored_predictions(source: ReviewSource) -> dict[str, tuple[Path, Any]]:
    """Return the label images of a run by name, with their content."""
    from singula.runs.run import open_run

    if source.run is None:
        return {}
    run = open_run(source.run)
    stage = run.final_stage
    return {image.name: (image.path, image.read()) for image in run.label_images(stage)}
