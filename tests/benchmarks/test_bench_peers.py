"""The comparison with other programs measures, scores and tabulates correctly."""

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import peers  # noqa: E402
from peer_programs import process, programs, tables, worker  # noqa: E402
from peer_programs.workloads import Workload  # noqa: E402

# A program that takes every pixel above zero as one instance, in three ways.
WORKER = """
import sys
sys.path.insert(0, {folder!r})
from worker import by_image, measure, work

def start(job):
    def predict(image, number):
        if job.fail:
            raise ValueError("no memory")
        return image > 0
    return predict

work(predict=lambda job: measure(job, by_image(start)))
"""


def row(title, number, seconds, **values):
    return {
        "title": title, "round": number, "workload": "large", "images": "1 image", "pixels": 8e6,
        "work_cpu": seconds, "work_wall": seconds, "start_cpu": 1.0, "peak_mib": 10.0, **values,
    }  # fmt: skip


ROWS = [
    row("StarDist 0.9.2", 0, 4.0),
    row("StarDist 0.9.2", 1, 40.0),
    row("StarDist 0.9.2", 2, 4.0),
    row("Other", 0, 2.0),
    row("Other", 1, 20.0),
    row("Other", 2, 8.0),
    row("Another", 5, 8.0),
]


def cells(table):
    lines = [line for line in table.splitlines() if line.startswith("|")]
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    names = split[0]
    return {cells[0]: dict(zip(names, cells, strict=True)) for cells in split[2:]}


def test_ratio_compares_equal_rounds():
    found = cells(tables.speed_table(ROWS, "large"))
    assert found["StarDist 0.9.2"]["× StarDist"] == "1.00"
    assert found["Other"]["× StarDist"] == "2.00"  # of 2, 2 and 0.5; the medians would give 0.5
    assert found["Another"]["× StarDist"] == "–"
    assert found["Other"]["Mpixel per CPU s"] == "1.00"


def test_a_program_with_fewer_pixels_is_named_with_its_images():
    piece = row("Slow", 0, 4.0) | {"images": "1 piece", "pixels": 2e6}
    table = tables.speed_table([piece, *ROWS], "large")
    assert table.startswith("## 1 image\n")
    found = cells(table)["Slow (1 piece)"]
    assert found["Mpixel per CPU s"] == "0.50"
    assert found["× StarDist"] == "0.25"
    assert "Other" in cells(table)


def test_other_workloads_are_left_out():
    assert tables.speed_table(ROWS, "small") == ""


def test_scores_appear_only_for_the_test_images():
    scores = dict.fromkeys(tables.SCORES, 0.5)
    assert tables.accuracy_table([row("Other", 0, 1.0, scores=scores)]) == ""
    table = tables.accuracy_table([row("Other", 0, 1.0, scores=scores) | {"workload": "test"}])
    assert cells(table)["Other"]["pooled 0.75"] == "0.500"


def test_accuracy_has_the_time_of_training_and_of_an_image():
    scores = dict.fromkeys(tables.SCORES, 0.5)
    trained = row("Other", 0, 8.0, scores=scores, count=4, training_cpu=1200.0)
    untrained = row("Random", 0, 2.0, count=4)
    table = cells(
        tables.accuracy_table(each | {"workload": "test"} for each in (trained, untrained))
    )
    assert table["Other"]["training (CPU min)"] == "20.0"
    assert table["Other"]["CPU s per image"] == "2.000"
    assert table["Random"]["mean 0.5"] == table["Random"]["training (CPU min)"] == "–"
    assert table["Random"]["CPU s per image"] == "0.500"


def test_built_in_model_needs_no_training(tmp_path):
    arguments = argparse.Namespace(
        work=tmp_path, configurations=["init", "nuclei"], variants=["default"], threads=1,
        nuclei_minutes=5,
    )  # fmt: skip
    (entry,) = peers.singula_entries(arguments, Workload("", 2, [], [], 0))
    assert entry.options["model"] == "nuclei"
    assert entry.training_cpu == 300


