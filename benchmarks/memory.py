"""Measure the memory of a training and of predictions of large images.

    python benchmarks/memory.py [--sides 4096 16384] [--epochs 8]

Trains the U-Net 16 to 256 for some epochs on patches of 256², and then predicts, decodes and writes
square images of growing side, each in a separate process whose memory is read from /proc
every twentieth of a second (Linux). Peak: largest resident memory. Private: largest memory of
the process itself, without files that the system can drop from memory at any time. Output: size of
the files of this image.

Images are cut from the mosaic in ../shared/data, repeated as needed, or drawn.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
from program import CONFIG, SHARED, SINGULA_VALUES, write_data


class Watched:
    """A running command with its memory.

    Parameters
    ----------
    command : list of str
    """

    def __init__(self, command: list[str]) -> None:
        self.lines: list[tuple[str, float]] = []
        self.peak = self.private = 0.0
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        ) as process:
            output = process.stdout
            if output is None:
                raise RuntimeError("no output to read")
            os.set_blocking(output.fileno(), False)
            while process.poll() is None:
                now = self._look(process.pid)
                while line := output.readline():
                    self.lines.append((line.rstrip(), now))
                time.sleep(0.05)
        if process.returncode:
            sys.exit("\n".join(line for line, _ in self.lines[-30:]))

    def _look(self, pid: int) -> float:
        """Read the resident memory in MB, and keep the largest values."""
        try:
            text = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return 0.0
        found = {key: int(value) / 1000 for key, value in re.findall(r"(\w+):\s+(\d+) kB", text)}
        self.peak = max(self.peak, found.get("VmHWM", 0.0))
        self.private = max(self.private, found.get("RssAnon", 0.0))
        return found.get("VmRSS", 0.0)


def singula(config: Path, folder: Path, name: str, *changes: str) -> list[str]:
    """Return the command of a run."""
    command = [sys.executable, "-m", "singula.cli", "run", "--config", str(config)]
    command += ["--result_dir", str(folder), "--name", name]
    for change in changes:
        command += ["--set", change]
    return command


def large_image(side: int) -> np.ndarray:
    """Return a square uint8 image of cells."""
    mosaic = SHARED / "bench" / "mosaic_4096_raw.tif"
    if mosaic.is_file():
        part = tifffile.imread(mosaic)
    else:
        from singula.synthetic.fluorescence import make_image

        part = make_image((1024, 1024), np.random.default_rng(0)).image
    times = -(-side // len(part))
    return np.tile(part, (times, times))[:side, :side]


def size_on_disk(folder: Path, since: float) -> float:
    """Return the size in MB of the files written after a point in time."""
    files = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum(file.st_size for file in files if file.st_mtime >= since) / 1e6


def main() -> None:
    """Train, predict and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="*", default=[4096, 16384])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument(
        "--change", action="append", default=[], metavar="KEY=VALUE", help="of both"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder / "data", 256)
        config = folder / "cells.yaml"
        config.write_text(CONFIG.format(data=folder / "data", **SINGULA_VALUES), encoding="utf-8")
        epochs = f"TRAIN.EPOCHS={options.epochs}"
        run = Watched(
            singula(config, folder, "cells", epochs, "TEST.ENABLE=False", *options.change)
        )
        after = [now for line, now in run.lines if line.startswith("epoch ")]
        print("| epoch | resident after it, MB |\n|---|---|")
        for epoch, megabytes in enumerate(after, 1):
            print(f"| {epoch} | {megabytes:.0f} |", flush=True)
        print("\n| side | peak, MB | private, MB | output, MB | prediction, s | decoding, s |")
        print("|---|---|---|---|---|---|", flush=True)
        image = folder / "data" / "test" / "raw" / "large.tif"
        for side in options.sides:
            tifffile.imwrite(image, large_image(side))
            began = time.time()
            changes = ["TRAIN.ENABLE=False", "MODEL.LOAD_CHECKPOINT=True", *options.change]
            run = Watched(singula(config, folder, "cells", *changes))
            results = folder / "cells" / "results" / "cells_1"
            seconds = json.loads((results / "run.json").read_text())["seconds"]
            print(
                f"| {side:,} | {run.peak:.0f} | {run.private:.0f} | "
                f"{size_on_disk(results, began):.0f} | {seconds['prediction']:.1f} | "
                f"{seconds['decoding']:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
