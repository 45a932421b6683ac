"""Samples for training, from the folders of images and labels."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from singula.config import Config
from singula.data.channel_store import ChannelStore
from singula.data.patches import check_patch_fits
from singula.data.preprocess import Reference
from singula.data.samples import AnySample, Sample, SampleCache, StoredSample
from singula.dataset.annotated import complete_objects, describe_annotation
from singula.errors import UserError
from singula.io.image import ArrayPlace
from singula.io.pairing import Pair, check_pairs, pair_files, pairing_rule
from singula.io.read import read_header
from singula.io.unannotated import with_masks
from singula.pipeline.from_config import channel_names, encode_settings
from singula.pipeline.label_issues import LabelIssues
from singula.pipeline.object_size import ObjectSizes
from singula.pipeline.readers import (
    Reader,
    n_classes,
    pair_shapes,
    places_for,
    reader_for,
    spacing,
)
from singula.pipeline.split import hold_out, share_of, split_pairs
from singula.pipeline.stored_pair import StoredPair
from singula.util.format import counted
from singula.util.locations import location
from singula.util.messages import captured_messages, is_new
from singula.util.sparse_labels import annotated_mask, is_sparse

if TYPE_CHECKING:
    from singula.io.image import Image

_log = logging.getLogger(__name__)
AXES = {2: "y, x", 3: "z, y, x"}


def find_pairs(config: Config, part: str, *, labels: bool = True) -> list[Pair]:
    """Return the pairs of images and label images of a part, validated by their headers.

    Parameters
    ----------
    config : Config
        Configuration with the folders of the data.
    part : str
        ``TRAIN``, ``VAL`` or ``TEST``.
    labels : bool
        Pair the images with label images.

    Raises
    ------
    UserError
        Folders or files are missing, unpaired, unreadable, or have another shape.
    """
    pairs = _list_pairs(config, part, labels=labels)
    _log_pairing(part, pairs)
    _check_files(config, part, pairs)
    _check_patches(config, part, pairs)
    line = replaced_sizes(config, part, pairs)
    if line is not None:
        _log.warning(line)
    return pairs


def replaced_sizes(config: Config, part: str, pairs: Sequence[Pair]) -> str | None:
    """Return a message if the configured voxel size differs from the size in image files."""
    # An empty reference: histograms are not matched, because only headers are read.
    reader, key = reader_for(config, part, Reference((), ())), f"DATA.{part}.RESOLUTION"
    messages = []
    for pair in pairs:
        with suppress(UserError):  # files that cannot be read are reported elsewhere
            messages.append(reader.replaced_size(pair.image, key, pair.arrays))
    messages = [message for message in messages if message is not None]
    return f"{messages[0]} ({counted(len(messages), 'file')})" if messages else None


def _list_pairs(config: Config, part: str, *, labels: bool) -> list[Pair]:
    """Return the pairs of files of a part, from their names only."""
    keys, places = getattr(config.DATA, part), places_for(config, part)
    image_key, label_key = f"DATA.{part}.PATH", f"DATA.{part}.GT_PATH"
    label_dir = location(keys.GT_PATH) if labels else None
    places = replace(places, together=places.together and labels)
    pairs = pair_files(
        location(keys.PATH),
        label_dir,
        image_key,
        label_key,
        places,
        by_order=config.DATA.PAIR_BY_SORTED_ORDER,
    )
    return with_masks(pairs, keys.IGNORE_PATH if labels else "", f"DATA.{part}.IGNORE_PATH")


def _log_pairing(part: str, pairs: Sequence[Pair]) -> None:
    """Log how files were paired: the rule once per run, and examples of each folder."""
    rule = pairing_rule(pairs)
    key = f"DATA.{part}.PATH"
    if rule is None or not is_new(f"{rule[0]}: {key}"):
        return
    _log.warning(f"{rule[0]}: {rule[1]}" if is_new(rule[0]) else f"  also {key}: {rule[1]}")


def _check_files(config: Config, part: str, pairs: Sequence[Pair]) -> None:
    if config.DATA.PREPROCESS.SPACING:
        pair_shapes(config, part, pairs)  # raises an error for an image without a voxel size
    check_pairs(
        pairs,
        config.ndim,
        config.in_channels,
        n_classes(config) or None,
        allow_gray=config.DATA.FORCE_RGB,
        sized=spacing(config, part, config.ndim) is not None,
    )


def validation_pairs(config: Config) -> tuple[list[Pair], str]:
    """Return the validation images, and the part (TRAIN or VAL) of their folders.

    Raises
    ------
    UserError
        ``data.no_validation_images``: only parts of training images are used for validation.
    """
    if not config.DATA.VAL.FROM_TRAIN:
        return find_pairs(config, "VAL"), "VAL"
    parts = split_pairs(config, find_pairs(config, "TRAIN"))
    if parts is None:
        raise UserError(
            "DATA.TEST.USE_VAL_AS_TEST: got too few training images to hold out a whole image, "
            "expected at least one validation image",
            "add images, raise DATA.VAL.SPLIT_TRAIN, or set DATA.VAL.CROSS_VAL: True",
            "data.no_validation_images",
        )
    return parts[1], "TRAIN"


def find_test_pairs(config: Config, *, labels: bool) -> tuple[list[Pair], dict[str, str]]:
    """Return the valid test images, and the error message of each other image by its name.

    Raises
    ------
    UserError
        The files of the folders cannot be paired, or no image is valid.
    """
    if config.DATA.TEST.USE_VAL_AS_TEST:
        return validation_pairs(config)[0], {}
    try:
        return find_pairs(config, "TEST", labels=labels), {}
    except UserError:
        pairs = _list_pairs(config, "TEST", labels=labels)
        errors: dict[str, str] = {}
        for pair in pairs:
            try:
                with captured_messages():
                    _check_files(config, "TEST", [pair])
            except UserError as error:
                errors[pair.name] = str(error)
        if not errors or len(errors) == len(pairs):
            raise
    if not config.TEST.ANALIZE_2D_IMGS_AS_3D_STACK:  # the error about a stack has the reason
        for name, reason in errors.items():
            _log.warning(f"skipped: {name}: {reason}")
    return [pair for pair in pairs if pair.name not in errors], errors


def _check_patches(config: Config, part: str, pairs: Sequence[Pair]) -> None:
    """Refuse images that are smaller than a patch, unless mirroring is enabled.

    Only headers are read. Test images may be smaller, because prediction always mirrors.
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
    fallback: Path | None = None,
    *,
    variant: str = "",
    settings: str = "",
) -> ChannelStore:
    """Return the store of the encoded labels of a part.

    Parameters
    ----------
    config : Config
        Configuration with the folders of the data.
    part : str
        ``TRAIN``, ``VAL`` or ``TEST``.
    fallback : Path, optional
        Folder of the run for channels that cannot be written next to the images.
    variant : str
        See `ChannelStore`.
    settings : str
        Part whose voxel size is used. Default: `part`.
    """
    keys = getattr(config.DATA, part)
    place = places_for(config, part).label_variant
    return ChannelStore(
        Path(keys.INSTANCE_CHANNELS_DIR),
        Path(keys.INSTANCE_CHANNELS_MASK_DIR),
        encode_settings(config, settings or part),
        image_key=f"DATA.{part}.INSTANCE_CHANNELS_DIR",
        mask_key=f"DATA.{part}.INSTANCE_CHANNELS_MASK_DIR",
        variant=", ".join(word for word in (variant, place) if word),
        fallback=fallback / part.lower() if fallback is not None else None,
    )


