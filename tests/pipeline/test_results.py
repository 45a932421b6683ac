"""Results of a test from the tables of its images, and the loop over the images."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from singula.config import config_from_dict
from singula.errors import StorageError, UserError
from singula.io.run_folder import ResultsTree
from singula.metrics import overlap, winning_classes
from singula.pipeline.postprocess import PostSettings
from singula.pipeline.results import ImageTables, InstanceTables, TestResults
from singula.pipeline.test_run import TestRun

TRUTH = np.array([[1, 1, 0, 2, 2], [1, 1, 0, 2, 2]], np.uint8)
LABELS = np.array([[3, 3, 0, 0, 5], [3, 3, 0, 0, 5]], np.uint8)
CLASSES = np.array([[1, 1, 0, 0, 2], [1, 1, 0, 0, 2]], np.uint8)


def config():
    test = {"ENABLE": True, "MATCHING_STATS_THS": [0.3, 0.75],
            "MATCHING_STATS_THS_COLORED_IMG": [0.75]}  # fmt: skip
    data = {"PATCH_SIZE": "(32, 32, 1)", "TEST": {"PATH": "x"}}
    return config_from_dict({"PROBLEM": {"NDIM": "2D"}, "DATA": data, "TEST": test})


@pytest.fixture
def results(tmp_path) -> TestResults:
    return TestResults(config(), ResultsTree(tmp_path, "job", 1), PostSettings())


def tables(results: TestResults, *, count: int = 2) -> ImageTables:
    classes = winning_classes(overlap(LABELS, CLASSES))
    true_classes = winning_classes(overlap(TRUTH, np.where(TRUTH > 0, 1, 0).astype(np.uint8)))
    measured = [pd.DataFrame({"label": [label], "npixels": [n]}) for label, n in ((5, 2), (3, 4))]
    decoded = InstanceTables(measured, classes, true_classes, overlap(TRUTH, LABELS))
    processed = InstanceTables(None, None, None, overlap(TRUTH, TRUTH))
    return ImageTables(
        count, {"TH_POINTS": 0.5}, results.tree.overlay("a"), {"iou_B": 0.25},
        {"instances": decoded, "processed": processed},
    )  # fmt: skip


def test_tables_become_scores_and_files(results) -> None:
    drawn = []
    results.add_image("a", "per_image", tables(results), lambda *each: drawn.append(each))
    assert results.instances == {"a": 2}
    assert results.thresholds == {"a": {"TH_POINTS": 0.5}}
    assert results.scores.maps == {"a": {"per_image_iou_B": 0.25}}
    # The first object is exact, the second has an IoU of 0.5.
    decoded, processed = (
        results.scores.matches[view]["a"] for view in ("per_image", "per_image_post_processing")
    )
    assert [(m.threshold, m.tp, m.fp, m.fn) for m in decoded] == [(0.3, 2, 0, 0), (0.75, 1, 1, 1)]
    assert [(m.tp, m.fp, m.fn) for m in processed] == [(2, 0, 0), (2, 0, 0)]
    # Both true objects have class 1, the second instance has class 2.
    first, second = (results.scores.classes["per_image", number]["a"][0] for number in (1, 2))
    assert (first.tp, first.fp, first.fn) == (1, 0, 1)
    assert (second.tp, second.fp, second.fn) == (0, 1, 0)
    assert [(stage, match.threshold) for stage, _, match in drawn] == [
        ("instances", 0.75),
        ("processed", 0.75),
    ]
    tree = results.tree
    assert pd.read_csv(tree.full_stats("a"))["class"].tolist() == [2, 1]
    assert not tree.filtered_stats("a").exists()
    for name in ("a", "a_per_image_post_processing"):
        assert len(pd.read_csv(tree.association_csv(name, 0.75))) == 2
        assert tree.false_positives_csv(name, 0.3).is_file()


def test_the_prediction_of_the_full_image_does_not_replace_the_number_of_instances(
    results,
) -> None:
    results.add_image("a", "per_image", tables(results), lambda *each: None)
    results.add_image("a", "full_image", tables(results, count=7), lambda *each: None)
    assert results.instances == {"a": 2}
    assert {"per_image", "full_image"} <= results.scores.matches.keys()


def test_results_of_single_images_add_up_to_the_results_of_a_test(results) -> None:
    parts = [results.empty() for _ in "ab"]
    for name, part in zip("ab", parts, strict=True):
        for target in (results, part):
            target.add_image(name, "per_image", tables(results), lambda *each: None)
        part.seconds["decoding"] = 1.5
    total = results.empty()
    for part in parts:
        total.add(part)
    assert total.scores == results.scores
    assert list(total.scores.maps) == ["a", "b"]
    assert (total.instances, total.thresholds) == (results.instances, results.thresholds)
    assert total.overlays == results.overlays
    assert total.seconds == {"decoding": 3.0}


def test_images_are_sorted_in_all_tables(results) -> None:
    for name in "bca":
        results.add_image(name, "per_image", tables(results), lambda *each: None)
    results.sort(["a", "b"])
    scores = results.scores
    by_image = (results.instances, results.thresholds, results.overlays, scores.maps)
    for values in (*by_image, *scores.matches.values(), *scores.classes.values()):
        assert list(values) == ["a", "b", "c"]


@dataclass
class Images(TestRun):
    """A test of three images, of which some fail."""

    errors: dict[str, Exception] = field(default_factory=dict)

    def _open_inputs(self):
        files = ("image.tif", None)
        pairs = [SimpleNamespace(name=name, image=files[0], label=files[1]) for name in "abc"]
        return SimpleNamespace(find=lambda: (pairs, {"z": "unreadable"}))

    def _load_checkpoint(self, pairs):
        return None

    def _prepare(self, pairs, checkpoint):
        return len(pairs), (
            (p.name, self._attempt(p.name, lambda r, p=p: self.one(p, r))) for p in pairs
        )

    def one(self, pair, results) -> str:
        results.add_image(pair.name, "per_image", tables(results), lambda *each: None)
        if pair.name in self.errors:
            raise self.errors[pair.name]
        return "done"


def images(tmp_path, errors) -> Images:
    tree = ResultsTree(tmp_path, "job", 1)
    return Images(config(), tree, None, resume=True, errors=errors)


def test_a_failed_image_does_not_end_the_test_and_does_not_count(
    tmp_path, messages: list[str]
) -> None:
    errors = {"a": UserError("bad pixels", None, "io.bad"), "b": MemoryError()}
    test = images(tmp_path, errors)
    test.run()
    assert test.failed.keys() == {"z", "a", "b"}
    assert "not enough memory" in test.failed["b"]
    assert test.results.instances == {"c": 2}
    assert test.results.scores.maps.keys() == {"c"}
    assert messages[-3:] == ["[1/3] a: FAILED: bad pixels", *messages[-2:-1], "[3/3] c: done"]
    assert test.sources.keys() == {"a", "b", "c"}


@pytest.mark.parametrize("error", [StorageError("disk full", None, "io.full"), ValueError("bug")])
def test_errors_of_the_results_folder_and_of_the_program_end_the_test(
    tmp_path, error, messages: list[str]
) -> None:
    test = images(tmp_path, {"b": error})
    with pytest.raises(type(error)):
        test.run()
    assert messages[-1] == "[1/3] a: done"
