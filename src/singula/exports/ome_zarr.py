"""Labels as OME-Zarr (NGFF 0.5): a pyramid of chunks with sizes, units and properties."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from singula.errors import UserError
from singula.exports.source import Instances, Labels
from singula.exports.tables import UNKNOWN, calibration
from singula.io.atomic import atomic_folder
from singula.postprocess.labels import survey

VERSION = "0.5"
GROUP = "labels/instances"
_SMALLEST = 256  # no coarser level once the plane is this small
_CHUNK = {2: (1024, 1024), 3: (64, 256, 256)}
# Units as the format spells them
_UNITS = {"µm": "micrometer", "inch": "inch"}


def write_ome_zarr(item: Instances, target: Path) -> None:
    """Write a label image as ``NAME.ome.zarr/labels/instances``.

    The coarser levels take every second pixel of the level above, so ids are never mixed and the
    first pixel stays in its place. Slices farther apart than pixels are wide are kept until the
    pixels are as large.

    Raises
    ------
    UserError
        When the library zarr is not installed, or the folder cannot be written.
    """
    try:
        import zarr
    except ImportError as error:
        raise UserError(
            "--to ome-zarr: the library zarr is not installed", 'pip install "singula[export]"'
        ) from error
    with atomic_folder(target) as temporary:
        root = zarr.open_group(temporary, mode="w", zarr_format=3)
        labels = root.create_group("labels")
        labels.attrs["ome"] = {"version": VERSION, "labels": [GROUP.rpartition("/")[2]]}
        group = root.create_group(GROUP)
        spacing, unit = calibration(item)
        datasets = []
        for number, (level, steps) in enumerate(pyramid(item.labels, spacing)):
            chunks = tuple(
                min(size, most) for size, most in zip(level.shape, _CHUNK[item.ndim], strict=True)
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
            sizes = spacing or (1.0,) * item.ndim
            scale = [size * step for size, step in zip(sizes, steps, strict=True)]
            datasets.append(
                {
                    "path": str(number),
                    "coordinateTransformations": [{"type": "scale", "scale": scale}],
                }
            )
        group.attrs["ome"] = _metadata(item, datasets, unit)


def pyramid(
    labels: Labels, spacing: tuple[float, ...] | None = None
) -> list[tuple[Labels, tuple[int, ...]]]:
    """Levels of a label image, each with its step in pixels of the first."""
    sizes = np.array(spacing or (1.0,) * labels.ndim, float)
    levels = [(labels, (1,) * labels.ndim)]
    while max(levels[-1][0].shape[-2:]) > _SMALLEST:
        level, steps = levels[-1]
        now = (sizes * steps).tolist()
        # An axis whose pixels are larger than those of the plane will be waits for the others.
        halved = [
            size <= 1.5 * min(now[-2:]) and length > 1
            for size, length in zip(now, level.shape, strict=True)
        ]
        if not any(halved):
            break
        index = tuple(slice(None, None, 2 if half else 1) for half in halved)
        taken = tuple(step * (2 if half else 1) for step, half in zip(steps, halved, strict=True))
        levels.append((np.ascontiguousarray(level[index]), taken))
    return levels


def _metadata(item: Instances, datasets: list[dict[str, Any]], unit: str) -> dict[str, Any]:
    axes: list[dict[str, str]] = [{"name": name, "type": "space"} for name in "zyx"[-item.ndim :]]
    if unit not in ("px", UNKNOWN):
        for axis in axes:
            axis["unit"] = _UNITS.get(unit, unit)
    multiscale = {"name": item.name, "axes": axes, "datasets": datasets, "type": "nearest"}
    found = survey(item.labels)
    properties = []
    for row in np.flatnonzero(found.npixels):
        label = int(found.ids[row])
        values = {"label-value": label, "npixels": int(found.npixels[row])}
        if item.classes is not None:
            values["class"] = item.classes.get(label, 0)
        properties.append(values)
    image_label: dict[str, Any] = {"version": VERSION}
    if properties:
        image_label["properties"] = properties
    return {"version": VERSION, "multiscales": [multiscale], "image-label": image_label}
