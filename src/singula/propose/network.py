"""Choices of what the network sees and is: levels, pooling, patch, batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from singula.propose.choice import Choice
from singula.propose.sizes import Sizes
from singula.survey import Machine, PartFacts, Survey
from singula.words import counted

_LEAST_SIDE = {2: 128, 3: 64}
_MOST_SIDE = {2: 512, 3: 192}
_OBJECTS = {2: 2.5, 3: 2.0}
"""Large objects that fit into a patch side by side."""
_MOST_LEVELS = {2: 5, 3: 4}
_PATCH_PIXELS = {("cpu", 2): 1 << 18, ("cpu", 3): 1 << 17, ("gpu", 2): 1 << 18, ("gpu", 3): 1 << 20}
_STEP_PIXELS = {("cpu", 2): 1 << 17, ("cpu", 3): 1 << 18, ("gpu", 2): 1 << 20, ("gpu", 3): 1 << 21}
_BYTES_PER_PIXEL = 100  # of training, for each feature map of the finest level
_ANISOTROPIC = 1.5


def kind_of(machine: Machine) -> str:
    """Either cpu or gpu."""
    return "gpu" if machine.gpus else "cpu"


def typical_shape(part: PartFacts) -> tuple[int, ...]:
    """A shape that three quarters of the images hold along each axis."""
    return tuple(int(side) for side in np.percentile(np.array(part.shapes), 25, axis=0))


def pooling(
    sizes: Sizes, shape: Sequence[int], anisotropy: float, machine: Machine
) -> tuple[Choice, list[Choice]]:
    """Feature maps, and in volumes the shrinking along z.

    The coarsest level sees large objects as a few pixels; an axis is halved only while something
    is left of the image.
    """
    wanted = 1 + math.floor(math.log2(max(2.0, sizes.side / 3)))
    levels = min(max(wanted, 3), _MOST_LEVELS[sizes.ndim])
    while levels > 2 and 2 ** (levels - 1) > max(2, min(shape[-2:]) // 4):
        levels -= 1
    width = 32 if machine.gpus else 16
    maps = [width * 2**level for level in range(levels)]
    why = (
        f"{levels} levels: large objects ({sizes.side:.0f} pixels) keep a few pixels at the lowest"
    )
    made = Choice("MODEL.FEATURE_MAPS", maps, why + ("" if machine.gpus else "; narrow, for a CPU"))
    if sizes.ndim == 2:
        return made, []
    steps = z_steps(levels, shape[0], anisotropy)
    return made, [Choice("MODEL.Z_DOWN", steps, _why_steps(steps, anisotropy, shape[0]))]


def z_steps(levels: int, depth: int, anisotropy: float) -> list[int]:
    """Shrinking along z between levels: not while voxels are deeper than wide, nor below 4."""
    steps, ratio, left = [], anisotropy, depth
    for _ in range(levels - 1):
        step = 2 if ratio < _ANISOTROPIC and left >= 8 else 1
        steps.append(step)
        ratio, left = ratio * step / 2, left // step
    return steps


def _why_steps(steps: Sequence[int], anisotropy: float, depth: int) -> str:
    if anisotropy >= _ANISOTROPIC:
        later = "z is downsampled later" if 2 in steps else "z is never downsampled"
        return f"voxels are {anisotropy:.3g} times deeper than wide: {later}"
    if 1 in steps:
        return f"the volume has only {counted(depth, 'slice')}"
    return "voxels are about as deep as wide"


def patch(
    survey: Survey, sizes: Sizes, shape: Sequence[int], steps: Sequence[Sequence[int]]
) -> Choice:
    """What the network sees at once.

    Parameters
    ----------
    shape : sequence of int
        What most images hold.
    steps : sequence of sequence of int
        Pooling per axis, level by level.
    """
    ndim = survey.ndim
    multiple = [math.prod(along) for along in zip(*steps, strict=True)]
    scale = [survey.anisotropy, 1.0, 1.0][-ndim:]
    wanted = max(_LEAST_SIDE[ndim], min(_OBJECTS[ndim] * sizes.side, _MOST_SIDE[ndim]))
    most = _PATCH_PIXELS[kind_of(survey.machine), ndim]
    # Sides in the plane agree, so that patches can be turned.
    plane = min(wanted, *shape[-2:])
    sides = [0] * ndim
    while True:
        for axis in range(ndim):
            room = plane if axis >= ndim - 2 else min(plane / scale[axis], shape[axis])
            flat = ndim == 3 and axis == 0 and scale[0] >= _ANISOTROPIC
            grid = multiple[axis] if flat else max(multiple[axis], 16)
            sides[axis] = _fit(room, shape[axis], grid, multiple[axis])
        smallest = max(multiple[-2:])
        if math.prod(sides) <= most or plane <= smallest:
            break
        plane *= 0.9
    value = (*sides, survey.channels)
    axes = "y, x" if ndim == 2 else "z, y, x"
    return Choice(
        "DATA.PATCH_SIZE",
        value,
        f"{axes}, channels: the shorter side is "
        f"{min(sides[-2:]) / sizes.side:.1f} times a large object ({sizes.side:.0f} pixels); "
        f"most images are {_times(shape)}",
    )


def _fit(room: float, size: int, grid: int, multiple: int) -> int:
    """A side near `room` on a coarse grid, inside the image where a multiple is."""
    side = max(1, round(room / grid)) * grid
    while side > size and side > grid:
        side -= grid
    if side > size:
        side = max(multiple, size // multiple * multiple)
    return int(side)


def _times(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) + " or larger"


def mirror() -> Choice:
    """What to do with images smaller than a patch."""
    return Choice(
        "DATA.REFLECT_TO_COMPLETE_SHAPE", True, note="images smaller than a patch are mirrored"
    )


def batch(survey: Survey, patch_size: Sequence[int], width: int, patches: int) -> Choice:
    """Patches per step: enough for steady gradients, within memory."""
    kind, pixels = kind_of(survey.machine), math.prod(patch_size[:-1])
    wanted = _STEP_PIXELS[kind, survey.ndim] / pixels
    memory = survey.machine.gpu_memory if survey.machine.gpus else survey.machine.memory
    held = memory / 2 / (pixels * width * _BYTES_PER_PIXEL)
    number = int(max(1, min(max(2, min(round(wanted), 32)), held, max(2, patches // 2))))
    why = f"{number * pixels / 1e6:.2f} million pixels per step on a {kind.upper()}"
    if number > held - 1:
        why = f"memory ({memory / 2**30:.0f} GiB) does not hold more"
    return Choice("TRAIN.BATCH_SIZE", number, why)


def padding(patch_size: Sequence[int]) -> Choice:
    """Rim of the tiles that is seen and not kept."""
    rim = tuple(side // 8 for side in patch_size[:-1])
    return Choice(
        "DATA.TEST.PADDING", rim, "an eighth of a patch is predicted as context, which avoids seams"
    )
