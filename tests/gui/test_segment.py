"""Predictions with built-in models that the interface starts, and their results."""

from __future__ import annotations

import asyncio
import csv
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from example_run import ExampleRun, cells
from prediction_folder import LABELS as OBJECTS
from prediction_folder import write_prediction

from singula.errors import UserError
from singula.gui.guard import Guard
from singula.io.record_files import write_record
from singula.io.records.results import StartedPrediction
from singula.io.run_folder import ResultsTree
from singula.io.write import write_csv, write_tiff
from singula.zoo.models import built_in_models

pytest.importorskip(
    "psutil", reason="no test of processes: `pip install 'singula[gui]'` is missing"
)

from singula.gui import processes as module
from singula.gui import segment
from singula.gui.control import Control
from singula.gui.job_queue import Queue
from singula.gui.overview import has_no_objects, joined_table, summarize_images
from singula.gui.run_search import search_runs
from singula.gui.segment import open_segmentation
from singula.gui.segment_models import checked_model, model_choices, model_name, run_choices
from singula.gui.segment_process import (
    OUTPUT,
    PREDICTION,
    RECORD,
    SegmentView,
    propose_images,
    propose_output,
    read_prediction,
    resume_segmentation,
    start_segmentation,
    stop_segmentation,
    view_segmentation,
)

BEGIN = "import signal, sys, time; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
IMAGE = np.arange(48, dtype=np.uint8).reshape(6, 8)
LABELS = np.kron(np.array([[1, 0], [0, 2]], np.uint16), np.ones((3, 4), np.uint16))


@pytest.fixture
def guard(tmp_path: Path) -> Guard:
    """Return a guard of a folder with two images."""
    for name in ("a", "b"):
        write_tiff(tmp_path / "root" / "in" / f"{name}.tif", IMAGE, "YX")
    return Guard.of([tmp_path / "root"])


def queue(guard: Guard) -> Queue:
    return Control(guard, [PREDICTION]).queue


def start(guard: Guard, **changes: str) -> Path:
    values = {"images": "in", "output": "out", "model": "", **changes}
    return start_segmentation(guard, queue(guard), **values)  # type: ignore[arg-type]


def until(guard: Guard, folder: Path, is_reached: Callable[[SegmentView], bool]) -> None:
    for _ in range(1200):
        view = view_segmentation(folder, read_prediction(guard, folder))
        if is_reached(view):
            return
        time.sleep(0.1)
    raise AssertionError(view)


def finished(guard: Guard, log: str = "", **changes: object) -> Path:
    """Write the files of a prediction that has ended, and return its folder."""
    folder = guard.home / "out"
    folder.mkdir(exist_ok=True)
    values = {"pid": 2**31 - 1, "created": 1, "began": 1, "images": str(guard.home / "in")}
    write_record(folder / RECORD, StartedPrediction.model_validate({**values, **changes}))
    (folder / OUTPUT).write_text(log)
    return folder


