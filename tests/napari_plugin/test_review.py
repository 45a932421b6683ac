"""Queue of objects, splits and files of corrections."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import singula
from singula.config import Config
from singula.dataset.facts import find_folders
from singula.errors import UserError
from singula.io.read import read_labels
from singula.napari_plugin import samples
from singula.napari_plugin.layers import run_layers
from singula.napari_plugin.review import (
    ReviewSource,
    queue_all,
    review_source,
    save_corrections,
    split_object,
)
from singula.napari_plugin.segmentation import METADATA, Segmentation
from singula.runs.corrections import CorrectedFiles, Review
from singula.runs.instances import Instances


def test_corrections_of_images_over_time_become_a_data_set(tmp_path: Path) -> None:
    image = samples.nuclei_over_time()[0][0][:2, :96, :96]
    segmentation = Segmentation(singula.load("nuclei"), "nuclei", image)
    list(segmentation.run())
    labels = segmentation.labels
    source = review_source({METADATA: segmentation}, labels.shape)
    queues = list(queue_all(labels, source))
    assert [queue[0].frame for queue in queues] == [(0,), (1,)]
    for frame, queue in enumerate(queues):
        assert {item.number for item in queue} == set(np.unique(labels[frame])) - {0}
        for item in queue:
            inside = labels[frame][item.box] == item.number
            assert inside.sum() == (labels[frame] == item.number).sum()
    corrected = labels.copy()
    corrected[1][corrected[1] == queues[1][0].number] = 0
    files = save_corrections(source, labels, corrected, {}, image=image, folder=tmp_path)
    assert [file.name for file in files] == ["image_0.tif", "image_1.tif"]
    for frame, file in enumerate(files):
        np.testing.assert_array_equal(read_labels(file, 2).array[..., 0], corrected[frame])
    (part,), _ = find_folders(tmp_path / "corrected")
    assert len(part.pairs()) == 2
    with pytest.raises(UserError) as raised:
        save_corrections(source, labels, corrected, {})
    assert raised.value.code == "napari.no_folder"
    # The same prediction has the same files; another one in the folder has others.
    assert save_corrections(source, labels, labels, {}, image=image, folder=tmp_path) == files
    other = np.roll(labels, 5, axis=-1)
    more = save_corrections(source, other, other, {}, image=image, folder=tmp_path)
    assert [file.name for file in more] == ["image_0-2.tif", "image_1-2.tif"]
    for frame, file in enumerate(files):
        np.testing.assert_array_equal(read_labels(file, 2).array[..., 0], labels[frame])


def test_corrections_of_a_run_are_next_to_its_predictions(finished_run: Path) -> None:
    layers = {options["name"]: (data, options) for data, options, _ in run_layers(finished_run)}
    labels, options = layers["objects found"]
    source = review_source(options["metadata"], labels.shape)
    items = [item for queue in queue_all(labels, source) for item in queue]
    assert len(items) == len(np.unique(labels)) - 1
    (file,) = save_corrections(source, labels, labels, {(): {item.number for item in items}})
    assert file.parent.parent.parent.parent == finished_run
    np.testing.assert_array_equal(read_labels(file, 2).array[..., 0], labels)


def test_corrections_of_others_are_not_replaced_without_a_choice(tmp_path: Path) -> None:
    labels = np.zeros((20, 30), np.int32)
    labels[2:8, 2:8], labels[10:18, 12:24] = 1, 2
    source = ReviewSource(Config(), 2, lambda frame: {}, {(0,): "a", (1,): "b"})
    predicted, mine = np.stack([labels] * 2), np.stack([labels, labels * (labels != 2)])
    versions: dict[Path, str] = {}

    def save(corrected: np.ndarray, *, replace: bool = False) -> list[Path]:
        return save_corrections(
            source, predicted, corrected, {}, folder=tmp_path, versions=versions, replace=replace
        )

    files = save(predicted)
    assert save(mine) == files  # the corrections of this review
    theirs = labels * (labels != 1)
    predictions = Instances("b", labels.astype(np.uint32))
    CorrectedFiles(tmp_path / "b.tif", "b").save(predictions, theirs, Review())  # in the browser
    with pytest.raises(UserError) as raised:
        save(predicted)
    assert raised.value.code == "corrections.changed"
    for file, expected in zip(files, (labels, theirs), strict=True):
        np.testing.assert_array_equal(read_labels(file, 2).array[..., 0], expected)
    save(mine, replace=True)
    np.testing.assert_array_equal(read_labels(files[1], 2).array[..., 0], mine[1])
    assert save(predicted) == files
    versions.clear()  # another review, which begins with the prediction
    with pytest.raises(UserError) as raised:
        save(mine)
    assert raised.value.code == "corrections.changed"


def test_a_split_changes_pixels_of_the_object_only() -> None:
    labels = np.zeros((9, 20), np.int32)
    labels[2:7, 1:19] = 4
    labels[8, 2:6] = 2
    pixels, values, ids = split_object(labels, 4, [(4, 2), (4, 17)])
    assert (labels[pixels] == 4).all()
    assert set(values.tolist()) | {4} == set(ids)


def test_a_layer_of_another_program_has_no_confidence() -> None:
    with pytest.raises(UserError) as raised:
        review_source({}, (9, 9))
    assert raised.value.code == "napari.no_prediction"
