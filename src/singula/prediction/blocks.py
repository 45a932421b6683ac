"""The maps of one block of an image that is never in memory as a whole.

A block is predicted with a halo, in windows or tiles as an image in memory would have them: the
network's pooling lies the same way, and what is mirrored at the image's border is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.boxes import Box, local, shape_of
from singula.data.normalize import Scaling
from singula.data.patches import TilePlan, read_patch
from singula.prediction.predict import FloatArray, Predictor, PredictSettings
from singula.prediction.windows import Windows, region_windows

Read = Callable[[Box], npt.NDArray[Any]]
_KEPT_CONSTANTS = 4


@dataclass(frozen=True)
class BlockPlan:
    """How the blocks of an image are predicted.

    Parameters
    ----------
    shape : tuple of int
        Spatial shape of the image.
    margin, halo, multiple, least : tuple of int
        As in `fast_windows`.
    largest : int
        Pixels of a window at most.
    reach : tuple of int
        How far the network sees; 0 where that is not known.
    tiles : TilePlan, optional
        Predict in these tiles instead, blended where they overlap.
    """

    shape: tuple[int, ...]
    margin: tuple[int, ...]
    halo: tuple[int, ...]
    multiple: tuple[int, ...]
    least: tuple[int, ...]
    largest: int
    reach: tuple[int, ...] = ()
    tiles: TilePlan | None = None

    def region(self, core: Box) -> tuple[Box, Windows | TilePlan]:
        """What is predicted for a block, in pixels of the image, and in which parts.

        With windows it may begin and end outside the image, in the margin.
        """
        if self.tiles is not None:
            return _touched(core, self.tiles, self.shape), self.tiles
        box = []
        values = zip(core, self.shape, self.margin, self.halo, self.multiple, strict=True)
        for part, size, margin, halo, step in values:
            last = ceil((size + 2 * margin) / step) * step - margin
            low = (part.start - halo + margin) // step * step - margin
            high = ceil((part.stop + halo + margin) / step) * step - margin
            box.append(slice(max(low, -margin), min(high, last)))
        shape = [part.stop - part.start for part in box]
        windows = region_windows(shape, self.halo, self.multiple, self.least, self.largest)
        if windows is None:
            raise MemoryError("no window is small enough")
        return tuple(box), windows


def block_plan(
    shape: Sequence[int],
    settings: PredictSettings,
    halo: Sequence[int],
    reach: Sequence[int],
    least: Sequence[int],
    largest: int,
) -> BlockPlan:
    """Plan the blocks of an image as `settings` plan it whole.

    Parameters
    ----------
    shape : sequence of int
        Spatial shape of the image.
    settings : PredictSettings
        Those of the whole image; tiles stay, windows are chosen for each block.
    halo : sequence of int
        As `block_halo` gives it.
    reach, least, largest
        As for `fast_windows`.
    """
    plan = settings.plan
    if isinstance(plan, TilePlan):
        nothing = (0,) * len(plan.patch)
        return BlockPlan(tuple(shape), nothing, nothing, plan.multiple, plan.patch, 0, tiles=plan)
    return BlockPlan(
        tuple(shape), plan.margin, tuple(halo), plan.multiple, tuple(least), largest, tuple(reach)
    )


class BlockPredictor:
    """Predicts block after block of one image.

    Parameters
    ----------
    predictor : Predictor
    plan : BlockPlan
    read : callable
        Pixels (..., channels) of a box of the image.
    scaling : Scaling
        From statistics of the whole image or set.
    settings : PredictSettings
        Its plan is not used.
    fill : ndarray, optional
        What lies beyond the image, a value for each channel, instead of its mirror image.
    """

    def __init__(
        self,
        predictor: Predictor,
        plan: BlockPlan,
        read: Read,
        scaling: Scaling,
        settings: PredictSettings,
        fill: npt.NDArray[np.floating[Any]] | None = None,
    ) -> None:
        self.predictor, self.plan, self.read = predictor, plan, read
        self.scaling, self.settings, self.fill = scaling, settings, fill
        self._constants: dict[tuple[float, ...], dict[str, FloatArray]] = {}

    def __call__(self, core: Box) -> dict[str, FloatArray]:
        """Maps by name, each of the block's shape.

        Where all that is seen has the same value, as far from any specimen, only a small image of
        that value goes through the network.
        """
        region, windows = self.plan.region(core)
        pixels = self.read(_needed(region, windows, self.plan.shape))
        first = pixels[(0,) * (pixels.ndim - 1)]
        if self.plan.reach and all(self.plan.reach) and (pixels == first).all():
            return self._of_constant(core, first)
        return self._predict(self.plan, core, pixels)

    def _predict(
        self, plan: BlockPlan, core: Box, pixels: npt.NDArray[Any]
    ) -> dict[str, FloatArray]:
        """Maps of a block, from the pixels that are seen."""
        region, windows = plan.region(core)
        box = _needed(region, windows, plan.shape)
        origin = tuple(r.start - b.start for r, b in zip(region, box, strict=True))

        def cut(start: tuple[int, ...]) -> npt.NDArray[Any]:
            begin = tuple(s + o for s, o in zip(start, origin, strict=True))
            return read_patch(pixels, begin, windows.patch, self.fill)

        settings = replace(self.settings, plan=windows)
        maps = self.predictor.predict_patches(cut, shape_of(region), self.scaling, settings)
        inner = local(core, region)
        return {name: np.ascontiguousarray(values[inner]) for name, values in maps.items()}

    def _of_constant(self, core: Box, value: npt.NDArray[Any]) -> dict[str, FloatArray]:
        """Maps of a block where the image is the same all around.

        What the network gives there depends on how far a pixel is from the image's ends, where
        these are in its reach, and on how it lies to the pooling: all of that occurs in a small
        image.
        """
        small, index = [], []
        values = zip(core, self.plan.shape, self.plan.reach, self.plan.multiple, strict=True)
        for part, size, reach, step in values:
            edge = ceil(reach / step) * step
            length = min(size, 2 * edge + step + size % step)
            places = np.arange(part.start, part.stop)
            behind = places >= size - (length - edge - step)
            middle = edge + places % step
            index.append(np.where(behind, places - size + length, middle))
            index[-1][places < edge] = places[places < edge]
            small.append(length)
        key = tuple(value.tolist())
        if key not in self._constants:
            if len(self._constants) >= _KEPT_CONSTANTS:
                self._constants.pop(next(iter(self._constants)))
            plan = replace(self.plan, shape=tuple(small))
            whole = tuple(slice(0, length) for length in small)
            pixels = np.broadcast_to(value, (*small, len(value)))
            self._constants[key] = self._predict(plan, whole, pixels)
        return {name: _taken(values, index) for name, values in self._constants[key].items()}


def _taken(values: FloatArray, index: Sequence[npt.NDArray[np.intp]]) -> FloatArray:
    """The product of places along each axis; five times as fast as by one index for all."""
    for axis in reversed(range(len(index))):
        values = values.take(index[axis], axis)
    return values


def _touched(core: Box, plan: TilePlan, shape: Sequence[int]) -> Box:
    """What the cores of the tiles that touch a block cover together."""
    box = []
    for part, starts, length, size in zip(core, plan.starts(shape), plan.core, shape, strict=True):
        met = [s for s in starts if s < part.stop and s + length > part.start]
        box.append(slice(met[0], min(met[-1] + length, size)))
    return tuple(box)


def _needed(region: Box, plan: Windows | TilePlan, shape: Sequence[int]) -> Box:
    """The pixels that are seen, with those that are mirrored at the image's border."""
    around = plan.padding if isinstance(plan, TilePlan) else (0,) * len(region)
    box = []
    for part, pad, length, size in zip(region, around, plan.patch, shape, strict=True):
        low = part.start - pad
        high = max(part.stop + pad, low + length)
        if isinstance(plan, TilePlan):
            core = length - 2 * pad
            high = max(high, part.start + ceil((part.stop - part.start) / core) * core + pad)
        before, after = max(0, -low), max(0, high - size)
        box.append(slice(max(0, min(low, size - 1 - after)), min(size, max(high, before + 1))))
    return tuple(box)
