"""Checks of real images, if they are present."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from skimage.color import label2rgb

from singula.dataset.checks import InspectSettings, inspect_dataset, write_fixed
from singula.dataset.checks.images import find_unlabeled
from singula.dataset.facts import Folders
from singula.dataset.facts.objects import survey_objects
from singula.io.read import read_image, read_labels
from singula.io.write import write_tiff

SHARED = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture
def dsb2018() -> Path:
    folder = SHARED / "dsb2018"
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is missing")
    return folder


def test_published_labels_have_few_problems(dsb2018: Path) -> None:
    """The editors of the data set corrected these 50 images, so only hints are expected."""
    folders = [Folders("test", dsb2018 / "test" / "raw", dsb2018 / "test" / "label")]
    found = inspect_dataset(folders, InspectSettings(ndim=2, channels=1))
    assert [len(part.pairs) for part in found.parts] == [50]
    assert found.parts[0].objects > 3000
    assert found.problems == ()
    assert {finding.kind for finding in found.hints} <= {"leftover", "saturated", "holes"}


def test_most_objects_with_deleted_labels_are_found(dsb2018: Path) -> None:
    n_found = n_deleted = n_elsewhere = 0
    for path in sorted((dsb2018 / "val" / "raw").iterdir()):
        ids = read_labels(dsb2018 / "val" / "label" / path.name, 2).array[..., 0]
        image = read_image(path, 2).array
        deleted = set(np.unique(ids)[1:][::3].tolist())
        remaining = np.where(np.isin(ids, list(deleted)), 0, ids)
        found_ids: set[int] = set()
        for finding in find_unlabeled(image, remaining, survey_objects(remaining)):
            for place in finding.where:
                box = tuple(map(slice, place.low, place.high))
                found = deleted & set(np.unique(ids[box]).tolist())
                n_elsewhere += not found
                found_ids |= found
        n_found += len(found_ids)
        n_deleted += len(deleted)
    assert n_found >= 0.7 * n_deleted
    assert n_elsewhere <= 5


def test_a_stained_set_is_corrected(dsb2018: Path, tmp_path: Path) -> None:
    found = inspect_dataset(dsb2018 / "rgb_train")
    assert found.parts[0].objects > 2000
    write_fixed(found, tmp_path / "fixed")
    after = inspect_dataset(tmp_path / "fixed")
    assert after.fixable == ()
    assert after.parts[0].objects >= found.parts[0].objects


def test_labels_painted_in_few_colors_become_ids(dsb2018: Path, tmp_path: Path) -> None:
    """The numbers of docs/check.md: only touching objects of the same color are merged."""
    drawn, merged = 0, 0
    paths = sorted((dsb2018 / "train" / "label").iterdir())[:8]
    for side in ("x", "y"):
        (tmp_path / "painted" / "train" / side).mkdir(parents=True)
    for path in paths:
        ids = read_labels(path, 2).array[..., 0]
        painted = (label2rgb(ids, bg_label=0) * 255).astype(np.uint8)
        write_tiff(tmp_path / "painted" / "train" / "y" / path.name, painted, "YXS")
        image = dsb2018 / "train" / "raw" / path.name
        shutil.copy(image, tmp_path / "painted" / "train" / "x")
    write_fixed(inspect_dataset(tmp_path / "painted"), tmp_path / "fixed")
    for path in paths:
        ids = read_labels(path, 2).array[..., 0]
        fixed = read_labels(tmp_path / "fixed" / "train" / "y" / path.name, 2).array[..., 0]
        count = len(np.unique(ids[ids > 0]))
        drawn += count
        merged += count - len(np.unique(fixed[fixed > 0]))
    assert (drawn, merged) == (268, 4)


def test_a_volume(tmp_path: Path) -> None:
    folder = SHARED / "nuclei3d"
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is missing")
    for side, name in (("x", "img3d.tif"), ("y", "mask3d.tif")):
        target = tmp_path / "train" / side / "a.tif"
        target.parent.mkdir(parents=True)
        target.write_bytes((folder / name).read_bytes())
    found = inspect_dataset(tmp_path)
    assert found.ndim == 3
    assert found.parts[0].objects == 51
    assert {finding.kind for finding in found.problems} <= {"pieces", "tiny"}
