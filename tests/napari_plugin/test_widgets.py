"""The widgets in a viewer: `make test-napari`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roifile
from skimage.draw import polygon2mask

from singula.exports import export
from singula.io.read import read_labels
from singula.metrics import match

WAIT = 600_000  # milliseconds


def open_sample(viewer: Any, name: str) -> Any:
    """Open a sample by the menu's command, and return its labels."""
    viewer.open_sample("singula", name)
    return viewer.layers[1].data


def finish(qtbot: Any, widget: Any) -> None:
    qtbot.waitUntil(lambda: not widget.busy, timeout=WAIT)


def dock(viewer: Any, name: str) -> Any:
    return viewer.window.add_plugin_dock_widget("singula", name)[1]


def test_segment_finds_the_nuclei_and_thresholds_change_the_layer(
    viewer: Any, qtbot: Any, tmp_path: Path
) -> None:
    truth = open_sample(viewer, "nuclei")
    widget = dock(viewer, "Segment")
    assert widget.model.value == "nuclei"
    widget.segment()
    assert not widget.segment_button.isEnabled()
    finish(qtbot, widget)
    layer = widget.result
    assert match(truth, layer.data, thresholds=[0.5])[0].f1 > 0.9
    count = len(np.unique(layer.data))
    compare(qtbot, widget, viewer.layers[1])
    widget.compare()
    widget._sliders["TH_CONTOUR"].setValue(0)
    widget._timer.stop()
    widget._decode()  # during the comparison
    qtbot.waitUntil(lambda: not layer.data.any(), timeout=WAIT)
    finish(qtbot, widget)
    assert "Lower the thresholds" in widget.message.text()
    assert not widget.comparison.text()  # it belonged to the earlier objects
    assert compare(qtbot, widget, viewer.layers[1]) == 0
    widget.reset()
    finish(qtbot, widget)
    assert not widget.comparison.text()
    assert len(np.unique(layer.data)) == count
    widget.add_maps()
    assert "map B" in viewer.layers
    files = widget.save(tmp_path)
    assert [file.suffix for file in files] == [".tif"]
    np.testing.assert_array_equal(read_labels(files[0], 2).array[..., 0], layer.data)
    compare(qtbot, widget, viewer.layers[1])
    widget.segment()
    assert not widget.comparison.text()
    finish(qtbot, widget)


def test_volumes_and_images_over_time_are_recognized(viewer: Any, qtbot: Any) -> None:
    viewer.open_sample("singula", "nuclei_3d")
    widget = dock(viewer, "Segment")
    assert widget.model.value == "nuclei_3d"
    assert "z-stack" in widget.about.text()
    viewer.layers.clear()
    assert not widget.segment_button.isEnabled()
    viewer.open_sample("singula", "nuclei_over_time")
    assert widget.model.value == "nuclei"
    assert "6 images" in widget.about.text()
    # Other layers do not change the choices of the user.
    widget.model.choose("nuclei_3d")
    viewer.add_labels(np.zeros((6, 9, 9), int))
    viewer.add_image(np.zeros((9, 9)))
    viewer.layers[0].name = "renamed"
    assert widget.image.layer is viewer.layers[0]
    assert widget.model.value == "nuclei_3d"


def test_an_image_for_another_model_shows_the_error_in_the_widget(viewer: Any, qtbot: Any) -> None:
    viewer.add_image(np.zeros((20, 20, 3), np.uint8), rgb=True)
    widget = dock(viewer, "Segment")
    widget.model.choose("nuclei")
    widget.segment()
    finish(qtbot, widget)
    assert "channel" in widget.message.text()
    assert len(viewer.layers) == 1
    assert widget.segment_button.isEnabled()


def test_readers_open_the_files_of_singula(viewer: Any, tmp_path: Path) -> None:
    labels = np.zeros((30, 40), np.uint16)
    labels[3:9, 4:20] = 4
    (path,) = export(labels, "ome-zarr", tmp_path)
    viewer.open(str(path), plugin="singula")
    np.testing.assert_array_equal(np.asarray(viewer.layers[0].data), labels)


def test_a_canceled_training_leaves_the_widget_ready(
    viewer: Any, qtbot: Any, tmp_path: Path
) -> None:
    open_sample(viewer, "nuclei")
    widget = dock(viewer, "Train and fine-tune")
    widget.folder.setText(str(tmp_path / "models"))
    widget.start()
    widget.cancel()
    finish(qtbot, widget)
    assert widget.message.text() == "Canceled"
    assert widget.start_button.isEnabled()
    assert widget.run is None


