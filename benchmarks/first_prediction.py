"""Time `singula predict` on a 512² image right after installation and again, start-up included.

    python benchmarks/first_prediction.py

The first command has an empty cache of compiled kernels, as after installation with pip, which
compiles the bytecode.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from singula.io.write import write_tiff
from singula.synthetic.fluorescence import make_image


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.tif"
        write_tiff(image, make_image((512, 512), np.random.default_rng(1)).image, "YX", None, None)
        for title in ("empty cache", "again", "again"):
            line = [sys.executable, "-m", "singula", "predict", str(image), "--overwrite"]
            start, before = time.perf_counter(), _cpu()
            subprocess.run(
                [*line, "-o", str(Path(folder) / "out")],
                check=True,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "NUMBA_CACHE_DIR": str(Path(folder) / "numba")},
            )
            seconds = time.perf_counter() - start
            print(f"{title}: {seconds:.1f} s, {_cpu() - before:.1f} s of CPU time")


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
