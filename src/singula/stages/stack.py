"""Images of one size as the slices of a volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.errors import UserError
from singula.io.image import Image
from singula.io.pairs import Pair
from singula.stages.finish import Truth
from singula.stages.reading import Reader
from singula.words import counted

Maps = dict[str, npt.NDArray[Any]]
# Image, truth and mask
Loaded = tuple[Image, Truth | None, npt.NDArray[Any] | None]


def check_slices(pairs: Sequence[Pair], failed: Mapping[str, str], reader: Reader) -> None:
    """See by their headers that images are the slices of one volume.

    Raises
    ------
    UserError
        Naming images of another size, or that cannot be read.
    """
    if failed:
        refuse_gaps(failed, with_reason=True)
    _refuse_sizes({pair.name: reader.shape(pair.image, pair.arrays) for pair in pairs})


def refuse_gaps(failed: Mapping[str, str], *, with_reason: bool) -> None:
    """Refuse a stack with missing slices, whose neighbors would become adjacent.

    Parameters
    ----------
    failed : mapping
        Reason by image.
    with_reason : bool
        Add the reason of the first one; False where each image's reason was printed already.

    Raises
    ------
    UserError
        Always.
    """
    name, reason = next(iter(failed.items()))
    raise UserError(
        f"TEST.ANALIZE_2D_IMGS_AS_3D_STACK: {counted(len(failed), 'image')} could not be done, "
        f"so there is no whole stack; {name}{f': {reason}' if with_reason else ''}",
        "correct or take out these images, or set TEST.ANALIZE_2D_IMGS_AS_3D_STACK: False",
    )


def _refuse_sizes(shapes: Mapping[str, tuple[int, ...]]) -> None:
    first = next(iter(shapes.values()))
    others = [f"{name} {shape}" for name, shape in shapes.items() if shape != first]
    if others:
        raise UserError(
            f"TEST.ANALIZE_2D_IMGS_AS_3D_STACK: images differ in size: the first is {first}, "
            f"but {', '.join(others[:5])}",
            "give images of one size, or set TEST.ANALIZE_2D_IMGS_AS_3D_STACK: False",
        )


def stack_slices(parts: Sequence[tuple[Maps, Loaded]], name: str) -> tuple[Maps, Loaded]:
    """Maps, images, truths and masks of several images as those of one volume.

    Truth or masks that some images lack are left out.

    Raises
    ------
    UserError
        Naming images of another size.
    """
    _refuse_sizes({image.name: image.spatial_shape for _, (image, _, _) in parts})
    maps = {channel: np.stack([m[channel] for m, _ in parts]) for channel in parts[0][0]}
    image = Image(np.stack([i.array for _, (i, _, _) in parts]), name=name)
    truths = [t for _, (_, t, _) in parts if t is not None]
    truth = _stack_truth(truths) if len(truths) == len(parts) else None
    masks = [m for _, (_, _, m) in parts if m is not None]
    return maps, (image, truth, np.stack(masks) if masks else None)


def _stack_truth(truths: list[Truth]) -> Truth:
    """One truth of several slices; ids are taken to go on from slice to slice."""
    classes = [t.classes for t in truths if t.classes is not None]
    return Truth(
        np.stack([t.labels for t in truths]),
        np.stack(classes) if len(classes) == len(truths) else None,
        {name: np.stack([t.maps[name] for t in truths]) for name in truths[0].maps},
    )
