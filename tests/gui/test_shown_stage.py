"""Pages, exports and scores of a run with several stages use the same one."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from example_run import ExampleRun, cells, without

import singula
from singula.errors import UserError
from singula.gui.guard import Guard
from singula.gui.results import open_results
from singula.io.run_folder import ResultsTree
from singula.io.write import write_csv, write_tiff
from singula.metrics import match, score_rows
from singula.runs.run import Stage, open_run

pytest.importorskip("nicegui", reason="no test of pages: `pip install 'singula[gui]'` is missing")

from singula.gui.compare import common_images, compare_scores
from singula.gui.correct import open_correctable
from singula.gui.pages.results import _View
from singula.gui.run_list import list_runs

LATTICE = cells(2)
DECODED, FINAL, WHOLE = LATTICE, without(LATTICE, 1, 2, 3), without(LATTICE, 9)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a run of patches and of whole images, with decoded and post-processed instances."""
    keys = {"TEST.FULL_IMG": True}
    folder = ExampleRun(tmp_path, {"a": DECODED}, post={"a": FINAL}, keys=keys).write()
    tree = ResultsTree.of_run(folder)
    tables = [pd.read_csv(tree.metrics_csv)]
    for view, stage_folder in (
        ("full_image", tree.instances("full_image")),
        ("full_image_post_processing", tree.post_processed("full_image")),
    ):
        write_tiff(stage_folder / "a.tif", WHOLE.astype(np.uint16), "YX")
        scores = score_rows({"a": match(LATTICE, WHOLE, (0.3, 0.5, 0.75))})
        tables.append(pd.DataFrame([{"view": view, **row} for row in scores]))
    write_csv(tree.metrics_csv, pd.concat(tables))
    return folder


def test_all_show_the_first_view_after_all_steps(folder: Path, tmp_path: Path) -> None:
    guard = Guard.of([tmp_path])
    results = open_results(folder, guard)
    assert [stage.key for stage in results.run.stages] == [
        "per_image",
        "per_image_post_processing",
        "full_image",
        "full_image_post_processing",
    ]
    stage = results.run.final_stage
    assert stage == Stage("per_image", processed=True)
    f1 = match(LATTICE, FINAL, 0.5).f1
    assert results.run.scores.row(stage.key, "a", 0.5)["f1"] == pytest.approx(f1)

    work = open_correctable(guard, folder).read("a")
    np.testing.assert_array_equal(work.editor.labels, FINAL)
    assert work.files.folder == results.run.tree.per_image_post_processing / "corrected"
    view = _View.__new__(_View)
    super(_View, view).__init__(folder, results, "a")
    np.testing.assert_array_equal(results.instances("a", view.stage).labels, FINAL)
    (table,) = singula.export(folder, "csv", tmp_path / "out")
    assert set(pd.read_csv(table)["label"]) == set(np.unique(FINAL)) - {0}
    assert common_images(results, results) == ["a"]
    line = next(line for line in compare_scores(results, results) if "F1" in line.title)
    assert line.first == f"{f1:.3f}"
    (row,) = list_runs(guard).rows
    assert row.scores is not None
    assert row.scores.f1 == pytest.approx(f1)


def test_a_run_without_instances_has_no_final_stage(tmp_path: Path) -> None:
    folder = ExampleRun(tmp_path, {"a": DECODED}).write()
    (ResultsTree.of_run(folder).per_image_instances / "a.tif").unlink()
    with pytest.raises(UserError) as caught:
        _ = open_run(folder).final_stage
    assert caught.value.code == "export.no_instances"


def test_the_stage_is_decided_in_one_place() -> None:
    source = Path(singula.__file__).parent
    used = [
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if re.search(r"\brun\.(main_)?stages\[-1\]", path.read_text(encoding="utf-8"))
    ]
    assert used == []
