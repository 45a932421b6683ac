"""Label images of slides: read in parts, with coordinates of the finest level."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import label

import singula
from singula.errors import UserError
from singula.exports import parts, trace_outlines
from singula.exports.sources import find_sources
from singula.exports.tables import instance_table
from singula.io.block_array import BlockArray
from singula.io.records.slides import SlideNote
from singula.io.slide_notes import note_slide, slide_of

SHAPE, STEPS = (150, 190), (1.5, 4.0)
NOTE = SlideNote(file="a.svs", downsample=STEPS, origin=(7, 9), tissue=0.5)


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    rng = np.random.default_rng(4)
    coarse = rng.random((SHAPE[0] // 3 + 1, SHAPE[1] // 3 + 1)) < 0.45
    image = label(np.kron(coarse, np.ones((3, 3), bool))[: SHAPE[0], : SHAPE[1]])[0]
    image[40:90, 100:160] = 0  # a part without instances
    return (image * 3).astype(np.uint32)  # ids with gaps


@pytest.fixture
def stored(labels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(parts, "_SIDE", 32)
    return store(labels, tmp_path / "a.zarr")


def store(labels: np.ndarray, path: Path) -> Path:
    zarr = BlockArray.create(
        path, labels.shape, labels.dtype, ndim=2, spacing=(0.3, 0.8), unit="µm", kind="labels",
        chunks=(16, 16),
    )  # fmt: skip
    zarr.write((slice(0, SHAPE[0]), slice(0, SHAPE[1])), labels)
    zarr.finish()
    note_slide(path, NOTE)
    return path


def test_the_note_is_read_again(stored: Path, tmp_path: Path) -> None:
    assert slide_of(stored) == NOTE
    assert slide_of(tmp_path / "missing.zarr") is None
    content = json.loads((stored / "zarr.json").read_text())
    content["attributes"]["singula_slide"]["downsample"] = [0, 1]
    (stored / "zarr.json").write_text(json.dumps(content))
    assert slide_of(stored) is None


def test_outlines_equal_those_of_the_whole_image(labels: np.ndarray, stored: Path) -> None:
    (source,) = find_sources(stored)
    traced = [outline for _, outline in parts.trace_instances(source.read())]
    assert len({outline.label for outline in traced}) == len(traced)
    found = {outline.label: outline.polygons for outline in traced}
    expected = {outline.label: outline.polygons for outline in trace_outlines(labels)}
    assert found.keys() == expected.keys()
    for key, polygons in expected.items():
        for ring, whole in zip(sum(found[key], ()), sum(polygons, ()), strict=True):
            np.testing.assert_allclose(ring, whole * np.array(STEPS), atol=0.006)


def test_measurements_equal_those_of_the_whole_image(labels: np.ndarray, stored: Path) -> None:
    (source,) = find_sources(stored)
    found = instance_table(source.read())
    whole = singula.measure(labels, spacing=(0.3, 0.8), units="um")
    np.testing.assert_array_equal(found["label"], whole["label"])
    np.testing.assert_array_equal(found["npixels"], whole["npixels"])
    for ours, theirs in (
        ("area_µm²", "area_um2"),
        ("equivalent_diameter_µm", "equivalent_diameter_um"),
        ("axis_ratio", "axis_ratio"),
        ("circularity", "circularity"),
    ):
        np.testing.assert_allclose(found[ours], whole[theirs])
    for axis, step, size in (("y", 1.5, 0.3), ("x", 4.0, 0.8)):
        center = whole[f"centroid_{axis}_um"] / size + 0.5  # pixels of the label image
        np.testing.assert_allclose(found[f"centroid_{axis}_px"], center * step - 0.5)
        np.testing.assert_allclose(found[f"centroid_{axis}_µm"], center * size)


def test_files_have_coordinates_of_the_slide(labels: np.ndarray, stored: Path) -> None:
    out = stored.parent / "out"
    (table,) = singula.export(stored, "csv", out)
    rows = pd.read_csv(table).set_index("label")
    (geojson,) = singula.export(stored, "qupath", out)
    for feature in json.loads(geojson.read_text(encoding="utf-8"))["features"]:
        shape = feature["geometry"]
        polygons = (
            shape["coordinates"] if shape["type"] == "MultiPolygon" else [shape["coordinates"]]
        )
        corners = np.concatenate([np.array(polygon[0]) for polygon in polygons])
        row = rows.loc[int(feature["properties"]["name"])]
        for column, axis in enumerate("xy"):
            center = row[f"centroid_{axis}_px"] + 0.5
            assert corners[:, column].min() < center < corners[:, column].max()
    assert len(singula.export(stored, "imagej", out)) == 1
    (zarr,) = singula.export(stored, "ome-zarr", out)
    level = zarr / "labels" / "instances"
    scale = json.loads((level / "zarr.json").read_text())["attributes"]["ome"]["multiscales"][0]
    first = scale["datasets"][0]["coordinateTransformations"][0]["scale"]
    assert first == pytest.approx((0.3, 0.8))
    with pytest.raises(UserError) as caught:
        singula.export(stored, "coco", out)
    assert caught.value.code == "export.slide"


def test_a_given_pixel_size_is_that_of_the_finest_level(stored: Path) -> None:
    (source,) = find_sources(stored, spacing=(0.25, 0.25), unit="µm")
    assert source.read().spacing == pytest.approx((0.375, 1.0))


def test_a_slide_without_instances(tmp_path: Path) -> None:
    path = store(np.zeros(SHAPE, np.uint8), tmp_path / "a.zarr")
    (geojson,) = singula.export(path, "qupath", tmp_path / "out")
    assert json.loads(geojson.read_text())["features"] == []
    (table,) = singula.export(path, "csv", tmp_path / "out")
    assert len(pd.read_csv(table)) == 0
