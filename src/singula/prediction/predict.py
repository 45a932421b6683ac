"""Predict the maps of an image in tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from singula.data.normalize import Scaling
from singula.data.patches import Tile, TilePlan, read_patch
from singula.prediction.pipeline import run_pipeline
from singula.prediction.tile_plan import AlignedTiles
from singula.prediction.tta import mean_over_views, planes_of_outputs
from singula.training.device import without_tf32
from singula.training.losses import Output, activate

FloatArray = npt.NDArray[np.float32]
Cut = Callable[[tuple[int, ...]], npt.NDArray[Any]]
UseTile = Callable[[Tile, FloatArray], None]


@dataclass(frozen=True)
class PredictSettings:
    """Settings of the prediction of an image.

    Parameters
    ----------
    plan : TilePlan or AlignedTiles
        Tiles with overlap and padding, or tiles planned for speed.
    batch_size : int
        Tiles per forward pass.
    augment : bool
        Average over mirrored and rotated views (8 in 2D, 16 in 3D).
    half : bool
        Store probabilities in float16: half the memory, exact within 1e-3. Distances are float32.
    median_padding : bool
        Pad the image with the median of each channel instead of mirroring it.
    class_probabilities : bool
        Return the probabilities of all classes instead of the most probable class.
    """

    plan: TilePlan | AlignedTiles
    batch_size: int = 4
    augment: bool = False
    half: bool = False
    median_padding: bool = False
    class_probabilities: bool = False


def whole_plan(shape: Sequence[int], multiple: tuple[int, ...]) -> TilePlan:
    """Return a plan with one tile for the whole image, mirrored at its end to a multiple."""
    ndim = len(multiple)
    patch = tuple(-(-s // m) * m for s, m in zip(shape, multiple, strict=True))
    return TilePlan(patch, (0.0,) * ndim, (0,) * ndim, multiple)


class Predictor:
    """Predict maps with a trained network.

    Parameters
    ----------
    network : Module
        Trained network; it is moved to `device` and set to evaluation mode.
    outputs : sequence of Output
        Channels in the order of the network.
    n_classes : int
        Classes after the channels, 0 for none.
    device : torch.device
    bfloat16 : bool
        Compute convolutions in bfloat16: up to twice as fast on processors that support it; single
        pixels of the maps differ by some hundredths. A GPU without bfloat16 uses float16. If False,
        a GPU computes in float32 like a CPU, because TF32 has an error of 3e-4 per convolution.
    overlap : bool, optional
        Read and write in separate threads while the network computes. By default only on a GPU: on
        a CPU, the threads would compete with the network for the cores.
    """

    def __init__(
        self,
        network: nn.Module,
        outputs: Sequence[Output],
        n_classes: int = 0,
        device: torch.device | None = None,
        *,
        bfloat16: bool = False,
        overlap: bool | None = None,
    ) -> None:
        self.outputs = tuple(outputs)
        self.n_classes = n_classes
        self.device = device or torch.device("cpu")
        self.bfloat16 = bfloat16 and self.device.type != "mps"
        self.short = torch.bfloat16
        if self.device.type == "cuda" and bfloat16 and not torch.cuda.is_bf16_supported():
            self.short = torch.float16
        self.overlap = self.device.type == "cuda" if overlap is None else overlap
        # Only float32 convolutions without TF32 are slower in channels-last layout on a GPU.
        is_cuda = self.device.type == "cuda"
        self.exact = (is_cuda and not bfloat16) or self.device.type == "mps"
        self.network = network.to(self.device).eval()
        if self.exact:
            self.network = self.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    @property
    def width(self) -> int:
        """Number of channels of the output of the network."""
        return len(self.outputs) + self.n_classes

    def forward(self, batch: Tensor) -> Tensor:
        """Return the channel values (N, width, …) of a normalized batch (N, C, …)."""
        if self.exact:
            # With one channel, both layouts have the same memory: the strides select the layout.
            batch = batch.contiguous().flatten().view(batch.shape)
        else:
            layout = torch.channels_last if batch.ndim == 4 else torch.channels_last_3d
            batch = batch.contiguous(memory_format=layout)
        exactly = without_tf32() if self.exact else nullcontext()
        with exactly, torch.autocast(self.device.type, self.short, enabled=self.bfloat16):
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
        on_tile: UseTile | None = None,
    ) -> dict[str, FloatArray]:
        """Predict maps by name, each with the spatial shape of the image.

        Parameters
        ----------
        image : ndarray
            (y, x, c) or (z, y, x, c), any numeric type.
        scaling : Scaling
            Normalization by statistics of the whole image or set.
        settings : PredictSettings
            Tiles and options; maps are blended linearly where cores overlap.
        on_tile : callable, optional
            Receives each tile with its values, as from `predict_tiles`.

        Returns
        -------
        dict of str to ndarray
            float32 (probabilities float16 with `half`); with a class head also ``class``, the most
            probable class (uint8 or uint16). With `class_probabilities`, its last axis has the
            probability of each class (float32).
        """
        cut = patch_reader(image, settings.plan.patch, median=settings.median_padding)
        return self.predict_patches(cut, image.shape[:-1], scaling, settings, on_tile)

    def predict_patches(
        self,
        cut: Cut,
        shape: Sequence[int],
        scaling: Scaling,
        settings: PredictSettings,
        on_tile: UseTile | None = None,
    ) -> dict[str, FloatArray]:
        """Predict as `predict` does, for an image that is read in patches.

        Parameters
        ----------
        cut : callable
            Return a patch by its first pixel, which may be negative.
        shape : sequence of int
            Spatial shape of the image.
        """
        plan = settings.plan
        maps = _Maps(shape, self.outputs, self.n_classes, settings)
        canvas = _Canvas(maps, plan) if isinstance(plan, TilePlan) else None

        def keep(tile: Tile, values: FloatArray) -> None:
            if on_tile is not None:
                on_tile(tile, values)
            core = values[(slice(None), *tile.inner)]
            if canvas is None:
                maps.put(tile.outer, core)
            else:
                canvas.add(tile, core)

        order = plan.tiles(shape) if canvas is None else canvas.in_order()
        self.predict_tiles(cut, order, scaling, settings, keep)
        if canvas is not None:
            canvas.finish()
        return maps.by_name

    def predict_tiles(
        self,
        cut: Cut,
        tiles: Iterator[Tile],
        scaling: Scaling,
        settings: PredictSettings,
        use: UseTile,
    ) -> None:
        """Predict tiles and pass each with its values to `use`, in order.

        Parameters
        ----------
        cut : callable
            Return the pixels (…, channels) of a tile by its first pixel.
        tiles : iterator of Tile
        scaling : Scaling
        settings : PredictSettings
            Batch size and test-time augmentation; the plan is not used.
        use : callable
            Called with a tile and the values (`width`, …) of all its pixels.
        """

        def read(tiles: list[Tile]) -> Tensor:
            patches = [scaling.apply(cut(tile.start)) for tile in tiles]
            batch = torch.from_numpy(np.moveaxis(np.stack(patches), -1, 1)).contiguous()
            return batch.pin_memory() if self.device.type == "cuda" else batch

        def compute(batch: Tensor) -> Callable[[], FloatArray]:
            batch = batch.to(self.device, non_blocking=self.device.type == "cuda")
            forward = self.forward
            return _fetch_async(
                mean_over_views(forward, batch, **planes_of_outputs(self.outputs))
                if settings.augment
                else forward(batch)
            )

        def write(tiles: list[Tile], fetch: Callable[[], FloatArray]) -> None:
            for tile, values in zip(tiles, fetch(), strict=True):
                use(tile, values)

        batches = _batches(tiles, settings.batch_size)
        with torch.inference_mode():
            run_pipeline(batches, read, compute, write, overlap=self.overlap)


def patch_reader(image: npt.NDArray[Any], patch: Sequence[int], *, median: bool) -> Cut:
    """Return a function from the first pixel of a patch of an image to the patch.

    Parameters
    ----------
    image : ndarray
        (…, channels).
    patch : sequence of int
        Spatial shape of a patch.
    median : bool
        Fill pixels outside of the image with the median of each channel, instead of mirroring.
    """
    fill = None
    if median:
        fill = np.median(image, axis=tuple(range(image.ndim - 1))).astype(np.float64)
    return lambda start: read_patch(image, start, patch, fill)


def class_dtype(n_classes: int) -> type[np.unsignedinteger[Any]]:
    """Return the data type of the map of the most probable class."""
    return np.uint8 if n_classes <= 256 else np.uint16


def _fetch_async(values: Tensor) -> Callable[[], FloatArray]:
    """Start to copy values from a GPU; the returned function waits for the copy."""
    if values.device.type != "cuda":
        array: FloatArray = values.cpu().numpy()
        return lambda: array
    fetched = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    fetched.copy_(values, non_blocking=True)
    arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
    arrived.record(torch.cuda.current_stream(values.device))

    def wait() -> FloatArray:
        arrived.synchronize()
        result: FloatArray = fetched.numpy()
        return result

    return wait


def _batches(tiles: Iterator[Tile], size: int) -> Iterator[list[Tile]]:
    while batch := list(islice(tiles, size)):
        yield batch


class _Maps:
    """The maps of an image in their final data types.

    Half precision has an error of 2.5e-4 for a probability, but of 0.016 for a distance of 40.
    """

    def __init__(
        self,
        shape: Sequence[int],
        outputs: Sequence[Output],
        n_classes: int,
        settings: PredictSettings,
    ) -> None:
        self.shape, self.width = tuple(shape), len(outputs) + n_classes
        self.class_probabilities = settings.class_probabilities
        self.by_name: dict[str, FloatArray] = {}
        for output in outputs:
            short = settings.half and output.activation == "sigmoid"
            self.by_name[output.name] = np.zeros(shape, np.float16 if short else np.float32)
        self._channels = list(self.by_name.values())
        if n_classes and self.class_probabilities:
            self.by_name["class"] = np.zeros((*shape, n_classes), np.float32)
        elif n_classes:
            self.by_name["class"] = np.zeros(shape, class_dtype(n_classes))

    def put(self, place: tuple[slice, ...], values: FloatArray) -> None:
        """Store the final values (width, …) of a part of the image."""
        for channel, plane in zip(self._channels, values, strict=False):
            channel[place] = plane
        if "class" in self.by_name:
            classes = values[len(self._channels) :]
            self.by_name["class"][place] = (
                np.moveaxis(classes, 0, -1) if self.class_probabilities else classes.argmax(0)
            )


class _Canvas:
    """Write tiles into the maps, weighting overlapping cores with a linear ramp.

    The tiles form a grid, and the weight of a pixel is a product over the axes. The sum of the
    weights is therefore a product too: one vector per axis replaces an image of weights. Sums are
    stored in float32 for one row of tiles only, a band as long as a core along one axis: the part
    before the next row of tiles is final and is written into the maps.
    """

    def __init__(self, maps: _Maps, plan: TilePlan) -> None:
        self.maps, self.plan = maps, plan
        self.ramps: list[FloatArray] = []
        self.sums: list[FloatArray] = []
        blended = False
        for size, core, starts in zip(maps.shape, plan.core, plan.starts(maps.shape), strict=True):
            shared = core - (starts[1] - starts[0]) if len(starts) > 1 else 0
            blended |= shared > 0
            distance = np.minimum(np.arange(core), np.arange(core)[::-1]) + 1
            ramp = np.minimum(distance / (shared + 1), 1.0).astype(np.float32)
            total = np.zeros(size, np.float32)
            for start in starts:
                part = total[start : start + core]
                part += ramp[: len(part)]
            self.ramps.append(ramp)
            self.sums.append(total)
        # The axis along which a core covers the smallest part of the image
        parts = [core / size for core, size in zip(plan.core, maps.shape, strict=True)]
        self.axis = parts.index(min(parts))
        self.begin = 0
        self.band: FloatArray | None = None
        if blended:
            extent = list(maps.shape)
            extent[self.axis] = min(plan.core[self.axis], extent[self.axis])
            self.band = np.zeros((maps.width, *extent), np.float32)

    def in_order(self) -> Iterator[Tile]:
        """Return the tiles in the order of their rows."""
        tiles = self.plan.tiles(self.maps.shape)
        if self.axis == 0 or self.band is None:
            return tiles
        return iter(sorted(tiles, key=lambda tile: tile.start[self.axis]))

    def add(self, tile: Tile, core: FloatArray) -> None:
        """Add the core of a tile."""
        if self.band is None:
            self.maps.put(tile.outer, core)
            return
        along = tile.outer[self.axis]
        self._write_until(along.start)
        weighted = core
        for axis, ramp in enumerate(self.ramps):
            weighted = weighted * _along(ramp[: core.shape[axis + 1]], axis, len(self.ramps))
        place = list(tile.outer)
        place[self.axis] = slice(along.start - self.begin, along.stop - self.begin)
        self.band[(slice(None), *place)] += weighted

    def finish(self) -> None:
        """Write the last row of tiles."""
        self._write_until(self.maps.shape[self.axis])

    def _write_until(self, stop: int) -> None:
        """Divide the band before `stop` by the sum of the weights, write it, and shift the band."""
        count = stop - self.begin
        if self.band is None or count <= 0:
            return
        before: tuple[slice, ...] = (slice(None),) * self.axis
        done = self.band[(slice(None), *before, slice(0, count))]
        for axis, total in enumerate(self.sums):
            part = total[self.begin : stop] if axis == self.axis else total
            done /= _along(part, axis, len(self.sums))
        self.maps.put((*before, slice(self.begin, stop)), done)
        rest = self.band.shape[self.axis + 1] - count
        remaining = self.band[(slice(None), *before, slice(count, None))].copy()
        self.band[(slice(None), *before, slice(0, rest))] = remaining
        self.band[(slice(None), *before, slice(rest, None))] = 0
        self.begin = stop


def _along(vector: FloatArray, axis: int, ndim: int) -> FloatArray:
    return vector.reshape((-1,) + (1,) * (ndim - 1 - axis))
