"""Corrections next to a prediction, and the state of their review."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from singula.errors import UserError
from singula.exports.sources import find_sources
from singula.io.read import read_image, read_labels
from singula.io.write import write_tiff
from singula.labels.edit import LabelEditor
from singula.runs.corrections import (
    CorrectedFiles,
    Review,
    corrected_names,
    review_order,
    with_corrections,
)
from singula.runs.instances import Instances, LabelSource

LABELS = np.kron(np.array([[1, 0], [0, 2]], np.uint16), np.ones((6, 8), np.uint16))


@pytest.mark.parametrize("ndim", [2, 3])
def test_corrections_are_loaded_again_and_the_prediction_is_unchanged(
    tmp_path: Path, ndim: int
) -> None:
    labels = LABELS if ndim == 2 else np.stack([LABELS, LABELS])
    axes, spacing = ("YX", (0.5, 0.5)) if ndim == 2 else ("ZYX", (2.0, 0.5, 0.5))
    path = write_tiff(tmp_path / "a.tif", labels, axes, spacing, "µm")
    before = path.read_bytes()
    files = CorrectedFiles(path, "a")
    image = np.random.default_rng(0).integers(0, 255, (*labels.shape, 1), np.uint8)
    predicted = replace(find_sources(tmp_path)[0].read(), image=image)
    unchanged, review = files.load(predicted)
    assert unchanged is predicted
    editor = LabelEditor(predicted.labels)
    editor.delete([2])
    number = editor.draw([(8, 0), (8, 5), (11, 5), (11, 0)], None if ndim == 2 else 1)
    review.mark([number], "corrected")
    review.mark([1, 2], "accepted")
    files.save(predicted, editor.labels, review)
    assert path.read_bytes() == before
    assert [source.name for source in find_sources(tmp_path)] == ["a"]
    assert corrected_names(tmp_path) == ["a"]
    loaded, state = files.load(predicted)
    np.testing.assert_array_equal(loaded.labels, editor.labels)
    assert (state.accepted, state.corrected) == ({1}, {number})  # 2 was deleted
    stored = read_labels(files.labels, ndim)
    assert (stored.spacing, stored.unit) == (spacing, "µm")
    np.testing.assert_array_equal(read_image(files.image, ndim).array, image)


def test_corrections_of_an_earlier_prediction_are_refused(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", LABELS, "YX")
    files, predicted = CorrectedFiles(path, "a"), Instances("a", LABELS)
    files.save(predicted, LABELS, Review())
    with pytest.raises(UserError) as caught:
        files.load(Instances("a", np.roll(LABELS, 1, axis=0)))
    assert caught.value.code == "corrections.other_prediction"
    assert files.load(Instances("a", LABELS.astype(np.uint8)))[1].accepted == set()


def test_corrections_of_an_interrupted_first_save_do_not_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = CorrectedFiles(write_tiff(tmp_path / "a.b.tif", LABELS, "YX"), "a.b")
    predicted = Instances("a.b", LABELS)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("singula.runs.corrections.write_record", fail)
        with pytest.raises(OSError, match="disk full"):
            files.save(predicted, np.zeros_like(LABELS), Review())
    assert files.labels.is_file()
    assert (files.exist, corrected_names(tmp_path)) == (False, [])
    files.save(predicted, LABELS, Review(), expected=files.version())
    assert (files.exist, corrected_names(tmp_path)) == (True, ["a.b"])


def test_a_box_of_corrections_is_that_of_the_whole_image(tmp_path: Path) -> None:
    classes = (LABELS > 0).astype(np.uint8)
    path = write_tiff(tmp_path / "a.tif", np.stack([LABELS, classes], -1), "YXC")
    predicted = Instances("a", LABELS, classes)
    CorrectedFiles(path, "a").save(predicted, np.where(LABELS == 2, 0, LABELS), Review())
    (source,) = with_corrections([LabelSource(path, "a", 2, classes=True)], "corrected")
    box = (slice(4, 10), slice(5, 14))
    whole, part = source.read(), source.read(box)
    assert whole.class_image is not None
    np.testing.assert_array_equal(part.labels, whole.labels[box])
    np.testing.assert_array_equal(part.class_image, whole.class_image[box])
    assert part.origin == "corrected"


def test_corrections_that_others_saved_are_not_replaced(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", LABELS, "YX")
    files, predicted = CorrectedFiles(path, "a"), Instances("a", LABELS)
    first = files.version()
    assert first == ""
    theirs = files.save(predicted, np.where(LABELS == 1, 0, LABELS), Review(), expected=first)
    for labels, review in ((LABELS, Review()), (np.where(LABELS == 1, 0, LABELS), Review({2}))):
        with pytest.raises(UserError) as caught:
            files.save(predicted, labels, review, expected=first)
        assert caught.value.code == "corrections.changed"
    assert files.version() == theirs
    np.testing.assert_array_equal(files.load(predicted)[0].labels, np.where(LABELS == 1, 0, LABELS))
    # A change of the review alone is a change too.
    accepted = files.save(predicted, LABELS, Review({1}), expected=theirs)
    assert files.save(predicted, LABELS, Review({2}), expected=accepted) != accepted
    assert [file.name for file in files.folder.iterdir() if file.is_file()] == []  # no lock file


def test_new_objects_get_a_class(tmp_path: Path) -> None:
    classes = np.where(LABELS == 1, 3, np.where(LABELS == 2, 2, 0)).astype(np.uint8)
    path = write_tiff(tmp_path / "a.tif", np.stack([LABELS, classes], -1), "YXC")
    editor = LabelEditor(LABELS)
    parts = editor.split(1, [(3, 1), (3, 6)])
    number = editor.draw([(8, 0), (8, 5), (11, 5), (11, 0)])
    files, predicted = CorrectedFiles(path, "a"), Instances("a", LABELS, classes)
    files.save(predicted, editor.labels, Review())
    loaded, _ = files.load(predicted)
    assert loaded.classes == {parts[0]: 3, parts[1]: 3, 2: 2, number: 3}


def test_the_least_certain_objects_come_first_and_an_object_has_one_state() -> None:
    assert review_order({1: 0.9, 2: 0.3, 3: 0.9}, [4, 3, 2, 1]) == [2, 1, 3, 4]
    review = Review()
    review.mark([1, 2], "accepted")
    review.mark([2], "corrected")
    assert [review.state(n) for n in (1, 2, 3)] == ["accepted", "corrected", None]
    review.mark([2], None)
    assert review.state(2) is None
