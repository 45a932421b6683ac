"""Layers of napari for the results of runs and for OME-Zarr images, without importing napari."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from singula.io.formats import ngff
from singula.io.lazy import open_labels
from singula.runs.images import RunImages, open_images
from singula.runs.run import Run, Stage, open_run
from singula.util.messages import captured_messages

Array = Any
LayerData = tuple[Any, dict[str, Any], str]
IMAGE, LABELS = "image", "labels"  # types of layers
_MAX_PIXELS = 1 << 27  # of all images of a run that are read at once


@dataclass(frozen=True)
class _Frames:
    """Images of a run that become one layer: shape of each, and a function that reads it."""

    shapes: Sequence[tuple[int, ...]]
    read: Callable[[int], Array | None]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape that contains all images."""
        return tuple(max(sizes) for sizes in zip(*self.shapes, strict=True))

    def stacked(self) -> Array | None:
        """Return the images along a new first axis, padded with 0; None if none can be read.

        Large stacks are read when they are displayed.
        """
        first = self.read(0)
        if first is None:
            return None
        if len(self.shapes) == 1:
            return first
        trailing = first.shape[len(self.shape) :]
        shape = (*self.shape, *trailing)

        def frame(number: int) -> Array:
            padded = np.zeros(shape, first.dtype)
            array = self.read(number)
            if array is not None and array.shape[len(self.shape) :] == trailing:
                padded[tuple(map(slice, array.shape))] = array
            return padded

        if len(self.shapes) * prod(shape) <= _MAX_PIXELS:
            return np.stack([frame(number) for number in range(len(self.shapes))])
        import dask.array as da
        from dask.delayed import delayed

        return da.stack(
            [
                da.from_delayed(delayed(frame)(number), shape, first.dtype)
                for number in range(len(self.shapes))
            ]
        )


def run_layers(folder: Path) -> list[LayerData]:
    """Return the images, objects, labels and maps of a finished run as layers.

    If the run has several test images, each layer is a stack of them. Smaller images are padded
    with 0.

    Parameters
    ----------
    folder : Path
        Folder of the run.

    Returns
    -------
    list of (array, dict, str)
        Data, arguments and type of each layer. The metadata contain the folder of the run and the
        names and shapes of the images.

    Raises
    ------
    UserError
        ``export.no_instances``: the run has no instances; the codes of `open_run`.
    """
    with captured_messages():
        run = open_run(folder)
        return _run_layers(run, run.final_stage, open_images(run))


def _run_layers(run: Run, stage: Stage, images: RunImages) -> list[LayerData]:
    files, ndim = run.instance_files(stage), run.ndim_of(stage)
    names = list(files)
    shapes = [open_labels(path, ndim).spatial_shape for path in files.values()]
    first = run.label_image(names[0], stage)
    spacing = None if first is None else first.read().spacing
    stack = len(names) > 1
    options: dict[str, Any] = {
        "scale": (*((1.0,) if stack else ()), *(spacing or (1.0,) * ndim)),
        "axis_labels": (*(("image",) if stack else ()), *"zyx"[-ndim:]),
        "metadata": {
            "singula": {
                "run": str(run.tree.run),
                "stage": stage.key,
                "names": names,
                "shapes": shapes,
            }
        },
    }

    def labels(read: Callable[..., Any]) -> Array | None:
        def read_ids(number: int) -> Array | None:
            instances = read(number)
            return None if instances is None else instances.labels.astype(np.int32)

        return _Frames(shapes, read_ids).stacked()

    predicted = labels(lambda number: images.instances(names[number], stage))
    truth = labels(lambda number: images.truth(names[number], stage, shapes[number]))
    raw = _Frames(shapes, lambda n: images.raw(names[n], stage, shapes[n])).stacked()
    layers = [] if raw is None else _image_layers(raw, "image", options)
    layers += _map_layers(run, stage, names, shapes, options)
    if truth is not None:
        layers.append((truth, {**options, "name": "your labels", "visible": False}, LABELS))
    if predicted is not None:
        layers.append((predicted, {**options, "name": "objects found"}, LABELS))
    return layers


