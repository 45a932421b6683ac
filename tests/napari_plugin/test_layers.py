"""Layers of run folders and of OME-Zarr images: the pixels of the files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from singula.exports import export
from singula.io.write import write_tiff
from singula.napari_plugin.layers import run_layers, zarr_layers
from singula.napari_plugin.readers import get_run_reader, get_zarr_reader


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """Copy of a run with one test image."""
    root = finished_run.parents[2]
    copy = Path(shutil.copytree(root, tmp_path / "demo"))
    return copy / finished_run.relative_to(root)


def by_name(layers: list[Any]) -> dict[str, Any]:
    return {options["name"]: data for data, options, _ in layers}


def test_a_run_becomes_image_maps_labels_and_objects(run: Path) -> None:
    reader = get_run_reader(str(run))
    assert reader is not None
    layers = by_name(reader(str(run)))
    assert {"image", "map B", "map C", "your labels", "objects found"} <= set(layers)
    file = next((run / "per_image_instances").glob("*.tif"))
    np.testing.assert_array_equal(layers["objects found"], tifffile.imread(file))
    shapes = {data.shape for data in layers.values()}
    assert len(shapes) == 1


def test_images_of_different_sizes_are_padded(run: Path) -> None:
    first = next((run / "per_image_instances").glob("*.tif"))
    ids = tifffile.imread(first)
    import json

    summary = json.loads((run / "run.json").read_text())
    summary["test"]["instances"]["second"] = 1
    (run / "run.json").write_text(json.dumps(summary))
    small = np.zeros((20, 30), np.uint16)
    small[2:5, 3:9] = 7
    write_tiff(first.with_name("second.tif"), small, "YX")
    found = by_name(run_layers(run))["objects found"]
    assert found.shape == (2, *ids.shape)
    np.testing.assert_array_equal(found[0], ids)
    np.testing.assert_array_equal(found[1][:20, :30], small)
    assert found[1].sum() == small.sum()


def test_run_json_opens_the_run_and_other_paths_are_refused(run: Path, tmp_path: Path) -> None:
    assert get_run_reader(str(run / "run.json")) is not None
    assert get_run_reader(str(tmp_path)) is None
    assert get_run_reader([str(run), str(run)]) is None
    assert get_zarr_reader(str(run)) is None
    assert get_zarr_reader(str(tmp_path / "missing.zarr")) is None


@pytest.mark.parametrize("shape", [(600, 700), (5, 40, 50)])
def test_exported_labels_are_read_with_their_levels_and_pixel_size(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    labels = np.zeros(shape, np.uint16)
    labels[..., 3:20, 4:30] = 5
    size = (2.0, 0.5, 0.5)[-len(shape) :]
    (path,) = export(labels, "ome-zarr", tmp_path, spacing=size, unit="µm")
    reader = get_zarr_reader(str(path))
    assert reader is not None
    ((levels, options, kind),) = reader(str(path))
    finest = levels[0] if isinstance(levels, list) else levels
    np.testing.assert_array_equal(np.asarray(finest), labels)
    assert kind == "labels"
    assert tuple(options["scale"]) == size
    assert zarr_layers(tmp_path) == []
