"""Contents of an opened run, and the common error for paths that are not runs."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from example_run import ExampleRun, cells, change_summary, without

import singula
from singula.errors import UserError
from singula.exports.tables import instance_table
from singula.inference import find_model
from singula.report.build import build_report
from singula.runs.images import open_images
from singula.runs.run import Run, Stage, open_run
from singula.tuning import find_run

LABELS = cells(2)


def exported(path: Path) -> object:
    return singula.export(path, "csv", path.parent / "tables")


READERS = {f.__name__: f for f in (open_run, build_report, find_run, find_model, exported)}


@pytest.mark.parametrize("name", READERS)
def test_paths_that_are_not_runs_raise_the_same_error(name: str, tmp_path: Path) -> None:
    read: Callable[[Path], object] = READERS[name]
    run = ExampleRun(tmp_path, {"a": LABELS}).write()
    numbered = tmp_path / "images_20240101123000"
    numbered.mkdir()
    paths = [
        tmp_path / "none",
        tmp_path / "none_1",
        tmp_path / "job",
        *[numbered] * (name != "exported"),
    ]
    for path in paths:
        with pytest.raises(UserError) as error:
            read(path)
        assert error.value.code == "runs.not_a_run"
        assert error.value.message.startswith(f"{path}: ")
    with pytest.raises(UserError) as error:
        read(tmp_path / "job")
    assert str(run) in error.value.hint
    assert "contains 1 run" in error.value.message
    shutil.copytree(run, run.parent / "job_2")
    with pytest.raises(UserError) as error:
        read(tmp_path / "job")
    assert "contains 2 runs" in error.value.message
    assert "one of them, such as" in error.value.hint


def open_example(folder: Path, **changes: object) -> Run:
    pred = {"good": LABELS, "bad": without(LABELS, 3, 4)}
    post = {"good": LABELS, "bad": without(LABELS, 3, 4, 5)}
    return open_run(ExampleRun(folder, pred, post=post, classes=True, **changes).write())


def test_label_images_are_those_after_all_steps(tmp_path: Path) -> None:
    run = open_example(tmp_path, keys={"DATA.TEST.RESOLUTION": [2.0, 2.0]})
    assert run.stages == [Stage("per_image"), Stage("per_image", processed=True)]
    decoded, final = ({i.name: i.read() for i in run.label_images(s)} for s in run.main_stages)
    np.testing.assert_array_equal(decoded["bad"].labels, without(LABELS, 3, 4))
    np.testing.assert_array_equal(final["bad"].labels, without(LABELS, 3, 4, 5))
    assert final["good"].classes == {i: 2 - i % 2 for i in range(1, 17)}
    assert final["good"].spacing == (2.0, 2.0)
    assert run.label_image("none", run.stages[0]) is None
    assert run.image_names(run.stages[1]) == ["bad", "good"]


def test_report_and_export_measure_the_same_objects(tmp_path: Path) -> None:
    """Both read the instances, the classes and the pixel size in the same way."""
    run = open_example(tmp_path, keys={"DATA.TEST.RESOLUTION": [3.0, 3.0]})
    singula.export(run.tree.run, "csv", tmp_path / "tables")
    rows = (tmp_path / "tables" / "instances.csv").read_text().splitlines()
    stage = run.main_stages[-1]
    shown = open_images(run).instances("bad", stage)
    assert shown is not None
    table = instance_table(shown)
    exported_rows = [row.split(",") for row in rows if row.startswith("bad,")]
    assert [row[1] for row in exported_rows] == [str(label) for label in table["label"]]
    assert [row[2] for row in exported_rows] == [str(kind) for kind in table["class"]]
    assert "area_unit²" in rows[0]
    assert "area_unit²" in table.columns


def test_thresholds_and_files_of_the_test(tmp_path: Path) -> None:
    run = open_example(tmp_path)
    assert run.test.thresholds["good"]["TH_CONTOUR"] == 0.25
    assert run.test.threshold_sources["TH_CONTOUR"] == "tuned"
    assert run.maps_file("good", run.stages[0]) == run.tree.run / "per_image" / "good.tif"
    assert [row["epoch"] for row in run.history] == [1, 2, 3, 4, 5]
    assert run.threshold(run.stages[0]) == 0.5


def test_a_run_without_a_configuration_has_defaults_but_cannot_decode(tmp_path: Path) -> None:
    folder = ExampleRun(tmp_path, {"a": LABELS}).write()
    change_summary(folder, configuration=None, test=None)
    run = open_run(folder)
    assert run.ndim == 2
    assert not run.has_truth
    assert run.scores.rows == {}
    assert run.test.instances == {}
    with pytest.raises(UserError) as error:
        run.valid_config()
    assert error.value.code == "runs.no_configuration"


@pytest.mark.parametrize("ndim", [2, 3])
def test_images_of_another_shape_are_reported_and_omitted(ndim: int, tmp_path: Path) -> None:
    labels = cells(ndim)
    run = open_run(ExampleRun(tmp_path, {"a": labels}).write())
    images, stage = open_images(run), run.stages[0]
    raw, truth = images.raw("a", stage, labels.shape), images.truth("a", stage, labels.shape)
    assert raw is not None
    assert raw.shape == (*labels.shape, 1)
    assert truth is not None
    np.testing.assert_array_equal(truth.labels, labels)
    assert images.notes == []
    other = (*labels.shape[:-1], 7)
    assert images.raw("a", stage, other) is None
    assert images.truth("a", stage, other) is None
    assert len(images.notes) == 2
