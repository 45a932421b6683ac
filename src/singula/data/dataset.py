"""Patches as the network's food, drawn the same way whenever they are drawn again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from singula.data.augment import (
    AugmentSettings,
    Patch,
    draw_geometry,
    make_changes,
    mirror,
    sample_pair,
)
from singula.data.normalize import Normalizer, Scaling
from singula.data.patches import read_patch, training_starts

Maps = Mapping[str, npt.NDArray[Any]]
Encode = Callable[[npt.NDArray[Any]], Maps]


@dataclass(frozen=True)
class Sample:
    """One image with its truth.

    Parameters
    ----------
    name : str
        Said in messages.
    image : ndarray
        (y, x, c) or (z, y, x, c), any numeric type, not yet normalised.
    labels : ndarray
        Instance ids and, with classes, the class in a second channel; shape (…, 1 or 2).
    targets : mapping of str to ndarray, optional
        Channels of the whole image, when they are stored; used where no change of the labels is
        asked for.
    """

    name: str
    image: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    targets: Maps | None = None


@dataclass(frozen=True)
class PatchSettings:
    """How patches are cut from images.

    Parameters
    ----------
    shape : tuple of int
        Spatial shape of a patch.
    overlap : tuple of float
        Fraction shared by neighbouring patches.
    padding : tuple of int
        Pixels on each side of a patch that its neighbours cover too.
    random : bool
        One patch per image and epoch, anywhere, instead of a grid.
    """

    shape: tuple[int, ...]
    overlap: tuple[float, ...]
    padding: tuple[int, ...]
    random: bool = False


class PatchDataset(Dataset[dict[str, Tensor]]):
    """Patches with encoded targets.

    An item is asked for by ``(epoch, index)`` (see `EpochSampler`) or by its index alone, which
    stands for epoch 0. All that is random about it follows from ``(seed, epoch, index)``, so any
    worker, process or resumed run draws the same patch.

    Parameters
    ----------
    samples : sequence of Sample
        Images with truth.
    patches : PatchSettings
        How they are cut.
    normalizer : Normalizer
        Applied with the statistics of each whole image.
    channels : tuple of str
        Names of the targets, in the order of the network's output.
    encode : callable
        Labels (spatial) → channels by name.
    augment : AugmentSettings, optional
        None for none.
    seed : int
        First part of every random number's seed.

    Notes
    -----
    An item holds ``image`` (C, …) float32, ``target`` (channels, …) float32, ``foreground``
    (1, …) bool, and ``classes`` (…) int64 where the labels have a second channel.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        patches: PatchSettings,
        normalizer: Normalizer,
        channels: tuple[str, ...],
        encode: Encode,
        augment: AugmentSettings | None = None,
        seed: int = 0,
    ) -> None:
        self.samples = list(samples)
        self.normalizer = normalizer
        self.patches = patches
        self.channels = channels
        self.encode = encode
        self.augment = augment
        self.seed = seed
        self.scalings: list[Scaling] = [normalizer.scaling(s.image) for s in self.samples]
        self.places: list[tuple[int, tuple[int, ...]]] = []
        for number, sample in enumerate(self.samples):
            if patches.random:
                self.places.append((number, ()))
                continue
            starts = training_starts(
                sample.image.shape[:-1], patches.shape, patches.overlap, patches.padding
            )
            self.places.extend((number, start) for start in starts)

    def with_samples(
        self, samples: Sequence[Sample], augment: AugmentSettings | None
    ) -> PatchDataset:
        """The same patches of other samples, which must have the same shapes.

        They are normalised by the numbers of these samples.
        """
        other = copy(self)
        other.samples, other.augment = list(samples), augment
        return other

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Tensor]:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        image, labels, targets = self.draw(epoch, index)
        return self._tensors(image, labels, targets)

    def draw(
        self, epoch: int, index: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any], Maps]:
        """Normalised image patch, labels patch (both channel-last) and targets by name."""
        rng = np.random.default_rng([self.seed, epoch, index])
        settings = self.augment
        if settings is not None:
            patch = self._moved(index, settings, rng)
            patch = make_changes(patch, settings, rng, lambda: self._another(index, settings, rng))
            return (
                patch.image,
                patch.labels,
                self.encode(np.ascontiguousarray(patch.labels[..., 0])),
            )
        number, start = self._place(index, rng)
        sample, shape = self.samples[number], self.patches.shape
        image = self.scalings[number].apply(read_patch(sample.image, start, shape))
        labels = read_patch(sample.labels, start, shape)
        if sample.targets is None:
            return image, labels, self.encode(labels[..., 0])
        cut = {n: read_patch(sample.targets[n], start, shape) for n in self.channels}
        return image, labels, cut

    def _place(self, index: int, rng: np.random.Generator) -> tuple[int, tuple[int, ...]]:
        """Number of the sample and start of the patch."""
        number, start = self.places[index]
        if not start:
            shape = self.samples[number].image.shape[:-1]
            start = _random_start(shape, self.patches.shape, rng)
        return number, start

    def _moved(self, index: int, settings: AugmentSettings, rng: np.random.Generator) -> Patch:
        """A patch after the geometric changes, normalised."""
        number, start = self._place(index, rng)
        sample, shape = self.samples[number], self.patches.shape
        geometry = draw_geometry(settings, shape, rng)
        raw, labels = sample_pair(
            sample.image,
            sample.labels,
            start,
            shape,
            geometry,
            mode=settings.mode,
            elastic_mode=settings.elastic_mode,
        )
        raw, labels = mirror([raw, labels], len(shape), settings, rng)
        return Patch(self.scalings[number].apply(raw), labels)

    def _another(self, index: int, settings: AugmentSettings, rng: np.random.Generator) -> Patch:
        """Any patch but this one, where there is another."""
        other = (index + int(rng.integers(1, max(2, len(self))))) % len(self)
        return self._moved(other, settings, rng)

    def _tensors(
        self, image: npt.NDArray[np.float32], labels: npt.NDArray[Any], targets: Maps
    ) -> dict[str, Tensor]:
        channel_first = np.ascontiguousarray(np.moveaxis(image, -1, 0), dtype=np.float32)
        stacked = np.stack([targets[n] for n in self.channels]).astype(np.float32, copy=False)
        item = {
            "image": torch.from_numpy(channel_first),
            "target": torch.from_numpy(stacked),
            "foreground": torch.from_numpy(labels[None, ..., 0] > 0),
        }
        if labels.shape[-1] > 1:
            item["classes"] = torch.from_numpy(labels[..., 1].astype(np.int64))
        return item


def _random_start(
    shape: Sequence[int], patch: Sequence[int], rng: np.random.Generator
) -> tuple[int, ...]:
    """Anywhere inside; centred (and mirrored) along axes where the image is smaller."""
    return tuple(
        int(rng.integers(0, size - length + 1)) if size >= length else -((length - size) // 2)
        for size, length in zip(shape, patch, strict=True)
    )


class EpochSampler(Sampler[tuple[int, int]]):
    """Indices with their epoch, in an order that follows from (seed, epoch) alone.

    A resumed run therefore goes on exactly as an uninterrupted one. With several processes each
    takes every `world`-th index; the list is filled up from its front so that all have the same
    number of steps. With `vary` False every epoch draws what epoch 0 draws (validation).
    """

    def __init__(
        self,
        size: int,
        *,
        shuffle: bool,
        vary: bool = True,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.size = size
        self.shuffle = shuffle
        self.vary = vary
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.size // self.world)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.epoch if self.vary else 0
        order = np.arange(self.size)
        if self.shuffle:
            order = np.random.default_rng([self.seed, epoch]).permutation(self.size)
        order = np.resize(order, len(self) * self.world)
        return ((epoch, int(i)) for i in order[self.rank :: self.world])
