"""Widget that finds the objects in a layer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from napari.viewer import Viewer
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QCheckBox, QComboBox, QFileDialog, QLabel, QVBoxLayout, QWidget
from superqt import QLabeledDoubleSlider

from singula.errors import UserError
from singula.exports import FORMATS
from singula.napari_plugin.layers import map_layer
from singula.napari_plugin.model_choice import ModelChoice
from singula.napari_plugin.panel import (
    LayerChoice,
    Panel,
    button,
    form,
    heading,
    make_narrow,
    note,
    row,
    spacing_of,
)
from singula.napari_plugin.segmentation import (
    METADATA,
    Frame,
    Segmentation,
    describe_frames,
    export_labels,
    model_ndim,
    suggest_model,
)
from singula.util.format import counted

if TYPE_CHECKING:
    from singula.gui.retune import Slider
    from singula.metrics.matching import Score

_WAIT = 80  # milliseconds after the last move of a slider
_LABEL_IMAGE = "Label image (.tif)"


class SegmentWidget(Panel):
    """Find the objects in an image layer with a model, and adjust its thresholds.

    Parameters
    ----------
    napari_viewer : Viewer
        Viewer of the layers.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(
            napari_viewer, "Find all objects in an image. Models need no training data."
        )
        self.segmentation: Segmentation | None = None
        self.result: Labels | None = None
        self._models: dict[str, Any] = {}
        self._sliders: dict[str, QLabeledDoubleSlider] = {}
        self._changed: dict[str, float] = {}
        self._again = self._resets = False
        self.image = LayerChoice(napari_viewer, [Image])
        self.model = ModelChoice()
        self.about = note("")
        self.match_size = QCheckBox("Match the object size of the model")
        self.match_size.setToolTip(
            "Estimate how large the objects are, and enlarge or reduce the image to the size of "
            "the objects that the model was trained on"
        )
        self.segment_button = button("Segment", self.segment)
        self.cancel_button = button("Cancel", self.quit)
        self.column.addLayout(form(Image=self.image, Model=self.model))
        self.column.addWidget(self.about)
        self.column.addWidget(self.match_size)
        self.column.addLayout(row(self.segment_button, self.cancel_button))
        self._add_adjustments()
        self.finish_column()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_WAIT)
        self._timer.timeout.connect(self._decode)
        self.image.changed.connect(self._propose)
        self.model.changed.connect(self._describe)
        self._propose()

    def _add_adjustments(self) -> None:
        """Add the thresholds and the export, which are hidden before the first result."""
        self.adjustments = QWidget()
        column = QVBoxLayout(self.adjustments)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(heading("Adjust"))
        column.addWidget(note("Move a slider; the objects change at once."))
        self._slider_column = QVBoxLayout()
        column.addLayout(self._slider_column)
        maps_button = button(
            "Show maps", self.add_maps, "Add the predictions of the network as layers"
        )
        column.addLayout(row(button("Reset", self.reset), maps_button))
        column.addWidget(heading("Compare"))
        self.truth = LayerChoice(
            self.viewer, [Labels], lambda layer: METADATA not in layer.metadata
        )
        self.compare_button = button(
            "Compare", self.compare, "Count the objects that overlap those of your labels"
        )
        column.addLayout(form(Your_labels=self.truth))
        self.comparison = note("")
        column.addLayout(row(self.compare_button))
        column.addWidget(self.comparison)
        column.addWidget(heading("Export"))
        self.format = QComboBox()
        make_narrow(self.format)
        self.format.addItem(_LABEL_IMAGE, "tiff")
        for value, kind in FORMATS.items():
            self.format.addItem(kind.label, value)
        column.addLayout(row(self.format, button("Save …", self.ask_folder)))
        self.adjustments.hide()
        self.column.addWidget(self.adjustments)
        self._set_busy()

    def _propose(self) -> None:
        """Choose the built-in model for the chosen layer, unless the user chose a run."""
        layer = self.image.layer
        if layer is not None and Path(self.model.value).name == self.model.value:
            shape = self._shape(layer)
            labels = tuple(layer.axis_labels)
            self.model.choose(suggest_model(shape, rgb=layer.rgb, axis_labels=labels))
        self._describe()

    def _describe(self) -> None:
        """Describe which images of the layer are segmented."""
        layer = self.image.layer
        text = "Open an image, or choose File > Open Sample > Singula."
        if layer is not None:
            try:
                text = describe_frames(self._shape(layer), model_ndim(self.model.value))
            except UserError as error:
                text = f"{error.message}\n→ {error.hint}"
        self.about.setText(text)
        self._set_busy()

    def _load(self, name: str) -> Any:
        from singula.inference import load
        from singula.training.device import best_device

        if name not in self._models:
            self._models[name] = load(name, device=best_device())
        return self._models[name]

    @staticmethod
    def _shape(layer: Image) -> tuple[int, ...]:
        data = layer.data[0] if layer.multiscale else layer.data
        return tuple(data.shape[:-1] if layer.rgb else data.shape)

    def _set_busy(self) -> None:
        self.segment_button.setEnabled(not self.busy and self.image.layer is not None)
        self.cancel_button.setEnabled(self.busy)

    def segment(self) -> None:
        """Segment the chosen layer in a thread, and add the objects as a layer."""
        layer = self.image.layer
        if layer is None or self.busy:
            return
        name, rgb, match_size = self.model.value, layer.rgb, self.match_size.isChecked()
        data = layer.data[0] if layer.multiscale else layer.data

        def work() -> Iterator[Any]:
            model = self._load(name)
            size = spacing_of(layer, model.ndim)
            segmentation = Segmentation(model, name, data, rgb, match_size, size)
            total = len(segmentation.frames)
            for number, frame in enumerate(segmentation.run(), 1):
                yield segmentation, frame, number / total

        self.segmentation, self.result = None, None
        self._changed.clear()
        self.comparison.setText("")
        self.adjustments.hide()
        self.show_message("Segmenting …")
        self.show_share(None)
        self.begin(work, self._show_frame, self._finish)
        self._set_busy()

    def _show_frame(self, value: tuple[Segmentation, Frame, float]) -> None:
        """Show the objects of a frame, in a new layer after the first frame."""
        segmentation, _, share = value
        if self.segmentation is not segmentation:
            self.segmentation = segmentation
            layer = self.image.layer
            ndim = segmentation.labels.ndim
            scale = layer.scale[-ndim:] if layer is not None else None
            self.result = self.viewer.add_labels(
                segmentation.labels,
                name=f"objects: {Path(segmentation.name).name}",
                scale=scale,
                metadata={METADATA: segmentation},
            )
        elif self.result is not None:
            self.result.refresh()
        if share < 1:
            self.show_share(share)

    def _finish(self) -> None:
        self._set_busy()
        if self.segmentation is None or self.result is None:
            if not self.message.styleSheet():
                self.show_message("Canceled.")
            return
        self._show_count()
        self._add_sliders()
        self.adjustments.show()

    def _frame(self) -> Frame:
        """Return the index of the displayed image, or of the first one."""
        if self.segmentation is None or self.result is None:
            return ()
        lead = self.segmentation.labels.ndim - self.segmentation.model.ndim
        steps = self.viewer.dims.current_step[-self.segmentation.labels.ndim :][:lead]
        frame = tuple(
            min(int(step), size - 1)
            for step, size in zip(steps, self.segmentation.labels.shape, strict=False)
        )
        predicted = self.segmentation.maps(frame)
        return frame if predicted else self.segmentation.frames[0]

    def _show_count(self) -> None:
        if self.segmentation is None:
            return
        counts = [self.segmentation.count(frame) for frame in self.segmentation.frames]
        text = f"Objects found: {sum(counts)}"
        if len(counts) > 1:
            text += f" in {counted(len(counts), 'image')}"
        if not sum(counts):
            text += ". Lower the thresholds, choose another model, or match the object size."
        self.show_message(text)

    def _add_sliders(self) -> None:
        """Add a slider for each threshold of the model."""
        from singula.representations.thresholds import THRESHOLDS

        while (item := self._slider_column.takeAt(0)) is not None:
            item.widget().deleteLater()
        self._sliders.clear()
        if self.segmentation is None:
            return
        for slider in self.segmentation.sliders(self._frame()):
            label = QLabel(slider.label)
            label.setWordWrap(True)
            control = QLabeledDoubleSlider(Qt.Orientation.Horizontal)

            control.setRange(slider.low, slider.high)
            control.setSingleStep(slider.step)
            control.setDecimals(0 if slider.is_integer else 2)
            control.setValue(slider.value)
            name = slider.key.removeprefix("DATA_MW_").removeprefix("DATA_")
            key = name.removesuffix("_BEFORE")
            threshold = THRESHOLDS.get(key)
            if threshold is not None:
                control.setToolTip(f"{threshold.meaning}. Larger: {threshold.larger}.")
            control.valueChanged.connect(partial(self._change, key, slider))
            self._slider_column.addWidget(label)
            self._slider_column.addWidget(control)
            self._sliders[key] = control

    def _change(self, key: str, slider: Slider, value: float) -> None:
        self._changed[key] = slider.rounded(value)
        self._timer.start()

    def reset(self) -> None:
        """Use the thresholds of the model again."""
        self._changed.clear()
        self._resets = True
        self._decode()

    def _decode(self) -> None:
        """Decode all images with the thresholds of the sliders, in a thread."""
        segmentation = self.segmentation
        if segmentation is None:
            return
        if self.busy:
            self._again = True
            return
        thresholds, first = dict(self._changed), self._frame()
        self.comparison.setText("")

        def work() -> Iterator[Any]:
            for frame in segmentation.decode_all(thresholds, first):
                yield frame
                if self._again:
                    return

        def finish() -> None:
            self._set_busy()
            self._show_count()
            if not self._again and self._resets:
                self._resets = False
                self._add_sliders()
            self._decode_again()

        self.begin(work, self._redraw, finish)
        self._set_busy()

    def _decode_again(self) -> None:
        """Decode with thresholds that were changed while the widget was busy."""
        if self._again:
            self._again = False
            self._decode()

    def _redraw(self, _: Frame) -> None:
        if self.result is not None:
            self.result.refresh()

    def add_maps(self) -> None:
        """Add the predictions of the network as layers."""
        if self.segmentation is None or self.result is None:
            return
        maps = self.segmentation.all_maps()
        options = {"scale": self.result.scale}
        for name, values in maps.items():
            data, arguments, _ = map_layer(values, name, options)
            self.viewer.add_image(data, **{**arguments, "visible": True})
        if not maps:
            self.show_message("Maps of enlarged images are not shown.", error=True)

    def compare(self) -> None:
        """Compare the objects with those of a labels layer, in a thread."""
        truth, segmentation = self.truth.layer, self.segmentation
        if truth is None or segmentation is None or self.busy:
            return
        labels = truth.data[0] if truth.multiscale else truth.data

        def work() -> Iterator[Score]:
            yield segmentation.compare(labels)

        def finish() -> None:
            self._set_busy()
            self._decode_again()

        self.comparison.setText("")
        self.show_share(None)
        self.begin(work, self._show_comparison, finish)

    def _show_comparison(self, score: Score) -> None:
        self.comparison.setText(
            f"Detection score (F1): {score.f1:.3f}\n"
            f"Objects found: {score.n_pred}, of which {score.tp} agree with your labels\n"
            f"Objects in your labels: {score.n_true}, of which {score.fn} are missing"
        )

    def ask_folder(self) -> None:
        """Ask for a folder and save the objects in it."""
        folder = QFileDialog.getExistingDirectory(self, "Folder for the files")
        if folder:
            self.save(Path(folder))

    def save(self, folder: Path) -> list[Path]:
        """Save the objects in the chosen format, and return the files.

        Parameters
        ----------
        folder : Path
            Folder for the files; files with the same names are replaced.
        """
        if self.result is None or self.segmentation is None:
            return []
        form_name, ndim = str(self.format.currentData()), self.segmentation.model.ndim
        try:
            files = export_labels(
                np.asarray(self.result.data),
                ndim,
                form_name,
                folder,
                self.result.name.replace(": ", "_"),
                spacing_of(self.result, ndim),
            )
        except UserError as error:
            self.show_error(error)
            return []
        self.show_message(f"Saved: {files[0]}" + (" …" if len(files) > 1 else ""))
        return files
