"""Workflow of the interface: segment, correct, fine-tune, apply, compare and export."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
from gui_browser import MINUTE, until
from gui_drivers import Mouse, place
from label_points import Point, free_square, ids_of, inner_point, nearest_pair, two_parts
from outline_files import from_geojson, from_rois

from singula.io.read import read_labels

# True if all pictures are complete
_COMPLETE = """() => {
  const all = [...document.querySelectorAll('.viewer-host canvas[tabindex="0"]')];
  return all.length > 0 && all.every(c => c.dataset.drawn && c.dataset.complete === 'true');
}"""


def labels_of(file: Path) -> np.ndarray:
    return np.asarray(read_labels(file, 2).array[..., 0])


class Workflow:
    """The steps of the workflow, each with the seconds from the click to the result.

    Parameters
    ----------
    user : Mouse
        Use of the interface with mouse, keyboard or finger.
    root : Path
        Folder that the interface may open.
    """

    def __init__(self, user: Mouse, root: Path) -> None:
        self.user, self.tab, self.root = user, user.tab, root
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[step] = time.perf_counter() - began

    def folder(self) -> Path:
        """Return the folder in the address of the page."""
        return self.root / parse_qs(urlsplit(self.tab.url).query)["run"][0]

    def wait_for_picture(self) -> None:
        self.tab.wait_for_function(_COMPLETE, timeout=10 * MINUTE)

    def segment(self, images: str, model: str, step: str) -> Path:
        """Segment a folder of images, and return the folder of the results."""
        user = self.user
        user.fill("Image, or folder of images", images)
        if model:
            user.choose("Model", model)
        user.check_page()
        with self.timed(step):
            user.press("Segment")
            self.tab.wait_for_url("**/segment?run=**")
            self.wait_for_picture()
        user.check_page()
        return self.folder()

    def correct(self, folder: Path) -> None:
        """Correct three objects of the first image, and delete one of the second."""
        user, tab = self.user, self.tab
        names = sorted(path.stem for path in folder.glob("*.tif"))
        with self.timed("*Correct objects*: the least certain object"):
            user.press("Correct objects", "link")
            tab.wait_for_url("**/correct?**")
            self.wait_for_picture()
        user.check_page()
        before = labels_of(folder / f"{names[0]}.tif")
        self._check_marked_object(before)
        image = _Corrected(self, before, folder / "corrected" / "labels" / f"{names[0]}.tif")
        image.delete()
        image.merge()
        if user.can_draw:
            image.draw()
        else:
            image.split()
        user.choose("Image", names[1])
        # The picture of the first image disappears before the address changes.
        tab.wait_for_url(f"**{names[1]}")
        tab.locator(".viewer-host").first.wait_for()
        self.wait_for_picture()
        before = labels_of(folder / f"{names[1]}.tif")
        _Corrected(self, before, folder / "corrected" / "labels" / f"{names[1]}.tif").delete()

    def _check_marked_object(self, labels: np.ndarray) -> None:
        """Check that the object to review is in the middle of the picture."""
        number = int(self.tab.locator(".fact b").first.inner_text())
        rows, columns = np.nonzero(labels == number)
        middle = [(places.min() + places.max()) / 2 for places in (rows, columns)]
        box = self.tab.locator(".viewer-host canvas").first.bounding_box()
        center = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        assert np.abs(np.subtract(place(self.tab, *middle), center)).max() < 20

    def fine_tune(self) -> Path:
        """Train the model with the corrections, and return the folder of the run."""
        user, tab = self.user, self.tab
        tab.get_by_text("2 corrected images").wait_for()
        user.fill("Training time (minutes)", "0.1")
        with self.timed("*Fine-tune with corrections*: page of the run"):
            user.press("Fine-tune with corrections")
            tab.wait_for_url("**/run?run=**", timeout=10 * MINUTE)
            tab.locator(".state").first.wait_for()
        with self.timed("training of 0.1 minutes, test and scores"):
            tab.locator(".state.finished, .state.failed, .state.empty").wait_for(
                timeout=20 * MINUTE
            )
        user.check_page()
        assert tab.locator(".state.finished").count(), tab.locator(".log").inner_text()
        run = self.folder()
        user.press("Show results", "link")
        tab.wait_for_url("**/results?**")
        self.wait_for_picture()
        assert "Before: detection score (F1)" in tab.locator("#content").inner_text()
        user.check_page()
        tab.go_back()
        return run

    def compare(self, first: Path, second: Path) -> None:
        """Compare the objects before and after."""
        user, tab = self.user, self.tab
        with self.timed("*Compare with other results*: both pictures"):
            user.press("Compare with other results", "link")
            tab.wait_for_url("**/compare?**")
            tab.locator(".side-by-side").wait_for()
            self.wait_for_picture()
        user.check_page()
        counts = []
        for folder in (first, second):
            files = sorted(folder.glob("*.tif"))
            counts.append(str(sum(len(ids_of(labels_of(file))) for file in files)))
        row = tab.locator("table").first.locator("tr", has_text="objects found")
        assert row.locator("td").all_inner_texts() == counts
        tab.go_back()
        self.wait_for_picture()

    def export(self, folder: Path) -> None:
        """Export to ImageJ and QuPath, read the files, and compare them with the labels."""
        user, tab = self.user, self.tab
        user.unfold("Export all images")
        images = sorted(folder.glob("*.tif"))
        for option, suffix, read in (
            ("ImageJ", "_rois.zip", from_rois),
            ("QuPath", ".geojson", from_geojson),
        ):
            user.choose("Format", option)
            with self.timed(f"*Export to this folder*: {option}"):
                user.press("Export to this folder")
                written = re.compile(f"{option}.* written to")  # not the message of the last export
                tab.locator(".good", has_text=written).wait_for()
            for file in images:
                labels = labels_of(file)
                (exported,) = (folder / "exports").rglob(f"{file.stem}{suffix}")
                np.testing.assert_array_equal(read(exported, labels.shape), labels)
        user.check_page()


class _Corrected:
    """Label image that is corrected on the page, and the expected ids after each correction."""

    def __init__(self, flow: Workflow, labels: np.ndarray, file: Path) -> None:
        self.flow, self.user, self.labels, self.file = flow, flow.user, labels, file
        width = labels.shape[1]
        self.free = {  # not below the buttons of the viewer
            number for number in ids_of(labels)
            if inner_point(labels == number)[1] < 0.75 * width and (labels == number).sum() > 30
        }  # fmt: skip

    def _act(self, tool: str, *points: Point) -> np.ndarray:
        """Choose a tool, use it, and return the labels in the file after the change."""
        self.user.press(tool)
        self.user.view_whole()
        for point in points[:-1]:
            self.user.pick(*point)
            self.user.tab.get_by_text("Now click the second").wait_for()
        return self._after(f"*{tool}*: corrected file", lambda: self.user.pick(*points[-1]))

    def _after(self, step: str, action: Callable[[], None]) -> np.ndarray:
        before = self.labels
        with self.flow.timed(step):
            action()
            until(self.user.tab, lambda: self.file.is_file() and self._is_changed())
        self.user.tab.get_by_text("Saved: ").wait_for()
        return before

    def _is_changed(self) -> bool:
        """Read the file, and return True if it contains other labels than before."""
        before, self.labels = self.labels, labels_of(self.file)
        return bool((self.labels != before).any())

    def delete(self) -> None:
        number = self.free.pop()
        before = self._act("Delete", inner_point(self.labels == number))
        np.testing.assert_array_equal(self.labels, np.where(before == number, 0, before))

    def merge(self) -> None:
        pair = nearest_pair(self.labels, self.free)
        self.free -= set(pair)
        before = self._act("Merge", *(inner_point(self.labels == n) for n in pair))
        merged = ids_of(self.labels[np.isin(before, pair)])
        assert len(merged) == 1
        assert ids_of(self.labels) == ids_of(before) - set(pair) | merged

    def split(self) -> None:
        number = max(self.free, key=lambda n: (self.labels == n).sum())
        points = two_parts(self.labels == number)
        before = self._act("Split", *points)
        parts = ids_of(self.labels[before == number])
        assert len(parts) == 2
        np.testing.assert_array_equal(np.isin(self.labels, sorted(parts)), before == number)

    def draw(self) -> None:
        corners = free_square(self.labels)
        self.user.press("Draw")
        self.user.view_whole()
        self.user.tab.wait_for_function(
            "document.querySelector('.drawing').style.pointerEvents == 'auto'"
        )
        before = self._after("*Draw*: corrected file", lambda: self.user.outline(corners))
        (new,) = ids_of(self.labels) - ids_of(before)
        side = corners[1][1] - corners[0][1]
        size = int((self.labels == new).sum())
        assert abs(size - side**2) <= 2 * side + 4  # within half a pixel of the border
