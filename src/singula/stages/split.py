"""Which images train and which validate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from singula.config import Config
from singula.data.samples import AnySample
from singula.errors import UserError
from singula.io.pairs import Pair


def split_pairs(config: Config, pairs: Sequence[Pair]) -> tuple[list[Pair], list[Pair]] | None:
    """Training images for training and validation, by fold or by fraction.

    None when there are too few for whole images to be held out (see `hold_out`).

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
            f"DATA.VAL.CROSS_VAL_NFOLD: found {folds} folds for {count} training image(s)",
            f"set DATA.VAL.CROSS_VAL_NFOLD to {max(count, 2)} or less, or give more images",
        )
    order = rng.permutation(count) if rng is not None else np.arange(count)
    return set(np.array_split(order, folds)[number - 1].tolist())


def held_out(count: int, fraction: float, rng: np.random.Generator | None) -> set[int]:
    """Images that validate, the last ones without `rng`; none where a fraction is no image."""
    held = round(count * fraction)
    if not 1 <= held < count:
        return set()
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
    return sample.slab(axis, 0, size - held), sample.slab(axis, size - held, size)
