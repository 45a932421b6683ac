"""Runs without objects: their state, and the explanation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from example_run import ExampleRun, cells

from singula.gui.empty import explain_empty, has_no_objects
from singula.gui.guard import Guard
from singula.gui.results import open_results
from singula.gui.runs import state_of
from singula.io.run_folder import ResultsTree
from singula.io.write import write_tiff

SIZE = "PROBLEM.INSTANCE_SEG.DATA_REMOVE_SMALL_OBJ_BEFORE"
FIXED = {
    "TEST.ENABLE": True, "TRAIN.ENABLE": False,
    "PROBLEM.INSTANCE_SEG.DATA_MW_TH_TYPE": "manual",
    "PROBLEM.INSTANCE_SEG.DATA_MW_TH_BINARY_MASK": 0.5,
}  # fmt: skip


def _run(folder: Path, body: float, keys: dict[str, object]) -> Path:
    """Write a run without objects, whose map B has the value `body` inside of the cells."""
    labels = cells(2)
    nothing = {name: labels * 0 for name in ("one", "two")}
    run = ExampleRun(folder, nothing, keys=FIXED | keys).write()
    maps = np.stack([body * (labels > 0), 0.0 * labels], -1).astype(np.float32)
    for name in nothing:
        write_tiff(ResultsTree.of_run(run).predictions("per_image") / f"{name}.tif", maps, "YXC")
    return run


@pytest.mark.parametrize(
    ("body", "keys", "advice"),
    [
        (0.3, {}, "B is at most 0.30"),
        (0.9, {SIZE: 1000}, "Objects below 1000 pixels are removed. Without this limit, this "
         "image has 16 objects"),
    ],
)  # fmt: skip
def test_the_most_likely_remedy_is_first(
    tmp_path: Path, body: float, keys: dict[str, object], advice: str
) -> None:
    run = _run(tmp_path, body, keys)
    results = open_results(run, Guard.of([tmp_path]))
    assert has_no_objects(results)
    explanation = explain_empty(results)
    assert advice in explanation.advice[0]
    assert len(explanation.pictures) == 3  # the image, B and C
    assert all(picture.png.startswith(b"\x89PNG") for picture in explanation.pictures)
    assert state_of(run) == "empty"


def test_a_run_without_maps_is_explained_too(tmp_path: Path) -> None:
    run = ExampleRun(tmp_path, {"one": cells(2) * 0}, keys=FIXED).write()
    explanation = explain_empty(open_results(run, Guard.of([tmp_path])))
    assert explanation.pictures == []
    assert explanation.advice


def test_a_run_with_one_object_is_not_empty(tmp_path: Path) -> None:
    labels = cells(2)
    run = ExampleRun(tmp_path, {"one": labels * (labels == 1), "two": labels * 0}).write()
    assert not has_no_objects(open_results(run, Guard.of([tmp_path])))
    assert state_of(run) == "finished"
