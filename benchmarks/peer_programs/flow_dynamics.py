"""Decode the maps of a file with the dynamics of Cellpose 3, in its own environment.

    python flow_dynamics.py MAPS.npz RESULT.npz ROUNDS

MAPS.npz contains the foreground and the flows along y and x of each image. RESULT.npz gets the
masks, and the CPU seconds of each round. Called by `benchmarks/flows.py`.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from cellpose.dynamics import compute_masks


def main() -> None:
    """Decode each image several times, on one thread."""
    torch.set_num_threads(1)
    maps = np.load(sys.argv[1])
    results = {}
    for name in maps.files:
        foreground, flows = maps[name][0], 5 * maps[name][1:]
        seconds = []
        for _ in range(int(sys.argv[3]) + 1):  # the first one compiles
            started = time.process_time()
            masks = compute_masks(flows.copy(), foreground - 0.5, min_size=10)
            seconds.append(time.process_time() - started)
        results[name], results[f"{name} s"] = masks.astype(np.int32), np.array(seconds[1:])
    np.savez(sys.argv[2], **results)


if __name__ == "__main__":
    main()
