"""Form of a configuration: basic settings in plain words, and every key under *Advanced*."""

from __future__ import annotations

import html
import json
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nicegui import ui

from singula.errors import UserError
from singula.gui.control import next_run_id
from singula.gui.draft import Draft
from singula.gui.form import Field, Form, fields, sections
from singula.gui.pages.frame import (
    button,
    error_state,
    notify_saved,
    run_address,
    run_in_thread,
    show_address,
    with_error_notice,
)
from singula.gui.pages.paths import path_input
from singula.gui.settings import BASIC_SETTINGS, BasicSetting, folder_errors
from singula.gui.state import AppContext
from singula.io.run_folder import ResultsTree
from singula.pipeline.run import Job
from singula.util.format import counted

_MAX_FIELDS, _TIMEOUT_SECONDS = 60, 30.0


class FormView:
    """Form of a configuration.

    Parameters
    ----------
    context : AppContext
        State that all pages share.
    form : Form
        Keys that are set.
    target : Path
        File to save.
    replace : bool
        The form was read from the target, so saving replaces the file.
    results : str
        Folder for results.
    address : str
        Address of the page that shows the saved file, or leads to this form.
    is_saved : bool
        The form has no unsaved entries.
    """

    def __init__(
        self,
        context: AppContext,
        form: Form,
        target: Path,
        *,
        replace: bool,
        results: str = "",
        address: str,
        is_saved: bool = False,
    ) -> None:
        self.address = address
        self.guard, self.control = context.guard, context.control
        self.form, self.origin = form, target if replace else None
        self.section = "PROBLEM"
        self.folder_errors: dict[str, str] = {}
        self.inputs: dict[str, Any] = {}
        self.frames: dict[str, ui.element] = {}
        self.messages: dict[str, ui.label] = {}
        self.errors: dict[str, str] = {}
        self._top(target, results or "results")
        self.summary = ui.element("div").props('aria-live="polite"')
        self.mode = ui.toggle({"basic": "Basic settings", "advanced": "Advanced"}, value="basic")
        self.mode.props("no-caps unelevated toggle-text-color=on-accent").classes("form-mode")
        self.mode.on_value_change(lambda _: self._draw())
        self.basic = ui.element("div")
        with ui.element("div").classes("form-split") as self.advanced:
            self.menu = ui.element("nav").classes("sections").props('aria-label="Sections"')
            with ui.element("div"):
                with ui.element("div").classes("row-of"):
                    self.query = ui.input("Search all settings").props(
                        "outlined dense clearable debounce=250"
                    )
                    self.query.classes("grow").on_value_change(lambda _: self._draw())
                    self.only = ui.checkbox("Show only settings of this file")
                    self.only.on_value_change(lambda _: self._draw())
                self.body = ui.element("div")
        with ui.expansion("Content of the file").classes("file-view") as self.file:
            self.text = ui.html("", sanitize=False).classes("yaml").props('tabindex="0"')
        self._draw()
        self._examine()
        if not is_saved:
            self._store()

    def _top(self, target: Path, results: str) -> None:
        with ui.element("div").classes("row-of save-row"):
            self.target = path_input(
                self.guard, "File of the settings", self.guard.short(target),
                on_change=lambda _: self._store(),
            )  # fmt: skip
            self.results = path_input(
                self.guard, "Folder for the results", results, folders=True,
                on_change=lambda _: self._store(),
            )  # fmt: skip
        with ui.element("div").classes("row-of buttons"):
            button("Save and run", with_error_notice(self._save_and_run))
            button("Save", with_error_notice(self._save), look="secondary")

    def _save(self) -> Path:
        path = self.guard.check(self.target.value or "")
        config = self.form.config()
        parent = self.guard.check(self.results.value or "results") / path.stem
        tree = ResultsTree(parent, path.stem, 1, config.path_overrides())
        self.guard.check_run(config, tree)
        self.form.save(path, replace=path == self.origin)
        self.origin, self.form.ignored = path, []
        self._examine()
        ui.run_javascript("onbeforeunload = null; sessionStorage.removeItem('singula_form')")
        # Reloading the page opens the saved file.
        self.address = f"/new?config={quote(self.guard.short(path))}"
        show_address(self.address)
        notify_saved(f"saved: {self.guard.short(path)}")
        return path

    async def _save_and_run(self) -> None:
        path, results = self._save(), Path(self.results.value or "results")
        for key, message in self.folder_errors.items():
            raise UserError(f"{key}: {message}", "choose another folder", "gui.data_missing")
        number = next_run_id(self.guard, results, path.stem)
        folder = await run_in_thread(self.control.start, Job(path, results, path.stem, number))
        # One script, so that the browser does not ask before it leaves the saved form.
        address = json.dumps(run_address("run", folder))
        ui.run_javascript(f"onbeforeunload = null; location.assign({address})")

    def _draw(self) -> None:
        """Draw the basic settings, or the menu with the fields of the section or of the search."""
        is_basic = self.mode.value == "basic"
        self.basic.set_visibility(is_basic)
        self.advanced.set_visibility(not is_basic)
        self.basic.clear()
        self.body.clear()
        self.inputs, self.frames, self.messages = {}, {}, {}
        if is_basic:
            self._draw_basic()
        else:
            self._draw_advanced()
        self._show_errors()

    def _draw_basic(self) -> None:
        with self.basic:
            for title, settings in BASIC_SETTINGS.items():
                ui.html(html.escape(title), sanitize=False, tag="h3")
                with ui.element("div").classes("keys"):
                    for setting in settings:
                        self._field(setting.field, setting)

    def _draw_advanced(self) -> None:
        query = (self.query.value or "").strip()
        self.menu.clear()
        with self.menu:
            for name, title in sections().items():
                n_errors = sum(key.startswith(f"{name}.") for key in self.errors)
                entry = ui.button(color=None, on_click=partial(self._go, name)).props(
                    "flat no-caps align=left"
                )
                entry.classes("section" + (" here" if name == self.section and not query else ""))
                if name == self.section and not query:
                    entry.props('aria-current="true"')
                with entry:
                    ui.label(title)
                    ui.label(f"{n_errors} ✕" if n_errors else name).classes(
                        "wrong" if n_errors else "key-name"
                    )
        values = self.form.values
        matching = fields("" if query else self.section, query)
        shown = [item for item in matching if item.has_effect or item.name in values]
        if self.only.value:
            shown = [item for item in shown if item.name in self.form.values]
        self._draw_fields(shown, all_sections=bool(query))

    def _draw_fields(self, shown: list[Field], *, all_sections: bool) -> None:
        groups: dict[str, list[Field]] = {}
        for item in shown[: _MAX_FIELDS if all_sections else None]:
            groups.setdefault(item.group, []).append(item)
        with self.body:
            if not shown:
                ui.label("No matching setting.").classes("note")
            for group, members in groups.items():
                ui.html(html.escape(group), sanitize=False, tag="h3").classes("key-group")
                with ui.element("div").classes("keys"):
                    for item in members:
                        self._field(item)
            if all_sections and len(shown) > _MAX_FIELDS:
                ui.label(
                    f"{len(shown) - _MAX_FIELDS} more matching settings; add words to the search"
                ).classes("note")

    def _field(self, item: Field, basic: BasicSetting | None = None) -> None:
        value = self.form.shown(item)
        name = item.name.rpartition(".")[2] if basic is None else basic.label
        with ui.element("div").classes("key") as frame:
            control: Any
            if item.kind == "switch":
                control = ui.switch(name, value=value)
            elif item.kind == "choice":
                options = list(item.key.choices)
                control = ui.select(
                    options if value in options else [*options, value], value=value, label=name
                )
                control.props("outlined dense options-dense")
            elif basic is not None and basic.is_folder:
                control = path_input(self.guard, name, value, folders=True, validate=False)
                control.props("debounce=300")
            else:
                control = ui.input(name, value=value).props("outlined dense debounce=300")
            label = item.name if basic is None else basic.label
            control.props(f'aria-label="{html.escape(label)}"')
            control.on_value_change(partial(self._entered, item))
            self.messages[item.name] = ui.label().classes("fault").props('role="alert"')
            ui.label(item.help if basic is None else basic.help).classes("key-help")
            if basic is not None:
                ui.label(item.name).classes("key-name")
        self.inputs[item.name], self.frames[item.name] = control, frame

    def _go(self, section: str) -> None:
        self.section = section
        if self.query.value:
            self.query.set_value("")
        else:
            self._draw()

    def _show_key(self, key: str) -> None:
        self.mode.set_value("advanced")
        self.query.set_value(key)

    def _entered(self, item: Field, event: Any) -> None:
        value = event.value
        self.form.set(item.name, "" if value is None else value)
        self._store()
        self._examine()

    def _store(self) -> None:
        """Store unsaved entries in the browser, and let it ask before it leaves the page."""
        target = self.target.value or ""
        is_origin = self.guard.allows(target) and self.guard.check(target) == self.origin
        draft = Draft(self.form, target, is_origin, self.results.value or "")
        ui.run_javascript(
            "onbeforeunload = event => event.preventDefault();"
            f"sessionStorage.setItem('singula_form', {json.dumps(draft.to_json())})"
        )
        show_address(f"{self.address}&draft=1")

    def _examine(self) -> None:
        """Validate all keys, and show errors at the field, in the menu and at the top."""
        previous = {key.partition(".")[0] for key in self.errors}
        config, self.errors, notices = self.form.examine()
        self.folder_errors = folder_errors(config, self.guard)
        self.errors = {**self.folder_errors, **self.errors}
        self._show_errors()
        if (previous or self.errors) and self.mode.value == "advanced":
            self._mark_menu()
        self.summary.clear()
        with self.summary:
            if self.errors:
                count = len(self.errors)
                lines = [f"{key}: {text}" for key, text in self.errors.items()]
                error_state(
                    "\n".join(lines),
                    f"{counted(count, 'setting')} to correct",
                )
                hidden = [key for key in self.errors if key not in self.inputs]
                if hidden:
                    button("Show in Advanced", partial(self._show_key, hidden[0]), look="secondary")
            for line in self.form.ignored:
                ui.label(f"Omitted when you save: {line}").classes("warning")
            for notice in notices:
                ui.label(notice).classes("warning")
        try:
            text = html.escape(self.form.yaml())
        except UserError:
            text = "The content of the file appears here when all keys are valid."
        self.text.set_content(f"<pre>{text}</pre>")

    def _mark_menu(self) -> None:
        names = list(sections())
        for name, entry in zip(names, self.menu.default_slot.children, strict=True):
            n_errors = sum(key.startswith(f"{name}.") for key in self.errors)
            label = entry.default_slot.children[-1]
            if isinstance(label, ui.label):
                label.set_text(f"{n_errors} ✕" if n_errors else name)
                label.classes(replace="wrong" if n_errors else "key-name")

    def _show_errors(self) -> None:
        for name, control in self.inputs.items():
            text = self.errors.get(name, "")
            self.messages[name].set_text(text)
            self.messages[name].set_visibility(bool(text))
            control.props("error" if text else "", remove="" if text else "error")
            changed = name in self.form.values
            self.frames[name].classes(
                "changed" if changed else "", remove="" if changed else "changed"
            )


async def stored_draft() -> Draft | None:
    """Return the unsaved entries of the form that the browser stored for this tab."""
    script = "return sessionStorage.getItem('singula_form')"
    return Draft.from_json(await ui.run_javascript(script, timeout=_TIMEOUT_SECONDS))
