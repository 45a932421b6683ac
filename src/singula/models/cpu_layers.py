"""Faster layers for a CPU: ELU, and batch normalization followed by ELU.

PyTorch reads and writes the features several times for a normalization and an activation, and its
ELU is limited by the exponential. Here, each pass over the memory does everything that it can, and
the exponential is a short polynomial. The values equal those of PyTorch up to rounding. Other
devices, layouts and data types use PyTorch.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_BITS = {torch.bfloat16: (torch.int16, np.uint16), torch.float32: (torch.int32, np.uint32)}
_ROW = 256  # values in a row of the loops, if that is at least one pixel
_MIN_VALUES = 1 << 16  # per thread
_MIN_JOINED = 1 << 19  # values from which one layer saves more than its calls from Python cost
_PARTS = 8  # sums of a reduction; independent of the threads, so that results are too

Bits = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Sums = npt.NDArray[np.float64]


class Elu(nn.ELU):
    """ELU (Clevert et al., ICLR 2016) that is fast on a CPU if no gradient is needed."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, …) → the same shape."""
        needs_gradient = torch.is_grad_enabled() and x.requires_grad
        if needs_gradient or self.alpha != 1 or not _is_supported(x):
            return super().forward(x)
        from singula.models.cpu_kernels import elu

        result = x if self.inplace else x.clone(memory_format=torch.preserve_format)
        values = _bits(result)
        _in_threads(lambda first, last: elu(values[first:last]), values.size, values.size)
        return result


class Layers(nn.Sequential):
    """Layers in sequence; batch normalization and ELU are one layer in the training on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers in order."""
        layers = list(self)
        index = 0
        while index < len(layers):
            layer = layers[index]
            following = layers[index + 1] if index + 1 < len(layers) else None
            if (
                isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d)
                and isinstance(following, Elu)
                and _can_join(x, layer, following)
            ):
                x = _normalize(x, layer)
                index += 2
            else:
                x = layer(x)
                index += 1
        return x


def _is_supported(x: Tensor) -> bool:
    """Return True if the compiled loops can compute a tensor with channels last."""
    return (
        x.device.type == "cpu"
        and x.dtype in _BITS
        and x.ndim > 2
        and x.numel() > 0
        and x.movedim(1, -1).is_contiguous()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and not torch.compiler.is_compiling()
    )


def _can_join(x: Tensor, norm: nn.BatchNorm2d | nn.BatchNorm3d, elu: Elu) -> bool:
    return (
        norm.training
        and norm.affine
        and norm.track_running_stats
        and norm.momentum is not None
        and norm.weight.dtype == torch.float32
        and elu.alpha == 1
        and x.ndim > 2
        and x.numel() >= max(_MIN_JOINED, 2 * x.shape[1])
        and x.shape[1] == norm.num_features
        and _is_supported(x)
    )


def _normalize(x: Tensor, norm: nn.BatchNorm2d | nn.BatchNorm3d) -> Tensor:
    """Return the ELU of the normalized values, and update the running statistics."""
    result: Tensor
    result, statistics = _NormElu.apply(x, norm.weight, norm.bias, norm.eps)  # type: ignore[no-untyped-call]
    mean, variance = statistics
    count = x.numel() // x.shape[1]
    momentum = cast(float, norm.momentum)
    with torch.no_grad():
        cast(Tensor, norm.running_mean).lerp_(mean, momentum)
        cast(Tensor, norm.running_var).lerp_(variance * (count / (count - 1)), momentum)
        cast(Tensor, norm.num_batches_tracked).add_(1)
    return result


