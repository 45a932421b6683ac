"""Compare page: scores and images of two runs side by side."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nicegui import ui

from singula.errors import UserError
from singula.exports.tables import calibration
from singula.gui.compare import ScoreLine, common_images, compare_objects, compare_scores
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
from singula.gui.results import Results, check_instances, open_results
from singula.gui.run_search import finished_runs
from singula.gui.state import AppContext
from singula.report.html import Markup, tag

_TEXT = (
    "Choose two runs on the same images. Both views move together, and the scores are side by side."
)


def add(context: AppContext) -> None:
    """Register the route of the page."""

    @ui.page("/compare", title="Compare · Singula", response_timeout=60)
    async def page(run: str = "", other: str = "", image: str = "") -> None:
        with frame("Compare"):
            heading("Compare two runs", _TEXT)
            runs = await run_in_thread(finished_runs, context.guard)
            if len(runs) < 2:
                empty_state("There are fewer than two runs", _TEXT, ("Start a run", "/run"))
                return
            chosen = [requested_folder(text, context.guard) if text else None
                      for text in (run, other)]  # fmt: skip
            _choices(context.guard, runs, chosen)
            if chosen[0] is None or chosen[1] is None:
                return
            try:
                opened = [
                    await run_in_thread(open_results, folder, context.guard)
                    for folder in chosen
                    if folder is not None
                ]
                _View(context, [f for f in chosen if f is not None], opened, image)
            except UserError as error:
                error_state(error, "These runs cannot be compared")


def compare_address(first: Path | None, second: Path | None, image: str = "") -> str:
    """Return the address of the page for two runs, or for one of their images."""
    parts = {"run": first, "other": second, "image": image or None}
    query = "&".join(f"{key}={quote(str(value))}" for key, value in parts.items() if value)
    return f"/compare?{query}"


def _choices(guard: Guard, runs: list[Path], chosen: list[Path | None]) -> None:
    options = {str(path): run_label(path, guard) for path in runs}
    with ui.element("div").classes("row-of tools"):
        for index, title in enumerate(("First run", "Second run")):
            value = str(chosen[index]) if str(chosen[index]) in options else None
            select = dropdown(title, options, value).classes("run-choice")

            def choose(event: Any, index: int = index) -> None:
                pair = [*chosen]
                pair[index] = Path(event.value)
                ui.navigate.to(compare_address(pair[0], pair[1]))

            select.on_value_change(choose)


class _View:
    """Scores and linked views of two runs."""

    def __init__(
        self, context: AppContext, folders: list[Path], results: list[Results], image: str
    ) -> None:
        for each in results:
            check_instances(each)
        self.folders, self.results, self.loads = folders, results, 0
        self.names = common_images(results[0], results[1])
        if not self.names:
            raise UserError(
                "the runs have no image in common",
                "choose runs that were tested on the same images",
                "gui.no_common_image",
            )
        self.name = image if image in self.names else self.names[0]
        titles = [folder.name for folder in folders]
        if titles[0] == titles[1]:
            titles = [context.guard.short(folder) for folder in folders]
        self.titles = titles
        subheading("All images")
        ui.html(_score_table(titles, compare_scores(results[0], results[1])), sanitize=False)
        subheading("One image")
        with ui.element("div").classes("row-of tools"):
            choice = dropdown("Image (worst of the second run first)", self.names, self.name)
            choice.classes("run-choice").on_value_change(self._choose)
        self.problem = ui.element("div").props('aria-live="polite"')
        with ui.element("div") as self.content:
            self.scores = ui.html("", sanitize=False)
            self.viewers: list[Viewer] = []
            with ui.element("div").classes("side-by-side"):
                for index, title in enumerate(titles):
                    with ui.element("section"):
                        ui.html(tag("h2", title), sanitize=False)
                        ui.link("Results", run_address("results", folders[index]))
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
        """Show the same slice of the other run."""
        other = self.viewers[1 - index]
        if other.slice != number:
            other.go_to_slice(number)

    async def load(self) -> None:
        """Read the image of both runs in a thread, then show it unless another was chosen."""
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
            lines.append(ScoreLine("objects of both runs that match", both, both, 0.0))
            lines.append(ScoreLine("objects of this run only", first, second, 0.0))
        self.scores.set_content(_score_table(self.titles, lines))

    def _read(self, name: str) -> tuple[list[Scene], dict[str, int] | None]:
        scenes = []
        for results in self.results:
            stage = results.run.final_stage
            instances = results.instances(name, stage)
            scenes.append(results.scene(name, stage, instances.labels, calibration(instances)))
        labels = [scene.labels["instances"] for scene in scenes]
        same = labels[0].shape == labels[1].shape
        return scenes, compare_objects(labels[0], labels[1]) if same else None


def _score_table(titles: list[str], lines: list[ScoreLine]) -> Markup:
    if not lines:
        return tag("p", "There are no scores: the runs have no labels.", class_="note")
    rows = [(line.title, line.first, line.second, line.gain) for line in lines]
    table = score_table("", titles[1], rows, before=titles[0])
    return tag("div", table, class_="compare-scores")
