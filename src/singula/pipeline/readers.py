"""Reading of images and labels with the configured channels and preprocessing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.config import Config
from singula.data.channel_store import read_channels
from singula.data.owned_folder import stamp_of
from singula.data.preprocess import (
    PreprocessSettings,
    Reference,
    Resize,
    preprocess,
    resize_labels,
)
from singula.data.samples import CACHE_BYTES, Maps, Sample
from singula.errors import UserError
from singula.io.formats.containers import array_places
from singula.io.geometry import geometry
from singula.io.image import ArrayPlace, ArrayPlaces, Image, resized_spacing
from singula.io.label_values import check_finite
from singula.io.lazy import LazyImage, open_image, open_labels
from singula.io.lazy_array import LazyArray, Pixels, iter_blocks
from singula.io.list_images import list_images
from singula.io.pairing import Pair, oriented
from singula.io.read import (
    image_layout,
    map_image,
    map_labels,
    read_header,
    read_image,
    read_labels,
)
from singula.io.units import infer_unit, replaced_size

_WHOLE = CACHE_BYTES // 4  # maximum bytes of an image that is read at once and cached
_REFERENCE = "DATA.PREPROCESS.MATCH_HISTOGRAM.REFERENCE_PATH"


@dataclass(frozen=True)
class Reader:
    """Read and preprocess images and labels of TRAIN, VAL or TEST.

    Parameters
    ----------
    ndim, channels : int
        Number of spatial axes and of channels of an image.
    gray : bool
        Convert gray images to images with `channels` equal channels.
    n_classes : int
        Number of classes in the second channel of labels; 0 if labels have one channel.
    steps : PreprocessSettings, optional
        Preprocessing. None: no preprocessing.
    spacing : tuple of float, optional
        Configured voxel size after preprocessing. Default: the size in each file.
    unit : str, optional
        Unit of `spacing`.
    """

    ndim: int
    channels: int
    gray: bool = False
    n_classes: int = 0
    steps: PreprocessSettings | None = None
    spacing: tuple[float, ...] | None = None
    unit: str | None = None

    def shape(self, path: Path, arrays: ArrayPlace | None = None) -> tuple[int, ...]:
        """Return the spatial shape of an image after preprocessing, from its header."""
        if self.steps is not None and self.steps.resize is not None:
            return self.steps.resize.shape
        header = read_header(path, arrays)
        return image_layout(
            path, header, self.ndim, self.channels, allow_gray=self.gray
        ).spatial_shape

    def image(self, path: Path, arrays: ArrayPlace | None = None) -> Image:
        """Read and preprocess an image."""
        image = read_image(path, self.ndim, self.channels, allow_gray=self.gray, arrays=arrays)
        if self.steps is not None:
            changed = preprocess(image.array, self.steps)
            sizes = image.spacing
            if sizes is not None:
                sizes = resized_spacing(sizes, image.spatial_shape, changed.shape[:-1])
            image = replace(image, array=changed, spacing=sizes)
        return image if self.spacing is None else image.with_spacing(self.spacing, self.unit)

    def replaced_size(
        self, path: Path, source: str, arrays: ArrayPlace | None = None
    ) -> str | None:
        """Return a message if the configured voxel size differs from the size in an image file.

        Parameters
        ----------
        path : Path
            File of the image.
        source : str
            Key of the configured voxel size.
        arrays : ArrayPlace, optional
            Place of the image in a container.
        """
        if self.spacing is None:
            return None
        return replaced_size(source, self.spacing, *self._file_voxel_size(path, arrays))

    def voxel_size(
        self, path: Path, arrays: ArrayPlace | None = None
    ) -> tuple[tuple[float, ...] | None, str | None]:
        """Return the voxel size of an image after preprocessing, and its unit, from its header."""
        sizes, unit = self._file_voxel_size(path, arrays)
        if self.spacing is None:
            return sizes, unit
        return self.spacing, self.unit or infer_unit(self.spacing, sizes, unit)

    def _file_voxel_size(
        self, path: Path, arrays: ArrayPlace | None
    ) -> tuple[tuple[float, ...] | None, str | None]:
        header = read_header(path, arrays)
        sizes, unit = geometry(header, self.ndim)
        if sizes is not None and self.steps is not None and self.steps.resize is not None:
            stored = image_layout(path, header, self.ndim, None).spatial_shape
            sizes = resized_spacing(sizes, stored, self.steps.resize.shape)
        return sizes, unit

    def open_image(self, path: Path, arrays: ArrayPlace | None = None) -> LazyImage:
        """Open an image to read boxes, without preprocessing."""
        image = open_image(path, self.ndim, self.channels, allow_gray=self.gray, arrays=arrays)
        return image if self.spacing is None else image.with_spacing(self.spacing, self.unit)

    def open_labels(self, path: Path, arrays: ArrayPlace | None = None) -> LazyImage:
        """Open labels to read boxes."""
        return open_labels(path, self.ndim, self.n_classes > 0, arrays=arrays)

    def labels(self, path: Path, arrays: ArrayPlace | None = None) -> npt.NDArray[Any]:
        """Read labels, channels last, with the size of the preprocessed image."""
        classes = self.n_classes or None
        labels = read_labels(path, self.ndim, classes is not None, n_classes=classes, arrays=arrays)
        return self.resized(labels.array)

    def resized(self, labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Resize labels or a mask, with channels last, to the size of the preprocessed image."""
        if self.steps is None or self.steps.resize is None:
            return labels
        return resize_labels(labels, self.steps.resize.shape)

    @property
    def label_variant(self) -> str:
        """Description of the preprocessing of labels; empty if there is none."""
        return self.steps.label_variant if self.steps is not None else ""


