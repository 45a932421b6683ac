"""`singula init` on folders: the file trains without changes, and no file is overwritten."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from selection import fast_first

from singula.config import load_config
from singula.io.read import read_labels
from singula.io.write import write_tiff
from singula.pipeline import timing
from singula.synthetic.fluorescence import make_dataset
from singula.training.speed import TrainingSpeed


@pytest.fixture(autouse=True)
def known_speed(monkeypatch) -> None:
    """Replace the measured training speed by fixed values."""
    speed = TrainingSpeed(2.0, 0.5, draw=1.0, epoch=4.0)
    monkeypatch.setattr(timing, "measure_training", lambda *arguments: speed)


def flat_data(folder: Path, part: str, count: int) -> None:
    """Write images with `_mask` files in the same folder."""
    made = {"n_train": count, "n_val": 0, "n_test": 0, "shape": (96, 96)}
    make_dataset(folder / "made", 2, np.random.default_rng(count), **made)
    for number in range(count):
        for kind, end in (("x", ""), ("y", "_mask")):
            source = folder / "made" / "train" / kind / f"image_{number:03d}.tif"
            target = folder / "set" / part / f"cell{number}{end}.tif"
            write_tiff(target, tifffile.imread(source), "YX")


@pytest.mark.parametrize("ndim", fast_first([2, 3]))
def test_the_written_configuration_trains_without_changes(
    ndim, command, data_2d, data_3d, tmp_path
) -> None:
    data, file = (data_2d if ndim == 2 else data_3d), tmp_path / "cells.yaml"
    assert command("init", data, "-o", file, "--minutes", "0.02") == 0, command.err
    assert "DATA.PATCH_SIZE" in command.out
    assert f"singula run --config {file}" in command.out
    before = sorted(data.rglob("*"))
    code = command("run", "--config", file, "--result_dir", tmp_path / "out", "--name", "c")
    assert code == 0, command.err
    assert "F1 mean" in command.out
    assert "no effect" not in command.out
    assert sorted(data.rglob("*")) == before, "the data folder stays as it is"


def test_the_measured_speed_decides_the_epochs(command, data_2d, tmp_path) -> None:
    file, epochs = tmp_path / "cells.yaml", []
    for minutes in (10, 20):
        file.unlink(missing_ok=True)
        assert command("init", data_2d, "-o", file, "--minutes", minutes) == 0, command.err
        assert "one training step takes 3 s" in command.out
        config = load_config(file)
        patches = 3 * config.DATA.TRAIN.REPLICATE
        steps = -(-patches // config.TRAIN.BATCH_SIZE)
        each = steps * 3.0 + 0.5 + 4.0
        assert minutes * 60 - each < config.TRAIN.EPOCHS * each <= minutes * 60
        epochs.append(config.TRAIN.EPOCHS)
    assert epochs[0] < epochs[1]


def test_the_estimate_of_the_check_equals_the_requested_time(command, data_2d, tmp_path) -> None:
    file = tmp_path / "cells.yaml"
    assert command("init", data_2d, "-o", file, "--minutes", "20") == 0, command.err
    assert command("check", "--config", file) in (0, 1), command.err
    assert re.search(r"training about (19|20) min", command.out), command.out


@pytest.mark.parametrize("error", [RuntimeError("no kernel"), MemoryError()])
def test_without_a_measurement_the_speed_is_assumed_and_reported(
    command, data_2d, tmp_path, monkeypatch, error: Exception
) -> None:
    def failing(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(timing, "measure_training", failing)
    assert command("init", data_2d, "-o", tmp_path / "cells.yaml") == 0, command.err
    assert "could not be timed" in command.out


def test_the_recommended_check_agrees_with_the_configuration(command, data_2d, tmp_path) -> None:
    for kind in "xy":
        target = tmp_path / "one" / "train" / kind / "a.tif"
        target.parent.mkdir(parents=True)
        shutil.copy(data_2d / "train" / kind / "image_000.tif", target)
    file = tmp_path / "one.yaml"
    assert command("init", tmp_path / "one", "-o", file) == 0, command.err
    assert load_config(file).DATA.TEST.PATH == load_config(file).DATA.TRAIN.PATH
    assert command("check", "--config", file, "--no-timing") == 0
    assert "same" not in command.out


def test_the_recommended_check_keeps_thin_objects(command, tmp_path) -> None:
    """Single pixels and lines: their contour is outside of them, so that none is too small."""
    rng = np.random.default_rng(3)
    for number in range(3):
        ids = np.zeros((96, 96), np.uint16)
        places = [(y, x) for y in range(6, 90, 12) for x in range(6, 90, 12)]
        for one, (y, x) in enumerate(places, 1):
            ids[y, x : x + 1 + one % 5] = one
        image = np.where(ids > 0, 150, 20) + rng.normal(0, 3, ids.shape)
        for kind, array in (("x", image.astype(np.uint8)), ("y", ids)):
            write_tiff(tmp_path / "set" / "train" / kind / f"{number}.tif", array, "YX")
    file, fixed = tmp_path / "thin.yaml", tmp_path / "fixed"
    assert command("init", tmp_path / "set", "-o", file) == 0, command.err
    assert load_config(file).PROBLEM.INSTANCE_SEG.DATA_CONTOUR_MODE == "outer"
    line = ("check", "--config", file, "--no-timing")
    assert command(*line, "--fix", fixed) == 0
    for path in sorted((tmp_path / "set" / "train" / "y").iterdir()):
        copy = read_labels(fixed / "train" / "y" / path.name, 2).array
        np.testing.assert_array_equal(copy, read_labels(path, 2).array)
    assert command(*line, "--set", "PROBLEM.INSTANCE_SEG.DATA_CONTOUR_MODE=thick") == 1
    assert "a few pixels" in command.out


def test_printed_commands_can_be_run(command, data_2d, tmp_path) -> None:
    file = tmp_path / "first runs' & co.yaml"
    assert command("init", data_2d, "-o", file) == 0, command.err
    lines = dict(line.split(": ", 1) for line in command.out.splitlines()[-2:])
    assert shlex.split(lines["first"]) == ["singula", "check", "--config", str(file)]
    assert shlex.split(lines["next"])[:4] == ["singula", "run", "--config", str(file)]


def test_the_command_for_damaged_files_can_be_run(command, data_2d, tmp_path) -> None:
    data = tmp_path / "some cells"
    shutil.copytree(data_2d, data)
    next((data / "train" / "x").iterdir()).write_bytes(b"")
    assert command("init", data, "-o", tmp_path / "a.yaml") == 2
    assert f"singula check '{data}' lists" in command.err


def test_classes_are_learned(command, data_classes, tmp_path) -> None:
    file = tmp_path / "cells.yaml"
    assert command("init", data_classes, "-o", file) == 0, command.err
    assert load_config(file).MODEL.N_CLASSES == 4


def test_images_and_labels_in_one_folder_are_linked_into_folders(command, tmp_path) -> None:
    flat_data(tmp_path, "train", 3)
    file = tmp_path / "cells.yaml"
    assert command("init", tmp_path / "set", "-o", file) == 0, command.err
    config = load_config(file)
    images = sorted(path.name for path in Path(config.DATA.TRAIN.PATH).iterdir())
    labels = sorted(path.name for path in Path(config.DATA.TRAIN.GT_PATH).iterdir())
    assert images == labels == ["cell0.tif", "cell1.tif", "cell2.tif"]
    for kind, end in (("PATH", ""), ("GT_PATH", "_mask")):
        link = Path(getattr(config.DATA.TRAIN, kind), "cell1.tif")
        assert link.resolve() == (tmp_path / "set" / "train" / f"cell1{end}.tif").resolve()
    code = command(
        "run", "--config", file, "--result_dir", tmp_path / "out", "--set", "TRAIN.EPOCHS=1"
    )
    assert code == 0, command.err
    file.unlink()
    assert command("init", tmp_path / "set", "-o", file) == 2
    assert "cells_data" in command.err
    assert not file.exists()


def test_an_existing_file_is_not_changed(command, data_2d, tmp_path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    assert command("init", data_2d, "-o", file) == 2
    assert "already exists" in command.err
    assert "→ give another name" in command.err
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("{data}", "-o", "{tmp}"), "is a folder"),
        (("{data}", "-o", "{tmp}/config.txt"), "ends in .yaml"),
        (("{tmp}/nowhere", "-o", "{tmp}/a.yaml"), "no such folder"),
        (("{tmp}", "-o", "{tmp}/a.yaml"), "is empty"),
        (("{data}/train/x", "-o", "{tmp}/a.yaml"), "images without labels"),
        (("{data}", "-o", "{tmp}/a.yaml", "--minutes", "0"), "--minutes"),
    ],
)
def test_mistakes_are_reported_in_one_line(arguments, said, command, data_2d, tmp_path) -> None:
    filled = [word.format(data=data_2d, tmp=tmp_path) for word in arguments]
    assert command("init", *filled) == 2
    assert said in command.err
    assert "Traceback" not in command.err
    assert list(tmp_path.iterdir()) == []


def test_labels_without_objects_are_refused(command, tmp_path) -> None:
    for kind in ("x", "y"):
        write_tiff(tmp_path / "set" / "train" / kind / "a.tif", np.zeros((20, 20), np.uint8), "YX")
    assert command("init", tmp_path / "set", "-o", tmp_path / "a.yaml") == 2
    assert "have no objects" in command.err
    assert not (tmp_path / "a.yaml").exists()


def test_damaged_files_are_listed(command, data_2d, tmp_path) -> None:
    data = Path(shutil.copytree(data_2d, tmp_path / "data"))
    next((data / "train" / "y").iterdir()).write_bytes(b"")
    assert command("init", data, "-o", tmp_path / "a.yaml") == 2
    assert "the file is empty" in command.err
    assert f"singula check {data} lists all" in command.err
    shutil.rmtree(data / "train" / "y")
    assert command("init", data, "-o", tmp_path / "a.yaml") == 2
    assert "singula check" not in command.err


def test_masks_used_as_instances_are_reported(command, data_2d, tmp_path) -> None:
    data = Path(shutil.copytree(data_2d, tmp_path / "data"))
    assert command("init", data, "-o", tmp_path / "a.yaml") == 0, command.err
    assert "masks instead of ids" not in command.out
    for path in (data / "train" / "y").iterdir():
        write_tiff(path, 255 * (read_labels(path, 2).array[..., 0] > 0).astype(np.uint8), "YX")
    assert command("init", data, "-o", tmp_path / "b.yaml") == 0, command.err
    assert "masks instead of ids" in command.out
    assert "--fix" in command.out
    assert "singula init on the corrected copy" in command.out


@pytest.mark.parametrize("minutes", ["nan", "1e400", "-1"])
def test_minutes_are_a_finite_number(minutes, command, data_2d, tmp_path) -> None:
    assert command("init", data_2d, "-o", tmp_path / "a.yaml", "--minutes", minutes) == 2
    assert "--minutes" in command.err
    assert not (tmp_path / "a.yaml").exists()
