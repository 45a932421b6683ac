"""Input for a file or folder, with a dialog to browse the roots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from nicegui import ui

from singula.errors import UserError
from singula.gui.guard import Guard
from singula.gui.pages.frame import button, on_text_change

_MAX_ENTRIES = 400


def path_input(
    guard: Guard,
    label: str,
    value: str = "",
    *,
    folders: bool = False,
    files: bool | None = None,
    suffixes: Sequence[str] = (),
    on_change: Callable[[str], None] | None = None,
    validate: bool = True,
) -> ui.input:
    """Add an input for a path inside of the roots.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    label, value : str
        Label and initial path.
    folders : bool
        Choose a folder.
    files : bool, optional
        Choose a file; by default, unless `folders`.
    suffixes : sequence of str
        Suffixes of the files in the dialog; by default, all files.
    on_change : callable, optional
        Receives the new path.
    validate : bool
        Show an error below the input while the path is outside of the roots.
    """

    def check(text: str | None) -> str | None:
        if not text:
            return None
        try:
            guard.check(text)
        except UserError as error:
            return error.message
        return None

    def report_change() -> None:
        if on_change is not None:
            on_change(field.value or "")

    field = ui.input(label, value=value, validation=check if validate else None)
    field.props("outlined dense").classes("grow")
    on_text_change(field, report_change)

    def take(path: Path) -> None:
        field.set_value(guard.short(path))
        report_change()

    files = not folders if files is None else files
    browse = _Browser(guard, take, folders=folders, files=files, suffixes=suffixes)
    with field.add_slot("append"):
        opener = button("Browse", lambda: browse.open(field.value or ""), look="plain")
        opener.props(f'dense aria-label="Browse: {label}"')
    return field


class _Browser:
    """Dialog that lists folders and files."""

    def __init__(
        self,
        guard: Guard,
        take: Callable[[Path], None],
        *,
        folders: bool,
        files: bool,
        suffixes: Sequence[str],
    ) -> None:
        self.guard, self.take = guard, take
        self.files, self.suffixes = files, tuple(suffixes)
        with ui.dialog() as self.dialog, ui.card().classes("browser"):
            self.title = ui.label().classes("key-name")
            self.list = ui.element("div").classes("browser-list")
            with ui.element("div").classes("row-of"):
                if folders:
                    button("Choose this folder", self._choose_here)
                button("Cancel", self.dialog.close, look="plain")

    def open(self, value: str) -> None:
        """Open the dialog in the folder of the current value."""
        start = self.guard.home
        if value and self.guard.allows(value):
            full = self.guard.check(value)
            start = next((p for p in (full, *full.parents) if p.is_dir()), start)
        self._go(start if self.guard.allows(start) else self.guard.home)
        self.dialog.open()

    def _go(self, folder: Path) -> None:
        self.here = folder
        self.title.set_text(str(folder))
        self.list.clear()
        # The entry with the focus was deleted.
        entry = f"document.querySelector('#{self.list.html_id} button')"
        ui.run_javascript(f"requestAnimationFrame(() => {entry}?.focus())")
        with self.list:
            try:
                inside, files = self.guard.listing(folder)
            except UserError as error:
                ui.label(str(error)).classes("note")
                return
            if folder in self.guard.roots:
                others = [root for root in self.guard.roots if root != folder]
                for root in others:
                    self._entry(f"⇄ {root}", partial(self._go, root))
            else:
                self._entry("↑ up", lambda: self._go(folder.parent))
            for path in inside[:_MAX_ENTRIES]:
                self._entry(f"▸ {path.name}", partial(self._go, path))
            shown = [p for p in files if p.name.endswith(self.suffixes)] if self.suffixes else files
            for path in shown[:_MAX_ENTRIES]:
                if self.files:
                    self._entry(path.name, partial(self._pick, path))
                else:
                    ui.label(path.name).classes("note browser-file")
            if max(len(inside), len(shown)) > _MAX_ENTRIES:
                ui.label(f"Only the first {_MAX_ENTRIES} entries are listed.").classes("note")

    def _entry(self, text: str, action: Callable[[], None]) -> None:
        button(text, action, look="plain").props("dense align=left").classes("entry")

    def _pick(self, path: Path) -> None:
        self.take(path)
        self.dialog.close()

    def _choose_here(self) -> None:
        self._pick(self.here)
