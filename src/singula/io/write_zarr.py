"""Write a label image in memory as OME-Zarr."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from singula.io.atomic import atomic_folder
from singula.io.block_array import BlockArray
from singula.io.image import AnyArray


def write_zarr_labels(
    path: Path,
    array: AnyArray,
    ndim: int,
    spacing: Sequence[float] | None = None,
    unit: str | None = None,
) -> None:
    """Write a label image as OME-Zarr with a pyramid; the folder appears when it is complete.

    Parameters
    ----------
    path : Path
        Zarr folder, ``NAME.zarr``; an existing one is replaced.
    array : ndarray of unsigned int
        Labels of shape (y, x) or (z, y, x), optionally with a last axis of two channels: the label
        and its class.
    ndim : int
        Number of spatial axes.
    spacing : sequence of float, optional
        Voxel size, z first.
    unit : str, optional
        Unit of `spacing`.

    Raises
    ------
    UserError
        ``io.library_missing``: zarr is not installed; ``storage.…``: the disk is full, or the
        folder cannot be written.
    """
    with atomic_folder(path) as temporary:
        image = BlockArray.create(
            temporary, array.shape, array.dtype, ndim=ndim, kind="labels", spacing=spacing,
            unit=unit,
        )  # fmt: skip
        for box in image.blocks():
            image.write(box, array[box])
        for level in range(1, len(image.levels)):
            for box in image.blocks(level):
                image.build_level(level, box)
        image.finish(path.stem)
