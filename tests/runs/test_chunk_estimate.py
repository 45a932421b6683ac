"""The estimate of `singula check` for images in blocks, compared with a run."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import pytest

from singula.blocks import JobFolder
from singula.config import load_config
from singula.dataset.checks import inspect_dataset
from singula.io.lazy import LazyImage
from singula.io.write import write_tiff
from singula.pipeline import memory, timing
from singula.pipeline.blocks.job_spec import JobSpec
from singula.pipeline.dataset import inspect_config
from singula.pipeline.estimate import Estimate, count_work
from singula.pipeline.timing import Timing

pytest.importorskip("zarr")
BLOCKS = (
    "TEST.BY_CHUNKS.ENABLE=True",
    "TEST.BY_CHUNKS.BLOCK_SHAPE=(8, 16, 24)",
    "TEST.REDUCE_MEMORY=True",
)


def words(*changes: str) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


@pytest.mark.slow
def test_blocks_and_disk_of_a_run(command, write_config, data_3d, tmp_path) -> None:
    """Blocks equal those of the run, and the size of the maps is within a factor of two."""
    config = write_config(data_3d, 3, **{"TRAIN.EPOCHS": 4})
    made = load_config(config, BLOCKS)
    work = count_work(made, inspect_config(made))
    assert command("run", "--config", config, "--result_dir", tmp_path, *words(*BLOCKS)) == 0
    results = next((tmp_path / "job" / "results").iterdir())
    assert len(work.blocks) == 2
    for one in work.blocks:
        plan = JobSpec.load(JobFolder(results / "chunks" / one.name))
        assert plan is not None
        assert (one.shape, one.block, one.blocks) == (plan.shape, plan.block, len(plan.grid))
        assert one.sampled == one.filled == one.blocks
        assert one.pixels == 1
        maps = sum(p.stat().st_size for p in Path(plan.maps).rglob("*") if p.name != "zarr.json")
        assert 0.5 < one.maps / maps < 2
        assert one.decoding >= prod(one.block) * 30
    lines = Estimate(work, None).lines()
    assert any("12 × 48 × 48 pixels in 12 blocks of 8 × 16 × 24" in line for line in lines)


def test_empty_blocks_are_not_counted(write_config, data_3d, tmp_path, monkeypatch) -> None:
    """An eighth of the volume contains objects; only small boxes are read."""
    volume = np.zeros((16, 64, 96), np.uint8)
    volume[:8, :32, :48] = np.random.default_rng(0).integers(1, 255, (8, 32, 48))
    write_tiff(tmp_path / "x" / "volume.tif", volume, "ZYX")
    config = write_config(data_3d, 3, **{"DATA.TEST.PATH": str(tmp_path / "x"),
                                         "DATA.TEST.LOAD_GT": False})  # fmt: skip
    made = load_config(config, (*BLOCKS, "TEST.BY_CHUNKS.BLOCK_SHAPE=(8, 32, 48)"))
    found = inspect_config(made)
    read, whole = [], LazyImage.read

    def watched(self, box):
        values = whole(self, box)
        read.append(values.size)
        return values

    monkeypatch.setattr(LazyImage, "read", watched)
    (one,) = count_work(made, found).blocks
    assert (one.blocks, one.sampled, one.filled, one.computed) == (8, 8, 1, 1)
    assert one.pixels == pytest.approx(1 / 8)
    assert max(read) <= 16**3


def test_time_memory_and_disk_by_hand(write_config, data_3d) -> None:
    made = load_config(write_config(data_3d, 3), BLOCKS)
    work = count_work(made, inspect_config(made))
    one = replace(work.blocks[0], shape=(10, 10, 10), blocks=4, sampled=4, filled=1, pixels=0.25,
                  tile=(4, 4, 4), tiles=3, tile_batch=2, decoding=900, predicting=500,
                  maps=70, labels=20, temporary=5)  # fmt: skip
    work = replace(work, patches=0, stored=0, blocks=(one,), results=90, tile=(4, 4, 4),
                   tile_batch=2, tile_pixels=3 * 64)  # fmt: skip
    found = Estimate(work, Timing(0, 0, 2.0, 1, 100, 0, 1000, decoding=0.01))
    assert found.prediction_seconds == pytest.approx(1.4 * 2.0 * 3 / 2)
    assert found.decoding_seconds == pytest.approx(0.01 * (15 * 250 + 3 * 750))
    assert found.memory == 1000 + 500
    assert replace(found, work=replace(work, blocks=(replace(one, decoding=2000),))).memory == 2100
    assert found.disk == 95


def test_check_estimates_blocks(command, write_config, data_3d) -> None:
    config = write_config(data_3d, 3)
    assert command("check", "--config", config, *words(*BLOCKS)) == 0, command.err
    for part in ("12 blocks of 8 × 16 × 24", "decoding and the rest about", "memory at the peak",
                 "on disk: maps"):  # fmt: skip
        assert part in command.out
    assert "receptive field" not in command.out
    small = words(*BLOCKS, "TEST.BY_CHUNKS.BLOCK_SHAPE=(4, 8, 8)")
    assert command("check", "--config", config, "--no-timing", *small) == 0, command.err
    assert command.out.count("pixels; the radius of the receptive field is ") == 1


@pytest.mark.slow
@pytest.mark.parametrize("training", [True, False])
def test_images_too_large_for_memory_are_reported_first(
    command, write_config, data_2d, tmp_path, monkeypatch, training
) -> None:
    config = write_config(data_2d, **{"TRAIN.EPOCHS": 1})
    assert command("run", "--config", config, "--result_dir", tmp_path) == 0
    assert "BY_CHUNKS" not in command.out
    monkeypatch.setattr(memory, "free_memory", lambda: 360_000)  # 96 × 96 pixels take 0.21 MB
    assert "BY_CHUNKS" not in "".join(_said(command, config))
    monkeypatch.setattr(memory, "free_memory", lambda: 350_000)
    assert "set TEST.BY_CHUNKS.ENABLE: True" in "".join(_said(command, config))
    line = ["run", "--config", config, "--result_dir", tmp_path]
    assert command(*line, *words(f"TRAIN.ENABLE={training}")) == 0
    said = command.out.splitlines()
    hint = next(n for n, text in enumerate(said) if "set TEST.BY_CHUNKS.ENABLE: True" in text)
    assert "(96 × 96 pixels)" in said[hint - 1]
    assert sum("set TEST.BY_CHUNKS" in text for text in said) == 1
    begin = next(n for n, text in enumerate(said) if ("epoch 1" if training else "[1/2]") in text)
    assert hint < begin


def _said(command, config) -> list[str]:
    assert command("check", "--config", config, "--no-timing") == 0
    return command.out.splitlines()


def test_patches_are_drawn_from_a_part_of_a_very_large_image(
    write_config, data_3d, monkeypatch
) -> None:
    keys = {"DATA.PATCH_SIZE": "(4, 16, 16, 1)", "DATA.TEST.PADDING": "(0, 4, 4)"}
    made = load_config(write_config(data_3d, 3, **keys))
    found = inspect_dataset(data_3d)
    whole = timing.first_sample(made, found)
    monkeypatch.setattr(timing, "is_too_large", lambda shape: True)
    part = timing.first_sample(made, found)
    assert whole is not None
    assert part is not None
    box = (slice(2, 10), slice(8, 40), slice(8, 40))
    np.testing.assert_array_equal(part.image, whole.image[box])
    np.testing.assert_array_equal(part.labels, whole.labels[box])
