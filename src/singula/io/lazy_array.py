"""A file as an array: indexed like one, read when it is indexed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, product
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from singula.boxes import Box, boxes
from singula.io.image import AnyArray
from singula.io.lazy import LazyImage

_PIECE = 1 << 22  # values of a piece, about
_FEW = 4096  # pixels of a piece that are compared first: most images differ among them
_PROBES, _PROBE_SIDE = 3, 16  # boxes along each axis, and their sides, that are read first


@dataclass(frozen=True, eq=False)
class LazyArray:
    """A `LazyImage`, or a part of it, that stands where an array is wanted.

    An index of slices or numbers reads what it names. Only the choice of a channel of the whole,
    ``array[..., 0]``, and `crop` read nothing and give another lazy array. NumPy functions read it
    whole.

    Parameters
    ----------
    source : LazyImage
    box : tuple of slice
        The part, in pixels of the source.
    channel : int, optional
        The one that is left, without an axis for it.
    """

    source: LazyImage
    box: Box
    channel: int | None = None

    @classmethod
    def of(cls, source: LazyImage) -> LazyArray:
        """The whole of an image."""
        return cls(source, tuple(slice(0, size) for size in source.spatial_shape))

    @property
    def shape(self) -> tuple[int, ...]:
        """As that of the array it stands for."""
        spatial = tuple(one.stop - one.start for one in self.box)
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
        """A part along the first axes, not read."""
        box = list(self.box)
        for axis, one in enumerate(index):
            start, stop, step = one.indices(self.shape[axis])
            if step != 1 or axis >= len(box):
                raise IndexError(f"a lazy array is cut without steps along its spatial axes: {one}")
            first = self.box[axis].start
            box[axis] = slice(first + start, first + max(start, stop))
        return replace(self, box=tuple(box))

    def __getitem__(self, index: Any) -> Any:
        items = _full(index, self.ndim)
        spatial, rest = items[: len(self.box)], items[len(self.box) :]
        whole = all(one == slice(None) for one in spatial)
        if self.channel is None and whole and isinstance(rest[0], int | np.integer):
            return replace(self, channel=range(self.source.channels)[rest[0]])
        bounds: list[slice] = []
        dropped: list[slice | int] = []
        for axis, one in enumerate(spatial):
            if isinstance(one, slice):
                bounds.append(one)
                dropped.append(slice(None))
            else:
                number = range(self.shape[axis])[one]
                bounds.append(slice(number, number + 1))
                dropped.append(0)
        part = self.source.read(self.crop(tuple(bounds)).box)
        return part[(*dropped, *(rest if self.channel is None else (self.channel,)))]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> AnyArray:
        if copy is False:
            raise ValueError("a lazy array is read, and so copied")
        part = self.source.read(self.box)
        if self.channel is not None:
            part = part[..., self.channel]
        return part if dtype is None else part.astype(dtype, copy=False)


Pixels = AnyArray | LazyArray


def cropped(array: Pixels, index: Box) -> Pixels:
    """A part of an array as a view, of a lazy one unread."""
    return array.crop(index) if isinstance(array, LazyArray) else array[index]


def pieces(array: Pixels) -> Iterator[tuple[Box, AnyArray]]:
    """An array in one piece, or a lazy one in boxes that can be held, with where they lie."""
    if not isinstance(array, LazyArray):
        yield tuple(slice(0, size) for size in array.shape), array
        return
    size = [min(c, n) for c, n in zip(array.source.chunks, array.source.spatial_shape, strict=True)]
    whole = array.source.spatial_shape
    # From the last axis on, a box grows by whole chunks until it is large enough.
    for axis in reversed(range(len(size))):
        room = _PIECE // (int(np.prod(size)) * array.source.channels)
        size[axis] = min(whole[axis], size[axis] * max(1, room))
    for box in boxes(array.shape[: len(array.box)], size):
        yield box, array[box]


def _full(index: Any, ndim: int) -> list[Any]:
    """An index with one entry for each axis."""
    items = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in items:
        place = items.index(Ellipsis)
        items[place : place + 1] = [slice(None)] * (ndim - len(items) + 1)
    items += [slice(None)] * (ndim - len(items))
    if len(items) != ndim:
        raise IndexError(f"too many indices for a lazy array of {ndim} axes")
    return items


def is_constant(array: Pixels) -> bool:
    """Return True if every channel has one single value.

    A large image often begins with an empty margin, so a few boxes spread over a lazy array are
    read first. Then it is read piece by piece until a pixel differs.

    Parameters
    ----------
    array : ndarray or LazyArray
        (…, channels)
    """
    first = np.asarray(array[(slice(0, 1),) * (array.ndim - 1)]).reshape(-1)
    probes = _probes(array) if isinstance(array, LazyArray) else iter(())
    for part in chain(probes, (part for _, part in pieces(array))):
        flat = part.reshape(-1, part.shape[-1])
        if (flat[:: max(1, len(flat) // _FEW)] != first).any() or (flat != first).any():
            return False
    return True


def _probes(array: LazyArray) -> Iterator[AnyArray]:
    """Read a small box around each point of a coarse grid."""
    starts = [
        [size * (2 * place + 1) // (2 * _PROBES) for place in range(_PROBES)]
        for size in array.shape[:-1]
    ]
    for corner in product(*starts):
        yield np.asarray(array[tuple(slice(start, start + _PROBE_SIDE) for start in corner)])


def notice_constant(name: object, array: Pixels) -> list[str]:
    """Return a line about an image without any contrast; nothing for other images.

    Parameters
    ----------
    name : object
        The image, as the line names it.
    array : ndarray or LazyArray
        (…, channels)
    """
    if not is_constant(array):
        return []
    value = np.asarray(array[(slice(0, 1),) * (array.ndim - 1)]).ravel().tolist()
    return [
        f"ATTENTION: {name}: every pixel is {value[0] if len(value) == 1 else value}, so no object "
        "can be found; export the image again"
    ]