def _image_layers(raw: Array, name: str, options: Mapping[str, Any]) -> list[LayerData]:
    """Return an image with channels last as one colored layer, or as a layer for each channel."""
    channels = raw.shape[-1]
    if channels == 3 and raw.dtype == np.uint8:
        return [(raw, {**options, "name": name, "rgb": True}, IMAGE)]
    if channels == 1:
        return [(raw[..., 0], {**options, "name": name}, IMAGE)]
    return [
        (
            raw[..., number],
            {**options, "name": f"{name} channel {number}", "blending": "additive"},
            IMAGE,
        )
        for number in range(channels)
    ]


def _map_layers(
    run: Run,
    stage: Stage,
    names: Sequence[str],
    shapes: Sequence[tuple[int, ...]],
    options: Mapping[str, Any],
) -> list[LayerData]:
    """Return the maps of the network as invisible layers; none if they have another shape."""

    def read(number: int) -> Array | None:
        if not run.maps_file(names[number], stage).is_file():
            return None
        maps: Array = run.read_maps(names[number], stage).array
        return maps if maps.shape[:-1] == shapes[number] else None

    maps = _Frames(shapes, read).stacked()
    if maps is None:
        return []
    return [map_layer(maps[..., i], channel, options) for i, channel in enumerate(run.map_names)]


def map_layer(array: Array, channel: str, options: Mapping[str, Any]) -> LayerData:
    """Return the layer of a map of the network.

    Parameters
    ----------
    array : ndarray
        The map.
    channel : str
        Name of its channel.
    options : mapping
        Further arguments of the layer.
    """
    appearance = {"colormap": "magma", "blending": "additive", "visible": False}
    return array, {**options, **appearance, "name": f"map {channel}"}, IMAGE


def zarr_layers(path: Path) -> list[LayerData]:
    """Return the image and the label images of an OME-Zarr as layers, which are read lazily.

    Parameters
    ----------
    path : Path
        Folder of the Zarr; its root group or its ``labels`` contain multiscale images.

    Returns
    -------
    list of (list of array, dict, str)
        Levels, arguments and type of each layer; empty if the folder has no multiscale image.
    """
    import zarr

    try:
        root = zarr.open_group(path, mode="r")
    except (OSError, ValueError, KeyError):  # zarr's errors are subclasses
        return []
    groups = {path.name.removesuffix(".zarr").removesuffix(".ome"): root}
    labels = root.get("labels")
    if isinstance(labels, zarr.Group):
        groups |= dict(labels.groups())
    layers: list[LayerData] = []
    for name, group in groups.items():
        attributes = dict(group.attrs)
        if ngff.has_multiscales(attributes):
            is_labels = group is not root or ngff.is_label_image(attributes)
            layers += _pyramid_layers(name, group, attributes, is_labels=is_labels)
    return layers


def _pyramid_layers(
    name: str, group: Any, attributes: Mapping[str, Any], *, is_labels: bool
) -> list[LayerData]:
    import dask.array as da

    image = ngff.read_multiscale(attributes)
    axes = image.axes or "TCZYX"[-group[image.path].ndim :]
    levels = [da.from_zarr(group[level]) for level in ngff.level_paths(attributes)]
    spatial = [axis for axis in axes if axis in "ZYX"]
    spacing = dict(zip(spatial, image.size.spacing or (1.0,) * len(spatial), strict=True))
    options: dict[str, Any] = {
        "name": name,
        "scale": [spacing.get(axis, 1.0) for axis in axes if axis != "C"],
        "axis_labels": [axis.lower() for axis in axes if axis != "C"],
        "metadata": {"singula": {"zarr": str(group.store_path)}},
    }
    if not is_labels and "C" in axes:
        names = list(image.channels) or None
        count = levels[0].shape[axes.index("C")]
        options |= {"channel_axis": axes.index("C"), "name": names or [name] * count}
    elif "C" in axes:
        levels = [da.take(level, 0, axis=axes.index("C")) for level in levels]
    data = levels if len(levels) > 1 else levels[0]
    return [(data, options, LABELS if is_labels else IMAGE)]
