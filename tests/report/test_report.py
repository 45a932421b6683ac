"""The report of runs whose files are written by the test."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from example_run import ExampleRun, Page, cells, change_summary, without
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from singula import cli
from singula.errors import UserError
from singula.io.run_folder import ResultsTree
from singula.io.written import RECORD
from singula.pipeline import run as run_module
from singula.report.build import build_report
from singula.report.figures import Series, line_chart, log_ticks, ticks
from singula.report.image_sections import select_images
from singula.report.pictures import data_uri

FLAT = cells(2)
MERGED = np.where(np.isin(FLAT, (1, 2)), 1, FLAT)
MERGED[2:10, 10:14] = 1  # 1 and 2 joined over the gap
CUT = FLAT.copy()
CUT[2:6][CUT[2:6] == 3] = 99  # 3 in two halves
PREDICTIONS = {
    "good": FLAT,
    "poor": without(FLAT, *range(5, 17)),
    "fair": MERGED,
    "cut": CUT,
    "worst": FLAT * 0,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = ExampleRun(tmp_path_factory.mktemp("run"), PREDICTIONS).write()
    build_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    return Page(run / "report.html")


def page_of(made: ExampleRun) -> Page:
    return Page(build_report(made.write()))


def test_the_page_is_self_contained(page: Page) -> None:
    assert not page.all("script")
    assert not page.all("link")
    anchors = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    for attributes in page.all("a"):
        assert attributes["href"][0] == "#"
        assert attributes["href"][1:] in anchors
    assert "url(" not in page.source
    assert "@import" not in page.source
    assert "http" not in page.source
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_picture_is_in_the_page_and_described(page: Page) -> None:
    pictures = page.all("img")
    # Image, truth, instances and compared of the three worst and, beside the median, one more.
    assert len(pictures) == 4 * 4
    for attributes in pictures:
        head, _, content = attributes["src"].partition(";base64,")
        assert head in ("data:image/png", "data:image/jpeg")
        with Image.open(io.BytesIO(base64.b64decode(content, validate=True))) as picture:
            picture.load()
            assert picture.size == (int(attributes["width"]), int(attributes["height"]))
        assert len(attributes["alt"]) > 5
    for attributes in page.all("svg"):
        assert attributes.get("aria-hidden") == "true" or len(attributes["aria-label"]) > 10


def test_tables_have_heads_and_captions(page: Page) -> None:
    assert len(page.tables) == len(page.all("table"))
    assert all(page.tables), "a table without caption"
    assert {attributes.get("scope") for attributes in page.all("th")} <= {"col", "row", "colgroup"}
    for rows in page.tables.values():
        assert len({len(row) for row in rows}) == 1


def test_scores_are_those_of_the_metrics_table(run: Path, page: Page) -> None:
    metrics = pd.read_csv(run / "metrics.csv")
    heads = {
        "Precision": "precision",
        "Recall": "recall",
        "F1": "f1",
        "Accuracy": "accuracy",
        "PQ": "panoptic_quality",
        "Matched IoU": "mean_matched_score",
    }
    counts = {"In your labels": "n_true", "Found": "n_pred", "Matched": "tp", "Missed": "fn"}
    for caption, name in (
        ("Pooled over objects", "pooled over objects"),
        ("Mean over images", "mean over images"),
    ):
        own = metrics[metrics.image == name].set_index("threshold")
        thresholds = [float(t) for t in page.column(caption, "IoU ≥")]
        assert thresholds == list(own.index)
        columns = heads if caption.startswith("Mean") else {**heads, **counts}
        for head, column in columns.items():
            assert [float(v) for v in page.column(caption, head)] == list(own[column])
    at_half = metrics[(metrics.threshold == 0.5)].set_index("image")
    assert f"{at_half.f1['pooled over objects']:.3f}" in page.words
    for image, f1, pq, missed in zip(
        *(page.column("Images", h) for h in ("Image", "F1 at 0.5", "PQ at 0.5", "Missed")),
        strict=True,
    ):
        assert float(f1) == at_half.f1[image]
        assert float(pq) == at_half.panoptic_quality[image]
        assert int(missed) == at_half.fn[image]


def test_images_are_sorted_worst_first(page: Page) -> None:
    assert page.column("Images", "Image") == ["worst", "poor", "fair", "cut", "good"]
    order = [page.words.index(w) for w in ("Worst: worst", "Second worst: poor", "cut", "good")]
    assert order[:2] == sorted(order[:2])


def test_selected_images() -> None:
    names = [f"i{n}" for n in range(20)]
    assert list(select_images(names, True)) == ["i0", "i1", "i2", "i10", "i9", "i11"]
    assert select_images(names, True)["i10"] == "Median"
    assert select_images(names[:4], True)["i2"] == "Third worst, median"
    assert select_images(names[:1], True) == {"i0": "Worst"}
    assert select_images([], True) == {}
    assert select_images(names, False)["i19"] == "Most objects"


def test_splits_and_merges_are_counted(page: Page) -> None:
    rows = dict(zip(page.column("Images", "Image"), page.column("Images", "Split"), strict=True))
    assert rows == {"worst": "0", "poor": "0", "fair": "0", "cut": "1", "good": "0"}
    rows = dict(zip(page.column("Images", "Image"), page.column("Images", "Merging"), strict=True))
    assert rows == {"worst": "0", "poor": "0", "fair": "1", "cut": "0", "good": "0"}
    assert page.tables["All test images"][1] == ["All", "80", "1", "52", "1"]


def test_sizes_curves_thresholds_and_costs_are_shown(page: Page) -> None:
    sizes = page.tables["Percentiles over all objects"]
    assert ["Size", "your labels", "64", "64", "64"] in sizes
    assert ["Diameter", "found", "8", "8", "8"] in sizes
    assert "training ends at 0.2, validation ends at 0.24" in " ".join(
        attributes.get("aria-label", "") for attributes in page.all("svg")
    )
    # P is no channel of BC, so its threshold was not used.
    used = page.tables["Over the test images"]
    assert [row[0] for row in used] == ["Threshold", "TH_CONTOUR"]
    assert [row[2] for row in used] == ["Set by", "singula tune"]
    costs = page.tables["Stages of the run; indented stages are part of the test"]
    assert ["Training", "3700.0", "1.46 GiB"] in costs
    assert "2.00 GiB" in page.words
    keys = page.tables["All keys with their values, including defaults"]
    assert ["DATA.PATCH_SIZE", "[16, 16, 1]"] in keys


def test_a_run_without_truth_and_training(tmp_path: Path) -> None:
    made = ExampleRun(tmp_path, PREDICTIONS, truth=False, training=False)
    page = page_of(made)
    assert "no scores" in page.words
    assert "F1" not in page.words
    assert page.column("Images", "Image") == ["worst", "poor", "fair", "good", "cut"]
    assert page.column("Images", "Found") == ["0", "4", "15", "16", "17"]
    assert not any(name.startswith("Loss") for name in page.words.split("·"))
    assert "Training" not in [row[0] for rows in page.tables.values() for row in rows[:1]]
    assert len(page.all("img")) == 5 * 2  # image and instances
    # A table of scores that an earlier run left is not this run's.
    (made.run / "metrics.csv").write_text("view,image,threshold,f1\nper_image,good,0.5,0.9\n")
    assert "0.900" not in Page(build_report(made.run)).words


def test_a_run_that_only_trained(tmp_path: Path) -> None:
    run = ExampleRun(tmp_path, {"a": FLAT}).write()
    for path in run.rglob("*.tif"):
        path.unlink()
    (run / "metrics.csv").unlink()
    change_summary(run, test=None)
    page = Page(build_report(run))
    assert "tested no images" in page.words
    assert len(page.all("svg")) > 2
    assert not page.all("img")


def test_volumes_show_their_fullest_slice(tmp_path: Path) -> None:
    labels = cells(3)
    page = page_of(ExampleRun(tmp_path, {"a": labels, "b": without(labels, 1, 2)}))
    assert page.words.count("Slice 2 of 4") == 2
    assert ["Size", "your labels", "128", "192", "192"] in page.tables[
        "Percentiles over all objects"
    ]
    assert "Sphericity" in page.words
    assert len(page.all("img")) == 2 * 4


def test_classes_are_counted_and_scored(tmp_path: Path) -> None:
    made = ExampleRun(tmp_path, {"a": without(FLAT, 1, 3), "b": FLAT}, classes=True)
    page = page_of(made)
    assert page.tables["Objects of each class"][1:] == [
        ["class\u00a01", "16", "14"],
        ["class\u00a02", "16", "16"],
    ]
    caption = "Scores of each class, pooled over objects"
    assert page.column(caption, "Missed") == ["2"] * 3 + ["0"] * 3
    # The scores of classes do not replace the scores of all objects.
    assert page.column("Pooled over objects", "Missed") == ["2"] * 3


def test_post_processed_instances_are_compared_with_decoded(tmp_path: Path) -> None:
    noisy = FLAT.copy()
    noisy[0, 0] = 77
    made = ExampleRun(tmp_path, {"a": noisy, "b": FLAT}, post={"a": FLAT, "b": without(FLAT, 1)})
    page = page_of(made)
    table = page.tables["Pooled over objects"]
    assert [row[:2] for row in table[1:3]] == [["0.3", "as decoded"], ["0.3", "post-processed"]]
    assert page.column("Pooled over objects", "False") == ["1", "0"] * 3
    assert page.column("Images, post-processed", "Image") == ["b", "a"]
    before = page.column("Images, post-processed", "F1 at 0.5, as decoded")
    assert [float(v) for v in before] == [1.0, pytest.approx(32 / 33)]
    assert [row[0] for row in page.tables["All test images"][1:]] == [
        "As decoded",
        "Post-processed",
    ]
    assert len(page.all("img")) == 2 * 5
    # Files that an earlier run left are not shown as this run's result.
    change_summary(
        made.run,
        configuration={**made._summary()["configuration"], "TEST.POST_PROCESSING.CLEAR_BORDER": 0},
    )
    rows = pd.read_csv(made.run / "metrics.csv")
    rows[rows["view"] == "per_image"].to_csv(made.run / "metrics.csv", index=False)
    assert "post-processed" not in Page(build_report(made.run)).words


EVIL = """<script>alert(1)</script>&amp; "quoted' <img src=x>"""


