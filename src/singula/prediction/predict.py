"""Predict the maps of an image tile by tile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from singula.data.normalize import Scaling
from singula.data.patches import Tile, TilePlan, read_patch
from singula.prediction.tta import mean_over_views
from singula.prediction.windows import Windows
from singula.training.losses import Output, activate

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PredictSettings:
    """How an image is cut and sent through the network.

    Parameters
    ----------
    plan : TilePlan or Windows
        Tiles with overlap and padding, or those that are chosen for speed.
    batch_size : int
        Tiles per forward pass.
    augment : bool
        Average over mirrored and turned views (8 in 2D, 16 in 3D).
    half : bool
        Keep the maps in float16: half the memory, for probabilities within 1e-3.
    median_padding : bool
        What lies beyond the image's edge is the median of each channel, not a reflection.
    """

    plan: TilePlan | Windows
    batch_size: int = 4
    augment: bool = False
    half: bool = False
    median_padding: bool = False


def whole_plan(shape: Sequence[int], multiple: tuple[int, ...]) -> TilePlan:
    """One tile that holds the whole image, mirrored at its end up to the network's multiple."""
    ndim = len(multiple)
    patch = tuple(-(-s // m) * m for s, m in zip(shape, multiple, strict=True))
    return TilePlan(patch, (0.0,) * ndim, (0,) * ndim, multiple)


class Predictor:
    """A trained network and what its outputs mean.

    Parameters
    ----------
    network : Module
        Weights in place; moved to `device` and set to evaluation.
    outputs : sequence of Output
        Channels in the network's order.
    n_classes : int
        Classes after the channels, 0 for none.
    device : torch.device
    bfloat16 : bool
        Convolve in bfloat16 arithmetic: up to twice as fast on processors that have it; single
        pixels of the maps differ by some hundredths.
    """

    def __init__(
        self,
        network: nn.Module,
        outputs: Sequence[Output],
        n_classes: int = 0,
        device: torch.device | None = None,
        *,
        bfloat16: bool = False,
    ) -> None:
        self.outputs = tuple(outputs)
        self.n_classes = n_classes
        self.device = device or torch.device("cpu")
        self.bfloat16 = bfloat16
        self.network = network.to(self.device).eval()

    @property
    def width(self) -> int:
        """Channels of the network's output."""
        return len(self.outputs) + self.n_classes

    def forward(self, batch: Tensor) -> Tensor:
        """Channel values (N, width, …) of a normalised batch (N, C, …)."""
        layout = torch.channels_last if batch.ndim == 4 else torch.channels_last_3d
        batch = batch.contiguous(memory_format=layout)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            logits = self.network(batch)
        logits = logits.float()
        for index, output in enumerate(self.outputs):
            logits[:, index] = activate(logits[:, index], output.activation)
        if self.n_classes:
            logits[:, len(self.outputs) :] = logits[:, len(self.outputs) :].softmax(1)
        result: Tensor = logits
        return result

    def predict(
        self,
        image: npt.NDArray[Any],
        scaling: Scaling,
        settings: PredictSettings,
    ) -> dict[str, FloatArray]:
        """Maps by name, each with the image's spatial shape.

        Parameters
        ----------
        image : ndarray
            (y, x, c) or (z, y, x, c), any numeric type.
        scaling : Scaling
            Normalisation, from statistics of the whole image or set.
        settings : PredictSettings
            Tiles; where cores overlap, maps are blended linearly.

        Returns
        -------
        dict of str to ndarray
            float32 (float16 with `half`); with a class head also ``class``, the most probable
            class (uint8 or uint16).
        """
        shape, plan = image.shape[:-1], settings.plan
        dtype = np.float16 if settings.half else np.float32
        result = np.zeros((self.width, *shape), dtype)
        blend = _Blend(shape, plan) if isinstance(plan, TilePlan) else None
        fill = None
        if settings.median_padding:
            fill = np.median(image, axis=tuple(range(len(shape)))).astype(np.float32)
        with torch.inference_mode():
            for tiles in _batches(plan.tiles(shape), settings.batch_size):
                patches = [
                    scaling.apply(read_patch(image, t.start, plan.patch, fill)) for t in tiles
                ]
                batch = torch.from_numpy(np.moveaxis(np.stack(patches), -1, 1))
                batch = batch.contiguous().to(self.device)
                if settings.augment:
                    maps = mean_over_views(self.forward, batch)
                else:
                    maps = self.forward(batch)
                for tile, values in zip(tiles, maps.cpu().numpy(), strict=True):
                    kept = values[(slice(None), *tile.inner)]
                    if blend is not None and blend.needed:
                        blend.add(result, tile, kept)
                    else:
                        result[(slice(None), *tile.outer)] = kept
        if blend is not None and blend.needed:
            blend.finish(result)
        return self._by_name(result)

    def _by_name(self, result: FloatArray) -> dict[str, FloatArray]:
        maps = {output.name: result[index] for index, output in enumerate(self.outputs)}
        if self.n_classes:
            dtype = np.uint8 if self.n_classes <= 256 else np.uint16
            maps["class"] = result[len(self.outputs) :].argmax(0).astype(dtype)
        return maps


def _batches(tiles: Iterator[Tile], size: int) -> Iterator[list[Tile]]:
    while batch := list(islice(tiles, size)):
        yield batch


class _Blend:
    """Writes tiles into the result; overlapping cores are weighted with a linear ramp.

    The tiles form a grid and the weight of a pixel is a product over the axes, so the sum of the
    weights is a product too: one vector per axis instead of an image of weights. It is `needed`
    only where cores overlap.
    """

    def __init__(self, shape: Sequence[int], plan: TilePlan) -> None:
        self.ramps: list[FloatArray] = []
        self.sums: list[FloatArray] = []
        self.needed = False
        for size, core, starts in zip(shape, plan.core, plan.starts(shape), strict=True):
            shared = core - (starts[1] - starts[0]) if len(starts) > 1 else 0
            self.needed |= shared > 0
            distance = np.minimum(np.arange(core), np.arange(core)[::-1]) + 1
            ramp = np.minimum(distance / (shared + 1), 1.0).astype(np.float32)
            total = np.zeros(size, np.float32)
            for start in starts:
                part = total[start : start + core]
                part += ramp[: len(part)]
            self.ramps.append(ramp)
            self.sums.append(total)

    def add(self, result: FloatArray, tile: Tile, kept: FloatArray) -> None:
        """Put the kept part of a tile in its place."""
        weighted = kept
        for axis, ramp in enumerate(self.ramps):
            weighted = weighted * _along(ramp[: kept.shape[axis + 1]], axis, len(self.ramps))
        result[(slice(None), *tile.outer)] += weighted

    def finish(self, result: FloatArray) -> None:
        """Divide by the sum of the weights."""
        for axis, total in enumerate(self.sums):
            result /= _along(total, axis, len(self.sums))


def _along(vector: FloatArray, axis: int, ndim: int) -> FloatArray:
    return vector.reshape((-1,) + (1,) * (ndim - 1 - axis))
