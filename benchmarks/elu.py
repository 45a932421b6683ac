"""Compare predictions with the compiled ELU and with that of PyTorch.

    python benchmarks/elu.py --architecture unet --precision bf16

Both variants of the same network take turns. Prints a row of a Markdown table: CPU seconds of a
forward pass with PyTorch and with the compiled loop (medians), and their ratio (median of the
ratios of the rounds). Set ONEDNN_MAX_CPU_ISA and ATEN_CPU_CAPABILITY to emulate older processors
in PyTorch; the compiled loop always uses the processor as it is.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from singula.util.process import prepare_process

prepare_process()

import torch  # noqa: E402 - after `prepare_process`

from singula.config import load_config  # noqa: E402
from singula.models import build_model, channels_last, cpu_layers, fold_batch_norm  # noqa: E402
from singula.pipeline.from_config import model_settings  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
BATCH, SIDE = 6, 256


def cpu_seconds(compute: Callable[[], object], *, compiled: bool) -> float:
    """Return the CPU seconds of a call, of all threads."""
    supported = cpu_layers._is_supported
    began = time.process_time()
    with mock.patch.object(cpu_layers, "_is_supported", supported if compiled else lambda x: False):
        compute()
    return time.process_time() - began


def compare(name: str, compute: Callable[[], object], rounds: int) -> None:
    """Print the row of one computation."""
    times: dict[bool, list[float]] = {False: [], True: []}
    for number in range(-1, rounds):
        for compiled in (False, True):
            seconds = cpu_seconds(compute, compiled=compiled)
            if number >= 0:  # the first round includes compilation
                times[compiled].append(seconds)
    ratios = [fast / slow for slow, fast in zip(times[False], times[True], strict=True)]
    medians = [statistics.median(times[compiled]) for compiled in (False, True)]
    print(
        f"| {name} | {medians[0]:.3f} | {medians[1]:.3f} | {statistics.median(ratios):.2f} |",
        flush=True,
    )


def main() -> None:
    """Compare the forward passes of a network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architecture", default="unet")
    parser.add_argument("--precision", choices=("bf16", "32"), default="bf16")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = load_config(
        ROOT / "templates" / "2d_dsb2018.yaml",
        [f"MODEL.ARCHITECTURE={options.architecture}"],
    )
    network = channels_last(fold_batch_norm(build_model(model_settings(config))), 2)
    image = torch.rand(BATCH, 1, SIDE, SIDE)
    lower = torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bf16")

    def predict() -> None:
        with lower, torch.inference_mode():
            network(image)

    compare(f"{options.architecture}, {options.precision}", predict, options.rounds)


if __name__ == "__main__":
    main()
