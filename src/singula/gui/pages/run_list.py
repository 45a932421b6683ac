"""List of runs with their scores, and the dialogs to rename, annotate and delete them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any

from nicegui import ui

from singula.gui.pages.frame import (
    button,
    empty_state,
    run_address,
    run_in_thread,
    with_error_notice,
)
from singula.gui.run_list import RunList, RunRow, list_runs
from singula.gui.run_notes import MAX_NOTE, MAX_TITLE, write_notes
from singula.gui.runs import STATE_LABELS
from singula.gui.state import AppContext
from singula.gui.trash import (
    TrashEntry,
    delete_run,
    describe_size,
    remove_permanently,
    restore_run,
)
from singula.gui.wording import TERMS
from singula.util.format import counted


class RunTable:
    """List of the runs, with archived and deleted runs below.

    Parameters
    ----------
    context : AppContext
        State that all pages share.
    """

    def __init__(self, context: AppContext) -> None:
        self.context = context
        self.place = ui.element("div")

    async def load(self) -> None:
        """Read the runs in a thread, then show them."""
        runs = await run_in_thread(list_runs, self.context.guard)
        self.place.clear()
        with self.place:
            self._show(runs)

    def _show(self, runs: RunList) -> None:
        listed = [row for row in runs.rows if not row.archived]
        archived = [row for row in runs.rows if row.archived]
        if not runs.rows:
            empty_state(
                "No runs yet",
                "Choose a configuration above and start a run, or create a configuration from "
                "your images.",
                ("Create a configuration", "/new"),
            )
        self._list(listed)
        for notice in runs.notices:
            ui.label(notice).classes("warning")
        if archived:
            with ui.expansion(f"Archived runs ({len(archived)})").classes("elsewhere"):
                self._list(archived)
        if runs.trash:
            with ui.expansion(f"Deleted runs ({len(runs.trash)})").classes("elsewhere"):
                self._trash(runs.trash)

    def _list(self, rows: list[RunRow]) -> None:
        with ui.element("ul").classes("run-list"):
            for row in rows:
                with ui.element("li"):
                    self._row(row)

    def _row(self, row: RunRow) -> None:
        with ui.element("div").classes("run-name"):
            ui.link(row.title, run_address("run", row.folder))
            folder = self.context.guard.short(row.folder.parent.parent)
            name = f"{row.folder.name} · " if row.title != row.folder.name else ""
            ui.label(f"{name}{folder}").classes("note place")
            if row.note:
                ui.label(row.note).classes("run-note")
        with ui.element("div").classes("run-result"):
            ui.label(STATE_LABELS[row.state]).classes(f"state {row.state}")
            if row.time:
                ui.label(f"{datetime.fromtimestamp(row.time):%Y-%m-%d %H:%M}").classes("note")
        with ui.element("div").classes("run-result"):
            self._scores(row)
        self._menu(row)

    def _scores(self, row: RunRow) -> None:
        if row.scores is None:
            return
        if row.scores.f1 is not None and row.scores.iou is not None:
            score = ui.label(f"Detection score (F1) {row.scores.f1:.3f}").classes("run-score")
            score.props(f'title="{TERMS["Detection score (F1)"]} Here: {row.scores.iou:g}."')
        objects, images = counted(row.scores.objects, "object"), counted(row.scores.images, "image")
        ui.label(f"{objects} in {images}").classes("note")

    def _menu(self, row: RunRow) -> None:
        control = ui.button("⋮", color=None).props("flat dense no-caps").classes("theme")
        control.props["aria-label"] = f"Actions for {row.folder.name}"
        with control, ui.menu():
            ui.menu_item("Rename or annotate …", partial(self._edit, row))
            text = "Move out of the archive" if row.archived else "Archive"
            ui.menu_item(text, with_error_notice(partial(self._archive, row)))
            item = ui.menu_item("Delete …", partial(self._ask_delete, row))
            item.set_enabled(row.state not in ("running", "waiting"))

    async def _archive(self, row: RunRow) -> None:
        guard = self.context.guard
        await run_in_thread(write_notes, guard, row.folder, archived=not row.archived)
        await self.load()

    def _edit(self, row: RunRow) -> None:
        edit_notes(self.context, row, self.load)

    def _ask_delete(self, row: RunRow) -> None:
        async def delete() -> None:
            await run_in_thread(delete_run, self.context.guard, row.folder)
            await self.load()

        _confirm(
            f"Delete {row.folder.name}?",
            "The folder of this run and its trained model are moved to the deleted runs at the end "
            "of this page, where you can restore them. A configuration that starts from this "
            "model cannot find it any more.",
            "Delete",
            delete,
        )

    def _trash(self, entries: list[TrashEntry]) -> None:
        with ui.element("ul").classes("run-list"):
            for entry in entries:
                with ui.element("li"):
                    with ui.element("div").classes("run-name"):
                        ui.label(entry.title or entry.name)
                        place = self.context.guard.short(entry.folder)
                        ui.label(place).classes("note place")
                    when = f"{datetime.fromtimestamp(entry.deleted):%Y-%m-%d %H:%M}"
                    ui.label(f"deleted {when}").classes("note")
                    restore = with_error_notice(partial(self._restore, entry))
                    button("Restore", restore, look="secondary")
                    control = button(
                        "Remove", with_error_notice(partial(self._ask_remove, entry)), look="plain"
                    )
                    control.props["aria-label"] = f"Remove {entry.name} permanently"

    async def _restore(self, entry: TrashEntry) -> None:
        await run_in_thread(restore_run, self.context.guard, entry.folder)
        await self.load()

    async def _ask_remove(self, entry: TrashEntry) -> None:
        count, size = await run_in_thread(describe_size, entry.folder)

        async def remove() -> None:
            await run_in_thread(remove_permanently, self.context.guard, entry.folder)
            await self.load()

        _confirm(
            f"Remove {entry.name} permanently?",
            f"{counted(count, 'file')} ({size / 1e6:.1f} MB) are removed from the disk, also files "
            "that you added to this folder. This cannot be undone.",
            "Remove permanently",
            remove,
            name=entry.name,
        )


def edit_notes(context: AppContext, row: RunRow, changed: Callable[[], Awaitable[object]]) -> None:
    """Open the dialog for title and note of a run.

    Parameters
    ----------
    context : AppContext
        State that all pages share.
    row : RunRow
        The run.
    changed : callable
        Function that is called after a change.
    """
    with ui.dialog() as dialog, ui.card().classes("browser"):
        ui.label(f"Title and note of {row.folder.name}").classes("error-title-plain")
        title = ui.input("Title", value=row.title if row.title != row.folder.name else "")
        title.props(f"outlined dense maxlength={MAX_TITLE}")
        title.props["hint"] = f"empty: {row.folder.name}"
        note = ui.textarea("Note", value=row.note)
        note.props(f"outlined dense autogrow maxlength={MAX_NOTE}")
        for field in (title, note):
            field.classes("grow")

        async def save() -> None:
            text: dict[str, Any] = {"title": title.value or "", "note": note.value or ""}
            await run_in_thread(write_notes, context.guard, row.folder, **text)
            dialog.close()
            await changed()

        with ui.element("div").classes("row-of"):
            button("Save", with_error_notice(save))
            button("Cancel", dialog.close, look="plain")
    dialog.on_value_change(lambda event: None if event.value else dialog.delete())
    dialog.open()


def _confirm(
    title: str, text: str, verb: str, action: Callable[[], Awaitable[None]], *, name: str = ""
) -> None:
    """Ask before an action; with `name`, the user must type it."""
    with ui.dialog() as dialog, ui.card().classes("browser"):
        ui.label(title).classes("error-title-plain")
        ui.label(text)
        typed = ui.input(f"Type {name} to confirm") if name else None

        async def confirmed() -> None:
            dialog.close()
            await action()

        with ui.element("div").classes("row-of"):
            control = button(verb, with_error_notice(confirmed), look="bad")
            button("Cancel", dialog.close, look="secondary").props("autofocus")
        if typed is not None:
            typed.props("outlined dense").classes("grow")
            control.disable()
            typed.on_value_change(
                lambda event: control.set_enabled(str(event.value or "").strip() == name)
            )
    dialog.on_value_change(lambda event: None if event.value else dialog.delete())
    dialog.open()