def test_plot_separates_programs_without_scores(tmp_path):
    scores = {"mean 0.5": 0.9, "mean 0.75": 0.8}
    trained = row("Other", 0, 1.0, scores=scores, trained=True) | {"workload": "test"}
    tables.plot([*ROWS, trained], tmp_path / "peers.png")
    assert (tmp_path / "peers.png").stat().st_size > 1000


def test_a_measurement_replaces_that_of_the_same_round(tmp_path):
    results = peers.Results(tmp_path / "results.json")
    for seconds in (3.0, 5.0):
        results.add(row("Other", 0, seconds) | {"threads": 1})
    results.add(row("Other", 1, 7.0) | {"threads": 1})
    again = peers.Results(tmp_path / "results.json")
    assert [each["work_cpu"] for each in again.rows] == [5.0, 7.0]


def test_tables_replace_those_of_the_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{peers.BEGIN}\nold\n{peers.END}\nafter")
    peers.insert("new", page)
    assert page.read_text() == f"before\n{peers.BEGIN}\n\nnew\n\n{peers.END}\nafter"


def write_images(folder, *arrays):
    folder.mkdir()
    for number, array in enumerate(arrays):
        tifffile.imwrite(folder / f"{number}.tif", array)
    return [folder / f"{number}.tif" for number in range(len(arrays))]


def test_scores_count_objects_and_images(tmp_path):
    one = np.zeros((8, 8), np.int32)
    one[1:4, 1:4] = 1
    two = one.copy()
    two[5:8, 5:8] = 2
    labels = write_images(tmp_path / "label", one, two)
    write_images(tmp_path / "found", one, one)
    workload = Workload("", 2, labels, labels, 128)
    found = peers.scores(workload, tmp_path / "found")
    assert found["mean 0.5"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["pooled 0.5"] == pytest.approx(4 / 5)


@pytest.fixture
def program(tmp_path, monkeypatch):
    pytest.importorskip("psutil")
    script = tmp_path / "worker_of_test.py"
    script.write_text(WORKER.format(folder=str(BENCHMARKS / "peer_programs")))
    values = programs.Program("Test", (), str(script), (2,))
    monkeypatch.setitem(programs.PROGRAMS, "test", values)
    image = np.zeros((6, 6), np.uint8)
    image[2:4] = 7
    (path,) = write_images(tmp_path / "raw", image)
    return {
        "do": "predict", "images": [str(path)], "output": str(tmp_path / "out"), "threads": 1,
        "fail": False,
    }  # fmt: skip


def test_worker_writes_labels_and_reports_times(program, tmp_path):
    found = process.run_worker(tmp_path, "test", program)
    assert tifffile.imread(tmp_path / "out" / "0.tif").sum() == 12
    assert found["instances"] == 1
    assert found["cpu"] >= found["start_cpu"] + found["work_cpu"] > 0
    assert found["wall"] >= found["start_wall"] + found["work_wall"] > 0


def test_failed_worker_reports_its_output(program, tmp_path):
    with pytest.raises(process.WorkerError, match="no memory"):
        process.run_worker(tmp_path, "test", {**program, "fail": True})


def test_clock_excludes_pauses(monkeypatch):
    times = iter(np.array([[0, 0], [1, 1], [4, 3], [5, 4]], float))
    monkeypatch.setattr(worker, "seconds", lambda: next(times))
    clock = worker.Clock()
    with clock.part("network"), clock.paused():
        pass
    assert clock.parts() == {"network": 2.0}  # 4 CPU seconds without the 2 of the pause


def test_ideal_maps_come_from_the_folder_of_the_job(tmp_path):
    job = worker.Job({"maps": str(tmp_path), "images": ["x/cell.tif"]})
    worker.store(job, "elsewhere/cell.tif", "flows", np.arange(3))
    assert job.ideal(0, "flows").tolist() == [0, 1, 2]
