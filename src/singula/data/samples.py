"""Images with their ground truth: in memory, or read when a patch is needed."""

from __future__ import annotations

import mmap
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.io.lazy_array import LazyArray, Pixels, crop_array

Maps = Mapping[str, Pixels]
CACHE_BYTES = 256 * 2**20
_MAX_OPEN = 64  # each memory-mapped file costs a file descriptor


@dataclass(frozen=True)
class Sample:
    """An image with its ground truth.

    Parameters
    ----------
    name : str
        Name for messages.
    image : ndarray or LazyArray
        (y, x, c) or (z, y, x, c), any numeric type, before normalization.
    labels : ndarray or LazyArray
        Instance ids and, with classes, the class in a second channel; shape (…, 1 or 2).
    targets : mapping of str to ndarray, optional
        Stored channels of the whole image, which are used if augmentation does not change the
        labels.
    """

    name: str
    image: Pixels
    labels: Pixels
    targets: Maps | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape of the image."""
        return self.image.shape[:-1]

    def opened(self) -> Sample:
        """Return the sample itself, which is in memory."""
        return self

    def without_targets(self) -> Sample:
        """Return the sample without stored channels."""
        return replace(self, targets=None)

    def slab(self, axis: int, start: int, stop: int) -> Sample:
        """Return a part of the sample along one axis, as views."""
        index = (slice(None),) * axis + (slice(start, stop),)
        targets = self.targets
        return replace(
            self,
            image=crop_array(self.image, index),
            labels=crop_array(self.labels, index),
            targets={n: crop_array(m, index) for n, m in targets.items()}
            if targets is not None
            else None,
        )


class SampleCache:
    """A least-recently-used cache of samples with a limited size.

    The newest sample always stays, because it is in use. Memory-mapped and lazy arrays do not
    count: the operating system can release their pages. Each process that prepares patches has its
    own cache.

    Parameters
    ----------
    limit : int
        Maximum size in bytes.
    """

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self.limit = limit
        self._held: OrderedDict[object, tuple[Sample, int]] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the limit without the samples."""
        return {"limit": self.limit, "_held": OrderedDict()}

    @property
    def bytes(self) -> int:
        """Size of the cached samples in bytes."""
        return sum(size for _, size in self._held.values())

    def get(self, key: object, read: Callable[[], Sample]) -> Sample:
        """Return the sample of a key, and read it if it is not cached."""
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key][0]
        # Release memory before reading, so that two large samples are not in memory at once.
        while self._held and (self.bytes >= self.limit or len(self._held) >= _MAX_OPEN):
            self._held.popitem(last=False)
        sample = read()
        self._held[key] = sample, memory_of(sample)
        while len(self._held) > 1 and self.bytes > self.limit:
            self._held.popitem(last=False)
        return sample


@dataclass(frozen=True)
class StoredSample:
    """An image with its ground truth that is read when it is needed.

    Parameters
    ----------
    name : str
    shape : tuple of int
        Spatial shape.
    read : callable
        Return the sample, with stored targets if the argument is True; always the same sample.
    cache : SampleCache
        Cache that all samples of a set share.
    cut : (axis, start, stop), optional
        The part of the image that this sample covers.
    with_targets : bool
        Read stored channels.
    """

    name: str
    shape: tuple[int, ...]
    read: Callable[[bool], Sample]
    cache: SampleCache
    cut: tuple[int, int, int] | None = None
    with_targets: bool = True

    def opened(self) -> Sample:
        """Return the sample with its arrays."""
        key = (self.name, self.with_targets)
        sample = self.cache.get(key, lambda: self.read(self.with_targets))
        return sample if self.cut is None else sample.slab(*self.cut)

    def without_targets(self) -> StoredSample:
        """Return the sample without stored channels."""
        return replace(self, with_targets=False)

    def slab(self, axis: int, start: int, stop: int) -> StoredSample:
        """Return a part of the sample along one axis."""
        shape = list(self.shape)
        shape[axis] = stop - start
        offset = self.cut[1] if self.cut is not None else 0
        if self.cut is not None and self.cut[0] != axis:
            raise ValueError("a sample can be cut along one axis only")
        return replace(self, shape=tuple(shape), cut=(axis, start + offset, stop + offset))


AnySample = Sample | StoredSample


def memory_of(sample: Sample) -> int:
    """Return the bytes of the arrays in memory, which are neither mapped nor lazy."""
    arrays = [sample.image, sample.labels, *(sample.targets or {}).values()]
    in_memory = [array for array in arrays if not isinstance(array, LazyArray)]
    return sum(array.nbytes for array in in_memory if not is_mapped(array))


def is_mapped(array: npt.NDArray[Any]) -> bool:
    """Return True if the values of an array are in a memory-mapped file."""
    base: Any = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            return True
        base = base.base
    return isinstance(base, mmap.mmap)