@dataclass(frozen=True)
class StoredPair:
    """Source of a sample that reads its files in each call, memory-mapped if possible.

    Parameters
    ----------
    reader : Reader
        Reader of the files.
    pair : Pair
        Files of the image and of the labels, whose values were already validated.
    channels : Path
        File of the encoded channels.
    codes : tuple of str
        Names of the encoded channels.
    stamp : list of int, optional
        Size and time of the file of the channels. If another process has replaced the file, the
        sample has no targets, and the labels are encoded when a patch is cropped.
    """

    reader: Reader
    pair: Pair
    channels: Path
    codes: tuple[str, ...]
    stamp: list[int] | None = None

    def __call__(self, with_targets: bool) -> Sample:
        """Return the sample, with or without its targets."""
        targets = self._targets() if with_targets else None
        return Sample(self.pair.name, self._image(), self._labels(), targets)

    def _targets(self) -> Maps | None:
        ndim, codes = self.reader.ndim, self.codes
        if stamp_of(self.channels) != self.stamp:
            return None
        lazy = open_image(self.channels, ndim, len(codes))
        if not _is_large(lazy):
            maps = read_channels(self.channels, ndim, codes)
            return maps if stamp_of(self.channels) == self.stamp else None
        whole = LazyArray.of(lazy)
        return {code: whole[..., index] for index, code in enumerate(codes)}

    def check_values(self) -> None:
        """Read the image once and refuse values that are not finite.

        Raises
        ------
        UserError
            The image contains NaN or infinite values.
        """
        image = self._image()
        for _, part in iter_blocks(image):
            check_finite(self.pair.image, part, whole=False)

    def _image(self) -> Pixels:
        reader, path = self.reader, self.pair.image
        arrays = self.pair.arrays
        if reader.steps is None:
            mapped = map_image(
                path, reader.ndim, reader.channels, allow_gray=reader.gray, arrays=arrays
            )
            if mapped is not None:
                return mapped
            lazy = open_image(
                path, reader.ndim, reader.channels, allow_gray=reader.gray, arrays=arrays
            )
            if _is_large(lazy):
                return LazyArray.of(lazy)
        return reader.image(path, arrays).array

    def _labels(self) -> Pixels:
        reader, path, arrays = self.reader, self.pair.label, self.pair.label_arrays
        if path is None:
            raise UserError(
                f"{self.pair.image}: has no label image",
                "add a label of the same name",
                "data.no_labels",
            )
        if not reader.label_variant:
            mapped = map_labels(path, reader.ndim, reader.n_classes > 0, arrays=arrays)
            if mapped is not None:
                return mapped
            lazy = open_labels(path, reader.ndim, reader.n_classes > 0, arrays=arrays)
            if _is_large(lazy):
                return LazyArray.of(lazy)
        return reader.labels(path, arrays)


def _is_large(image: LazyImage) -> bool:
    """Return True if patches are read separately instead of cropped from the whole image."""
    return prod(image.shape) * image.dtype.itemsize > _WHOLE


def places_for(config: Config, part: str) -> ArrayPlaces:
    """Return the places of images and labels in the containers of TRAIN, VAL or TEST."""
    keys = config.TEST.BY_CHUNKS if part == "TEST" else getattr(config.DATA, part)
    return array_places(
        keys.INPUT_ZARR_MULTIPLE_DATA_RAW_PATH,
        keys.INPUT_ZARR_MULTIPLE_DATA_GT_PATH,
        keys.INPUT_IMG_AXES_ORDER,
        keys.INPUT_MASK_AXES_ORDER,
        together=keys.INPUT_ZARR_MULTIPLE_DATA,
        external_files=config.DATA.EXTERNAL_FILES,
        channel=config.DATA.CHANNEL,
    )


