"""Wizard of the New page: five questions with proposed answers."""

from __future__ import annotations

from html import escape
from pathlib import Path

from nicegui import ui

from singula.autoconfig import Proposal
from singula.dataset.facts import Folders
from singula.errors import UserError
from singula.gui.data_check import (
    DIMENSIONS,
    CheckCanceledError,
    CheckedData,
    DataCheck,
    check_classes,
)
from singula.gui.entries import CHECKED_STEPS, FOLDERS, PARTS, STEPS, WizardEntries
from singula.gui.form import Form
from singula.gui.pages.findings_view import show_findings, show_parts
from singula.gui.pages.form_view import FormView
from singula.gui.pages.frame import (
    button,
    error_state,
    heading,
    progress_bar,
    run_in_thread,
    show_address,
)
from singula.gui.pages.kind_pictures import kind_picture
from singula.gui.pages.paths import path_input
from singula.gui.state import AppContext
from singula.gui.wizard import FIND, Answers, parts_from_fields, propose_form, recognize
from singula.util.free_names import free_name

_REFRESH_SECONDS = 0.3


class WizardView:
    """Wizard with five steps, followed by the form.

    Parameters
    ----------
    context : AppContext
        State that all pages share.
    entries : WizardEntries
        Initial entries.
    """

    def __init__(self, context: AppContext, entries: WizardEntries) -> None:
        self.context, self.guard, self.entries = context, context.guard, entries
        self.data: CheckedData | None = None
        self.running: DataCheck | None = None
        self.page = ui.element("div")
        with self.page:
            heading(
                "Train on your labels",
                "Answer five questions; the answers are proposed from your images.",
            )
        with self.page, ui.stepper(value=entries.step).classes("wizard") as self.stepper:
            self.stepper.props("vertical animated flat header-nav")
            self.steps = {}
            builders = (self._images, self._objects, self._data, self._kinds, self._training)
            for (name, title), build in zip(STEPS.items(), builders, strict=True):
                with ui.step(name, title=title) as self.steps[name]:
                    build()
        self._allow(False)
        self.stepper.on_value_change(self._remember)

    async def restore(self) -> None:
        """Check the data again if the address contains a step that follows the check."""
        step = self.entries.step
        if step in CHECKED_STEPS or self.entries.checked:
            self.stepper.set_value("data" if step in CHECKED_STEPS else step)
            await self._check()
            if (
                step in CHECKED_STEPS
                and self.data is not None
                and not self.data.inspection.problems
            ):
                self.classes.set_value(self.entries.classes)
                self.stepper.set_value(step)

    def _remember(self) -> None:
        """Store the entries in the address, so that reloading the page restores them."""
        show_address(self._current().address)

    def _current(self) -> WizardEntries:
        """Return the current entries."""
        return WizardEntries(
            step=str(self.stepper.value),
            ndim=int(self.ndim.value),
            find=str(self.find.value),
            data=self.dataset.value or "",
            folders={place: field.value or "" for place, field in self.folders.items()},
            classes=int(self.classes.value or 1),
            output="" if self.output.value == self.proposed else self.output.value or "",
            results=self.results.value or "",
            minutes=float(self.minutes.value or 30),
            checked=self.running is not None or self.data is not None,
        )

    def _allow(self, allowed: bool) -> None:
        """Allow or prevent that a click on a heading opens a step after the check."""
        for name in CHECKED_STEPS:
            self.steps[name].props(f":header-nav={'true' if allowed else 'false'}")

    def _next(self, *, back: bool = False) -> None:
        with ui.stepper_navigation():
            button("Next", self.stepper.next)
            if back:
                button("Back", self.stepper.previous, look="plain")

    def _images(self) -> None:
        ui.label("What kind of images do you have?")
        options = {0: "Decide from the files (recommended)", **DIMENSIONS}
        self.ndim = ui.radio(options, value=self.entries.ndim, on_change=self._invalidate)
        self.ndim.props("dense")
        self._next()

    def _objects(self) -> None:
        ui.label("What do the objects look like?")
        self.find = ui.radio(FIND, value=self.entries.find, on_change=self._remember)
        self.find.props("dense").classes("kinds")
        for number, (kind, text) in enumerate(FIND.items()):
            with self.find.add_slot(f"label-{number}"):
                ui.html(kind_picture(kind), sanitize=False)
                ui.label(text)
        self._next(back=True)

    def _data(self) -> None:
        self.dataset = path_input(
            self.guard, "Folder of the data set", self.entries.data, folders=True
        )
        self.dataset.on_value_change(self._invalidate)
        self.folders: dict[tuple[str, str], ui.input] = {}
        others = ui.expansion("Images or labels in other folders", value=bool(self.entries.folders))
        with others.classes("elsewhere"):
            ui.label("These folders replace the folder above.").classes("note")
            for name, title in PARTS.items():
                with ui.element("div").classes("row-of"):
                    for place in (place for place in FOLDERS if place[0] == name):
                        value = self.entries.folders.get(place, "")
                        field = path_input(self.guard, f"{title} {place[1]}", value, folders=True)
                        field.on_value_change(self._invalidate)
                        self.folders[place] = field
        with ui.stepper_navigation():
            self.check_button = button("Check my images", self._check)
            button("Back", self.stepper.previous, look="plain")
        with ui.element("div").classes("data-summary").props('aria-live="polite"'):
            self.bar = ui.html("", sanitize=False)
            self.cancel = button("Cancel", self._invalidate, look="secondary")
            self.cancel.set_visibility(False)
        self.timer = ui.timer(_REFRESH_SECONDS, self._show_progress, active=False)
        self.summary = ui.element("div").classes("data-summary")

    def _kinds(self) -> None:
        ui.label(
            "How many kinds of objects do your labels distinguish? For more than one, the label "
            "images need a second channel with the kind of every pixel."
        )
        self.classes = ui.number(
            "Kinds of objects", value=self.entries.classes, min=1, max=254, format="%d"
        )
        self.classes.props("outlined dense").classes("short")
        self.kinds_message = ui.element("div")
        with ui.stepper_navigation():
            button("Next", self._leave_kinds)
            button("Back", self.stepper.previous, look="plain")

    def _leave_kinds(self) -> None:
        self.kinds_message.clear()
        try:
            self._check_classes()
        except UserError as error:
            with self.kinds_message:
                error_state(error, "The labels do not match this answer")
            return
        self.stepper.next()

    def _check_classes(self) -> None:
        if self.data is not None:
            check_classes(self.data, int(self.classes.value or 1))

    def _training(self) -> None:
        entries = self.entries
        self.proposed = self._free_name(entries.data)
        self.output = path_input(
            self.guard, "File of the settings", entries.output or self.proposed,
            on_change=lambda _: self._remember(),
        )  # fmt: skip
        self.results = path_input(
            self.guard, "Folder for the results", entries.results, folders=True,
            on_change=lambda _: self._remember(),
        )  # fmt: skip
        self.minutes = ui.number(
            "Training time (minutes)",
            value=entries.minutes,
            min=1,
            format="%g",
            on_change=self._remember,
        )
        self.minutes.props("outlined dense").classes("short")
        with ui.stepper_navigation():
            button("Suggest settings", self._suggest)
            button("Back", self.stepper.previous, look="plain")
        self.messages = ui.element("div").props('aria-live="polite"')

    def _free_name(self, dataset: str) -> str:
        stem = Path(dataset).name
        if not stem or not self.guard.allows(f"{stem}_999.yaml"):  # too long for a file name
            stem = "my_images"
        return f"{free_name(self.guard.home, stem, ('.yaml',))}.yaml"

    def _chosen(self) -> tuple[list[Folders], list[str]]:
        """Return the parts of the data set and notices about its layout."""
        values = {place: field.value or "" for place, field in self.folders.items()}
        if any(values.values()):
            entered = [(name, values[name, "images"], values[name, "labels"]) for name in PARTS]
            return parts_from_fields(self.guard, entered), []
        return recognize(self.guard, self.dataset.value or "")

    def _invalidate(self) -> None:
        """Discard the check, because a field was changed."""
        self._cancel()
        self.data = None
        self.summary.clear()
        self._allow(False)
        self._remember()

    def _cancel(self) -> None:
        if self.running is not None:
            self.running.cancel()
            self.running = None
        self._finish()

    def _finish(self) -> None:
        self.timer.deactivate()
        self.bar.set_content("")
        self.cancel.set_visibility(False)
        self.check_button.enable()

    def _show_progress(self) -> None:
        if self.running is not None:
            self.bar.set_content(progress_bar(*self.running.progress))

    async def _check(self) -> None:
        """Find the files, check them, and show some of them."""
        self._invalidate()
        self.check_button.disable()
        self.cancel.set_visibility(True)
        ndim = int(self.ndim.value) or None
        running = self.running = DataCheck(self._chosen, ndim, self.context.checks)
        self._remember()
        self._show_progress()
        self.timer.activate()
        error, data = None, None
        try:
            data = await run_in_thread(running.run)
        except CheckCanceledError:
            return
        except UserError as problem:
            error = problem
        if self.running is not running:
            return  # it was canceled, or a field was changed
        self.running = None
        self._finish()
        with self.summary:
            if error is not None:
                self._show_error(error)
        if data is not None:
            self._show_data(data)

    def _show_error(self, error: UserError) -> None:
        error_state(error, "These data cannot be used")
        if error.code == "gui.wrong_ndim":
            other = 5 - int(self.ndim.value)
            button(f"Use {DIMENSIONS[other]}", lambda: self._use_ndim(other))

    async def _use_ndim(self, ndim: int) -> None:
        with self.page:  # the check deletes the button
            self.ndim.set_value(ndim)
            await self._check()

    def _show_data(self, data: CheckedData) -> None:
        self.data = data
        if self.output.value == self.proposed:
            self.proposed = self._free_name(self.dataset.value or "")
            self.output.set_value(self.proposed)
        self.classes.set_value(data.classes)
        with self.summary:
            show_findings(self.guard, data, self._use_copy)
            show_parts(self.guard, data)
            with ui.stepper_navigation() as forward:
                button("Next", self.stepper.next)
            has_problems = bool(data.inspection.problems)
            forward.set_visibility(not has_problems)
            self._allow(not has_problems)
            if has_problems:
                self._show_remaining(data, forward)

    def _show_remaining(self, data: CheckedData, forward: ui.element) -> None:
        """Add a statement about remaining problems; a training is possible with some of them."""
        if not data.is_usable:
            ui.label("Correct the problems, then check the images again.").classes("warning")
            return
        ui.label("These problems make the results worse. Correct them first.").classes("warning")

        def accept() -> None:
            forward.set_visibility(bool(box.value))
            self._allow(bool(box.value))

        box = ui.checkbox("I looked at every problem, and the data are right", on_change=accept)

    async def _use_copy(self, folder: str, lines: list[str]) -> None:
        """Check a corrected copy of the data."""
        with self.page:  # the check deletes the button
            for field in self.folders.values():
                field.set_value("")
            self.dataset.set_value(folder)
            await self._check()
        with self.summary:
            for line in lines:
                ui.label(line).classes("note place")

    async def _suggest(self) -> None:
        """Fill the form with values that suit the data."""
        self.messages.clear()
        with self.messages:
            waiting = ui.label("Measuring objects and training speed …").classes("note")
        try:
            self._check_classes()
            answers = Answers(
                ndim=int(self.ndim.value) or None,
                find=str(self.find.value),
                parts=self.data.parts if self.data else (),
                classes=int(self.classes.value or 1),
                minutes=float(self.minutes.value or 30),
                output=Path(self.output.value or ""),
                result_dir=Path(self.results.value or "."),
            )
            form, proposal, notes = await run_in_thread(propose_form, answers, self.guard)
        except UserError as error:
            self.messages.clear()
            with self.messages:
                error_state(error, "No settings can be suggested")
            return
        waiting.delete()
        self._show_form(form, proposal, notes, self.guard.check(answers.output))

    def _show_form(self, form: Form, proposal: Proposal, notes: list[str], output: Path) -> None:
        self.page.clear()
        with self.page:
            heading("Suggested settings", proposal.summary)
            for note in notes:
                ui.label(note).classes("warning")
            FormView(
                self.context,
                form,
                output,
                replace=False,
                results=self.results.value or ".",
                address=self._current().address,
            )
            with ui.expansion(f"{len(proposal.reasons)} choices and their reasons"):
                rows = "".join(
                    f"<tr><th scope='row'>{escape(key)}</th><td>{escape(value)}</td>"
                    f"<td>{escape(reason)}</td></tr>"
                    for key, value, reason in proposal.reasons
                )
                ui.html(f"<table class='reasons'>{rows}</table>", sanitize=False)
            ui.run_javascript("window.scrollTo(0, 0)")
