"""Question which corrections to keep, if others were saved after the image was opened."""

from __future__ import annotations

from nicegui import ui

from singula.gui.pages.frame import button


class KeepQuestion:
    """Dialog with the choice between the corrections of this page and the saved ones."""

    def __init__(self) -> None:
        with ui.dialog().props("persistent") as self.dialog, ui.card():
            self.title = ui.label().classes("finding-title")
            ui.label(
                "Another tab, person or program saved corrections of this image after you opened "
                "it here. Your last correction is not saved yet. Which corrections do you want to "
                "keep?"
            )
            with ui.element("div").classes("row-of buttons"):
                button("Load theirs", lambda: self.dialog.submit("theirs"))
                button("Keep mine", lambda: self.dialog.submit("mine"), look="secondary")
            ui.label(
                "Load theirs: shows the saved corrections; those of this page that are not saved "
                "are lost. Keep mine: replaces the saved corrections with those of this page."
            ).classes("note")

    async def ask(self, name: str) -> bool:
        """Return True if the user keeps the corrections of this page.

        Parameters
        ----------
        name : str
            Name of the image.
        """
        self.title.set_text(f"{name} was also corrected elsewhere")
        return bool(await self.dialog == "mine")
