"""Widget that trains a model on an image layer and a labels layer."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from napari.layers import Image, Labels
from napari.viewer import Viewer
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QWidget,
)

from singula.napari_plugin.model_choice import RUNS, ModelChoice
from singula.napari_plugin.panel import (
    LayerChoice,
    Panel,
    button,
    form,
    heading,
    note,
    row,
    spacing_of,
)
from singula.napari_plugin.training import FROM_RANDOM, Training, TrainingData, TrainingStatus

_LINES = {"train_loss": "training", "val_loss": "validation"}
_COLORS = ("#56b4e9", "#e69f00")  # of a color-blind-safe palette


class LossPlot(FigureCanvasQTAgg):
    """Curves of the losses over the epochs, in the colors of the viewer."""

    def __init__(self) -> None:
        figure = Figure(figsize=(3, 1.9), layout="constrained")
        figure.patch.set_alpha(0)
        super().__init__(figure)
        self.setMinimumSize(120, 180)
        self.setStyleSheet("background: transparent;")
        self.axes = figure.add_subplot()

    def show_history(self, history: list[dict[str, float]]) -> None:
        """Draw the curves.

        Parameters
        ----------
        history : list of dict
            Losses of each epoch.
        """
        color = self.palette().windowText().color().name()
        axes = self.axes
        axes.clear()
        axes.patch.set_alpha(0)
        for (key, label), line in zip(_LINES.items(), _COLORS, strict=True):
            points = [(row["epoch"], row[key]) for row in history if key in row]
            if points:
                axes.plot(*zip(*points, strict=True), color=line, label=label, marker=".")
        axes.set_xlabel("epoch", color=color)
        axes.set_ylabel("loss", color=color)
        axes.tick_params(colors=color, labelsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        for side, spine in axes.spines.items():
            spine.set_color(color)
            spine.set_visible(side in ("left", "bottom"))
        if axes.lines:
            axes.legend(labelcolor=color, frameon=False, fontsize=8)
        self.draw_idle()


class TrainWidget(Panel):
    """Train or fine-tune a model on an image layer and a labels layer.

    Parameters
    ----------
    napari_viewer : Viewer
        Viewer of the layers.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(
            napari_viewer,
            "Train a model on your labels. Start from a model that nearly finds your objects; a "
            "few images are then enough.",
        )
        self.training: Training | None = None
        self.run: Path | None = None
        self.image = LayerChoice(napari_viewer, [Image])
        self.labels = LayerChoice(napari_viewer, [Labels])
        self.volumes = QCheckBox("Z-stacks (3D)")
        self.start_model = ModelChoice({FROM_RANDOM: "No model (train from the beginning)"})
        self.start_model.combo.setCurrentIndex(1)
        self.minutes = QDoubleSpinBox()
        self.minutes.setRange(0.1, 10_000)
        self.minutes.setValue(5)
        self.minutes.setSuffix(" minutes")
        self.name = QLineEdit("my_model")
        self.folder = QLineEdit(str(Path.home() / "singula"))
        self.start_button = button("Start", self.start)
        self.cancel_button = button("Cancel", self.cancel, "Only the current epoch is lost")
        self.use_button = button(
            "Show results", self.show_results, "Open the results of the run as layers"
        )
        self.plot = LossPlot()
        self._build()
        self.image.changed.connect(self._propose)
        self.labels.changed.connect(self._set_busy)
        self._propose()

    def _build(self) -> None:
        self.column.addLayout(form(Image=self.image, Your_labels=self.labels, Images=self.volumes))
        self.column.addWidget(note("Images of a stack without any label are not used."))
        self.column.addLayout(
            form(
                Start_from=self.start_model,
                Training_time=self.minutes,
                Name=self.name,
                Folder=_with_button(self.folder, self._ask_folder),
            )
        )
        self.column.addLayout(row(self.start_button, self.cancel_button))
        self.loss_heading = heading("Loss")
        self.column.addWidget(self.loss_heading)
        self.column.addWidget(self.plot)
        self.column.addWidget(self.use_button)
        for part in (self.loss_heading, self.plot, self.use_button):
            part.hide()
        self.finish_column()

    def _propose(self) -> None:
        """Propose the number of dimensions from the chosen layer."""
        layer = self.image.layer
        if layer is not None:
            axes = len(layer.data.shape) - layer.rgb if not layer.multiscale else 2
            self.volumes.setChecked(axes > 2 and "z" in layer.axis_labels)
            self.volumes.setEnabled(axes > 2)
        self._set_busy()

    def _set_busy(self) -> None:
        ready = self.image.layer is not None and self.labels.layer is not None
        self.start_button.setEnabled(ready and not self.busy)
        self.cancel_button.setEnabled(self.busy)
        if not ready:
            self.show_message("Open an image, and add a labels layer with your objects.")
        elif not self.busy and self.message.text().startswith("Open an image"):
            self.show_message("")

    def _ask_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for the results")
        if folder:
            self.folder.setText(folder)

    def start(self, changes: tuple[str, ...] = ()) -> None:
        """Start the training in separate processes.

        Parameters
        ----------
        changes : tuple of str
            Changed keys of the configuration as ``KEY=VALUE``.
        """
        image, labels = self.image.layer, self.labels.layer
        if image is None or labels is None or self.busy:
            return
        ndim = 3 if self.volumes.isChecked() else 2
        pixels, ids = (
            layer.data[0] if layer.multiscale else layer.data for layer in (image, labels)
        )
        data = TrainingData(pixels, ids, ndim, image.rgb, spacing_of(image, ndim))
        self.training = Training(
            data,
            Path(self.folder.text()).expanduser(),
            self.name.text(),
            self.start_model.value,
            self.minutes.value(),
            changes,
        )
        self.run = None
        self.use_button.hide()
        self.show_message("Starting …")
        self.show_share(None)
        self.begin(self.training.run, self._show, self._set_busy)
        self._set_busy()

    def cancel(self) -> None:
        """Stop the training."""
        if self.training is not None:
            self.training.cancel()
            self.show_message("Canceling …")

    def _show(self, status: TrainingStatus) -> None:
        self.show_message(status.phase)
        self.show_share(status.share)
        if status.history:
            self.loss_heading.show()
            self.plot.show()
            self.plot.show_history(status.history)
        if status.finished and status.run is not None:
            self.run = status.run
            RUNS.add(str(status.run))
            self.show_message(
                f"Finished. Choose {status.run.name} in the widget Segment, or here as a start."
            )
            self.use_button.show()

    def show_results(self) -> None:
        """Open the results of the run as layers."""
        if self.run is not None:
            self.viewer.open(str(self.run), plugin="singula")


def _with_button(field: QLineEdit, action: object) -> QWidget:
    part = QWidget()
    layout = QHBoxLayout(part)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(field, 1)
    layout.addWidget(button("…", action))  # type: ignore[arg-type]
    return part
