"""Corrections and review on the Correct page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from prediction_folder import LABELS, SQUARE, write_prediction
from scipy.ndimage import label

from singula.errors import UserError
from singula.gui.guard import Guard
from singula.io.read import read_labels

pytest.importorskip(
    "psutil", reason="no test of processes: `pip install 'singula[gui]'` is missing"
)

from singula.gui.correct import CorrectableImages, Correction, open_correctable


@pytest.fixture
def images(tmp_path: Path) -> CorrectableImages:
    folder = write_prediction(tmp_path.resolve())
    return open_correctable(Guard.of([tmp_path]), folder)


@pytest.fixture
def work(images: CorrectableImages) -> Correction:
    return images.read("a")


def test_tools_change_objects_at_clicks_and_outlines(work: Correction) -> None:
    work.choose("merge")
    assert not work.click((0, 5, 5))  # waits for the second click
    assert not work.click((0, 0, 0))
    assert work.click((0, 5, 15))
    assert (work.editor.labels[2:10, 2:18] == 1).all()
    work.choose("split")
    assert not work.click((0, 18, 5))
    assert work.click((0, 18, 33))
    assert work.ids == {1, 3, 4}
    work.choose("delete")
    assert not work.click((0, 0, 0))
    assert work.click((0, 18, 33))
    assert work.ids == {1, 3}
    work.choose("draw")
    assert work.outline(SQUARE, 0)
    assert work.selected == 5
    assert work.ids == {1, 3, 5}
    work.choose("extend")  # the object under the first corner
    assert work.outline([(3.0, 16.0), (3.0, 20.0), (6.0, 20.0), (6.0, 16.0)], 0)
    assert (work.editor.labels[4, 18:20] == 1).all()
    work.choose("cut")
    assert work.outline([(1.0, 8.0), (1.0, 11.0), (11.0, 11.0), (11.0, 8.0)], 0)
    assert label(work.editor.labels == 1)[1] == 1
    while work.undo():
        assert work.ids == set(np.unique(work.editor.labels)) - {0}
    np.testing.assert_array_equal(work.editor.labels, LABELS)
    assert work.scene.instance_at(0, 18, 33) == 3
    while work.redo():
        assert work.ids == set(np.unique(work.editor.labels)) - {0}


def test_the_review_goes_from_uncertain_to_certain_objects(work: Correction) -> None:
    order = []
    for _ in range(3):
        work.selected = work.neighbor(1)
        order.append(work.selected)
    assert order == [2, 3, 1]
    assert work.neighbor(1) == 2  # around
    assert work.neighbor(-1) == 3
    work.accept()
    assert (work.state(1), work.progress()) == ("accepted", (1, 3))
    work.selected = 2
    work.delete()
    assert (work.neighbor(1), work.progress()) == (3, (1, 2))
    work.selected = 3
    work.accept()
    assert work.neighbor(1) == 0
    work.undo()
    assert (work.state(2), work.neighbor(1)) == (None, 2)


def test_saved_corrections_are_opened_again(images: CorrectableImages, work: Correction) -> None:
    before = (images.folder / "a.tif").read_bytes()
    work.choose("split")
    work.click((0, 18, 5))
    work.click((0, 18, 33))
    work.selected = 1
    work.accept()
    work.save()
    assert (images.folder / "a.tif").read_bytes() == before
    assert images.names == ["a"]
    again = images.read("a")
    np.testing.assert_array_equal(again.editor.labels, work.editor.labels)
    assert [again.state(n) for n in (1, 2, 3, 4)] == ["accepted", None, "corrected", "corrected"]
    assert not again.undo()


def test_of_two_users_the_second_is_asked(images: CorrectableImages, work: Correction) -> None:
    other = images.read("a")
    for each, number in ((work, 1), (work, 2), (other, 3)):
        each.selected = number
        each.delete()
        if each is work:
            each.save()
    with pytest.raises(UserError) as caught:
        other.save()
    assert caught.value.code == "corrections.changed"
    again = images.read("a")
    assert again.ids == {3}
    other.version = other.files.version()
    other.save()
    assert images.read("a").ids == {1, 2}
    with pytest.raises(UserError) as caught:
        again.save()
    assert caught.value.code == "corrections.changed"


def test_volumes_are_drawn_in_the_shown_slice(tmp_path: Path) -> None:
    folder = write_prediction(tmp_path.resolve(), depth=4)
    work = open_correctable(Guard.of([tmp_path]), folder).read("a")
    work.choose("draw")
    work.outline(SQUARE, 2)
    assert np.flatnonzero((work.editor.labels == work.selected).any(axis=(1, 2))).tolist() == [2]
    work.save()
    assert read_labels(work.files.labels, 3).array.shape[:3] == work.editor.labels.shape


def test_an_outline_without_an_object_is_refused(work: Correction) -> None:
    work.choose("extend")
    with pytest.raises(UserError) as caught:
        work.outline(SQUARE, 0)
    assert caught.value.code == "gui.no_object"


def test_nothing_is_written_through_a_link_to_the_outside(tmp_path: Path) -> None:
    root = (tmp_path / "root").resolve()
    folder = write_prediction(root)
    (tmp_path / "elsewhere").mkdir()
    (folder / "corrected").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError) as caught:
        open_correctable(Guard.of([root]), folder).read("a")
    assert caught.value.code == "gui.outside"
