"""Card of the Correct page that starts a training with the corrections."""

from __future__ import annotations

from nicegui import ui

from singula.errors import UserError
from singula.gui.correct import CorrectableImages
from singula.gui.fine_tune import MINUTES, describe_corrections, start_fine_tuning
from singula.gui.pages.frame import (
    button,
    error_state,
    run_address,
    run_in_thread,
    subheading,
    waiting,
)
from singula.gui.state import AppContext


class FineTuneCard:
    """Numbers of corrected images, training time, and the button that starts the training.

    Parameters
    ----------
    context : AppContext
        State that all pages share.
    images : CorrectableImages
        Images of a prediction or a run.
    """

    def __init__(self, context: AppContext, images: CorrectableImages) -> None:
        self.context, self.images = context, images
        with ui.element("section").classes("card"):
            subheading("Fine-tune with corrections")
            ui.label(
                "Train the model further with all images of this folder that you corrected, and "
                "with its own training images if they are available. Correct whole images: an "
                "object without a label counts as background."
            )
            self.count = ui.label().classes("note")
            with ui.element("div").classes("row-of"):
                self.minutes = ui.number("Training time (minutes)", value=MINUTES, min=0.1)
                self.minutes.props("outlined dense").classes("short")
                self.begin = button("Fine-tune with corrections", self._start)
            self.waiting = ui.element("div").props('aria-live="polite"')
            self.messages = ui.element("div").props('aria-live="assertive"')

    async def refresh(self) -> None:
        """Show how many images are corrected."""
        text = await run_in_thread(describe_corrections, self.images)
        self.count.set_text(text or "No image of this folder is corrected yet.")
        self.begin.set_enabled(bool(text))

    async def _start(self) -> None:
        self.messages.clear()
        self.begin.disable()
        with self.waiting:
            waiting("Measuring images, and scoring the model before the training …")
        try:
            folder = await run_in_thread(
                start_fine_tuning,
                self.context.control,
                self.images,
                float(self.minutes.value or MINUTES),
            )
        except UserError as error:
            with self.messages:
                error_state(error, "The training was not started")
            return
        finally:
            self.waiting.clear()
            self.begin.enable()
        ui.navigate.to(run_address("run", folder))
