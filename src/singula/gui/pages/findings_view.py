"""Findings of the data check, with advice, pictures and a corrected copy."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Sequence
from html import escape

from nicegui import ui

from singula.dataset.checks import PROBLEM
from singula.dataset.checks.text import part_summary
from singula.errors import UserError
from singula.gui.data_check import (
    DIMENSIONS,
    CheckedData,
    FindingGroup,
    propose_copy,
    report_lines,
    write_corrected,
)
from singula.gui.entries import PARTS
from singula.gui.guard import Guard
from singula.gui.pages.frame import button, error_state, note, run_in_thread, subheading
from singula.gui.pages.paths import path_input
from singula.gui.wizard import Sample
from singula.util.format import counted

_MAX_FILES = 6


def show_parts(guard: Guard, data: CheckedData) -> None:
    """Add pictures of some images of each part."""
    for text in data.notes:
        ui.label(text).classes("warning")
    for part in data.parts:
        ui.html(escape(PARTS[part.name]), sanitize=False, tag="h3")
        labels = "no labels" if part.labels is None else guard.short(part.labels)
        ui.label(f"{guard.short(part.images)}  ·  {labels}").classes("note place")
        show_samples(data.shown[part.name])


def show_samples(samples: Sequence[Sample]) -> None:
    """Add a row of pictures with their names."""
    figures = "".join(_figure(sample) for sample in samples)
    ui.html(figures, sanitize=False).classes("thumbs")


def _figure(sample: Sample) -> str:
    picture = "<div class='no-picture'></div>"
    if sample.png is not None:
        data = base64.b64encode(sample.png).decode("ascii")
        picture = f'<img alt="{escape(sample.name)}" src="data:image/png;base64,{data}">'
    caption = f"<span>{escape(sample.name)}</span>{escape(sample.caption)}"
    title = escape(f"{sample.name} {sample.caption}".strip())
    text = f"<figcaption>{caption}</figcaption>"
    return f'<figure class="thumb" title="{title}">{picture}{text}</figure>'


def show_findings(
    guard: Guard, data: CheckedData, use_copy: Callable[[str, list[str]], Awaitable[None]]
) -> None:
    """Add the findings of a check, problems first.

    Parameters
    ----------
    guard : Guard
        Folders that the interface may open.
    data : CheckedData
        Result of the check.
    use_copy : callable
        Receives the folder of a corrected copy and lines about it.
    """
    inspection = data.inspection
    subheading("Check")
    sizes = [f"{PARTS[part.name]}: {part_summary(part)}" for part in inspection.parts]
    ui.label("; ".join([DIMENSIONS[inspection.ndim], *sizes])).classes("note")
    for text in inspection.notes:
        ui.label(text).classes("note")
    ui.label(data.verdict).classes("verdict" if inspection.findings else "good")
    if inspection.fixable:
        _FixCard(guard, data, use_copy)
    for group in data.groups:
        _show_group(group)


def _show_group(group: FindingGroup) -> None:
    with ui.element("section").classes(f"finding {group.severity}"):
        severity = "Problem" if group.severity == PROBLEM else "Hint"
        ui.label(f"{severity}: {group.title} ({group.extent})").classes("finding-title")
        for advice in group.advice:
            note(f"→ {advice}")
        if group.n_fixable:
            many = "" if group.n_fixable == len(group.rows) else f" {group.n_fixable} of them"
            ui.label(f"Fix corrects{many or ' this'} in a copy.").classes("note")
        if group.pictures:
            show_samples(group.pictures)
        for file, text in group.rows[:_MAX_FILES]:
            ui.label(f"{file}: {text}").classes("note place")
        if len(group.rows) > _MAX_FILES:
            with ui.expansion(f"{len(group.rows) - _MAX_FILES} more").classes("elsewhere"):
                for file, text in group.rows[_MAX_FILES:]:
                    ui.label(f"{file}: {text}").classes("note place")


class _FixCard:
    """Form that writes a corrected copy of the data."""

    def __init__(
        self,
        guard: Guard,
        data: CheckedData,
        use_copy: Callable[[str, list[str]], Awaitable[None]],
    ) -> None:
        self.guard, self.data, self.use_copy = guard, data, use_copy
        n_fixable = counted(len(data.inspection.fixable), "finding")
        with ui.element("section").classes("card"):
            ui.label(
                f"{n_fixable} can be corrected. Fix writes a corrected copy of all images and "
                "labels to a new folder; your files stay unchanged."
            )
            with ui.element("div").classes("row-of"):
                self.folder = path_input(
                    guard, "New folder for the corrected copy", propose_copy(guard, data),
                    folders=True,
                )  # fmt: skip
                self.start = button("Fix", self._fix)
            self.messages = ui.element("div").props('aria-live="polite"')

    async def _fix(self) -> None:
        self.start.disable()
        self.messages.clear()
        with self.messages:
            ui.label("Writing the corrected copy …").classes("note")
        folder = self.folder.value or ""
        try:
            report = await run_in_thread(write_corrected, self.guard, self.data, folder)
        except UserError as error:
            self.messages.clear()
            with self.messages:
                error_state(error, "The corrected copy was not written")
            self.start.enable()
            return
        await self.use_copy(folder, report_lines(report, self.guard))
