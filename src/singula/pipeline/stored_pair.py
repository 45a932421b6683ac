"""Source of a sample that reads its files when it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

from singula.data.channel_store import read_channels
from singula.data.owned_folder import stamp_of
from singula.data.samples import CACHE_BYTES, Maps, Sample
from singula.io.label_values import check_finite
from singula.io.lazy import LazyImage, open_image, open_labels
from singula.io.lazy_array import LazyArray, Pixels, iter_blocks
from singula.io.pairing import Pair
from singula.io.read import map_image, map_labels
from singula.pipeline.readers import Reader

_WHOLE = CACHE_BYTES // 4  # maximum bytes of an image that is read at once and cached


@dataclass(frozen=True)
class StoredPair:
    """Source of a sample that reads its files in each call, memory-mapped if possible.

    Parameters
    ----------
    reader : Reader
        Reader of the files.
    pair : Pair
        Files of the image and of the labels, whose values were already validated.
    channels : Path, optional
        File of the encoded channels, if they are stored.
    codes : tuple of str
        Names of the encoded channels.
    stamp : list of int, optional
        Size and time of the file of the channels. If another process has replaced the file, the
        sample has no targets, and the labels are encoded when a patch is cropped.
    """

    reader: Reader
    pair: Pair
    channels: Path | None
    codes: tuple[str, ...]
    stamp: list[int] | None = None

    def __call__(self, with_targets: bool) -> Sample:
        """Return the sample, with or without its targets."""
        targets = self._targets() if with_targets else None
        return Sample(self.pair.name, self._image(), self._labels(), targets)

    def _targets(self) -> Maps | None:
        ndim, codes = self.reader.ndim, self.codes
        if self.channels is None or stamp_of(self.channels) != self.stamp:
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
        if reader.steps is None and reader.common is None:
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
        if path is not None and not reader.label_variant:
            mapped = map_labels(path, reader.ndim, reader.n_classes > 0, arrays=arrays)
            if mapped is not None:
                return mapped
            lazy = open_labels(path, reader.ndim, reader.n_classes > 0, arrays=arrays)
            if _is_large(lazy):
                return LazyArray.of(lazy)
        return reader.labels(self.pair)


def _is_large(image: LazyImage) -> bool:
    """Return True if patches are read separately instead of cropped from the whole image."""
    return prod(image.shape) * image.dtype.itemsize > _WHOLE
