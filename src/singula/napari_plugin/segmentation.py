"""Segmentation of the image of a layer, frame by frame, with thresholds that can be changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from singula.errors import UserError
from singula.util.format import counted

if TYPE_CHECKING:
    from singula.gui.retune import Slider
    from singula.inference import Model
    from singula.metrics.matching import Score

Array = Any
Frame = tuple[int, ...]
Dimensions = Literal[2, 3]
METADATA = "singula"
"""Key in the metadata of a layer that a widget of this package adds."""


def frame_shape(shape: tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """Return the sizes of the leading axes, such as time, along which images are segmented.

    Parameters
    ----------
    shape : tuple of int
        Shape of an image without its channel axis.
    ndim : {2, 3}
        Number of spatial axes of the model.

    Raises
    ------
    UserError
        ``napari.too_few_axes``: the image has fewer axes than the model.
    """
    if len(shape) < ndim:
        raise UserError(
            f"image: got {counted(len(shape), 'axis', 'axes')}, expected {ndim} or more",
            "choose a model for single images (2D)",
            "napari.too_few_axes",
        )
    return shape[: len(shape) - ndim]


def frames_of(shape: tuple[int, ...], ndim: int) -> list[Frame]:
    """Return the index of each image along the leading axes; see `frame_shape`."""
    return list(np.ndindex(frame_shape(shape, ndim)))


def check_shape(labels: tuple[int, ...], image: tuple[int, ...]) -> None:
    """Raise an error if a labels layer does not have the shape of an image.

    Parameters
    ----------
    labels, image : tuple of int
        Shapes, without the channel axis.

    Raises
    ------
    UserError
        ``napari.other_shape``: the shapes differ.
    """
    if labels != image:
        raise UserError(
            f"labels: got shape {labels}, expected the shape {image} of the image",
            "choose layers of the same image",
            "napari.other_shape",
        )


def describe_frames(shape: tuple[int, ...], ndim: int) -> str:
    """Return a text about the images that a model finds in a layer.

    Parameters
    ----------
    shape, ndim
        As for `frame_shape`.
    """
    count = len(frames_of(shape, ndim))
    kind = ("image (2D)", "images (2D)") if ndim == 2 else ("z-stack (3D)", "z-stacks (3D)")
    if count == 1:
        return f"One {kind[0]}."
    return f"{counted(count, *kind)}, segmented one after the other."


def built_in_choices() -> dict[str, str]:
    """Return a text for each built-in model, by its name."""
    from singula.zoo.models import built_in_models

    return {name: f"{name}: {model.card.title}" for name, model in built_in_models().items()}


def model_ndim(name: str) -> int:
    """Return the number of spatial axes of a model without loading its weights.

    Parameters
    ----------
    name : str
        Name of a built-in model, or folder of a run.

    Raises
    ------
    UserError
        The codes of `open_run`.
    """
    from singula.inference.choose import MODELS
    from singula.runs.run import open_run

    kinds = {model: kind for kind, model in MODELS.items()}
    if name in kinds:
        return 3 if kinds[name] == "volume" else 2
    return open_run(Path(name)).ndim


def suggest_model(shape: tuple[int, ...], *, rgb: bool, axis_labels: tuple[str, ...] = ()) -> str:
    """Return the built-in model for an image, by its axes and colors.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image without its channel axis.
    rgb : bool
        True for a color image.
    axis_labels : tuple of str
        Names of the axes; a name such as ``t`` marks an axis of images over time.
    """
    from singula.inference.choose import MODELS

    if rgb:
        return MODELS["colors"]
    leading = {label.strip().lower() for label in axis_labels[: max(0, len(shape) - 2)]}
    planes = {"t", "time", "image", "frame", "c", "channel"}
    is_volume = len(shape) > 2 and not (len(shape) == 3 and leading & planes)
    return MODELS["volume" if is_volume else "plane"]


@dataclass
class Segmentation:
    """Maps and objects of an image, predicted by one model.

    Parameters
    ----------
    model : Model
        Loaded model.
    name : str
        Name or folder of the model.
    image : ndarray or dask array
        Image; leading axes, then (y, x) or (z, y, x), and then the colors if `rgb` is true.
    rgb : bool
        True if the last axis has colors.
    match_size : bool
        Enlarge each image so that its objects have the size of the training objects.
    voxel_size : tuple of float, optional
        Size of a voxel along each spatial axis of the model; None if it is unknown.
    labels : ndarray of int32
        Objects that were found, with the axes of the image; ids are unique within a frame only.
    """

    model: Model
    name: str
    image: Array
    rgb: bool = False
    match_size: bool = False
    voxel_size: tuple[float, ...] | None = None
    labels: Array = field(init=False)
    _maps: dict[Frame, dict[str, Array]] = field(init=False, default_factory=dict)
    _used: dict[Frame, dict[str, float]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Create an empty label image."""
        shape = tuple(self.image.shape)
        self.labels = np.zeros(shape[:-1] if self.rgb else shape, np.int32)
        frame_shape(self.labels.shape, self.model.ndim)

    @property
    def frames(self) -> list[Frame]:
        """Index of each image along the leading axes."""
        return frames_of(self.labels.shape, self.model.ndim)

    def read(self, frame: Frame) -> Array:
        """Return one image as an array without transparency."""
        image = np.asarray(self.image[frame])
        return image[..., :3] if self.rgb else image

    def predict(self, frame: Frame) -> None:
        """Predict the maps of one image, and decode them with the thresholds of the model.

        Parameters
        ----------
        frame : tuple of int
            Index along the leading axes.

        Raises
        ------
        UserError
            The codes of `Model.predict_maps`; ``data.no_voxel_size``: the model needs the voxel
            size, and the layer has none.
        """
        scale: Any = "auto" if self.match_size else None
        common = self.model.reader.common
        if common is not None:
            scale = common.factors(Path(self.name), self.voxel_size, None)
        self._maps[frame] = self.model.predict_maps(self.read(frame), scale=scale)
        self.decode(frame)

    def decode(self, frame: Frame, thresholds: Mapping[str, float] | None = None) -> None:
        """Decode the maps of one image with other thresholds.

        Parameters
        ----------
        frame : tuple of int
            Index along the leading axes.
        thresholds : mapping, optional
            Thresholds that differ from those of the model, by key without prefix.
        """
        labels, decoded = self.model.instances(
            self._maps[frame], thresholds=dict(thresholds) if thresholds else None
        )
        self._used[frame] = dict(decoded.thresholds)
        self.labels[frame] = self.model.restore(labels, self.labels[frame].shape)

    def run(self) -> Iterator[Frame]:
        """Predict all images, and yield the index of each after it is done."""
        for frame in self.frames:
            self.predict(frame)
            yield frame

    def decode_all(self, thresholds: Mapping[str, float], first: Frame) -> Iterator[Frame]:
        """Decode all predicted images, `first` first, and yield the index of each."""
        ordered = [frame for frame in self.frames if frame in self._maps]
        for frame in sorted(ordered, key=lambda frame: frame != first):
            self.decode(frame, thresholds)
            yield frame

    def maps(self, frame: Frame) -> dict[str, Array]:
        """Return the maps of one image; empty before its prediction."""
        return self._maps.get(frame, {})

    def all_maps(self) -> dict[str, Array]:
        """Return the maps of all images by channel, with the leading axes; see `Model.restore`.

        Maps of images that were enlarged have another shape, and are omitted.
        """
        shapes = {values.shape for maps in self._maps.values() for values in maps.values()}
        spatial = self.labels.shape[len(self.frames[0]) :]
        if shapes != {spatial}:
            return {}
        first = next(iter(self._maps.values()))
        stacked = {name: np.zeros(self.labels.shape, np.float32) for name in first}
        for frame, maps in self._maps.items():
            for name, values in maps.items():
                stacked[name][frame] = values
        return stacked

    def sliders(self, frame: Frame) -> list[Slider]:
        """Return the sliders of the thresholds in use, with the values of one image.

        The key of each slider is the key of the threshold in ``PROBLEM.INSTANCE_SEG``.

        Parameters
        ----------
        frame : tuple of int
            Index of a predicted image.
        """
        from singula.config.thresholds import KEYS
        from singula.gui.retune import PREFIX, make_slider
        from singula.pipeline.thresholds import used_names

        values, used = self.model.config.dotted(), self._used[frame]
        return [
            make_slider(
                KEYS[name].removeprefix(PREFIX),
                float(used[name] if name in used else values[KEYS[name]]),
                self._maps[frame],
            )
            for name in used_names(self.model.config)
        ]

    def compare(self, labels: Array) -> Score:
        """Match the objects of all images with other objects at an IoU of 0.5.

        Parameters
        ----------
        labels : ndarray of int
            Label image with the axes of the image, such as objects that were drawn.

        Raises
        ------
        UserError
            ``napari.other_shape``: the label image has another shape.
        """
        from singula.metrics import match
        from singula.metrics.matching import match_dataset

        check_shape(tuple(labels.shape), self.labels.shape)
        matches = [
            match(np.asarray(labels[frame]), self.labels[frame], thresholds=[0.5])
            for frame in self.frames
        ]
        return match_dataset(matches)[0]

    def count(self, frame: Frame) -> int:
        """Return the number of objects in one image."""
        return int(np.count_nonzero(np.bincount(self.labels[frame].ravel())[1:]))