def test_names_are_escaped(tmp_path: Path) -> None:
    name = EVIL.replace("/", "∕")
    made = ExampleRun(tmp_path, {name: FLAT, "007": MERGED, "nan": CUT}, job="a<b>&c_1")
    page = page_of(made)
    assert not page.all("script")
    assert set(page.column("Images", "Image")) == {name, "007", "nan"}
    assert "a<b>&c_1" in page.words
    assert len(page.all("img")) == 3 * 4
    assert any(name in attributes["alt"] for attributes in page.all("img"))


def test_missing_and_damaged_images_are_noted(tmp_path: Path) -> None:
    folder = tmp_path / "my cells"
    made = ExampleRun(folder, {"a": FLAT, "b": MERGED, "c": CUT})
    run = made.write()
    (folder / "data" / "y" / "a.tif").write_bytes(b"no picture")
    page = Page(build_report(run))
    assert "a.tif: cannot be read" in page.words
    assert len(page.all("img")) == 4 + 4 + 2
    (folder / "data").rename(folder / "elsewhere")
    page = Page(build_report(run))
    assert "was not found" in page.words
    assert f"singula report '{run}'" in page.words
    assert len(page.all("img")) == 3
    assert page.column("Images", "Image") == ["b", "c", "a"]


def test_a_moved_job_is_found_with_its_images(tmp_path: Path, monkeypatch) -> None:
    made = ExampleRun(tmp_path / "old", {"a": FLAT})
    made.keys = {"DATA.TEST.PATH": "data/x", "DATA.TEST.GT_PATH": "data/y"}
    made.write()
    (tmp_path / "old").rename(tmp_path / "new")
    monkeypatch.chdir("/")
    page = Page(build_report(tmp_path / "new" / "job" / "results" / "job_1"))
    assert len(page.all("img")) == 4


