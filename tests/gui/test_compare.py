"""Two runs side by side: scores and objects."""

from pathlib import Path

import numpy as np
import pytest
from example_run import ExampleRun, cells, without

from singula.gui.compare import (
    common_images,
    comparable_folders,
    compare_counts,
    compare_objects,
    compare_scores,
    describe_prediction,
    earlier_segmentation,
    open_compared,
    read_scene,
)
from singula.gui.guard import Guard
from singula.gui.results import open_results
from singula.gui.run_search import PREDICTION_RECORD
from singula.gui.segment import open_segmentation
from singula.io.record_files import write_record
from singula.io.records.results import StartedPrediction
from singula.io.write import write_csv, write_tiff
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


def prediction(root: Path, name: str, labels: np.ndarray, model: str = "nuclei") -> Path:
    """Write the files of a prediction of two images, one with an object of 64 pixels."""
    folder = root / name
    for image, array in (("a", labels), ("b", np.where(labels == 1, 1, 0))):
        write_tiff(folder / f"{image}.tif", array.astype(np.uint16), "YX")
        rows = [{"label": int(i), "npixels": int((array == i).sum())} for i in np.unique(array)[1:]]
        write_csv(folder / f"{image}_stats.csv", rows)
    values = {"pid": 2**31 - 1, "created": 1, "began": 1, "images": str(root / "in")}
    write_record(
        folder / PREDICTION_RECORD, StartedPrediction.model_validate({**values, "model": model})
    )
    return folder


def test_segmented_images_are_compared_by_numbers_of_objects(tmp_path: Path) -> None:
    lattice, guard = cells(2), Guard.of([tmp_path])
    one = prediction(tmp_path, "one", lattice)
    two = prediction(tmp_path, "two", without(lattice, 3, 4))
    first, second = (open_compared(guard, folder) for folder in (one, two))
    assert common_images(first, second) == ["a", "b"]
    lines = {line.title: (line.first, line.second) for line in compare_counts(first, second)}
    assert lines == {
        "objects found": ("17", "15"), "median size of the objects (px)": ("64", "64"),
    }  # fmt: skip
    assert compare_scores(first, second) == []
    np.testing.assert_array_equal(
        read_scene(second, "a").labels["instances"], without(lattice, 3, 4)
    )
    assert "nuclei" in describe_prediction(guard, two)
    segmented = open_segmentation(guard, two)
    (one / "a.tif").write_bytes(b"")  # only names are compared
    assert earlier_segmentation(guard, segmented) == one
    (one / "a.tif").rename(one / "c.tif")
    (one / "b.tif").unlink()
    assert earlier_segmentation(guard, segmented) is None


def test_the_median_size_is_that_of_all_objects(tmp_path: Path) -> None:
    guard, results = Guard.of([tmp_path]), []
    for name in ("one", "two"):
        folder = prediction(tmp_path, name, cells(2))
        for image, sizes in (("a", [10, 10, 10]), ("b", [100])):
            rows = [{"label": i + 1, "npixels": size} for i, size in enumerate(sizes)]
            write_csv(folder / f"{image}_stats.csv", rows)
        results.append(open_compared(guard, folder))
    (line,) = (line for line in compare_counts(*results) if "median" in line.title)
    assert (line.first, line.second) == ("10", "10")


def test_a_run_and_segmented_images_are_compared(tmp_path: Path) -> None:
    guard = Guard.of([tmp_path])
    run = ExampleRun(tmp_path / "one", {"a": cells(2)}).write()
    folder = prediction(tmp_path, "two", cells(2))
    assert comparable_folders(guard) == [run, folder]
    first, second = (open_compared(guard, each) for each in (run, folder))
    assert common_images(first, second) == ["a"]
    assert compare_counts(first, second) == compare_scores(first, second) == []
    assert describe_prediction(guard, run) == ""
    np.testing.assert_array_equal(read_scene(first, "a").labels["truth"], cells(2))
