"""Read ND2 files of Nikon (NIS-Elements)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from singula.io.formats.acquisition import (
    Acquisition,
    choose_acquisition,
    list_acquisitions,
    stored_acquisition,
)
from singula.io.formats.containers import library
from singula.io.image import AnyArray, ArrayPlace, Series, StoredArray
from singula.util.boxes import Box

_FRAME = "CYXS"  # axes of a frame, in their order


class _OpenFile:
    """ND2 file that is closed with the last reference to it, without the library's warning."""

    def __init__(self, path: Path) -> None:
        self.nd2 = library("nd2", path, "ND2", extra="formats").ND2File(path)

    def __del__(self) -> None:
        if hasattr(self, "nd2"):
            self.nd2.close()


def open_nd2(path: Path, place: ArrayPlace, labels: bool) -> StoredArray:
    """Open a position of an ND2 file without reading its pixels.

    Parameters
    ----------
    path : Path
        ND2 file.
    place : ArrayPlace
        Number of the position; without one, the first position.
    labels : bool
        Not used.

    Raises
    ------
    UserError
        ``io.library_missing``: nd2 is not installed; ``io.no_such_series``.
    ValueError
        The file is damaged, or its frames are not a grid of positions and time points.
    """
    opened = _OpenFile(path)
    file = opened.nd2
    sizes: dict[str, int] = dict(file.sizes)
    number, others = choose_acquisition(path, place, [""] * sizes.get("P", 1))
    inner = "".join(axis for axis in _FRAME if axis in sizes or axis in "YX")
    lead = [axis for axis in sizes if axis not in inner and axis != "P"]
    frames = {
        tuple(index.get(axis, 0) for axis in lead): frame
        for frame, index in enumerate(file.loop_indices)
        if index.get("P", 0) == number
    } or {(): 0}
    plane = tuple(sizes.get(axis, 1) for axis in inner)

    def read(position: tuple[int, ...], box: Box) -> AnyArray:
        frame: AnyArray = opened.nd2.read_frame(frames[position]).reshape(plane)
        return frame[box]

    channels = file.metadata.channels or ()
    volume = channels[0].volume if channels else None
    calibrations = (
        zip("xyz", volume.axesCalibration, volume.axesCalibrated, strict=True) if volume else ()
    )
    image = Acquisition(
        axes="".join(lead) + inner,
        shape=(*(sizes[axis] for axis in lead), *plane),
        dtype=np.dtype(file.dtype),
        n_inner=len(inner),
        read=read,
        sizes={axis: size for axis, size, calibrated in calibrations if calibrated},
        channel_names=[channel.channel.name for channel in channels],
    )
    return stored_acquisition(image, "ND2 metadata", others)


def nd2_series(path: Path, place: ArrayPlace) -> list[Series]:
    """List the positions of an ND2 file."""
    opened = _OpenFile(path)
    return list_acquisitions(place, dict(opened.nd2.sizes).get("P", 1))
