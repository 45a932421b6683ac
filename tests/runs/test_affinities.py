"""Complete runs with affinities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import singula
from singula.io.read import read_labels
from singula.synthetic.datasets import make_drawn_dataset


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "channels", "ndim"),
    [("cells", ["F", "A"], 2), ("tissue", ["A"], 3)],
)
def test_a_run_with_affinities_divides_cells(
    name, channels, ndim, make_once, write_config, command, tmp_path: Path
) -> None:
    shape = (96, 96) if ndim == 2 else (12, 48, 48)

    def fill(folder: Path) -> None:
        rng = np.random.default_rng(0)
        make_drawn_dataset(folder, name, rng, n_train=4, n_val=1, n_test=1, shape=shape)

    keys = {
        "PROBLEM.INSTANCE_SEG.DATA_CHANNELS": channels,
        "TRAIN.EPOCHS": 30,
        "TEST.AUGMENTATION": True,
        "TEST.MATCHING_STATS_THS": [0.5],
    }
    config = write_config(make_once(f"affinities_{name}", fill), ndim, **keys)
    line = ("run", "--config", config, "--result_dir", tmp_path / "out", "--name", "a")
    assert command(*line) == 0, command.err
    results = tmp_path / "out" / "a" / "results" / "a_1"
    folder = results / "per_image_instances"
    (path,) = folder.glob("*.tif")
    labels = read_labels(path, ndim).array[..., 0]
    assert labels.max() > 3
    assert "TH_AFFINITY" in command.out
    report = (results / "report.html").read_text()
    assert "mutex watershed" in report
    assert "TH_AFFINITY" in report

    shape = "(40, 48)" if ndim == 2 else "(12, 24, 32)"
    blocks = ("TRAIN.ENABLE=False", "TEST.BY_CHUNKS.ENABLE=True",
              f"TEST.BY_CHUNKS.BLOCK_SHAPE={shape}")  # fmt: skip
    changes = [word for change in blocks for word in ("--set", change)]
    assert command(*line, *changes) == 0, command.err
    assert "mutex watershed" in command.out + command.err
    (path,) = (p for p in folder.iterdir() if p.name.startswith("image") and p.suffix != ".csv")
    in_blocks = read_labels(path, ndim).array[..., 0]
    assert singula.match(labels, in_blocks, 0.5).f1 > 0.8
