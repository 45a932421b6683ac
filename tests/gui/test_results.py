"""Results and thresholds of finished runs for the pages."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from example_run import ExampleRun, cells, without

from singula.config import config_from_dict, load_config
from singula.config.thresholds import resolve_sources
from singula.errors import UserError
from singula.gui.guard import Guard
from singula.gui.pages.results import _View
from singula.gui.pictures import Scene
from singula.gui.results import Results, measurements, open_results, report_file
from singula.gui.retune import SMALL, Retune, keys_that_matter
from singula.gui.save_thresholds import (
    model_file,
    original_config,
    save_configuration,
    save_in_checkpoint,
    values_as_text,
    values_from_text,
)
from singula.io.read import read_image, read_labels
from singula.io.run_folder import ResultsTree
from singula.io.write import write_tiff
from singula.measure import measure
from singula.pipeline.checkpoints import find_checkpoint
from singula.report.build import build_report
from singula.representations.thresholds import THRESHOLDS
from singula.runs.images import open_images
from singula.runs.run import open_run

TH_RADIUS = "DATA_MW_TH_CENTER_RADIUS"


def opened(demo: Path, ndim: int) -> tuple[Results, Guard]:
    guard = Guard.of([demo])
    return open_results(demo / f"{ndim}d" / "demo" / "results" / "demo_1", guard), guard


def _scene(results: Results, name: str) -> Scene:
    stage = results.run.stages[-1]
    return results.scene(name, stage, results.instances(name, stage).labels)


@pytest.fixture(params=[2, 3])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, np.ndarray]:
    labels = cells(request.param)
    pred = {"good": labels, "bad": without(labels, 3, 4, 5), "empty": labels * 0}
    return ExampleRun(tmp_path, pred).write(), labels


def test_a_scene_contains_image_instances_and_ground_truth(made, tmp_path: Path) -> None:
    run, labels = made
    results = open_results(run, Guard.of([tmp_path]))
    stage = results.run.stages[-1]
    assert results.run.image_names(stage) == ["empty", "bad", "good"]  # the worst first
    scene = _scene(results, "bad")
    np.testing.assert_array_equal(scene.labels["instances"], without(labels, 3, 4, 5))
    np.testing.assert_array_equal(scene.labels["truth"], labels)
    assert scene.raw is not None
    assert "associations" in scene.layers()
    assert results.score(stage, "good")["f1"] == 1.0
    assert results.score(stage, "bad")["threshold"] == 0.5


def test_the_page_shows_the_intensities_of_the_raw_image(made, tmp_path: Path) -> None:
    run, labels = made
    results = open_results(run, Guard.of([tmp_path]))
    stage = results.run.stages[-1]
    page: Any = SimpleNamespace(results=results)
    shown = _View.read(page, "good", stage)
    assert shown.scene.raw is not None
    assert not shown.is_corrected
    columns, rows = shown.table
    expected = measure(labels, shown.scene.raw)
    names = [name for name in expected if name.startswith("intensity_mean")]
    assert set(names) < set(columns)
    for row, values in zip(rows, expected[names].to_numpy(), strict=True):
        assert [row[name] for name in names] == pytest.approx(values, rel=1e-3)


def test_the_table_has_a_row_for_each_instance(made, tmp_path: Path) -> None:
    run, labels = made
    results = open_results(run, Guard.of([tmp_path]))
    columns, rows = measurements(results.instances("bad", results.run.stages[-1]))
    assert columns[0] == "label"
    assert [row["label"] for row in rows] == [i for i in range(1, 17) if i not in (3, 4, 5)]
    assert rows[0]["npixels"] == np.count_nonzero(labels == 1)
    assert {"centroid_y_px", "bounding_box_diameter_px"} <= set(columns)
    assert measurements(results.instances("empty", results.run.stages[-1]))[1] == []


def test_sizes_in_the_table_have_the_unit_of_the_file(tmp_path: Path) -> None:
    labels = cells(2)
    run = ExampleRun(tmp_path, {"good": labels}, classes=True).write()
    path = run / "per_image_instances" / "good.tif"
    old = read_labels(path, 2, True).array
    write_tiff(path, old, "YXC", spacing=(500.0, 500.0), unit="nm")
    results = open_results(run, Guard.of([tmp_path]))
    columns, rows = measurements(results.instances("good", results.run.stages[-1]))
    assert "area_µm²" in columns
    count = np.count_nonzero(labels == 2)
    assert rows[1]["area_µm²"] == pytest.approx(count * 0.25)
    assert [row["class"] for row in rows] == [2 - i % 2 for i in range(1, 17)]
    # A configured size that the file does not confirm has no unit.
    for size, unit in ((500.0, "µm²"), (2.0, "unit²")):
        ExampleRun(
            tmp_path, {"good": labels}, classes=True, keys={"DATA.TEST.RESOLUTION": [size, size]}
        ).write()
        write_tiff(path, old, "YXC", spacing=(500.0, 500.0), unit="nm")
        results = open_results(run, Guard.of([tmp_path]))
        columns, rows = measurements(results.instances("good", results.run.stages[-1]))
        assert f"area_{unit}" in columns, columns


def test_images_outside_the_roots_are_not_shown(made, tmp_path: Path) -> None:
    run, _ = made
    results = open_results(run, Guard.of([tmp_path / "job"]))
    assert results.images.pairs == {}
    assert any("outside the folders" in note for note in results.images.notes)
    scene = _scene(results, "good")
    assert scene.raw is None
    with pytest.raises(UserError, match="outside"):
        open_results(run, Guard.of([tmp_path / "data"]))


def test_relative_paths_are_checked_where_they_are_read(
    made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = made
    root, here = tmp_path / "root", tmp_path / "here"
    root.mkdir()
    run = Path(shutil.copytree(run.parents[1], root / "job")) / "results" / run.name
    data = next(iter(open_images(open_run(run)).pairs.values())).image.parents[1]
    for place in (root, here):
        shutil.copytree(data, place / "data")
    summary = run / "run.json"
    summary.write_text(summary.read_text().replace(f"{data}/", "data/"))
    monkeypatch.chdir(here)
    assert "data/x" in summary.read_text()
    guard = Guard.of([root])
    shown = open_results(run, guard).images.pairs.values()
    assert all(guard.allows(pair.image.absolute()) for pair in shown)
    with pytest.raises(UserError) as error:
        report_file(run, guard)
    assert error.value.code == "gui.outside"


def test_the_report_does_not_follow_references_of_image_files(tmp_path: Path) -> None:
    labels = cells(2)
    root = tmp_path / "root"
    run = ExampleRun(root, {"one": labels}, keys={"DATA.EXTERNAL_FILES": True}).write()
    image = root / "data" / "x" / "one.tif"
    values = read_image(image, 2).array[..., 0]
    image.unlink()
    secret = tmp_path / "secret.bin"
    secret.write_bytes(values.tobytes())
    with h5py.File(image.with_suffix(".h5"), "w") as file:
        place = [(str(secret), 0, values.nbytes)]
        file.create_dataset("data", values.shape, values.dtype, external=place)
    text = report_file(run, Guard.of([root])).read_text()
    assert "one.h5" in text
    assert "refers to a file" in text
    (run / "report.html").unlink()
    assert "refers to a file" not in build_report(run).read_text()  # the user allows it


def test_masks_outside_the_roots_are_not_read(tmp_path: Path) -> None:
    labels, masks = cells(2), tmp_path / "masks"
    write_tiff(masks / "good.tif", np.ones(labels.shape, np.uint8), "YX")
    example = ExampleRun(tmp_path / "run", {"good": labels, "bad": labels})
    example.keys = {"DATA.TEST.IGNORE_PATH": str(masks)}
    run = example.write()
    assert set(open_results(run, Guard.of([tmp_path])).images.pairs) == {"bad", "good"}
    results = open_results(run, Guard.of([tmp_path / "run"]))
    assert set(results.images.pairs) == {"bad"}
    assert any("1 image not shown: outside the folders" in note for note in results.images.notes)


@pytest.mark.parametrize("link", ["per_image_instances/good.tif", "metrics.csv"])
def test_links_among_results_that_lead_outside_are_refused(
    made, tmp_path: Path, tmp_path_factory, link: str
) -> None:
    run, _ = made
    outside = tmp_path_factory.mktemp("outside") / "file"
    (run / link).rename(outside)
    (run / link).symlink_to(outside)
    with pytest.raises(UserError, match="outside"):
        open_results(run, Guard.of([tmp_path]))


def test_the_report_of_a_run_that_was_stopped_before_it_is_written(made, tmp_path: Path) -> None:
    run, _ = made
    guard = Guard.of([tmp_path])
    report = report_file(run, guard)
    assert report == run / "report.html"
    assert "Singula report" in report.read_text()
    report.write_text("written before")
    assert report_file(str(run), guard).read_text() == "written before"
    report.unlink()
    images = next(iter(open_images(open_run(run)).pairs.values())).image.parent
    outside = tmp_path / "runs"
    outside.mkdir()
    run = Path(shutil.copytree(run.parents[1], outside / "job")) / "results" / run.name
    assert not images.is_relative_to(outside)
    with pytest.raises(UserError) as error:
        report_file(run, Guard.of([outside]))
    assert error.value.code == "gui.outside"
    assert not (run / "report.html").exists()


def test_a_missing_file_and_a_folder_that_is_not_a_run(made, tmp_path: Path) -> None:
    run, _ = made
    guard = Guard.of([tmp_path])
    results = open_results(run, guard)
    (run / "per_image_instances" / "bad.tif").write_bytes(b"no picture")
    with pytest.raises(UserError, match="bad: the instances cannot be read"):
        _scene(results, "bad")
    with pytest.raises(UserError, match="not the folder of a finished run"):
        open_results(tmp_path / "data", guard)


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_thresholds_of_the_run_give_its_instances(
    demo_folder: Path, tmp_path: Path, ndim: int
) -> None:
    results, _ = opened(demo_folder, ndim)
    stage = results.run.stages[-1]
    retune = Retune(results, "image_000", stage)
    outcome = retune.decode({})
    stored = read_labels(results.run.instance_files(stage)["image_000"], ndim).array[..., 0]
    np.testing.assert_array_equal(outcome.labels, stored)
    values = {slider.key: slider.value for slider in retune.sliders}
    np.testing.assert_array_equal(retune.decode(values).labels, stored)
    assert outcome.scores[1].f1 == pytest.approx(results.score(stage, "image_000")["f1"])
    more = retune.decode({"DATA_MW_TH_CONTOUR": 0.9, "DATA_MW_TH_BINARY_MASK": 0.2})
    assert not np.array_equal(more.labels, stored)


def test_sliders_are_keys_with_an_effect(demo_folder: Path) -> None:
    results, _ = opened(demo_folder, 2)
    config = results.run.valid_config()
    keys = ["DATA_MW_TH_BINARY_MASK", "DATA_MW_TH_CONTOUR", "DATA_REMOVE_SMALL_OBJ_BEFORE"]
    assert keys_that_matter(config) == keys
    grown = config.replaced({"PROBLEM.INSTANCE_SEG.GROW_INTO_CONTOUR": False})
    assert keys_that_matter(grown) == [*keys[:2], "DATA_MW_TH_FOREGROUND", keys[2]]
    for slider in Retune(results, "image_000", results.run.stages[-1]).sliders:
        assert slider.low <= slider.value <= slider.high
        assert slider.source == "proposed"


@pytest.mark.parametrize("radius", [3.0, 20.0])
def test_the_slider_of_a_radius_has_the_range_of_the_search(radius: float) -> None:
    options = ["H.norm=False", "V.norm=False"]
    keys = {"DATA_CHANNELS": ["F", "H", "V"], "DATA_CHANNELS_EXTRA_OPTS": options}
    problem = {"NDIM": "2D", "INSTANCE_SEG": {**keys, TH_RADIUS: radius}}
    retune = object.__new__(Retune)
    retune.name = "image"
    retune.config = config_from_dict({"PROBLEM": problem, "TEST": {"ENABLE": True}})
    retune.maps = {name: np.full((8, 8), 30, np.float32) for name in "FHV"}
    test = SimpleNamespace(thresholds={}, threshold_sources={})
    retune.results = SimpleNamespace(run=SimpleNamespace(test=test))
    slider = next(slider for slider in retune.sliders if slider.key == TH_RADIUS)
    assert slider.value == radius
    assert slider.high == max(radius, THRESHOLDS["TH_CENTER_RADIUS"].search_range[1])


def test_missing_maps_are_reported(demo: Path) -> None:
    results, _ = opened(demo, 2)
    shutil.rmtree(results.run.tree.per_image)
    with pytest.raises(UserError) as error:
        Retune(results, "image_000", results.run.stages[-1])
    assert error.value.code == "runs.no_maps"


def test_the_command_line_accepts_saved_thresholds(demo: Path, tmp_path: Path) -> None:
    results, guard = opened(demo, 2)
    chosen = {"DATA_MW_TH_CONTOUR": 0.45, "DATA_REMOVE_SMALL_OBJ_BEFORE": 12.0}
    source = original_config(results, guard)
    config = results.run.valid_config()
    model = model_file(results, guard)
    for origin in (source, None):
        target = tmp_path / f"{origin is None}.yaml"
        save_configuration(origin, config, chosen, target, model)
        saved = load_config(target)
        problem = saved.PROBLEM.INSTANCE_SEG
        assert problem.DATA_MW_TH_TYPE == "manual"
        assert problem.DATA_MW_TH_CONTOUR == 0.45
        assert problem.DATA_REMOVE_SMALL_OBJ_BEFORE == 12
        # The file segments with this model: a new training would need other thresholds.
        assert not saved.TRAIN.ENABLE
        assert saved.TRAIN.EPOCHS == config.TRAIN.EPOCHS
        assert find_checkpoint(saved, ResultsTree(tmp_path / "other", "other", 1)) == model
        sources = resolve_sources(saved)
        assert sources["TH_CONTOUR"].source == sources["REMOVE_SMALL_OBJ"].source == "tuned"
        assert sources["TH_BINARY_MASK"].source == "generated"  # as the demo wrote it
        with pytest.raises(UserError) as error:
            save_configuration(origin, config, chosen, target, model)
        assert error.value.code == "gui.file_exists"


@pytest.mark.parametrize(
    "section",
    [
        "{TH_POINTS: 0.4, DATA_CHANNELS: BP}",
        "{DATA_REMOVE_SMALL_OBJ: 7}",
        "{WATERSHED: {DATA_REMOVE_SMALL_OBJ_BEFORE: 7}}",
    ],
)
def test_older_spellings_do_not_contradict_the_new_value(section: str, tmp_path: Path) -> None:
    source = tmp_path / "old.yaml"
    source.write_text(
        f"PROBLEM: {{INSTANCE_SEG: {section}}}\nTRAIN: {{ENABLE: True}}\n"
        "DATA: {TRAIN: {PATH: x, GT_PATH: y}, VAL: {FROM_TRAIN: True}}\n"
    )
    chosen = {"DATA_MW_TH_POINTS": 0.7, "DATA_REMOVE_SMALL_OBJ_BEFORE": 9}
    model = tmp_path / "model.pth"
    target = tmp_path / "new.yaml"
    save_configuration(source, load_config(source), chosen, target, model)
    saved = load_config(target)
    problem = saved.PROBLEM.INSTANCE_SEG
    assert problem.DATA_MW_TH_POINTS == 0.7
    assert problem.DATA_REMOVE_SMALL_OBJ_BEFORE == 9
    assert problem.DATA_REMOVE_BEFORE_MW is section.startswith("{DATA_REMOVE")
    sources = resolve_sources(saved)
    assert sources["TH_POINTS"].source == sources["REMOVE_SMALL_OBJ"].source == "tuned"


def test_thresholds_in_the_checkpoint_are_used_by_prediction(demo: Path) -> None:
    import singula

    results, guard = opened(demo, 2)
    name, stage = "image_000", results.run.stages[-1]
    chosen = {"DATA_MW_TH_CONTOUR": 0.9, "DATA_MW_TH_BINARY_MASK": 0.3}
    expected = Retune(results, name, stage).decode(chosen).labels
    path = save_in_checkpoint(results, chosen, guard)
    tuned = torch.load(path, weights_only=True)["singula"]["tuned"]["thresholds"]
    assert tuned["TH_CONTOUR"] == 0.9
    assert tuned["TH_TYPE"] == "manual"
    raw = read_image(demo / "2d" / "data" / "test" / "x" / f"{name}.tif", 2).array
    found = singula.load(results.run.tree.run).predict(raw[..., 0])
    assert abs(int(found.max()) - int(expected.max())) <= 2
    assert np.mean((found > 0) == (expected > 0)) > 0.98


@pytest.mark.parametrize("text", ["", "X:1", "DATA_MW_TH_CONTOUR", "DATA_MW_TH_CONTOUR:nan", "::,"])
def test_other_texts_in_the_address_are_ignored(text: str) -> None:
    assert values_from_text(text) == {}


def test_positions_of_sliders_are_restored_from_the_address() -> None:
    values = {"DATA_MW_TH_CONTOUR": 0.125, SMALL: 30.0}
    assert values_from_text(values_as_text(values)) == values
