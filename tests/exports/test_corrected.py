"""Export of corrected objects: pixels, and the statement in each format."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr
from roifile import ImagejRoi

import singula
from singula import cli
from singula.errors import UserError
from singula.exports import FORMATS
from singula.exports.sources import find_sources
from singula.io.read import read_labels
from singula.io.write import write_tiff
from singula.runs.corrections import CorrectedFiles, Review

LABELS = np.kron(np.array([[1, 0], [0, 2]], np.uint16), np.ones((6, 8), np.uint16))
CORRECTED = np.where(LABELS == 2, 0, LABELS)
CORRECTED[8:10, 1:4] = 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write two predictions, of which the first has corrections."""
    folder = tmp_path / "out"
    for name in "ab":
        write_tiff(folder / f"{name}.tif", LABELS, "YX", (0.5, 0.5), "µm")
    save(folder)
    return folder


def save(folder: Path) -> None:
    predicted = next(source for source in find_sources(folder) if source.name == "a").read()
    CorrectedFiles(folder / "a.tif", "a").save(predicted, CORRECTED, Review())


def stated(to: str, path: Path) -> set[str | None]:
    """Read what an exported file of an image states about its objects."""
    if to == "imagej":
        with zipfile.ZipFile(path) as archive:
            rois = [ImagejRoi.frombytes(archive.read(name)) for name in archive.namelist()]
        return {roi.props.strip("\n\0").partition("objects: ")[2] or None for roi in rois}
    if to == "qupath":
        features = json.loads(path.read_text())["features"]
        return {f["properties"].get("metadata", {}).get("objects") for f in features}
    return {zarr.open_group(path)["labels/instances"].attrs.get("singula", {}).get("objects")}


def stated_of_all(to: str, path: Path) -> dict[str, str | None]:
    if to == "csv":
        table = pd.read_csv(path)
        return (
            {}
            if "objects" not in table
            else dict(zip(table["image"], table["objects"], strict=True))
        )
    images = json.loads(path.read_text())["images"]
    return {image["file_name"][0]: image["objects"] for image in images if "objects" in image}


@pytest.mark.parametrize("to", FORMATS)
def test_files_state_which_objects_they_contain(to: str, folder: Path, tmp_path: Path) -> None:
    for objects, of_a in (("corrected", "corrected"), ("predicted", "predicted")):
        paths = singula.export(folder, to, tmp_path / objects, objects=objects)
        if FORMATS[to].write_all is not None:
            assert stated_of_all(to, paths[0]) == {"a": of_a, "b": "predicted"}
        else:
            assert [stated(to, path) for path in paths] == [{of_a}, {"predicted"}]
    (folder / "corrected" / "labels" / "a.tif").unlink()
    paths = singula.export(folder, to, tmp_path / "none")
    if FORMATS[to].write_all is not None:
        assert stated_of_all(to, paths[0]) == {}
    else:
        assert [stated(to, path) for path in paths] == [{None}, {None}]


def test_corrected_objects_are_exported_with_the_pixel_size_of_the_prediction(
    folder: Path, tmp_path: Path
) -> None:
    a, b = singula.export(folder, "ome-zarr", tmp_path / "new")
    stored = read_labels(a, 2)
    np.testing.assert_array_equal(stored.array[..., 0], CORRECTED)
    assert (stored.spacing, stored.unit) == ((0.5, 0.5), "µm")
    np.testing.assert_array_equal(read_labels(b, 2).array[..., 0], LABELS)
    (path,) = singula.export(folder / "a.tif", "csv", tmp_path / "one", spacing=2.0, unit="µm")
    table = pd.read_csv(path)
    assert dict(zip(table["label"], table["npixels"], strict=True)) == {1: 48, 3: 6}
    assert table["area_µm²"].tolist() == [192, 24]


def test_corrections_of_an_earlier_prediction_are_not_exported(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiff(folder / "a.tif", np.roll(LABELS, 1, axis=0), "YX")
    with pytest.raises(UserError) as caught:
        singula.export(folder, "csv", tmp_path / "table")
    assert caught.value.code == "corrections.other_prediction"
    assert not list(tmp_path.glob("table/*.csv"))
    words = ["singula", "export", folder, "--to", "csv", "-o", tmp_path / "table"]
    monkeypatch.setattr(sys, "argv", [*map(str, words), "--objects", "predicted"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    table = pd.read_csv(tmp_path / "table" / "instances.csv")
    assert table.groupby("image")["label"].apply(list).to_dict() == {"a": [1, 2], "b": [1, 2]}
    monkeypatch.setattr(sys, "argv", [*map(str, words), "--overwrite", "--objects", "all"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
