"""Values of images and labels: what they stand for, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from singula.errors import UserError
from singula.io.image import AnyArray, Header
from singula.util.format import counted

_LARGEST_ID = 2**32 - 1


def native(array: AnyArray) -> AnyArray:
    """The same numbers in this machine's byte order."""
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def shades(palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the palette as colours, shape (256, 3), or, if it is grey, as shape (256,)."""
    full = np.zeros((256, 3), np.uint8)
    full[: len(palette)] = palette
    return full[:, 0] if (full == full[:, :1]).all() else full


def check_finite(path: Path, array: AnyArray, *, whole: bool = True) -> None:
    """Refuse NaN and infinite values.

    Parameters
    ----------
    path : Path
        File of the values, for the message.
    array : ndarray
        Values of any shape.
    whole : bool
        Whether `array` has all values of the file; otherwise the message says "at least".

    Raises
    ------
    UserError
        A value is not a finite number.
    """
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return
    nan = int(np.isnan(array).sum())
    infinite = int(np.isinf(array).sum())
    raise UserError(
        f"{path}: contains {'' if whole else 'at least '}{counted(nan, 'NaN value')} and "
        f"{counted(infinite, 'infinite value')}; every value must be a number",
        "replace them, for example with 0, before the run",
    )


def to_ids(path: Path, array: AnyArray) -> AnyArray:
    """Labels as the smallest unsigned integers that hold them.

    Parameters
    ----------
    path : Path
        Named in errors.
    array : ndarray
        Any real type.

    Raises
    ------
    UserError
        Fractions, negative ids, ids above 2**32 - 1.
    """
    check_finite(path, array)
    if array.dtype.kind == "f":
        broken = array[array != np.rint(array)]
        if broken.size:
            raise UserError(
                f"{path}: contains {counted(broken.size, 'label value')} with a fraction, "
                f"the first {broken[0]}"
                "; a label image holds the id of its object in every pixel",
                "give the labels, not a probability map or a resampled picture",
            )
    lowest, highest = int(array.min()), int(array.max())
    if lowest == -1:
        raise UserError(
            f"{path}: the label ids go down to -1; ids are 0 (background) or positive",
            "let `singula check DATASET --fix FOLDER` write labels with the background 0",
            "labels.minus_one",
        )
    if lowest < 0:
        raise UserError(
            f"{path}: the label ids go down to {lowest}; ids are 0 (background) or positive",
            "give every object a positive id; 8- or 16-bit files may have been saved as signed",
            "labels.negative_id",
        )
    if highest > _LARGEST_ID:
        raise UserError(
            f"{path}: the label ids go up to {highest}; the largest allowed is {_LARGEST_ID}",
            "number the objects again from 1",
        )
    return array.astype(np.min_scalar_type(highest), copy=False)


def check_classes(path: Path, found: AnyArray, n_classes: int) -> None:
    """Refuse classes that the network does not know.

    Raises
    ------
    UserError
    """
    highest = int(found.max())
    if highest >= n_classes:
        raise UserError(
            f"{path}: its class channel holds {highest}, but MODEL.N_CLASSES is {n_classes}: "
            f"allowed are 0 (background) to {n_classes - 1}",
            f"set MODEL.N_CLASSES to {highest + 1}, or correct the class channel",
        )


_THREE_SLICES = (
    "; if these are three z slices, write the axes ZYX into the file: in Fiji Image > Properties…, "
    "in Python tifffile.imwrite(…, photometric='minisblack', metadata={'axes': 'ZYX'})"
)


def colour_labels(path: Path, header: Header) -> UserError:
    """The error for labels that are a picture."""
    return UserError(
        f"{path}: is a picture of labels, not labels ({header}): a label image has 1 channel "
        "(the id of its object in every pixel), or 2 (ids and classes)",
        "export the labels as a 16-bit grey image (TIFF or PNG) instead of a colour picture, or "
        "let `singula check DATASET --fix FOLDER` make ids of its colours"
        + (_THREE_SLICES if header.axes == "SYX" else ""),
    )
