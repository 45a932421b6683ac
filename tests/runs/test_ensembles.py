"""Several models as one: the mean of their maps."""

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import singula
from singula.cli.models import is_model, repeat_option
from singula.errors import UserError
from singula.inference import files
from singula.io.read import read_image, read_labels
from singula.training.checkpoint import load_checkpoint, read_checkpoint, write_checkpoint

BEST = "checkpoints/job_1-checkpoint-best.pth"


def changed_copy(path: Path, target: Path, seed: int, **changes: object) -> Path:
    """Write a checkpoint with other weights and, optionally, another description."""
    contents = read_checkpoint(path)
    random = torch.Generator().manual_seed(seed)
    contents["state_dict"] = {
        name: value + 0.02 * torch.randn(value.shape, generator=random)
        if value.is_floating_point() and not name.endswith("running_var")
        else value
        for name, value in contents["state_dict"].items()
    }
    contents["singula"] = {**contents["singula"], **changes}
    write_checkpoint(contents, target)
    return target


@pytest.fixture
def models(run_once, write_config, data_2d, tmp_path) -> list[Path]:
    """Return three models that differ in their weights and in their normalization."""
    keys = {"TYPE": "custom", "APPLICATION_MODE": "dataset"}
    normalization = {f"DATA.NORMALIZATION.{name}": value for name, value in keys.items()}
    config = write_config(data_2d, **normalization, **{"TRAIN.EPOCHS": 12})
    path = run_once("custom_set_12", config, tmp_path / "out") / "job" / BEST
    normalizer = read_checkpoint(path)["singula"]["normalizer"]
    moments = normalizer["statistics"]
    moments = {**moments, "mean": tuple(value * 0.8 for value in moments["mean"])}
    return [
        path,
        changed_copy(path, tmp_path / "b.pth", 1),
        changed_copy(path, tmp_path / "c.pth", 2, normalizer={**normalizer, "statistics": moments}),
    ]


@pytest.fixture
def image(data_2d) -> np.ndarray:
    return read_image(data_2d / "test" / "x" / "image_000.tif", 2, 1).array


def test_maps_are_the_mean_of_the_models(models, image) -> None:
    each = [singula.load(model).predict_maps(image) for model in models]
    assert np.abs(each[0]["B"] - each[2]["B"]).max() > 0.01
    maps = singula.load(models).predict_maps(image)
    assert list(maps) == ["B", "C"]
    for name, values in maps.items():
        expected = np.mean([one[name] for one in each], axis=0)
        np.testing.assert_allclose(values, expected, atol=1e-6)


def test_the_order_and_repetitions_do_not_matter(models, image) -> None:
    first, backward = (singula.load(given) for given in (models, models[::-1]))
    maps = first.predict_maps(image)
    for name, values in backward.predict_maps(image).items():
        np.testing.assert_array_equal(values, maps[name])
    single = singula.load(models[0]).predict_maps(image)
    for given in (models[:1], [models[0]] * 3):
        for name, values in singula.load(given).predict_maps(image).items():
            np.testing.assert_array_equal(values, single[name])


def test_command_in_memory_and_in_blocks(models, command, data_2d, tmp_path, monkeypatch) -> None:
    ensemble = singula.load(models)
    images = sorted((data_2d / "test" / "x").glob("*.tif"))
    line = ("predict", "--model", *models, *images, "-o", tmp_path / "memory", "--tables")
    assert command(*line) == 0, command.err
    assert "ensemble of 3 models" in command.out
    monkeypatch.setattr(files, "available_memory", lambda config: 1)
    line = ("predict", *images, "-o", tmp_path / "blocks", "--model", *models)
    assert command(*line) == 0, command.err
    for path in images:
        expected = ensemble.predict(read_image(path, 2, 1).array)
        assert expected.max() > 1
        found = read_labels(tmp_path / "memory" / path.name, 2).array[..., 0]
        np.testing.assert_array_equal(found, expected)
        found = read_labels(tmp_path / "blocks" / f"{path.stem}.zarr", 2).array[..., 0]
        np.testing.assert_array_equal(found, expected)


