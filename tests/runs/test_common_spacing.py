"""Images of several voxel sizes that are resampled to a common one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import singula
from singula.config import load_config
from singula.errors import UserError
from singula.gui.guard import Guard
from singula.gui.results import open_results
from singula.gui.retune import Retune
from singula.inference import files as loaded_files
from singula.inference import plan_predictions, predict_files
from singula.io.read import read_image, read_labels
from singula.io.write import write_tiff
from singula.pipeline.load_data import load_training

SPACING = "DATA.PREPROCESS.SPACING"


def enlarged(array: np.ndarray) -> np.ndarray:
    return np.kron(array, np.ones((2, 2), array.dtype))


@pytest.fixture
def mixed(data_2d, make_once) -> Path:
    """Images of 0.5 µm, and in each part one image of 0.25 µm that shows the first one again."""

    def fill(folder: Path) -> None:
        for part in ("train", "val", "test"):
            for kind in ("x", "y"):
                read = read_image if kind == "x" else read_labels
                for path in sorted((data_2d / part / kind).iterdir()):
                    array = read(path, 2, *([1] if kind == "x" else [])).array[..., 0]
                    target = folder / part / kind
                    write_tiff(target / path.name, array, "YX", (0.5, 0.5), "µm")
                    if path.stem.endswith("000"):
                        large = enlarged(array)
                        write_tiff(target / "large.tif", large, "YX", (250.0, 250.0), "nm")

    return make_once("mixed_spacing", fill)


@pytest.fixture
def config(write_config, mixed) -> Path:
    return write_config(
        mixed,
        name="mixed.yaml",
        **{
            SPACING: [0.5, 0.5],
            "TRAIN.EPOCHS": 15,
            "PROBLEM.INSTANCE_SEG.DATA_MW_TH_TYPE": "manual",
            "TEST.POST_PROCESSING.MEASURE_PROPERTIES.ENABLE": True,
        },
    )


@pytest.fixture
def run(run_once, config, tmp_path) -> Path:
    return run_once("mixed_spacing", config, tmp_path / "out") / "mixed" / "results" / "mixed_1"


@pytest.mark.parametrize("in_memory", [True, False])
def test_training_images_have_the_common_voxel_size(config, in_memory) -> None:
    loaded = load_config(config).replaced({"DATA.TRAIN.IN_MEMORY": in_memory})
    samples = {sample.name: sample for sample in load_training(loaded)[0]}
    large, small = samples["large"], samples["image_000"]
    assert large.shape == small.shape
    difference = large.opened().image.astype(float) - small.opened().image
    assert np.abs(difference).mean() < 0.05 * np.ptp(small.opened().image)
    # Every second label of the copy is the label of the image.
    np.testing.assert_array_equal(large.opened().labels, small.opened().labels)
    for code, values in (large.opened().targets or {}).items():
        np.testing.assert_array_equal(values, (small.opened().targets or {})[code])


def test_results_have_the_size_of_the_images(run, mixed) -> None:
    stats = pd.read_csv(next(run.rglob("large_full_stats.csv")))
    found = read_labels(run / "per_image_instances" / "large.tif", 2)
    truth = read_labels(mixed / "test" / "y" / "large.tif", 2)
    assert found.array.shape == truth.array.shape
    assert found.spacing == pytest.approx(truth.spacing)
    assert found.unit == truth.unit
    labels = found.array[..., 0]
    ids, counts = np.unique(labels[labels > 0], return_counts=True)
    assert len(ids) > 2
    assert stats["label"].tolist() == ids.tolist()
    assert stats["npixels"].tolist() == counts.tolist()
    assert stats["area"].to_numpy() == pytest.approx(counts * 250.0**2)
    # The network sees the same image twice.
    small = read_labels(run / "per_image_instances" / "image_000.tif", 2).array[..., 0]
    match = singula.match(enlarged(small), labels, 0.7)
    assert match.f1 > 0.85
    # Scores are those of the written labels.
    scores = singula.load_config(run.parents[1] / "config_files" / "mixed.yaml")
    assert scores.DATA.PREPROCESS.SPACING == (0.5, 0.5)


def test_predict_gives_the_instances_of_the_run(run, mixed, command, tmp_path) -> None:
    out = tmp_path / "new"
    line = ("predict", mixed / "test" / "x", "--model", run, "-o", out)
    assert command(*line) == 0, command.err
    for path in sorted((run / "per_image_instances").glob("*.tif")):
        expected, found = read_labels(path, 2), read_labels(out / path.name, 2)
        np.testing.assert_array_equal(found.array, expected.array)
        assert found.spacing == pytest.approx(expected.spacing)
    model = singula.load(run)
    image = read_image(mixed / "test" / "x" / "large.tif", 2, 1).array
    expected = read_labels(run / "per_image_instances" / "large.tif", 2).array[..., 0]
    np.testing.assert_array_equal(model.predict(image, spacing=0.25), expected)


def test_images_in_blocks_are_not_resampled(run, mixed, tmp_path, monkeypatch) -> None:
    """An image that has the common voxel size, or is predicted with --scale 1, is not resampled."""
    model = singula.load(run)
    files = [mixed / "test" / "x" / name for name in ("large.tif", "image_000.tif")]
    pairs = plan_predictions(model, files, tmp_path / "plan")

    def predict(name: str, **options: object) -> dict[str, UserError]:
        options = {"augment": None, "tables": True, "resume": False, **options}
        return predict_files(model, pairs, tmp_path / name, **options)  # type: ignore[arg-type]

    assert predict("plain") == predict("whole", scale=1) == {}
    for options in ({"dask": "local:1", "scale": 2.0}, {"dask": "local:1", "scale": "auto"}):
        with pytest.raises(UserError) as error:
            predict("refused", **options)
        assert error.value.code == "predict.scale_dask"
    monkeypatch.setattr(loaded_files, "available_memory", lambda config: 1)
    failed = predict("stored")
    assert list(failed) == [str(files[0])]
    assert failed[str(files[0])].code == "predict.scale_blocks"
    assert predict("blocks", scale=1) == {}
    for whole, blocks, name in (
        ("plain", "stored", "image_000"),
        ("whole", "blocks", "image_000"),
        ("whole", "blocks", "large"),
    ):
        expected = read_labels(tmp_path / whole / f"{name}.tif", 2)
        found = read_labels(tmp_path / blocks / f"{name}.zarr", 2)
        np.testing.assert_array_equal(found.array, expected.array)
        assert found.spacing == pytest.approx(expected.spacing)
        tables = [pd.read_csv(tmp_path / part / f"{name}_stats.csv") for part in (whole, blocks)]
        assert "confidence" not in tables[1]  # it needs the maps of the whole image
        pd.testing.assert_frame_equal(
            tables[0].drop(columns="confidence", errors="ignore"), tables[1], rtol=1e-4
        )


def test_a_run_can_be_tuned_and_decoded_again(run, mixed, command) -> None:
    results = open_results(run, Guard.of([run, mixed]))
    expected = read_labels(run / "per_image_instances" / "large.tif", 2).array[..., 0]
    outcome = Retune(results, "large", results.run.stages[-1]).decode({})
    np.testing.assert_array_equal(outcome.labels, expected)
    assert outcome.scores
    assert command("tune", run, "--no-save") == 0, command.err


def test_images_without_a_voxel_size_are_refused(write_config, data_2d, command, tmp_path) -> None:
    keys = {SPACING: [0.5, 0.5]}
    config = write_config(data_2d, **keys)
    assert command("run", "--config", config, "--result_dir", tmp_path) == 2
    assert "gives no voxel size" in command.err
    assert "RESOLUTION" in command.err
    keys |= {f"DATA.{part}.RESOLUTION": [1.0, 1.0] for part in ("TRAIN", "VAL", "TEST")}
    samples = load_training(load_config(write_config(data_2d, **keys)))[0]
    assert {sample.shape for sample in samples} == {(192, 192)}


@pytest.mark.parametrize(
    "keys",
    [
        {"TEST.BY_CHUNKS.ENABLE": True},
        {"DATA.PREPROCESS.TRAIN": True, "DATA.PREPROCESS.RESIZE.ENABLE": True},
        {"TEST.ANALIZE_2D_IMGS_AS_3D_STACK": True},
        {SPACING: [0.5]},
    ],
)
def test_settings_that_cannot_be_combined(write_config, data_2d, keys) -> None:
    with pytest.raises(UserError, match="SPACING"):
        load_config(write_config(data_2d, **{SPACING: [0.5, 0.5], **keys}))


def test_channels_are_stored_again_after_a_correction_of_the_voxel_size(
    mixed, write_config, tmp_path
) -> None:
    data = Path(shutil.copytree(mixed, tmp_path / "data"))
    loaded = load_config(write_config(data, **{SPACING: [0.5, 0.5]}))
    before = {sample.name: sample.opened() for sample in load_training(loaded)[0]}
    path = data / "train" / "x" / "large.tif"
    image = read_image(path, 2, 1).array[..., 0]
    write_tiff(path, image, "YX", (0.5, 0.5), "µm")  # it was 0.25 µm
    after = {sample.name: sample.opened() for sample in load_training(loaded)[0]}
    assert after["large"].image.shape[:2] == image.shape != before["large"].image.shape[:2]
    for values in (after["large"].targets or {}).values():
        assert values.shape == image.shape
