"""Data set of training patches with reproducible random changes."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

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
from singula.data.epoch_sampler import EpochSampler
from singula.data.normalize import Normalizer, Scaling, extremes, warn_if_far_from_unit_range
from singula.data.patches import read_patch, training_starts
from singula.data.random_patches import (
    background_rows,
    foreground_rows,
    foreground_share,
    planar_slices,
    random_start,
    start_at_slice,
    start_with_foreground,
    starts_with_foreground,
    weighted_start,
)
from singula.data.samples import AnySample, Maps, Sample
from singula.data.vectors import mirror_maps, read_target
from singula.data.window import Sides, margin_of, sides_of, window_in_image
from singula.io.lazy_array import constant_image_notices
from singula.representations.channel_table import CHANNELS
from singula.representations.channels import (
    EncodeSettings,
    Extent,
    depends_on_ids,
    measure_extent,
    needs_extent,
)
from singula.representations.channels.encode import encode_part
from singula.representations.channels.sparse import has_target
from singula.util.sparse_labels import annotated_mask, is_sparse

__all__ = ["EpochSampler", "PatchDataset", "PatchSettings", "Sample"]

_IDENTITY = Geometry(np.eye(2), np.zeros(2))
_NO_CHANGES = AugmentSettings()


@dataclass(frozen=True)
class PatchSettings:
    """Settings of the patches of images.

    Parameters
    ----------
    shape : tuple of int
        Spatial shape of a patch.
    overlap : tuple of float
        Overlap of neighboring patches per axis, as a fraction.
    padding : tuple of int
        Pixels on each side of a patch that are also in its neighbors.
    random : bool
        Use one patch per image and epoch at a random position, instead of a grid.
    weights : (float, float), optional
        Weights of foreground and background for the center of a random patch; None: uniform.
    min_foreground : float
        Patches with a smaller fraction of foreground are skipped; 0: none.
    replicate : int
        Number of times that each patch is used in an epoch, with different random changes.
    """

    shape: tuple[int, ...]
    overlap: tuple[float, ...]
    padding: tuple[int, ...]
    random: bool = False
    weights: tuple[float, float] | None = None
    min_foreground: float = 0.0
    replicate: int = 1


@dataclass(frozen=True)
class _TransformedPatch:
    """Normalized patch after geometric changes, and these changes."""

    patch: Patch
    geometry: Geometry
    mirror: Mirror
    sides: Sides


class PatchDataset(Dataset[dict[str, Tensor]]):
    """Patches with encoded targets.

    The key of an item is ``(epoch, index)`` (see `EpochSampler`), or the index alone for epoch 0.
    All random numbers are seeded by ``(seed, epoch, index)``, so that all workers, processes and
    resumed runs draw the same patch.

    Parameters
    ----------
    samples : sequence of Sample or StoredSample
        Images with ground truth, which are opened one at a time.
    patches : PatchSettings
        Settings of the patches.
    normalizer : Normalizer
        Normalization, from the statistics of each whole image.
    encoding : EncodeSettings
        Settings of the targets, with the channels in the order of the network's output.
    augment : AugmentSettings, optional
        Settings of the augmentation; None: no augmentation.
    seed : int
        Seed of all random numbers.

    Attributes
    ----------
    places : list of (int, tuple of int)
        Sample and start of each patch; an empty start is random.
    left_out : int
        Number of patches with too little foreground, or without annotated pixels.
    sparse : list of bool
        True for each sample with pixels that are not annotated.
    slices : dict of int to ndarray of int
        Annotated slices of each sample of which single slices are annotated.
    notices : list of str
        Messages about images without contrast.

    Notes
    -----
    Targets equal a crop of the targets of the whole image, or of the whole transformed image:
    labels are encoded in a window around the patch, which is as wide as the channels need
    (`Extent`), but at most one patch length wide. Padding beyond the edge of a transformed image
    counts as image. The largest distance of the background, for `Dv2`, is that of the original
    image times the enlargement. Shear, elastic deformation and changes of labels can exceed it; the
    channel is then 0.

    An item contains ``image`` (C, ...) float32, ``target`` (channels, ...) float32, ``foreground``
    (1, ...) bool, and ``counts`` () bool, which is False for the repetition of a validation patch.
    If the labels have a second channel, it also contains ``classes`` (...) int64. If pixels of the
    samples are not annotated, it also contains ``known`` (channels, ...) bool, the pixels with a
    target; with classes, its last channel has the annotated pixels.
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
        self.new_ids = depends_on_ids(encoding)
        self.augment = augment
        self.seed = seed
        self.scalings: list[Scaling] = []
        self.rows: list[npt.NDArray[np.int64]] = []
        self.background: dict[int, npt.NDArray[np.int64]] = {}
        self.sparse: list[bool] = []
        self.slices: dict[int, npt.NDArray[np.int64]] = {}
        self.places: list[tuple[int, tuple[int, ...]]] = []
        self.left_out = 0
        self.extents: dict[int, Extent] = {}
        self.notices: list[str] = []
        bounds: list[float] = []  # of float images that are only divided
        # A sample stays open until the next one is opened, so each is read once.
        for number, sample in enumerate(self.samples):
            if number and normalizer.same_for_all:
                self.scalings.append(self.scalings[0])
            else:
                self.scalings.append(normalizer.scaling(sample.opened().image))
            image, scale = sample.opened().image, self.scalings[-1].scale
            self.notices += constant_image_notices(sample.name, image)
            if normalizer.kind == "div" and image.dtype.kind == "f":
                bounds += [value / float(scale[0]) for value in extremes(image)]
            ids = sample.opened().labels[..., 0]
            self.sparse.append(ids.dtype.kind == "i" and is_sparse(ids))
            if self.sparse[-1] and len(slices := planar_slices(ids)):
                self.slices[number] = slices
            if patches.weights is not None:
                self.rows.append(foreground_rows(ids))
                if self.sparse[-1]:
                    self.background[number] = background_rows(ids)
            if (needs_extent(encoding) or self.sparse[-1]) and (
                augment or sample.opened().targets is None
            ):
                self._extent(number, sample.opened())
            starts = self._places(sample, sparse=self.sparse[-1])
            self.places.extend((number, start) for start in starts)
        if bounds:
            self.notices += warn_if_far_from_unit_range(min(bounds), max(bounds))

    def _places(self, sample: AnySample, *, sparse: bool) -> list[tuple[int, ...]]:
        """Return the starts of the patches with annotated pixels and enough foreground."""
        patches, minimum = self.patches, max(0.0, self.patches.min_foreground)
        starts: list[tuple[int, ...]] = [()]
        if not patches.random:
            starts = training_starts(sample.shape, patches.shape, patches.overlap, patches.padding)
        if minimum <= 0 and not sparse:
            return starts
        ids = sample.opened().labels[..., 0]
        if patches.random:
            enough = starts if len(starts_with_foreground(ids, patches.shape, minimum)) else []
        else:
            enough = [s for s in starts if foreground_share(ids, s, patches.shape) >= minimum]
        self.left_out += len(starts) - len(enough)
        return enough

    def with_samples(
        self, samples: Sequence[AnySample], augment: AugmentSettings | None
    ) -> PatchDataset:
        """Return the data set with other samples of equal shapes, and the same normalization."""
        other = copy(self)
        other.samples, other.augment = list(samples), augment
        return other

    def __len__(self) -> int:
        return len(self.places) * self.patches.replicate

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Tensor]:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        is_repeated = index < 0
        image, labels, targets = self.draw(epoch, -1 - index if is_repeated else index)
        item = self._tensors(image, labels, targets)
        item["counts"] = torch.tensor(not is_repeated)
        return item

    def draw(
        self, epoch: int, index: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any], Maps]:
        """Return the normalized image patch, the labels (channel-last) and the targets by name."""
        rng = np.random.default_rng([self.seed, epoch, index])
        settings, shape = self.augment, self.patches.shape
        number, sample, start = self._place(index, rng)
        if settings is None and not self.encoding.from_labels:
            image = self.scalings[number].apply(read_patch(sample.image, start, shape))
            labels = read_patch(sample.labels, start, shape)
            return image, labels, self._targets(number, sample, start)
        settings = settings or _NO_CHANGES
        moved = self._transform(number, sample, start, settings, rng)
        patch = apply_augmentations(
            moved.patch, settings, rng, lambda: self._other_patch(index, settings, rng)
        )
        if self.encoding.from_labels:
            targets = self._targets_of_labels(self._extent(number, sample), moved, patch.labels)
            return patch.image, patch.labels[patch.place], targets
        if moved.geometry.is_identity and patch.labels is moved.patch.labels:
            targets = self._targets(number, sample, start)
        else:
            targets = self._transformed_targets(self._extent(number, sample), moved, patch.labels)
        return patch.image, patch.labels[patch.place], mirror_maps(moved.mirror, targets)

    def _place(self, index: int, rng: np.random.Generator) -> tuple[int, Sample, tuple[int, ...]]:
        """Return the number of the sample, the sample, and the start of the patch.

        If single slices of a volume are annotated, one of these is at a random depth of the patch:
        a network that sees annotated slices at the same depth of all patches, such as those of
        whole volumes, learns to predict only at this depth.
        """
        number, start = self.places[index % len(self.places)]
        sample = self.samples[number].opened()
        start = start or self._draw_start(number, sample, rng)
        if number in self.slices:
            depth = self.patches.shape[0]
            start = start_at_slice(start, self.slices[number], sample.shape[0], depth, rng)
        return number, sample, start

    def _extent(self, number: int, sample: Sample) -> Extent:
        """Return the region on which the targets of a sample depend; it is measured once."""
        if number not in self.extents:
            self.extents[number] = measure_extent(sample.labels[..., 0], self.encoding)
        return self.extents[number]

    def _targets(self, number: int, sample: Sample, start: tuple[int, ...]) -> Maps:
        """Return the targets of the whole image at a patch."""
        shape, maps, begin = self.patches.shape, sample.targets, start
        if maps is None:
            extent = self._extent(number, sample)
            margin = margin_of(extent, _IDENTITY, shape)
            window = window_in_image(sample.shape, start, shape, margin)
            labels = sample.labels[..., 0][window]
            begin = tuple(s - w.start for s, w in zip(start, window, strict=True))
            cut = tuple(slice(b, b + n) for b, n in zip(begin, shape, strict=True))
            # A patch that is mirrored at the edge needs pixels outside of its box.
            box = (
                cut
                if all(s.start >= 0 and s.stop <= n for s, n in zip(cut, labels.shape, strict=True))
                else None
            )
            maps = encode_part(self.encoding, labels, extent.furthest, extent.planar, box)
        return {
            name: read_target(name, maps[name], begin, shape) for name in self.encoding.channels
        }

    def _transformed_targets(
        self, extent: Extent, moved: _TransformedPatch, labels: npt.NDArray[Any]
    ) -> Maps:
        """Return the targets of a patch from its window of transformed labels, before mirroring.

        Labels are encoded in the orientation of the image, as the voxel size can differ by axis.
        """
        furthest = extent.enlarged(moved.geometry.enlargement)
        ids = moved.mirror.undo(labels[..., 0])
        shape = self.patches.shape
        cut = tuple(slice(b, b + n) for (b, _), n in zip(moved.sides, shape, strict=True))
        maps = encode_part(self.encoding, ids, furthest, extent.planar, cut)
        return {name: target[cut] for name, target in maps.items()}

    def _targets_of_labels(
        self, extent: Extent, moved: _TransformedPatch, labels: npt.NDArray[Any]
    ) -> Maps:
        """Return the targets of a patch from its window of labels after all changes."""
        encoding = self.encoding.turned(moved.mirror.turns)
        furthest = extent.enlarged(moved.geometry.enlargement)
        sides = moved.mirror.margins(moved.sides)
        cut = tuple(slice(b, b + n) for (b, _), n in zip(sides, self.patches.shape, strict=True))
        maps = encode_part(encoding, labels[..., 0], furthest, extent.planar, cut)
        return {name: target[cut] for name, target in maps.items()}

    def _transform(
        self,
        number: int,
        sample: Sample,
        start: tuple[int, ...],
        settings: AugmentSettings,
        rng: np.random.Generator,
    ) -> _TransformedPatch:
        """Return a normalized patch after geometric changes, with the window of its labels."""
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
            new_ids=self.new_ids and (self.encoding.from_labels or not geometry.is_identity),
        )
        mirror = draw_mirror(shape, settings, rng)
        before = tuple(b for b, _ in mirror.margins(sides))
        image = self.scalings[number].apply(mirror.apply(raw))
        return _TransformedPatch(
            Patch(image, mirror.apply(labels), before), geometry, mirror, sides
        )

    def _other_patch(
        self, index: int, settings: AugmentSettings, rng: np.random.Generator
    ) -> Patch:
        """Return another random patch; the same patch if there is only one."""
        other = (index + int(rng.integers(1, max(2, len(self))))) % len(self)
        return self._transform(*self._place(other, rng), settings, rng).patch

    def _draw_start(self, number: int, sample: Sample, rng: np.random.Generator) -> tuple[int, ...]:
        """Draw the start of a random patch."""
        patches, ids = self.patches, sample.labels[..., 0]
        shape, weights = patches.shape, patches.weights

        def draw() -> tuple[int, ...]:
            if weights is None:
                return random_start(sample.shape, shape, rng)
            rows, background = self.rows[number], self.background.get(number)
            return weighted_start(ids, rows, weights, shape, rng, background)

        if patches.min_foreground <= 0 and not self.sparse[number]:
            return draw()
        return start_with_foreground(ids, draw, shape, max(0.0, patches.min_foreground), rng)

    def _tensors(
        self, image: npt.NDArray[np.float32], labels: npt.NDArray[Any], targets: Maps
    ) -> dict[str, Tensor]:
        channel_first = np.ascontiguousarray(np.moveaxis(image, -1, 0), dtype=np.float32)
        codes = self.encoding.channels
        planes = [np.asarray(targets[code]) for code in codes]
        stacked = np.stack(planes).astype(np.float32, copy=False)
        item = {
            "image": torch.from_numpy(channel_first),
            "target": torch.from_numpy(stacked),
            "foreground": torch.from_numpy(labels[None, ..., 0] > 0),
        }
        if any(CHANNELS[code].kind == "embedding" for code in codes):
            item["instances"] = torch.from_numpy(labels[..., 0].astype(np.int64))
        if labels.shape[-1] > 1:
            item["classes"] = torch.from_numpy(labels[..., 1].astype(np.int64))
        if any(self.sparse) or self.encoding.has_gaps:
            has_targets = np.stack(
                [has_target(c, plane) for c, plane in zip(codes, planes, strict=True)]
            )
            item["target"] = torch.from_numpy(np.where(has_targets, stacked, np.float32(0)))
            if "classes" in item:
                has_targets = np.concatenate([has_targets, annotated_mask(labels[None, ..., 0])])
            item["known"] = torch.from_numpy(has_targets)
        return item
