"""Common mistakes: a clear message, exit code 2, and no overwritten user files."""

import errno
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from singula.io.read import read_labels


@pytest.fixture
def data(data_2d: Path, tmp_path: Path) -> Path:
    """Return a copy of the data that a test can damage."""
    return Path(shutil.copytree(data_2d, tmp_path / "data"))


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def check_refused(command, config: Path, data: Path, tmp_path: Path, *words: str) -> None:
    before = snapshot(data)
    code = command("run", "--config", config, "--result_dir", tmp_path / "out")
    assert code == 2, command.out
    for word in words:
        assert word in command.err, command.err
    assert "Traceback" not in command.err
    assert "error:" in command.err
    assert snapshot(data) == before
    # Found out before anything was trained.
    assert not list((tmp_path / "out").rglob("*.pth"))


def test_missing_folder(command, write_config, data, tmp_path) -> None:
    shutil.rmtree(data / "train" / "y")
    config = write_config(data)
    check_refused(command, config, data, tmp_path, "DATA.TRAIN.GT_PATH", str(data / "train" / "y"))


def test_empty_folder(command, write_config, data, tmp_path) -> None:
    for path in (data / "train" / "x").iterdir():
        path.unlink()
    check_refused(command, write_config(data), data, tmp_path, "DATA.TRAIN.PATH", "is empty")


def test_unreadable_image(command, write_config, data, tmp_path) -> None:
    (data / "train" / "x" / "image_001.tif").write_bytes(b"this is not a picture")
    check_refused(command, write_config(data), data, tmp_path, "image_001.tif")


def test_a_link_without_a_target(command, write_config, data, tmp_path) -> None:
    for side in ("x", "y"):
        path = data / "train" / side / "image_001.tif"
        path.unlink()
        path.symlink_to("gone.tif")
    words = ("train/x/image_001.tif", "train/y/image_001.tif", "gone.tif")
    check_refused(command, write_config(data), data, tmp_path, *words)


@pytest.mark.slow
def test_names_that_do_not_identify_pairs(command, write_config, data, tmp_path) -> None:
    for number, path in enumerate(sorted((data / "train" / "y").iterdir())):
        path.rename(path.with_name(f"drawn_{number + 7}.tif"))
    config, key = write_config(data), "DATA.PAIR_BY_SORTED_ORDER"
    check_refused(command, config, data, tmp_path, "image_000.tif ↔ drawn_7.tif", key)
    check = ("check", "--config", config, "--no-timing")
    assert command(*check) == 1
    assert "image_000.tif ↔ drawn_7.tif" in command.out
    assert key in command.out
    assert command("init", data, "-o", tmp_path / "made.yaml") == 2
    assert not (tmp_path / "made.yaml").exists()
    assert command(*check, "--set", f"{key}=True") == 0, command.out
    assert command("run", "--config", config, "--result_dir", tmp_path / "out",
                   "--set", f"{key}=True") == 0, command.err  # fmt: skip
    assert "in sorted order" in command.out


def test_one_image_without_label(command, write_config, data, tmp_path) -> None:
    (data / "train" / "y" / "image_001.tif").unlink()
    check_refused(command, write_config(data), data, tmp_path, "image_001", "DATA.TRAIN")


def test_different_shapes(command, write_config, data, tmp_path) -> None:
    label = data / "train" / "y" / "image_002.tif"
    tifffile.imwrite(label, np.zeros((50, 96), np.uint16))
    words = (str(label), str(data / "train" / "x" / "image_002.tif"), "50")
    check_refused(command, write_config(data), data, tmp_path, *words)


def test_float_label_that_is_not_integral(command, write_config, data, tmp_path) -> None:
    label = data / "train" / "y" / "image_000.tif"
    tifffile.imwrite(label, np.full((96, 96), 0.5, np.float32))
    check_refused(command, write_config(data), data, tmp_path, "image_000.tif")


def test_class_out_of_range(command, write_config, data_classes, tmp_path) -> None:
    data = Path(shutil.copytree(data_classes, tmp_path / "data"))
    config = write_config(data, **{"MODEL.N_CLASSES": 3})
    highest = max(
        int(read_labels(p, 2, classes=True).array[..., 1].max())
        for p in (data / "train" / "y").iterdir()
    )
    assert highest == 3  # classes 1, 2, 3 need N_CLASSES 4
    check_refused(command, config, data, tmp_path, "MODEL.N_CLASSES", "3")


def test_patch_larger_than_an_image(command, write_config, data, tmp_path) -> None:
    config = write_config(data, **{"DATA.PATCH_SIZE": "(128, 128, 1)"})
    words = ("image_000", "DATA.PATCH_SIZE", "REFLECT_TO_COMPLETE_SHAPE")
    check_refused(command, config, data, tmp_path, *words)
    mirrored = ("run", "--config", config, "--result_dir", tmp_path / "out")
    changes = ("--set", "DATA.REFLECT_TO_COMPLETE_SHAPE=True", "--set", "TRAIN.EPOCHS=1")
    assert command(*mirrored, *changes) == 0, command.err


