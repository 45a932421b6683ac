"""Tuned thresholds of a finished run are saved and used, without changing user files."""

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import singula
from singula.io.read import read_image, read_labels
from singula.pipeline import predict_image
from singula.prediction import Predictor
from singula.training.checkpoint import load_checkpoint
from singula.tuning import open_tuner
from singula.tuning.validation import training_weight


@pytest.fixture
def run(run_once, write_config, data_2d, tmp_path) -> Path:
    config = write_config(data_2d, **{"TRAIN.EPOCHS": 12})
    return run_once("plain_12", config, tmp_path / "out") / "job" / "results" / "job_1"


def checkpoint_of(run: Path) -> Path:
    return run.parents[1] / "checkpoints" / "job_1-checkpoint-best.pth"


def labels_of(path: Path) -> np.ndarray:
    return read_labels(path, 2).array[..., 0]


def test_thresholds_are_found_saved_and_used(run, command, data_2d, tmp_path) -> None:
    before = load_checkpoint(checkpoint_of(run))
    assert command("tune", run) == 0, command.err
    assert "mean panoptic quality" in command.out
    folder = run / "tuning"
    table = pd.read_csv(folder / "tuning.csv")
    mean = table[table["image"] == "mean over images"].set_index("setting")["panoptic_quality"]
    trials = pd.read_csv(folder / "trials.csv")
    chosen = trials[trials["chosen"] == 1].iloc[0]
    assert chosen["searched"] == trials["searched"].max() >= trials["searched"][0]
    assert chosen["pq"] == pytest.approx(mean["after"])
    assert trials["pq"][0] == pytest.approx(mean["before"])
    assert (folder / "tuning.png").stat().st_size > 10_000
    after = load_checkpoint(checkpoint_of(run))
    assert after.fingerprint == before.fingerprint
    tuned = after.description["tuned"]["thresholds"]
    # by the command line and from Python
    line = ("predict", data_2d / "test" / "x", "--model", run, "-o", tmp_path / "new")
    assert command(*line) == 0, command.err
    (printed,) = (line for line in command.out.splitlines() if line.startswith("thresholds: "))
    assert "(found by singula tune)" in printed
    maps = read_image(run / "per_image" / "image_000.tif", 2, 2).array
    expected = singula.decode({"B": maps[..., 0], "C": maps[..., 1]}, "BC", thresholds=tuned)
    np.testing.assert_array_equal(labels_of(tmp_path / "new" / "image_000.tif"), expected)
    # the result on the validation images is the one that was promised
    image = read_image(data_2d / "val" / "x" / "image_000.tif", 2, 1).array
    found = singula.load(run).predict(image)
    score = singula.match(labels_of(data_2d / "val" / "y" / "image_000.tif"), found, (0.5,))[0]
    assert score.panoptic_quality == pytest.approx(mean["after"])


def test_a_search_without_a_match_keeps_the_thresholds_of_an_earlier_one(run, command) -> None:
    assert command("tune", run) == 0, command.err
    assert "saved in" in command.out
    saved = checkpoint_of(run).read_bytes()
    assert load_checkpoint(checkpoint_of(run)).description["tuned"]["iou"] == 0.5
    assert command("tune", run, "--iou", "1") == 0, command.err
    assert "settings score 0" in command.out + command.err
    assert "saved in" not in command.out
    assert "new thresholds" not in command.out
    assert checkpoint_of(run).read_bytes() == saved


@pytest.mark.slow
def test_a_second_search_changes_nothing(run, command) -> None:
    assert command("tune", run, "--metric", "f1", "--iou", "0.3") == 0, command.err
    assert "predicting 4 images with" in command.out
    files = {p: p.read_bytes() for p in run.rglob("tuning/**/*") if p.is_file()}
    weights = checkpoint_of(run).read_bytes()
    assert command("tune", run, "--metric", "f1", "--iou", "0.3") == 0, command.err
    assert "using the stored predictions of 4 of 4 images" in command.out
    assert "predicting" not in command.out
    assert weights == checkpoint_of(run).read_bytes()
    again = {p: p.read_bytes() for p in run.rglob("tuning/**/*") if p.is_file()}
    pictures = {p for p in files if p.suffix == ".png"}
    assert {p: b for p, b in files.items() if p not in pictures} == {
        p: b for p, b in again.items() if p not in pictures
    }


