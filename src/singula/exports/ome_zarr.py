"""Export to OME-Zarr (NGFF 0.5): multiscale labels with pixel size, unit and properties."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from singula.exports.tables import UNKNOWN, calibration
from singula.io.atomic import atomic_folder
from singula.io.block_array import nearest
from singula.io.formats.containers import library
from singula.io.formats.ngff import VERSION, multiscale, plan_levels
from singula.io.lazy_array import LazyArray
from singula.labels.index import survey
from singula.runs.instances import Instances, Labels

GROUP = "labels/instances"
_CHUNK = {2: (1024, 1024), 3: (64, 256, 256)}


def write_ome_zarr(item: Instances, target: Path) -> None:
    """Write a label image as ``NAME.ome.zarr/labels/instances``.

    Each coarser level contains every second pixel of the finer level, so ids are never averaged and
    the first pixel keeps its position. If slices are farther apart than the width of a pixel, z is
    not downsampled until the pixels are as wide. The attribute ``singula.objects`` of the labels is
    `Instances.origin`.

    Parameters
    ----------
    item : Instances
        Label image.
    target : Path
        Folder to write.

    Raises
    ------
    UserError
        ``io.library_missing``: zarr is not installed; the codes of `atomic_folder`.
    """
    zarr = library("zarr", target, "OME-Zarr")
    if isinstance(item.labels, LazyArray):
        item = replace(item, labels=np.asarray(item.labels))
    with atomic_folder(target) as temporary:
        root = zarr.open_group(temporary, mode="w", zarr_format=3)
        labels = root.create_group("labels")
        labels.attrs["ome"] = {"version": VERSION, "labels": [GROUP.rpartition("/")[2]]}
        group = root.create_group(GROUP)
        spacing, unit = calibration(item)
        for number, (level, _) in enumerate(pyramid(item.labels, spacing)):
            chunks = tuple(
                min(size, side) for size, side in zip(level.shape, _CHUNK[item.ndim], strict=True)
            )
            array = group.create_array(
                str(number),
                shape=level.shape,
                dtype=level.dtype,
                chunks=chunks,
                fill_value=0,
                dimension_names=list("zyx"[-item.ndim :]),
            )
            array[...] = level
        levels = plan_levels(item.labels.shape, spacing)
        length_unit = None if unit in ("px", UNKNOWN) else unit
        entry = multiscale(
            item.name, item.ndim, levels, spacing, length_unit, channels=False, method="nearest"
        )
        group.attrs["ome"] = _metadata(item, entry)
        if item.origin:
            group.attrs["singula"] = {"objects": item.origin}


def pyramid(
    labels: Labels, spacing: tuple[float, ...] | None = None
) -> list[tuple[Labels, tuple[int, ...]]]:
    """Return the levels of a label image.

    Parameters
    ----------
    labels : ndarray of unsigned int
        Label image (y, x) or (z, y, x).
    spacing : tuple of float, optional
        Pixel size, z first; by default, all axes have the same.

    Returns
    -------
    list of (ndarray, tuple of int)
        Labels of each level, the finest first, and its step along each axis in pixels of the
        finest level.
    """
    finest, *coarser = plan_levels(labels.shape, spacing)
    levels = [(labels, finest.steps)]
    for level in coarser:
        levels.append((nearest(levels[-1][0], level.halved), level.steps))
    return levels


def _metadata(item: Instances, entry: dict[str, Any]) -> dict[str, Any]:
    objects = survey(item.labels)
    properties = []
    for row in np.flatnonzero(objects.npixels):
        label = int(objects.ids[row])
        values = {"label-value": label, "npixels": int(objects.npixels[row])}
        if item.classes is not None:
            values["class"] = item.classes.get(label, 0)
        properties.append(values)
    image_label: dict[str, Any] = {"version": VERSION}
    if properties:
        image_label["properties"] = properties
    return {"version": VERSION, "multiscales": [entry], "image-label": image_label}
