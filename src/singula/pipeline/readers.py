"""Reading of images and labels with the configured channels and preprocessing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.config import Config
from singula.data.preprocess import (
    PreprocessSettings,
    Reference,
    Resize,
    preprocess,
    resample,
    resize_labels,
)
from singula.errors import UserError
from singula.io.formats.containers import array_places
from singula.io.geometry import geometry, lacks_z_spacing
from singula.io.image import ArrayPlace, ArrayPlaces, Image, resized_spacing
from singula.io.lazy import LazyImage, open_image, open_labels
from singula.io.list_images import list_images
from singula.io.pairing import Pair, oriented
from singula.io.read import (
    image_layout,
    read_header,
    read_image,
    read_labels,
)
from singula.io.units import in_microns, infer_unit, replaced_size
from singula.pipeline.common_spacing import CommonSpacing

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
    common : CommonSpacing, optional
        Voxel size to which images are resampled before the other steps. `spacing` is then the voxel
        size of the stored images.
    """

    ndim: int
    channels: int
    gray: bool = False
    n_classes: int = 0
    steps: PreprocessSettings | None = None
    spacing: tuple[float, ...] | None = None
    unit: str | None = None
    common: CommonSpacing | None = None

    @property
    def as_stored(self) -> Reader:
        """Reader of the images and labels without resampling or preprocessing."""
        return replace(self, steps=None, common=None)

    def shape(self, path: Path, arrays: ArrayPlace | None = None) -> tuple[int, ...]:
        """Return the spatial shape of an image after preprocessing, from its header."""
        if self.steps is not None and self.steps.resize is not None:
            return self.steps.resize.shape
        header = read_header(path, arrays)
        shape = image_layout(
            path, header, self.ndim, self.channels, allow_gray=self.gray
        ).spatial_shape
        if self.common is None:
            return shape
        return self.common.shape(path, shape, *self.stored_voxel_size(path, arrays))

    def image(self, path: Path, arrays: ArrayPlace | None = None) -> Image:
        """Read and preprocess an image."""
        image = read_image(path, self.ndim, self.channels, allow_gray=self.gray, arrays=arrays)
        if self.common is not None:
            if self.spacing is not None:
                image = image.with_spacing(self.spacing, self.unit)
            old, new = image.spatial_shape, self.shape(path, arrays)
            sizes = resized_spacing(image.spacing, old, new) if image.spacing else None
            image = replace(image, array=resample(image.array, new), spacing=sizes)
        if self.steps is not None:
            changed = preprocess(image.array, self.steps)
            sizes = image.spacing
            if sizes is not None:
                sizes = resized_spacing(sizes, image.spatial_shape, changed.shape[:-1])
            image = replace(image, array=changed, spacing=sizes)
        if self.spacing is None or self.common is not None:
            return image
        return image.with_spacing(self.spacing, self.unit)

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
        sizes, unit = self.stored_voxel_size(path, arrays)
        if self.common is not None:
            return self.common.size, in_microns(sizes, unit)[1]
        return sizes, unit

    def stored_voxel_size(
        self, path: Path, arrays: ArrayPlace | None = None
    ) -> tuple[tuple[float, ...] | None, str | None]:
        """Return the voxel size of an image before resampling, and its unit, from its header."""
        sizes, unit = self._file_voxel_size(path, arrays)
        if self.spacing is None:
            # An assumed distance between slices must not decide how a volume is resampled.
            lacks_z = lacks_z_spacing(read_header(path, arrays), self.ndim)
            return (None, None) if self.common is not None and lacks_z else (sizes, unit)
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

    def labels(self, pair: Pair) -> npt.NDArray[Any]:
        """Read the labels of a pair, channels last, with the size of the preprocessed image.

        Raises
        ------
        UserError
            ``data.no_labels``: the pair has no label image.
        """
        if pair.label is None:
            raise UserError(
                f"{pair.image}: has no label image",
                "add a label of the same name",
                "data.no_labels",
            )
        classes = self.n_classes or None
        labels = read_labels(
            pair.label,
            self.ndim,
            classes is not None,
            n_classes=classes,
            arrays=pair.label_arrays,
        )
        return self.resized(labels.array, pair)

    def resized(self, labels: npt.NDArray[Any], pair: Pair) -> npt.NDArray[Any]:
        """Resize labels or a mask, with channels last, to the size of the preprocessed image."""
        if not self.label_variant:
            return labels
        return resize_labels(labels, self.shape(pair.image, pair.arrays))

    @property
    def label_variant(self) -> str:
        """Description of the preprocessing of labels; empty if there is none."""
        if self.common is not None:
            return f"spacing {self.common.size} of {self.spacing or 'the file'}"
        return self.steps.label_variant if self.steps is not None else ""

    def label_sources(self, pair: Pair) -> tuple[Path | None, ...]:
        """Return the other files that determine the labels of a pair.

        The voxel size of the image determines the shape of resampled labels.
        """
        return (pair.mask, pair.image) if self.common is not None else (pair.mask,)


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

    It is the voxel size after resampling (DATA.PREPROCESS.SPACING).

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
    sizes = _resolution(config, part, ndim)
    return sizes and (config.DATA.PREPROCESS.SPACING or sizes)


def decoding_spacing(
    config: Config, sizes: tuple[float, ...] | None, ndim: int | None = None
) -> tuple[float, ...] | None:
    """Return the voxel size for decoding: that of the training, if the maps depend on it.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    sizes : tuple of float, optional
        Voxel size of the image.
    ndim : int, optional
        As for `spacing`.
    """
    # A network learns sizes in pixels: its maps do not follow the voxel size of another image.
    return spacing(config, "TRAIN", ndim) if config.decoder.uses_spacing(config.ndim) else sizes


def _resolution(config: Config, part: str, ndim: int | None) -> tuple[float, ...] | None:
    """Return the configured voxel size of the stored images; None if it is not configured."""
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
        spacing=_resolution(config, part, config.ndim),
        common=_common_spacing(config, part),
    )
    if not getattr(config.DATA.PREPROCESS, part):
        return plain
    return replace(plain, steps=preprocess_settings(config, reference))


def _common_spacing(config: Config, part: str) -> CommonSpacing | None:
    size = config.DATA.PREPROCESS.SPACING
    return CommonSpacing(size, f"DATA.{part}.RESOLUTION") if size else None


def pair_shapes(config: Config, part: str, pairs: Sequence[Pair]) -> list[tuple[int, ...]]:
    """Return the spatial shapes of the images of TRAIN, VAL or TEST after any resizing.

    Only headers are read.
    """
    steps = config.DATA.PREPROCESS
    if getattr(steps, part) and steps.RESIZE.ENABLE:
        return [tuple(steps.RESIZE.OUTPUT_SHAPE)] * len(pairs)
    reader = replace(reader_for(config, part, Reference((), ())), steps=None)
    return [reader.shape(pair.image, pair.arrays) for pair in pairs]


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