def test_a_folder_that_is_not_a_run_is_refused(tmp_path: Path, capsys, monkeypatch) -> None:
    with pytest.raises(UserError, match="nothing") as refused:
        build_report(tmp_path / "nothing")
    assert refused.value.code == "runs.not_a_run"
    with pytest.raises(UserError, match=r"no run\.json") as refused:
        build_report(tmp_path)
    assert refused.value.code == "runs.not_a_run"
    run = ExampleRun(tmp_path, {"a": FLAT}).write()
    monkeypatch.setattr("sys.argv", ["singula", "report", str(tmp_path / "job")])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert str(run) in capsys.readouterr().err
    (run / "metrics.csv").write_text("view,image\nper_image,a,extra\x00\n,")
    with pytest.raises(UserError, match=r"metrics\.csv: line 2") as refused:
        build_report(run)
    assert refused.value.code == "records.invalid_row"
    (run / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"run\.json") as refused:
        build_report(run)
    assert refused.value.code == "records.not_json"


def test_the_command_writes_it(tmp_path: Path, capsys, monkeypatch) -> None:
    run = ExampleRun(tmp_path, {"a": FLAT}).write()
    monkeypatch.setattr("sys.argv", ["singula", "report", str(run)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0
    assert Path(capsys.readouterr().out.strip()) == run / "report.html"
    first = (run / "report.html").read_bytes()
    assert build_report(run).read_bytes() == first
    assert [path.name for path in run.glob(".*")] == [RECORD]


def test_a_run_does_not_fail_if_its_report_fails(
    tmp_path: Path, monkeypatch, messages: list[str]
) -> None:
    def broken(run: Path) -> Path:
        raise ZeroDivisionError("no pixels")

    monkeypatch.setattr("singula.report.build.build_report", broken)
    run_module._report(ResultsTree(tmp_path, "job", 1))
    assert len(messages) == 1
    assert "no pixels" in messages[0]
    assert "singula report" in messages[0]


def test_large_pictures_stay_small_files() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (640, 640, 3)).astype(np.uint8)
    assert data_uri(noise).startswith("data:image/jpeg")
    assert len(data_uri(noise)) < 600_000
    assert data_uri(noise * 0).startswith("data:image/png")


@settings(max_examples=200, deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_round_and_inside(low: float, width: float) -> None:
    high = low + width
    if not high > low:
        return
    found = ticks(low, high)
    assert len(found) <= 7
    assert all(low - width / 1e6 <= v <= high + width / 1e6 for v in found)
    gaps = np.diff(found)
    assert len(gaps) == 0 or np.allclose(gaps, gaps[0], rtol=1e-3)


def test_epochs_are_whole() -> None:
    chart = line_chart("Loss", "epoch", [Series("training", 0, np.arange(1, 4), np.arange(3.0))])
    shown = re.findall(r'<text[^>]*class="middle">([\d.]+)<', str(chart))
    assert shown == ["1", "2", "3"]


@pytest.mark.parametrize(("low", "high"), [(1, 20), (3, 1e5), (64, 1100), (0.002, 0.9)])
def test_logarithmic_ticks_are_inside(low: float, high: float) -> None:
    found = log_ticks(low, high)
    assert 2 <= len(found) <= 12
    assert found == sorted(found)
    assert low <= found[0] <= found[-1] <= high