def test_the_command_is_that_of_the_terminal(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PROGRAM", BEGIN + "print(sys.argv[1:], '[1/4] a', sep='\\n')")
    folder = start(guard, model="nuclei", channel=" -1 ")
    until(guard, folder, lambda view: view.state == "failed" and bool(view.log))
    words = ["predict", "--output", str(folder), str(guard.home / "in"), "--model=nuclei",
             "--channel=-1"]  # fmt: skip
    log = view_segmentation(folder, read_prediction(guard, folder)).log
    assert log.splitlines()[0] == str(words)
    assert search_runs(guard).predictions == [folder]
    resume_segmentation(guard, queue(guard), folder)
    until(guard, folder, lambda view: "--resume" in view.log)


def test_progress_stop_and_kill(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    program = "print('[1/4] a.tif: 3 instances', flush=True)\ntime.sleep(100)"
    monkeypatch.setattr(module, "_PROGRAM", BEGIN + program)
    folder = start(guard)
    until(guard, folder, lambda view: view.share == 0.25)
    with pytest.raises(UserError) as error:  # its files are in the folder
        start(guard)
    assert error.value.code == "gui.output_not_empty"
    stop_segmentation(folder)
    until(guard, folder, lambda view: view.state == "stopped")


@pytest.mark.parametrize(
    ("log", "stopped", "state", "error"),
    [
        ("[2/2] b.tif: 3 instances\n2 of 2 images: out\n", False, "finished", None),
        (
            "[1000/1000] b.tif: 3 instances\n1000 of 1\u202f000 images: out\n",
            False,
            "finished",
            None,
        ),
        ("1 of 2 images: out\nerror: 1 of 2 images failed\n", False, "incomplete", "1 of 2"),
        ("0 of 2 images: out\nerror: no model\n", False, "failed", "no model"),
        ("error: no model\n  → give a model\n", False, "failed", "give a model"),
        ("[1/2] a.tif: 3 instances\n", True, "stopped", None),
    ],
)
def test_the_state_follows_from_the_log(
    guard: Guard, log: str, stopped: bool, state: str, error: str | None
) -> None:
    folder = finished(guard, log, stopped=stopped)
    view = view_segmentation(folder, read_prediction(guard, folder))
    assert view.state == state
    assert (view.error is None) == (error is None)
    assert error is None or error in (view.error or "")


def test_a_prediction_is_not_continued_twice(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PROGRAM", BEGIN + "print('up', flush=True)\ntime.sleep(100)")
    folder = start(guard)
    until(guard, folder, lambda view: "up" in view.log)
    with pytest.raises(UserError) as error:
        resume_segmentation(guard, queue(guard), folder)
    assert error.value.code == "run.locked"
    stop_segmentation(folder)
    until(guard, folder, lambda view: view.state == "stopped")


def test_a_record_cannot_name_a_model_outside(guard: Guard, tmp_path: Path) -> None:
    (tmp_path / "secret.pth").write_text("weights")
    folder = finished(guard, model=str(tmp_path / "secret.pth"))
    with pytest.raises(UserError) as error:
        resume_segmentation(guard, queue(guard), folder)
    assert error.value.code == "gui.outside"


def test_files_of_the_user_are_not_replaced(guard: Guard) -> None:
    mine = guard.home / "out" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    (guard.home / "file").write_text("mine")
    for output in ("out", "in", "file"):
        with pytest.raises(UserError) as error:
            start(guard, output=output)
        assert error.value.code == "gui.output_not_empty"
    assert [path.name for path in mine.parent.iterdir()] == ["mine.txt"]
    proposed = propose_output(guard, "in")
    assert not (guard.home / proposed).exists()
    (guard.home / proposed).mkdir()
    assert propose_output(guard, "in") not in (proposed, "out")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"images": ""}, "gui.no_images"),
        ({"output": " "}, "gui.no_output"),
        ({"model": "cats"}, "gui.unknown_model"),
        ({"images": "/etc"}, "gui.outside"),
        ({"output": "../out"}, "gui.outside"),
        ({"images": "nowhere"}, "paths.missing"),
        ({"images": "empty"}, "data.empty_folder"),
        ({"images": "links"}, "gui.outside"),
    ],
)
def test_wrong_inputs_are_refused(
    guard: Guard, tmp_path: Path, changes: dict[str, str], code: str
) -> None:
    for name in ("empty", "links"):
        (guard.home / name).mkdir()
    write_tiff(tmp_path / "secret.tif", IMAGE, "YX")
    (guard.home / "links" / "a.tif").symlink_to(tmp_path / "secret.tif")
    with pytest.raises(UserError) as error:
        start(guard, **changes)
    assert error.value.code == code
    assert not (guard.home / "out").exists()


def test_the_list_of_models_begins_with_the_automatic_choice() -> None:
    assert list(model_choices()) == ["", *built_in_models()]


