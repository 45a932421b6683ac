"""Compare prediction from a server with latency with prediction from the local disk.

    OMP_NUM_THREADS=1 python benchmarks/store_latency.py [--side 2048] [--latency 0.03]
    OMP_NUM_THREADS=1 python benchmarks/store_latency.py --side 6144 --megabytes 850 --repeats 1

Draws an image of nuclei, writes it as OME-Zarr with chunks of 256² pixels, and serves it with a
delay before each answer. The built-in model `nuclei` predicts it from the disk and from the server,
in turns; with few `--megabytes`, in blocks. Reading alone is timed, too. Prints a Markdown table
with pixels per second, and their ratio. The label images must be equal.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from store_server import StoreServer, serving

from singula.inference import load, plan_predictions, predict_files
from singula.io.block_array import BlockArray
from singula.io.read import read_image, read_labels
from singula.synthetic.fluorescence import make_image


def write_image(folder: Path, side: int) -> None:
    """Write an image of drawn nuclei, repeated to the size."""
    tile = make_image((256, 256), np.random.default_rng(0)).image
    pixels = np.tile(tile.reshape(256, 256), (-(-side // 256),) * 2)[:side, :side]
    array = BlockArray.create(
        folder / "nuclei.zarr", pixels.shape, pixels.dtype, ndim=2, chunks=(256, 256)
    )
    for box in array.blocks():
        array.write(box, pixels[box])
    for level in range(1, len(array.levels)):
        for box in array.blocks(level):
            array.build_level(level, box)
    array.finish()


def seconds(work: Callable[[], object]) -> float:
    """Return the time of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--latency", type=float, default=0.03)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--megabytes", type=int, help="memory; by default, the free memory")
    options = parser.parse_args()
    model = load("nuclei", device="cpu")
    if options.megabytes:
        config = model.config.replaced({"SYSTEM.MAX_MEMORY": options.megabytes << 20})
        model = replace(model, config=config)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_image(folder / "images", options.side)
        with serving(StoreServer(folder / "images", latency=options.latency)) as server:
            images = {"disk": folder / "images" / "nuclei.zarr", "server": server.url}
            images["server"] = f"{server.url}/nuclei.zarr"

            def predict(source: str) -> None:
                output = folder / source
                tasks = plan_predictions(model, [images[source]], output)
                failed = predict_files(
                    model, tasks, output, augment=None, tables=False, resume=False
                )
                if failed:
                    raise SystemExit(str(failed))

            times: dict[tuple[str, str], list[float]] = {}
            for _ in range(options.repeats):
                for source, image in images.items():
                    times.setdefault(("read", source), []).append(
                        seconds(lambda image=image: read_image(image, 2))
                    )
                    times.setdefault(("predict", source), []).append(
                        seconds(lambda source=source: predict(source))
                    )
        files = [next((folder / source).glob("nuclei.[tz]*")) for source in images]
        labels = [read_labels(file, 2).array for file in files]
    equal = "equal" if np.array_equal(*labels) else "DIFFERENT"
    print(f"\n{options.side}² pixels, {1000 * options.latency:g} ms before each answer, "
          f"best of {options.repeats}; label images ({files[0].suffix}): {equal}\n")  # fmt: skip
    print("| | disk, Mpixel/s | server, Mpixel/s | ratio |\n|---|---|---|---|")
    for what in ("predict", "read"):
        disk, remote = (options.side**2 / 1e6 / min(times[what, s]) for s in images)
        print(f"| {what} | {disk:.3f} | {remote:.3f} | {remote / disk:.2f} |")


if __name__ == "__main__":
    main()
