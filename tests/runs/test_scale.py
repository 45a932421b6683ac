"""Prediction of images that are resampled before the network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from skimage.transform import rescale

import singula
from singula.data.preprocess import PreprocessSettings, Resize
from singula.errors import UserError
from singula.inference import files as loaded_files
from singula.inference import plan_predictions, predict_files
from singula.io.read import read_image, read_labels
from singula.io.write import write_tiff
from singula.pipeline.object_size import TrainedObjects


@pytest.fixture
def run(run_once, write_config, data_2d, tmp_path) -> Path:
    manual = {"PROBLEM.INSTANCE_SEG.DATA_MW_TH_TYPE": "manual", "TRAIN.EPOCHS": 25}
    config = write_config(data_2d, **manual)
    out = run_once("manual_25", config, tmp_path / "out")
    return out / "job" / "results" / "job_1"


@pytest.fixture
def image(data_2d) -> np.ndarray:
    return read_image(data_2d / "test" / "x" / "image_000.tif", 2, 1).array[..., 0]


def nearest(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the label of the pixel at the center of each pixel of another grid."""
    rows, columns = (
        np.floor((np.arange(new) + 0.5) * old / new).astype(int)
        for old, new in zip(labels.shape, shape, strict=True)
    )
    return labels[rows][:, columns]


@pytest.mark.parametrize(("factor", "order"), [(0.5, 1), (2, 3)])
def test_an_image_is_enlarged_and_the_labels_are_mapped_back(run, image, factor, order) -> None:
    model = singula.load(run)
    values = rescale(
        image.astype(np.float32), factor, order=order, preserve_range=True, anti_aliasing=factor < 1
    )
    limits = np.iinfo(image.dtype)
    resampled = np.clip(np.rint(values), limits.min, limits.max).astype(image.dtype)
    expected = nearest(model.predict(resampled), image.shape)
    found = model.predict(image, scale=factor)
    assert found.any()
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(model.predict(image, scale=(factor, factor)), expected)


def test_a_scale_of_one_changes_nothing(run, image) -> None:
    model = singula.load(run)
    np.testing.assert_array_equal(model.predict(image, scale=1), model.predict(image))


def test_a_large_copy_is_predicted_like_the_image(run, image) -> None:
    """Sizes in pixels of the decoder refer to the resampled image."""
    model = singula.load(run)
    large = np.kron(image, np.ones((2, 2), image.dtype))  # its means over 2 × 2 are the image
    labels = model.predict(large, scale=0.5)
    match = singula.match(nearest(model.predict(image), large.shape), labels, 0.7)
    assert match.tp > 0
    assert (match.fp, match.fn) == (0, 0)


def test_the_command_writes_labels_and_tables_at_the_size_of_the_image(
    run, image, command, tmp_path
) -> None:
    path = tmp_path / "large.tif"
    large = np.kron(image, np.ones((2, 2), image.dtype))
    write_tiff(path, large, "YX", (0.25, 0.25), "µm")
    out = tmp_path / "new"
    line = ("predict", path, "--model", run, "-o", out, "--tables", "--scale", "0.5")
    assert command(*line) == 0, command.err
    labels = read_labels(out / "large.tif", 2)
    np.testing.assert_array_equal(labels.array[..., 0], singula.load(run).predict(large, scale=0.5))
    assert labels.spacing == pytest.approx((0.25, 0.25))
    table = pd.read_csv(out / "large_stats.csv")
    ids, counts = np.unique(labels.array[labels.array > 0], return_counts=True)
    assert table["label"].tolist() == ids.tolist()
    assert table["npixels"].tolist() == counts.tolist()
    assert table["area_µm²"].to_numpy() == pytest.approx(counts * 0.0625)


def test_the_factor_follows_from_the_voxel_size_of_the_model(run, image, tmp_path) -> None:
    path = tmp_path / "large.tif"
    large = np.kron(image, np.ones((2, 2), image.dtype))
    tifffile.imwrite(path, large)
    trained = TrainedObjects(spacing=(0.5, 0.5), unit="µm")
    model = replace(singula.load(run), objects=trained)
    pairs = plan_predictions(model, [path], tmp_path / "plan")

    def predict(name: str, **options: object) -> np.ndarray:
        options = {"augment": None, "tables": False, "resume": False, **options}
        assert predict_files(model, pairs, tmp_path / name, **options) == {}  # type: ignore[arg-type]
        return read_labels(tmp_path / name / "large.tif", 2).array[..., 0]

    expected = predict("half", scale=0.5)
    assert not np.array_equal(expected, predict("plain"))
    np.testing.assert_array_equal(predict("of_size", spacing=(0.25, 0.25)), expected)
    np.testing.assert_array_equal(predict("of_nm", spacing=(250.0, 250.0), unit="nm"), expected)
    plain = predict("plain_size", spacing=(0.25, 0.25), scale=1)
    np.testing.assert_array_equal(plain, predict("plain"))