def read_pair(reader: Reader, pair: Pair) -> tuple[Image, npt.NDArray[Any]]:
    """Read the image and the labels of a pair.

    Raises
    ------
    UserError
        ``data.no_labels``: the pair has no label image.
    """
    labels = reader.labels(pair)
    return reader.image(pair.image, pair.arrays), labels


def load_samples(
    config: Config,
    part: str,
    pairs: Sequence[Pair],
    progress: Callable[[str], None] = lambda status: None,
    *,
    folders: str = "",
    channels: Path | None = None,
    sizes: ObjectSizes | None = None,
) -> list[AnySample]:
    """Encode labels that are not stored or not current, and return the samples.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    part : str
        ``TRAIN`` or ``VAL``: part whose preprocessing and ``IN_MEMORY`` are used.
    pairs : sequence of Pair
        Files of the images and labels.
    progress : callable
        Receives the current status before each image.
    folders : str
        Part of the folders of the files. Default: `part`.
    channels : Path, optional
        Folder of the run for channels that cannot be written next to the images.
    sizes : ObjectSizes, optional
        Receives the sizes of the objects.
    """
    reader, cache = reader_for(config, part), SampleCache()
    in_memory = getattr(config.DATA, part).IN_MEMORY
    check = config.DATA.TRAIN.CHECK_DATA
    samples: list[AnySample] = []
    objects, label_issues, shares = 0, LabelIssues(), list[float]()
    variant = reader.label_variant
    # Channels that are encoded after all changes of a patch are not stored.
    is_stored = not encode_settings(config, part).from_labels
    with (
        channel_store(config, folders or part, channels, variant=variant)
        if is_stored
        else nullcontext()
    ) as store:
        for number, pair in enumerate(pairs, 1):
            progress(
                f"reading images and preparing channels: {part.lower()} image {number} of "
                f"{len(pairs)}"
            )
            labels = reader.labels(pair)
            ids = labels[..., 0]
            label = location(str(pair.label))  # `reader.labels` raises an error without labels
            others = reader.label_sources(pair)
            path = None
            if store is not None:
                path = store.ensure(pair.name, pair.image, lambda ids=ids: ids, label, *others)  # type: ignore[misc]
            objects += int((np.unique(ids) > 0).sum())
            annotated = annotated_mask(ids).mean() if is_sparse(ids) else 1.0
            shares.append(float(annotated))
            if check:
                label_issues.add(pair.name, ids)
            if sizes is not None:
                sizes.add(
                    complete_objects(ids, sections=False) if annotated < 1 else ids,
                    *reader.voxel_size(pair.image, pair.arrays),
                    annotated=float(annotated),
                )
            if in_memory:
                image = reader.image(pair.image, pair.arrays).array
                targets = None if store is None else store.load(pair.name, ids)
                samples.append(Sample(pair.name, image, labels, targets))
                continue
            if annotated < 1:
                place = replace(pair.label_arrays or ArrayPlace(), sparse=True)
                pair = replace(pair, label_arrays=place)
            stamp = None if store is None else store.stamp(pair.name)
            stored = StoredPair(reader, pair, path, channel_names(config), stamp)
            if read_header(pair.image, pair.arrays).dtype.kind == "f":
                stored.check_values()
            samples.append(StoredSample(pair.name, ids.shape, stored, cache))
    where = "" if in_memory else ", read when they are needed"
    contents = f"{counted(len(samples), 'image')} with {counted(objects, 'instance')}"
    _log.info(f"{part.lower()}: {contents}{where}")
    text = describe_annotation(shares)
    if text is not None:
        _log.info(f"  {part.lower()}: {text}")
    label_issues.report(part.lower())
    return samples


