"""Patches as the network's food, drawn the same way whenever they are drawn again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    Geometry,
    Mirror,
    Patch,
    apply_augmentations,
    draw_geometry,
    draw_mirror,
    sample_pair,
)
from singula.data.normalize import Normalizer, Scaling, extremes, notice_range
from singula.data.patches import read_patch, training_starts
from singula.data.random_patches import (
    foreground_rows,
    foreground_share,
    random_start,
    start_with_foreground,
    starts_with_foreground,
    weighted_start,
)
from singula.data.samples import AnySample, Maps, Sample
from singula.data.window import Sides, margin_of, sides_of, window_in_image
from singula.io.lazy_array import constant_image_notices
from singula.representations.channels import (
    EncodeSettings,
    Extent,
    encode_with,
    measure_extent,
    needs_extent,
)

__all__ = ["EpochSampler", "PatchDataset", "PatchSettings", "Sample"]

_STILL = Geometry(np.eye(2), np.zeros(2))


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
    weights : (float, float), optional
        Of foreground and background as the centre of a random patch; None for anywhere alike.
    least_foreground : float
        Patches with a smaller fraction of foreground are left out; 0 for none.
    replicate : int
        How often each patch is drawn in an epoch, each time with other random changes.
    """

    shape: tuple[int, ...]
    overlap: tuple[float, ...]
    padding: tuple[int, ...]
    random: bool = False
    weights: tuple[float, float] | None = None
    least_foreground: float = 0.0
    replicate: int = 1


@dataclass(frozen=True)
class _Moved:
    """A patch after the geometric changes, normalised, and how it came about."""

    patch: Patch
    geometry: Geometry
    mirror: Mirror
    sides: Sides


