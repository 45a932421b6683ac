"""Array interface to an image on disk, which is read on indexing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, product
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from singula.io.image import AnyArray
from singula.io.lazy import LazyImage
from singula.util.boxes import Box, boxes

_BLOCK_SIZE = 1 << 22  # approximate number of values in a block
_N_SAMPLES = 4096  # pixels of a block that are compared first: most images differ among them
_PROBES, _PROBE_SIDE = 3, 16  # boxes that are read first along each axis, and their side in pixels


@dataclass(frozen=True, eq=False)
class LazyArray:
    """Box of a `LazyImage` with the interface of an array.

    Indexing with slices or integers reads the selected pixels. Two operations read nothing and
    return another lazy array: the selection of a channel, ``array[..., 0]``, and `crop`. NumPy
    functions read the whole box.

    Parameters
    ----------
    source : LazyImage
        Image on disk.
    box : tuple of slice
        Box along the spatial axes, in pixels of `source`.
    channel : int, optional
        Channel to select; the array then has no channel axis. None: all channels.
    """

    source: LazyImage
    box: Box
    channel: int | None = None

    @classmethod
    def of(cls, source: LazyImage) -> LazyArray:
        """Return an array of the whole image."""
        return cls(source, tuple(slice(0, size) for size in source.spatial_shape))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (y, x, c) or (z, y, x, c); without c if a channel is selected."""
        spatial = tuple(bound.stop - bound.start for bound in self.box)
        return spatial if self.channel is not None else (*spatial, self.source.channels)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.source.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def crop(self, index: Box) -> LazyArray:
        """Return a box of the array without reading it.

        Parameters
        ----------
        index : tuple of slice
            One slice for each of the first spatial axes; clipped to the array.

        Raises
        ------
        IndexError
            A slice has a step, or there are more slices than spatial axes.
        """
        box = list(self.box)
        for axis, bound in enumerate(index):
            start, stop, step = bound.indices(self.shape[axis])
            if step != 1 or axis >= len(box):
                raise IndexError(
                    f"a lazy array is cropped without steps along its spatial axes: got {bound}"
                )
            first = self.box[axis].start
            box[axis] = slice(first + start, first + max(start, stop))
        return replace(self, box=tuple(box))

    def __getitem__(self, index: Any) -> Any:
        items = _complete_index(index, self.ndim)
        spatial, rest = items[: len(self.box)], items[len(self.box) :]
        whole = all(item == slice(None) for item in spatial)
        if self.channel is None and whole and isinstance(rest[0], int | np.integer):
            return replace(self, channel=range(self.source.channels)[rest[0]])
        bounds: list[slice] = []
        dropped: list[slice | int] = []
        for axis, item in enumerate(spatial):
            if isinstance(item, slice):
                bounds.append(item)
                dropped.append(slice(None))
            else:
                number = range(self.shape[axis])[item]
                bounds.append(slice(number, number + 1))
                dropped.append(0)
        part = self.source.read(self.crop(tuple(bounds)).box)
        return part[(*dropped, *(rest if self.channel is None else (self.channel,)))]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> AnyArray:
        if copy is False:
            raise ValueError("a lazy array cannot be converted without a copy")
        part = self.source.read(self.box)
        if self.channel is not None:
            part = part[..., self.channel]
        return part if dtype is None else part.astype(dtype, copy=False)


Pixels = AnyArray | LazyArray


def crop_array(array: Pixels, index: Box) -> Pixels:
    """Return a box of an array as a view, or of a lazy array without reading it."""
    return array.crop(index) if isinstance(array, LazyArray) else array[index]


def iter_blocks(array: Pixels) -> Iterator[tuple[Box, AnyArray]]:
    """Iterate over an array in blocks: a lazy array in blocks of about 4 million values.

    Parameters
    ----------
    array : ndarray or LazyArray
        Array of any number of axes.

    Yields
    ------
    box : tuple of slice
        Position of the block: spatial axes of a lazy array, all axes of an array in memory, which
        is one block.
    block : ndarray
        Values of the block.
    """
    if not isinstance(array, LazyArray):
        yield tuple(slice(0, size) for size in array.shape), array
        return
    size = [min(c, n) for c, n in zip(array.source.chunks, array.source.spatial_shape, strict=True)]
    whole = array.source.spatial_shape
    # Grow the block by whole chunks, from the last axis on, until it is large enough.
    for axis in reversed(range(len(size))):
        factor = _BLOCK_SIZE // (int(np.prod(size)) * array.source.channels)
        size[axis] = min(whole[axis], size[axis] * max(1, factor))
    for box in boxes(array.shape[: len(array.box)], size):
        yield box, array[box]


def _complete_index(index: Any, ndim: int) -> list[Any]:
    """Return an index with one entry for each axis."""
    items = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in items:
        position = items.index(Ellipsis)
        items[position : position + 1] = [slice(None)] * (ndim - len(items) + 1)
    items += [slice(None)] * (ndim - len(items))
    if len(items) != ndim:
        raise IndexError(f"too many indices for a lazy array of {ndim} axes")
    return items


def is_constant(array: Pixels) -> bool:
    """Return True if all pixels of each channel have the same value.

    Large images often have an empty margin. Therefore, a few boxes spread over a lazy array are
    read first. The array is then read in blocks until a pixel differs.

    Parameters
    ----------
    array : ndarray or LazyArray, shape (…, c)
        Image with its channels last.
    """
    first = np.asarray(array[(slice(0, 1),) * (array.ndim - 1)]).reshape(-1)
    probes = _probes(array) if isinstance(array, LazyArray) else iter(())
    for part in chain(probes, (block for _, block in iter_blocks(array))):
        flat = part.reshape(-1, part.shape[-1])
        if (flat[:: max(1, len(flat) // _N_SAMPLES)] != first).any() or (flat != first).any():
            return False
    return True


def _probes(array: LazyArray) -> Iterator[AnyArray]:
    """Read a small box at each point of a coarse grid."""
    starts = [
        [size * (2 * number + 1) // (2 * _PROBES) for number in range(_PROBES)]
        for size in array.shape[:-1]
    ]
    for corner in product(*starts):
        yield np.asarray(array[tuple(slice(start, start + _PROBE_SIDE) for start in corner)])


def constant_image_notices(name: object, array: Pixels) -> list[str]:
    """Return a notice if all pixels of an image have the same value; else an empty list.

    Parameters
    ----------
    name : object
        Name of the image for the notice.
    array : ndarray or LazyArray, shape (…, c)
        Image with its channels last.
    """
    if not is_constant(array):
        return []
    value = np.asarray(array[(slice(0, 1),) * (array.ndim - 1)]).ravel().tolist()
    return [
        f"ATTENTION: {name}: every pixel is {value[0] if len(value) == 1 else value}, so no object "
        "can be found; export the image again"
    ]
