"""Viewer and tables of segmented images, for the Segment page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from nicegui import ui

from singula.errors import UserError
from singula.gui.overview import ImageSummary, has_no_objects, joined_table, summarize_images
from singula.gui.pages.compare import compare_address
from singula.gui.pages.export import ExportPanel
from singula.gui.pages.frame import (
    button,
    dropdown,
    error_state,
    fact_cards,
    link_to,
    run_address,
    run_in_thread,
    waiting,
    with_error_notice,
)
from singula.gui.pages.object_table import ObjectGrid, ObjectTable, objects_choice
from singula.gui.results import ShownObjects, measurements
from singula.gui.segment import SegmentedImages
from singula.gui.state import AppContext
from singula.report.html import escape
from singula.util.format import counted

_MAX_LISTED = 20
# Field of `ImageSummary`, and header of the column of the table of all images
_OVERVIEW = ("name", "Image"), ("objects", "Objects found"), ("size", "Median size (px)")
_CORRECTED_OVERVIEW = (_OVERVIEW[0], ("objects", "Objects, with corrections"), _OVERVIEW[2])
_ADVICE = (
    "Choose another model: fluorescence images and stained tissue need different models.",
    "If the images have several channels, enter the channel with the objects.",
    "Compare the images with those that the model was trained on: size and brightness of the "
    "objects.",
    "Draw labels in some of your images, and train a model on them.",
)


def _advise() -> None:
    """Add a message for images without objects."""
    with ui.element("section").classes("warning").props('role="alert"'):
        ui.label("No objects in any image").classes("error-title-plain")
        ui.label("What you can try:")
        with ui.element("ol"):
            for text in _ADVICE:
                ui.html(text, sanitize=escape, tag="li")


class SegmentedView:
    """Viewer and tables of the segmented images.

    Parameters
    ----------
    context : AppContext
        State that all pages share.
    images : SegmentedImages
        The images.
    earlier : Path, optional
        Results to compare with.
    """

    def __init__(self, context: AppContext, images: SegmentedImages, earlier: Path | None) -> None:
        self.images, self.earlier, self.loads = images, earlier, 0
        names = list(images.sources)
        self.name = names[0]
        self.all_images: ObjectGrid | None = None
        self.summary = ui.element("div")
        with ui.element("div").classes("row-of tools"):
            self.choice = dropdown("Image", names, self.name).classes("run-choice")
            self.choice.on_value_change(self._choose)
            self.objects_choice = objects_choice(self._show_other_objects)
            address = run_address("correct", images.folder, self.name)
            self.correct_link = ui.link("Correct objects", address).classes("as-button secondary")
            self.compare_link = ui.link("Compare with other results", self._compare_address())
            self.compare_link.classes("as-button secondary")
            download = with_error_notice(self._download)
            self.download = button("Download the table", download, look="secondary")
        self.table_path = ui.label().classes("note place")
        self.notes = ui.element("div")
        with ui.element("div").classes("split") as self.content:
            left, right = ui.element("div"), ui.element("div")
        self.objects = ObjectTable(context.scenes, left, right)
        with right:
            ExportPanel(context, images.folder)

    @property
    def shows_corrections(self) -> bool:
        """True if the user sees the corrected objects of images with corrections."""
        return bool(self.objects_choice.value == "corrected")

    async def _choose(self, event: Any) -> None:
        self.name = str(event.value)
        await self.load()

    async def _show_other_objects(self) -> None:
        await self.show_all()
        await self.load()

    def _compare_address(self) -> str:
        first, second = self.earlier or self.images.folder, self.images.folder
        return compare_address(first, second if self.earlier else None, self.name)

    async def show_all(self) -> None:
        """Show the table of all images, and advice if none has objects."""
        shows_corrections = self.shows_corrections
        summaries, corrected = await run_in_thread(self._summarize, shows_corrections)
        if shows_corrections != self.shows_corrections:
            return  # the user has chosen the other objects
        self.summary.clear()
        self.all_images = None
        with self.summary:
            if has_no_objects(summaries) and not corrected:
                _advise()
            if len(summaries) > 1:
                self._list(summaries, corrected)

    def _summarize(self, shows_corrections: bool) -> tuple[list[ImageSummary], int]:
        """Return the rows of all images, and the number of those with corrected objects."""
        sizes = self.images.corrected_sizes() if shows_corrections else {}
        return summarize_images(self.images.tables(), sizes), len(sizes)

    def _list(self, summaries: list[ImageSummary], corrected: int) -> None:
        counts = [summary.objects for summary in summaries if summary.objects is not None]
        title = f"All images ({len(summaries)}): {counted(sum(counts), 'object')}"
        if corrected:
            title += f", {counted(corrected, 'image')} with corrections"
        columns = _CORRECTED_OVERVIEW if corrected else _OVERVIEW
        with ui.expansion(title, value=len(summaries) <= _MAX_LISTED).classes("elsewhere"):
            self.all_images = ObjectGrid()
            self.all_images.props["caption"] = "All images"
            self.all_images.props["follow"] = False  # an image is read when it is chosen
            self.all_images.props["columns"] = [
                {"name": name, "label": label} for name, label in columns
            ]
            self.all_images.props["rows"] = [
                [getattr(summary, name) for name, _ in columns] for summary in summaries
            ]
            self.all_images.props["selected"] = self.name
            self.all_images.on("choose", lambda event: self.choice.set_value(event.args))
            download = with_error_notice(self._download_all)
            button("Download the table of all images", download, look="secondary")

    async def _download_all(self) -> None:
        tables, shows_corrections = self.images.tables(), self.shows_corrections

        def read() -> str:
            rows = self.images.corrected_rows(tables) if shows_corrections else {}
            return joined_table(tables, rows)

        text = await run_in_thread(read)
        ui.download.content(text.encode("utf-8"), f"{self.images.folder.name}.csv")

    async def load(self) -> None:
        """Read the image in a thread, then show it unless another one was chosen."""
        self.loads += 1
        number, name = self.loads, self.name
        if self.all_images is not None:
            self.all_images.props["selected"] = name
            self.all_images.update()
        self.notes.clear()
        with self.notes:
            waiting(f"Reading {name} …")
        try:
            shown = await run_in_thread(self._read, name, str(self.objects_choice.value))
        except UserError as error:
            if number == self.loads:
                self.content.set_visibility(False)  # it shows the previous image
                self.notes.clear()
                with self.notes:
                    error_state(error, "This image cannot be shown")
            return
        if number == self.loads:
            self._show(name, shown)

    def _show(self, name: str, shown: ShownObjects) -> None:
        """Show an image with its objects."""
        self.content.set_visibility(True)
        self.notes.clear()
        with self.notes:
            for note in self.images.notes:
                ui.label(note).classes("warning")
        file = self.images.table_file(name)
        self.download.set_visibility(file.is_file())
        self.table_path.set_text(f"Table: {self.images.guard.short(file)}")
        self.table_path.set_visibility(file.is_file() and not shown.is_corrected)
        self.objects_choice.set_visibility(shown.has_corrections)
        link_to(self.compare_link, self._compare_address())
        link_to(self.correct_link, run_address("correct", self.images.folder, name))
        self.objects.viewer.show(shown.scene, shown.title(name), name)
        self.objects.show(shown.table, ndim=len(shown.scene.shape))
        facts = [shown.count, ("Images", str(len(self.images.sources)))]
        self.objects.facts.set_content(fact_cards(facts))

    def _read(self, name: str, objects: str) -> ShownObjects:
        scene, instances = self.images.read(name, objects)
        table = measurements(replace(instances, image=scene.raw))
        # The choice also applies to the table of all images.
        has_corrections = bool(self.images.corrected_names())
        return ShownObjects(scene, table, instances.origin == "corrected", has_corrections)

    async def _download(self) -> None:
        name, shows_corrections = self.name, self.shows_corrections
        file = self.images.guard.check(self.images.table_file(name))
        rows = await run_in_thread(self.images.corrected_rows, [name]) if shows_corrections else {}
        if rows:
            text = joined_table({name: file}, rows)
            ui.download.content(text.encode("utf-8"), f"{name}_corrected.csv")
        elif file.is_file():
            ui.download.file(file)
