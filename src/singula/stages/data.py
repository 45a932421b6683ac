"""From folders to samples: pair, check, read, encode, split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from singula.channels.store import ChannelStore
from singula.config import Config
from singula.data.dataset import Sample
from singula.data.patches import check_patch_fits
from singula.errors import UserError
from singula.io.pairs import Pair, check_pairs, pair_files
from singula.io.read import image_layout, read_header, read_image, read_labels
from singula.stages.settings import encode_settings, n_classes

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
    keys = getattr(config.DATA, part)
    image_key, label_key = f"DATA.{part}.PATH", f"DATA.{part}.GT_PATH"
    label_dir = Path(keys.GT_PATH) if labels else None
    pairs = pair_files(Path(keys.PATH), label_dir, image_key, label_key, notify=notify)
    check_pairs(pairs, config.ndim, config.in_channels, n_classes(config) or None, notify=notify)
    _check_patches(config, part, pairs)
    return pairs


def find_test_pairs(
    config: Config, notify: Notify, *, labels: bool
) -> tuple[list[Pair], dict[str, str]]:
    """Test images that can be done, and what is wrong with each of the others.

    Raises
    ------
    UserError
        When folders do not pair up, or nothing can be done at all.
    """
    try:
        return find_pairs(config, "TEST", notify, labels=labels), {}
    except UserError:
        keys = config.DATA.TEST
        label_dir = Path(keys.GT_PATH) if labels else None
        pairs = pair_files(Path(keys.PATH), label_dir, "DATA.TEST.PATH", "DATA.TEST.GT_PATH")
        bad: dict[str, str] = {}
        for pair in pairs:
            try:
                check_pairs([pair], config.ndim, config.in_channels, n_classes(config) or None)
            except UserError as error:
                bad[pair.name] = str(error)
        if not bad or len(bad) == len(pairs):
            raise
    for name, reason in bad.items():
        notify(f"left out: {name}: {reason}")
    return [pair for pair in pairs if pair.name not in bad], bad


def _check_patches(config: Config, part: str, pairs: Sequence[Pair]) -> None:
    """Every image holds a patch, or mirroring is allowed; by headers alone.

    Prediction mirrors beyond the edge in any case, so test images may be smaller.
    """
    if part == "TEST":
        return
    for pair in pairs:
        header = read_header(pair.image)
        layout = image_layout(pair.image, header, config.ndim, config.in_channels)
        check_patch_fits(
            layout.spatial_shape,
            config.patch,
            config.DATA.REFLECT_TO_COMPLETE_SHAPE,
            str(pair.image),
            AXES[config.ndim],
        )


def channel_store(config: Config, part: str, notify: Notify) -> ChannelStore:
    """The folder of encoded labels of TRAIN, VAL or TEST."""
    keys = getattr(config.DATA, part)
    return ChannelStore(
        Path(keys.INSTANCE_CHANNELS_DIR),
        Path(keys.INSTANCE_CHANNELS_MASK_DIR),
        encode_settings(config, part),
        image_key=f"DATA.{part}.INSTANCE_CHANNELS_DIR",
        mask_key=f"DATA.{part}.INSTANCE_CHANNELS_MASK_DIR",
        notify=notify,
    )


def read_pair(config: Config, pair: Pair) -> tuple[Image, Image]:
    """Image and labels of a pair; what there is to say of their axes was said by `find_pairs`."""
    if pair.label is None:
        raise UserError(f"{pair.image}: has no label image")
    image = read_image(pair.image, config.ndim, config.in_channels)
    classes = n_classes(config)
    labels = read_labels(pair.label, config.ndim, classes > 0, n_classes=classes or None)
    return image, labels


def load_samples(config: Config, part: str, pairs: Sequence[Pair], notify: Notify) -> list[Sample]:
    """Read images and labels, and see that their channels are stored and current."""
    samples = []
    with channel_store(config, part, notify) as store:
        for pair in pairs:
            image, labels = read_pair(config, pair)
            ids = labels.array[..., 0]
            store.ensure(pair.name, pair.image, lambda ids=ids: ids, Path(str(pair.label)))  # type: ignore[misc]
            samples.append(
                Sample(pair.name, image.array, labels.array, targets=store.load(pair.name))
            )
    objects = sum(int(len(np.unique(s.labels[..., 0])) - 1) for s in samples)
    notify(f"{part.lower()}: {len(samples)} images with {objects} instances")
    return samples


def load_training(config: Config, notify: Notify) -> tuple[list[Sample], list[Sample]]:
    """Samples for training and for validation.

    Raises
    ------
    UserError
        For anything wrong in the folders or files, or when nothing can be held out.
    """
    pairs = find_pairs(config, "TRAIN", notify)
    own = not config.DATA.VAL.FROM_TRAIN
    val_pairs = find_pairs(config, "VAL", notify) if own else []
    training = load_samples(config, "TRAIN", pairs, notify)
    if own:
        return training, load_samples(config, "VAL", val_pairs, notify)
    keys = config.DATA.VAL
    rng = np.random.default_rng([config.SYSTEM.SEED, len(training)])
    parts = hold_out(
        training,
        keys.SPLIT_TRAIN,
        config.patch,
        rng if keys.RANDOM else None,
        reflect=config.DATA.REFLECT_TO_COMPLETE_SHAPE,
    )
    notify(f"held out for validation: {_held_out_words(*parts)}")
    return parts


def _held_out_words(training: list[Sample], validation: list[Sample]) -> str:
    if {s.name for s in training} & {s.name for s in validation}:
        return "a part of each image, as there are few images (see DATA.VAL.SPLIT_TRAIN)"
    return f"{len(validation)} of {len(training) + len(validation)} training images"


def hold_out(
    samples: list[Sample],
    fraction: float,
    patch: tuple[int, ...],
    rng: np.random.Generator | None,
    *,
    reflect: bool,
) -> tuple[list[Sample], list[Sample]]:
    """Split samples for training and validation, whole images where there are enough.

    With fewer than ``1 / fraction`` images a slab at the end of each image's longest axis is held
    out instead, so that no pixel is in both parts, whatever the augmentation.

    Parameters
    ----------
    fraction : float
        Part to hold out, in (0, 1).
    patch : tuple of int
        Both parts of a cut image hold at least one patch unless `reflect`.
    rng : Generator, optional
        Chooses the images; None takes the last ones.

    Raises
    ------
    UserError
        When an image is too small to be cut.
    """
    count = round(len(samples) * fraction)
    if count >= 1 and len(samples) > count:
        order = rng.permutation(len(samples)) if rng is not None else np.arange(len(samples))
        held = set(order[len(samples) - count :].tolist())
        training = [s for i, s in enumerate(samples) if i not in held]
        return training, [s for i, s in enumerate(samples) if i in held]
    pieces = [_cut(sample, fraction, patch, reflect) for sample in samples]
    return [a for a, _ in pieces], [b for _, b in pieces]


def _cut(
    sample: Sample, fraction: float, patch: tuple[int, ...], reflect: bool
) -> tuple[Sample, Sample]:
    shape = sample.image.shape[:-1]
    room = [size - 2 * length for size, length in zip(shape, patch, strict=True)]
    axis = int(np.argmax(room)) if not reflect else int(np.argmax(shape))
    size, least = shape[axis], 1 if reflect else patch[axis]
    held = max(round(size * fraction), least)
    if size - held < least or held < 1:
        raise UserError(
            f"DATA.VAL.SPLIT_TRAIN: {sample.name} {shape} is too small to hold out a part for "
            f"validation with DATA.PATCH_SIZE {patch}",
            "give more images, a smaller patch, or validation folders "
            "(DATA.VAL.FROM_TRAIN: False with DATA.VAL.PATH and DATA.VAL.GT_PATH)",
        )
    return _slab(sample, axis, 0, size - held), _slab(sample, axis, size - held, size)


def _slab(sample: Sample, axis: int, start: int, stop: int) -> Sample:
    index = (slice(None),) * axis + (slice(start, stop),)
    targets = sample.targets
    return replace(
        sample,
        image=sample.image[index],
        labels=sample.labels[index],
        targets={n: m[index] for n, m in targets.items()} if targets is not None else None,
    )
