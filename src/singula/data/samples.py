"""Images with their truth: held in memory, or read when a patch of them is wanted."""

from __future__ import annotations

import mmap
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.io.lazy_array import LazyArray, Pixels, cropped

Maps = Mapping[str, Pixels]
CACHE_BYTES = 256 * 2**20
_MOST_OPEN = 64  # each memory-mapped file costs a file descriptor


@dataclass(frozen=True)
class Sample:
    """One image with its truth.

    Parameters
    ----------
    name : str
        Said in messages.
    image : ndarray or LazyArray
        (y, x, c) or (z, y, x, c), any numeric type, not yet normalised.
    labels : ndarray or LazyArray
        Instance ids and, with classes, the class in a second channel; shape (…, 1 or 2).
    targets : mapping of str to ndarray, optional
        Channels of the whole image, when they are stored; used where no change of the labels is
        asked for.
    """

    name: str
    image: Pixels
    labels: Pixels
    targets: Maps | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape."""
        return self.image.shape[:-1]

    def opened(self) -> Sample:
        """The sample itself: it is in memory."""
        return self

    def without_targets(self) -> Sample:
        """The same without stored channels."""
        return replace(self, targets=None)

    def slab(self, axis: int, start: int, stop: int) -> Sample:
        """A part of it along one axis, as views."""
        index = (slice(None),) * axis + (slice(start, stop),)
        targets = self.targets
        return replace(
            self,
            image=cropped(self.image, index),
            labels=cropped(self.labels, index),
            targets={n: cropped(m, index) for n, m in targets.items()}
            if targets is not None
            else None,
        )


class SampleCache:
    """The samples that were used last, as many as fit into a number of bytes.

    The newest stays in any case, for it is in use. Memory-mapped and lazy arrays count nothing:
    the system gives their pages back when it needs them. Each process that prepares patches has
    its own.

    Parameters
    ----------
    limit : int
        Bytes.
    """

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self.limit = limit
        self._held: OrderedDict[object, tuple[Sample, int]] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        """What goes to another process: the limit, not the samples."""
        return {"limit": self.limit, "_held": OrderedDict()}

    @property
    def bytes(self) -> int:
        """Memory of what is held."""
        return sum(size for _, size in self._held.values())

    def get(self, key: object, read: Callable[[], Sample]) -> Sample:
        """The sample of a key, read if it is not held."""
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key][0]
        # Room is made first, so that two large samples are never held at once without need.
        while self._held and (self.bytes >= self.limit or len(self._held) >= _MOST_OPEN):
            self._held.popitem(last=False)
        sample = read()
        self._held[key] = sample, memory_of(sample)
        while len(self._held) > 1 and self.bytes > self.limit:
            self._held.popitem(last=False)
        return sample


@dataclass(frozen=True)
class StoredSample:
    """One image with its truth, read when it is wanted.

    Parameters
    ----------
    name : str
    shape : tuple of int
        Spatial shape.
    read : callable
        Gives the sample, with stored targets if it is told so; must be the same each time.
    cache : SampleCache
        Shared by the samples of a set.
    cut : (axis, start, stop), optional
        The part that this sample is.
    with_targets : bool
        Whether stored channels are wanted.
    """

    name: str
    shape: tuple[int, ...]
    read: Callable[[bool], Sample]
    cache: SampleCache
    cut: tuple[int, int, int] | None = None
    with_targets: bool = True

    def opened(self) -> Sample:
        """The sample with its arrays."""
        key = (self.name, self.with_targets)
        sample = self.cache.get(key, lambda: self.read(self.with_targets))
        return sample if self.cut is None else sample.slab(*self.cut)

    def without_targets(self) -> StoredSample:
        """The same without stored channels."""
        return replace(self, with_targets=False)

    def slab(self, axis: int, start: int, stop: int) -> StoredSample:
        """A part of it along one axis."""
        shape = list(self.shape)
        shape[axis] = stop - start
        offset = self.cut[1] if self.cut is not None else 0
        if self.cut is not None and self.cut[0] != axis:
            raise ValueError("a sample is cut along one axis only")
        return replace(self, shape=tuple(shape), cut=(axis, start + offset, stop + offset))


AnySample = Sample | StoredSample


def memory_of(sample: Sample) -> int:
    """Bytes of a sample's arrays that are in memory: neither mapped nor lazy."""
    arrays = [sample.image, sample.labels, *(sample.targets or {}).values()]
    held = [array for array in arrays if not isinstance(array, LazyArray)]
    return sum(array.nbytes for array in held if not is_mapped(array))


def is_mapped(array: npt.NDArray[Any]) -> bool:
    """Whether an array's values lie in a file."""
    base: Any = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            return True
        base = base.base
    return isinstance(base, mmap.mmap)