@pytest.mark.slow
def test_prediction_uses_smaller_tiles_where_memory_is_short(run, command, monkeypatch) -> None:
    assert command("tune", run, "--no-save") == 0, command.err
    folder = run / "tuning" / "maps"
    expected = {path.name: read_image(path, 2, 2).array for path in folder.glob("*.tif")}
    assert "not enough memory" not in command.out
    forward, n_pixels = Predictor.forward, []

    def limited(self: Predictor, batch: torch.Tensor) -> torch.Tensor:
        n_pixels.append(batch[:, 0].numel())
        if n_pixels[-1] > 6000:
            raise torch.OutOfMemoryError("simulated")
        return forward(self, batch)

    def predict_again() -> str:
        shutil.rmtree(folder)
        n_pixels.clear()
        assert command("tune", run, "--no-save") == 0, command.err
        for name, maps in expected.items():
            np.testing.assert_allclose(read_image(folder / name, 2, 2).array, maps, atol=1e-5)
        return command.out

    monkeypatch.setattr(Predictor, "forward", limited)
    assert "continuing with half" in predict_again()
    assert max(n_pixels) > 6000
    # A GPU with little free memory: tiles are planned for it, so nothing is repeated.
    monkeypatch.setattr(predict_image, "free_gpu_memory", lambda device: 3_000_000)
    assert "not enough memory" not in predict_again()
    assert max(n_pixels) <= 6000


def test_no_save_and_a_configuration_changed_by_the_user(run, command) -> None:
    weights = checkpoint_of(run).read_bytes()
    own = run / "tuning" / "tuned.yaml"
    own.parent.mkdir()
    own.write_text("# mine\n")
    assert command("tune", run, "--no-save") == 0, command.err
    assert own.read_text() == "# mine\n"
    assert (run / "tuning" / "tuned_2.yaml").is_file()
    assert checkpoint_of(run).read_bytes() == weights


@pytest.mark.slow
def test_the_file_precedes_the_checkpoint(run, command, write_config, data_2d, tmp_path) -> None:
    assert command("tune", run) == 0, command.err
    tuned = load_checkpoint(checkpoint_of(run)).description["tuned"]["thresholds"]
    line = ("--result_dir", tmp_path / "out", "--set", "TRAIN.ENABLE=False")
    line += ("--set", "TEST.REUSE_PREDICTIONS=True")
    plain = write_config(data_2d)
    assert command("run", "--config", plain, *line) == 0, command.err
    assert "TEST.REUSE_PREDICTIONS: 2 of 2 maps reused" in command.out
    assert "thresholds tuned on validation images are used" in command.out
    instances = run / "per_image_instances" / "image_000.tif"
    maps = read_image(run / "per_image" / "image_000.tif", 2, 2).array
    named = {"B": maps[..., 0], "C": maps[..., 1]}
    np.testing.assert_array_equal(
        labels_of(instances), singula.decode(named, "BC", thresholds=tuned)
    )
    own = write_config(data_2d, **{"PROBLEM.INSTANCE_SEG.DATA_MW_TH_TYPE": "auto"})
    assert command("run", "--config", own, *line) == 0, command.err
    assert "the values of the configuration file are used" in command.out
    # The least size counts for itself
    size = {"REMOVE_SMALL_OBJ": tuned["REMOVE_SMALL_OBJ"]}
    expected = singula.decode(named, "BC", thresholds=size)
    np.testing.assert_array_equal(labels_of(instances), expected)
    # The ready configuration gives the tuned thresholds without any notice
    ready = run / "tuning" / "tuned.yaml"
    line = next(x for x in ready.read_text().splitlines() if "singula run" in x)
    words = shlex.split(line.removeprefix("# singula run "))
    words[words.index("THIS_FILE")] = str(ready)
    assert command("run", *words) == 0, command.err
    assert "2 of 2 maps reused" in command.out
    assert "tuned" not in command.out.replace(str(ready), "")
    np.testing.assert_array_equal(
        labels_of(instances), singula.decode(named, "BC", thresholds=tuned)
    )


