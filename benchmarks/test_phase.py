"""Compare the time of a test with the time in which its network computes.

    python benchmarks/test_phase.py [--images 40] [--milliseconds 150] [--workers 0 1 2 4]

The network is simulated: for each image, it sleeps and returns maps that were made from the labels,
so that decoding, scores, tables, pictures and files are those of a real test. With
``--milliseconds 0``, a U-Net computes on all cores instead.

Each number of threads runs once in each round; 0 tests one image after the other. Prints medians
over the rounds: wall-clock time, time of the predictions, their ratio, and CPU time of the process.
Use ``--folder /dev/shm`` to leave out the time of the disk.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from singula.util.process import prepare_process

prepare_process()

import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402
import torch  # noqa: E402
from scipy.ndimage import gaussian_filter  # noqa: E402

from singula.config import Config, config_from_dict  # noqa: E402
from singula.data.normalize import Normalizer, Scaling  # noqa: E402
from singula.io.read import read_image  # noqa: E402
from singula.io.run_folder import ResultsTree  # noqa: E402
from singula.models import ModelSettings, build_model, channels_last  # noqa: E402
from singula.pipeline import test as pipeline_test  # noqa: E402
from singula.pipeline.test import WholeImageTest  # noqa: E402
from singula.prediction import Predictor, PredictSettings  # noqa: E402
from singula.prediction.predict import UseTile  # noqa: E402
from singula.representations.channels import encode  # noqa: E402
from singula.synthetic.fluorescence import make_dataset  # noqa: E402
from singula.training.checkpoint import Checkpoint  # noqa: E402
from singula.training.device import Device  # noqa: E402
from singula.util.process import available_cores  # noqa: E402

Array = npt.NDArray[Any]
Maps = Mapping[str, Array]


class SleepingPredictor(Predictor):
    """Predictor that sleeps as long as a device would compute, and returns stored maps.

    Parameters
    ----------
    maps : mapping of bytes to (mapping of str to ndarray)
        Maps of each image, by the bytes of its first row.
    seconds : float
        Duration of the prediction of an image, in seconds; 0: that of a U-Net 16–256 on the CPU,
        whose result is dropped.
    """

    def __init__(self, maps: Mapping[bytes, Maps], seconds: float) -> None:
        super().__init__(channels_last(build_model(ModelSettings(2, 1, 2)), 2), ())
        self.maps = maps
        self.seconds = seconds
        self.total = 0.0

    def predict(
        self,
        image: Array,
        scaling: Scaling,
        settings: PredictSettings,
        on_tile: UseTile | None = None,
    ) -> dict[str, Array]:
        """Return copies of the stored maps of an image."""
        start = time.perf_counter()
        if self.seconds:
            time.sleep(self.seconds)
        else:
            with torch.inference_mode():
                self.network(torch.from_numpy(scaling.apply(image)).movedim(-1, 0)[None])
        self.total += time.perf_counter() - start
        return {name: values.copy() for name, values in self.maps[first_row(image)].items()}


class SimulatedTest(WholeImageTest):
    """Test without a checkpoint."""

    def _load_checkpoint(self, pairs: object) -> Checkpoint:
        self._find_stored_maps([], None)
        path = self.tree.checkpoint_best
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return Checkpoint(path, 0, {}, {})


def first_row(image: Array) -> bytes:
    """Return the bytes that identify an image."""
    return image[0].tobytes()


def configuration(data: Path, channels: Path) -> Config:
    """Return the configuration of the test."""
    test = {
        "LOAD_GT": True,
        "PATH": str(data / "test/x"),
        "GT_PATH": str(data / "test/y"),
        "INSTANCE_CHANNELS_DIR": str(channels / "x"),
        "INSTANCE_CHANNELS_MASK_DIR": str(channels / "y"),
        "PADDING": "(32, 32)",
    }
    return config_from_dict(
        {
            "PROBLEM": {"NDIM": "2D", "INSTANCE_SEG": {"DATA_CHANNELS": "BC"}},
            "DATA": {"PATCH_SIZE": "(256, 256, 1)", "TEST": test},
            "TRAIN": {"ENABLE": False},
            "TEST": {
                "ENABLE": True,
                "STATS": {"PER_PATCH": False},  # patches are scored while the network computes
                "POST_PROCESSING": {"MEASURE_PROPERTIES": {"ENABLE": True}},
            },
        }
    )


def soft_maps(folder: Path) -> dict[bytes, Maps]:
    """Return blurred channels of the labels of each image, as a network predicts them."""
    maps = {}
    for path in sorted((folder / "x").iterdir()):
        image = read_image(path, 2, 1).array
        labels = read_image(folder / "y" / path.name, 2, 1).array[..., 0]
        channels = encode(labels, "BC")
        maps[first_row(image)] = {
            name: gaussian_filter(values.astype(np.float32), 1.0)
            for name, values in channels.items()
        }
    return maps


def measure(
    config: Config, predictor: SleepingPredictor, folder: Path, workers: int
) -> list[float]:
    """Return the seconds of one test: wall-clock time, predictions and CPU time."""
    predictor.total = 0.0
    pipeline_test.predictor_from = lambda *_: (predictor, Normalizer("div"))  # type: ignore[attr-defined]
    start, cpu = time.perf_counter(), time.process_time()
    SimulatedTest(config, ResultsTree(folder, "job", 1), Device("cpu"), workers=workers).run()
    return [time.perf_counter() - start, predictor.total, time.process_time() - cpu]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--milliseconds", type=float, default=150)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--folder", type=Path, help="folder of the files [a temporary folder]")
    arguments = parser.parse_args()
    logging.getLogger("singula").setLevel(logging.ERROR)
    torch.set_num_threads(available_cores())
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        make_dataset(
            folder / "data", 2, np.random.default_rng(0), n_train=0, n_val=0,
            n_test=arguments.images, shape=(arguments.side, arguments.side),
        )  # fmt: skip
        config = configuration(folder / "data", folder / "channels")
        maps = soft_maps(folder / "data/test")
        predictor = SleepingPredictor(maps, arguments.milliseconds / 1000)
        measure(config, predictor, folder / "warm", 0)
        times: dict[int, list[list[float]]] = {count: [] for count in arguments.workers}
        for number in range(arguments.rounds):
            for count, rows in times.items():
                rows.append(measure(config, predictor, folder / f"{number}_{count}", count))
        print("| threads | seconds | predictions | ratio | CPU seconds |\n|---|---|---|---|---|")
        for count, rows in times.items():
            wall, network, cpu = (statistics.median(column) for column in zip(*rows, strict=True))
            ratio = statistics.median(row[0] / row[1] for row in rows)
            print(f"| {count} | {wall:.2f} | {network:.2f} | {ratio:.2f} | {cpu:.2f} |")


if __name__ == "__main__":
    main()