def test_all_problems_of_a_file_at_once(command, write_config, data, tmp_path) -> None:
    config = write_config(
        data, **{"TRAIN.EPOCS": 3, "TRAIN.LR": "fast", "MODEL.ARCHITECTURE": "vnet"}
    )
    check_refused(command, config, data, tmp_path, "TRAIN.EPOCHS", "fast", "vnet", "job.yaml:")


def test_another_workflow(command, write_config, data, tmp_path) -> None:
    config = write_config(data, **{"PROBLEM.TYPE": "DETECTION"})
    check_refused(command, config, data, tmp_path, "PROBLEM.TYPE", "INSTANCE_SEG")


def test_missing_configuration_and_wrong_name(command, data, write_config, tmp_path) -> None:
    check_refused(command, tmp_path / "none.yaml", data, tmp_path, "none.yaml")
    config = write_config(data)
    assert command("run", "--config", config, "--name", "a/b") == 2
    assert "--name" in command.err


def test_result_folder_that_is_a_file(command, write_config, data, tmp_path) -> None:
    target = tmp_path / "out"
    target.write_text("mine")
    code = command("run", "--config", write_config(data), "--result_dir", target)
    assert code == 2
    assert str(target) in command.err
    assert target.read_text() == "mine"


def test_testing_without_a_checkpoint(command, write_config, data, tmp_path) -> None:
    config = write_config(data, **{"TRAIN.ENABLE": False})
    check_refused(command, config, data, tmp_path, "does not exist", "TRAIN.ENABLE")


@pytest.mark.slow
def test_checkpoint_of_another_network(command, write_config, data, tmp_path) -> None:
    config, out = write_config(data, **{"TRAIN.EPOCHS": 1}), tmp_path / "out"
    assert command("run", "--config", config, "--result_dir", out) == 0
    other = ("--set", "TRAIN.ENABLE=False", "--set", "MODEL.FEATURE_MAPS=[4, 8]")
    assert command("run", "--config", config, "--result_dir", out, *other) == 2
    assert "MODEL.FEATURE_MAPS: (8, 16) in training, (4, 8) configured" in command.err


@pytest.mark.slow
def test_full_disk_while_writing_a_checkpoint(
    command, write_config, data, tmp_path, monkeypatch
) -> None:
    config, out = write_config(data), ("--result_dir", tmp_path / "out")
    assert command("run", "--config", config, *out, "--set", "TRAIN.EPOCHS=1") == 0
    last = tmp_path / "out" / "job" / "checkpoints" / "job_1-checkpoint-last.pth"
    good = last.read_bytes()

    write = Path.write_bytes

    def full(self: Path, contents: bytes) -> int:
        if "checkpoint" not in self.name:
            return write(self, contents)
        write(self, contents[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert command("run", "--config", config, *out, "--resume") == 2
    assert "the disk is full" in command.err
    assert "--resume" in command.err
    assert f"the last checkpoint is complete, after epoch 1: {last}" in command.out
    assert last.read_bytes() == good
    assert not list((tmp_path / "out").rglob("*.part*"))
    # With space again the same command goes on.
    assert command("run", "--config", config, *out, "--resume") == 0, command.err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    size = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(folder)]
    if sys.platform != "linux" or subprocess.run(size, capture_output=True).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_file_system(command, write_config, data, small_disk) -> None:
    code = command("run", "--config", write_config(data), "--result_dir", small_disk)
    assert code == 2
    assert "the disk is full" in command.err
    assert not list(small_disk.rglob("*.part*"))
    assert "Traceback" not in command.err


@pytest.mark.slow
def test_the_demonstration_does_not_change_a_folder_of_the_user(command, data, tmp_path) -> None:
    before = snapshot(data)
    assert command("demo", "--quick", "-o", data) == 2
    assert "not written by a demonstration" in command.err
    assert snapshot(data) == before
    (tmp_path / "file").write_text("mine")
    assert command("demo", "--quick", "-o", tmp_path / "file") == 2
    mine = tmp_path / "out" / "2d" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    assert command("demo", "--quick", "-o", tmp_path / "out") == 2
    assert mine.read_text() == "mine"
    mine.unlink()
    assert command("demo", "--quick", "-o", tmp_path / "out") == 0, command.err
    assert command("demo", "--quick", "-o", tmp_path / "out") == 0, command.err


def test_a_wrong_gpu_is_reported_before_a_folder_is_created(
    command, write_config, data, tmp_path
) -> None:
    config, out = write_config(data), tmp_path / "out"
    assert command("run", "--config", config, "--result_dir", out, "--gpu", "banana") == 2
    assert "--gpu: got 'banana'" in command.err
    assert not out.exists()


def test_results_in_the_image_folder_are_reported(command, write_config, data, tmp_path) -> None:
    config = write_config(data)
    for path in (data / "train" / "y").iterdir():
        path.unlink()
    line = ("run", "--config", config, "--result_dir", data.parent, "--name")
    assert command(*line, data.name) == 2
    assert "which also contains DATA.TRAIN.PATH" in command.out
    assert command(*line, "other") == 2
    assert "also contains" not in command.out
