"""Thresholds on all images of a run, and the thresholds in use."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from example_run import ExampleRun, cells, without

from singula import encode
from singula.config import load_config
from singula.config.thresholds import resolve_sources
from singula.gui.all_images import AllImages, apply_to_all
from singula.gui.control import Control
from singula.gui.guard import Guard
from singula.gui.results import open_results
from singula.gui.retune import SMALL, Retune
from singula.gui.runs import state_of
from singula.gui.save_thresholds import original_config, save_in_checkpoint
from singula.gui.thresholds_in_use import thresholds_in_use
from singula.io.run_folder import RETEST_FILE, ResultsTree
from singula.io.write import write_tiff

MASK = "DATA_MW_TH_BINARY_MASK"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of three images, with predictions of one of them missing."""
    lattice = cells(2)
    pred = {"all": lattice, "some": without(lattice, 3, 4, 5), "lost": lattice}
    run = ExampleRun(tmp_path, pred, keys={"TEST.ENABLE": True, "TRAIN.ENABLE": False}).write()
    for name in ("all", "some"):
        maps = encode(pred[name], "BC")
        file = ResultsTree.of_run(run).predictions("per_image") / f"{name}.tif"
        write_tiff(file, np.stack([maps["B"], maps["C"]], -1).astype(np.float32), "YXC")
    return run


def test_means_are_those_of_the_single_images(run: Path, tmp_path: Path) -> None:
    results = open_results(run, Guard.of([tmp_path]))
    stage = results.run.stages[-1]
    images = AllImages(results, stage)
    assert len(images.names) == 3
    for values in ({}, {SMALL: 1000.0}):
        mean = images.outcome(values)
        assert mean is not None
        single = [Retune(results, name, stage).decode(values) for name in ("all", "some")]
        assert mean.n_images == len(single)
        assert mean.count == sum(outcome.count for outcome in single)
        for index, score in enumerate(mean.scores):
            expected = np.mean([outcome.scores[index].f1 for outcome in single])
            assert score.f1 == pytest.approx(expected)
    assert images.missing == {"lost"}
    assert images.outcome({}, is_current=lambda: False) is None


def test_all_images_are_tested_again(demo: Path, demo_folder: Path) -> None:
    folder = demo / "2d" / "demo" / "results" / "demo_1"
    guard = Guard.of([demo, demo_folder])  # the configuration names the original images
    control = Control(guard)
    results = open_results(folder, guard)
    first = original_config(results, guard)
    stage = results.run.stages[-1]
    values = {SMALL: 100000.0}
    assert apply_to_all(results, values, guard, control) == folder
    for _ in range(3000):
        control.processes.reap()
        if state_of(folder) != "running":
            break
        time.sleep(0.1)
    assert state_of(folder) == "empty"  # no object has this size
    again = open_results(folder, guard)
    assert set(again.run.test.instances.values()) == {0}
    assert again.run.image_names(stage) == results.run.image_names(stage)
    assert again.run.test.threshold_sources["REMOVE_SMALL_OBJ"] == "tuned"
    config = load_config(folder / "tuning" / RETEST_FILE)
    assert not config.TRAIN.ENABLE
    assert resolve_sources(config)["REMOVE_SMALL_OBJ"].value == 100000
    # The configuration of the run is still that of its training.
    assert original_config(again, guard) == first
    assert (folder / "previous").is_dir()


def test_saved_thresholds_replace_proposed_ones_but_not_those_of_the_user(demo: Path) -> None:
    folder = demo / "2d" / "demo" / "results" / "demo_1"
    guard = Guard.of([demo])
    results = open_results(folder, guard)
    source = demo / "mine.yaml"
    (copy,) = (demo / "2d").rglob("config_files/*.yaml")
    values = yaml.safe_load(copy.read_text())
    section = values["PROBLEM"]["INSTANCE_SEG"]
    assert f"TH_CONTOUR={section['DATA_MW_TH_CONTOUR']}" in section["GENERATED_THRESHOLDS"]
    # The user changed one of the proposed thresholds, so it is theirs now.
    section["DATA_MW_TH_CONTOUR"] = 0.33
    values["TRAIN"]["ENABLE"] = False
    source.write_text(yaml.safe_dump(values))
    save_in_checkpoint(results, {MASK: 0.61, "DATA_MW_TH_CONTOUR": 0.62, SMALL: 63.0}, guard)
    uses = {use.title: use.values for use in thresholds_in_use(results, guard, source)}
    model = uses["New images with this model"]
    assert model["TH_BINARY_MASK"] == "0.61, tuned"
    assert model["TH_CONTOUR"] == "0.62, tuned"
    following = uses["Next run of mine.yaml"]
    assert following["TH_BINARY_MASK"] == "0.61, tuned"
    assert following["TH_CONTOUR"] == "0.33, set by you"
    assert "tuned" not in uses["These results"]["TH_BINARY_MASK"]


def test_the_file_of_a_test_with_other_thresholds_is_not_the_configuration(tmp_path: Path) -> None:
    folder = tmp_path / "job" / "results" / "job_1"
    copies = tmp_path / "job" / "config_files"
    copies.mkdir(parents=True)
    folder.mkdir(parents=True)
    (copies / "job.yaml").write_text("TRAIN: {ENABLE: True}\n")
    (copies / RETEST_FILE).write_text("TRAIN: {ENABLE: False}\n")
    tree = ResultsTree.of_run(folder)
    assert tree.only_config_file() == copies / "job.yaml"
