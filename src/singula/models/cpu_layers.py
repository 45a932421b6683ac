"""ELU that is fast on a CPU, for prediction.

The ELU of PyTorch spends most of its time on the exponential. Here, a compiled loop computes it as
a short polynomial. The values equal those of PyTorch up to rounding. Training, and other devices,
layouts and data types, use PyTorch.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

_BITS = {torch.bfloat16: (torch.int16, np.uint16), torch.float32: (torch.int32, np.uint32)}
_MIN_VALUES = 1 << 16  # per thread

Bits = npt.NDArray[Any]


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
        _in_threads(lambda first, last: elu(values[first:last]), values.size)
        return result


def _is_supported(x: Tensor) -> bool:
    """Return True if the compiled loop can compute a tensor with channels last."""
    return (
        not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and not torch.compiler.is_compiling()
        and x.device.type == "cpu"
        and x.dtype in _BITS
        and x.ndim > 2
        and x.numel() > 0
        and x.movedim(1, -1).is_contiguous()
    )


def _bits(x: Tensor) -> Bits:
    """Return the bits of the values in memory order, without a copy."""
    whole, unsigned = _BITS[x.dtype]
    flat: Bits = x.detach().movedim(1, -1).view(whole).reshape(-1).numpy()
    return flat.view(unsigned)


def _in_threads(compute: Callable[[int, int], None], size: int) -> None:
    """Compute values 0 to `size` in as many threads as torch uses."""
    threads = max(1, min(torch.get_num_threads(), size // _MIN_VALUES))
    edges = [size * thread // threads for thread in range(threads + 1)]
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