def load_training(
    config: Config,
    progress: Callable[[str], None] = lambda status: None,
    *,
    channels: Path | None = None,
    sizes: ObjectSizes | None = None,
) -> tuple[list[AnySample], list[AnySample]]:
    """Read the samples for training and for validation.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    progress : callable
        Receives the current status before each image.
    channels : Path, optional
        Folder of the run for channels that cannot be written next to the images.
    sizes : ObjectSizes, optional
        Receives the sizes of the objects of the training images.

    Raises
    ------
    UserError
        Folders or files are invalid, or the images are too small to hold out a part.
    """

    def load(part: str, pairs: Sequence[Pair], folders: str = "") -> list[AnySample]:
        return load_samples(
            config,
            part,
            pairs,
            progress,
            folders=folders,
            channels=channels,
            sizes=sizes if part == "TRAIN" else None,
        )

    keys = config.DATA.VAL
    pairs = find_pairs(config, "TRAIN")
    if not keys.FROM_TRAIN:
        val_pairs = find_pairs(config, "VAL")
        return load("TRAIN", pairs), load("VAL", val_pairs)
    parts = split_pairs(config, pairs)
    if parts is not None:
        title = "held out for validation"
        if keys.CROSS_VAL:
            title = f"validation on fold {keys.CROSS_VAL_FOLD} of {keys.CROSS_VAL_NFOLD}"
        _log.info(f"{title}: {len(parts[1])} of {counted(len(pairs), 'training image')}")
        if not keys.CROSS_VAL and share_of(len(pairs), keys.SPLIT_TRAIN) is None:
            _log.info(
                f"  DATA.VAL.SPLIT_TRAIN: {keys.SPLIT_TRAIN:g} of "
                f"{counted(len(pairs), 'image')} is less than one image. The images are too "
                "small to be divided into two patches each, so one whole image is held out"
            )
        return load("TRAIN", parts[0]), load("VAL", parts[1], folders="TRAIN")
    _log.info(
        "held out for validation: a part of each image, because there are few images "
        "(see DATA.VAL.SPLIT_TRAIN)"
    )
    return hold_out(
        load("TRAIN", pairs),
        keys.SPLIT_TRAIN,
        config.patch,
        None,
        reflect=config.DATA.REFLECT_TO_COMPLETE_SHAPE,
    )
