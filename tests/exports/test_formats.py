"""Exported files reproduce the instances when read with other libraries."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import roifile
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from ome_zarr_models.v05.image_label import ImageLabel
from ome_zarr_models.v05.labels import Labels
from outline_files import from_geojson, from_rois
from pycocotools.coco import COCO

import singula
from singula.errors import UserError
from singula.exports.coco import run_lengths
from singula.exports.imagej import write_rois
from singula.exports.ome_zarr import pyramid, write_ome_zarr
from singula.exports.qupath import write_geojson
from singula.exports.tables import instance_table
from singula.io.write import write_tiff
from singula.measure import measure_instances
from singula.runs.instances import Instances

IDS = st.sampled_from([0, 0, 0, 1, 1, 2, 9, 70000])
PLANES = arrays(np.uint32, array_shapes(min_dims=2, max_dims=2, max_side=8), elements=IDS)
ANY = arrays(np.uint32, array_shapes(min_dims=2, max_dims=3, max_side=6), elements=IDS)
in_a_folder = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def cells(shape: tuple[int, ...] = (40, 50)) -> np.ndarray:
    """Return disks, a ring, an instance of two components, and an id beyond 16 bits."""
    y, x = np.indices(shape)
    labels = np.zeros(shape, np.uint32)
    labels[(y - 10) ** 2 + (x - 12) ** 2 < 64] = 3
    labels[(y - 10) ** 2 + (x - 12) ** 2 < 9] = 0
    labels[(y - 28) ** 2 + (x - 15) ** 2 < 50] = 70001
    labels[20:24, 30:40] = labels[30:35, 36:44] = 12
    labels[0, :4] = 5
    return labels


@given(ANY)
@in_a_folder
def test_rois_reproduce_the_labels(tmp_path: Path, labels: np.ndarray) -> None:
    write_rois(Instances("a", labels), tmp_path / "a.zip")
    np.testing.assert_array_equal(from_rois(tmp_path / "a.zip", labels.shape), labels)


@given(ANY)
@in_a_folder
def test_geojson_reproduces_the_labels(tmp_path: Path, labels: np.ndarray) -> None:
    write_geojson(Instances("a", labels), tmp_path / "a.geojson")
    np.testing.assert_array_equal(from_geojson(tmp_path / "a.geojson", labels.shape), labels)


@given(PLANES)
@in_a_folder
def test_coco_reproduces_the_labels(tmp_path: Path, labels: np.ndarray) -> None:
    from pycocotools import mask

    height, width = labels.shape
    result = np.zeros_like(labels)
    for label, counts in run_lengths(labels).items():
        assert sum(counts) == labels.size or counts[-1] > 0
        stored = mask.frPyObjects({"counts": counts, "size": [height, width]}, height, width)
        result[mask.decode(stored) > 0] = label
    np.testing.assert_array_equal(result, labels)


@given(ANY)
@in_a_folder
def test_ome_zarr_reproduces_the_labels(tmp_path: Path, labels: np.ndarray) -> None:
    target = tmp_path / "a.ome.zarr"
    write_ome_zarr(Instances("a", labels, spacing=(0.5,) * labels.ndim, unit="µm"), target)
    group = zarr.open_group(target, mode="r")
    Labels.from_zarr(group["labels"])
    metadata = ImageLabel.from_zarr(group["labels/instances"]).attributes.ome
    assert [axis.unit for axis in metadata.multiscales[0].axes] == ["micrometer"] * labels.ndim
    read = group["labels/instances/0"]
    assert read.dtype == labels.dtype
    np.testing.assert_array_equal(read[...], labels)


def test_levels_contain_every_second_pixel_and_thick_slices_stay() -> None:
    labels = np.arange(5 * 1100 * 700, dtype=np.uint32).reshape(5, 1100, 700)
    levels = pyramid(labels, (2.0, 0.5, 0.5))
    assert [steps for _, steps in levels] == [(1, 1, 1), (1, 2, 2), (1, 4, 4), (2, 8, 8)]
    for level, (z, y, x) in levels:
        np.testing.assert_array_equal(level, labels[::z, ::y, ::x])
    assert len(pyramid(labels[:, :256, :256])) == 1
    assert len(pyramid(np.zeros((1, 1000), np.uint8), (1.0, 10.0))) == 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write two label images with classes, and a pixel size of 0.25 µm."""
    for name, labels in (("a", cells()), ("b", cells()[::-1].copy())):
        kinds = np.where(labels == 3, 2, labels > 0).astype(np.uint32)
        stacked = np.stack([labels, kinds], axis=-1)
        write_tiff(tmp_path / "labels" / f"{name}.tif", stacked, "YXC", (0.25, 0.25), "µm")
    return tmp_path / "labels"


