"""Read LIF files of Leica (LAS X, LAS AF)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from singula.io.formats.acquisition import (
    Acquisition,
    choose_acquisition,
    list_acquisitions,
    stored_acquisition,
)
from singula.io.formats.containers import library
from singula.io.image import AnyArray, ArrayPlace, Series, StoredArray
from singula.io.units import round_significant
from singula.util.boxes import Box

_MAGIC = b"\x70\x00\x00\x00"


def open_lif(path: Path, place: ArrayPlace, labels: bool) -> StoredArray:
    """Open an image in a LIF file without reading its pixels.

    Parameters
    ----------
    path : Path
        LIF file.
    place : ArrayPlace
        Number of the image; without one, the first image.
    labels : bool
        Not used.

    Raises
    ------
    UserError
        ``io.library_missing``: liffile is not installed; ``io.no_such_series``.
    ValueError
        The file is damaged, or is another kind of file of Leica, which refers to other files.
    """
    file = _open(path)
    titles = [str(image.name) for image in file.images]
    number, others = choose_acquisition(path, place, titles)
    image = file.images[number]
    block = image.memory_block
    if block.offset + block.size > path.stat().st_size:
        raise ValueError("the file is cut off")
    frames, axes = image.frames, "".join(image.dims)
    inner = len(frames.frame_dims)
    if len(axes) != len(image.shape) or tuple(axes[-inner:]) != tuple(frames.frame_dims):
        raise ValueError(f"its axes are {', '.join(image.dims)}")

    def read(position: tuple[int, ...], box: Box) -> AnyArray:
        frame: AnyArray = frames[position or 0]
        return frame[box]

    stored = Acquisition(
        axes=axes,
        shape=tuple(image.shape),
        dtype=np.dtype(image.dtype),
        n_inner=inner,
        read=read,
        sizes={axis: _step(image, axis.upper()) for axis in "xyz"},
        channel_names=_channel_names(image),
    )
    return stored_acquisition(stored, "LIF metadata", others)


def lif_series(path: Path, place: ArrayPlace) -> list[Series]:
    """List the images of a LIF file."""
    return list_acquisitions(place, len(_open(path).images))


def _open(path: Path) -> Any:
    liffile = library("liffile", path, "LIF", extra="formats")
    with path.open("rb") as file:
        if file.read(4) != _MAGIC:  # XLEF and similar files name other files, which would be read
            raise ValueError("it is not a LIF file")
    opened = liffile.LifFile(path)
    if opened.type != liffile.LifFileType.LIF:
        raise ValueError(f"it is a file of the kind {opened.type.name}")
    return opened


def _step(image: Any, axis: str) -> float | None:
    """Return the distance of pixels along an axis in µm; None if the file does not give it."""
    positions = image.coords.get(axis)
    if positions is None or len(positions) < 2:
        return None
    meters = abs(float(positions[-1]) - float(positions[0])) / (len(positions) - 1)
    return round_significant(meters * 1e6, 6) or None


def _channel_names(image: Any) -> list[object]:
    """Return the names of the color tables of the channels, which LAS shows."""
    return [item.get("LUTName") for item in image.xml_element.iter("ChannelDescription")]
