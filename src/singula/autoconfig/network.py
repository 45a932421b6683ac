"""Choice of levels, pooling, patch size and batch size of the network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from singula.autoconfig.setting import Choice
from singula.autoconfig.sizes import Sizes
from singula.dataset.facts import Machine, PartFacts, Survey
from singula.util.architectures import REARRANGED, downsampling_steps
from singula.util.format import counted, shape_text

_MIN_SIDE = {2: 128, 3: 64}
_MAX_SIDE = {2: 512, 3: 192}
_OBJECTS_PER_SIDE = {2: 2.5, 3: 2.0}  # side of a patch / side of a large object
_MAX_LEVELS = {2: 5, 3: 4}
_PATCH_PIXELS = {("cpu", 2): 1 << 18, ("cpu", 3): 1 << 17, ("gpu", 2): 1 << 18, ("gpu", 3): 1 << 20}
_STEP_PIXELS = {("cpu", 2): 1 << 17, ("cpu", 3): 1 << 18, ("gpu", 2): 1 << 20, ("gpu", 3): 1 << 21}
_BYTES_PER_PIXEL = 100  # memory of training per feature map of the finest level
# Duration of a training step of `unet_light` relative to that of `unet` of the same width, and
# median radius in pixels below which objects need the full resolution
_LIGHT_COST = {2: 0.25, 3: 0.15}
_MIN_RADIUS = 3.0
_ANISOTROPIC = 1.5  # minimum ratio of voxel sizes for which z is downsampled later


def device_kind(machine: Machine) -> str:
    """Return "gpu" if the machine has a GPU, else "cpu"."""
    return "gpu" if machine.gpus else "cpu"


def typical_shape(part: PartFacts) -> tuple[int, ...]:
    """Return the 25th percentile of the image shapes along each axis."""
    return tuple(int(side) for side in np.percentile(np.array(part.shapes), 25, axis=0))


@dataclass(frozen=True)
class Network:
    """Chosen architecture and its levels.

    Parameters
    ----------
    choices : tuple of Choice
        ``MODEL.ARCHITECTURE``, ``MODEL.FEATURE_MAPS`` and, in volumes, ``MODEL.Z_DOWN``.
    maps : tuple of int
        Feature maps per level.
    steps : tuple of tuple of int
        Factor per axis of each downsampling step.
    cost : float
        Duration of a training step relative to a U-Net with 16 feature maps at the finest level.
    pixel_width : float
        Feature maps of the finest level per pixel of the image.
    """

    choices: tuple[Choice, ...]
    maps: tuple[int, ...]
    steps: tuple[tuple[int, ...], ...]
    cost: float
    pixel_width: float


def choose_network(
    sizes: Sizes, shape: Sequence[int], anisotropy: float, machine: Machine
) -> Network:
    """Choose the architecture, the feature maps, and in volumes the downsampling along z.

    At the coarsest level, large objects are a few pixels wide. There are fewer levels if the images
    are too small for them. A CPU trains a network whose finest features have half the resolution of
    the image, unless objects are so small that their contours need every pixel.

    Parameters
    ----------
    sizes : Sizes
        Statistics of the training instances.
    shape : sequence of int
        Result of `typical_shape`.
    anisotropy : float
        Voxel size along z relative to the voxel size in the plane.
    machine : Machine
        Machine that trains.
    """
    wanted = 1 + math.floor(math.log2(max(2.0, sizes.side / 3)))
    levels = min(max(wanted, 3), _MAX_LEVELS[sizes.ndim])
    while levels > 2 and 2 ** (levels - 1) > max(2, min(shape[-2:]) // 4):
        levels -= 1
    along_z = z_steps(levels, shape[0], anisotropy) if sizes.ndim == 3 else []
    steps = [(*along_z[n : n + 1], 2, 2) for n in range(levels - 1)]
    width = 32 if machine.gpus else 16
    name, why = "unet", ""
    if sizes.radius < _MIN_RADIUS and not machine.gpus:
        why = f"objects have a radius of {sizes.radius:.1f} pixels, so every pixel counts"
    elif levels > 2 and not machine.gpus:
        levels -= 1
        name, why = "unet_light", "half the resolution inside of the network: a CPU trains faster"
    maps = tuple(width * 2**level for level in range(levels))
    depth = (
        f"{levels} levels: at the coarsest, large objects ({sizes.side:.0f} pixels) are a few "
        f"pixels wide{'' if machine.gpus else '; narrow, for a CPU'}"
    )
    choices = [
        Choice("MODEL.ARCHITECTURE", name, why),
        Choice("MODEL.FEATURE_MAPS", list(maps), depth),
    ]
    if along_z:
        choices.append(Choice("MODEL.Z_DOWN", along_z, _why_steps(along_z, anisotropy, shape[0])))
    return Network(tuple(choices), maps, tuple(steps), *_cost(name, width, steps[0]))


def fixed_network(fixed: Mapping[str, Choice], ndim: int) -> Network | None:
    """Return the network of fixed choices; None if they do not determine it.

    Parameters
    ----------
    fixed : mapping of str to Choice
        Choices by key.
    ndim : int
        Number of spatial axes.
    """
    keys = ("MODEL.ARCHITECTURE", "MODEL.FEATURE_MAPS", "MODEL.Z_DOWN")
    chosen = [fixed[key] for key in keys if key in fixed]
    if len(chosen) < len(keys) - (ndim == 2):
        return None
    name, maps = chosen[0].value, tuple(chosen[1].value)
    levels = downsampling_steps(name, len(maps))
    along_z = [step or 2 for step in chosen[2].value] if ndim == 3 else []
    steps = [(*along_z[n : n + 1], 2, 2) for n in range(levels)]
    first_step = steps[0] if steps else (1,) * ndim
    return Network(tuple(chosen), maps, tuple(steps), *_cost(name, maps[0], first_step))


def _cost(name: str, width: int, first_step: Sequence[int]) -> tuple[float, float]:
    """Return the relative duration of a training step, and the feature maps per pixel."""
    cost = (width / 16) ** 1.5
    if name.lower() not in REARRANGED:
        return cost, float(width)
    return cost * _LIGHT_COST[len(first_step)], width / math.prod(first_step)


def z_steps(levels: int, depth: int, anisotropy: float) -> list[int]:
    """Return the downsampling factors along z, 1 or 2 per step between levels.

    z is not downsampled while voxels are much deeper than wide, or if fewer than 4 slices would
    remain.

    Parameters
    ----------
    levels : int
        Number of levels.
    depth : int
        Number of slices.
    anisotropy : float
        Voxel size along z relative to the voxel size in the plane.
    """
    steps, ratio, remaining = [], anisotropy, depth
    for _ in range(levels - 1):
        step = 2 if ratio < _ANISOTROPIC and remaining >= 8 else 1
        steps.append(step)
        ratio, remaining = ratio * step / 2, remaining // step
    return steps


def _why_steps(steps: Sequence[int], anisotropy: float, depth: int) -> str:
    """Return the reason for the downsampling along z."""
    if anisotropy >= _ANISOTROPIC:
        later = "z is downsampled later" if 2 in steps else "z is never downsampled"
        return f"voxels are {anisotropy:.3g} times deeper than wide: {later}"
    if 1 in steps:
        return f"the volume has only {counted(depth, 'slice')}"
    return "voxels are about as deep as wide"


def choose_patch_size(
    survey: Survey, sizes: Sizes, shape: Sequence[int], steps: Sequence[Sequence[int]]
) -> Choice:
    """Choose the patch size.

    Parameters
    ----------
    survey : Survey
        Measurements of the data set.
    sizes : Sizes
        Statistics of the training instances.
    shape : sequence of int
        Result of `typical_shape`.
    steps : sequence of sequence of int
        Pooling factors per axis, for each step between levels.
    """
    ndim = survey.ndim
    multiple = [math.prod(along) for along in zip(*steps, strict=True)]
    scale = [survey.anisotropy, 1.0, 1.0][-ndim:]
    wanted = max(_MIN_SIDE[ndim], min(_OBJECTS_PER_SIDE[ndim] * sizes.side, _MAX_SIDE[ndim]))
    max_pixels = _PATCH_PIXELS[device_kind(survey.machine), ndim]
    # Patches are square in the plane, so that augmentation can rotate them.
    plane = min(wanted, *shape[-2:])
    sides = [0] * ndim
    while True:
        for axis in range(ndim):
            target = plane if axis >= ndim - 2 else min(plane / scale[axis], shape[axis])
            flat = ndim == 3 and axis == 0 and scale[0] >= _ANISOTROPIC
            grid = multiple[axis] if flat else max(multiple[axis], 16)
            sides[axis] = _fit(target, shape[axis], grid, multiple[axis])
        smallest = max(multiple[-2:])
        if math.prod(sides) <= max_pixels or plane <= smallest:
            break
        plane *= 0.9
    value = (*sides, survey.channels)
    axes = "y, x" if ndim == 2 else "z, y, x"
    return Choice(
        "DATA.PATCH_SIZE",
        value,
        f"{axes}, channels: the shorter side is "
        f"{min(sides[-2:]) / sizes.side:.1f} times a large object ({sizes.side:.0f} pixels); "
        f"most images are {_min_shape_text(shape)}",
    )


def _fit(target: float, size: int, grid: int, multiple: int) -> int:
    """Return a side near `target` on a coarse grid, within the image if a multiple fits."""
    side = max(1, round(target / grid)) * grid
    while side > size and side > grid:
        side -= grid
    if side > size:
        side = max(multiple, size // multiple * multiple)
    return int(side)


def _min_shape_text(shape: Sequence[int]) -> str:
    """Return a minimum shape as text."""
    return f"{shape_text(shape)} or larger"


def choose_mirroring() -> Choice:
    """Choose to mirror images that are smaller than a patch."""
    return Choice(
        "DATA.REFLECT_TO_COMPLETE_SHAPE", True, note="images smaller than a patch are mirrored"
    )


def choose_batch_size(
    survey: Survey, patch_size: Sequence[int], width: float, patches: int
) -> Choice:
    """Choose the batch size: large enough for stable gradients, within memory.

    Parameters
    ----------
    survey : Survey
        Measurements of the data set.
    patch_size : sequence of int
        Sides of a patch and its channels.
    width : float
        Feature maps of the finest level per pixel of the image.
    patches : int
        Number of patches that cover the training images.
    """
    kind, pixels = device_kind(survey.machine), math.prod(patch_size[:-1])
    wanted = _STEP_PIXELS[kind, survey.ndim] / pixels
    memory = survey.machine.gpu_memory if survey.machine.gpus else survey.machine.memory
    max_patches = memory / 2 / (pixels * width * _BYTES_PER_PIXEL)
    number = int(max(1, min(max(2, min(round(wanted), 32)), max_patches, max(2, patches // 2))))
    why = f"{number * pixels / 1e6:.2f} million pixels per step on a {kind.upper()}"
    if number > max_patches - 1:
        why = f"memory ({memory / 2**30:.0f} GiB) is too small for more"
    return Choice("TRAIN.BATCH_SIZE", number, why)


def choose_padding(patch_size: Sequence[int]) -> Choice:
    """Choose the padding of the tiles of the test: context that is predicted and discarded."""
    width = tuple(side // 8 for side in patch_size[:-1])
    return Choice(
        "DATA.TEST.PADDING",
        width,
        "an eighth of a patch is predicted as context, which avoids seams",
    )