def mask_place(config: Config, mask: Path, image: Path) -> ArrayPlace:
    """Return the place of a mask of DATA.TEST.BINARY_MASKS, in the orientation of its image."""
    place = ArrayPlace(external_files=config.DATA.EXTERNAL_FILES)
    return oriented(place, mask, image) or place


def spacing(config: Config, part: str, ndim: int | None = None) -> tuple[float, ...] | None:
    """Return the configured voxel size of TRAIN, VAL or TEST; None if it is not configured.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    part : str
        ``TRAIN``, ``VAL`` or ``TEST``.
    ndim : int, optional
        Return None for a size with another number of axes, because the distance between stacked
        images is not known.
    """
    sizes: tuple[float, ...] | None = getattr(config.DATA, part).spacing
    return None if sizes is not None and ndim not in (None, len(sizes)) else sizes


def n_classes(config: Config) -> int:
    """Return the number of classes, with background; 0 if the network predicts no classes."""
    count = int(config.MODEL.N_CLASSES)
    return count if count > 2 else 0


def reader_for(config: Config, part: str, reference: Reference | None = None) -> Reader:
    """Return the reader of the images and labels of TRAIN, VAL or TEST.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    part : str
        ``TRAIN``, ``VAL`` or ``TEST``.
    reference : Reference, optional
        Distribution of values for MATCH_HISTOGRAM. Default: read the reference images.
    """
    plain = Reader(
        config.ndim,
        config.in_channels,
        config.DATA.FORCE_RGB,
        n_classes(config),
        spacing=spacing(config, part, config.ndim),
    )
    if not getattr(config.DATA.PREPROCESS, part):
        return plain
    return replace(plain, steps=preprocess_settings(config, reference))


def pair_shapes(config: Config, part: str, pairs: Sequence[Pair]) -> list[tuple[int, ...]]:
    """Return the spatial shapes of the images of TRAIN, VAL or TEST after any resizing.

    Only headers are read.
    """
    steps = config.DATA.PREPROCESS
    if getattr(steps, part) and steps.RESIZE.ENABLE:
        return [tuple(steps.RESIZE.OUTPUT_SHAPE)] * len(pairs)
    plain = Reader(config.ndim, config.in_channels, config.DATA.FORCE_RGB)
    return [plain.shape(pair.image, pair.arrays) for pair in pairs]


def preprocess_settings(config: Config, reference: Reference | None = None) -> PreprocessSettings:
    """Return the configured preprocessing; `reference` as for `reader_for`."""
    keys = config.DATA.PREPROCESS
    resize, clahe, canny = keys.RESIZE, keys.CLAHE, keys.CANNY
    if keys.MATCH_HISTOGRAM.ENABLE and reference is None:
        reference = read_reference(config)
    return PreprocessSettings(
        resize=Resize(
            resize.OUTPUT_SHAPE,
            resize.ORDER,
            resize.MODE,
            resize.CVAL,
            resize.CLIP,
            resize.PRESERVE_RANGE,
            resize.ANTI_ALIASING,
        )
        if resize.ENABLE
        else None,
        sigma=keys.GAUSSIAN_BLUR.SIGMA if keys.GAUSSIAN_BLUR.ENABLE else None,
        sigma_mode=keys.GAUSSIAN_BLUR.MODE,
        median=keys.MEDIAN_BLUR.KERNEL_SIZE if keys.MEDIAN_BLUR.ENABLE else None,
        reference=reference if keys.MATCH_HISTOGRAM.ENABLE else None,
        clahe=(clahe.KERNEL_SIZE, clahe.CLIP_LIMIT) if clahe.ENABLE else None,
        canny=(canny.LOW_THRESHOLD, canny.HIGH_THRESHOLD) if canny.ENABLE else None,
    )


def read_reference(config: Config) -> Reference | None:
    """Return the distribution of all reference images; None if histograms are not matched.

    Raises
    ------
    UserError
        The folder is missing or empty, or an image has another number of channels.
    """
    keys = config.DATA.PREPROCESS
    if not keys.MATCH_HISTOGRAM.ENABLE or not (keys.TRAIN or keys.VAL or keys.TEST):
        return None
    files: Sequence[Path] = list_images(keys.MATCH_HISTOGRAM.REFERENCE_PATH, _REFERENCE)
    plain = Reader(config.ndim, config.in_channels, config.DATA.FORCE_RGB)
    return Reference.of(np.ascontiguousarray(plain.image(path).array) for path in files)
