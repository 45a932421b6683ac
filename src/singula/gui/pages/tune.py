"""Tune page: sliders for thresholds, with the resulting instances and scores."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nicegui import ui

from singula.errors import UserError
from singula.gui.all_images import AllImages, MeanOutcome, apply_to_all
from singula.gui.pages.finished import ImageView, add_finished_page
from singula.gui.pages.frame import (
    ScoreRow,
    Slider,
    button,
    explained,
    note,
    notify_saved,
    run_address,
    run_in_thread,
    score_row,
    score_table,
    show_address,
    show_error,
    subheading,
    with_error_notice,
)
from singula.gui.pages.paths import path_input
from singula.gui.pages.search_view import SearchPanel
from singula.gui.pages.viewer import Viewer
from singula.gui.pictures import Scene
from singula.gui.results import Results
from singula.gui.retune import LABELS, SMALL, Outcome, Retune
from singula.gui.save_thresholds import (
    model_file,
    original_config,
    save_configuration,
    save_in_checkpoint,
    values_as_text,
    values_from_text,
)
from singula.gui.search import SearchResult
from singula.gui.state import AppContext
from singula.gui.thresholds_in_use import Use, thresholds_in_use
from singula.metrics import Score
from singula.report.html import Markup, join, tag
from singula.runs.run import Stage
from singula.runs.scores import reference_threshold
from singula.util.format import counted, grouped
from singula.util.free_names import free_name

_F1 = "Detection score (F1)"
_SETTLED_SECONDS = 0.4  # without a move, before all images are decoded


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
        request = ui.context.client.request
        query = request.query_params if request is not None else {}
        self.values = values_from_text(query.get("values", ""))
        self.search_result: SearchResult | None = None
        self.busy = self.changed = False
        self.all_images = AllImages(results, self.stage)
        self.scoring = 0  # number of the last computation of mean scores
        self.mean: MeanOutcome | None = None
        self.progress = ui.timer(0.5, self._show_progress, active=False)
        ui.context.client.on_delete(self._stop_scoring)
        with ui.element("div").classes("row-of tools"):
            self.image_choice("Image")
            self.other_link = ui.link("Results").classes("as-button secondary")
        self.problem = ui.element("div")
        with ui.element("div").classes("split") as self.content:
            with ui.element("div"):
                self.viewer = Viewer(context.scenes)
            with ui.element("div"):
                self.scores = ui.html("", sanitize=False).props('aria-live="polite"')
                self.means = ui.html("", sanitize=False).props('aria-live="polite"')
                subheading("Thresholds")
                self.sliders = ui.element("div")
                button("Reset to the values of the run", self._reset, look="plain")
                subheading("Find best settings automatically")
                SearchPanel(context, results, self._use_result)
                subheading("Use these settings")
                self._save_controls()
                with ui.expansion("Settings in use").classes("file-view") as self.opened_use:
                    self.in_use = ui.html(tag("p", "Reading the model …"), sanitize=False)
                # Reading a model takes some seconds, which would delay the first moves.
                self.opened_use.on_value_change(self._open_in_use)
        self.load_first()

    def address(self) -> str:
        """Return the address with the positions of the sliders, which a restart restores."""
        text = values_as_text(self.values)
        return super().address() + (f"&values={quote(text)}" if text else "")

    def read(self, name: str, stage: Stage) -> tuple[Retune, Outcome, Scene]:
        """Return decoder, outcome and image with the thresholds of the run."""
        retune = Retune(self.results, name, stage)
        outcome = retune.decode({})
        return retune, outcome, self.results.scene(name, stage, outcome.labels)

    async def present(self, name: str, stage: Stage, data: tuple[Retune, Outcome, Scene]) -> None:
        """Show an image with the thresholds that were chosen on the previous image."""
        self.retune, self.run_outcome, scene = data
        run_values = {slider.key: slider.value for slider in self.retune.sliders}
        # The positions of another image, or of an earlier visit of this page
        values = self.values or self.context.slider_positions.get(self.folder, {})
        self.values = {key: values.get(key, value) for key, value in run_values.items()}
        self.viewer.show(scene, f"{name} decoded with the chosen thresholds")
        self._show_sliders()
        self._show_scores(self.run_outcome)
        if self.values != run_values:
            self._show_progress()
            await self._decode()
        elif self.scoring == 0:
            await self._score_all()

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
        self.context.slider_positions[self.folder] = dict(self.values)
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
        show_address(self.address())
        await self._score_all()

    async def _score_all(self) -> None:
        """Show the mean scores of all images, unless a slider moves in the meantime."""
        if len(self.all_images.names) < 2:
            return
        self.scoring += 1
        number, values = self.scoring, dict(self.values)
        self.all_images.n_done = 0
        self._show_progress()
        await asyncio.sleep(_SETTLED_SECONDS)
        if number != self.scoring:
            return
        self.progress.active = True
        outcome = self.all_images.outcome
        before = await run_in_thread(outcome, {}, is_current=lambda: number == self.scoring)
        after = await run_in_thread(outcome, values, is_current=lambda: number == self.scoring)
        if before is not None and after is not None and number == self.scoring:
            self.progress.active = False
            self.mean = after
            self.means.props("aria-busy=false")
            self.means.set_content(_mean_html(before, after))

    def _show_progress(self) -> None:
        """Show the table of the means without values, so that it keeps its size."""
        done, total = self.all_images.n_done, len(self.all_images.names)
        if total < 2:
            return
        scores = [] if self.run_outcome is None else self.run_outcome.scores
        mean = self.mean or MeanOutcome(total, 0, scores)
        self.means.props("aria-busy=true")  # screen readers wait for the values
        rows = [(label, "…", "…", 0.0) for label, *_ in _mean_rows(mean, mean)]
        self.means.set_content(
            score_table(f"Computing scores: {done} of {total} images", "Now", rows)
        )

    def _stop_scoring(self) -> None:
        self.scoring += 1

    async def _reset(self) -> None:
        if self.retune is None:
            return
        self.values = {slider.key: slider.value for slider in self.retune.sliders}
        self._show_sliders()
        await self._decode()

    async def _use_result(self, result: SearchResult) -> None:
        """Set the sliders to the result of a search."""
        self.search_result = result
        if self.retune is None:  # `present` uses the values
            self.values |= result.values
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
        name = free_name(folder, f"{stem}_tuned", (".yaml",))
        target = self.context.guard.short(folder / f"{name}.yaml")
        with ui.element("div").classes("row-of"):
            button("Apply to all images", with_error_notice(self._apply))
            button(
                "Use from now on with this model",
                with_error_notice(self._save_in_checkpoint),
                look="secondary",
            )
        note(
            "*Apply* finds the objects of all images of this run again; the earlier results move "
            "to the folder `previous`. *Use from now on* stores the settings in the model, for new "
            "images."
        )
        field = path_input(self.context.guard, "New file of settings", target)

        async def save() -> None:
            if self.retune is None:
                return
            path = self.context.guard.check(field.value or "")
            model = await run_in_thread(model_file, self.results, self.context.guard)
            save_configuration(source, self.retune.config, self.values, path, model)
            notify_saved(f"saved: {self.context.guard.short(path)}")

        button("Save these settings", with_error_notice(save), look="secondary")
        note("The file segments the test images with this model and these settings.")

    async def _apply(self) -> None:
        """Test all images again, and open the page of the run."""
        if self.retune is None:
            return
        folder = await run_in_thread(
            apply_to_all,
            self.results,
            dict(self.values),
            self.context.guard,
            self.context.control,
        )
        self.context.slider_positions.pop(self.folder, None)
        ui.navigate.to(run_address("run", folder))

    async def _save_in_checkpoint(self) -> None:
        result = self.search_result
        is_unchanged = result is not None and result.values == self.values
        provenance = result.provenance if result is not None and is_unchanged else None
        path = await run_in_thread(
            save_in_checkpoint, self.results, dict(self.values), self.context.guard, provenance
        )
        notify_saved(f"saved in {self.context.guard.short(path)}")
        if self.opened_use.value:
            await self._show_in_use()
        else:
            self.opened_use.open()

    async def _open_in_use(self, event: Any) -> None:
        if event.value:
            await with_error_notice(self._show_in_use)()

    async def _show_in_use(self) -> None:
        """Show which thresholds the results, the model and the next run use."""
        guard = self.context.guard
        source = original_config(self.results, guard)
        uses = await run_in_thread(thresholds_in_use, self.results, guard, source)
        self.in_use.set_content(_use_table(uses))


def _score_html(run: Outcome, current: Outcome) -> Markup:
    """Return the scores of an image with the thresholds of the run, and with the current ones."""
    rows: list[ScoreRow] = [("Objects found", str(run.count), str(current.count), 0.0)]
    rows += _score_rows(run.scores, current.scores)
    if run.scores:
        rows.append(_count_row("Missed", run.scores, current.scores, "fn"))
        rows.append(_count_row("Not in your labels", run.scores, current.scores, "fp"))
    missing = tag("p", "This image has no labels for scores.", class_="note")
    return join((score_table("This image", "Now", rows), *([] if run.scores else [missing])))


def _mean_html(run: MeanOutcome, current: MeanOutcome) -> Markup:
    """Return the mean scores of all images with the thresholds of the run and the current ones."""
    title = f"Mean of all {counted(current.n_images, 'image')}"
    return score_table(title, "Now", _mean_rows(run, current))


def _mean_rows(run: MeanOutcome, current: MeanOutcome) -> list[ScoreRow]:
    rows: list[ScoreRow] = [("Objects found", grouped(run.count), grouped(current.count), 0.0)]
    return rows + _score_rows(run.scores, current.scores)


def _score_rows(old: Sequence[Score], new: Sequence[Score]) -> list[ScoreRow]:
    rows: list[ScoreRow] = []
    for before, after in zip(old, new, strict=True):
        label = f"{_F1} at IoU {before.threshold:g}"
        text = label if rows else explained(label, _F1)
        rows.append(score_row(text, before.f1, after.f1))
    if old:
        quality = [sum(s.panoptic_quality for s in scores) / len(old) for scores in (old, new)]
        text = explained("Mean panoptic quality", "Panoptic quality")
        rows.append(score_row(text, *quality))
    return rows


def _use_table(uses: Sequence[Use]) -> Markup:
    """Return the thresholds of each use of the model as an HTML table."""
    names = dict.fromkeys(name for use in uses for name in use.values)
    head = tag(
        "tr", *(tag("th", text, scope="col") for text in ("In use", *(u.title for u in uses)))
    )
    labels = {key.removeprefix("DATA_MW_"): label for key, label in LABELS.items()}
    labels["REMOVE_SMALL_OBJ"] = LABELS[SMALL]
    rows = [
        tag(
            "tr",
            tag("th", labels.get(name, name), scope="row"),
            *(tag("td", use.values.get(name, "–")) for use in uses),
        )
        for name in names
    ]
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_="score-table in-use")
    return tag("div", table, class_="wide")


def _count_row(label: str, old: list[Score], new: list[Score], name: str) -> ScoreRow:
    """Return the row of a number of objects at the reference threshold."""
    at = reference_threshold([score.threshold for score in old])
    index = next(i for i, score in enumerate(old) if score.threshold == at)
    before, after = getattr(old[index], name), getattr(new[index], name)
    return f"{label} at IoU {at:g}", str(before), str(after), float(before - after)
