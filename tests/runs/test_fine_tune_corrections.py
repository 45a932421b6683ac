"""Fine-tuning with corrections of a prediction."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from singula.commands import fine_tune
from singula.commands.fine_tune import (
    BEFORE,
    compare_fine_tuning,
    corrected_pairs,
    held_out,
    score_before,
    training_pairs,
)
from singula.config import Config, load_config
from singula.errors import UserError
from singula.inference import load
from singula.io.pairing import Pair
from singula.io.read import read_image, read_labels
from singula.io.record_files import read_record
from singula.io.records.review import BeforeRecord
from singula.io.write import write_tiff
from singula.metrics import match
from singula.runs.corrections import CorrectedFiles, Review
from singula.runs.instances import Instances
from singula.runs.run import open_run
from singula.synthetic.fluorescence import make_dataset

TINY = {
    "TRAIN.EPOCHS": 1, "TRAIN.BATCH_SIZE": 2, "DATA.PATCH_SIZE": "[64, 64, 1]",
    "DATA.TRAIN.REPLICATE": 1, "TEST.AUGMENTATION": False,
}  # fmt: skip


@pytest.fixture
def corrected(tmp_path: Path) -> Path:
    """Correct three predictions to their ground truth, and return the folder of the corrections."""
    sizes = {"n_train": 0, "n_val": 0, "n_test": 3}
    make_dataset(tmp_path / "data", 2, np.random.default_rng(3), shape=(96, 96), **sizes)
    for number in range(3):
        name = f"image_{number:03}"
        image = read_image(tmp_path / "data" / "test" / "x" / f"{name}.tif", 2).array
        truth = read_labels(tmp_path / "data" / "test" / "y" / f"{name}.tif", 2).array[..., 0]
        path = write_tiff(tmp_path / "predicted" / f"{name}.tif", truth, "YX")
        predicted = Instances(name, truth, image=image)
        CorrectedFiles(path, name).save(predicted, np.where(truth == 1, 0, truth), Review())
    return tmp_path / "predicted" / "corrected"


def test_init_writes_a_data_set_and_scores_the_model_on_held_out_images(
    corrected: Path, command, tmp_path: Path
) -> None:
    path = tmp_path / "tuned.yaml"
    for unsuitable in ("missing", "nuclei_3d"):
        assert command("init", corrected, "--from", unsuitable, "-o", path) != 0
    assert not (tmp_path / "tuned_data").exists()  # so that the command can be repeated
    assert command("init", corrected, "--from", "nuclei", "-o", path) == 0, command.err
    config, data = load_config(path), tmp_path / "tuned_data"
    assert config.PATHS.CHECKPOINT_FILE == "nuclei"
    assert Path(config.DATA.TRAIN.PATH) == data / "train" / "x"
    assert Path(config.DATA.TEST.GT_PATH) == data / "test" / "y"
    names = {
        part: sorted(f.name for f in (data / part / "x").iterdir()) for part in ("train", "test")
    }
    assert len(names["train"]) == 2
    assert names["test"] == ["image_000.tif"]
    truth = read_labels(data / "test" / "y" / "image_000.tif", 2).array[..., 0]
    image = read_image(data / "test" / "x" / "image_000.tif", 2).array
    f1 = match(truth, load("nuclei").predict(image), 0.5).f1
    record = read_record(data / BEFORE, BeforeRecord)
    assert (record.model, record.images, record.f1) == ("nuclei", 1, f1)
    assert f"{f1:.3f}" in command.out + command.err
    assert command("init", corrected, "--from", "nuclei", "-o", tmp_path / "tuned.yml") != 0


def test_the_model_is_scored_at_the_scale_of_the_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images with pixels of 0.5 µm and a network for 0.25 µm: they are enlarged twice."""
    labels = np.kron(np.array([[1, 0], [0, 2]], np.uint16), np.ones((8, 8), np.uint16))
    write_tiff(tmp_path / "test" / "x" / "a.tif", labels.astype(np.uint8), "YX", (0.5, 0.5), "µm")
    write_tiff(tmp_path / "test" / "y" / "a.tif", labels, "YX")
    scales: list[object] = []

    class FakeModel:
        ndim = 2
        reader = SimpleNamespace(n_classes=0)

        def predict(self, array: np.ndarray, *, scale: object = None) -> np.ndarray:
            scales.append(scale)
            return np.where(array[..., 0] == 1, 1, 0)  # one of the two objects

    monkeypatch.setattr(fine_tune, "load", lambda _: FakeModel())
    common = {"DATA.PREPROCESS.SPACING": (0.25, 0.25)}
    cases: list[tuple[dict[str, object], object]] = [
        ({}, None),
        (common, (2.0, 2.0)),
        # A configured pixel size has precedence over that of the file.
        ({**common, "DATA.TEST.RESOLUTION": (0.125, 0.125)}, (0.5, 0.5)),
    ]
    path = tmp_path / "cells.yaml"
    for keys, expected in cases:
        monkeypatch.setattr(fine_tune, "load_config", lambda _, keys=keys: Config().replaced(keys))
        record = score_before(tmp_path, Path("nuclei"), path)
        assert record is not None
        assert scales.pop() == expected
        assert record == read_record(tmp_path / BEFORE, BeforeRecord)
        assert (record.images, record.f1) == (1, pytest.approx(2 / 3))
    assert score_before(tmp_path / "none", Path("nuclei"), path) is None