@pytest.mark.parametrize(
    ("scale", "code"),
    [
        (0, "predict.scale"),
        (-1, "predict.scale"),
        (float("nan"), "predict.scale"),
        ((1, 2, 3), "predict.scale"),
        ([[1]], "predict.scale"),
        (100, "predict.scale"),
    ],
)
def test_invalid_scales(run, image, scale, code) -> None:
    with pytest.raises(UserError) as error:
        singula.load(run).predict(image, scale=scale)
    assert error.value.code == code
    with pytest.raises(TypeError):
        singula.load(run).predict(image, scale="wide")


def test_scales_that_a_model_or_an_image_does_not_allow(
    run, image, data_2d, tmp_path, monkeypatch
) -> None:
    model = singula.load(run)
    resized = replace(
        model, reader=replace(model.reader, steps=PreprocessSettings(resize=Resize((64, 64))))
    )
    with pytest.raises(UserError) as error:
        resized.predict(image, scale=2)
    assert error.value.code == "predict.scale_resize"

    path = data_2d / "test" / "x" / "image_000.tif"
    pairs = plan_predictions(model, [path], tmp_path)
    options = {"augment": None, "tables": False, "resume": False, "scale": 2}
    with pytest.raises(UserError) as error:
        predict_files(model, pairs, tmp_path, dask="local:1", **options)  # type: ignore[arg-type]
    assert error.value.code == "predict.scale_dask"
    monkeypatch.setattr(loaded_files, "available_memory", lambda config: 0)
    failed = predict_files(model, pairs, tmp_path, **options)  # type: ignore[arg-type]
    assert failed[str(path)].code == "predict.scale_blocks"
    assert not list(tmp_path.glob("*.tif"))


@pytest.fixture
def movie(data_2d, tmp_path) -> Path:
    """Two time points: objects of four times the size, and an empty image."""
    image = read_image(data_2d / "test" / "x" / "image_000.tif", 2, 1).array[..., 0]
    large = np.kron(image, np.ones((4, 4), image.dtype))
    path = tmp_path / "movie.tif"
    frames = np.stack([large, np.full_like(large, large.min())])
    tifffile.imwrite(path, frames, imagej=True, metadata={"axes": "TYX"})
    return path


def test_an_automatic_scale_is_printed_and_shared_by_the_time_points(
    run, movie, command, tmp_path
) -> None:
    frames = tifffile.imread(movie)
    line = ("predict", movie, "--model", run, "--frames", "all")
    assert command(*line, "-o", tmp_path / "auto", "--scale", "auto") == 0, command.err
    model = singula.load(run)
    estimate = model.estimate_scale(frames[0])
    assert estimate.factor < 0.6
    assert command.out.count(f"scale {estimate.factor:.3g}: objects of about") == 1
    for number in range(2):
        found = read_labels(tmp_path / "auto" / f"movie_t00{number}.tif", 2).array[..., 0]
        expected = model.predict(frames[number], scale=estimate.factor)
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(
        model.predict(frames[0], scale="auto"), model.predict(frames[0], scale=estimate.factor)
    )

    # The other time points do not depend on which results exist.
    done = tmp_path / "auto" / "movie_t001.tif"
    expected = done.read_bytes()
    done.unlink()
    assert command(*line, "-o", tmp_path / "auto", "--scale", "auto", "--resume") == 0, command.err
    assert done.read_bytes() == expected


def test_an_automatic_scale_needs_the_size_of_the_training_objects(run, data_2d, tmp_path) -> None:
    model = replace(singula.load(run), objects=TrainedObjects())
    pairs = plan_predictions(model, [data_2d / "test" / "x" / "image_000.tif"], tmp_path)
    options = {"augment": None, "tables": False, "resume": False, "scale": "auto"}
    with pytest.raises(UserError) as error:
        predict_files(model, pairs, tmp_path, **options)  # type: ignore[arg-type]
    assert error.value.code == "predict.scale_unknown"
