"""Compare the decoder of flows with the dynamics of Cellpose 3.1.1, on the same soft maps.

    python -m venv out/cellpose
    out/cellpose/bin/pip install cellpose==3.1.1.1
    python benchmarks/flows.py out/cellpose/bin/python

Draws nuclei and cells, encodes their labels as flows, adds blur and noise, and decodes the maps
with Singula and with Cellpose's `compute_masks` in its own environment, both with the foreground
above 0.5 and a flow error below 0.4. Prints a row for each image: medians of CPU seconds on one
thread, and F1 at an IoU of 0.5 between the results and against the labels.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from scipy.ndimage import gaussian_filter

import singula
from singula.synthetic.fluorescence import make_image
from singula.synthetic.packed_cells import make_cells
from singula.util.process import prepare_process

WORKER = Path(__file__).parent / "peer_programs" / "flow_dynamics.py"
THRESHOLDS = {"TH_FOREGROUND": 0.5, "REMOVE_SMALL_OBJ": 10}


def soft_flows(labels: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return maps similar to those of a network."""
    encoded = singula.encode(labels, "F+Gv+Gh")
    return {
        code: (gaussian_filter(v.astype(np.float32), 0.8) + rng.normal(0, 0.05, v.shape)).astype(
            np.float32
        )
        for code, v in encoded.items()
    }


def f1(truth: np.ndarray, labels: np.ndarray) -> float:
    """Return F1 at an IoU of 0.5."""
    return singula.match(truth, labels, (0.5,))[0].f1


def main() -> None:
    """Print the table."""
    prepare_process()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python", help="Python of the environment of Cellpose")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    labels = {
        "nuclei 512²": make_image((512, 512), rng).labels,
        "cells 512²": make_cells((512, 512), rng).labels,
    }
    maps = {name: soft_flows(each, rng) for name, each in labels.items()}
    with tempfile.TemporaryDirectory() as folder:
        stored, results = Path(folder) / "maps.npz", Path(folder) / "results.npz"
        np.savez(stored, **{name: np.stack(list(each.values())) for name, each in maps.items()})
        command = [options.python, str(WORKER), str(stored), str(results), str(options.rounds)]
        subprocess.run(command, check=True, capture_output=True)
        theirs = dict(np.load(results))
    for name, truth in labels.items():
        seconds = []
        for _ in range(options.rounds + 1):  # the first one compiles
            started = time.process_time()
            decoded = singula.decode(maps[name], "F+Gv+Gh", thresholds=THRESHOLDS)
            seconds.append(time.process_time() - started)
        ours, original = median(seconds[1:]), median(theirs[f"{name} s"])
        print(
            f"| flows, {name} | Cellpose 3.1.1 | {ours:.3f} | {original:.3f} | "
            f"{original / ours:.2f} | {f1(theirs[name], decoded):.3f} | {f1(truth, decoded):.3f} | "
            f"{f1(truth, theirs[name]):.3f} | {options.rounds} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