@pytest.mark.slow
def test_validation_on_parts_of_images(command, write_config, data_2d, tmp_path) -> None:
    """Few images: the end of each image is used for validation."""
    changes = {
        "DATA.VAL.FROM_TRAIN": True,
        "DATA.VAL.SPLIT_TRAIN": 0.1,
        "DATA.PATCH_SIZE": "(32, 32, 1)",
        "TRAIN.EPOCHS": 6,
        "TEST.POST_PROCESSING.CLEAR_BORDER": True,
    }
    config = write_config(data_2d, **changes)
    assert command("run", "--config", config, "--result_dir", tmp_path / "out") == 0, command.err
    run = tmp_path / "out" / "job" / "results" / "job_1"
    tuner = open_tuner(run)
    names = ["image_000", "image_001", "image_002"]
    assert tuner.names() == [*names, *(f"{name}_training" for name in names)]
    assert [example.training for example in tuner.examples] == [False] * 3 + [True] * 3
    # The part that validates and the part that trains are the whole image.
    assert tuner.maps(3)[1].shape == (64, 96)
    maps, truth = tuner.maps(0)
    assert truth.shape == maps["B"].shape == (32, 96)
    whole = labels_of(data_2d / "train" / "y" / "image_000.tif")
    np.testing.assert_array_equal(truth, whole[-32:])
    labels, _ = tuner.decode({})
    assert not labels[0].any()  # the border is cleared as configured
    # Another part of the image is predicted anew
    summary = json.loads((run / "run.json").read_text())
    summary["configuration"]["DATA.VAL.SPLIT_TRAIN"] = 0.3
    (run / "run.json").write_text(json.dumps(summary))
    # 0.3 of 3 images is one image
    assert open_tuner(run).maps(0)[1].shape == (96, 96)


def test_mistakes_are_named(run, command, data_2d, tmp_path) -> None:
    assert command("tune", tmp_path) == 2
    assert "is not the folder of a" in command.err
    assert command("tune", run, "--metric", "ap") == 2
    assert "expected one of pq, f1" in command.err
    assert command("tune", run, "--iou", "0") == 2
    assert "--iou: got 0" in command.err
    checkpoint_of(run).unlink()
    checkpoint_of(run).with_name("job_1-checkpoint-last.pth").unlink()
    assert command("tune", run) == 2
    assert "checkpoint for the prediction does not exist" in command.err


@pytest.mark.slow
def test_missing_validation_images(command, write_config, data_2d, tmp_path) -> None:
    data = Path(shutil.copytree(data_2d, tmp_path / "data"))
    config = write_config(data, **{"TRAIN.EPOCHS": 1, "TEST.ENABLE": False})
    assert command("run", "--config", config, "--result_dir", tmp_path / "out") == 0, command.err
    (data / "val").rename(tmp_path / "away")
    assert command("tune", tmp_path / "out" / "job" / "results" / "job_1") == 2
    assert "expected the validation images of the run" in command.err
    assert "restore the folder" in command.err


@pytest.mark.slow
def test_training_images_are_added_if_validation_objects_are_few(
    run, command, data_2d, messages: list[str]
) -> None:
    tuner = open_tuner(run)
    held = [example for example in tuner.examples if not example.training]
    training = [example for example in tuner.examples if example.training]
    assert (len(held), len(training)) == (1, 3)
    notice = next(line for line in messages if "of the weight" in line)

    def count(part: str) -> int:
        files = sorted((data_2d / part / "y").glob("*.tif"))
        return sum(int(labels_of(file).max()) for file in files)

    assert f"{count('val')} objects" in notice
    assert f"{count('train')} objects of 3 training images" in notice
    share = training_weight(count("val"), count("train"))
    assert sum(example.weight for example in training) == pytest.approx(share)
    assert sum(example.weight for example in held) == pytest.approx(1 - share)
    # Training images count in what is searched for, not in what is reported.
    trial = tuner.score({})
    values = [score.panoptic_quality for score in trial.images]
    assert trial.score.panoptic_quality == pytest.approx(values[0])
    assert trial.value == pytest.approx((1 - share) * values[0] + share * np.mean(values[1:]))


@pytest.mark.slow
def test_missing_training_images_are_ignored(command, write_config, data_2d, tmp_path) -> None:
    data = Path(shutil.copytree(data_2d, tmp_path / "data"))
    config = write_config(data, **{"TRAIN.EPOCHS": 1, "TEST.ENABLE": False})
    assert command("run", "--config", config, "--result_dir", tmp_path / "out") == 0, command.err
    (data / "train").rename(tmp_path / "away")
    assert command("tune", tmp_path / "out" / "job" / "results" / "job_1") == 0, command.err
    assert "training images are not used" in command.out


def test_the_weight_of_training_images_decreases_with_validation_objects() -> None:
    assert training_weight(10, 0) == 0
    shares = [training_weight(count, 60) for count in (0, 1, 5, 20, 99)]
    assert shares == sorted(shares, reverse=True)
    assert shares[1] > 0.9
    assert shares[-1] < 0.2
    # Their bias limits how much they can weigh, however many there are.
    assert training_weight(50, 10**6) < 0.35
