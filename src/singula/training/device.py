"""Choice of the device and its arithmetic."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from singula.errors import UserError
from singula.util.format import counted, show
from singula.util.process import available_cores, launcher_number

_log = logging.getLogger(__name__)
# Values of ONEDNN_MAX_CPU_ISA under which bfloat16 is emulated
_ISA_WITHOUT_BF16 = (
    "SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"
)  # fmt: skip


@dataclass(frozen=True)
class Device:
    """Device and precision of the computation.

    Parameters
    ----------
    kind : {'cpu', 'cuda', 'mps'}
        Kind of device; ``mps`` is the GPU of a Mac.
    indices : tuple of int
        CUDA devices; otherwise empty.
    precision : {'32', 'bf16', '16'}
        Precision of convolutions and matrix products in training; weights are always float32.
    """

    kind: str
    indices: tuple[int, ...] = ()
    precision: str = "32"

    @property
    def torch(self) -> torch.device:
        """Device of this process."""
        if self.kind != "cuda":
            return torch.device(self.kind)
        local = launcher_number("LOCAL_RANK")
        return torch.device("cuda", self.indices[local % len(self.indices)])


def parse_gpu(request: str) -> tuple[int, ...] | None:
    """Return the numbers of the requested CUDA devices; None for all other devices.

    Parameters
    ----------
    request : str
        Such as ``0``, ``cuda:0``, ``"0, 1, 2"``, ``cuda:0,1``, ``cpu``, ``mps`` or ``auto``.

    Raises
    ------
    UserError
        ``device.request``: another text.
    """
    text = request.strip().lower()
    if text in ("", "cpu", "none", "-1", "mps", "auto"):
        return None
    if text in ("cuda", "gpu"):
        return (0,)
    parts = [re.fullmatch(r"\s*(?:cuda:)?\s*(\d{1,4})\s*", part) for part in text.split(",")]
    numbers = [int(part.group(1)) for part in parts if part is not None]
    if len(numbers) != len(parts) or len(set(numbers)) != len(numbers):
        raise UserError(
            f"--gpu: got {request!r}, expected a number, cuda:NUMBER, a list such as "
            '"0, 1, 2", cpu, mps, or auto',
            "give --gpu 0 for the first GPU",
            "device.request",
        )
    return tuple(numbers)


def present_gpus() -> int:
    """Return the number of CUDA devices that this process can use."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def has_mps() -> bool:
    """Return True if this machine is a Mac with a GPU that torch can use."""
    return bool(torch.backends.mps.is_available())


def best_device() -> str:
    """Return the device for ``auto``: the first CUDA device, else the GPU of a Mac, else the CPU.

    Returns
    -------
    str
        ``cuda:0``, ``mps`` or ``cpu``.
    """
    return "cuda:0" if present_gpus() else "mps" if has_mps() else "cpu"


def has_float64(device: torch.device) -> bool:
    """Return True if a device can compute in double precision; the GPU of a Mac cannot."""
    return device.type != "mps"


