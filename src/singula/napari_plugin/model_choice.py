"""Choice of a built-in model or of a run in the widgets of the plugin."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QVBoxLayout, QWidget

from singula.inference import find_model
from singula.napari_plugin.panel import button, make_narrow
from singula.napari_plugin.segmentation import built_in_choices


class _Runs(QObject):
    """Runs that the user opened or trained in this session, for all widgets."""

    added = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.folders: list[str] = []

    def add(self, folder: str) -> None:
        if folder not in self.folders:
            self.folders.append(folder)
        self.added.emit(folder)


RUNS = _Runs()


class ModelChoice(QWidget):
    """List of models with a button that adds the folder of a run.

    Parameters
    ----------
    first : dict of str to str
        Texts of further choices by value, before the models.
    """

    changed = Signal()

    def __init__(self, first: dict[str, str] | None = None) -> None:
        super().__init__()
        self.combo = QComboBox()
        make_narrow(self.combo)
        for value, text in {**(first or {}), **built_in_choices()}.items():
            self.combo.addItem(text, value)
        for folder in RUNS.folders:
            self._insert(folder)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.combo)
        layout.addWidget(button("Open run …", self.ask, "Add a model that you trained"))
        RUNS.added.connect(self._insert)
        self.combo.currentIndexChanged.connect(lambda _: self.changed.emit())

    @property
    def value(self) -> str:
        """Name of a built-in model, folder of a run, or another value of `first`."""
        return str(self.combo.currentData())

    def choose(self, value: str) -> None:
        """Choose a model; the folder of a run is added to the list.

        Raises
        ------
        UserError
            The codes of `find_model`: the folder has no model.
        """
        if self.combo.findData(value) < 0:
            find_model(Path(value))
            RUNS.add(value)
        self.combo.setCurrentIndex(self.combo.findData(value))

    def ask(self) -> None:
        """Ask for the folder of a run."""
        folder = QFileDialog.getExistingDirectory(self, "Folder of a run, such as cells_1")
        if folder:
            try:
                self.choose(folder)
            except Exception as error:
                from napari.utils.notifications import show_error

                show_error(str(error))

    def _insert(self, folder: str) -> None:
        if self.combo.findData(folder) < 0:
            self.combo.addItem(f"{Path(folder).name}: your model", folder)
