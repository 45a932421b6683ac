"""The demonstration starts with the instances of a built-in model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import singula
from singula.commands.demo_model import show_built_in_model
from singula.io.read import read_image, read_labels
from singula.synthetic.fluorescence import make_dataset
from singula.zoo.models import built_in_models


def test_the_score_is_that_of_the_written_instances(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(7)
    make_dataset(tmp_path, 2, rng, n_train=0, n_val=0, n_test=1, shape=(96, 96))
    f1 = show_built_in_model(tmp_path, tmp_path / "out")
    truth = read_labels(tmp_path / "test/y/image_000.tif", 2).array[..., 0]
    image = read_image(tmp_path / "test/x/image_000.tif", 2).array
    labels = read_labels(tmp_path / "out/image_000.tif", 2).array[..., 0]
    np.testing.assert_array_equal(labels, singula.load("nuclei").predict(image))
    assert f1 == singula.match(truth, labels, 0.5).f1
    assert f1 > 0.8
    assert f"{f1:.3f}" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").glob("[!.]*")} == {
        "image_000.tif",
        "image_000_stats.csv",
        "image_000_overlay.png",
    }


def test_volumes_need_a_model_for_volumes(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    make_dataset(
        tmp_path, 3, rng, n_train=0, n_val=0, n_test=1, shape=(8, 32, 32), spacing=(2, 1, 1)
    )
    f1 = show_built_in_model(tmp_path, tmp_path / "out")
    assert (f1 is not None) == ("nuclei_3d" in built_in_models())
    assert (tmp_path / "out").exists() == (f1 is not None)