def test_coco_as_pycocotools_reads_it(folder: Path, tmp_path: Path) -> None:
    (path,) = singula.export(folder, "coco", tmp_path / "out")
    coco = COCO(str(path))
    assert {c["name"]: c["id"] for c in coco.cats.values()} == {"class 1": 1, "class 2": 2}
    for number, expected in ((1, cells()), (2, cells()[::-1])):
        assert coco.imgs[number]["file_name"] == f"{'ab'[number - 1]}.tif"
        result = np.zeros_like(expected)
        for annotation in coco.imgToAnns[number]:
            mask = coco.annToMask(annotation) > 0
            result[mask] = annotation["label"]
            y, x = np.nonzero(mask)
            box = [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
            assert annotation["bbox"] == box
            assert annotation["area"] == mask.sum()
            assert annotation["category_id"] == (2 if annotation["label"] == 3 else 1)
        np.testing.assert_array_equal(result, expected)


def test_csv_has_units_and_agrees_with_measure(folder: Path, tmp_path: Path) -> None:
    (path,) = singula.export(folder, "csv", tmp_path / "out")
    table = pd.read_csv(path)
    assert set(table["image"]) == {"a", "b"}
    rows = table[table["image"] == "a"].reset_index(drop=True)
    measured = measure_instances(cells(), spacing=(0.25, 0.25))
    assert rows["label"].tolist() == [3, 5, 12, 70001]
    assert rows["class"].tolist() == [2, 1, 1, 1]
    np.testing.assert_allclose(rows["area_µm²"], measured["npixels"] * 0.0625)
    np.testing.assert_allclose(rows["perimeter_µm"], measured["perimeter"] * 0.25)
    np.testing.assert_allclose(rows["centroid_x_µm"], (measured["axis-1"] + 0.5) * 0.25)
    disk = rows["equivalent_diameter_µm"] ** 2 * np.pi / 4
    np.testing.assert_allclose(disk, rows["area_µm²"])


def test_units_are_in_column_names_and_converted(tmp_path: Path) -> None:
    labels = np.zeros((3, 5, 6), np.uint8)
    labels[1, 1:4, 1:5] = 7
    cases = {
        (None, None): "surface_px²",
        ((2.0, 1.0, 1.0), None): "volume_unit³",
        ((2.0, 1.0, 1.0), "nm"): "volume_µm³",
        ((2.0, 1.0, 1.0), "inch"): "volume_µm³",
        ((2.0, 1.0, 1.0), "furlong"): "volume_furlong³",
    }
    for (spacing, unit), column in cases.items():
        table = instance_table(Instances("a", labels, None, spacing, unit))
        assert column in table.columns
    nanometers = instance_table(Instances("a", labels, None, (200.0, 100.0, 100.0), "nm"))
    assert nanometers["volume_µm³"][0] == pytest.approx(12 * 0.2 * 0.1 * 0.1)
    assert "perimeter_µm" not in instance_table(Instances("a", labels[1], None, (2.0, 1.0), "µm"))


def test_classes_and_measurements_for_qupath(folder: Path, tmp_path: Path) -> None:
    first, _ = singula.export(folder, "qupath", tmp_path / "out")
    np.testing.assert_array_equal(from_geojson(first, (40, 50)), cells())
    features = {f["properties"]["name"]: f for f in json.loads(first.read_text())["features"]}
    ring, pieces = features["3"], features["12"]
    assert ring["properties"]["classification"]["name"] == "class 2"
    assert len(ring["geometry"]["coordinates"]) == 2
    assert pieces["geometry"]["type"] == "MultiPolygon"
    assert pieces["properties"]["measurements"]["area_µm²"] == 80 * 0.0625
    # Equal instances yield equal files.
    again, _ = singula.export(folder, "qupath", tmp_path / "again")
    assert again.read_bytes() == first.read_bytes()


def test_rois_of_wide_images_and_groups(tmp_path: Path) -> None:
    labels = np.zeros((3, 70000), np.uint8)
    labels[1, 69990:69995] = 4
    write_rois(Instances("a", labels, np.where(labels == 4, 2, 0)), tmp_path / "a.zip")
    (roi,) = roifile.roiread(tmp_path / "a.zip")
    assert roi.group == 2
    np.testing.assert_array_equal(from_rois(tmp_path / "a.zip", labels.shape), labels)


def test_the_class_of_an_instance_is_the_most_frequent_class() -> None:
    labels = np.array([[1, 1, 1, 1, 1, 1, 2, 2, 3]])
    classes = np.array([[0, 0, 0, 2, 2, 1, 1, 1, 0]])
    assert Instances("a", labels, classes).classes == {1: 2, 2: 1, 3: 0}


def test_existing_files_are_kept_and_mistakes_are_named(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    singula.export(folder, "imagej", out)
    with pytest.raises(UserError, match=r"a_rois.zip: already exists, and 1 more"):
        singula.export(folder, "imagej", out)
    assert len(singula.export(folder, "imagej", out, overwrite=True)) == 2
    with pytest.raises(UserError, match="got 'fiji', expected one of imagej"):
        singula.export(folder, "fiji", out)
    with pytest.raises(UserError, match="--output") as error:
        singula.export(folder, "csv")
    assert error.value.code == "export.no_folder"
    with pytest.raises(UserError, match="volume") as error:
        singula.export(np.zeros((2, 3, 4), np.uint8), "coco", tmp_path / "volume")
    assert error.value.code == "export.volume"
    assert not (tmp_path / "volume").exists() or not list((tmp_path / "volume").iterdir())
    with pytest.raises(UserError, match="spacing: got"):
        singula.export(folder, "csv", tmp_path / "more", spacing=(1, 2, 3))
    with pytest.raises(UserError, match="none") as error:
        singula.export(tmp_path / "none", "csv", out)
    assert error.value.code == "runs.not_a_run"


def test_an_image_without_instances(tmp_path: Path) -> None:
    empty = np.zeros((5, 6), np.uint8)
    for to in ("imagej", "qupath", "ome-zarr", "csv", "coco"):
        (path,) = singula.export(empty, to, tmp_path)
        assert path.exists()
    assert pd.read_csv(tmp_path / "instances.csv").empty
    assert COCO(str(tmp_path / "instances_coco.json")).anns == {}
