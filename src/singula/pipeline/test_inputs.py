"""Test images with their labels, encoded channels and masks."""

from __future__ import annotations

import logging
from pathlib import Path

from singula.config import Config
from singula.data.channel_store import ChannelStore
from singula.errors import UserError
from singula.io.pairing import Pair
from singula.io.read import read_image
from singula.pipeline import from_config
from singula.pipeline.label_issues import LabelIssues
from singula.pipeline.load_data import channel_store, find_test_pairs, read_pair
from singula.pipeline.memory import warn_if_too_large
from singula.pipeline.postprocess import masks_by_name, post_settings
from singula.pipeline.progress import file_stamp
from singula.pipeline.readers import mask_place, reader_for
from singula.pipeline.slice_stack import Loaded, check_slices
from singula.pipeline.whole_image import Original, Truth
from singula.representations.channels import encode_with
from singula.util.locations import location
from singula.util.messages import captured_messages

_log = logging.getLogger(__name__)


class TestInputs:
    """Find and read the test images.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    writes : bool
        Store the encoded ground truth; a process that does not write encodes it again.
    channels : Path, optional
        Folder of the run for channels that cannot be written next to the images.
    """

    __test__ = False  # not a test case of pytest

    def __init__(self, config: Config, *, writes: bool, channels: Path | None = None) -> None:
        self.config = config
        self.writes = writes
        self.channels = channels
        self.reader = reader_for(config, "TEST")
        self.masks: dict[str, Path] = {}
        self.label_issues = LabelIssues()
        self._store: ChannelStore | None = None
        keys = config.DATA.TEST
        self.has_truth = (keys.LOAD_GT or keys.USE_VAL_AS_TEST) and config.TEST.EVALUATE

    def find(self) -> tuple[list[Pair], dict[str, str]]:
        """Return the valid images, and the error message of each other image by its name.

        Only names and headers are read.

        Raises
        ------
        UserError
            The files of the folders cannot be paired, masks are missing, or slices differ in size.
        """
        pairs, failed = find_test_pairs(self.config, labels=self.has_truth)
        self.masks = masks_by_name(post_settings(self.config), [p.name for p in pairs])
        if self.config.TEST.ANALIZE_2D_IMGS_AS_3D_STACK:
            check_slices(pairs, failed, self.reader)
        return pairs, failed

    def stamp(self, pair: Pair) -> str:
        """Return a stamp of the files of an image, which changes if a file changes."""
        return file_stamp(pair.image, pair.label, pair.mask, self.masks.get(pair.name))

    def read(self, pair: Pair) -> Loaded:
        """Read the image, the ground truth and the mask of a pair."""
        config, name = self.config, pair.name
        truth = mask = None
        if self.has_truth:
            image, label = read_pair(self.reader, pair)
            ids = label[..., 0]
            if self.writes and config.DATA.TEST.CHECK_DATA:
                self.label_issues.add(name, ids)
            settings = from_config.encode_settings(config, "TEST")
            if self.writes and not settings.from_labels:
                store = self._channels()
                others = self.reader.label_sources(pair)
                store.ensure(name, pair.image, lambda: ids, location(str(pair.label)), *others)
                channels = store.load(name, ids)
            else:
                scored = settings.scored()
                channels = {} if scored is None else encode_with(scored, ids)
            classes = label[..., 1] if label.shape[-1] > 1 else None
            truth = Truth(ids, classes, channels)
        else:
            image = self.reader.image(pair.image, pair.arrays)
        if name in self.masks:
            path = self.masks[name]
            place = mask_place(config, path, pair.image)
            stored = read_image(path, config.ndim, 1, arrays=place).array
            mask = self.reader.resized(stored, pair)[..., 0] > 0
            check_mask(path, mask.shape, pair, image.spatial_shape)
        return image, truth, mask

    def original(self, pair: Pair) -> Original | None:
        """Return the image and the ground truth at their stored size, if images are resampled."""
        if self.reader.common is None:
            return None
        reader, labels = self.reader.as_stored, None
        if self.has_truth:
            labels = reader.labels(pair)
        return Original(reader.image(pair.image, pair.arrays), labels)

    def _channels(self) -> ChannelStore:
        """Return the store of the channels of the test images, next to their labels."""
        if self._store is None:
            folders = "TEST"
            if self.config.DATA.TEST.USE_VAL_AS_TEST:
                folders = "TRAIN" if self.config.DATA.VAL.FROM_TRAIN else "VAL"
            variant = self.reader.label_variant
            if variant and self.reader.common is None:
                _log.info(f"DATA.PREPROCESS: results of the test images are those after {variant}")
            self._store = channel_store(
                self.config,
                folders,
                self.channels,
                variant=variant,
                settings="TEST",
            )
        return self._store

    def close(self) -> None:
        """Save the records of stored channels, and report suspicious labels."""
        if self._store is not None:
            self._store.save()
        self.label_issues.report("test")


def check_test(config: Config) -> None:
    """Validate the test images before the training, from names and headers.

    Log a warning if an image is too large for memory.

    Parameters
    ----------
    config : Config
        Configuration of the run.

    Raises
    ------
    UserError
        As for `TestInputs.find`.
    """
    with captured_messages():  # the test logs them
        pairs, _ = TestInputs(config, writes=False).find()
    for line in warn_if_too_large(config, pairs):
        _log.warning(line)


def check_mask(path: Path, mask_shape: tuple[int, ...], pair: Pair, shape: tuple[int, ...]) -> None:
    """Refuse a mask whose shape differs from its image.

    Parameters
    ----------
    path : Path
        File of the mask.
    mask_shape, shape : tuple of int
        Spatial shapes of the mask and of the image.
    pair : Pair
        Files of the image.

    Raises
    ------
    UserError
        ``masks.shape``: the shapes differ.
    """
    if mask_shape != shape:
        raise UserError(
            f"{path}: got a mask of shape {mask_shape}, expected {shape}, as {pair.image}",
            "provide masks with the shape of their images in DATA.TEST.BINARY_MASKS",
            "masks.shape",
        )
