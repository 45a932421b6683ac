"""Two runs side by side: scores and objects."""

from pathlib import Path

import numpy as np
import pytest
from example_run import ExampleRun, cells, without

from singula.gui.compare import common_images, compare_objects, compare_scores
from singula.gui.guard import Guard
from singula.gui.results import open_results
from singula.metrics import match


def test_scores_of_two_runs(tmp_path: Path) -> None:
    lattice = cells(2)
    runs = []
    for name, missing in (("one", (1, 2, 3, 4)), ("two", (1,))):
        pred = {"a": without(lattice, *missing), name: lattice}
        runs.append(ExampleRun(tmp_path / name, pred).write())
    first, second = (open_results(run, Guard.of([tmp_path])) for run in runs)
    assert common_images(first, second) == ["a"]
    lines = {line.title: line for line in compare_scores(first, second, "a")}
    for threshold in (0.3, 0.5, 0.75):
        line = lines[f"detection score (F1) at IoU {threshold:g}"]
        expected = [match(lattice, without(lattice, *ids), (threshold,))[0].f1
                    for ids in ((1, 2, 3, 4), (1,))]  # fmt: skip
        assert [line.first, line.second] == [f"{f1:.3f}" for f1 in expected]
        assert line.gain > 0
    missed = lines["missed at IoU 0.5"]
    assert (missed.first, missed.second, missed.gain) == ("4", "1", 3)
    assert lines["objects found"].gain == 0
    assert len(compare_scores(first, second)) == len(lines)


@pytest.mark.parametrize("shift", [0, 2, 6])
def test_objects_of_both_runs(shift: int) -> None:
    one = cells(2)
    two = np.roll(without(one, 5, 6), shift, axis=1)
    counts = compare_objects(one, two)
    # 8 pixels wide: a shift by 2 leaves an IoU of 6/10, by 6 one of 2/14.
    both = 14 if shift < 3 else 0
    assert counts == {"both": both, "first": 16 - both, "second": 14 - both}
