"""Scores of patches in whole runs: stored with the maps, and equal if maps are reused."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from selection import fast_first

REUSE = "TEST.REUSE_PREDICTIONS=True"


@pytest.fixture(params=fast_first([2, 3]), ids=["2D", "3D"])
def job(request, command, write_config, data_2d, data_3d, tmp_path):
    """Return a function that tests a trained job and returns the scores of patches."""
    ndim = request.param
    data = Path(shutil.copytree(data_2d if ndim == 2 else data_3d, tmp_path / "data"))
    config = write_config(data, ndim, **{"TRAIN.EPOCHS": 3})
    out = ("--result_dir", tmp_path / "out")
    assert command("run", "--config", config, *out) == 0, command.err
    run = tmp_path / "out" / "job" / "results" / "job_1"

    def again(*changes: str, read: bool = True) -> pd.DataFrame | None:
        words = [w for c in ("TRAIN.ENABLE=False", *changes) for w in ("--set", c)]
        if changes != ("as it is",):
            assert command("run", "--config", config, *out, *words) == 0, command.err
        if not read:
            return None
        table = pd.read_csv(run / "metrics.csv")
        rows = table[table.image.str.startswith("image")].drop_duplicates("image")
        return rows.set_index("image")[[c for c in rows if c.startswith("per_patch_")]]

    again.data = data  # type: ignore[attr-defined]
    return again


def test_reused_maps_have_the_same_scores_of_patches(job, command, tmp_path) -> None:
    first = job("as it is")
    assert list(first) == ["per_patch_iou_B", "per_patch_iou_C"]
    assert (first < 1).to_numpy().any()
    for keys in ((), (REUSE,), (REUSE, "TEST.FULL_IMG=True"), (REUSE,)):
        pd.testing.assert_frame_equal(job(*keys), first)
    assert "predicting with" not in command.out  # the network is not needed
    assert job(REUSE, "TEST.STATS.PER_PATCH=False").empty
    # Without the weights they are known all the same.
    for path in (tmp_path / "out" / "job" / "checkpoints").glob("*.pth"):
        path.unlink()
    pd.testing.assert_frame_equal(job(REUSE), first)


@pytest.mark.slow
def test_other_labels_have_other_scores_of_patches(job, command, tmp_path) -> None:
    first = job("as it is")
    for path in (job.data / "test" / "y").iterdir():
        labels = tifffile.imread(path)
        labels[..., : labels.shape[-1] // 2] = 0
        tifffile.imwrite(path, labels)
    reused = job(REUSE)
    assert "2 images are predicted again" in command.out
    assert (reused != first).to_numpy().any()
    pd.testing.assert_frame_equal(job(REUSE), reused)
    assert "predicting with" not in command.out
    pd.testing.assert_frame_equal(job(), reused)
    # Maps without a record, as another program leaves them, have no patches.
    (tmp_path / "out/job/results/job_1/predictions.jsonl").unlink()
    assert job(REUSE).empty
    assert "2 images without scores per patch" in command.out


@pytest.mark.slow
def test_scores_appear_with_labels_that_come_later(job, command) -> None:
    expected = job()
    job("DATA.TEST.LOAD_GT=False", read=False)
    found = job(REUSE)
    pd.testing.assert_frame_equal(found, expected)
    assert np.isfinite(found.to_numpy()).all()
