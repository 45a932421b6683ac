"""Whole runs with thresholds of every source, in memory and in blocks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from skimage.measure import label
from skimage.segmentation import watershed

import singula
from singula.io.read import read_image, read_labels
from singula.training.checkpoint import save_tuned

zarr = pytest.importorskip("zarr")
SEG = "PROBLEM.INSTANCE_SEG"
THREE = {"TH_BINARY_MASK": 0.45, "TH_CONTOUR": 0.4, "TH_FOREGROUND": 0.2}
PUBLISHED = {f"{SEG}.DATA_MW_{name}": value for name, value in THREE.items()}


class Trained:
    """A run whose test is repeated with other thresholds."""

    def __init__(self, command, write_config, data, folder: Path) -> None:
        self.command, self.write_config, self.data, self.folder = (
            command,
            write_config,
            data,
            folder,
        )
        config = write_config(data, **{"TRAIN.EPOCHS": 8, "TEST.ENABLE": False})
        assert command("run", "--config", config, "--result_dir", folder) == 0, command.err

    @property
    def checkpoint(self) -> Path:
        return self.folder / "job" / "checkpoints" / "job_1-checkpoint-best.pth"

    def test(self, *overrides: str, chunks: bool = False, **keys: object) -> Path:
        config = self.write_config(self.data, **{"TRAIN.ENABLE": False, **keys})
        words = ["run", "--config", config, "--result_dir", self.folder, "--name", "job"]
        sets = [*overrides, "TEST.REUSE_PREDICTIONS=True"]
        if chunks:
            words += ["--run_id", "2"]
            sets = [*overrides, f"PATHS.CHECKPOINT_FILE={self.checkpoint}"]
            sets += ["TEST.BY_CHUNKS.ENABLE=True", "TEST.BY_CHUNKS.BLOCK_SHAPE=(40, 48)"]
        for text in sets:
            words += ["--set", text]
        assert self.command(*words) == 0, self.command.err
        return self.folder / "job" / "results" / f"job_{2 if chunks else 1}"


@pytest.fixture
def trained(command, write_config, data_2d, tmp_path) -> Trained:
    return Trained(command, write_config, data_2d, tmp_path / "out")


def sources(run: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((run / "run.json").read_text())["test"]["threshold_sources"]
    return found


def labels(run: Path, folder: str = "per_image_instances") -> np.ndarray:
    path = run / folder / "image_000"
    path = path.with_suffix(".zarr" if path.with_suffix(".zarr").is_dir() else ".tif")
    return read_labels(path, 2).array[..., 0]


def maps(run: Path) -> dict[str, np.ndarray]:
    values = read_image(run / "per_image" / "image_000.tif", 2, 2).array
    return {"B": values[..., 0], "C": values[..., 1]}


def formula(m: dict[str, np.ndarray], least: int) -> np.ndarray:
    """The format's example: tiny seeds are removed, then the seeds grow."""
    seeds = label(
        (m["B"] > THREE["TH_BINARY_MASK"]) & (m["C"] < THREE["TH_CONTOUR"]), connectivity=1
    )
    seeds[np.bincount(seeds.ravel())[seeds] < least] = 0
    return watershed(-m["B"], seeds, mask=m["B"] > THREE["TH_FOREGROUND"])


