"""All commands agree about which image fits into memory."""

from math import prod
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from singula.blocks.memory import RESTING
from singula.config import config_from_dict
from singula.inference.stages import PredictionStages, PredictOptions
from singula.inference.voxel_sizes import VoxelSizes
from singula.io.output_folder import OutputFolder
from singula.io.pairing import Pair
from singula.pipeline import memory
from singula.pipeline.blocks.memory import block_budget
from singula.pipeline.estimate import Estimate, count_work
from singula.pipeline.readers import reader_for
from singula.pipeline.timing import Timing

SHAPES = [(64, 64), (1000, 3000), (9000, 9000), (20, 64, 64), (300, 600, 700)]
GRID = [
    (shape, channels, dtype)
    for shape in SHAPES
    for channels, dtype in (("BC", np.uint8), ("BCD", np.uint16))
]


def make_config(shape, channels: str, path: Path, max_memory: int | None):
    ndim = len(shape)
    keys = {
        "PROBLEM": {"NDIM": f"{ndim}D", "INSTANCE_SEG": {"DATA_CHANNELS": channels}},
        "DATA": {
            "PATCH_SIZE": "(32, 32, 1)" if ndim == 2 else "(16, 32, 32, 1)",
            "TEST": {"PATH": str(path.parent), "LOAD_GT": False},
        },
        "TEST": {"ENABLE": True},
    }
    if max_memory is not None:
        keys["SYSTEM"] = {"MAX_MEMORY": str(max_memory)}
    return config_from_dict(keys)


def save_empty(path: Path, shape, dtype) -> Pair:
    """Write a file whose pixels take no space on the disk."""
    path.parent.mkdir()
    np.lib.format.open_memmap(path, "w+", dtype, shape)
    return Pair(path, None, path.stem)


@pytest.mark.parametrize(("shape", "channels", "dtype"), GRID)
def test_run_check_and_predict_agree_whether_an_image_fits(
    tmp_path, monkeypatch, shape, channels, dtype
) -> None:
    pair = save_empty(tmp_path / "test" / "image.npy", shape, dtype)
    n_maps = channels.count("B") + channels.count("C") + channels.count("D")
    map_size = 2 if prod(shape) > 64_000_000 else 4
    needed = prod(shape) * (np.dtype(dtype).itemsize + n_maps * map_size + 14)

    options = PredictOptions(None, False, False, False, None, None, VoxelSizes(None, None))
    timing = Timing(0, 0, 1.0, 1, 100, 0, 1000)
    inspection = SimpleNamespace(parts=[SimpleNamespace(name="test", pairs=[pair])])

    def fits(config) -> set[bool]:
        memory_of_test = Estimate(count_work(config, inspection), timing).memory - 1000
        available = memory.available_memory(config)
        reader = reader_for(config, "TEST")
        model = SimpleNamespace(config=config, reader=reader, others=(), ndim=config.ndim)
        stages = PredictionStages(model, OutputFolder(tmp_path), 1, options)
        return {
            not memory.warn_if_too_large(config, [pair]),
            not stages.task(1, pair, available).in_blocks,
            memory_of_test <= available,
        }

    for limit in (needed // 2, needed - 1, needed, 3 * needed):
        config = make_config(shape, channels, pair.image, limit)
        assert fits(config) == {limit >= needed}
        free = int(limit / memory.MEMORY_SHARE) + 1
        monkeypatch.setattr(memory, "free_memory", lambda free=free: free)
        assert fits(make_config(shape, channels, pair.image, None)) == {limit >= needed}


@pytest.mark.parametrize(("shape", "channels", "dtype"), GRID)
def test_blocks_stay_within_the_available_memory(tmp_path, shape, channels, dtype) -> None:
    for limit in (1_000_000_000, 4_000_000_000):
        config = make_config(shape, channels, tmp_path / "image.npy", limit)
        budget = block_budget(config, shape, "image")
        decoding = budget.max_pixels * memory.box_bytes(config, shape)
        assert RESTING + max(decoding, budget.network) <= memory.available_memory(config)
        assert prod(budget.block) <= budget.max_pixels
        # A box of a block needs more than the same pixels of a whole image, never less.
        whole = memory.whole_image_bytes(config, shape, 1)
        assert prod(shape) * memory.box_bytes(config, shape) >= whole


@pytest.mark.parametrize(
    ("channels", "shape", "whole", "box"),
    [
        # Measured by benchmarks/decoder_memory.py
        (["A"], (900, 900), 526, 526),
        (["F", "R"], (28, 96, 96), 221, 156),
        (["F", "H", "V", "Z"], (28, 96, 96), 77, 77),
        (["E"], (28, 96, 96), 224, 158),
    ],
)
def test_the_rules_contain_the_memory_of_the_decoder(tmp_path, channels, shape, whole, box) -> None:
    config = make_config(shape, channels, tmp_path / "image.npy", 4_000_000_000)
    if "H" in channels:
        config = config.replaced({"PROBLEM.INSTANCE_SEG.DECODER": "offsets"})
    maps = memory.map_bytes(config, shape)
    decoding = memory.whole_image_bytes(config, shape, 1) / prod(shape) - 1 - maps
    assert whole <= decoding < 1.2 * whole
    assert box <= memory.box_bytes(config, shape) - maps < 1.2 * box
    watershed = make_config(shape, "BC", tmp_path / "image.npy", 4_000_000_000)
    pixels = [block_budget(c, shape, "image").max_pixels for c in (config, watershed)]
    assert pixels[0] < pixels[1]
