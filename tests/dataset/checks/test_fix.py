"""Corrected copies of whole data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from broken_data import (
    HIDDEN,
    NAME,
    constant,
    duplicate,
    float_labels,
    holes,
    inverted_bools,
    negative,
    pieces,
    semantic,
    shape,
    tiny,
    unpaired,
)
from example_data import ExampleData, bytes_of, labels
from selection import fast_first

from singula.dataset.checks import inspect_dataset, write_fixed
from singula.errors import UserError
from singula.io.read import read_header, read_labels


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("broken", [pieces, tiny, holes, semantic, float_labels])
def test_a_check_of_the_copy_finds_nothing_to_correct(tmp_path: Path, ndim: int, broken) -> None:
    data = ExampleData(tmp_path / "data", ndim)
    broken(data)
    before = bytes_of(data.folder)
    found = inspect_dataset(data.folder)
    assert found.fixable
    report = write_fixed(found, tmp_path / "fixed")
    assert bytes_of(data.folder) == before
    assert (report.files, len(report.corrected), report.left_out) == (5, 1, {})
    after = inspect_dataset(tmp_path / "fixed")
    assert [one.text for one in after.fixable] == []
    assert [one.text for one in after.problems] == []
    assert [len(part.pairs) for part in after.parts] == [3, 2]
    copied = {name: data for name, data in bytes_of(tmp_path / "fixed").items() if NAME not in name}
    assert copied == {name: data for name, data in before.items() if NAME not in name}
    again = write_fixed(after, tmp_path / "again")
    assert again.corrected == {}
    assert bytes_of(tmp_path / "again") == bytes_of(tmp_path / "fixed")


def test_a_mask_becomes_its_objects(tmp_path: Path) -> None:
    data = ExampleData(tmp_path / "data", 3)
    clean = data.ids("train", NAME)
    semantic(data)
    write_fixed(inspect_dataset(data.folder), tmp_path / "fixed")
    path = tmp_path / "fixed" / "train" / "y" / NAME
    fixed = read_labels(path, 3)
    pairs = np.unique(np.stack([clean.ravel(), fixed.array.ravel()]), axis=1)
    assert pairs.shape[1] == 17
    assert fixed.spacing == pytest.approx(data.spacing)
    assert read_header(path).dtype == np.uint8


@pytest.mark.parametrize("ndim", fast_first([2, 3]))
@pytest.mark.parametrize("broken", HIDDEN, ids=lambda f: f.__name__)
def test_hidden_objects_are_restored_in_the_copy(tmp_path: Path, ndim: int, broken) -> None:
    data = ExampleData(tmp_path / "data", ndim)
    part = "test" if broken is inverted_bools else "train"
    clean = data.ids(part, NAME)
    files = {file for _, file in broken(data)}
    before = bytes_of(data.folder)
    found = inspect_dataset(data.folder)
    assert found.parts[0].objects == 3 * 16
    report = write_fixed(found, tmp_path / "fixed")
    assert bytes_of(data.folder) == before
    assert (len(report.corrected), report.left_out) == (len(files), {})
    fixed = read_labels(tmp_path / "fixed" / "train" / "y" / NAME, ndim).array[..., 0]
    pairs = np.unique(np.stack([clean.ravel(), fixed.ravel()]), axis=1)
    assert pairs.shape[1] == 17
    assert (fixed[clean == 0] == 0).all()
    assert inspect_dataset(tmp_path / "fixed").findings == ()


@pytest.mark.parametrize("broken", [shape, negative, unpaired])
def test_files_that_cannot_be_corrected_are_left_out(
    tmp_path: Path, broken, messages: list[str]
) -> None:
    data = ExampleData(tmp_path / "data")
    broken(data)
    report = write_fixed(inspect_dataset(data.folder), tmp_path / "fixed")
    assert report.files == 4
    assert any(path.name == NAME for path in report.left_out)
    assert sum("left out" in line for line in messages) == len(report.left_out)
    after = inspect_dataset(tmp_path / "fixed")
    assert after.findings == ()
    assert [len(part.pairs) for part in after.parts] == [2, 2]


def test_the_file_of_invalid_labels_is_named(tmp_path: Path, messages: list[str]) -> None:
    data = ExampleData(tmp_path / "data")
    negative(data)
    write_fixed(inspect_dataset(data.folder), tmp_path / "fixed")
    (line,) = [line for line in messages if "left out" in line]
    image, labels = (data.folder / "train" / side / NAME for side in "xy")
    assert line.startswith(f"left out: {image}: its labels {labels}: got label ids down to -2")


@pytest.mark.parametrize("broken", [constant, duplicate])
def test_findings_that_need_a_person_are_not_corrected(tmp_path: Path, broken) -> None:
    data = ExampleData(tmp_path / "data")
    broken(data)
    found = inspect_dataset(data.folder)
    write_fixed(found, tmp_path / "fixed")
    after = inspect_dataset(tmp_path / "fixed")
    assert [one.kind for one in after.findings] == [one.kind for one in found.findings]


def test_classes_are_corrected_with_their_objects(tmp_path: Path) -> None:
    data = ExampleData(tmp_path / "data", classes=True)
    whole = data.whole("train", NAME)
    whole[18:, :22, 1] = 2
    whole[0:3, 0:3, 0] = 5
    data.put("train", "y", NAME, whole)
    found = inspect_dataset(data.folder)
    assert {one.kind for one in found.findings} == {"pieces", "classes", "tiny"} - {"tiny"}
    write_fixed(found, tmp_path / "fixed")
    kinds = {one.kind for one in inspect_dataset(tmp_path / "fixed").fixable}
    assert kinds == set()


def test_files_in_one_folder_and_with_other_names(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for place in range(2):
        ids = np.roll(labels(), place, 0)
        ids[ids == 4] = 2
        raw = np.where(ids > 0, 100, 10) + np.random.default_rng(place).integers(0, 9, ids.shape)
        tifffile.imwrite(folder / f"cell{place}.ome.tif", raw.astype(np.uint8), metadata=None)
        tifffile.imwrite(folder / f"cell{place}_mask.tif", ids)
    found = inspect_dataset(folder)
    assert {one.kind for one in found.findings} == {"pieces"}
    write_fixed(found, tmp_path / "fixed")
    names = sorted(bytes_of(tmp_path / "fixed"))
    assert names == [
        "train/x/cell0.ome.tif", "train/x/cell1.ome.tif", "train/y/cell0.tif", "train/y/cell1.tif",
    ]  # fmt: skip
    assert inspect_dataset(tmp_path / "fixed").findings == ()


def test_a_copy_needs_an_empty_folder(tmp_path: Path) -> None:
    data = ExampleData(tmp_path / "data")
    found = inspect_dataset(data.folder)
    before = bytes_of(tmp_path)
    for folder, code in (
        (data.folder, "check.target_not_empty"),
        (data.path("train", "x", NAME), "check.target_not_empty"),
        (data.folder / "train" / "x" / "new", "check.target_in_data"),
    ):
        with pytest.raises(UserError) as caught:
            write_fixed(found, folder)
        assert caught.value.code == code
    assert bytes_of(tmp_path) == before
