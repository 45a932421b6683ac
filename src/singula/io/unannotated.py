"""Pixels of label files that are not annotated: the id -1, and masks of excluded pixels."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from singula.errors import UserError
from singula.io.files import read_pixels
from singula.io.formats.table import format_of, stem_of
from singula.io.image import AnyArray, ArrayPlace
from singula.io.list_images import list_images
from singula.io.names import LABEL_PATTERNS, composed
from singula.io.pair import Pair
from singula.util.format import counted
from singula.util.locations import location


def with_masks(pairs: Sequence[Pair], folder: str, key: str) -> list[Pair]:
    """Return pairs with the masks of the pixels that are not annotated.

    Parameters
    ----------
    pairs : sequence of Pair
        Images and labels.
    folder : str
        Folder of masks with the names of the images, without suffix; images without a mask are
        annotated completely. Empty for none.
    key : str
        Configuration key of the folder, for messages.

    Raises
    ------
    UserError
        ``labels.ignore_unpaired``: a mask has no image; the codes of `list_images`.
    """
    if not folder:
        return list(pairs)
    masks = {composed(stem_of(path)): path for path in list_images(folder, key)}
    result = []
    for pair in pairs:
        names = [composed(pair.name), *([composed(stem_of(pair.label))] if pair.label else [])]
        mask = next((masks.pop(name) for name in names if name in masks), None)
        if mask is not None and pair.label is not None:
            place = replace(pair.label_arrays or ArrayPlace(), ignore=str(mask.absolute()))
            pair = replace(pair, label_arrays=place)
        result.append(pair)
    if masks:
        shown = ", ".join(path.name for path in list(masks.values())[:5])
        raise UserError(
            f"{key}: got {counted(len(masks), 'mask')} without an image: {shown}"
            + (" …" if len(masks) > 5 else ""),
            "give each mask the name of its image (before the suffix), or remove it",
            "labels.ignore_unpaired",
        )
    return result


def mask_place(place: ArrayPlace) -> ArrayPlace:
    """Return the selection of the mask of a label file, in the orientation of its image."""
    kind = format_of(location(place.ignore))
    oriented = kind is not None and kind.affine
    return ArrayPlace(like=place.like if oriented else "", external_files=place.external_files)


def check_mask_shape(place: ArrayPlace, path: Path, shape: object, expected: object) -> None:
    """Raise an error if the mask of excluded pixels has another shape than its labels.

    Parameters
    ----------
    place : ArrayPlace
        Selection of the labels, with the file of the mask.
    path : Path
        File of the labels.
    shape, expected : tuple of int
        Spatial shapes of the mask and of the labels.

    Raises
    ------
    UserError
        ``labels.ignore_shape``
    """
    if shape != expected:
        raise UserError(
            f"{place.ignore}: got a mask of shape {shape}, expected {expected}, as {path}",
            "provide masks with the shape of their labels in IGNORE_PATH",
            "labels.ignore_shape",
        )


def is_sparse_set(path: Path, array: AnyArray, place: ArrayPlace | None) -> bool:
    """Return True if the label images of a data set use 0 for the background.

    Then -1 means that a pixel is not annotated. Without 0, -1 is probably the background.

    Parameters
    ----------
    path : Path
        Label file that contains -1. The other label files of its folder belong to the data set.
    array : ndarray, shape (…, c)
        Values of the file, ids first.
    place : ArrayPlace, optional
        Selection of the labels in each file.
    """
    if (array[..., 0] == 0).any():
        return True
    place = replace(place or ArrayPlace(), like="", ignore="")
    has_word = _has_label_word(path)
    for other in list_images(path.parent, "labels"):
        if other == path or _has_label_word(other) != has_word:
            continue
        with suppress(UserError):  # errors of other files are reported when these are read
            if (read_pixels(other, place, labels=True)[0] == 0).any():
                return True
    return False


def sparse_type(stored: np.dtype[Any]) -> np.dtype[Any]:
    """Return the signed type for the ids of a file of this type, and for -1."""
    if stored.kind == "i":
        return stored.newbyteorder("=")
    wider = {1: np.int16, 2: np.int32} if stored.kind in ("b", "u") else {}
    return np.dtype(wider.get(stored.itemsize, np.int64))


def _has_label_word(path: Path) -> bool:
    return any(pattern.search(stem_of(path)) for pattern in LABEL_PATTERNS)
