"""Every key as a field, grouped and searchable, with its error beside it."""

from __future__ import annotations

import html
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nicegui import ui

from singula.errors import UserError
from singula.gui.form import Field, Form, fields, sections
from singula.gui.guard import Guard
from singula.gui.pages.frame import button, error_state, guarded, show_address
from singula.gui.pages.paths import path_input
from singula.io.results import ResultsTree

_MOST = 60


class FormView:
    """The form of a configuration.

    Parameters
    ----------
    guard : Guard
    form : Form
    target : Path
        Where it is saved.
    replace : bool
        The target is the file that the form came from.
    results : str
        Folder for the results of runs.
    """

    def __init__(
        self, guard: Guard, form: Form, target: Path, *, replace: bool, results: str = ""
    ) -> None:
        self.guard, self.form, self.origin = guard, form, target if replace else None
        self.results = results
        self.section = "PROBLEM"
        self.inputs: dict[str, Any] = {}
        self.frames: dict[str, ui.element] = {}
        self.faults: dict[str, ui.label] = {}
        self.errors: dict[str, str] = {}
        self._top(target)
        self.summary = ui.element("div").props('aria-live="polite"')
        with ui.element("div").classes("form-split"):
            self.menu = ui.element("nav").classes("sections").props('aria-label="Sections"')
            with ui.element("div"):
                with ui.element("div").classes("row-of"):
                    self.words = ui.input("Search keys and help").props(
                        "outlined dense clearable debounce=250"
                    )
                    self.words.classes("grow").on_value_change(lambda _: self._draw())
                    self.only = ui.checkbox("Only keys that are set")
                    self.only.on_value_change(lambda _: self._draw())
                self.body = ui.element("div")
        with ui.expansion("The file").classes("file-view") as self.file:
            self.text = ui.html("", sanitize=False).classes("yaml").props('tabindex="0"')
        self._draw()
        self._examine()
        if not replace:
            _ask_before_leaving()

    def _top(self, target: Path) -> None:
        with ui.element("div").classes("row-of save-row"):
            self.target = path_input(self.guard, "Configuration", self.guard.short(target))
            button("Save", guarded(self._save), look="quiet")
            button("Save and run", guarded(self._save_and_run))

    def _save(self) -> Path:
        path = self.guard.check(self.target.value or "")
        config = self.form.config()
        parent = self.guard.check(self.results or "results") / path.stem
        tree = ResultsTree(parent, path.stem, 1, config.path_overrides())
        self.guard.check_run(config, tree)
        self.form.save(path, replace=path == self.origin)
        self.origin, self.form.left_out = path, []
        self._examine()
        ui.run_javascript("onbeforeunload = null")
        # Loaded anew, the page shows the file that was saved.
        show_address(f"/new?config={quote(self.guard.short(path))}")
        ui.notify(f"saved: {self.guard.short(path)}", type="positive")
        return path

    def _save_and_run(self) -> None:
        path = self._save()
        results = f"&results={quote(self.results)}" if self.results else ""
        ui.navigate.to(f"/run?config={quote(self.guard.short(path))}{results}")

    def _draw(self) -> None:
        """The menu, and the fields of the section or of the search."""
        words = (self.words.value or "").strip()
        self.menu.clear()
        with self.menu:
            for name, about in sections().items():
                wrong = sum(key.startswith(f"{name}.") for key in self.errors)
                entry = ui.button(color=None, on_click=partial(self._go, name)).props(
                    "flat no-caps align=left"
                )
                entry.classes("section" + (" here" if name == self.section and not words else ""))
                if name == self.section and not words:
                    entry.props('aria-current="true"')
                with entry:
                    ui.label(about)
                    ui.label(f"{wrong} ✕" if wrong else name).classes(
                        "wrong" if wrong else "key-name"
                    )
        shown = fields("" if words else self.section, words)
        if self.only.value:
            shown = [item for item in shown if item.name in self.form.values]
        self._draw_fields(shown, all_sections=bool(words))

    def _draw_fields(self, shown: list[Field], *, all_sections: bool) -> None:
        self.body.clear()
        self.inputs, self.frames, self.faults = {}, {}, {}
        groups: dict[str, list[Field]] = {}
        for item in shown[: _MOST if all_sections else None]:
            groups.setdefault(item.group, []).append(item)
        with self.body:
            if not shown:
                ui.label("No key fits.").classes("note")
            for group, members in groups.items():
                ui.html(html.escape(group), sanitize=False, tag="h3").classes("key-group")
                with ui.element("div").classes("keys"):
                    for item in members:
                        self._field(item)
            if all_sections and len(shown) > _MOST:
                ui.label(f"{len(shown) - _MOST} more; search for more words").classes("note")
        self._show_errors()

    def _field(self, item: Field) -> None:
        value = self.form.shown(item)
        name = item.name.rpartition(".")[2]
        with ui.element("div").classes("key") as frame:
            made: Any
            if item.kind == "switch":
                made = ui.switch(name, value=value)
            elif item.kind == "choice":
                options = list(item.key.choices)
                made = ui.select(
                    options if value in options else [*options, value], value=value, label=name
                )
                made.props("outlined dense options-dense")
            else:
                made = ui.input(name, value=value).props("outlined dense debounce=300")
            made.props(f'aria-label="{html.escape(item.name)}"')
            made.on_value_change(partial(self._entered, item))
            self.faults[item.name] = ui.label().classes("fault").props('role="alert"')
            ui.label(item.help).classes("key-help")
        self.inputs[item.name], self.frames[item.name] = made, frame

    def _go(self, section: str) -> None:
        self.section = section
        if self.words.value:
            self.words.set_value("")
        else:
            self._draw()

    def _entered(self, item: Field, event: Any) -> None:
        value = event.value
        self.form.set(item.name, "" if value is None else value)
        _ask_before_leaving()
        self._examine()

    def _examine(self) -> None:
        """Judge everything; show what is wrong beside its field, in the menu and at the top."""
        before = {key.partition(".")[0] for key in self.errors}
        _, self.errors, notices = self.form.examine()
        self._show_errors()
        if before or self.errors:
            self._mark_menu()
        self.summary.clear()
        with self.summary:
            if self.errors:
                count = len(self.errors)
                lines = [f"{key}: {text}" for key, text in self.errors.items()]
                error_state(
                    "\n".join(lines),
                    f"{count} key{'s need' if count > 1 else ' needs'} another value",
                )
            for line in self.form.left_out:
                ui.label(f"Left out when you save: {line}").classes("warning")
            for notice in notices:
                ui.label(notice).classes("warning")
        try:
            text = html.escape(self.form.yaml())
        except UserError:
            text = "The file appears here as soon as every key can be read."
        self.text.set_content(f"<pre>{text}</pre>")

    def _mark_menu(self) -> None:
        names = list(sections())
        for name, entry in zip(names, self.menu.default_slot.children, strict=True):
            wrong = sum(key.startswith(f"{name}.") for key in self.errors)
            label = entry.default_slot.children[-1]
            if isinstance(label, ui.label):
                label.set_text(f"{wrong} ✕" if wrong else name)
                label.classes(replace="wrong" if wrong else "key-name")

    def _show_errors(self) -> None:
        for name, made in self.inputs.items():
            text = self.errors.get(name, "")
            self.faults[name].set_text(text)
            self.faults[name].set_visibility(bool(text))
            made.props("error" if text else "", remove="" if text else "error")
            changed = name in self.form.values
            self.frames[name].classes(
                "changed" if changed else "", remove="" if changed else "changed"
            )


def _ask_before_leaving() -> None:
    """Let the browser ask before what was entered is lost; see that saving ends that."""
    ui.run_javascript("onbeforeunload = event => event.preventDefault()")
