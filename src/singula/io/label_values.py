"""Validation and conversion of the values of images and labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from singula.errors import UserError
from singula.io.image import AnyArray, Header
from singula.util.format import counted
from singula.util.sparse_labels import UNANNOTATED, without_annotation

_MAX_ID = 2**32 - 1


def native(array: AnyArray) -> AnyArray:
    """Return the numbers in the byte order of this machine."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def shades(palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the colors of a palette, shape (256, 3); of a gray palette, shape (256,)."""
    full = np.zeros((256, 3), np.uint8)
    full[: len(palette)] = palette
    return full[:, 0] if (full == full[:, :1]).all() else full


def check_finite(path: Path, array: AnyArray, *, whole: bool = True) -> None:
    """Raise an error for NaN and infinite values.

    Parameters
    ----------
    path : Path
        File of the values, for the message.
    array : ndarray
        Values of any shape.
    whole : bool
        True if `array` has all values of the file; otherwise the message states a minimum.

    Raises
    ------
    UserError
        ``io.not_finite``: a value is not a finite number.
    """
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return
    nan = int(np.isnan(array).sum())
    infinite = int(np.isinf(array).sum())
    raise UserError(
        f"{path}: got {'' if whole else 'at least '}{counted(nan, 'NaN value')} and "
        f"{counted(infinite, 'infinite value')}, expected finite numbers",
        "replace them, for example by 0",
        "io.not_finite",
    )


def to_ids(path: Path, array: AnyArray, is_sparse: Callable[[], bool] = lambda: False) -> AnyArray:
    """Return label ids with the smallest unsigned integer type that holds them.

    Parameters
    ----------
    path : Path
        File of the labels, for the message.
    array : ndarray, shape (…, c)
        Label ids and, with classes, the class in a second channel, of any real type.
    is_sparse : callable
        Return True if the id -1 means that a pixel is not annotated; called only if it occurs.

    Returns
    -------
    ndarray
        Same shape; of the smallest signed type if there are pixels that are not annotated.

    Raises
    ------
    UserError
        ``labels.fraction``, ``labels.minus_one``, ``labels.negative_id``, ``io.not_finite``;
        ``labels.large_ids``: an id is above 2**32 - 1.
    """
    check_finite(path, array)
    if array.dtype.kind == "f":
        fractions = array[array != np.rint(array)]
        if fractions.size:
            raise UserError(
                f"{path}: got {counted(fractions.size, 'label value')} with a fraction, such as "
                f"{fractions[0]}, expected the id of an object in each pixel",
                "give the labels, not a probability map or a resampled picture",
                "labels.fraction",
            )
    lowest, highest = int(array.min()), int(array.max())
    if lowest == UNANNOTATED and is_sparse():
        excluded = array[..., 0] == UNANNOTATED
        ids = to_ids(path, np.where(excluded[..., None], 0, array))
        return without_annotation(ids, excluded)
    if lowest == -1:
        raise UserError(
            f"{path}: got the label id -1, expected 0 (background) or positive ids; -1 means not "
            "annotated only if these label images contain 0, too",
            "let `singula check DATASET --fix FOLDER` write labels with the background 0",
            "labels.minus_one",
        )
    if lowest < 0:
        raise UserError(
            f"{path}: got label ids down to {lowest}, expected 0 (background) or positive ids",
            "give every object a positive id; 8- or 16-bit files may have been saved as signed",
            "labels.negative_id",
        )
    if highest > _MAX_ID:
        raise UserError(
            f"{path}: got label ids up to {highest}, expected at most {_MAX_ID}",
            "number the objects again from 1",
            "labels.large_ids",
        )
    return array.astype(np.min_scalar_type(highest), copy=False)


def check_classes(path: Path, classes: AnyArray, n_classes: int) -> None:
    """Raise an error for classes that the network does not have.

    Parameters
    ----------
    path : Path
        File of the labels, for the message.
    classes : ndarray
        Class of each pixel, of any shape.
    n_classes : int
        Number of classes of the network, with the background.

    Raises
    ------
    UserError
        ``labels.class``.
    """
    highest = int(classes.max())
    if highest >= n_classes:
        raise UserError(
            f"{path}: got the class {highest}, expected 0 (background) to {n_classes - 1}, as "
            f"MODEL.N_CLASSES is {n_classes}",
            f"set MODEL.N_CLASSES: {highest + 1}, or correct the class channel",
            "labels.class",
        )


_THREE_SLICES = (
    "; if these are three z slices, write the axes ZYX into the file: in Fiji Image > Properties…, "
    "in Python tifffile.imwrite(…, photometric='minisblack', metadata={'axes': 'ZYX'})"
)


def color_labels_error(path: Path, header: Header) -> UserError:
    """Return the error for labels that are a color picture."""
    return UserError(
        f"{path}: got a color picture ({header}), expected labels with 1 channel (the id of the "
        "object in each pixel) or 2 channels (ids and classes)",
        "export the labels as a 16-bit gray image (TIFF or PNG), or let `singula check DATASET "
        "--fix FOLDER` convert its colors to ids" + (_THREE_SLICES if header.axes == "SYX" else ""),
        "labels.color_picture",
    )
