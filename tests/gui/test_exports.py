"""Objects exported by the interface have the pixels and measurements of the run."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from example_run import ExampleRun, cells, without

from singula.errors import UserError
from singula.exports import FORMATS
from singula.gui.exports import (
    count_corrected,
    export_for_download,
    export_to_folder,
)
from singula.gui.guard import Guard
from singula.gui.results import open_results
from singula.io.read import read_labels
from singula.runs.corrections import OBJECTS, CorrectedFiles, Review


@pytest.fixture
def run(tmp_path: Path) -> Path:
    lattice = cells(2)
    return ExampleRun(tmp_path, {"good": lattice, "bad": without(lattice, 3, 4)}).write()


def test_every_format_has_a_title() -> None:
    assert len({kind.label for kind in FORMATS.values()}) == len(FORMATS)


def test_exported_files_are_read_back(run: Path, tmp_path: Path) -> None:
    guard = Guard.of([tmp_path])
    written = {to: export_to_folder(guard, run, to, f"out/{to}", replace=False) for to in FORMATS}
    assert all((tmp_path / "out") in path.parents for paths in written.values() for path in paths)
    (table,) = (pd.read_csv(path) for path in written["csv"])
    assert table.groupby("image").size().to_dict() == {"good": 16, "bad": 14}
    assert (table["npixels"] == 64).all()
    assert table["intensity_mean"].between(150, 170).all()  # 60 + 100, with noise
    outlines = {p.name: json.loads(p.read_text()) for p in written["qupath"]}
    assert len(outlines["bad.geojson"]["features"]) == 14
    (coco,) = (json.loads(path.read_text()) for path in written["coco"])
    assert len(coco["annotations"]) == 30
    assert {row["area"] for row in coco["annotations"]} == {64}
    for path in written["imagej"]:
        with zipfile.ZipFile(path) as archive:
            assert len(archive.namelist()) == (16 if path.name.startswith("good") else 14)
    zarr = next(p for p in written["ome-zarr"] if p.name.startswith("bad"))
    np.testing.assert_array_equal(read_labels(zarr, 2).array[..., 0], without(cells(2), 3, 4))


def test_files_are_replaced_only_on_request(run: Path, tmp_path: Path) -> None:
    guard = Guard.of([tmp_path])
    (first,) = export_to_folder(guard, run, "csv", "out", replace=False)
    first.write_text("mine")
    with pytest.raises(UserError) as refused:
        export_to_folder(guard, run, "csv", "out", replace=False)
    assert refused.value.code == "gui.export_exists"
    assert first.read_text() == "mine"
    export_to_folder(guard, run, "csv", "out", replace=True)
    assert first.read_text() != "mine"


@pytest.mark.parametrize(("folder", "code"), [(" ", "gui.no_output"), ("/etc/x", "gui.outside")])
def test_other_folders_are_refused(run: Path, tmp_path: Path, folder: str, code: str) -> None:
    with pytest.raises(UserError) as refused:
        export_to_folder(Guard.of([tmp_path]), run, "csv", folder, replace=False)
    assert refused.value.code == code


def test_intensities_of_images_outside_are_not_exported(run: Path, tmp_path: Path) -> None:
    guard = Guard.of([tmp_path / "job"])
    with pytest.raises(UserError) as refused:
        export_to_folder(guard, run, "csv", "out", replace=False)
    assert refused.value.code == "gui.outside"
    assert export_to_folder(guard, run, "imagej", "out", replace=False)


def test_a_download_is_one_file(run: Path, tmp_path: Path) -> None:
    guard = Guard.of([tmp_path])
    (scratch := tmp_path / "scratch").mkdir()
    table = export_for_download(guard, run, "csv", scratch)
    assert len(pd.read_csv(table)) == 30
    archive = export_for_download(guard, run, "imagej", scratch)
    with zipfile.ZipFile(archive) as opened:
        assert {Path(n).name for n in opened.namelist()} >= {"good_rois.zip", "bad_rois.zip"}
    assert not list(run.glob("exports"))


def test_corrected_objects_are_counted_and_exported(run: Path, tmp_path: Path) -> None:
    guard = Guard.of([tmp_path])
    assert count_corrected(run) == 0
    results = open_results(run, guard)
    stage = results.run.final_stage
    predicted = results.instances("good", stage)
    assert results.corrected("good", stage, predicted) is None
    files = CorrectedFiles(results.run.instance_files(stage)["good"], "good")
    files.save(predicted, without(cells(2), 1), Review())
    assert count_corrected(run) == 1
    shown = open_results(run, guard).corrected("good", stage, predicted)
    assert shown is not None
    np.testing.assert_array_equal(shown.labels, without(cells(2), 1))
    for objects, count in (("corrected", 15), ("predicted", 16)):
        path = export_for_download(guard, run, "csv", tmp_path / objects, objects=objects)
        table = pd.read_csv(path)
        good = table[table["image"] == "good"]
        assert len(good) == count
        assert set(good["objects"]) == {objects}
        assert good["intensity_mean"].between(150, 170).all()


def test_corrections_of_an_earlier_prediction_have_a_remedy_on_the_page(
    run: Path, tmp_path: Path
) -> None:
    guard = Guard.of([tmp_path])
    results = open_results(run, guard)
    predicted = results.instances("good", results.run.final_stage)
    path = results.run.instance_files(results.run.final_stage)["good"]
    earlier = replace(predicted, labels=np.roll(predicted.labels, 1, axis=0))
    CorrectedFiles(path, "good").save(earlier, without(cells(2), 1), Review())
    with pytest.raises(UserError) as refused:
        export_to_folder(guard, run, "csv", "out", replace=False)
    assert refused.value.code == "corrections.other_prediction"
    hint = str(refused.value.hint)
    assert OBJECTS["predicted"] in hint
    assert "--objects" not in hint
    assert export_to_folder(guard, run, "csv", "out", replace=False, objects="predicted")


def test_corrections_outside_of_the_roots_are_not_read(run: Path, tmp_path: Path) -> None:
    root = tmp_path / "job"
    results = open_results(run, Guard.of([tmp_path]))
    path = results.run.instance_files(results.run.final_stage)["good"]
    (tmp_path / "elsewhere").mkdir()
    (path.parent / "corrected").symlink_to(tmp_path / "elsewhere")
    for read in (
        lambda guard: open_results(run, guard),
        lambda guard: export_for_download(guard, run, "coco", tmp_path / "new"),
    ):
        with pytest.raises(UserError) as refused:
            read(Guard.of([root]))
        assert refused.value.code == "gui.outside"
