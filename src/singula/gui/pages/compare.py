"""Compare page: scores and images of two runs side by side."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nicegui import ui

from singula.errors import UserError
from singula.gui.compare import (
    Compared,
    ScoreLine,
    common_images,
    comparable_folders,
    compare_counts,
    compare_objects,
    compare_scores,
    describe_prediction,
    open_compared,
    read_scene,
)
from singula.gui.guard import Guard
from singula.gui.pages.frame import (
    dropdown,
    empty_state,
    error_state,
    frame,
    heading,
    requested_folder,
    run_address,
    run_in_thread,
    run_label,
    score_table,
    show_address,
    subheading,
    waiting,
)
from singula.gui.pages.viewer import Viewer
from singula.gui.pictures import Scene
from singula.gui.segment import SegmentedImages
from singula.gui.state import AppContext
from singula.report.html import Markup, tag

_TEXT = (
    "Choose two results of the same images, such as those of two models. Both views move together. "
    "Scores are shown for runs with your labels, numbers of objects for segmented images."
)


def add(context: AppContext) -> None:
    """Register the route of the page."""

    @ui.page("/compare", title="Compare · Singula", response_timeout=60)
    async def page(run: str = "", other: str = "", image: str = "") -> None:
        with frame("Compare"):
            heading("Compare two results", _TEXT)
            runs = await run_in_thread(comparable_folders, context.guard)
            if len(runs) < 2:
                links = ("Segment images", "/segment"), ("Start a run", "/run")
                empty_state("There are fewer than two results", "", *links)
                return
            chosen = [requested_folder(text, context.guard) if text else None
                      for text in (run, other)]  # fmt: skip
            labels = await run_in_thread(_labels, context.guard, runs)
            _choices(labels, chosen)
            if chosen[0] is None or chosen[1] is None:
                return
            try:
                opened = [
                    await run_in_thread(open_compared, context.guard, folder)
                    for folder in chosen
                    if folder is not None
                ]
                _View(context, [f for f in chosen if f is not None], opened, image)
            except UserError as error:
                error_state(error, "These results cannot be compared")


def compare_address(first: Path | None, second: Path | None, image: str = "") -> str:
    """Return the address of the page for two results, or for one of their images."""
    parts = {"run": first, "other": second, "image": image or None}
    query = "&".join(f"{key}={quote(str(value))}" for key, value in parts.items() if value)
    return f"/compare?{query}"


def _labels(guard: Guard, folders: list[Path]) -> dict[str, str]:
    """Return the texts of the list of results by their folders."""
    return {str(path): describe_prediction(guard, path) or run_label(path, guard)
            for path in folders}  # fmt: skip


def _choices(options: dict[str, str], chosen: list[Path | None]) -> None:
    with ui.element("div").classes("row-of tools"):
        for index, title in enumerate(("First result", "Second result")):
            value = str(chosen[index]) if str(chosen[index]) in options else None
            select = dropdown(title, options, value).classes("run-choice")

            def choose(event: Any, index: int = index) -> None:
                pair = [*chosen]
                pair[index] = Path(event.value)
                ui.navigate.to(compare_address(pair[0], pair[1]))

            select.on_value_change(choose)


class _View:
    """Scores and linked views of two results."""

    def __init__(
        self, context: AppContext, folders: list[Path], results: list[Compared], image: str
    ) -> None:
        self.folders, self.results, self.loads = folders, results, 0
        self.names = common_images(results[0], results[1])
        if not self.names:
            raise UserError(
                "the results have no image in common",
                "choose results of the same images",
                "gui.no_common_image",
            )
        self.name = image if image in self.names else self.names[0]
        titles = [folder.name for folder in folders]
        if titles[0] == titles[1]:
            titles = [context.guard.short(folder) for folder in folders]
        self.titles = titles
        subheading("All images")
        lines = compare_scores(results[0], results[1]) or compare_counts(results[0], results[1])
        ui.html(_score_table(titles, lines), sanitize=False)
        subheading("One image")
        with ui.element("div").classes("row-of tools"):
            scored = not isinstance(results[1], SegmentedImages)
            title = "Image (worst of the second result first)" if scored else "Image"
            choice = dropdown(title, self.names, self.name)
            choice.classes("run-choice").on_value_change(self._choose)
        self.problem = ui.element("div").props('aria-live="polite"')
        with ui.element("div") as self.content:
            self.scores = ui.html("", sanitize=False)
            self.viewers: list[Viewer] = []
            with ui.element("div").classes("side-by-side"):
                for index, title in enumerate(titles):
                    with ui.element("section"):
                        ui.html(tag("h2", title), sanitize=False)
                        page = _page_of(results[index])
                        link = ui.link("Open", run_address(page, folders[index]))
                        link.classes("as-button secondary")
                        self.viewers.append(
                            Viewer(
                                context.scenes,
                                on_slice=partial(self._follow, index),
                                group="compare",
                            )
                        )
        self.content.set_visibility(False)
        ui.timer(0, self.load, once=True)

    async def _choose(self, event: Any) -> None:
        self.name = str(event.value)
        await self.load()

    def _follow(self, index: int, number: int) -> None:
        """Show the same slice of the other result."""
        other = self.viewers[1 - index]
        if other.slice != number:
            other.go_to_slice(number)

    async def load(self) -> None:
        """Read the image of both results in a thread, then show it unless another was chosen."""
        self.loads += 1
        number, name = self.loads, self.name
        show_address(compare_address(self.folders[0], self.folders[1], name))
        self.problem.clear()
        with self.problem:
            waiting()
        try:
            scenes, counts = await run_in_thread(self._read, name)
        except UserError as error:
            if number == self.loads:
                self.content.set_visibility(False)
                self.problem.clear()
                with self.problem:
                    error_state(error, "This image cannot be shown")
            return
        if number != self.loads:
            return
        self.problem.clear()
        self.content.set_visibility(True)
        for viewer, scene, title in zip(self.viewers, scenes, self.titles, strict=True):
            viewer.show(scene, f"{name}, {title}")
        self.viewers[1].go_to_slice(self.viewers[0].slice)
        lines = compare_scores(self.results[0], self.results[1], name)
        if counts is not None:
            both, first, second = (str(counts[key]) for key in ("both", "first", "second"))
            if not lines:
                totals = [str(counts["both"] + counts[key]) for key in ("first", "second")]
                lines.append(ScoreLine("objects found", totals[0], totals[1], 0.0))
            lines.append(ScoreLine("objects that match", both, both, 0.0))
            lines.append(ScoreLine("objects only here", first, second, 0.0))
        self.scores.set_content(_score_table(self.titles, lines))

    def _read(self, name: str) -> tuple[list[Scene], dict[str, int] | None]:
        scenes = [read_scene(results, name) for results in self.results]
        labels = [scene.labels["instances"] for scene in scenes]
        same = labels[0].shape == labels[1].shape
        return scenes, compare_objects(labels[0], labels[1]) if same else None


def _page_of(compared: Compared) -> str:
    return "segment" if isinstance(compared, SegmentedImages) else "results"


def _score_table(titles: list[str], lines: list[ScoreLine]) -> Markup:
    if not lines:
        return tag("p", "Scores are shown only if both results have them.", class_="note")
    rows = [(line.title, line.first, line.second, line.gain) for line in lines]
    table = score_table("", titles[1], rows, before=titles[0])
    return tag("div", table, class_="compare-scores")
