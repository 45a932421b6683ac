"""`singula check` on the command line, and its estimate compared with a run."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from singula.config import load_config
from singula.dataset.checks import inspect_dataset
from singula.io.read import read_labels
from singula.io.write import write_tiff
from singula.pipeline.dataset import inspect_config
from singula.pipeline.estimate import Estimate, Work, count_work, duration, estimate, size
from singula.pipeline.timing import Timing


@pytest.fixture
def broken(data_2d: Path, tmp_path: Path) -> Path:
    """Return the data with one isolated pixel and one id used twice."""
    folder = tmp_path / "data"
    shutil.copytree(data_2d, folder)
    path = folder / "train" / "y" / "image_000.tif"
    ids = read_labels(path, 2).array[..., 0].astype(np.uint16)
    numbers = np.unique(ids)[1:]
    ids[ids == numbers[0]] = numbers[-1]
    free = np.argwhere(ids == 0)
    ids[tuple(free[0])] = 900
    write_tiff(path, ids, "YX")
    return folder


def test_clean_data_have_exit_code_0(command, data_2d: Path) -> None:
    assert command("check", data_2d) == 0
    assert "2D data; train: 3 images" in command.out
    assert "0 problems" in command.out or "the data are fine" in command.out


def test_problems_have_exit_code_1_and_the_copy_0(command, broken: Path, tmp_path: Path) -> None:
    page, fixed = tmp_path / "check.html", tmp_path / "fixed"
    assert command("check", broken, "--html", page, "--fix", fixed) == 1
    for words in ("several connected components", "a few pixels", "train/y/image_000.tif",
                  "(--fix does it)", f"DATA.TRAIN.PATH: {fixed}"):  # fmt: skip
        assert words in command.out
    assert "several connected components" in page.read_text()
    assert command("check", fixed) == 0
    assert inspect_dataset(fixed).fixable == ()
    assert command("check", broken, "--fix", fixed) == 2
    assert "not empty" in command.err


@pytest.mark.parametrize("broken_test", [False, True])
def test_only_existing_folders_of_the_copy_are_named(
    command, broken: Path, tmp_path: Path, broken_test: bool
) -> None:
    shutil.rmtree(broken / "test" / "y")
    if broken_test:
        for path in (broken / "test" / "x").iterdir():
            path.write_bytes(b"no image")
    fixed = tmp_path / "fixed"
    assert command("check", broken, "--fix", fixed) == 1
    named = re.findall(r"DATA\.(\w+)\.(?:GT_)?PATH: ([^,\n]+)", command.out)
    assert all(Path(folder).is_dir() for _, folder in named)
    assert [key for key, _ in named].count("TRAIN") == 2
    assert [key for key, _ in named].count("TEST") == (0 if broken_test else 1)
    assert ("test: no files remain" in command.out) is broken_test


def test_common_mistakes(command, data_2d: Path, write_config, tmp_path: Path) -> None:
    config = write_config(data_2d)
    for arguments, words in (
        ((), "expected one of them"),
        ((data_2d, "--config", config), "expected one of them"),
        ((tmp_path / "nowhere",), "no such folder"),
        (("--config", tmp_path / "nowhere.yaml"), "nowhere.yaml"),
        ((data_2d, "--set", "TRAIN.EPOCHS=1"), "--set: got keys to change"),
        (("--config", config, "--set", "TRAIN.EPOCS=1"), "did you mean TRAIN.EPOCHS"),
        (("--config", config, "--set", "DATA.TRAIN.PATH=nowhere"), "the folder nowhere"),
    ):
        assert command("check", *arguments) == 2
        assert words in command.err
        assert "Traceback" not in command.err


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_configuration_is_checked_with_its_data(
    command, data_2d: Path, data_3d: Path, write_config, ndim: int
) -> None:
    config = write_config(data_2d if ndim == 2 else data_3d, ndim)
    command("check", "--config", config, "--no-timing")
    assert "is valid" in command.out
    assert "without checkpoints" in command.out
    assert "time on" not in command.out
    assert command("check", "--config", config) in (0, 1)
    assert re.search(r"time on \d+ CPU thread.*training about .*prediction about", command.out)
    assert re.search(r"memory at the peak: [\d.]+ [MG]B", command.out)
    assert "within a factor" in command.out


def test_images_are_compared_with_the_configuration(command, data_2d: Path, write_config) -> None:
    config = write_config(data_2d, **{"DATA.PATCH_SIZE": "(64, 64, 3)"})
    assert command("check", "--config", config, "--no-timing") == 1
    assert "Wrong numbers of channels" in command.out
    config = write_config(data_2d, **{"DATA.PATCH_SIZE": "(128, 128, 1)"})
    assert command("check", "--config", config, "--no-timing") == 1
    assert "Images smaller than the patch" in command.out


def test_classes_of_the_configuration(command, data_classes: Path, write_config) -> None:
    config = write_config(data_classes, **{"MODEL.N_CLASSES": 4})
    assert command("check", "--config", config, "--no-timing") == 0
    path = data_classes / "train" / "y" / "image_000.tif"
    highest = int(read_labels(path, 2, True).array[..., 1].max())
    assert highest == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ndim", "changes"),
    [
        (2, {}),
        (3, {}),
        (2, {"DATA.EXTRACT_RANDOM_PATCH": True, "DATA.TRAIN.REPLICATE": 5}),
        (2, {"DATA.VAL.FROM_TRAIN": True, "DATA.VAL.SPLIT_TRAIN": 0.34}),
        (2, {"DATA.TRAIN.OVERLAP": "(0.3, 0.3)", "DATA.TRAIN.PADDING": "(8, 8)"}),
    ],
)
def test_the_counts_equal_those_of_the_run(
    command,
    data_2d: Path,
    data_3d: Path,
    write_config,
    tmp_path: Path,
    ndim: int,
    changes: dict[str, object],
) -> None:
    path = write_config(data_2d if ndim == 2 else data_3d, ndim, **changes)
    config = load_config(path)
    work = count_work(config, inspect_config(config))
    assert work.images == 2
    assert work.tiles >= 2
    assert command("run", "--config", path, "--result_dir", tmp_path / "out", "--set",
                   "TRAIN.EPOCHS=1") == 0  # fmt: skip
    found = re.search(r"on (\d+) patches .*?, (\d+) for validation", command.out)
    assert found is not None
    assert (work.patches, work.val_patches) == (int(found[1]), int(found[2]))
    run = next((tmp_path / "out").rglob("run.json"))
    assert json.loads(run.read_text())["training"]["patches_per_epoch"] == work.patches
    written = sum(p.stat().st_size for p in (tmp_path / "out").rglob("*.pth"))
    parameters = json.loads(run.read_text())["training"]["parameters"]
    timing = Timing(1, 1, 1, parameters, 0, 0, 0)
    done = Estimate(work, timing, epochs=1)
    weights = done.disk - work.stored - work.results
    assert 0.5 < written / weights < 2


def test_time_and_memory_by_hand() -> None:
    work = Work(
        patches=100, val_patches=20, steps=25, images=3, tiles=12, tile_pixels=12 * 64 * 64,
        tile=(64, 64), tile_batch=2, in_memory=1000, max_image_memory=20_000,
    )  # fmt: skip
    timing = Timing(2.0, 0.5, 1.0, 10, 0, 5000, 4000)
    found = Estimate(work, timing, "2 CPU threads", epochs=4, augment=8)
    assert found.training_seconds == 4 * (25 * 2.0 + 5 * 0.5)
    assert found.prediction_seconds == 8 * 6 * 1.0
    assert found.memory == max(5000 + 1000, 4000 + 20_000)
    slow = replace(found, timing=replace(timing, draw=6.0))
    assert slow.training_seconds == 4 * (25 * 8.0 + 5 * 0.5)
    assert replace(slow, workers=2).training_seconds == 4 * (25 * 3.0 + 5 * 0.5)
    assert duration(30) == "about 30 s"
    assert duration(600) == "about 10 min"
    assert duration(9000) == "about 2.5 h"
    assert (size(2e9), size(3e6), size(10)) == ("2.0 GB", "3 MB", "1 MB")


def test_files_that_cannot_be_read_are_not_counted(
    data_2d: Path, write_config, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(data_2d, folder)
    config = load_config(write_config(folder))
    whole = count_work(config, inspect_config(config))
    (folder / "train" / "x" / "image_000.tif").write_bytes(b"")
    found = inspect_config(config)
    assert [one.kind for one in found.problems] == ["unreadable"]
    less = estimate(config, found, None, timed=False)
    assert less.work.patches == whole.patches * 2 // 3
    assert less.training_seconds == 0


def test_a_page_replaces_only_a_page(command, data_2d: Path, tmp_path) -> None:
    mine = tmp_path / "mine.html"
    for path in (tmp_path / "cells.yaml", mine, tmp_path):
        if path != tmp_path:
            path.write_text("mine")
        assert command("check", data_2d, "--html", path) == 2
        assert "--html" in command.err
        assert path == tmp_path or path.read_text() == "mine"
    mine.unlink()
    for _ in range(2):
        assert command("check", data_2d, "--html", mine) == 0, command.err
        assert "Data check" in mine.read_text()