def to_device(network: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """Move a network to a device; on the GPU of a Mac, channels are the first axis in memory."""
    network = network.to(device)
    if device.type == "mps":
        network = network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return network


def gpu_name(device: torch.device) -> str:
    """Return the name of a GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "GPU of this Mac"


def choose_device(request: str | None, configured: str, precision: str) -> Device:
    """Return the device for ``--gpu``, or else ``SYSTEM.DEVICE``.

    If a GPU is requested and the machine has none, the CPU is used, with a notice.

    Parameters
    ----------
    request : str, optional
        Value of ``--gpu``; None if it was not given.
    configured : str
        Value of ``SYSTEM.DEVICE``.
    precision : {'auto', '32', 'bf16', '16'}
        Value of ``TRAIN.PRECISION``.

    Raises
    ------
    UserError
        ``device.request`` as for `parse_gpu`; ``device.missing`` as for `check_gpus`;
        ``device.too_few``: more processes than devices.
    """
    text = (request if request is not None else configured).strip().lower()
    text = best_device() if text == "auto" else text
    indices = parse_gpu(text)
    if indices is None and text != "mps":
        if request is None and best_device() != "cpu":
            _log.info(
                f'a GPU is available but not requested; use --gpu "{best_device()}" to train on it'
            )
        return Device("cpu", (), _cpu_precision(precision))
    present = present_gpus()
    source = f"--gpu {request!r}" if request is not None else f"SYSTEM.DEVICE {configured!r}"
    if has_mps() and (indices is None or not present):
        return _mac_device(source, precision)
    if present and indices is not None:
        check_gpus(source, indices)
        processes = launcher_number("LOCAL_WORLD_SIZE")
        if processes > len(indices):
            raise UserError(
                f"{source}: got {counted(len(indices), 'CUDA device')}, expected one for each of "
                f"{counted(processes, 'process', 'processes')} on this machine",
                "give a device for each process (--nproc_per_node), or start fewer processes",
                "device.too_few",
            )
        if processes < len(indices):
            _log.warning(f"ATTENTION: {source}: only {processes} of these devices is used")
            indices = indices[:processes]
    else:
        missing = "is not a Mac with a GPU" if indices is None else "has no CUDA device"
        _log.warning(f"ATTENTION: {source}: this machine {missing}; using the CPU")
        return Device("cpu", (), _cpu_precision(precision))
    if precision == "auto":
        precision = "bf16" if torch.cuda.is_bf16_supported() else "16"
    _log.info("using " + ", ".join(torch.cuda.get_device_name(i) for i in indices))
    return Device("cuda", indices, precision)


def _mac_device(source: str, precision: str) -> Device:
    """Return the GPU of a Mac; its usual precision is float32."""
    processes = launcher_number("LOCAL_WORLD_SIZE")
    if processes > 1:
        raise UserError(
            f"{source}: got the GPU of a Mac, expected one device for each of "
            f"{counted(processes, 'process', 'processes')} on this machine",
            "start one process, or use --gpu cpu",
            "device.too_few",
        )
    _log.info("using the GPU of this Mac")
    if precision == "16":
        _log.warning("TRAIN.PRECISION 16: half precision needs a CUDA device; using 32")
    if precision == "bf16" and torch.backends.mps.is_macos_or_newer(14, 0):
        return Device("mps", (), "bf16")
    if precision == "bf16":
        _log.warning("TRAIN.PRECISION bf16: needs macOS 14 or newer; using 32")
    return Device("mps")


def choose_for_model(request: str | None) -> Device:
    """Return the device for prediction: ``--gpu``, or else a GPU if the machine has one.

    Parameters
    ----------
    request : str, optional
        Value of ``--gpu``; None if it was not given.
    """
    return choose_device("auto" if request is None else request, "cpu", "32")


def check_gpus(source: str, indices: tuple[int, ...]) -> None:
    """Verify that the machine has the requested GPUs.

    Parameters
    ----------
    source : str
        Option or key that requests the GPUs, for messages.
    indices : tuple of int
        Numbers of CUDA devices.

    Raises
    ------
    UserError
        ``device.missing``: the machine lacks one of them.
    """
    present = present_gpus()
    missing = [number for number in indices if number >= present]
    if missing:
        expected = "0, the only device" if present == 1 else f"0 to {present - 1}"
        raise UserError(
            f"{source}: got CUDA device {missing[0]}, expected {expected}",
            'give devices of this machine, such as --gpu "0"',
            "device.missing",
        )


def torch_device(value: object, name: str = "device") -> torch.device:
    """Return a device of torch, and verify that this machine has it.

    Parameters
    ----------
    value : str or torch.device
        Device, such as ``cpu`` or ``cuda:0``.
    name : str
        Name of the argument, for messages.

    Raises
    ------
    TypeError
        `value` is neither a text nor a device.
    UserError
        ``device.unknown``: torch does not support the device, or this machine lacks it.
    """
    if not isinstance(value, str | torch.device):
        raise TypeError(
            f"{name}: got {show(value)} ({type(value).__name__}), expected a device such as 'cpu'"
        )
    try:
        device = torch.device(value)
        if device.type == "meta":
            raise NotImplementedError("it has no data")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{name}: got {show(str(value))}, expected a device of this machine ({reason})",
            "use cpu, or a GPU that is present, such as cuda:0",
            "device.unknown",
        ) from error
    return device


def has_bfloat16() -> bool:
    """Return True if the CPU has bfloat16 arithmetic and oneDNN may use it."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "")).upper()
    return limit not in _ISA_WITHOUT_BF16 and bool(torch.cpu._is_avx512_bf16_supported())


def _cpu_precision(precision: str) -> str:
    native = has_bfloat16()
    if precision == "auto":
        return "bf16" if native else "32"
    if precision == "16":
        _log.warning("TRAIN.PRECISION 16: half precision needs a GPU; using 32")
        return "32"
    if precision == "bf16" and not native:
        _log.warning(
            "TRAIN.PRECISION bf16: this CPU has no bfloat16 arithmetic; training will be slow"
        )
    return precision


def cpu_threads(configured: int) -> int:
    """Return the number of threads for the network.

    Parameters
    ----------
    configured : int
        Requested number; less than 1 for all cores that this process may use.
    """
    available = available_cores()
    return available if configured < 1 else min(configured, available)


def use_cores(configured: int) -> None:
    """Set the number of threads of torch as `cpu_threads`, unless ``OMP_NUM_THREADS`` is set."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(cpu_threads(configured))


@contextmanager
def without_tf32() -> Iterator[None]:
    """Compute convolutions on a GPU in full float32 precision.

    By default, cuDNN rounds the operands to a mantissa of 10 bits (TF32).
    """
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32
    cudnn.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32 = before


@contextmanager
def training_arithmetic() -> Iterator[None]:
    """Compute fast and reproducibly on a GPU.

    Operands of float32 products are rounded to a mantissa of 10 bits (TF32), which is several times
    as fast. cuDNN uses only deterministic algorithms, at no measurable cost.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.deterministic, torch.get_float32_matmul_precision()
    cudnn.allow_tf32 = cudnn.deterministic = True
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        cudnn.allow_tf32, cudnn.deterministic = before[:2]
        torch.set_float32_matmul_precision(before[2])


def free_gpu_memory(device: torch.device) -> int | None:
    """Return the free memory of a GPU in bytes, including the cache of torch; None for a CPU."""
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    if device.type != "cuda":
        return None
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + cached
