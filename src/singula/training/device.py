"""Which processor a run uses, said aloud."""

from __future__ import annotations

import atexit
import functools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch

from singula.errors import UserError
from singula.runtime import available_cores, launcher_number
from singula.words import counted, show

Result = TypeVar("Result")
# Processes wait for the first one while it encodes a data set or decodes a volume; one that died is
# noticed at once, however long the others would wait.
_PATIENCE = timedelta(days=2)
# Values of ONEDNN_MAX_CPU_ISA under which bfloat16 is emulated
_ISA_WITHOUT_BF16 = (
    "SSE41",
    "AVX",
    "AVX2",
    "AVX2_VNNI",
    "AVX2_VNNI_2",
    "AVX512_CORE",
    "AVX512_CORE_VNNI",
)


@dataclass(frozen=True)
class Device:
    """Where to compute.

    Parameters
    ----------
    kind : {'cpu', 'cuda'}
    indices : tuple of int
        CUDA devices; empty on a CPU.
    precision : {'32', 'bf16', '16'}
        Of the training's matrix products; weights are float32 always.
    """

    kind: str
    indices: tuple[int, ...] = ()
    precision: str = "32"

    @property
    def torch(self) -> torch.device:
        """The device for this process."""
        if self.kind == "cpu":
            return torch.device("cpu")
        local = launcher_number("LOCAL_RANK")
        return torch.device("cuda", self.indices[local % len(self.indices)])


def parse_gpu(request: str) -> tuple[int, ...] | None:
    """Device numbers of ``0``, ``cuda:0``, ``"0, 1, 2"`` or ``cuda:0,1``; None for the CPU.

    Raises
    ------
    UserError
        For anything else.
    """
    text = request.strip().lower()
    if text in ("", "cpu", "none", "-1"):
        return None
    if text in ("cuda", "gpu"):
        return (0,)
    parts = [re.fullmatch(r"\s*(?:cuda:)?\s*(\d{1,4})\s*", part) for part in text.split(",")]
    numbers = [int(part.group(1)) for part in parts if part is not None]
    if len(numbers) != len(parts) or len(set(numbers)) != len(numbers):
        raise UserError(
            f"--gpu: found {request!r}; allowed: a number, cuda:NUMBER, several such "
            'separated by commas ("0, 1, 2"), or cpu'
        )
    return tuple(numbers)


def present_gpus() -> int:
    """CUDA devices that this process can use."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def choose_device(
    request: str | None, configured: str, precision: str, notify: Callable[[str], None]
) -> Device:
    """Resolve ``--gpu`` (else ``SYSTEM.DEVICE``) against what this machine has.

    A request for a GPU that is not there gives the CPU and says so: it must not go unnoticed.
    Without a request the CPU is used unless the configuration names a GPU.
    """
    wanted = parse_gpu(request if request is not None else configured)
    if wanted is None:
        if request is None and torch.cuda.is_available():
            notify('a GPU is present but not asked for; use --gpu "cuda:0" to train on it')
        return Device("cpu", (), _cpu_precision(precision, notify))
    present = present_gpus()
    asked = f"--gpu {request!r}" if request is not None else f"SYSTEM.DEVICE {configured!r}"
    if present:
        check_gpus(asked, wanted)
        processes = launcher_number("LOCAL_WORLD_SIZE")
        if processes > len(wanted):
            raise UserError(
                f"{asked}: names {len(wanted)} of the CUDA devices for "
                f"{counted(processes, 'process', 'processes')} here",
                "name one for each process (--nproc_per_node), or start fewer",
            )
        if processes < len(wanted):
            notify(f"ATTENTION: {asked}: only {processes} of these devices is used here")
            wanted = wanted[:processes]
    else:
        found = "no CUDA device"
        notify(f"ATTENTION: {asked} was asked for, but there is {found} here: using the CPU")
        return Device("cpu", (), _cpu_precision(precision, notify))
    if precision == "auto":
        precision = "bf16" if torch.cuda.is_bf16_supported() else "16"
    notify("using " + ", ".join(torch.cuda.get_device_name(i) for i in wanted))
    return Device("cuda", wanted, precision)


def choose_for_model(request: str | None, notify: Callable[[str], None]) -> Device:
    """The device on which a trained network predicts: ``--gpu``, else a GPU where there is one."""
    if request is None:
        request = "cuda:0" if present_gpus() else "cpu"
    return choose_device(request, "cpu", "32", notify)


def check_gpus(asked: str, wanted: tuple[int, ...]) -> None:
    """See that the named GPUs are there.

    Raises
    ------
    UserError
        Saying which one is not, and which ones are.
    """
    present = present_gpus()
    missing = [number for number in wanted if number >= present]
    if missing:
        there = "only device 0" if present == 1 else f"only devices 0 to {present - 1}"
        raise UserError(
            f"{asked}: there is no CUDA device {missing[0]} here, {there}",
            'name devices that are there, such as --gpu "0"',
        )


def torch_device(value: object, name: str = "device") -> torch.device:
    """Return a device of torch that this machine has.

    Parameters
    ----------
    value : str or torch.device
        Such as ``cpu`` or ``cuda:0``.
    name : str
        Name of the argument, for messages.

    Raises
    ------
    TypeError
        Neither text nor a device.
    UserError
        ``device.unknown``: torch does not know the device, or this machine lacks it.
    """
    if not isinstance(value, str | torch.device):
        raise TypeError(
            f"{name}: got {show(value)} ({type(value).__name__}), expected a device such as 'cpu'"
        )
    try:
        device = torch.device(value)
        if device.type == "meta":
            raise UserError("it holds no data")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError, UserError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{name}: got {show(str(value))}, expected a device of this machine ({reason})",
            "use cpu, or a GPU that is present, such as cuda:0",
            "device.unknown",
        ) from error
    return device


def has_bfloat16() -> bool:
    """Return True if the CPU, and the limit set for oneDNN, have bfloat16 arithmetic."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "")).upper()
    return limit not in _ISA_WITHOUT_BF16 and bool(torch.cpu._is_avx512_bf16_supported())


