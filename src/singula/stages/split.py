"""Division of the training images into images for training and images for validation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from singula.config import Config
from singula.data.samples import AnySample
from singula.errors import UserError
from singula.io.pairs import Pair
from singula.stages.reading import pair_shapes
from singula.words import counted


def split_pairs(
    config: Config, pairs: Sequence[Pair], shapes: Sequence[tuple[int, ...]] | None = None
) -> tuple[list[Pair], list[Pair]] | None:
    """Divide the training images into images for training and images for validation.

    Where the configured fraction is less than one image, `hold_out` cuts each image in two. If an
    image is too small for that, one whole image is held out. The same seed and number of images
    give the same result.

    Parameters
    ----------
    config : Config
    pairs : sequence of Pair
    shapes : sequence of tuple of int, optional
        Spatial shapes of the images; read from their headers by default.

    Returns
    -------
    (list of Pair, list of Pair) or None
        None where a part of each image validates.

    Raises
    ------
    UserError
        When there are fewer images than folds.
    """
    keys = config.DATA.VAL
    rng = np.random.default_rng([config.SYSTEM.SEED, len(pairs)]) if keys.RANDOM else None
    if keys.CROSS_VAL:
        held = fold_of(len(pairs), keys.CROSS_VAL_NFOLD, keys.CROSS_VAL_FOLD, rng)
    else:
        held = held_out(len(pairs), keys.SPLIT_TRAIN, rng)
    if not held and len(pairs) > 1:
        sizes = pair_shapes(config, "TRAIN", pairs) if shapes is None else shapes
        patch = config.patch
        if any(_place_of_cut(size, keys.SPLIT_TRAIN, patch, patch) is None for size in sizes):
            held = _drawn(len(pairs), 1, rng)
    if not held:
        return None
    training = [pair for number, pair in enumerate(pairs) if number not in held]
    return training, [pair for number, pair in enumerate(pairs) if number in held]


def fold_of(count: int, folds: int, number: int, rng: np.random.Generator | None) -> set[int]:
    """Images of one fold.

    Parameters
    ----------
    count : int
        Images in all; each is in exactly one fold.
    folds, number : int
        How many folds, and which, from 1; their sizes differ by one at most.
    rng : Generator, optional
        Shuffles the images first, alike for every fold; None keeps their order.

    Raises
    ------
    UserError
        When there are fewer images than folds.
    """
    if count < folds:
        raise UserError(
            f"DATA.VAL.CROSS_VAL_NFOLD: found {folds} folds for {counted(count, 'training image')}",
            f"set DATA.VAL.CROSS_VAL_NFOLD to {max(count, 2)} or less, or give more images",
        )
    order = rng.permutation(count) if rng is not None else np.arange(count)
    return set(np.array_split(order, folds)[number - 1].tolist())


def share_of(count: int, fraction: float) -> int | None:
    """Return how many whole images are a fraction of `count`; None if that is 0 or all."""
    held = round(count * fraction)
    return held if 1 <= held < count else None


def held_out(count: int, fraction: float, rng: np.random.Generator | None) -> set[int]:
    """Return the images that validate, the last ones without `rng`; see `share_of`."""
    held = share_of(count, fraction)
    return set() if held is None else _drawn(count, held, rng)


def _drawn(count: int, held: int, rng: np.random.Generator | None) -> set[int]:
    order = rng.permutation(count) if rng is not None else np.arange(count)
    return set(order[count - held :].tolist())


def hold_out(
    samples: Sequence[AnySample],
    fraction: float,
    patch: tuple[int, ...],
    rng: np.random.Generator | None,
    *,
    reflect: bool,
) -> tuple[list[AnySample], list[AnySample]]:
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
    held = held_out(len(samples), fraction, rng)
    if held:
        training = [s for i, s in enumerate(samples) if i not in held]
        return training, [s for i, s in enumerate(samples) if i in held]
    pieces = [_cut(sample, fraction, patch, reflect) for sample in samples]
    return [a for a, _ in pieces], [b for _, b in pieces]


def _cut(
    sample: AnySample, fraction: float, patch: tuple[int, ...], reflect: bool
) -> tuple[AnySample, AnySample]:
    shape = sample.shape
    least = (1,) * len(shape) if reflect else patch
    place = _place_of_cut(shape, fraction, patch, least)
    if place is None:
        raise UserError(
            f"DATA.VAL.SPLIT_TRAIN: {sample.name} {shape} is too small to hold out a part for "
            f"validation with DATA.PATCH_SIZE {patch}",
            "give more images, a smaller patch, or validation folders "
            "(DATA.VAL.FROM_TRAIN: False with DATA.VAL.PATH and DATA.VAL.GT_PATH)",
        )
    axis, position = place
    return sample.slab(axis, 0, position), sample.slab(axis, position, shape[axis])


def _place_of_cut(
    shape: Sequence[int], fraction: float, patch: Sequence[int], least: Sequence[int]
) -> tuple[int, int] | None:
    """Return the axis and position at which an image is cut in two; None if it is too small.

    Parameters
    ----------
    least : sequence of int
        Smallest length of a part along each axis.
    """
    room = [size - 2 * length for size, length in zip(shape, patch, strict=True)]
    axis = int(np.argmax(room)) if tuple(least) == tuple(patch) else int(np.argmax(shape))
    size = shape[axis]
    if size < 2 * least[axis]:
        return None
    held = min(max(round(size * fraction), least[axis]), size - least[axis])
    return axis, size - held
