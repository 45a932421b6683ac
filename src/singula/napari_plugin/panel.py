"""Parts that all widgets of the plugin share: choice of a layer, messages, work in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from napari.layers import Layer
from napari.qt.threading import create_worker
from napari.viewer import Viewer
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from singula.errors import UserError

_ERROR_COLOR = "#d55e00"  # of a color-blind-safe palette, on dark and light backgrounds


class LayerChoice(QComboBox):
    """List of the layers of some types, the last added first.

    Parameters
    ----------
    viewer : Viewer
        Viewer of the layers.
    types : sequence of type
        Types of layers.
    accepts : callable, optional
        Returns False for layers that the list omits.
    """

    changed = Signal()

    def __init__(
        self,
        viewer: Viewer,
        types: Sequence[Any],
        accepts: Callable[[Layer], bool] | None = None,
    ) -> None:
        super().__init__()
        self._viewer, self._types, self._accepts = viewer, tuple(types), accepts
        self._chosen: Any = None
        make_narrow(self)
        events = viewer.layers.events
        for event in (events.inserted, events.removed, events.renamed):
            event.connect(self.refresh)
        self.refresh()
        self.currentIndexChanged.connect(lambda _: self._report())

    @property
    def layer(self) -> Any:
        """Chosen layer; None without any."""
        chosen = self.currentText()
        layers: Any = self._viewer.layers
        return next((layer for layer in layers if layer.name == chosen), None)

    def choose(self, layer: Any) -> None:
        """Choose a layer of the list."""
        self.setCurrentText(str(layer.name))

    def refresh(self, event: Any = None) -> None:
        """List the layers of the viewer, and choose the same one as before if it exists.

        Parameters
        ----------
        event : Event, optional
            Event of the list of layers.
        """
        viewed: Any = self._viewer.layers
        layers = [layer for layer in viewed if isinstance(layer, self._types)]
        layers = [layer for layer in layers if self._accepts is None or self._accepts(layer)]
        self.blockSignals(True)
        self.clear()
        self.addItems([layer.name for layer in reversed(layers)])
        if any(layer is self._chosen for layer in layers):
            self.setCurrentText(self._chosen.name)
        self.blockSignals(False)
        self._report()

    def _report(self) -> None:
        """Emit `changed` if another layer is chosen, not for other changes of the list."""
        layer = self.layer
        if layer is not self._chosen:
            self._chosen = layer
            self.changed.emit()


class Panel(QScrollArea):
    """Base class of the widgets: a scrollable column with a message and a progress bar.

    Parameters
    ----------
    viewer : Viewer
        Viewer of the layers.
    text : str
        Description of the widget at its top.
    """

    def __init__(self, viewer: Viewer, text: str) -> None:
        super().__init__()
        self.viewer = viewer
        self.worker: Any = None
        content = QWidget()
        self.column = QVBoxLayout(content)
        self.column.addWidget(note(text))
        self.message = note("")
        self.message.setObjectName("message")
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.bar = QProgressBar()
        self.bar.hide()
        self.setWidget(content)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(310)

    @property
    def busy(self) -> bool:
        """True while work is done in a thread."""
        return self.worker is not None

    def finish_column(self) -> None:
        """Add the progress bar and the message below the other parts."""
        self.column.addWidget(self.bar)
        self.column.addWidget(self.message)
        self.column.addStretch(1)

    def show_message(self, text: str, *, error: bool = False) -> None:
        """Show a message at the bottom of the widget."""
        self.message.setText(text)
        self.message.setStyleSheet(f"color: {_ERROR_COLOR};" if error else "")

    def show_error(self, error: Exception) -> None:
        """Show an error and its remedy."""
        if isinstance(error, UserError):
            hint = f"\n→ {error.hint}" if error.hint else ""
            self.show_message(f"{error.message}{hint}", error=True)
        else:
            self.show_message(f"{type(error).__name__}: {error}", error=True)

    def show_share(self, share: float | None) -> None:
        """Show the completed fraction of the work; None if it is unknown."""
        self.bar.setRange(0, 100 if share is not None else 0)
        self.bar.setValue(round(100 * (share or 0)))
        self.bar.show()

    def begin(
        self,
        work: Callable[[], Iterator[Any]],
        show: Callable[[Any], None],
        done: Callable[[], None],
    ) -> None:
        """Do work in a thread.

        Parameters
        ----------
        work : callable
            Returns a generator, which runs in the thread. It ends at its next value if the worker
            is asked to quit.
        show : callable
            Called in the thread of the viewer with each value of the generator.
        done : callable
            Called in the thread of the viewer after the work, also after an error.
        """

        def end() -> None:
            self.worker = None
            self.bar.hide()
            done()

        # The signal `finished` is emitted after `errored` and after the last value.
        worker = create_worker(work, _start_thread=False, _connect={"errored": self.show_error})
        worker.yielded.connect(show)
        worker.finished.connect(end)
        self.worker = worker
        worker.start()

    def quit(self) -> None:
        """Ask the thread to end."""
        if self.worker is not None:
            self.worker.quit()


def make_narrow(combo: QComboBox) -> None:
    """Let a list be narrower than its longest entry, so that it does not widen its panel."""
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(8)
    combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)


def note(text: str) -> QLabel:
    """Return a text that wraps its lines."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
    return label


def heading(text: str) -> QLabel:
    """Return the heading of a part of a widget."""
    label = QLabel(text)
    label.setStyleSheet("font-weight: bold; margin-top: 8px;")
    return label


def row(*widgets: QWidget) -> QHBoxLayout:
    """Return widgets side by side."""
    layout = QHBoxLayout()
    for widget in widgets:
        layout.addWidget(widget)
    return layout


def form(**fields: Any) -> QFormLayout:
    """Return a column of labeled widgets; ``_`` in a label stands for a space."""
    layout = QFormLayout()
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
    for label, field in fields.items():
        layout.addRow(f"{label.replace('_', ' ')}:", field)
    return layout


def button(text: str, action: Callable[[], Any], tip: str = "") -> QPushButton:
    """Return a button that calls a function without arguments."""
    push = QPushButton(text)
    push.setToolTip(tip)
    push.clicked.connect(lambda _=False: action())
    return push


def spacing_of(layer: Layer, ndim: int) -> tuple[float, ...] | None:
    """Return the voxel size of a layer along its last axes; None if it is not set."""
    scale = tuple(float(size) for size in layer.scale[-ndim:])
    return None if set(scale) == {1.0} else scale