class PatchDataset(Dataset[dict[str, Tensor]]):
    """Patches with encoded targets.

    An item is asked for by ``(epoch, index)`` (see `EpochSampler`) or by its index alone, which
    stands for epoch 0. All that is random about it follows from ``(seed, epoch, index)``, so any
    worker, process or resumed run draws the same patch.

    Parameters
    ----------
    samples : sequence of Sample or StoredSample
        Images with truth; opened one after the other.
    patches : PatchSettings
        How they are cut.
    normalizer : Normalizer
        Applied with the statistics of each whole image.
    encoding : EncodeSettings
        How labels become targets; its channels are in the order of the network's output.
    augment : AugmentSettings, optional
        None for none.
    seed : int
        First part of every random number's seed.

    Attributes
    ----------
    places : list of (int, tuple of int)
        Sample and start of each patch; an empty start is drawn anew each time.
    left_out : int
        Patches with too little foreground.
    notices : list of str
        Lines about images without contrast.

    Notes
    -----
    Targets are those of the whole image, cut, or of the whole changed image: labels are encoded in
    a window around the patch, as wide as the channels need (`Extent`), and one patch length at
    most. What a turned or moved patch finds beyond the image's edge counts as image. The largest
    distance of the background, for `Dv2`, is that of the unchanged image times the enlargement;
    shear, elastic displacement and changes of labels may exceed it, and the channel is then 0.

    An item holds ``image`` (C, …) float32, ``target`` (channels, …) float32, ``foreground``
    (1, …) bool, ``counts`` () bool, which is False where a validation patch is drawn once more, and
    ``classes`` (…) int64 where the labels have a second channel.
    """

    def __init__(
        self,
        samples: Sequence[AnySample],
        patches: PatchSettings,
        normalizer: Normalizer,
        encoding: EncodeSettings,
        augment: AugmentSettings | None = None,
        seed: int = 0,
    ) -> None:
        self.samples = list(samples)
        self.normalizer = normalizer
        self.patches = patches
        self.encoding = encoding
        self.augment = augment
        self.seed = seed
        self.scalings: list[Scaling] = []
        self.rows: list[npt.NDArray[np.int64]] = []
        self.places: list[tuple[int, tuple[int, ...]]] = []
        self.left_out = 0
        self.extents: dict[int, Extent] = {}
        self.notices: list[str] = []
        bounds: list[float] = []  # of float images that are only divided
        # One pass: the newest sample is always held, so each is read once.
        for number, sample in enumerate(self.samples):
            if number and normalizer.same_for_all:
                self.scalings.append(self.scalings[0])
            else:
                self.scalings.append(normalizer.scaling(sample.opened().image))
            image, scale = sample.opened().image, self.scalings[-1].scale
            self.notices += constant_image_notices(sample.name, image)
            if normalizer.kind == "div" and image.dtype.kind == "f":
                bounds += [value / float(scale[0]) for value in extremes(image)]
            if patches.weights is not None:
                self.rows.append(foreground_rows(sample.opened().labels[..., 0]))
            if needs_extent(encoding) and (augment or sample.opened().targets is None):
                self._extent(number, sample.opened())
            self.places.extend((number, start) for start in self._places(sample))
        if bounds:
            self.notices += notice_range(min(bounds), max(bounds))

    def _places(self, sample: AnySample) -> list[tuple[int, ...]]:
        """Starts of the patches of one image that have enough foreground."""
        patches, least = self.patches, self.patches.least_foreground
        starts: list[tuple[int, ...]] = [()]
        if not patches.random:
            starts = training_starts(sample.shape, patches.shape, patches.overlap, patches.padding)
        if least <= 0:
            return starts
        ids = sample.opened().labels[..., 0]
        if patches.random:
            enough = starts if len(starts_with_foreground(ids, patches.shape, least)) else []
        else:
            enough = [s for s in starts if foreground_share(ids, s, patches.shape) >= least]
        self.left_out += len(starts) - len(enough)
        return enough

    def with_samples(
        self, samples: Sequence[AnySample], augment: AugmentSettings | None
    ) -> PatchDataset:
        """The same patches, normalised alike, of other samples of the same shapes."""
        other = copy(self)
        other.samples, other.augment = list(samples), augment
        return other

    def __len__(self) -> int:
        return len(self.places) * self.patches.replicate

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Tensor]:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        repeated = index < 0
        image, labels, targets = self.draw(epoch, -1 - index if repeated else index)
        item = self._tensors(image, labels, targets)
        item["counts"] = torch.tensor(not repeated)
        return item

    def draw(
        self, epoch: int, index: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any], Maps]:
        """Normalised image patch, labels patch (both channel-last) and targets by name."""
        rng = np.random.default_rng([self.seed, epoch, index])
        settings, shape = self.augment, self.patches.shape
        number, sample, start = self._place(index, rng)
        if settings is None:
            image = self.scalings[number].apply(read_patch(sample.image, start, shape))
            labels = read_patch(sample.labels, start, shape)
            return image, labels, self._still_targets(number, sample, start)
        moved = self._moved(number, sample, start, settings, rng)
        patch = apply_augmentations(
            moved.patch, settings, rng, lambda: self._another(index, settings, rng)
        )
        if moved.geometry.is_identity and patch.labels is moved.patch.labels:
            targets = self._still_targets(number, sample, start)
        else:
            targets = self._moved_targets(self._extent(number, sample), moved, patch.labels)
        mirrored = {
            name: moved.mirror.apply(np.asarray(target)) for name, target in targets.items()
        }
        return patch.image, patch.labels[patch.place], mirrored

    def _place(self, index: int, rng: np.random.Generator) -> tuple[int, Sample, tuple[int, ...]]:
        """Number of the sample, the sample, and start of the patch."""
        number, start = self.places[index % len(self.places)]
        sample = self.samples[number].opened()
        return number, sample, start or self._draw_start(number, sample, rng)

    def _extent(self, number: int, sample: Sample) -> Extent:
        """What the targets of a sample depend on, measured once."""
        if number not in self.extents:
            self.extents[number] = measure_extent(sample.labels[..., 0], self.encoding)
        return self.extents[number]

    def _still_targets(self, number: int, sample: Sample, start: tuple[int, ...]) -> Maps:
        """Targets of the whole image, cut for a patch."""
        shape, maps, begin = self.patches.shape, sample.targets, start
        if maps is None:
            extent = self._extent(number, sample)
            margin = margin_of(extent, _STILL, shape)
            window = window_in_image(sample.shape, start, shape, margin)
            maps = encode_with(self.encoding, sample.labels[..., 0][window], extent.furthest)
            begin = tuple(s - w.start for s, w in zip(start, window, strict=True))
        return {name: read_patch(maps[name], begin, shape) for name in self.encoding.channels}

    def _moved_targets(self, extent: Extent, moved: _Moved, labels: npt.NDArray[Any]) -> Maps:
        """Targets of a patch from its window of changed labels, not yet flipped or turned.

        They are encoded the way the image lies, for the size of a pixel may differ between axes.
        """
        furthest = extent.furthest
        if furthest is not None:
            furthest *= moved.geometry.enlargement
        maps = encode_with(self.encoding, moved.mirror.undo(labels[..., 0]), furthest)
        shape = self.patches.shape
        cut = tuple(slice(b, b + n) for (b, _), n in zip(moved.sides, shape, strict=True))
        return {name: target[cut] for name, target in maps.items()}

    def _moved(
        self,
        number: int,
        sample: Sample,
        start: tuple[int, ...],
        settings: AugmentSettings,
        rng: np.random.Generator,
    ) -> _Moved:
        """A patch after the geometric changes, normalised, with the window of its labels."""
        shape, extent = self.patches.shape, self._extent(number, sample)
        geometry = draw_geometry(settings, shape, rng, lambda g: margin_of(extent, g, shape))
        margin = margin_of(extent, geometry, shape)
        sides = sides_of(sample.shape, start, shape, margin, geometry)
        raw, labels = sample_pair(
            sample.image,
            sample.labels,
            start,
            shape,
            geometry,
            mode=settings.mode,
            elastic_mode=settings.elastic_mode,
            sides=sides,
        )
        mirror = draw_mirror(shape, settings, rng)
        before = tuple(b for b, _ in mirror.margins(sides))
        image = self.scalings[number].apply(mirror.apply(raw))
        return _Moved(Patch(image, mirror.apply(labels), before), geometry, mirror, sides)

    def _another(self, index: int, settings: AugmentSettings, rng: np.random.Generator) -> Patch:
        """Any patch but this one, where there is another."""
        other = (index + int(rng.integers(1, max(2, len(self))))) % len(self)
        return self._moved(*self._place(other, rng), settings, rng).patch

    def _draw_start(self, number: int, sample: Sample, rng: np.random.Generator) -> tuple[int, ...]:
        """Where a random patch lies."""
        patches, ids = self.patches, sample.labels[..., 0]
        shape, weights = patches.shape, patches.weights

        def draw() -> tuple[int, ...]:
            if weights is None:
                return random_start(sample.shape, shape, rng)
            return weighted_start(ids, self.rows[number], weights, shape, rng)

        if patches.least_foreground <= 0:
            return draw()
        return start_with_foreground(ids, draw, shape, patches.least_foreground, rng)

    def _tensors(
        self, image: npt.NDArray[np.float32], labels: npt.NDArray[Any], targets: Maps
    ) -> dict[str, Tensor]:
        channel_first = np.ascontiguousarray(np.moveaxis(image, -1, 0), dtype=np.float32)
        stacked = np.stack([targets[n] for n in self.encoding.channels]).astype(
            np.float32, copy=False
        )
        item = {
            "image": torch.from_numpy(channel_first),
            "target": torch.from_numpy(stacked),
            "foreground": torch.from_numpy(labels[None, ..., 0] > 0),
        }
        if labels.shape[-1] > 1:
            item["classes"] = torch.from_numpy(labels[..., 1].astype(np.int64))
        return item


class EpochSampler(Sampler[tuple[int, int]]):
    """Indices with their epoch, in an order that follows from (seed, epoch) alone.

    A resumed run therefore goes on exactly as an uninterrupted one. With several processes each
    takes every `world`-th index; the list is filled up from its front so that all have the same
    number of steps. With `vary` False every epoch draws what epoch 0 draws (validation), and what
    fills up has the index -1 - i instead of i: it is not to be counted twice.
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
        if not self.vary:
            order[self.size :] = -1 - order[self.size :]
        return ((epoch, int(i)) for i in order[self.rank :: self.world])
