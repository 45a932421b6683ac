"""Tune page: sliders for thresholds, with the resulting instances and scores."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from nicegui import ui

from singula.errors import UserError
from singula.gui.pages.finished import ImageView, add_finished_page
from singula.gui.pages.frame import (
    ScoreRow,
    Slider,
    button,
    note,
    notify_saved,
    run_in_thread,
    score_row,
    score_table,
    show_error,
    subheading,
    with_error_notice,
)
from singula.gui.pages.paths import path_input
from singula.gui.pages.search_view import SearchPanel
from singula.gui.pages.viewer import Viewer
from singula.gui.pictures import Scene
from singula.gui.results import Results
from singula.gui.retune import (
    Outcome,
    Retune,
    original_config,
    save_configuration,
    save_in_checkpoint,
)
from singula.gui.search import SearchResult
from singula.gui.state import AppContext
from singula.metrics import Score
from singula.report.html import Markup, join, tag
from singula.runs.run import Stage
from singula.runs.scores import reference_threshold


def add(context: AppContext) -> None:
    """Register the route of the page."""
    text = (
        "On this page you change the thresholds of a finished run and see the resulting objects "
        "immediately; the network does not run again."
    )
    add_finished_page(context, "Tune", text, _View)


class _View(ImageView[tuple[Retune, Outcome, Scene]]):
    """View of one image, decoded again when a slider moves."""

    page, other_page, failed = "tune", "results", "The thresholds cannot be tuned on this image"

    def __init__(self, context: AppContext, folder: Path, results: Results, image: str) -> None:
        super().__init__(folder, results, image)
        self.context = context
        self.retune: Retune | None = None
        self.run_outcome: Outcome | None = None
        self.values: dict[str, float] = {}
        self.search_result: SearchResult | None = None
        self.busy = self.changed = False
        with ui.element("div").classes("row-of tools"):
            self.image_choice("Image")
            self.other_link = ui.link("Results").classes("as-button secondary")
        self.problem = ui.element("div")
        with ui.element("div").classes("split") as self.content:
            with ui.element("div"):
                self.viewer = Viewer(context.scenes)
            with ui.element("div"):
                self.scores = ui.html("", sanitize=False).props('aria-live="polite"')
                subheading("Thresholds")
                self.sliders = ui.element("div")
                button("Reset to the values of the run", self._reset, look="plain")
                subheading("Search for thresholds")
                SearchPanel(context, results, self._use_result)
                subheading("Save thresholds")
                self._save_controls()
        ui.timer(0, self.load, once=True)

    def read(self, name: str, stage: Stage) -> tuple[Retune, Outcome, Scene]:
        """Return decoder, outcome and image with the thresholds of the run."""
        retune = Retune(self.results, name, stage)
        outcome = retune.decode({})
        return retune, outcome, self.results.scene(name, stage, outcome.labels)

    async def present(self, name: str, stage: Stage, data: tuple[Retune, Outcome, Scene]) -> None:
        """Show an image with the thresholds that were chosen on the previous image."""
        self.retune, self.run_outcome, scene = data
        run_values = {slider.key: slider.value for slider in self.retune.sliders}
        self.values = {key: self.values.get(key, value) for key, value in run_values.items()}
        self.viewer.show(scene, f"{name} decoded with the chosen thresholds")
        self._show_sliders()
        self._show_scores(self.run_outcome)
        if self.values != run_values:
            await self._decode()

    def _show_sliders(self) -> None:
        self.sliders.clear()
        self.shown: dict[str, ui.label] = {}
        self.bars: dict[str, Slider] = {}
        with self.sliders:
            for slider in self.retune.sliders if self.retune is not None else ():
                with ui.element("div").classes("threshold"):
                    with ui.element("div").classes("threshold-line"):
                        ui.label(slider.label)
                        self.shown[slider.key] = ui.label(f"{self.values[slider.key]:g}")
                    value = self.values[slider.key]
                    # A value chosen on another image may exceed the range of this image.
                    high = max(slider.high, value)
                    bar = Slider(min=slider.low, max=high, step=slider.step, value=value)
                    bar.props(f'dense aria-label="{slider.label}"')
                    bar.on_value_change(partial(self._moved, slider.key))
                    self.bars[slider.key] = bar
                    origin = f" · {slider.source}" if slider.source else ""
                    ui.label(slider.key + origin).classes("key-name")

    async def _moved(self, key: str, event: Any) -> None:
        if event.value is None or float(event.value) == self.values[key]:
            return
        self.values[key] = float(event.value)
        self.shown[key].set_text(f"{event.value:g}")
        await self._decode()

    async def _decode(self) -> None:
        """Decode the current values; skip all but the last change during the decoding."""
        if self.busy:
            self.changed = True
            return
        self.busy = True
        try:
            self.changed = True
            while self.changed and self.retune is not None and self.viewer.scene is not None:
                self.changed = False
                retune, scene = self.retune, self.viewer.scene
                outcome = await run_in_thread(retune.decode, dict(self.values))
                if retune is not self.retune:
                    continue  # the user has chosen another image
                scene.replace_instances(outcome.labels)
                self.viewer.refresh()
                self._show_scores(outcome)
        except UserError as error:
            show_error(error)
        finally:
            self.busy = False

    async def _reset(self) -> None:
        if self.retune is None:
            return
        self.values = {slider.key: slider.value for slider in self.retune.sliders}
        self._show_sliders()
        await self._decode()

    async def _use_result(self, result: SearchResult) -> None:
        """Set the sliders to the result of a search."""
        self.search_result = result
        if self.retune is None:
            return
        self.values |= {k: v for k, v in result.values.items() if k in self.values}
        self._show_sliders()
        await self._decode()

    def _show_scores(self, outcome: Outcome) -> None:
        if self.run_outcome is not None:
            self.scores.set_content(_score_html(self.run_outcome, outcome))

    def _save_controls(self) -> None:
        """Add the controls that save thresholds."""
        source = original_config(self.results, self.context.guard)
        stem = source.stem if source is not None else self.folder.name
        folder = source.parent if source is not None else self.results.run.tree.job_dir
        target = self.context.guard.short(_free_name(folder, stem))
        field = path_input(self.context.guard, "New configuration file", target)

        def save() -> None:
            if self.retune is None:
                return
            path = self.context.guard.check(field.value or "")
            save_configuration(source, self.retune.config, self.values, path)
            notify_saved(f"saved: {self.context.guard.short(path)}")

        with ui.element("div").classes("row-of"):
            button("Save configuration", with_error_notice(save))
            button(
                "Save in the checkpoint",
                with_error_notice(self._save_in_checkpoint),
                look="secondary",
            )
        note("`singula predict` uses the checkpoint, and `singula run` uses the configuration.")

    async def _save_in_checkpoint(self) -> None:
        result = self.search_result
        is_unchanged = result is not None and result.values == self.values
        provenance = result.provenance if result is not None and is_unchanged else None
        path = await run_in_thread(
            save_in_checkpoint, self.results, dict(self.values), self.context.guard, provenance
        )
        notify_saved(f"saved in {self.context.guard.short(path)}")


def _free_name(folder: Path, stem: str) -> Path:
    names = [f"{stem}_tuned.yaml", *(f"{stem}_tuned_{i}.yaml" for i in range(2, 1000))]
    return next((folder / n for n in names if not (folder / n).exists()), folder / names[0])


def _score_html(run: Outcome, current: Outcome) -> Markup:
    """Return the scores of the run and the current scores as HTML."""
    rows: list[ScoreRow] = [("Objects", str(run.count), str(current.count), 0.0)]
    for old, new in zip(run.scores, current.scores, strict=True):
        rows += [score_row(f"F1 at IoU {old.threshold:g}", old.f1, new.f1)]
    quality = [sum(s.panoptic_quality for s in o.scores) for o in (run, current)]
    if run.scores:
        rows.append(score_row("Mean panoptic quality", *(q / len(run.scores) for q in quality)))
        rows.append(_count_row("Missed", run.scores, current.scores, "fn"))
        rows.append(_count_row("Not in your labels", run.scores, current.scores, "fp"))
    missing = tag("p", "This image has no labels for scores.", class_="note")
    return join((score_table("", "Current", rows), *([] if run.scores else [missing])))


def _count_row(label: str, old: list[Score], new: list[Score], name: str) -> ScoreRow:
    """Return the row of a number of objects at the reference threshold."""
    at = reference_threshold([score.threshold for score in old])
    index = next(i for i, score in enumerate(old) if score.threshold == at)
    before, after = getattr(old[index], name), getattr(new[index], name)
    return f"{label} at IoU {at:g}", str(before), str(after), float(before - after)
