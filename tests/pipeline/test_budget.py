"""The memory that blocks need, and messages about too little memory."""

from __future__ import annotations

import re

import numpy as np
import pytest

from singula.config import config_from_dict
from singula.errors import UserError, overflow_hint
from singula.pipeline.blocks.memory import block_budget
from singula.representations.decoders import decode_labels

SHAPES = [(5000, 5000), (300, 2000, 2000), (40, 40)]


def config(ndim: int, memory: str):
    patch = "(128, 128, 1)" if ndim == 2 else "(16, 64, 64, 1)"
    return config_from_dict(
        {
            "PROBLEM": {"NDIM": f"{ndim}D"},
            "DATA": {"PATCH_SIZE": patch},
            "SYSTEM": {"MAX_MEMORY": memory},
            "TRAIN": {"ENABLE": True},
        }
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("workers", [1, 3])
def test_the_memory_in_a_message_is_enough(shape, workers: int) -> None:
    ndim = len(shape)
    with pytest.raises(UserError) as caught:
        block_budget(config(ndim, "600MB"), shape, "a.tif", workers)
    assert caught.value.code == "memory.too_little"
    asked = re.search(r"SYSTEM.MAX_MEMORY: ([\d.]+GB)", str(caught.value.hint))
    assert asked is not None
    assert block_budget(config(ndim, asked[1]), shape, "a.tif", workers).block
    assert ("worker" in caught.value.message) == (workers > 1)
    need = re.search(r"expected at least ([\d.]+) GB", caught.value.message)
    assert need is not None
    assert float(need[1]) * workers == pytest.approx(float(asked[1][:-2]), abs=0.1 * workers)


def test_a_command_without_a_configuration_names_no_key() -> None:
    with pytest.raises(UserError) as caught:
        block_budget(config(2, "600MB"), (5000, 5000), "a.tif", has_config_file=False)
    assert "SYSTEM" not in str(caught.value.hint)


def test_the_blocks_of_a_cluster_fit_into_its_workers() -> None:
    shape = (20000, 20000)
    small, large = (block_budget(config(2, size), shape, "a.tif") for size in ("1GB", "64GB"))
    assert small.block < large.block
    for limit, memory in (("64GB", 10**9), ("1GB", 64 * 10**9)):
        budget = block_budget(config(2, limit), shape, "a.tif", worker_memory=memory)
        assert budget == small


@pytest.mark.parametrize(("limit", "names_key"), [("64GB", False), ("500MB", True)])
def test_workers_of_a_cluster_with_too_little_memory(limit: str, names_key: bool) -> None:
    with pytest.raises(UserError) as caught:
        block_budget(config(2, limit), (5000, 5000), "a.tif", worker_memory=600_000_000)
    assert caught.value.code == "memory.too_little"
    assert ("MAX_MEMORY" in str(caught.value.hint)) == names_key


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("automatic", [False, True])
def test_an_overflow_in_prediction_does_not_blame_the_learning_rate(half, automatic) -> None:
    maps = {name: np.zeros((16, 16), np.float16 if half else np.float32) for name in "BC"}
    maps["C"][3, 3] = np.nan
    with pytest.raises(UserError) as caught:
        decode_labels(maps, "BC", thresholds="auto" if automatic else None)
    assert caught.value.code == "prediction.overflow"
    assert "TRAIN.LR" not in str(caught.value.hint)
    assert "TRAIN.LR" in overflow_hint("training")