def _cpu_precision(precision: str, notify: Callable[[str], None]) -> str:
    native = has_bfloat16()
    if precision == "auto":
        return "bf16" if native else "32"
    if precision == "16":
        notify("TRAIN.PRECISION 16: half precision needs a GPU; using 32")
        return "32"
    if precision == "bf16" and not native:
        notify("TRAIN.PRECISION bf16: this CPU has no bfloat16 arithmetic, so it will be slow")
    return precision


def cpu_threads(configured: int) -> int:
    """Threads for the network: `configured`, or every core this process may use."""
    available = available_cores()
    return available if configured < 1 else min(configured, available)


def use_cores(configured: int) -> None:
    """Let torch use `configured` threads, or every core, unless ``OMP_NUM_THREADS`` is set."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(cpu_threads(configured))


@contextmanager
def without_tf32() -> Iterator[None]:
    """Let a GPU convolve float32 numbers as they are.

    By default it rounds them to 10 bits behind the point (TF32).
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
    """How a GPU computes while it trains: fast, and the same whenever it is done again.

    Float32 numbers are multiplied rounded to 10 bits behind the point (TF32), several times as
    fast, and cuDNN takes only algorithms that add up in a fixed order, at no cost.
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


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on a GPU, those included that torch keeps for itself; None elsewhere."""
    if device.type != "cuda":
        return None
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + kept


def world_and_rank() -> tuple[int, int]:
    """Number of processes and this one's rank, as the launcher says.

    Once they have met they know it themselves; what the launcher left in the environment is partly
    deleted at the end of a training.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size(), torch.distributed.get_rank()
    return launcher_number("WORLD_SIZE"), launcher_number("RANK")


def join_processes(device: Device) -> None:
    """Meet the other processes of a launcher; nothing to do for a single one."""
    world, _ = world_and_rank()
    if world > 1 and not torch.distributed.is_initialized():
        if device.kind == "cuda":
            torch.cuda.set_device(device.torch)
        backend = "nccl" if device.kind == "cuda" else "gloo"
        torch.distributed.init_process_group(backend, timeout=_PATIENCE)
        # Threads of a group that are alive while the interpreter ends can abort the process.
        atexit.register(leave_processes)


def leave_processes() -> None:
    """Part from the other processes; nothing to do where none were met.

    NCCL's group is left to the end of the process: parting from it waits for all others, one of
    which may just be waiting for a message of this one.
    """
    groups = torch.distributed
    if not groups.is_available() or not groups.is_initialized():
        return
    if _messages.cache_info().currsize:
        groups.destroy_process_group(_messages())
        _messages.cache_clear()
    if groups.get_backend() == "gloo":
        groups.destroy_process_group()


@functools.cache
def _messages() -> Any:
    """The group over which objects travel; they lie in ordinary memory whatever the device."""
    return torch.distributed.new_group(backend="gloo", timeout=_PATIENCE)


@contextmanager
def _together() -> Iterator[None]:
    """Say in one line that another process is gone; that one says why."""
    try:
        yield
    except RuntimeError as error:
        raise UserError(
            f"another process of this run ended ({str(error).splitlines()[0]})"
        ) from error


def main_first(work: Callable[[], Result]) -> Result:
    """Do the same in every process, but in the first one before the others.

    What the first one writes is there for the others to read.
    """
    world, rank = world_and_rank()
    if world == 1:
        return work()
    if rank == 0:
        result = work()
    with _together():
        torch.distributed.barrier(_messages())
    return result if rank == 0 else work()


def share_from_main(value: Result) -> Result:
    """Give every process the first one's value."""
    world, _ = world_and_rank()
    if world == 1:
        return value
    box = [value]
    with _together():
        torch.distributed.broadcast_object_list(box, src=0, group=_messages())
    return box[0]


def gather_to_main(value: Result) -> list[Result]:
    """Give the first process every process's value, in the order of their ranks.

    The others get an empty list.
    """
    world, rank = world_and_rank()
    if world == 1:
        return [value]
    # What the first one has itself needs no way through the network.
    box: list[Any] | None = [None] * world if rank == 0 else None
    with _together():
        torch.distributed.gather_object(None if rank == 0 else value, box, 0, _messages())
    return [] if box is None else [value, *box[1:]]
