"""Training, test and tuning with labels that are annotated in part."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

import singula
from singula.io.block_array import BlockArray


@pytest.fixture
def sliced_3d(data_3d: Path, tmp_path: Path) -> Path:
    """Volumes of which four slices are annotated, in one of them a part."""
    data = Path(shutil.copytree(data_3d, tmp_path / "sliced"))
    for path in data.glob("*/y/*.tif"):
        labels = tifffile.imread(path).astype(np.int16)
        sparse = np.full_like(labels, -1)
        sparse[[1, 4, 7, 10]] = labels[[1, 4, 7, 10]]
        sparse[4, :, 30:] = -1
        tifffile.imwrite(path, sparse, imagej=False, metadata={"axes": "ZYX"})
    return data


def scores_of(results: Path, data: Path, folder: str) -> list[list[int]]:
    """Return the counts of each test image from its instances and the sparse labels."""
    rows = []
    for path in sorted((data / "test" / "y").glob("*.tif")):
        stored = results / folder / path.name
        if stored.exists():
            instances = tifffile.imread(stored)
        else:
            instances = BlockArray.open(stored.with_suffix(".zarr")).read_ids((slice(None),) * 3)
        for match in singula.match(tifffile.imread(path), instances, (0.3, 0.5)):
            rows.append([match.tp, match.fp, match.fn])
    return rows


def counts_in(results: Path) -> pd.DataFrame:
    table = pd.read_csv(results / "metrics.csv")
    return table[table.image.str.startswith("image") & (table["view"] == "per_image")]


def test_a_volume_with_annotated_slices(command, write_config, sliced_3d, tmp_path) -> None:
    config = write_config(sliced_3d, 3, **{"TRAIN.EPOCHS": 3})
    out = tmp_path / "out"
    assert command("run", "--config", config, "--result_dir", out) == 0, command.err
    assert "annotated in part" in command.err + command.out
    results = out / "job" / "results" / "job_1"
    log = pd.read_csv(results / "train_logs" / "job_1.csv")
    assert np.isfinite(log.select_dtypes("number").to_numpy()).all()
    table = counts_in(results)
    expected = scores_of(results, sliced_3d, "per_image_instances")
    assert table[["tp", "fp", "fn"]].to_numpy().astype(int).tolist() == expected
    assert (results / "report.html").is_file()
    # In blocks
    changes = [
        "TRAIN.ENABLE=False",
        f"PATHS.CHECKPOINT_FILE={out / 'job' / 'checkpoints' / 'job_1-checkpoint-best.pth'}",
        "TEST.BY_CHUNKS.ENABLE=True",
        "TEST.BY_CHUNKS.BLOCK_SHAPE=(12, 24, 32)",
    ]
    line = ["run", "--config", config, "--result_dir", out, "--run_id", 2]
    assert command(*line, *(w for k in changes for w in ("--set", k))) == 0, command.err
    blocks = counts_in(out / "job" / "results" / "job_2")
    columns = ["tp", "fp", "fn", "per_image_iou_B", "per_image_iou_C"]
    np.testing.assert_allclose(
        table[columns].to_numpy(float), blocks[columns].to_numpy(float), rtol=1e-5
    )
    assert command("tune", results) == 0, command.err


def test_images_without_annotation_have_no_score(command, write_config, data_2d, tmp_path) -> None:
    data = Path(shutil.copytree(data_2d, tmp_path / "data"))
    for folder in ("x", "y"):
        shutil.copy(data / "train" / folder / "image_000.tif", data / "val" / folder / "other.tif")
    for part in ("val", "test"):
        first, *others = sorted((data / part / "y").glob("*.tif"))
        for path in (first, *others):
            labels = tifffile.imread(path).astype(np.int16)
            tifffile.imwrite(path, np.full_like(labels, -1) if path == first else labels)
    config = write_config(data)
    line = ["run", "--config", config, "--result_dir", tmp_path / "out"]
    assert command(*line) == 0, command.err
    assert "instances, not annotated" in command.out + command.err
    results = tmp_path / "out" / "job" / "results" / "job_1"
    table = pd.read_csv(results / "metrics.csv")
    images = table[table.image.str.startswith("image")]
    assert images.groupby("image").n_images.first().tolist() == [0] + [1] * len(others)
    assert images[images.n_images == 0].filter(regex="f1|iou").isna().all(axis=None)
    for threshold in (0.3, 0.5):
        at = table[table.threshold == threshold].set_index("image")
        mean, scored = at.loc["mean over images"], at[at.index.isin(images.image)].dropna()
        assert mean.n_images == len(scored) == len(others)
        assert mean.f1 == pytest.approx(scored.f1.mean())
        assert mean.per_image_iou_B == pytest.approx(scored.per_image_iou_B.mean())
    report = (results / "report.html").read_text(encoding="utf-8")
    assert "not annotated" in report
    assert ">nan" not in report
    assert " nan " not in report
    assert command(*line, "--resume") == 0, command.err
    pd.testing.assert_frame_equal(pd.read_csv(results / "metrics.csv"), table)
    assert command("tune", results) == 0, command.err
    assert "without annotated pixels" in command.out + command.err
    tuned = pd.read_csv(results / "tuning" / "tuning.csv")
    assert "other" in set(tuned.image)
    assert "image_000" not in set(tuned.image)


def test_test_images_without_any_annotation_are_reported(
    command, write_config, data_2d, tmp_path
) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    for path in (data_2d / "test" / "y").glob("*.tif"):
        tifffile.imwrite(masks / path.name, np.ones(tifffile.imread(path).shape, np.uint8))
    config = write_config(data_2d, **{"DATA.TEST.IGNORE_PATH": str(masks)})
    assert command("run", "--config", config, "--result_dir", tmp_path / "out") == 0, command.err
    assert "no image is annotated" in command.out + command.err
    results = tmp_path / "out" / "job" / "results" / "job_1"
    assert "no test image is annotated" in (results / "report.html").read_text(encoding="utf-8")
    summary = json.loads((results / "run.json").read_text())
    assert summary["scores"]["per_image"]["mean"][0]["f1"] is None


@pytest.mark.slow
def test_masks_equal_minus_one(command, write_config, data_2d, tmp_path) -> None:
    """Masks in IGNORE_PATH give the results of -1; complete masks those of no masks."""
    logs, tables = {}, {}
    for kind in ("none", "empty", "masks", "minus"):
        data = Path(shutil.copytree(data_2d, tmp_path / kind))
        changes: dict[str, object] = {"SYSTEM.SEED": 1}
        for path in data.glob("*/y/*.tif"):
            labels = tifffile.imread(path)
            excluded = np.zeros(labels.shape, bool)
            if kind in ("masks", "minus"):
                excluded[:, 50:] = True
            if kind == "minus":
                tifffile.imwrite(path, np.where(excluded, -1, labels.astype(np.int32)))
            elif kind != "none":
                part = path.parents[1]
                (part / "ignore").mkdir(exist_ok=True)
                tifffile.imwrite(part / "ignore" / path.name, excluded.astype(np.uint8) * 255)
                changes[f"DATA.{part.name.upper()}.IGNORE_PATH"] = str(part / "ignore")
        config = write_config(data, **changes)
        assert command("run", "--config", config, "--result_dir", tmp_path / f"out_{kind}") == 0
        results = tmp_path / f"out_{kind}" / "job" / "results" / "job_1"
        log = pd.read_csv(results / "train_logs" / "job_1.csv")
        logs[kind] = log.filter(regex="loss|iou").to_numpy()
        tables[kind] = counts_in(results).select_dtypes("number").to_numpy()
    for first, second in (("none", "empty"), ("masks", "minus")):
        np.testing.assert_array_equal(logs[first], logs[second])
        np.testing.assert_array_equal(tables[first], tables[second])
    assert not np.array_equal(logs["none"], logs["masks"])


def test_check_times_an_image_with_annotated_pixels(
    command, write_config, data_2d, tmp_path
) -> None:
    data = Path(shutil.copytree(data_2d, tmp_path / "data"))
    first, *others = sorted((data / "train" / "y").glob("*.tif"))
    for path in (first, *others):
        labels = tifffile.imread(path).astype(np.int16)
        tifffile.imwrite(path, np.full_like(labels, -1) if path == first else labels)
    assert command("check", "--config", write_config(data)) == 0, command.out + command.err
