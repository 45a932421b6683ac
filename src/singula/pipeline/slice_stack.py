"""Volumes whose slices are images of equal size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.errors import UserError
from singula.io.image import Image
from singula.io.pairing import Pair
from singula.pipeline.readers import Reader
from singula.pipeline.whole_image import Truth
from singula.util.format import counted

Maps = dict[str, npt.NDArray[Any]]
# Image, truth and mask
Loaded = tuple[Image, Truth | None, npt.NDArray[Any] | None]


def check_slices(pairs: Sequence[Pair], failed: Mapping[str, str], reader: Reader) -> None:
    """Refuse images that cannot be the slices of one volume, from their headers.

    Parameters
    ----------
    pairs : sequence of Pair
        Files of the images.
    failed : mapping of str to str
        Error message of each invalid image, by name.
    reader : Reader
        Reader of the headers.

    Raises
    ------
    UserError
        ``stack.missing_slices``: an image is invalid. ``stack.sizes_differ``: the images differ in
        size.
    """
    if failed:
        refuse_gaps(failed, with_reason=True)
    _refuse_sizes({pair.name: reader.shape(pair.image, pair.arrays) for pair in pairs})


def refuse_gaps(failed: Mapping[str, str], *, with_reason: bool) -> None:
    """Refuse a stack with missing slices, whose neighbors would become adjacent.

    Parameters
    ----------
    failed : mapping of str to str
        Error message of each invalid image, by name.
    with_reason : bool
        Add the first error message; False if all of them were already reported.

    Raises
    ------
    UserError
        ``stack.missing_slices``: always.
    """
    name, reason = next(iter(failed.items()))
    raise UserError(
        f"TEST.ANALIZE_2D_IMGS_AS_3D_STACK: got {counted(len(failed), 'failed image')}, expected "
        f"all slices of the stack; {name}{f': {reason}' if with_reason else ''}",
        "correct or remove these images, or set TEST.ANALIZE_2D_IMGS_AS_3D_STACK: False",
        "stack.missing_slices",
    )


def _refuse_sizes(shapes: Mapping[str, tuple[int, ...]]) -> None:
    first = next(iter(shapes.values()))
    others = [f"{name} {shape}" for name, shape in shapes.items() if shape != first]
    if others:
        raise UserError(
            f"TEST.ANALIZE_2D_IMGS_AS_3D_STACK: images differ in size: got "
            f"{', '.join(others[:5])}, expected {first}, as the first image",
            "use images of equal size, or set TEST.ANALIZE_2D_IMGS_AS_3D_STACK: False",
            "stack.sizes_differ",
        )


def stack_slices(parts: Sequence[tuple[Maps, Loaded]], name: str) -> tuple[Maps, Loaded]:
    """Stack the maps, images, ground truths and masks of several images along z.

    If an image has no ground truth or no mask, the result has none.

    Parameters
    ----------
    parts : sequence of (maps, (image, truth, mask))
        Maps by name, image, ground truth and mask of each slice.
    name : str
        Name of the stack.

    Raises
    ------
    UserError
        ``stack.sizes_differ``: the images differ in size.
    """
    _refuse_sizes({image.name: image.spatial_shape for _, (image, _, _) in parts})
    maps = {channel: np.stack([m[channel] for m, _ in parts]) for channel in parts[0][0]}
    image = Image(np.stack([i.array for _, (i, _, _) in parts]), name=name)
    truths = [t for _, (_, t, _) in parts if t is not None]
    truth = _stack_truth(truths) if len(truths) == len(parts) else None
    masks = [m for _, (_, _, m) in parts if m is not None]
    return maps, (image, truth, np.stack(masks) if masks else None)


def _stack_truth(truths: list[Truth]) -> Truth:
    """Stack ground truths along z; an id is the same instance in all slices."""
    classes = [t.classes for t in truths if t.classes is not None]
    return Truth(
        np.stack([t.labels for t in truths]),
        np.stack(classes) if len(classes) == len(truths) else None,
        {name: np.stack([t.maps[name] for t in truths]) for name in truths[0].maps},
    )
