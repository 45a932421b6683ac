"""Take screenshots of the plugin for napari: `xvfb-run python docs/make/napari_pictures.py`.

The pictures show drawn nuclei: the widget Segment in 2D and in 3D, Review, and Train.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import npe2
from PIL import Image
from qtpy.QtWidgets import QApplication

import singula.napari_plugin

HERE = Path(__file__).parents[1]
_SIZE = (1250, 860)
_LIMIT = 1800  # seconds


def main(target: Path = HERE) -> list[Path]:
    """Use the widgets one after the other, and return the paths of the pictures."""
    plugins = npe2.PluginManager.instance()
    if "singula" not in plugins:
        manifest = Path(singula.napari_plugin.__file__).with_name("napari.yaml")
        plugins.register(npe2.PluginManifest.from_file(manifest))
    viewer = napari.Viewer()
    viewer.window.resize(*_SIZE)
    written = []

    def take(name: str) -> None:
        _wait(lambda: False, 1.5)
        path = target / f"napari_{name}.png"
        viewer.window.screenshot(str(path), flash=False, canvas_only=False)
        Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)
        written.append(path)

    viewer.open_sample("singula", "nuclei_3d")
    dock, segment = _add(viewer, "Segment")
    segment.segment()
    _wait(lambda: not segment.busy)
    viewer.dims.ndisplay = 3
    viewer.layers[0].visible = False
    viewer.reset_view()
    viewer.scene.camera.angles = (0, 25, 60)
    viewer.scene.camera.zoom *= 0.7
    take("segment_3d")

    viewer.dims.ndisplay = 2
    viewer.layers.clear()
    viewer.open_sample("singula", "nuclei")
    segment.segment()
    _wait(lambda: not segment.busy)
    segment.compare()
    _wait(lambda: not segment.busy)
    viewer.reset_view()
    take("segment")

    dock.hide()
    dock, review = _add(viewer, "Review")
    review.objects.choose(segment.result)
    review.start()
    _wait(lambda: not review.busy)
    review.accept()
    review.accept()
    take("review")

    train = review.fine_tune()
    dock.hide()
    viewer.reset_view()
    with tempfile.TemporaryDirectory() as folder:
        train.folder.setText(folder)
        train.minutes.setValue(1)
        train.start(("TRAIN.EPOCHS=12",))
        _wait(lambda: not train.busy or _epochs(train) >= 6)
        take("train")
        train.cancel()
        _wait(lambda: not train.busy)
    viewer.close()
    return written


def _epochs(train: Any) -> int:
    """Return the number of epochs that the plot shows."""
    return max((len(line.get_xdata()) for line in train.plot.axes.lines), default=0)


def _add(viewer: Any, name: str) -> Any:
    return viewer.window.add_plugin_dock_widget("singula", name)


def _wait(done: Callable[[], bool], seconds: float = _LIMIT) -> None:
    """Process events until a condition holds."""
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.02)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE)