class _NormElu(torch.autograd.Function):
    """ELU after batch normalization with the statistics of the batch.

    Ioffe & Szegedy, "Batch Normalization", ICML 2015. The backward pass computes the normalized
    values again from the input instead of storing them.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        """Return the result, and the means and biased variances of the channels (2, C)."""
        from singula.models.cpu_kernels import moments, scaled_elu

        values, channels = _bits(x), x.shape[1]
        count = values.size // channels
        origin = x.detach().movedim(1, -1).reshape(-1, channels)[0].float().numpy()
        origin_row = _row(origin)
        with np.errstate(all="ignore"):
            first, second = _reduce(
                lambda *place: moments(values, origin_row, *place), values.size, channels
            )
            shift = first / count
            mean, variance = origin + shift, np.maximum(second / count - shift**2, 0)
            inverse = 1 / np.sqrt(variance + eps)
            scale = weight.detach().numpy() * inverse
            offset = bias.detach().numpy() - mean * scale
        result = torch.empty_like(x)
        written, scale_row, offset_row = _bits(result), _row(scale), _row(offset)
        _over_rows(
            lambda *place: scaled_elu(values, written, scale_row, offset_row, *place),
            values.size,
            scale_row.size,
        )
        ctx.save_for_backward(x, result)
        ctx.statistics = mean, inverse, scale
        statistics = torch.from_numpy(np.stack([mean, variance]).astype(np.float32))
        ctx.mark_non_differentiable(statistics)
        return result, statistics

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor, None]:
        """Return the gradients of the input, the weight and the bias."""
        from singula.models.cpu_kernels import gradient_moments, input_gradient

        x, elu = ctx.saved_tensors
        mean, inverse, scale = ctx.statistics
        gradient = gradient.to(x.dtype).movedim(1, -1).contiguous().movedim(-1, 1)
        values, channels = _bits(x), x.shape[1]
        inputs = values, _bits(elu), _bits(gradient)
        count = values.size // channels
        mean_row = _row(mean)
        with np.errstate(all="ignore"):
            first, second = _reduce(
                lambda *place: gradient_moments(*inputs, mean_row, *place),
                values.size,
                channels,
            )
            shift, slope = scale * first / count, scale * inverse**2 * second / count
        rows = _row(scale), mean_row, _row(shift), _row(slope)
        result = torch.empty_like(x)
        written = _bits(result)
        _over_rows(
            lambda *place: input_gradient(*inputs, written, *rows, *place),
            values.size,
            mean_row.size,
        )
        of_weight, of_bias = (second * inverse).astype(np.float32), first.astype(np.float32)
        return result, torch.from_numpy(of_weight), torch.from_numpy(of_bias), None


def _bits(x: Tensor) -> Bits:
    """Return the bits of the values in memory order, without a copy."""
    whole, unsigned = _BITS[x.dtype]
    flat: Bits = x.detach().movedim(1, -1).view(whole).reshape(-1).numpy()
    return flat.view(unsigned)


def _row(per_channel: npt.NDArray[Any]) -> Floats:
    """Repeat the values of the channels for the pixels of a row."""
    return np.tile(per_channel.astype(np.float32), max(1, _ROW // per_channel.size))


def _reduce(add: Callable[[int, int, Sums], None], size: int, channels: int) -> tuple[Sums, Sums]:
    """Return the two sums of each channel over all pixels."""
    length = channels * max(1, _ROW // channels)
    rows = -(-size // length)
    parts = min(_PARTS, -(-size // _MIN_VALUES))
    sums = np.zeros((parts, 2, length))
    edges = [rows * part // parts for part in range(parts + 1)]

    def compute(first: int, last: int) -> None:
        for part in range(first, last):
            add(edges[part], edges[part + 1], sums[part])

    _in_threads(compute, parts, size)
    first, second = sums.sum(0).reshape(2, -1, channels).sum(1)
    return first, second


def _over_rows(compute: Callable[[int, int], None], size: int, length: int) -> None:
    _in_threads(compute, -(-size // length), size)


def _in_threads(compute: Callable[[int, int], None], count: int, size: int) -> None:
    """Compute items 0 to `count` in the threads of torch."""
    threads = max(1, min(torch.get_num_threads(), count, size // _MIN_VALUES))
    edges = [count * thread // threads for thread in range(threads + 1)]
    others = [
        _pool().submit(compute, edges[thread], edges[thread + 1]) for thread in range(1, threads)
    ]
    compute(edges[0], edges[1])
    for other in others:
        other.result()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), "layers")


if hasattr(os, "register_at_fork"):  # the threads of a pool do not exist in a child process
    os.register_at_fork(after_in_child=_pool.cache_clear)