def test_classes_are_those_of_the_mean(run_once, write_config, data_classes, command, tmp_path):
    config = write_config(data_classes, **{"MODEL.N_CLASSES": 4, "TRAIN.EPOCHS": 3})
    path = run_once("four_classes_3", config, tmp_path / "out") / "job" / BEST
    other = changed_copy(path, tmp_path / "b.pth", 1)
    image = read_image(data_classes / "test" / "x" / "image_000.tif", 2, 1).array
    model = singula.load([path, other])
    maps = model.predict_maps(image)
    probabilities = [
        one._network_maps(image, None, class_probabilities=True)["class"]
        for one in (model, *model.others)
    ]
    assert probabilities[0].shape == (*image.shape[:2], 4)
    np.testing.assert_allclose(probabilities[0].sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(maps["class"], np.mean(probabilities, axis=0).argmax(-1))
    np.testing.assert_array_equal(
        probabilities[0].argmax(-1), singula.load(model.checkpoint).predict_maps(image)["class"]
    )


def test_models_that_differ_are_refused(models, tmp_path) -> None:
    text = read_checkpoint(models[0])["singula"]["config"]
    pairs = {
        "channels": ("DATA_CHANNELS: BC", "DATA_CHANNELS: BP"),
        "classes": ("N_CLASSES: 2", "N_CLASSES: 3"),
        "filters": ("CLEAR_BORDER: false", "CLEAR_BORDER: true"),
    }
    for name, (old, new) in pairs.items():
        assert old in text
        other = changed_copy(models[0], tmp_path / f"{name}.pth", 3, config=text.replace(old, new))
        with pytest.raises(UserError) as error:
            singula.load([models[0], other])
        assert error.value.code == "ensemble.mismatch"
        assert new.partition(":")[0] in error.value.message
    sizes = ({"spacing": [0.5, 0.5], "unit": "µm"}, {"spacing": [0.2, 0.2], "unit": "µm"})
    both = [
        changed_copy(models[0], tmp_path / f"{n}.pth", n, voxel_size=size)
        for n, size in enumerate(sizes)
    ]
    with pytest.raises(UserError) as error:
        singula.load(both)
    assert error.value.code == "ensemble.mismatch"
    with pytest.raises(UserError) as error:
        singula.load([])
    assert error.value.code == "model.none"


def test_words_after_the_option_are_models_or_images(tmp_path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)

    def models(*words: str) -> list[str]:
        line = repeat_option(words, ("--model", "-m"), lambda w: w.startswith("model"))
        return [b for a, b in pairwise(line) if a in ("--model", "-m")]

    assert models("--model", "modelA", "modelB", "image", "-o", "out") == ["modelA", "modelB"]
    assert models("image", "-m", "modelA", "modelB", "-o", "modelC") == ["modelA", "modelB"]
    assert models("--model", "folder", "image", "modelB") == ["folder"]
    assert models("--model", "a", "--model", "b") == ["a", "b"]
    assert repeat_option(["--model=a", "modelB"], ["--model"], lambda w: True) == [
        "--model=a",
        "--model",
        "modelB",
    ]
    assert repeat_option(["-m", "a", "--", "b"], ["-m"], lambda w: True) == ["-m", "a", "--", "b"]
    assert [is_model(word) for word in ("nuclei", str(run), "image.tif")] == [True, True, False]


@pytest.fixture
def folds(make_once, command, write_config, data_2d, tmp_path) -> list[Path]:
    """Return the runs of a cross-validation of three images."""
    keys = {"FROM_TRAIN": True, "CROSS_VAL": True, "CROSS_VAL_NFOLD": 3}
    changes = {f"DATA.VAL.{name}": value for name, value in keys.items()}
    config = write_config(data_2d, **changes, **{"TRAIN.EPOCHS": 8, "TEST.ENABLE": False})

    def train(folder: Path) -> None:
        for fold in (1, 2, 3):
            line = ("run", "--config", config, "--result_dir", folder, "--name", "job")
            more = ("--run_id", fold, "--set", f"DATA.VAL.CROSS_VAL_FOLD={fold}")
            assert command(*line, *more) == 0, command.err

    out = shutil.copytree(make_once("run_folds", train), tmp_path / "out")
    return [out / "job" / "results" / f"job_{fold}" for fold in (1, 2, 3)]


def test_folds_are_tuned_on_images_they_were_not_trained_on(
    folds, command, data_2d, tmp_path
) -> None:
    assert command("tune", *folds) == 0, command.err
    maps = [sorted((run / "tuning" / "maps").glob("*.tif")) for run in folds]
    assert [len(files) for files in maps] == [1, 1, 1]  # each image by one model
    assert len({files[0].name for files in maps}) == 3
    table = pd.read_csv(folds[0] / "tuning" / "ensemble" / "tuning.csv")
    scores = table[table["setting"] == "after"].set_index("image")["panoptic_quality"]
    # The thresholds are used for this ensemble, in any order, and for no other.
    ensemble = singula.load(folds)
    stored = load_checkpoint(ensemble.checkpoint).description
    (tuned,) = stored["ensembles"].values()
    assert stored.get("tuned") is None
    expected = {name for name in tuned["thresholds"] if name != "TH_TYPE"}
    _, decoded = ensemble.instances(ensemble.predict_maps(np.zeros((32, 32), np.uint8)))
    for name in expected & set(decoded.thresholds):
        assert decoded.thresholds[name] == tuned["thresholds"][name]
    assert singula.load(folds[::-1]).config == ensemble.config
    assert singula.load(folds[:2]).config != ensemble.config
    # The scores are those of the model of each image.
    for run, (map_file,) in zip(folds, maps, strict=True):
        name = map_file.name
        image = read_image(data_2d / "train" / "x" / name, 2, 1).array
        labels = singula.load(run).predict(image, thresholds=tuned["thresholds"])
        truth = read_labels(data_2d / "train" / "y" / name, 2).array[..., 0]
        score = singula.match(truth, labels, (0.5,))[0].panoptic_quality
        assert score == pytest.approx(scores[map_file.stem])
    before = {p: p.read_bytes() for p in folds[0].parents[1].rglob("*.pth")}
    again = singula.tune(folds[::-1])
    assert {p: p.read_bytes() for p in before} == before
    assert again.thresholds == tuned["thresholds"]


def test_models_with_the_same_validation_images_share_their_mean(
    run_once, write_config, data_2d, tmp_path
) -> None:
    config = write_config(data_2d, **{"TRAIN.EPOCHS": 12})
    first = run_once("plain_12", config, tmp_path / "a") / "job"
    second = shutil.copytree(first, tmp_path / "b" / "job")
    changed_copy(first / BEST, second / BEST, 4)
    runs = [folder / "results" / "job_1" for folder in (first, second)]
    result = singula.tune(runs, save=False)
    assert result.saved is None
    image = read_image(data_2d / "val" / "x" / "image_000.tif", 2, 1).array
    truth = read_labels(data_2d / "val" / "y" / "image_000.tif", 2).array[..., 0]
    labels = singula.load(runs).predict(image, thresholds=result.thresholds)
    score = singula.match(truth, labels, (0.5,))[0]
    assert score.panoptic_quality == pytest.approx(result.after.score.panoptic_quality)
