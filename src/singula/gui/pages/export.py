"""Controls that export objects to the file formats of other programs."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from nicegui import ui

from singula.errors import UserError
from singula.exports import FORMATS
from singula.gui.exports import (
    count_corrected,
    export_for_download,
    export_to_folder,
)
from singula.gui.pages.frame import button, dropdown, error_state, run_in_thread
from singula.gui.pages.paths import path_input
from singula.gui.state import AppContext
from singula.runs.corrections import OBJECTS
from singula.util.format import counted


class ExportPanel:
    """Choice of a format and a folder, with buttons to write or to download.

    Parameters
    ----------
    context : AppContext
        State that all pages share.
    source : Path
        Folder of a finished run, or of label images.
    """

    def __init__(self, context: AppContext, source: Path) -> None:
        self.guard, self.source = context.guard, source
        panel = ui.expansion("Export all images").classes("panel").props("dense")
        with panel, ui.element("div").classes("display-rows"):
            labels = {key: kind.label for key, kind in FORMATS.items()}
            self.format = dropdown("Format", labels, "imagej").classes("grow")
            self.objects = dropdown("Objects", OBJECTS, "corrected").classes("grow")
            self.corrected = ui.label().classes("note")
            self.folder = path_input(
                self.guard, "Folder", self.guard.short(source / "exports"), folders=True
            )
            self.replace = ui.checkbox("Replace existing files").props("dense")
            with ui.element("div").classes("row-of"):
                self.write_button = button("Export to this folder", self._write)
                self.download_button = button("Download", self._download, look="secondary")
            self.result = ui.element("div").props('aria-live="polite"')
        ui.timer(0, self.refresh, once=True)

    async def refresh(self) -> None:
        """Offer the choice between predicted and corrected objects if there are corrections."""
        try:
            count = await run_in_thread(count_corrected, self.source)
        except UserError:  # the export reports it
            count = 0
        self.corrected.set_text(f"{counted(count, 'image')} with corrections")
        for control in (self.objects, self.corrected):
            control.set_visibility(count > 0)

    async def _write(self) -> None:
        self._start()
        chosen = str(self.format.value)
        try:
            files = await run_in_thread(
                export_to_folder,
                self.guard,
                self.source,
                chosen,
                self.folder.value or "",
                replace=bool(self.replace.value),
                objects=str(self.objects.value),
            )
        except UserError as error:
            self._fail(error)
            return
        finally:
            self._enable(is_enabled=True)
        self.result.clear()
        with self.result:
            place = self.guard.short(files[0].parent)
            text = f"{FORMATS[chosen].label}: {counted(len(files), 'file')} written to {place}"
            ui.label(text).classes("good")

    async def _download(self) -> None:
        self._start()
        scratch = Path(tempfile.mkdtemp(prefix="singula_export_"))
        # The browser fetches the file later.
        ui.context.client.on_delete(lambda: shutil.rmtree(scratch, ignore_errors=True))
        try:
            file = await run_in_thread(
                export_for_download,
                self.guard,
                self.source,
                str(self.format.value),
                scratch,
                objects=str(self.objects.value),
            )
        except UserError as error:
            self._fail(error)
            return
        finally:
            self._enable(is_enabled=True)
        self.result.clear()
        ui.download.file(file)

    def _start(self) -> None:
        self._enable(is_enabled=False)
        self.result.clear()
        with self.result, ui.element("div").classes("row-of"):
            ui.spinner()
            ui.label("Exporting …")

    def _enable(self, *, is_enabled: bool) -> None:
        for control in (self.write_button, self.download_button):
            control.set_enabled(is_enabled)

    def _fail(self, error: UserError) -> None:
        self.result.clear()
        with self.result:
            error_state(error, "The objects were not exported")