def test_results_are_shown_with_their_images(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = finished(guard)
    for name in ("a", "b"):
        write_tiff(folder / f"{name}.tif", LABELS, "YX")
        write_csv(folder / f"{name}_stats.csv", [{"label": 1}])
    opened = open_segmentation(guard, folder)
    assert list(opened.sources) == ["a", "b"]
    scene, instances = opened.read("a")
    np.testing.assert_array_equal(instances.labels, LABELS)
    np.testing.assert_array_equal(scene.labels["instances"], LABELS)
    assert scene.raw is not None
    np.testing.assert_array_equal(scene.raw[..., 0], IMAGE)
    assert opened.table_file("a").is_file()
    os.remove(guard.home / "in" / "a.tif")
    assert opened.read("a")[0].raw is None
    assert "moved or changed" in opened.notes[0]
    write_tiff(guard.home / "in" / "b.tif", IMAGE[:4], "YX")
    assert opened.read("b")[0].raw is None
    monkeypatch.setattr(segment, "_MAX_PIXELS", 40)
    with pytest.raises(UserError) as error:
        opened.read("b")
    assert error.value.code == "gui.too_large"


def test_other_folders_have_no_results(guard: Guard) -> None:
    with pytest.raises(UserError) as error:
        read_prediction(guard, "in")
    assert error.value.code == "gui.not_segmented"
    (guard.home / "in" / RECORD).write_text("{")
    with pytest.raises(UserError) as error:
        open_segmentation(guard, guard.home / "in")
    assert error.value.code == "gui.not_segmented"


def test_a_run_is_a_model(guard: Guard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_PROGRAM", BEGIN + "print(sys.argv[1:])")
    run = ExampleRun(guard.home, {"a": cells(2)}, keys={"TEST.ENABLE": True}).write()
    with pytest.raises(UserError) as error:  # no checkpoint
        start(guard, model=str(run))
    assert error.value.code == "gui.unknown_model"
    assert run_choices(guard) == {}
    checkpoint = ResultsTree.of_run(run).checkpoint_best
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_text("weights")
    assert list(run_choices(guard)) == [str(run)]
    assert run_choices(guard)[str(run)] == "Your model: job_1, F1 1.000"
    folder = start(guard, model=str(run))
    until(guard, folder, lambda view: f"--model={run}" in view.log)
    assert model_name(guard, read_prediction(guard, folder).model) == "job_1"
    outside = tmp_path / "secret.pth"
    outside.write_text("weights")
    checkpoint.unlink()
    checkpoint.symlink_to(outside)
    for model in (str(run), str(outside), "../secret.pth"):
        with pytest.raises(UserError) as error:
            checked_model(guard, model)
        assert error.value.code == "gui.outside"


def test_the_overview_counts_and_joins_all_tables(guard: Guard) -> None:
    folder = finished(guard)
    for name, sizes in (("a", [10, 30, 20]), ("b", [])):
        write_tiff(folder / f"{name}.tif", LABELS, "YX")
        rows = [{"label": i + 1, "npixels": size} for i, size in enumerate(sizes)]
        if rows:
            write_csv(folder / f"{name}_stats.csv", rows)
        else:
            (folder / f"{name}_stats.csv").write_text("label,npixels\n")
    tables = open_segmentation(guard, folder).tables()
    summaries = summarize_images(tables)
    assert [(s.name, s.objects, s.size) for s in summaries] == [("a", 3, 20.0), ("b", 0, None)]
    assert not has_no_objects(summaries)
    assert has_no_objects(summaries[1:])
    assert not has_no_objects([])
    lines = joined_table(tables).splitlines()
    assert lines[:2] == ["image,label,npixels", "a,1,10"]
    assert len(lines) == 4
    os.remove(folder / "b_stats.csv")
    assert [s.objects for s in summarize_images(tables)] == [3, None]


def test_all_earlier_results_are_listed_in_pages(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nicegui", reason="no test of pages: `singula[gui]` is missing")
    from nicegui import ElementFilter, ui
    from simulated import simulated_user

    from singula.gui import run_search
    from singula.gui.pages import segment as page
    from singula.gui.state import AppContext

    values = {"pid": 2**31 - 1, "created": 1, "began": 1, "images": str(guard.home / "in")}
    for number in range(45):
        record = StartedPrediction.model_validate(values)
        write_record(guard.home / f"out_{number}" / RECORD, record)

    async def listed() -> list[int]:
        """Return the number of results after each click, and the number of notices."""
        counts: list[int] = []
        async with simulated_user() as user:
            page.add(AppContext(guard))
            client = await user.open("/segment")
            for _ in range(600):
                await asyncio.sleep(0.1)
                with client:
                    links = [
                        str(link.props.get("href", "")) for link in ElementFilter(kind=ui.link)
                    ]
                    more = [
                        button
                        for button in ElementFilter(kind=ui.button)
                        if button.text.startswith("Show") and button.visible
                    ]
                    notices = [
                        label for label in ElementFilter(kind=ui.label) if "--root" in label.text
                    ]
                count = sum("out_" in link for link in links)
                if count == (counts[-1] if counts else 0):
                    continue  # the results are listed in a thread
                counts.append(count)
                if not more:
                    return [*counts, len(notices)]
                user.find(more[0].text).click()
        return counts

    assert asyncio.run(listed()) == [20, 40, 45, 0]
    monkeypatch.setattr(run_search, "MAX_FOLDERS", 12)
    assert asyncio.run(listed())[-1] == 1


def corrected(guard: Guard) -> Path:
    """Delete an object of the first of two segmented images, and return their folder."""
    from singula.gui.correct import open_correctable

    folder = write_prediction(guard.home)
    for file in (folder / "a.tif", folder / "a_stats.csv", guard.home / "in" / "a.tif"):
        shutil.copyfile(file, file.with_name(file.name.replace("a", "b", 1)))
    work = open_correctable(guard, folder).read("a")
    work.selected = 2
    work.delete()
    work.save()
    return folder


def test_corrected_objects_replace_the_predicted_ones(guard: Guard) -> None:
    folder = corrected(guard)
    opened = open_segmentation(guard, folder)
    expected = np.where(OBJECTS == 2, 0, OBJECTS)
    for objects, labels in (("predicted", OBJECTS), ("corrected", expected)):
        scene, instances = opened.read("a", objects)
        np.testing.assert_array_equal(scene.labels["instances"], labels)
        np.testing.assert_array_equal(instances.labels, labels)
    sizes = opened.corrected_sizes()
    assert sizes == {"a": [64.0, 240.0]}
    tables = opened.tables()
    assert [s.objects for s in summarize_images(tables, sizes)] == [2, 3]
    text = joined_table(tables, opened.corrected_rows(tables))
    rows = list(csv.DictReader(text.splitlines()))
    assert [(row["image"], row["objects"], row["label"]) for row in rows] == [
        ("a", "corrected", "1"), ("a", "corrected", "3"),
        *(("b", "predicted", label) for label in "123"),
    ]  # fmt: skip
    assert [float(row["intensity_mean"]) for row in rows[:2]] == [90.0, 90.0]
    assert [row["confidence"] for row in rows] == ["0.9", "0.6", "0.9", "0.4", "0.6"]
    write_tiff(folder / "a.tif", np.roll(OBJECTS, 1, 0), "YX")  # predicted again
    assert opened.corrected_sizes() == {}
    np.testing.assert_array_equal(opened.read("a", "corrected")[1].labels, np.roll(OBJECTS, 1, 0))
    assert "earlier prediction" in opened.notes[-1]


def test_the_page_shows_corrected_objects_first(guard: Guard) -> None:
    pytest.importorskip("nicegui", reason="no test of pages: `singula[gui]` is missing")
    from nicegui import ElementFilter, ui
    from simulated import simulated_user

    from singula.gui.pages import segment as page
    from singula.gui.pages.object_table import ObjectGrid
    from singula.gui.state import AppContext

    folder = corrected(guard)
    (folder / OUTPUT).write_text("2 of 2 images: out\n")

    async def story() -> None:
        async with simulated_user() as user:
            page.add(AppContext(guard))
            client = await user.open(f"/segment?run={folder}")

            async def until_rows(*lengths: int) -> None:
                """Wait for the numbers of rows: of all images, and of the shown one."""
                for _ in range(600):
                    await asyncio.sleep(0.05)
                    with client:
                        grids = list(ElementFilter(kind=ObjectGrid))
                    if [len(grid.props.get("rows", [])) for grid in grids] == list(lengths):
                        return
                raise AssertionError(lengths)

            def overview() -> list[int]:
                with client:
                    grid = next(iter(ElementFilter(kind=ObjectGrid)))
                return [row[1] for row in grid.props["rows"]]

            def choice(label: str) -> ui.select:
                with client:
                    boxes = list(ElementFilter(kind=ui.select))
                return next(box for box in boxes if box.props.get("label") == label)

            await until_rows(2, 2)
            assert overview() == [2, 3]
            assert choice("Show").visible
            with client:
                choice("Show").set_value("predicted")
            await until_rows(2, 3)
            assert overview() == [3, 3]
            with client:
                choice("Show").set_value("corrected")
            await until_rows(2, 2)
            with client:
                choice("Image").set_value("b")
            await until_rows(2, 3)

    asyncio.run(story())


def test_other_images_are_segmented_with_the_same_model(guard: Guard) -> None:
    pytest.importorskip("nicegui", reason="no test of pages: `singula[gui]` is missing")
    from nicegui import ElementFilter, ui
    from simulated import simulated_user

    from singula.gui.pages import segment as page
    from singula.gui.state import AppContext

    run = ExampleRun(guard.home, {"a": cells(2)}, keys={"TEST.ENABLE": True}).write()
    checkpoint = ResultsTree.of_run(run).checkpoint_best
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_text("weights")

    async def form(model: str) -> tuple[str, str]:
        """Follow the link of a prediction; return the chosen model and the proposed images."""
        folder = finished(guard, model=model, images=str(guard.home / "in" / "a.tif"))
        async with simulated_user() as user:
            page.add(AppContext(guard))
            client = await user.open(f"/segment?run={folder}")
            with client:
                (link,) = (
                    each
                    for each in ElementFilter(kind=ui.link)
                    if each.text == "Segment other images"
                )
            client = await user.open(str(link.props["href"]))
            for _ in range(600):
                await asyncio.sleep(0.05)
                with client:
                    box = next(iter(ElementFilter(kind=ui.select)))
                    images = next(iter(ElementFilter(kind=ui.input)))
                if str(run) in box.options:  # the runs were read
                    return str(box.value), str(images.value)
        raise AssertionError(box.options)

    for model in ("", "nuclei", str(run)):
        assert asyncio.run(form(model)) == (model, "in")


def test_the_proposed_folder_of_other_images_is_inside_of_the_roots(
    guard: Guard, tmp_path: Path
) -> None:
    (guard.home / "a" / "b").mkdir(parents=True)
    assert propose_images(guard, guard.home / "in" / "a.tif") == "in"
    assert propose_images(guard, guard.home / "a" / "b") == "a"
    # The browser for paths begins in the root without a proposal.
    for images in (guard.home / "in", guard.home, tmp_path / "a" / "b", guard.home / "gone" / "b"):
        assert propose_images(guard, images) == ""
