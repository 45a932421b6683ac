"""Whole runs on Zarr, HDF5 and N5 equal those on TIFF files."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

from singula.io.lazy import LazyImage
from singula.io.pairing import pair_files
from singula.io.read import read_image, read_labels
from singula.pipeline import stored_pair

KEYS = ("IMAGES", "LABELS")


def convert(data: Path, target: Path, ndim: int, suffix: str, *, together: bool) -> Path:
    """Convert a data set to containers, with images and labels separate or in one file."""
    for part in ("train", "val", "test"):
        for pair in pair_files(data / part / "x", data / part / "y", *KEYS):
            image = read_image(pair.image, ndim).array[..., 0]
            ids = read_labels(pair.label, ndim).array[..., 0]  # type: ignore[arg-type]
            if together:
                store(
                    target / part / "x" / f"{pair.name}{suffix}", {"vol/raw": image, "vol/gt": ids}
                )
            else:
                store(target / part / "x" / f"{pair.name}{suffix}", {"data": image})
                store(target / part / "y" / f"{pair.name}{suffix}", {"data": ids})
    return target


def store(path: Path, arrays: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        chunks = tuple(min(n, 20) for n in array.shape)
        if path.suffix == ".zarr":
            zarr.open_group(path, mode="a").create_array(name, data=array, chunks=chunks)
        else:
            with h5py.File(path, "a") as file:
                file.create_dataset(name, data=array, chunks=chunks)


def labels_of(run: Path) -> dict[str, np.ndarray]:
    folder = run / "job" / "results" / "job_1" / "per_image_instances"
    return {
        p.stem: read_labels(p, 3 if "3d" in str(run) else 2).array for p in folder.glob("*.tif")
    }


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".zarr", ".h5"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_one_container_with_raw_and_labels(
    command, write_config, data_2d, data_3d, tmp_path, monkeypatch, suffix, ndim
) -> None:
    data = data_2d if ndim == 2 else data_3d
    both = convert(data, tmp_path / "both", ndim, suffix, together=True)
    keys = {f"DATA.{part}.IN_MEMORY": False for part in ("TRAIN", "VAL")} | {
        "DATA.TRAIN.CHECK_DATA": False
    }
    plain = write_config(data, ndim, name="job.yaml", **keys)
    out = tmp_path / f"{ndim}d_tiff"
    assert command("run", "--config", plain, "--result_dir", out) == 0, command.err
    shutil.rmtree(tmp_path / "channels")
    for section in ("DATA.TRAIN", "DATA.VAL", "TEST.BY_CHUNKS"):
        keys[f"{section}.INPUT_ZARR_MULTIPLE_DATA"] = True
        keys[f"{section}.INPUT_ZARR_MULTIPLE_DATA_RAW_PATH"] = "vol.raw"
        keys[f"{section}.INPUT_ZARR_MULTIPLE_DATA_GT_PATH"] = "vol/gt"
        keys[f"{section}.INPUT_IMG_AXES_ORDER"] = "ZYX"[-ndim:]
    for part in ("TRAIN", "VAL", "TEST"):
        keys[f"DATA.{part}.GT_PATH"] = "nowhere"
    monkeypatch.setattr(stored_pair, "_WHOLE", 0)  # as if they were large
    boxes: list[int] = []
    read = LazyImage.read
    monkeypatch.setattr(
        LazyImage, "read", lambda lazy, box: (boxes.append(lazy.ndim), read(lazy, box))[1]
    )
    config = write_config(both, ndim, name="job.yaml", **keys)
    again = tmp_path / f"{ndim}d_containers"
    assert command("run", "--config", config, "--result_dir", again) == 0, command.err
    assert "read when they are needed" in command.out
    assert len(boxes) > 10
    one, two = labels_of(out), labels_of(again)
    assert one.keys() == two.keys()
    assert len(one) == 2
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])
    assert command("run", "--config", config, "--result_dir", again, "--resume") == 0, command.err
    assert command("report", again / "job" / "results" / "job_1") == 0, command.err
    page, fixed = tmp_path / "check.html", tmp_path / "fixed"
    assert command("check", "--config", config, "--html", page, "--fix", fixed) == 0, command.err
    assert "DATA.TRAIN.INPUT_ZARR_MULTIPLE_DATA: False" in command.out
    assert "TEST.BY_CHUNKS.INPUT_ZARR_MULTIPLE_DATA: False" in command.out
    for path in (fixed / "test" / "y").glob("*.tif"):
        truth = read_labels(data / "test" / "y" / path.name, ndim).array
        np.testing.assert_array_equal(read_labels(path, ndim).array > 0, truth > 0)


@pytest.mark.slow
def test_separate_containers(command, write_config, data_2d, tmp_path) -> None:
    data = convert(data_2d, tmp_path / "zarr", 2, ".zarr", together=False)
    config = write_config(data, 2)
    assert command("run", "--config", config, "--result_dir", tmp_path / "out") == 0, command.err
    run = tmp_path / "out" / "job" / "results" / "job_1"
    found = tmp_path / "predicted"
    assert command("predict", "-m", run, data / "test" / "x", "-o", found) == 0, command.err
    whole = {p.stem: read_labels(p, 2).array for p in found.glob("*.tif")}
    for name, ids in labels_of(tmp_path / "out").items():
        np.testing.assert_array_equal(whole[name], ids)
    image = next((data / "test" / "x").iterdir())
    assert command("predict", "-m", run, image, "-o", tmp_path / "single") == 0, command.err
    assert command("check", data, "--fix", tmp_path / "fixed") == 0, command.err
    assert len(list((tmp_path / "fixed" / "train" / "x").glob("*.zarr"))) == 3
    assert command("init", data, "-o", tmp_path / "made.yaml") == 0, command.err
