"""Results page: images with instances, ground truth and measurements."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nicegui import ui

from singula.commands.fine_tune import compare_fine_tuning
from singula.exports.tables import calibration
from singula.gui.pages.compare import compare_address
from singula.gui.pages.export import ExportPanel
from singula.gui.pages.finished import ImageView, add_finished_page
from singula.gui.pages.frame import dropdown, explained, fact_cards, link_to, run_address
from singula.gui.pages.object_table import ObjectTable, objects_choice
from singula.gui.results import Results, ShownObjects, measurements
from singula.gui.state import AppContext
from singula.runs.run import Stage


def add(context: AppContext) -> None:
    """Register the route of the page."""
    text = (
        "This page shows every test image with its objects, how they match your labels, and the "
        "size and shape of each object."
    )
    add_finished_page(context, "Results", text, _View)


class _View(ImageView[ShownObjects]):
    """View of the results of a run."""

    page, other_page, failed = "results", "tune", "This image cannot be shown"

    def __init__(self, context: AppContext, folder: Path, results: Results, image: str) -> None:
        super().__init__(folder, results, image)
        self._head()
        self._compare(context)
        self.notes = ui.element("div")
        self.problem = ui.element("div")
        with ui.element("div").classes("split") as self.content:
            left, right = ui.element("div"), ui.element("div")
        self.objects = ObjectTable(context.scenes, left, right)
        with right:
            ExportPanel(context, folder)
        self.load_first()

    def _head(self) -> None:
        with ui.element("div").classes("row-of tools"):
            scored = bool(self.results.score(self.stage))
            self.image_choice("Image (worst first)" if scored else "Image")
            run = self.results.run
            if len(run.stages) > 1:
                labels = {i: run.stage_label(stage) for i, stage in enumerate(run.stages)}
                choice = dropdown("Objects", labels, run.stages.index(self.stage))
                choice.on_value_change(self._choose_stage)
            self.objects_choice = objects_choice(self.load)
            ui.link("Report", f"/report?run={quote(str(self.folder))}", new_tab=True).classes(
                "as-button secondary"
            )
            self.correct_link, self.other_link = (
                ui.link(text, run_address(page, self.folder, self.name)).classes(
                    "as-button secondary"
                )
                for text, page in (("Correct objects", "correct"), ("Tune thresholds", "tune"))
            )
            ui.link("Compare with other results", compare_address(self.folder, None)).classes(
                "as-button secondary"
            )

    def _compare(self, context: AppContext) -> None:
        """Show the scores before and after, if the run was fine-tuned with corrections."""
        comparison = compare_fine_tuning(self.results.run, context.guard.allows)
        if comparison is not None:
            facts = [
                ("Before: detection score (F1)", f"{comparison.before:.3f}"),
                ("After fine-tuning", f"{comparison.after:.3f}"),
                ("corrected images not used for the training", comparison.images),
            ]
            ui.html(fact_cards(facts), sanitize=False)
            if comparison.after < comparison.before:
                ui.label(
                    "The model is worse on these images than before: correct more images, of all "
                    "kinds that you have, or train longer."
                ).classes("warning")

    async def _choose_stage(self, event: Any) -> None:
        self.stage = self.results.run.stages[int(event.value)]
        await self.load()

    def read(self, name: str, stage: Stage) -> ShownObjects:
        """Return the image and its table."""
        instances = self.results.instances(name, stage)
        corrected = self.results.corrected(name, stage, instances)
        is_corrected = corrected is not None and self.objects_choice.value == "corrected"
        if corrected is not None and is_corrected:
            instances = corrected
        scene = self.results.scene(name, stage, instances.labels, calibration(instances))
        table = measurements(replace(instances, image=scene.raw))
        return ShownObjects(scene, table, is_corrected, corrected is not None)

    async def present(self, name: str, stage: Stage, data: ShownObjects) -> None:
        """Show image, table and scores."""
        self.objects_choice.set_visibility(data.has_corrections)
        link_to(self.correct_link, run_address("correct", self.folder, name))
        self.objects.viewer.show(data.scene, data.title(name), name)
        self.objects.show(data.table, ndim=self.results.run.ndim)
        self._show_scores(self.results.score(stage, name), data)
        self.notes.clear()
        with self.notes:
            for note in self.results.images.notes:
                ui.label(note).classes("warning")

    def _show_scores(self, score: dict[str, float], data: ShownObjects) -> None:
        facts = [data.count]
        if score:
            facts.append(("Objects in your labels", f"{score['n_true']:.0f}"))
            for term, name in (
                ("Detection score (F1)", "f1"),
                ("Panoptic quality", "panoptic_quality"),
            ):
                label = f"{term}, before correction" if data.is_corrected else term
                facts.append((explained(label, term), f"{score[name]:.3f}"))
        self.objects.facts.set_content(fact_cards(facts))
