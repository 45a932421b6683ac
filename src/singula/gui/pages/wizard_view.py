"""Wizard of the New page: five questions with proposed answers."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from nicegui import ui

from singula.autoconfig import Proposal
from singula.dataset.checks import KINDS, Inspection
from singula.dataset.checks.text import summary, verdict
from singula.dataset.facts import Folders
from singula.errors import UserError
from singula.gui.form import Form
from singula.gui.pages.form_view import FormView
from singula.gui.pages.frame import (
    button,
    error_state,
    heading,
    note,
    run_in_thread,
    subheading,
)
from singula.gui.pages.paths import path_input
from singula.gui.state import AppContext
from singula.gui.wizard import (
    AUTO,
    FIND,
    Answers,
    Sample,
    draft,
    inspect,
    parts_from_fields,
    recognize,
    samples,
)

_PARTS = {"train": "Training", "val": "Validation", "test": "Test"}
_MAX_FILES = 6


class WizardView:
    """Wizard with five steps, followed by the form.

    Parameters
    ----------
    context : AppContext
        State that all pages share.
    dataset : str
        Initial folder of the data set.
    """

    def __init__(self, context: AppContext, dataset: str) -> None:
        self.guard = context.guard
        self.parts: tuple[Folders, ...] = ()
        self.inspection: Inspection | None = None
        self.changes = 0
        self.page = ui.element("div")
        with self.page:
            heading("New", "Answer five questions; the answers are proposed from your images.")
        with (
            self.page,
            ui.stepper().props("vertical animated flat").classes("wizard") as self.stepper,
        ):
            with ui.step("dimensions", title="1. Images or volumes"):
                options = {0: "Automatic, from the files", 2: "2D images", 3: "3D volumes"}
                self.ndim = ui.radio(options, value=0, on_change=self._invalidate).props("dense")
                self._next()
            with ui.step("find", title="2. What to find"):
                self.find = ui.radio(FIND, value=AUTO).props("dense")
                self._next(back=True)
            with ui.step("data", title="3. Data"):
                self._data_step(dataset)
            with ui.step("classes", title="4. Classes"):
                ui.label(
                    "How many kinds of objects do your labels distinguish? For more than one, the "
                    "second channel of the label images must contain the class of each pixel."
                )
                self.classes = ui.number("Kinds of objects", value=1, min=1, max=254, format="%d")
                self.classes.props("outlined dense").classes("short")
                self._next(back=True)
            with ui.step("output", title="5. Output"):
                self._output_step(dataset)

    def _next(self, *, back: bool = False) -> None:
        with ui.stepper_navigation():
            button("Next", self.stepper.next)
            if back:
                button("Back", self.stepper.previous, look="plain")

    def _data_step(self, dataset: str) -> None:
        self.dataset = path_input(self.guard, "Folder of the data set", dataset, folders=True)
        self.dataset.on_value_change(self._invalidate)
        self.folders: dict[tuple[str, str], ui.input] = {}
        with ui.expansion("Images or labels in other folders").classes("elsewhere"):
            ui.label("These folders replace the folder above.").classes("note")
            for name, title in _PARTS.items():
                with ui.element("div").classes("row-of"):
                    for kind in ("images", "labels"):
                        self.folders[name, kind] = path_input(
                            self.guard, f"{title} {kind}", folders=True
                        )
                        self.folders[name, kind].on_value_change(self._invalidate)
        with ui.stepper_navigation():
            self.check_button = button("Check the data", self._check)
            button("Back", self.stepper.previous, look="plain")
        self.summary = ui.element("div").classes("data-summary").props('aria-live="polite"')

    def _invalidate(self) -> None:
        """Discard the inspection, because a field was changed."""
        self.changes += 1
        self.parts, self.inspection = (), None
        self.summary.clear()

    def _output_step(self, dataset: str) -> None:
        self.proposed = self._free_name(dataset)
        self.output = path_input(self.guard, "Configuration to write", self.proposed)
        self.results = path_input(self.guard, "Folder for the results", "results", folders=True)
        self.minutes = ui.number(
            "Time limit of the training, minutes", value=30, min=1, format="%g"
        )
        self.minutes.props("outlined dense").classes("short")
        with ui.stepper_navigation():
            button("Fill in the configuration", self._draft)
            button("Back", self.stepper.previous, look="plain")
        self.messages = ui.element("div")

    def _free_name(self, dataset: str) -> str:
        stem = Path(dataset).name
        if not stem or not self.guard.allows(f"{stem}_999.yaml"):  # too long for a file name
            stem = "my_images"
        names = [f"{stem}.yaml", *(f"{stem}_{i}.yaml" for i in range(2, 1000))]
        return next((n for n in names if not (self.guard.home / n).exists()), names[0])

    def _chosen(self) -> tuple[list[Folders], list[str]]:
        entered = [
            (
                name,
                self.folders[name, "images"].value or "",
                self.folders[name, "labels"].value or "",
            )
            for name in _PARTS
        ]
        if any(images or labels for _, images, labels in entered):
            return parts_from_fields(self.guard, entered), []
        return recognize(self.guard, self.dataset.value or "")

    async def _check(self) -> None:
        """Find the files, show some of them, and check all."""
        self._invalidate()
        self.check_button.disable()
        try:
            await self._check_data(self.changes)
        finally:
            self.check_button.enable()

    async def _check_data(self, version: int) -> None:
        ndim = int(self.ndim.value) or None
        with self.summary:
            ui.label("Checking all images …").classes("note")
        try:
            parts, notes = await run_in_thread(self._chosen)
            shown = {p.name: await run_in_thread(samples, p, ndim) for p in parts}
            inspection = await run_in_thread(inspect, parts, ndim)
            class_numbers = [number for part in inspection.parts for number in part.classes]
            n_classes = max(class_numbers, default=1)
        except UserError as error:
            if version != self.changes:
                return
            self.summary.clear()
            with self.summary:
                error_state(error, "These data cannot be used")
            return
        if version != self.changes:
            return  # a field was changed in the meantime
        self.parts, self.inspection = tuple(parts), inspection
        if self.output.value == self.proposed:
            self.proposed = self._free_name(self.dataset.value or "")
            self.output.set_value(self.proposed)
        self.summary.clear()
        self.classes.set_value(max(1, n_classes))
        with self.summary:
            for note in notes:
                ui.label(note).classes("warning")
            self._show_parts(parts, shown)
            _show_findings(inspection)
            with ui.stepper_navigation():
                button("Next", self.stepper.next)

    def _show_parts(self, parts: Sequence[Folders], shown: dict[str, list[Sample]]) -> None:
        for part in parts:
            ui.html(escape(_PARTS[part.name]), sanitize=False, tag="h3")
            labels = "no labels" if part.labels is None else self.guard.short(part.labels)
            ui.label(f"{self.guard.short(part.images)}  ·  {labels}").classes("note")
            figures = "".join(_figure(sample) for sample in shown[part.name])
            ui.html(figures, sanitize=False).classes("thumbs")

    async def _draft(self) -> None:
        """Fill the form with values that suit the data."""
        self.messages.clear()
        with self.messages:
            waiting = ui.label("Analyzing all images …").classes("note")
        try:
            answers = Answers(
                ndim=int(self.ndim.value) or None,
                find=str(self.find.value),
                parts=self.parts or tuple((await run_in_thread(self._chosen))[0]),
                classes=int(self.classes.value or 1),
                minutes=float(self.minutes.value or 30),
                output=Path(self.output.value or ""),
                result_dir=Path(self.results.value or "."),
            )
            form, proposal, notes = await run_in_thread(draft, answers, self.guard)
        except UserError as error:
            self.messages.clear()
            with self.messages:
                error_state(error, "The configuration could not be filled in")
            return
        waiting.delete()
        self._show_form(form, proposal, notes, self.guard.check(answers.output))

    def _show_form(self, form: Form, proposal: Proposal, notes: list[str], output: Path) -> None:
        self.page.clear()
        with self.page:
            heading("Configuration", proposal.summary)
            for note in notes:
                ui.label(note).classes("warning")
            with ui.expansion(f"{len(proposal.reasons)} choices and their reasons"):
                rows = "".join(
                    f"<tr><th scope='row'>{escape(key)}</th><td>{escape(value)}</td>"
                    f"<td>{escape(reason)}</td></tr>"
                    for key, value, reason in proposal.reasons
                )
                ui.html(f"<table class='reasons'>{rows}</table>", sanitize=False)
            FormView(
                self.guard, form, output, replace=output.exists(), results=self.results.value or "."
            )
            ui.run_javascript("window.scrollTo(0, 0)")


def _figure(sample: Sample) -> str:
    picture = "<div class='no-picture'></div>"
    if sample.png is not None:
        data = base64.b64encode(sample.png).decode("ascii")
        picture = f'<img alt="{escape(sample.name)}" src="data:image/png;base64,{data}">'
    caption = f"<span>{escape(sample.name)}</span>{escape(sample.caption)}"
    title = escape(f"{sample.name}: {sample.caption}")
    text = f"<figcaption>{caption}</figcaption>"
    return f'<figure class="thumb" title="{title}">{picture}{text}</figure>'


def _show_findings(inspection: Inspection) -> None:
    """Add the findings of the check, grouped by kind."""
    subheading("Check")
    ui.label(summary(inspection)).classes("note")
    if inspection.findings:
        note(verdict(inspection).replace("--fix FOLDER", "`singula check --fix`"))
    else:
        ui.label(verdict(inspection)).classes("good")
    for kind, findings in inspection.by_kind().items():
        row: Any = KINDS[kind]
        with ui.element("div").classes(f"finding {row.severity}"):
            ui.label(f"{row.title} ({len(findings)})").classes("finding-title")
            for finding in findings[:_MAX_FILES]:
                ui.label(f"{finding.part}/{finding.file.name}: {finding.text}").classes("note")
            if len(findings) > _MAX_FILES:
                ui.label(f"and {len(findings) - _MAX_FILES} more").classes("note")
            ui.label(f"→ {row.suggestion}").classes("note")
