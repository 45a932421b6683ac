"""Correct page: delete, merge, split and draw objects, and review them one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from nicegui import ui
from nicegui.events import GenericEventArguments, KeyEventArguments

from singula.errors import UserError
from singula.gui.correct import (
    OUTLINE_TOOLS,
    TOOLS,
    CorrectableImages,
    Correction,
    Tool,
    open_correctable,
)
from singula.gui.pages.export import ExportPanel
from singula.gui.pages.fine_tune import FineTuneCard
from singula.gui.pages.frame import (
    button,
    dropdown,
    error_state,
    fact_cards,
    frame,
    heading,
    progress_bar,
    run_address,
    run_in_thread,
    show_address,
    show_error,
    subheading,
    waiting,
)
from singula.gui.pages.keep_question import KeepQuestion
from singula.gui.pages.viewer import Viewer
from singula.gui.segment import SegmentedImages
from singula.gui.state import AppContext

_LABELS: dict[Tool, tuple[str, str, str]] = {
    "select": ("Select", "v", "Click an object to mark it. Drag to move the image."),
    "delete": ("Delete", "x", "Click an object to delete it."),
    "merge": ("Merge", "m", "Click an object, then the one that belongs to it."),
    "split": ("Split", "s", "Click two points of an object, one in each part."),
    "draw": ("Draw", "d", "Draw the outline of a new object."),
    "extend": ("Extend", "e", "Draw around the missing region; begin inside the object."),
    "cut": ("Cut", "c", "Draw around the region to remove from the marked object."),
}
_ACTIONS = (
    ("N", "next object to review"),
    ("P", "previous object to review"),
    ("A", "accept the marked object, and go to the next one"),
    ("Delete", "delete the marked object"),
    ("Ctrl+Z", "undo"),
    ("Ctrl+Y", "redo"),
    ("Esc", "forget the first click, or the outline"),
    ("Arrow keys", "Draw, Extend, Cut: move the cursor, with Shift by 10 pixels"),
    ("Space", "Draw, Extend, Cut: set a corner at the cursor; Backspace removes it"),
    ("Enter", "Draw, Extend, Cut: close the outline"),
    ("?", "show this list"),
    ("+  −  0", "zoom, show the whole image (in the image)"),
    ("Page up, Page down", "next and previous slice of a Z-stack (in the image)"),
)
_KEYBOARD = "Keyboard: arrow keys move the cursor, Space sets a corner, Enter closes the outline."
_STATES = {None: "not reviewed", "accepted": "accepted", "corrected": "corrected"}


class Drawing(ui.element, component="drawing.js"):
    """Layer over the viewer, implemented in ``drawing.js``."""


def add(context: AppContext) -> None:
    """Register the route of the page."""

    @ui.page("/correct", title="Correct · Singula", response_timeout=60)
    async def page(run: str = "", image: str = "") -> None:
        with frame("Correct"):
            try:
                images = await run_in_thread(open_correctable, context.guard, run)
            except UserError as error:
                heading("Correct")
                error_state(error, "These results cannot be corrected")
                ui.link("Back", "/new").classes("as-button secondary")
                return
            heading("Correct", images.title)
            view = _View(context, images, image)
            ui.timer(0, view.load, once=True)


def _apply(action: Callable[[Correction], bool], work: Correction) -> bool:
    changed = action(work)
    work.scene.boxes()  # for the mark of the object; this takes long for a large image
    return changed


class _View:
    """Viewer with tools, review and the files of the corrections."""

    def __init__(self, context: AppContext, images: CorrectableImages, image: str) -> None:
        self.context, self.images = context, images
        self.name = image if image in images.names else images.names[0]
        self.work: Correction | None = None
        self.busy = asyncio.Lock()
        with ui.element("div").classes("row-of tools"):
            choice = dropdown("Image", images.names, self.name).classes("run-choice")
            choice.on_value_change(self._choose_image)
            page = "segment" if isinstance(images.opened, SegmentedImages) else "results"
            back = ui.link("Show the results", run_address(page, images.folder))
            back.classes("as-button secondary")
            button("Shortcuts", self._show_help, look="secondary").props(
                'title="Keyboard shortcuts (?)"'
            )
        self.problem = ui.element("div").props('aria-live="assertive"')
        self._help_dialog()
        self.question = KeepQuestion()
        with ui.element("div").classes("split") as self.content:
            with ui.element("div"):
                self._tool_buttons()
                self.viewer = Viewer(context.scenes)
                self.drawing = Drawing()
                self.drawing.props["viewer"] = self.viewer.canvas.id
            with ui.element("div"):
                self._review_panel()
                self.fine_tune = FineTuneCard(context, images)
                self.export = ExportPanel(context, images.folder)
        self.viewer.canvas.on("pick", self._clicked)
        self.drawing.on("outline", self._outlined)
        self.content.set_visibility(False)  # until the image is read
        ui.keyboard(on_key=self._key, repeating=False)

    def _tool_buttons(self) -> None:
        self.buttons: dict[Tool, ui.button] = {}
        with ui.element("div").classes("row-of tools").props('role="toolbar" aria-label="Tools"'):
            for tool in TOOLS:
                text, key, hint = _LABELS[tool]
                control = button(text, partial(self._choose, tool), look="secondary")
                control.props(f'title="{hint} ({key.upper()})"')
                self.buttons[tool] = control
            self.undo = button("Undo", lambda: self._act(Correction.undo), look="secondary")
            self.redo = button("Redo", lambda: self._act(Correction.redo), look="secondary")
        self.hint = ui.label().classes("note").props('aria-live="polite"')

    def _review_panel(self) -> None:
        subheading("Review")
        ui.label("Objects follow each other by their confidence, the least certain first.").classes(
            "note"
        )
        self.progress = ui.html("", sanitize=False)
        self.facts = ui.html("", sanitize=False).props('aria-live="polite"')
        with ui.element("div").classes("row-of buttons"):
            button("Previous", lambda: self._go(-1), look="secondary")
            button("Next", lambda: self._go(1), look="secondary")
            button("Accept", self._accept)
        self.saved = ui.label().classes("note place").props('aria-live="polite"')

    def _help_dialog(self) -> None:
        with ui.dialog() as self.help, ui.card():
            ui.label("Keyboard shortcuts").classes("finding-title")
            rows = [*((key.upper(), f"{text}: {hint}") for text, key, hint in _LABELS.values())]
            with ui.element("dl").classes("shortcuts"):
                for key, text in [*rows, *_ACTIONS]:
                    with ui.element("dt"):
                        ui.label(key)
                    with ui.element("dd"):
                        ui.label(text)
            ui.label(
                "Corrections are saved at once, in a folder next to the prediction, which is not "
                "changed. docs/correct.md describes the files and the confidence."
            ).classes("note")
            button("Close", self.help.close, look="secondary")

    def _show_help(self) -> None:
        self.help.open()

    async def _choose_image(self, event: Any) -> None:
        self.name = str(event.value)
        await self.load()

    async def load(self) -> None:
        """Read the image in a thread, then show it."""
        name, self.work = self.name, None
        show_address(run_address("correct", self.images.folder, name))
        self.problem.clear()
        with self.problem:
            waiting(f"Reading {name} …")
        self.content.set_visibility(False)
        try:
            work = await run_in_thread(self._read, name)
        except UserError as error:
            if name == self.name:
                self.problem.clear()
                with self.problem:
                    error_state(error, "This image cannot be corrected")
            return
        if name != self.name:
            return
        self.problem.clear()
        self.work = work
        self.content.set_visibility(True)
        self.viewer.show(work.scene, f"{name} with its objects")
        self.saved.set_text("")
        self._choose(work.tool)
        self._go(1)
        await self.fine_tune.refresh()

    def _read(self, name: str) -> Correction:
        work = self.images.read(name)
        work.scene.boxes()  # for the mark of the first object
        return work

    def _choose(self, tool: Tool) -> None:
        """Choose a tool."""
        if self.work is None:
            return
        self.work.choose(tool)
        for name, control in self.buttons.items():
            control.props(f'aria-pressed="{"true" if name == tool else "false"}"')
        self.drawing.props["drawing"] = tool in OUTLINE_TOOLS
        self._update()

    async def _clicked(self, event: GenericEventArguments) -> None:
        y, x = int(event.args["y"]), int(event.args["x"])
        await self._act(lambda work: work.click((self.viewer.slice, y, x)))

    async def _outlined(self, event: GenericEventArguments) -> None:
        corners = [(float(y), float(x)) for y, x in event.args["corners"]]
        await self._act(lambda work: work.outline(corners, self.viewer.slice))

    async def _act(self, action: Callable[[Correction], bool]) -> None:
        """Apply a correction in a thread, and save it if it changed the labels."""
        async with self.busy:  # corrections and files keep the order of the clicks
            if (work := self.work) is None:
                return
            try:
                changed = await run_in_thread(_apply, action, work)
            except UserError as error:
                show_error(error)
                changed = False
            if work is self.work:  # the user may have chosen another image
                if changed:
                    self.viewer.refresh()
                self.viewer.select(work.selected, center=False)
                self._update()
            if changed:
                await self._save(work)

    async def _accept(self) -> None:
        async with self.busy:
            if (work := self.work) is not None:
                work.accept()
                self._go(1)
                await self._save(work)

    def _go(self, step: int) -> None:
        """Mark the next or previous object to review."""
        if self.work is not None:
            self.work.selected = self.work.neighbor(step)
            self.viewer.select(self.work.selected)
            self._update()

    async def _save(self, work: Correction) -> None:
        """Save the corrections of an image, which may not be the shown one any more.

        If others were saved after the image was opened, ask which ones to keep.
        """
        while True:
            self.saved.set_text("Saving …")
            try:
                await run_in_thread(work.save)
                break
            except UserError as error:
                self.saved.set_text("Not saved")
                if error.code != "corrections.changed":
                    show_error(error)
                    return
            replaced = await run_in_thread(work.files.version)
            if not await self.question.ask(work.files.name):
                if work is self.work:
                    await self.load()
                return
            work.version = replaced  # corrections that are saved during the question remain
        self.saved.set_text(f"Saved: {self.context.guard.short(work.files.labels)}")
        await self.fine_tune.refresh()
        await self.export.refresh()

    def _update(self) -> None:
        """Show tool, marked object and progress."""
        if (work := self.work) is None:
            return
        hint = _LABELS[work.tool][2]
        if work.start is not None:
            second = {
                "merge": "Now click the second object.",
                "split": "Now click the second part.",
            }
            hint = second.get(work.tool, hint)
        if work.tool in OUTLINE_TOOLS:
            hint = f"{hint} {_KEYBOARD}"
        self.hint.set_text(hint)
        self.drawing.props["point"] = list(work.start[1:]) if work.start else []
        self.drawing.update()
        self.undo.set_enabled(work.editor.can_undo)
        self.redo.set_enabled(work.editor.can_redo)
        done, total = work.progress()
        text = f"{done} of {total} objects reviewed"
        self.progress.set_content(progress_bar(text, done / total if total else 1.0))
        facts: list[tuple[str, object]] = [("object", work.selected or "none")]
        if work.selected:
            value = work.confidence.get(work.selected)
            state = work.state(work.selected)
            if state != "corrected":
                facts.append(("confidence", "unknown" if value is None else f"{value:.2f}"))
            facts.append(("state", _STATES[state]))
        self.facts.set_content(fact_cards(facts))

    async def _key(self, event: KeyEventArguments) -> None:
        """Apply a keyboard shortcut."""
        if not event.action.keydown or event.modifiers.alt or event.modifiers.meta:
            return
        if self.question.dialog.value:
            return
        key = str(event.key).lower()
        if event.modifiers.ctrl:
            if key in ("y", "z"):
                redo = key == "y" or event.modifiers.shift
                await self._act(Correction.redo if redo else Correction.undo)
            return
        tools = {shortcut: tool for tool, (_, shortcut, _) in _LABELS.items()}
        if key in tools:
            self._choose(tools[key])
        elif key in ("n", "p"):
            self._go(1 if key == "n" else -1)
        elif key == "a":
            await self._accept()
        elif key == "delete":
            await self._act(Correction.delete)
        elif key == "escape" and self.work is not None:
            self._choose(self.work.tool)
        elif key == "?":
            self._show_help()