@pytest.mark.slow
def test_files_of_the_format_and_tuned_values_in_memory_and_in_blocks(trained, command) -> None:
    remove = {
        f"TEST.POST_PROCESSING.MEASURE_PROPERTIES.REMOVE_BY_PROPERTIES.{name}": value
        for name, value in (("PROPS", [["npixels"]]), ("VALUES", [[60]]), ("SIGN", [["lt"]]))
    }
    keys = {**PUBLISHED, f"{SEG}.DATA_REMOVE_SMALL_OBJ": 8, **remove}
    run = trained.test(**keys)
    assert "TH_CONTOUR 0.4 (set by you)" in command.out
    assert "enable the removal of instances" in command.out
    assert sources(run) == {**dict.fromkeys(THREE, "user"), "REMOVE_SMALL_OBJ": "user"}
    found, expected = labels(run), formula(maps(run), 8)
    assert found.max() == len(np.unique(expected)) - 1 > 2
    (score,) = singula.match(expected, found, (0.5,))
    assert score.f1 == 1
    assert score.mean_true_score > 0.98
    kept = labels(run, "per_image_post_processing")
    sizes = np.bincount(found.ravel())
    np.testing.assert_array_equal(kept > 0, (found > 0) & (sizes[found] >= 60))
    report = (run / "report.html").read_text()
    assert "Set by" in report
    blocks = trained.test(chunks=True, **keys)
    np.testing.assert_array_equal(labels(blocks), found)
    assert sources(blocks) == sources(run)
    assert "TH_CONTOUR 0.4 (set by you)" in command.out

    # Saved with the model: only what the file does not set is tuned
    save_tuned(trained.checkpoint, {"thresholds": {"TH_TYPE": "manual", "TH_CONTOUR": 0.3,
                                                   "TH_BINARY_MASK": 0.6}})  # fmt: skip
    run = trained.test(**{f"{SEG}.DATA_MW_TH_BINARY_MASK": 0.45})
    assert sources(run) == {
        "TH_BINARY_MASK": "user", "TH_CONTOUR": "tuned", "TH_FOREGROUND": "default",
        "REMOVE_SMALL_OBJ": "default",
    }  # fmt: skip
    one = {"TH_TYPE": "manual", "TH_BINARY_MASK": 0.45, "TH_CONTOUR": 0.3}
    np.testing.assert_array_equal(labels(run), singula.decode(maps(run), "BC", thresholds=one))
    written = {
        f"{SEG}.DATA_MW_TH_CONTOUR": 0.2,
        f"{SEG}.DATA_MW_TH_TYPE": "manual",
        f"{SEG}.GENERATED_THRESHOLDS": ["TH_TYPE=manual", "TH_CONTOUR=0.2"],
    }
    run = trained.test(**written)
    assert sources(run)["TH_CONTOUR"] == sources(run)["TH_BINARY_MASK"] == "tuned"
    blocks = trained.test(chunks=True, **written)
    np.testing.assert_array_equal(labels(blocks), labels(run))
    run = trained.test(f"{SEG}.DATA_MW_TH_CONTOUR=0.2", **written)
    assert sources(run)["TH_CONTOUR"] == "user"


def test_one_threshold_leaves_the_others_automatic(trained, command) -> None:
    run = trained.test(**{f"{SEG}.DATA_MW_TH_CONTOUR": 0.4})
    assert sources(run) == {
        "TH_BINARY_MASK": "automatic", "TH_CONTOUR": "user", "TH_FOREGROUND": "automatic",
        "REMOVE_SMALL_OBJ": "default",
    }  # fmt: skip
    expected = singula.decode(maps(run), "BC", thresholds={"TH_CONTOUR": 0.4})
    np.testing.assert_array_equal(labels(run), expected)
    np.testing.assert_array_equal(
        labels(trained.test(chunks=True, **{f"{SEG}.DATA_MW_TH_CONTOUR": 0.4})), expected
    )
    run = trained.test(f"{SEG}.DATA_MW_TH_TYPE=auto", **{f"{SEG}.DATA_MW_TH_CONTOUR": 0.4})
    assert "so the automatic thresholds are used and not" in command.out
    np.testing.assert_array_equal(labels(run), singula.decode(maps(run), "BC"))
    # The model has the same sources as its training's file
    model = singula.load(trained.checkpoint)
    assert "TH_BINARY_MASK automatic" in model.notices[-1]


@pytest.mark.slow
def test_init_and_demo_mark_generated_thresholds(command, data_2d, tmp_path) -> None:
    from singula.commands.demo import QUICK, demo_yaml
    from singula.config import load_config
    from singula.config.thresholds import KEYS, origin, resolve_sources

    output, demo = tmp_path / "cells.yaml", tmp_path / "demo.yaml"
    assert command("init", data_2d, "--output", output) == 0, command.err
    demo.write_text(demo_yaml(tmp_path, 2, QUICK[2]))
    for path in (output, demo, *sorted((Path(__file__).parents[2] / "templates").glob("*.yaml"))):
        if path.name == "2d_dsb2018.yaml":  # its values were chosen on validation images
            continue
        config = load_config(path)
        written = [name for name in KEYS if config.is_set(KEYS[name])]
        assert written, path.name
        assert {origin(config, name) for name in written} == {"generated"}, path.name
        assert "user" not in {t.source for t in resolve_sources(config).values()}
    assert yaml.safe_load(output.read_text())["PROBLEM"]["INSTANCE_SEG"]["GENERATED_THRESHOLDS"]
