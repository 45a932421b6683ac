"""Division of the training images into images for training and images for validation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from singula.config import Config
from singula.data.samples import AnySample
from singula.errors import UserError
from singula.io.pairing import Pair
from singula.pipeline.readers import pair_shapes
from singula.util.format import counted
from singula.util.sparse_labels import annotated_mask, is_sparse


def split_pairs(
    config: Config, pairs: Sequence[Pair], shapes: Sequence[tuple[int, ...]] | None = None
) -> tuple[list[Pair], list[Pair]] | None:
    """Divide the training images into images for training and images for validation.

    If the configured fraction is less than one image, `hold_out` divides each image. If an image is
    too small to be divided, one whole image is held out. The result depends on the seed and the
    number of images.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    pairs : sequence of Pair
        Files of the training images.
    shapes : sequence of tuple of int, optional
        Spatial shapes of the images. Default: read from the headers.

    Returns
    -------
    (list of Pair, list of Pair) or None
        Images for training and for validation. None if each image will be divided.

    Raises
    ------
    UserError
        ``data.too_few_images``: there are fewer images than folds.
    """
    keys = config.DATA.VAL
    rng = np.random.default_rng([config.SYSTEM.SEED, len(pairs)]) if keys.RANDOM else None
    if keys.CROSS_VAL:
        validation = fold_of(len(pairs), keys.CROSS_VAL_NFOLD, keys.CROSS_VAL_FOLD, rng)
    else:
        validation = held_out(len(pairs), keys.SPLIT_TRAIN, rng)
    if not validation and len(pairs) > 1:
        sizes = pair_shapes(config, "TRAIN", pairs) if shapes is None else shapes
        patch = config.patch
        if any(_place_of_cut(size, keys.SPLIT_TRAIN, patch, patch) is None for size in sizes):
            validation = _drawn(len(pairs), 1, rng)
    if not validation:
        return None
    training = [pair for number, pair in enumerate(pairs) if number not in validation]
    return training, [pair for number, pair in enumerate(pairs) if number in validation]


def fold_of(count: int, folds: int, number: int, rng: np.random.Generator | None) -> set[int]:
    """Return the indices of the images of a fold.

    Parameters
    ----------
    count : int
        Number of images; each is in exactly one fold.
    folds : int
        Number of folds; their sizes differ by one at most.
    number : int
        Number of the fold, from 1.
    rng : Generator, optional
        Generator to shuffle the images, with the same seed for all folds. None: keep the order.

    Raises
    ------
    UserError
        ``data.too_few_images``: there are fewer images than folds.
    """
    if count < folds:
        raise UserError(
            f"DATA.VAL.CROSS_VAL_NFOLD: got {folds} folds, expected at most "
            f"{counted(count, 'training image')}",
            f"set DATA.VAL.CROSS_VAL_NFOLD to {max(count, 2)} or less, or add images",
            "data.too_few_images",
        )
    order = rng.permutation(count) if rng is not None else np.arange(count)
    return set(np.array_split(order, folds)[number - 1].tolist())


def share_of(count: int, fraction: float) -> int | None:
    """Return the number of images in a fraction of `count`; None if it is 0 or `count`."""
    share = round(count * fraction)
    return share if 1 <= share < count else None


def held_out(count: int, fraction: float, rng: np.random.Generator | None) -> set[int]:
    """Return the indices of the validation images; without `rng`, the last images."""
    share = share_of(count, fraction)
    return set() if share is None else _drawn(count, share, rng)


def _drawn(count: int, size: int, rng: np.random.Generator | None) -> set[int]:
    order = rng.permutation(count) if rng is not None else np.arange(count)
    return set(order[count - size :].tolist())


def hold_out(
    samples: Sequence[AnySample],
    fraction: float,
    patch: tuple[int, ...],
    rng: np.random.Generator | None,
    *,
    reflect: bool,
) -> tuple[list[AnySample], list[AnySample]]:
    """Divide samples into samples for training and samples for validation.

    If there are fewer images than ``1 / fraction``, the end of each image along its longest axis is
    held out. No pixel is in both parts, also with augmentation.

    Parameters
    ----------
    samples : sequence of Sample
        Training images.
    fraction : float
        Fraction to hold out, in (0, 1).
    patch : tuple of int
        Spatial shape of a patch. Both parts of an image contain at least one patch, unless
        `reflect` is True.
    rng : Generator, optional
        Generator to choose the images. None: use the last images.
    reflect : bool
        Images smaller than a patch are mirrored.

    Raises
    ------
    UserError
        ``data.image_too_small``: an image is too small to be divided.
    """
    validation = held_out(len(samples), fraction, rng)
    if validation:
        training = [s for i, s in enumerate(samples) if i not in validation]
        return training, [s for i, s in enumerate(samples) if i in validation]
    parts = [_cut(sample, fraction, patch, reflect) for sample in samples]
    return [a for a, _ in parts], [b for _, b in parts]


def _cut(
    sample: AnySample, fraction: float, patch: tuple[int, ...], reflect: bool
) -> tuple[AnySample, AnySample]:
    shape = sample.shape
    min_shape = (1,) * len(shape) if reflect else patch
    cut = _place_of_cut(shape, fraction, patch, min_shape)
    ids = sample.opened().labels[..., 0] if cut is not None else np.zeros(1, np.uint8)
    if ids.dtype.kind == "i" and is_sparse(ids):
        annotated = annotated_mask(np.asarray(ids))
        cut = _cut_of_annotated(annotated, fraction, min_shape, cut) or cut
    if cut is None:
        raise UserError(
            f"DATA.VAL.SPLIT_TRAIN: {sample.name} {shape} is too small to hold out a part for "
            f"validation with DATA.PATCH_SIZE {patch}",
            "add images, use a smaller patch, or set validation folders "
            "(DATA.VAL.FROM_TRAIN: False with DATA.VAL.PATH and DATA.VAL.GT_PATH)",
            "data.image_too_small",
        )
    axis, position = cut
    return sample.slab(axis, 0, position), sample.slab(axis, position, shape[axis])


def _place_of_cut(
    shape: Sequence[int], fraction: float, patch: Sequence[int], min_shape: Sequence[int]
) -> tuple[int, int] | None:
    """Return the axis and position at which an image is divided; None if it is too small.

    Parameters
    ----------
    shape, patch : sequence of int
        Spatial shapes of the image and of a patch.
    fraction : float
        Fraction to hold out, in (0, 1).
    min_shape : sequence of int
        Minimum length of a part along each axis.
    """
    excess = [size - 2 * length for size, length in zip(shape, patch, strict=True)]
    axis = int(np.argmax(excess)) if tuple(min_shape) == tuple(patch) else int(np.argmax(shape))
    size = shape[axis]
    if size < 2 * min_shape[axis]:
        return None
    length = min(max(round(size * fraction), min_shape[axis]), size - min_shape[axis])
    return axis, size - length


def _cut_of_annotated(
    annotated: npt.NDArray[np.bool_],
    fraction: float,
    min_shape: Sequence[int],
    usual: tuple[int, int] | None,
) -> tuple[int, int] | None:
    """Return the axis and position at which an image that is annotated in part is divided.

    Parameters
    ----------
    annotated : ndarray of bool, (y, x) or (z, y, x)
        Annotated pixels.
    fraction : float
        Fraction of the annotated pixels to hold out, in (0, 1).
    min_shape : sequence of int
        Minimum length of a part along each axis.
    usual : (int, int), optional
        Result of `_place_of_cut`, whose axis is preferred.

    Returns
    -------
    (int, int) or None
        None if no division has annotated pixels in both parts.
    """
    axes = sorted(range(annotated.ndim), key=lambda axis: -annotated.shape[axis])
    if usual is not None:
        axes.sort(key=lambda axis: axis != usual[0])
    for axis in axes:
        others = tuple(other for other in range(annotated.ndim) if other != axis)
        before = np.cumsum(annotated.sum(axis=others))  # annotated pixels before the next position
        after = 1 - before / max(1, before[-1])  # fraction of annotated pixels
        positions = np.arange(min_shape[axis], annotated.shape[axis] - min_shape[axis] + 1)
        positions = positions[(after[positions - 1] > 0) & (after[positions - 1] < 1)]
        if len(positions):
            nearest = np.abs(after[positions - 1] - fraction).argmin()
            return axis, int(positions[nearest])
    return None