def export_labels(
    labels: Array, ndim: int, form: str, folder: Path, name: str, spacing: tuple[float, ...] | None
) -> list[Path]:
    """Write objects for another program, each image along leading axes into a folder of its own.

    Parameters
    ----------
    labels : ndarray of int
        Label image with leading axes.
    ndim : {2, 3}
        Number of spatial axes.
    form : str
        ``tiff``, or a format of `singula.export`.
    folder : Path
        Folder for the files.
    name : str
        Name for the files of format ``tiff``.
    spacing : tuple of float, optional
        Size of a pixel along each spatial axis.

    Raises
    ------
    UserError
        The codes of `singula.export` and `write_tiff`.
    """
    from singula.exports import export
    from singula.io.write import write_tiff

    frames = frames_of(labels.shape, ndim)
    written: list[Path] = []
    for frame in frames:
        end = "_".join(f"{number:03d}" for number in frame)
        ids = labels[frame].astype(np.uint32)
        if form == "tiff":
            file = folder / f"{name}{'_' if end else ''}{end}.tif"
            ids = ids.astype(np.uint16) if ids.max(initial=0) < 1 << 16 else ids
            written.append(write_tiff(file, ids, "ZYX"[-ndim:], spacing))
        else:
            written += export(ids, form, folder / end, spacing=spacing, overwrite=True)
    return written
