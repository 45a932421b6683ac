"""Volumes of several anisotropic voxel sizes that are resampled to a common one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import singula
from singula.config import load_config
from singula.inference import files as loaded_files
from singula.inference import plan_predictions, predict_files
from singula.io.read import read_image, read_labels
from singula.io.write import write_tiff
from singula.pipeline.load_data import load_training

COMMON = (2.0, 1.0, 1.0)
# Voxels along (z, y, x) per voxel of the common size
FACTORS = {"deep": (3, 1, 1), "fine": (1, 2, 2), "stored": (1, 1, 1)}


def enlarged(array: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    return np.kron(array, np.ones(factors, array.dtype))


@pytest.fixture
def mixed(data_3d, make_once) -> Path:
    """Three files of the same volume in each part, with different voxel sizes."""

    def fill(folder: Path) -> None:
        for part in ("train", "val", "test"):
            for kind in ("x", "y"):
                read = read_image if kind == "x" else read_labels
                first = min((data_3d / part / kind).iterdir())
                array = read(first, 3, *([1] if kind == "x" else [])).array[..., 0]
                for name, factors in FACTORS.items():
                    sizes = tuple(c / f for c, f in zip(COMMON, factors, strict=True))
                    path = folder / part / kind / f"{name}.tif"
                    write_tiff(path, enlarged(array, factors), "ZYX", sizes, "µm")

    return make_once("mixed_spacing_3d", fill)


@pytest.fixture
def config(write_config, mixed) -> Path:
    keys = {
        "DATA.PREPROCESS.SPACING": list(COMMON),
        "TRAIN.EPOCHS": 12,
        "PROBLEM.INSTANCE_SEG.DATA_MW_TH_TYPE": "manual",
    }
    return write_config(mixed, 3, name="mixed.yaml", **keys)


@pytest.fixture
def run(run_once, config, tmp_path) -> Path:
    out = run_once("mixed_spacing_3d", config, tmp_path / "out")
    return out / "mixed" / "results" / "mixed_1"


@pytest.mark.parametrize("in_memory", [True, False])
def test_training_volumes_have_the_common_voxel_size(config, in_memory) -> None:
    loaded = load_config(config).replaced({"DATA.TRAIN.IN_MEMORY": in_memory})
    samples = {sample.name: sample.opened() for sample in load_training(loaded)[0]}
    stored = samples.pop("stored")
    assert samples.keys() == {"deep", "fine"}
    for sample in samples.values():
        difference = sample.image.astype(float) - stored.image
        assert sample.image.dtype == stored.image.dtype
        assert np.abs(difference).mean() < 0.05 * np.ptp(stored.image)
        # Labels are resampled by nearest neighbor, so those of the copies are the same.
        np.testing.assert_array_equal(sample.labels, stored.labels)
        for code, values in (sample.targets or {}).items():
            np.testing.assert_array_equal(values, (stored.targets or {})[code])


def test_instances_have_the_size_of_the_volumes(run, mixed, tmp_path, monkeypatch) -> None:
    model = singula.load(run)
    pairs = plan_predictions(model, sorted((mixed / "test" / "x").iterdir()), tmp_path / "plan")
    options = {"augment": None, "tables": False, "resume": False}
    assert predict_files(model, pairs, tmp_path / "whole", **options) == {}
    labels = {}
    for name, factors in FACTORS.items():
        truth = read_labels(mixed / "test" / "y" / f"{name}.tif", 3)
        result = read_labels(run / "per_image_instances" / f"{name}.tif", 3)
        assert result.array.shape == truth.array.shape
        assert result.spacing == pytest.approx(truth.spacing)
        assert result.unit == truth.unit
        predicted = read_labels(tmp_path / "whole" / f"{name}.tif", 3)
        np.testing.assert_array_equal(predicted.array, result.array)
        assert predicted.spacing == pytest.approx(truth.spacing)
        labels[name] = result.array[..., 0]
        # Instances are resampled by nearest neighbor.
        sampled = labels[name][tuple(slice(f // 2, None, f) for f in factors)]
        np.testing.assert_array_equal(labels[name], enlarged(sampled, factors))
    assert labels["stored"].any()
    for name in ("deep", "fine"):  # the network sees the same volume
        first, second = (a > 0 for a in (enlarged(labels["stored"], FACTORS[name]), labels[name]))
        assert (first & second).sum() > 0.8 * (first | second).sum()
    # In blocks, only the volume with the common voxel size is predicted.
    monkeypatch.setattr(loaded_files, "available_memory", lambda config: 1)
    failed = predict_files(model, pairs, tmp_path / "blocks", **options)
    assert {Path(name).stem for name in failed} == {"deep", "fine"}
    assert {error.code for error in failed.values()} == {"predict.scale_blocks"}
    blocks = read_labels(tmp_path / "blocks" / "stored.zarr", 3).array[..., 0]
    np.testing.assert_array_equal(blocks, labels["stored"])


def test_different_voxel_sizes_are_not_reported(config, command, write_config, mixed) -> None:
    command("check", "--config", config, "--no-timing")
    assert "has the pixel size" not in command.out
    command("check", "--config", write_config(mixed, 3), "--no-timing")
    assert "has the pixel size" in command.out
