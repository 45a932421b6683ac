"""From folders to samples: pair, check, read, encode, split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from singula.channels.store import ChannelStore
from singula.config import Config
from singula.data.patches import check_patch_fits
from singula.data.preprocess import Reference
from singula.data.samples import AnySample, Sample, SampleCache, StoredSample
from singula.errors import UserError
from singula.io.label_check import ids_in_pieces
from singula.io.pairs import Pair, check_pairs, pair_files
from singula.io.read import read_header
from singula.stages.reading import (
    Reader,
    StoredPair,
    n_classes,
    pair_shapes,
    places_for,
    reader_for,
    spacing,
)
from singula.stages.settings import channel_names, encode_settings
from singula.stages.split import hold_out, share_of, split_pairs
from singula.survey.plausible import suspicion
from singula.words import counted

if TYPE_CHECKING:
    from singula.io.image import Image

Notify = Callable[[str], None]
AXES = {2: "y, x", 3: "z, y, x"}


def find_pairs(config: Config, part: str, notify: Notify, *, labels: bool = True) -> list[Pair]:
    """The images of TRAIN, VAL or TEST with their label images, checked by their headers.

    Raises
    ------
    UserError
        Naming every folder or file that is missing, left over, unreadable or of another shape.
    """
    pairs = _list_pairs(config, part, notify, labels=labels)
    _check_files(config, part, pairs, notify)
    _check_patches(config, part, pairs)
    line = replaced_sizes(config, part, pairs)
    if line is not None:
        notify(line)
    return pairs


def replaced_sizes(config: Config, part: str, pairs: Sequence[Pair]) -> str | None:
    """Return a message if the configured voxel size differs from that of some of the images."""
    # Only headers are read, so the histogram for matching is not needed.
    reader, key = reader_for(config, part, Reference((), ())), f"DATA.{part}.RESOLUTION"
    messages = []
    for pair in pairs:
        with suppress(UserError):  # files that cannot be read are reported elsewhere
            messages.append(reader.replaced_size(pair.image, key, pair.arrays))
    messages = [message for message in messages if message is not None]
    return f"{messages[0]} ({counted(len(messages), 'file')})" if messages else None


def _list_pairs(config: Config, part: str, notify: Notify | None, *, labels: bool) -> list[Pair]:
    """The files of a part, by their names alone."""
    keys, places = getattr(config.DATA, part), places_for(config, part)
    image_key, label_key = f"DATA.{part}.PATH", f"DATA.{part}.GT_PATH"
    label_dir = Path(keys.GT_PATH) if labels else None
    places = replace(places, together=places.together and labels)
    return pair_files(
        Path(keys.PATH),
        label_dir,
        image_key,
        label_key,
        notify,
        places,
        by_order=config.DATA.PAIR_BY_SORTED_ORDER,
    )


def _check_files(
    config: Config, part: str, pairs: Sequence[Pair], notify: Notify | None = None
) -> None:
    check_pairs(
        pairs,
        config.ndim,
        config.in_channels,
        n_classes(config) or None,
        notify,
        grey=config.DATA.FORCE_RGB,
        sized=spacing(config, part, config.ndim) is not None,
    )


def validation_pairs(config: Config, notify: Notify) -> tuple[list[Pair], str]:
    """The images that validate, and the part, TRAIN or VAL, whose folders they are in.

    Raises
    ------
    UserError
        When only parts of images validate.
    """
    if not config.DATA.VAL.FROM_TRAIN:
        return find_pairs(config, "VAL", notify), "VAL"
    parts = split_pairs(config, find_pairs(config, "TRAIN", notify))
    if parts is None:
        raise UserError(
            "DATA.TEST.USE_VAL_AS_TEST: a part of each training image validates, as there are few; "
            "that is no image to test on",
            "give more images, raise DATA.VAL.SPLIT_TRAIN, or set DATA.VAL.CROSS_VAL: True",
        )
    return parts[1], "TRAIN"


def find_test_pairs(
    config: Config, notify: Notify, *, labels: bool
) -> tuple[list[Pair], dict[str, str]]:
    """Test images that can be done, and what is wrong with each of the others.

    Raises
    ------
    UserError
        When folders do not pair up, or nothing can be done at all.
    """
    if config.DATA.TEST.USE_VAL_AS_TEST:
        return validation_pairs(config, notify)[0], {}
    try:
        return find_pairs(config, "TEST", notify, labels=labels), {}
    except UserError:
        pairs = _list_pairs(config, "TEST", None, labels=labels)
        bad: dict[str, str] = {}
        for pair in pairs:
            try:
                _check_files(config, "TEST", [pair])
            except UserError as error:
                bad[pair.name] = str(error)
        if not bad or len(bad) == len(pairs):
            raise
    if not config.TEST.ANALIZE_2D_IMGS_AS_3D_STACK:  # a stack with gaps is refused with the reason
        for name, reason in bad.items():
            notify(f"left out: {name}: {reason}")
    return [pair for pair in pairs if pair.name not in bad], bad


def _check_patches(config: Config, part: str, pairs: Sequence[Pair]) -> None:
    """Every image holds a patch, or mirroring is allowed; by headers alone.

    Prediction mirrors beyond the edge in any case, so test images may be smaller.
    """
    if part == "TEST":
        return
    for pair, shape in zip(pairs, pair_shapes(config, part, pairs), strict=True):
        check_patch_fits(
            shape,
            config.patch,
            config.DATA.REFLECT_TO_COMPLETE_SHAPE,
            str(pair.image),
            AXES[config.ndim],
        )


def channel_store(
    config: Config,
    part: str,
    notify: Notify,
    fallback: Path | None = None,
    *,
    variant: str = "",
    settings: str = "",
) -> ChannelStore:
    """The folder of encoded labels of TRAIN, VAL or TEST.

    Parameters
    ----------
    fallback : Path, optional
        Folder of the run for channels that cannot be written next to the images.
    variant : str
        See `ChannelStore`.
    settings : str
        Part whose resolution counts; `part` by default.
    """
    keys = getattr(config.DATA, part)
    place = places_for(config, part).label_variant
    return ChannelStore(
        Path(keys.INSTANCE_CHANNELS_DIR),
        Path(keys.INSTANCE_CHANNELS_MASK_DIR),
        encode_settings(config, settings or part),
        image_key=f"DATA.{part}.INSTANCE_CHANNELS_DIR",
        mask_key=f"DATA.{part}.INSTANCE_CHANNELS_MASK_DIR",
        notify=notify,
        variant=", ".join(word for word in (variant, place) if word),
        fallback=fallback / part.lower() if fallback is not None else None,
    )


def read_pair(reader: Reader, pair: Pair) -> tuple[Image, npt.NDArray[Any]]:
    """Image and labels of a pair; what there is to say of their axes was said by `find_pairs`."""
    if pair.label is None:
        raise UserError(f"{pair.image}: has no label image")
    image = reader.image(pair.image, pair.arrays)
    return image, reader.labels(pair.label, pair.label_arrays)


def load_samples(
    config: Config,
    part: str,
    pairs: Sequence[Pair],
    notify: Notify,
    progress: Notify = lambda status: None,
    *,
    folders: str = "",
    channels: Path | None = None,
) -> list[AnySample]:
    """See that channels are stored and current; read images and labels, or leave them on disk.

    Parameters
    ----------
    part : str
        TRAIN or VAL: whether it is preprocessed and kept in memory.
    progress : callable
        Takes the current status before each image.
    folders : str
        Part in whose folders the files are; `part` by default.
    channels : Path, optional
        Folder of the run for channels that cannot be written next to the images.
    """
    reader, cache = reader_for(config, part), SampleCache()
    in_memory = getattr(config.DATA, part).IN_MEMORY
    check = config.DATA.TRAIN.CHECK_DATA
    samples: list[AnySample] = []
    objects, split = 0, LabelNotes()
    variant = reader.label_variant
    with channel_store(config, folders or part, notify, channels, variant=variant) as store:
        for number, pair in enumerate(pairs, 1):
            if pair.label is None:
                raise UserError(f"{pair.image}: has no label image")
            progress(
                f"reading images and preparing channels: {part.lower()} image {number} of "
                f"{len(pairs)}"
            )
            labels = reader.labels(pair.label, pair.label_arrays)
            ids = labels[..., 0]
            path = store.ensure(pair.name, pair.image, lambda ids=ids: ids, pair.label)  # type: ignore[misc]
            objects += len(np.unique(ids)) - int((ids == 0).any())
            if check:
                split.add(pair.name, ids)
            if in_memory:
                image = reader.image(pair.image, pair.arrays).array
                samples.append(Sample(pair.name, image, labels, store.load(pair.name, ids)))
                continue
            stored = StoredPair(reader, pair, path, channel_names(config), store.stamp(pair.name))
            if read_header(pair.image, pair.arrays).dtype.kind == "f":
                stored.look_through()
            samples.append(StoredSample(pair.name, ids.shape, stored, cache))
    where = "" if in_memory else ", read when they are needed"
    found = f"{counted(len(samples), 'image')} with {counted(objects, 'instance')}"
    notify(f"{part.lower()}: {found}{where}")
    split.tell(part.lower(), notify)
    return samples


class LabelNotes:
    """Collect doubtful label images, which are not errors.

    Ids may have several pieces, the background may be an object, and ids may restart in each slice.
    """

    def __init__(self) -> None:
        self.found: dict[str, list[int]] = {}
        self.doubtful: dict[str, str] = {}

    def add(self, name: str, ids: npt.NDArray[Any]) -> None:
        """Look through one label image."""
        doubt = suspicion(ids)
        if doubt is not None:
            self.doubtful[name] = doubt
            return
        pieces = ids_in_pieces(ids)
        if pieces:
            self.found[name] = pieces

    def tell(self, what: str, notify: Notify) -> None:
        """Report each kind in one line."""
        if self.doubtful:
            name, doubt = next(iter(self.doubtful.items()))
            notify(
                f"ATTENTION: {what}: {counted(len(self.doubtful), 'label image')} may not show the "
                f"objects, for example {name}: {doubt}; run `singula check` on this configuration"
            )
        if self.found:
            name, ids = next(iter(self.found.items()))
            count = sum(len(pieces) for pieces in self.found.values())
            notify(
                f"{what}: {counted(count, 'id')} in "
                f"{counted(len(self.found), 'label image')} in several pieces, "
                f"for example {ids[0]} in {name}; each counts as one object"
            )


def load_training(
    config: Config,
    notify: Notify,
    progress: Notify = lambda status: None,
    *,
    channels: Path | None = None,
) -> tuple[list[AnySample], list[AnySample]]:
    """Read the samples for training and for validation.

    Parameters
    ----------
    config : Config
    notify : callable
        Takes each line.
    progress : callable
        Takes the current status before each image.
    channels : Path, optional
        Folder of the run for channels that cannot be written next to the images.

    Raises
    ------
    UserError
        For anything wrong in the folders or files, or when nothing can be held out.
    """

    def load(part: str, pairs: Sequence[Pair], folders: str = "") -> list[AnySample]:
        return load_samples(
            config, part, pairs, notify, progress, folders=folders, channels=channels
        )

    keys = config.DATA.VAL
    pairs = find_pairs(config, "TRAIN", notify)
    if not keys.FROM_TRAIN:
        val_pairs = find_pairs(config, "VAL", notify)
        return load("TRAIN", pairs), load("VAL", val_pairs)
    parts = split_pairs(config, pairs)
    if parts is not None:
        how = "held out for validation"
        if keys.CROSS_VAL:
            how = f"fold {keys.CROSS_VAL_FOLD} of {keys.CROSS_VAL_NFOLD} validates"
        notify(f"{how}: {len(parts[1])} of {counted(len(pairs), 'training image')}")
        if not keys.CROSS_VAL and share_of(len(pairs), keys.SPLIT_TRAIN) is None:
            notify(
                f"  DATA.VAL.SPLIT_TRAIN: {keys.SPLIT_TRAIN:g} of "
                f"{counted(len(pairs), 'image')} is not a whole image. The images are too small "
                "to be divided into two patches each, so one whole image is held out"
            )
        return load("TRAIN", parts[0]), load("VAL", parts[1], folders="TRAIN")
    notify(
        "held out for validation: a part of each image, as there are few images "
        "(see DATA.VAL.SPLIT_TRAIN)"
    )
    return hold_out(
        load("TRAIN", pairs),
        keys.SPLIT_TRAIN,
        config.patch,
        None,
        reflect=config.DATA.REFLECT_TO_COMPLETE_SHAPE,
    )
