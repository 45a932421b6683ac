"""Widget that shows the least certain objects one after the other, to accept or correct them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels
from napari.viewer import Viewer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QHeaderView,
    QMessageBox,
    QTableWidget,
    QTableWidgetItem,
)

from singula.errors import UserError
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
from singula.napari_plugin.review import (
    QueueItem,
    ReviewSource,
    queue_all,
    review_source,
    save_corrections,
    split_object,
)
from singula.napari_plugin.segmentation import METADATA, Frame
from singula.util.format import counted

_COLUMNS = ("object", "confidence", "state")
_CANVAS = 600  # pixels of the canvas of the viewer, about
_MARGIN = 4.0  # ratio of the shown width to the width of the object


class ReviewWidget(Panel):
    """Review objects in the order of their confidence, and save the corrections.

    Parameters
    ----------
    napari_viewer : Viewer
        Viewer of the layers.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(
            napari_viewer,
            "Look at the objects that the model is least certain of, and correct them with the "
            "tools of napari.",
        )
        self.source: ReviewSource | None = None
        self.layer: Labels | None = None
        self.items: list[QueueItem] = []
        self._predicted: Any = None
        self._accepted: dict[Frame, set[int]] = {}
        self._versions: dict[Path, str] = {}  # of the corrections that this review saved
        self._points: list[tuple[float, ...]] | None = None
        self.image = LayerChoice(napari_viewer, [Image])
        self.objects = LayerChoice(napari_viewer, [Labels])
        self.start_button = button("Start review", self.start)
        self.table = QTableWidget(0, len(_COLUMNS))
        self._build()
        self.objects.changed.connect(self._set_enabled)
        self._set_enabled()

    def _build(self) -> None:
        self.column.addLayout(form(Objects=self.objects, Image=self.image))
        self.column.addWidget(self.start_button)
        self.table.setHorizontalHeaderLabels(_COLUMNS)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.table.verticalHeader().hide()
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setMinimumHeight(170)
        self.table.itemSelectionChanged.connect(self._show)
        self.column.addWidget(heading("Least certain first"))
        self.column.addWidget(self.table)
        self.steps = [
            button("Previous", lambda: self.move(-1), "Key P"),
            button("Accept", self.accept, "The object is right; go to the next one (key Y)"),
            button("Next", lambda: self.move(1), "Key N"),
        ]
        self.column.addLayout(row(*self.steps))
        self.column.addWidget(heading("Correct"))
        self.tools = [
            button("Paint", lambda: self.use("paint"), "Add pixels to the chosen object"),
            button("Erase", lambda: self.use("erase"), "Remove pixels"),
            button("New object", self.add_object, "Draw the outline of a missing object"),
            button("Delete", self.delete, "Delete the chosen object"),
            button("Merge", lambda: self.use("fill"), "Click the object to add to the chosen one"),
            button("Split", self.split, "Click two points in the chosen object"),
        ]
        self.column.addLayout(row(*self.tools[:3]))
        self.column.addLayout(row(*self.tools[3:]))
        self.column.addWidget(note("Ctrl+Z undoes a correction."))
        self.save_button = button("Save corrections", self.ask_and_save)
        self.train_button = button(
            "Fine-tune …", self.fine_tune, "Train a model on the corrected objects"
        )
        self.column.addLayout(row(self.save_button, self.train_button))
        self.finish_column()

    def _set_enabled(self) -> None:
        self.start_button.setEnabled(self.objects.layer is not None and not self.busy)
        active = self.layer is not None and not self.busy
        for part in (*self.steps, *self.tools, self.save_button, self.train_button, self.table):
            part.setEnabled(active)

    def start(self) -> None:
        """Copy the objects into a new layer, and compute the queue in a thread."""
        layer = self.objects.layer
        if layer is None or self.busy:
            return
        try:
            source = review_source(layer.metadata, tuple(layer.data.shape))
        except UserError as error:
            self.show_error(error)
            return
        self.source, self.layer, self.items = source, None, []
        self._accepted, self._versions = {}, {}
        self._predicted = np.array(layer.data)
        self.show_message("Computing the confidence of each object …")
        self.show_share(None)

        def work() -> Iterator[list[QueueItem]]:
            yield from queue_all(self._predicted, source)

        def finish() -> None:
            if not self.message.styleSheet():
                self._open_queue(layer)
            self._set_enabled()

        self.begin(work, self.items.extend, finish)
        self._set_enabled()

    def _open_queue(self, layer: Any) -> None:
        """Add the layer of the corrections, and list the objects."""
        self.items.sort(key=lambda item: item.confidence)
        name = f"corrected {layer.name.removeprefix('objects: ')}"
        self.layer = self.viewer.add_labels(
            self._predicted.copy(),
            name=name,
            scale=layer.scale,
            metadata={METADATA: layer.metadata[METADATA]},
        )
        layer.visible = False
        keys = {"n": lambda: self.move(1), "p": lambda: self.move(-1), "y": self.accept}
        for key, action in keys.items():
            self.layer.bind_key(key, lambda _, action=action: action(), overwrite=True)
        self.layer.bind_key("Delete", lambda _: self.delete(), overwrite=True)
        self._fill_table()
        self.show_message(f"{counted(len(self.items), 'object')} to review.")

    def _fill_table(self) -> None:
        self.table.blockSignals(True)
        self.table.setRowCount(len(self.items))
        several = self.source is not None and len(self.source.names) > 1
        for number, item in enumerate(self.items):
            name = f"{item.number}"
            if several and self.source is not None:
                name += f" in {self.source.names[item.frame]}"
            for column, text in enumerate((name, f"{item.confidence:.2f}", "")):
                cell = QTableWidgetItem(text)
                cell.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
                self.table.setItem(number, column, cell)
        self.table.blockSignals(False)
        if self.items:
            self.table.selectRow(0)
            self._show()

    @property
    def current(self) -> QueueItem | None:
        """Chosen object; None without any."""
        number = self.table.currentRow()
        return self.items[number] if 0 <= number < len(self.items) else None

    def _show(self) -> None:
        """Move the view to the chosen object."""
        item, layer = self.current, self.layer
        if item is None or layer is None:
            return
        world = layer.data_to_world(item.center)
        for axis, position in enumerate(world[: layer.ndim - 2]):
            self.viewer.dims.set_point(axis + self.viewer.dims.ndim - layer.ndim, position)
        layer.selected_label = item.number
        self.viewer.layers.selection.active = layer
        camera = getattr(self.viewer, "scene", self.viewer).camera  # `scene` since napari 0.9
        camera.center = tuple(world[-3:])
        sides = [
            (side.stop - side.start) * size
            for side, size in zip(item.box[-2:], layer.scale[-2:], strict=True)
        ]
        camera.zoom = _CANVAS / (_MARGIN * max(sides))

    def move(self, step: int) -> None:
        """Go to another object of the queue.

        Parameters
        ----------
        step : int
            1 for the next, -1 for the previous.
        """
        number = min(max(0, self.table.currentRow() + step), len(self.items) - 1)
        self.table.selectRow(number)

    def _mark(self, state: str) -> None:
        cell = self.table.item(self.table.currentRow(), 2)
        if cell is not None:
            cell.setText(state)

    def accept(self) -> None:
        """Mark the chosen object as right, and go to the next one."""
        item = self.current
        if item is not None:
            self._accepted.setdefault(item.frame, set()).add(item.number)
            self._mark("accepted")
            self.move(1)

    def use(self, mode: str) -> None:
        """Choose a tool of napari for the corrections.

        Parameters
        ----------
        mode : str
            Mode of the layer: ``paint``, ``erase``, ``fill`` or ``polygon``.
        """
        if self.layer is not None:
            self.viewer.layers.selection.active = self.layer
            self.layer.mode = mode

    def add_object(self) -> None:
        """Draw an object with a new id."""
        if self.layer is not None:
            self.layer.selected_label = int(self.layer.data.max()) + 1
            self.use("polygon")

    def delete(self) -> None:
        """Delete the chosen object."""
        item = self.current
        if item is not None and self.layer is not None:
            box = (*item.frame, *(slice(None),) * (self.layer.ndim - len(item.frame)))
            pixels = np.nonzero(self.layer.data[box] == item.number)
            self._write(item.frame, pixels, 0)
            self._mark("deleted")

    def split(self) -> None:
        """Wait for two clicks in the chosen object, and split it between them."""
        if self.layer is None or self.current is None:
            return
        self.use("pan_zoom")
        self._points = []
        if self._click not in self.layer.mouse_drag_callbacks:
            self.layer.mouse_drag_callbacks.append(self._click)
        self.show_message("Click a point in each of the two parts.")

    def _click(self, layer: Labels, event: Any) -> None:
        if self._points is not None:
            self.add_point(tuple(layer.world_to_data(event.position)))

    def add_point(self, position: tuple[float, ...]) -> None:
        """Add a point of a split; the second one splits the object.

        Parameters
        ----------
        position : tuple of float
            Position in pixels, with the index of the image.
        """
        item, layer = self.current, self.layer
        if item is None or layer is None or self._points is None:
            return
        self._points.append(position[len(item.frame) :])
        if len(self._points) < 2:
            return
        points, self._points = self._points, None
        try:
            pixels, values, ids = split_object(layer.data[item.frame], item.number, points)
        except UserError as error:
            self.show_error(error)
            return
        self._write(item.frame, pixels, values)
        self._mark("split")
        self.show_message(f"Split into the objects {' and '.join(map(str, ids))}.")

    def _write(self, frame: Frame, pixels: tuple[Any, ...], values: Any) -> None:
        """Change pixels of an image in a way that napari can undo."""
        if self.layer is not None and len(pixels[0]):
            lead = tuple(np.full(len(pixels[0]), index) for index in frame)
            self.layer.data_setitem((*lead, *pixels), values)

    def ask_and_save(self) -> None:
        """Save the corrections; ask for a folder if the objects have no files.

        Corrections that were saved elsewhere, such as in the browser, are only replaced if the user
        agrees.
        """
        if self.source is None:
            return
        folder = None
        if self.source.run is None:
            chosen = QFileDialog.getExistingDirectory(self, "Folder for the objects")
            if not chosen:
                return
            folder = Path(chosen)
        try:
            self._write_files(folder)
        except UserError as error:
            if error.code == "corrections.changed" and self.ask_to_replace(error.message):
                self.save(folder, replace=True)
            else:
                self.show_error(error)

    def ask_to_replace(self, text: str) -> bool:
        """Return True if the user wants to replace corrections that were saved elsewhere.

        Parameters
        ----------
        text : str
            Description of the corrections.
        """
        question = QMessageBox(self)
        question.setIcon(QMessageBox.Icon.Question)
        question.setText("Replace the saved corrections?")
        question.setInformativeText(
            f"{text}. Replace: the saved corrections are lost. Cancel: nothing is saved."
        )
        replace = question.addButton("Replace", QMessageBox.ButtonRole.DestructiveRole)
        question.setDefaultButton(question.addButton(QMessageBox.StandardButton.Cancel))
        question.exec()
        return question.clickedButton() is replace

    def save(self, folder: Path | None = None, *, replace: bool = False) -> list[Path]:
        """Write the corrected label images next to the predictions, and return the files.

        Parameters
        ----------
        folder : Path, optional
            Folder for objects of the widget Segment, which have no files yet.
        replace : bool
            Replace corrections that were saved elsewhere.
        """
        try:
            return self._write_files(folder, replace=replace)
        except UserError as error:
            self.show_error(error)
            return []

    def _write_files(self, folder: Path | None, *, replace: bool = False) -> list[Path]:
        if self.source is None or self.layer is None:
            return []
        image = self.image.layer
        pixels = None
        if image is not None:
            pixels = image.data[0] if image.multiscale else image.data
            shape = pixels.shape[:-1] if image.rgb else pixels.shape
            pixels = pixels if tuple(shape) == tuple(self.layer.data.shape) else None
        files = save_corrections(
            self.source,
            self._predicted,
            self.layer.data,
            self._accepted,
            image=pixels,
            folder=folder,
            voxel_size=spacing_of(self.layer, self.source.ndim),
            versions=self._versions,
            replace=replace,
        )
        self.show_message(f"Saved: {files[0]}" + (" …" if len(files) > 1 else ""))
        return files

    def fine_tune(self) -> Any:
        """Open the widget *Train and fine-tune* with the corrected objects, and return it."""
        _, widget = self.viewer.window.add_plugin_dock_widget("singula", "Train and fine-tune")
        if self.layer is not None and widget is not None:
            widget.labels.choose(self.layer)
            if self.image.layer is not None:
                widget.image.choose(self.image.layer)
        return widget