def test_init_succeeds_if_the_model_cannot_be_scored(
    corrected: Path, command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> BeforeRecord:
        raise UserError("this image is too large", None, "test.too_large")

    monkeypatch.setattr(fine_tune, "_score", fail)
    path = tmp_path / "tuned.yaml"
    assert command("init", corrected, "--from", "nuclei", "-o", path) == 0, command.err
    assert "this image is too large" in command.out + command.err
    assert load_config(path).PATHS.CHECKPOINT_FILE == "nuclei"
    assert not (tmp_path / "tuned_data" / BEFORE).exists()


@pytest.mark.slow
def test_scores_before_and_after_belong_to_the_same_images(
    corrected: Path, command, tmp_path: Path
) -> None:
    path = tmp_path / "tuned.yaml"
    assert command("init", corrected, "--from", "nuclei", "-o", path) == 0, command.err
    changes = [item for key, value in TINY.items() for item in ("--set", f"{key}={value}")]
    assert command("run", "--config", path, "--result_dir", tmp_path, *changes) == 0, command.err
    folder = tmp_path / "tuned" / "results" / "tuned_1"
    run = open_run(folder)
    comparison = compare_fine_tuning(run)
    assert comparison is not None
    assert comparison.images == len(run.test.instances) == 1
    labels = next(run.label_images(run.stages[-1])).read().labels
    truth = read_labels(tmp_path / "tuned_data" / "test" / "y" / "image_000.tif", 2).array[..., 0]
    assert comparison.after == pytest.approx(match(truth, labels, 0.5).f1)
    assert compare_fine_tuning(run, lambda _: False) is None
    # A training from this run uses its training images again.
    assert len(training_pairs(folder)) == 2
    again = tmp_path / "again.yaml"
    assert command("init", corrected, "--from", folder, "-o", again) == 0, command.err
    files = sorted(file.name for file in (tmp_path / "again_data" / "train" / "x").iterdir())
    assert [name.startswith("model_") for name in files] == [False, False, True, True]


@pytest.mark.parametrize(("count", "expected"), [(1, 0), (2, 1), (4, 1), (8, 2), (11, 3)])
def test_a_quarter_of_the_images_is_held_out(count: int, expected: int) -> None:
    pairs = [Pair(Path(f"{n}.tif"), None, str(n)) for n in range(count)]
    assert len(held_out(pairs)) == len({pair.name for pair in held_out(pairs)}) == expected


def test_without_corrections_the_remedy_is_given(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        corrected_pairs(tmp_path)
    assert caught.value.code == "corrections.none"
    assert training_pairs(Path("nuclei")) == []