def test_segment_correct_fine_tune_and_segment_again(
    viewer: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_sample(viewer, "nuclei")
    segment = dock(viewer, "Segment")
    truth = viewer.layers[1]
    segment.segment()
    finish(qtbot, segment)
    found = segment.result.data.copy()
    # No control is cut off.
    assert segment.widget().minimumSizeHint().width() <= segment.minimumWidth()
    before = compare(qtbot, segment, truth)
    assert before == pytest.approx(match(truth.data, found, thresholds=[0.5])[0].f1, abs=5e-4)

    review = dock(viewer, "Review")
    review.objects.choose(segment.result)
    review.start()
    finish(qtbot, review)
    values = [item.confidence for item in review.items]
    assert values == sorted(values)
    assert len(values) == len(np.unique(found)) - 1
    deleted, divided, kept = (item.number for item in review.items[:3])
    review.delete()
    review.move(1)
    box = review.current.box
    rows, columns = np.nonzero(found == divided)
    long = int(np.ptp(columns) > np.ptp(rows))
    order = np.argsort((rows, columns)[long])
    review.split()
    for place in (order[0], order[-1]):
        review.add_point((float(rows[place]), float(columns[place])))
    review.move(1)
    review.accept()
    corrected = review.layer.data
    assert not (corrected == deleted).any()
    assert len(np.unique(corrected[box][found[box] == divided])) == 2
    np.testing.assert_array_equal(corrected == kept, found == kept)
    np.testing.assert_array_equal(segment.result.data, found)
    (file,) = review.save(tmp_path / "objects")
    stored = read_labels(file, 2).array[..., 0]
    np.testing.assert_array_equal(stored, corrected)
    prediction = read_labels(tmp_path / "objects" / "image.tif", 2).array[..., 0]
    np.testing.assert_array_equal(prediction, found)

    review._versions.clear()  # as if the corrections were saved in the browser
    questions: list[str] = []
    answers = iter((False, True))
    monkeypatch.setattr(
        review, "ask_to_replace", lambda text: questions.append(text) or next(answers)
    )
    monkeypatch.setattr(
        "singula.napari_plugin.review_widget.QFileDialog.getExistingDirectory",
        lambda *_: str(tmp_path / "objects"),
    )
    review.ask_and_save()
    assert review.message.styleSheet()  # the error, with its remedy
    review.ask_and_save()
    assert len(questions) == 2
    assert review.message.text().startswith("Saved")
    train = review.fine_tune()
    assert train.labels.layer.name == review.layer.name
    train.folder.setText(str(tmp_path / "models"))
    train.minutes.setValue(0.1)
    train.start(("TRAIN.EPOCHS=1",))
    finish(qtbot, train)
    assert train.run is not None, train.message.text()
    assert train.plot.axes.lines

    # The fine-tuned model finds the objects in another layer, a stack of images.
    viewer.open_sample("singula", "nuclei_over_time")
    stack, others = viewer.layers[-2:]
    stack.data, others.data = stack.data[:2, :128, :128], others.data[:2, :128, :128]
    segment.image.choose(stack)
    scores = []
    for model in ("nuclei", str(train.run)):
        segment.model.choose(model)
        segment.segment()
        finish(qtbot, segment)
        assert segment.result.data.any(), segment.message.text()
        scores.append(compare(qtbot, segment, others))
    assert min(scores) > 0.5
    assert others.name in [segment.truth.itemText(n) for n in range(segment.truth.count())]
    assert segment.result.name not in [segment.truth.itemText(n) for n in range(2)]
    check_exports(segment, tmp_path / "exports")

    count = len(viewer.layers)
    train.show_results()
    assert {"objects found", "map B"} <= {layer.name for layer in viewer.layers[count:]}


def compare(qtbot: Any, widget: Any, truth: Any) -> float:
    """Click *Compare*, and return the displayed score."""
    widget.truth.choose(truth)
    widget.compare_button.click()
    finish(qtbot, widget)
    return float(widget.comparison.text().split("\n")[0].rpartition(" ")[2])


def check_exports(widget: Any, folder: Path) -> None:
    """Save for ImageJ and QuPath, read the outlines back and compare their objects."""
    labels = np.asarray(widget.result.data)
    for form in ("imagej", "qupath"):
        widget.format.setCurrentIndex(widget.format.findData(form))
        files = widget.save(folder / form)
        assert len(files) == len(labels)
        for frame, file in enumerate(files):
            if form == "imagej":
                outlines = [region.coordinates() for region in roifile.roiread(file)]
            else:
                features = json.loads(file.read_text())["features"]
                outlines = [np.array(feature["geometry"]["coordinates"][0]) for feature in features]
            assert len(outlines) == len(np.unique(labels[frame])) - 1
            drawn = np.zeros(labels.shape[1:], int)
            for number, outline in enumerate(outlines, 1):
                # Outlines run along the edges of pixels, whose centers are at half integers.
                drawn[polygon2mask(drawn.shape, outline[:, ::-1] - 0.5)] = number
            result = match(labels[frame], drawn, thresholds=[0.9])[0]
            assert result.f1 == 1
