"""Jobs in progress and waiting, with buttons to start or cancel the waiting ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from nicegui import ui

from singula.gui.job_queue import JobKind, QueueItem
from singula.gui.pages.frame import (
    button,
    note,
    run_address,
    run_in_thread,
    subheading,
    with_error_notice,
)
from singula.gui.state import AppContext

_REFRESH_SECONDS = 2.0
_EXPLANATION = (
    "It starts when the jobs before it have ended, while the interface is open. Start it now only "
    "if the memory of this computer suffices for both, for example on a second GPU."
)


def waiting_controls(
    context: AppContext,
    kind: JobKind,
    folder: Path,
    *,
    started: Callable[[], Awaitable[None]],
    removed: Callable[[], Awaitable[None] | None],
) -> None:
    """Add the buttons of a waiting job.

    Parameters
    ----------
    context : AppContext
        State that all pages share.
    kind : JobKind
        Kind of the job.
    folder : Path
        Folder of the job.
    started, removed : callable
        Called when the user has started the job, or removed it from the queue.
    """

    async def start() -> None:
        await run_in_thread(context.control.queue.start_now, kind, folder)
        await started()

    async def remove() -> None:
        await run_in_thread(context.control.queue.remove, kind, folder)
        result = removed()
        if result is not None:
            await result

    with ui.element("div").classes("row-of buttons"):
        button("Start now", with_error_notice(start))
        button("Remove from the queue", with_error_notice(remove), look="secondary")
    note(_EXPLANATION)


class QueuePanel:
    """List of all jobs in progress and waiting; hidden without any.

    Parameters
    ----------
    context : AppContext
        State that all pages share.
    """

    def __init__(self, context: AppContext) -> None:
        self.context = context
        self.shown: list[QueueItem] | None = None
        self.place = ui.element("section")
        self.timer = ui.timer(_REFRESH_SECONDS, self.refresh, immediate=False)

    async def refresh(self) -> None:
        """Show the jobs if they have changed."""
        items = await run_in_thread(self.context.control.queue.items)
        if items == self.shown:
            return
        self.shown = items
        self.place.clear()
        if not items:
            return
        with self.place:
            subheading("Queue")
            with ui.element("ol").classes("run-list queue"):
                for item in items:
                    with ui.element("li"):
                        self._row(item)

    def _row(self, item: QueueItem) -> None:
        folder = item.kind.subject(item.folder)
        with ui.element("div").classes("run-name"):
            ui.link(item.title, run_address(item.kind.page, folder))
            ui.label(self.context.guard.short(folder)).classes("note place")
        state = "running" if item.is_running else "waiting"
        ui.label(state).classes(f"state {state}")
        if not item.is_running:
            control = button("Remove", with_error_notice(partial(self._leave, item)), look="plain")
            control.props["aria-label"] = f"Remove {item.title} from the queue"

    async def _leave(self, item: QueueItem) -> None:
        await run_in_thread(self.context.control.queue.remove, item.kind, item.folder)
        await self.refresh()
