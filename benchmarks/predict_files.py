"""Measure the prediction from image files to label files, by stage.

    python benchmarks/predict_files.py --model RUN_2D --volume-model RUN_3D [--rounds 3]

The images are one of 4096², 200 of 256² and a volume of 96×384×384, from the data next to the
checkout, or noise without these data. Each round predicts the files one after the other and
measures the CPU time of each stage. Then it measures the wall-clock time with overlapping stages,
and the forward passes alone, on tiles in memory. Prints medians over the rounds.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from singula.util.process import prepare_process

prepare_process()

import numpy as np  # noqa: E402
import tifffile  # noqa: E402
import torch  # noqa: E402

import singula  # noqa: E402
import singula.inference.files as files  # noqa: E402
import singula.inference.model as inference_model  # noqa: E402
import singula.inference.stages as stages  # noqa: E402
from singula.inference import Model, gather_images, plan_predictions  # noqa: E402
from singula.prediction import Predictor  # noqa: E402

BENCH = Path(__file__).resolve().parents[2] / "shared/data/bench"
STAGES: dict[str, tuple[Any, str]] = {
    "network": (Predictor, "forward"),
    "reading": (stages, "read_image"),
    "tiles and normalization": (inference_model, "predict_maps"),
    "decoding and processing": (Model, "instances"),
    "writing": (stages, "write_tiff"),
}


def mosaic() -> np.ndarray:
    """Return the image of 4096²."""
    path = BENCH / "mosaic_4096_raw.tif"
    if path.is_file():
        return tifffile.imread(path)
    print("the mosaic is missing, using noise")
    return np.random.default_rng(0).integers(0, 255, (4096, 4096)).astype(np.uint8)


def volume() -> np.ndarray:
    """Return a volume of 96×384×384 of noisy cells."""
    path, random = BENCH / "volume_96x384x384_label.tif", np.random.default_rng(0)
    shape = (96, 384, 384)
    cells = tifffile.imread(path) > 0 if path.is_file() else random.random(shape) > 0.5
    return np.clip(20 + 150 * cells + random.normal(0, 8, shape), 0, 255).astype(np.uint8)


def write_inputs(folder: Path) -> dict[str, Path]:
    """Write the images of each workload to a folder, and return the folders."""
    large, cells = mosaic(), volume()
    small = [
        large[y : y + 256, x : x + 256] for y in range(0, 4096, 256) for x in range(0, 4096, 256)
    ]
    images = {"4096²": [large], "200 × 256²": small, "96×384×384": [cells]}
    for number, arrays in enumerate(images.values()):
        (folder / str(number)).mkdir()
        for index, array in enumerate(arrays):
            tifffile.imwrite(folder / str(number) / f"image_{index:03d}.tif", array)
    return {name: folder / str(number) for number, name in enumerate(images)}


class Stopwatch:
    """CPU seconds of functions without those of the functions inside them, and their arguments."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.inside: list[float] = []
        self.batches: list[torch.Tensor] = []

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that is measured under a name."""

        def measured(*given: Any, **more: Any) -> Any:
            if name == "network":
                self.batches.append(given[1])
            self.inside.append(0.0)
            start = time.process_time()
            try:
                return function(*given, **more)
            finally:
                spent = time.process_time() - start
                self.seconds[name] += spent - self.inside.pop()
                if self.inside:
                    self.inside[-1] += spent

        return measured


def predict(model: Model, source: Path, workers: int | None) -> None:
    """Predict the images of a folder; `workers` 0: without overlapping stages."""
    output = Path(tempfile.mkdtemp())
    try:
        tasks = plan_predictions(model, gather_images([source]), output)
        with ExitStack() as patches:
            if workers is not None:
                patches.enter_context(patch.object(files, "finishing_threads", lambda *_: workers))
            files.predict_files(model, tasks, output, augment=None, tables=False, resume=False)
    finally:
        shutil.rmtree(output)


def measure(model: Model, source: Path) -> dict[str, float]:
    """Return the seconds of one round."""
    watch = Stopwatch()
    with ExitStack() as patches:
        for name, (owner, attribute) in STAGES.items():
            function = watch.timed(name, getattr(owner, attribute))
            patches.enter_context(patch.object(owner, attribute, function))
        start = time.process_time()
        predict(model, source, 0)
        total = time.process_time() - start
    result = {f"{name}, CPU": watch.seconds[name] for name in STAGES}
    result["other, CPU"] = total - sum(watch.seconds.values())
    result["**all stages, CPU**"] = total
    for name, workers in (("one file after the other, wall", 0), ("overlapping, wall", None)):
        start = time.perf_counter()
        predict(model, source, workers)
        result[name] = time.perf_counter() - start
    cpu, wall = time.process_time(), time.perf_counter()
    with torch.inference_mode():
        for batch in watch.batches:
            model.predictor.forward(batch)
    result["forward passes alone, CPU"] = time.process_time() - cpu
    result["forward passes alone, wall"] = time.perf_counter() - wall
    return result


def main() -> None:
    """Print a Markdown table: seconds, and the ratio to the forward passes of the same round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="run or checkpoint in 2D")
    parser.add_argument("--volume-model", required=True, help="run or checkpoint in 3D")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=("32", "bf16"), default="32")
    options = parser.parse_args()
    models = [singula.load(path) for path in (options.model, options.volume_model)]
    for model in models:
        model.predictor.bfloat16 = options.precision == "bf16"
    columns: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as name:
        for workload, source in write_inputs(Path(name)).items():
            model = models["×384×" in workload]
            predict(model, source, 0)  # compile, allocate memory
            rounds = [measure(model, source) for _ in range(options.rounds)]
            columns[workload] = {}
            for key in rounds[0]:
                clock = "CPU" if "CPU" in key else "wall"
                ratios = [each[key] / each[f"forward passes alone, {clock}"] for each in rounds]
                seconds = median(each[key] for each in rounds)
                columns[workload][key] = f"{seconds:.2f} ({median(ratios):.2f})"
    print(f"| seconds (to the forward passes) | {' | '.join(columns)} |\n|---|---|---|---|")
    for key in next(iter(columns.values())):
        print(f"| {key} | {' | '.join(column[key] for column in columns.values())} |")


if __name__ == "__main__":
    main()
