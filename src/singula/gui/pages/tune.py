"""The Tune page: a slider for each threshold, instances and scores at once."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from nicegui import ui

from singula.errors import UserError
from singula.evaluate import Score
from singula.gui.pages.finished import ImageView, finished_run
from singula.gui.pages.frame import (
    ScoreRow,
    Slider,
    aside,
    button,
    guarded,
    note,
    score_row,
    score_table,
    subheading,
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
from singula.gui.search import Found
from singula.gui.station import Station
from singula.report.run_files import Stage, reference_threshold


def add(station: Station) -> None:
    """Serve the page."""

    @ui.page("/tune", title="Tune · Singula", response_timeout=60)
    async def page(run: str = "", image: str = "") -> None:
        nothing = (
            "Nothing to tune yet",
            "When a run has finished, you move its thresholds here and see at once what "
            "becomes of the instances; the network does not run again.",
        )
        await finished_run(
            station,
            "Tune",
            run,
            nothing,
            lambda folder, results: _View(station, folder, results, image),
        )


class _View(ImageView[tuple[Retune, Outcome, Scene]]):
    """One image of a run, decoded again whenever a slider moves."""

    page, other_page, failed = "tune", "results", "This image cannot be tuned"

    def __init__(self, station: Station, folder: Path, results: Results, image: str) -> None:
        super().__init__(folder, results, image)
        self.station = station
        self.retune: Retune | None = None
        self.before: Outcome | None = None
        self.values: dict[str, float] = {}
        self.found: Found | None = None
        self.busy = self.again = False
        with ui.element("div").classes("row-of tools"):
            self.image_choice("Image")
            self.other = ui.link("Results").classes("as-button quiet")
        self.problem = ui.element("div")
        with ui.element("div").classes("split") as self.whole:
            with ui.element("div"):
                self.viewer = Viewer(station.scenes)
            with ui.element("div"):
                self.scores = ui.html("", sanitize=False).props('aria-live="polite"')
                subheading("Thresholds")
                self.sliders = ui.element("div")
                button("Back to the run's own", self._reset, look="plain")
                subheading("Search them")
                SearchPanel(station, results, self._take)
                subheading("Keep them")
                self._saving()
        ui.timer(0, self.load, once=True)

    def read(self, name: str, stage: Stage) -> tuple[Retune, Outcome, Scene]:
        """The maps, and the instances as the run left them."""
        retune = Retune(self.results, name, stage)
        before = retune.decode({})
        raw = self.results.sources.raw(name, stage)
        labels = {"instances": before.labels}
        if retune.truth is not None:
            labels["truth"] = retune.truth
        fits = raw is not None and raw.array.shape[:-1] == before.labels.shape
        at = reference_threshold(list(retune.config.TEST.MATCHING_STATS_THS))
        return (
            retune,
            before,
            Scene(raw.array if raw is not None and fits else None, labels, at or 0.5),
        )

    async def present(self, name: str, stage: Stage, found: tuple[Retune, Outcome, Scene]) -> None:
        """Show them; what was chosen on one image is tried on the next."""
        self.retune, self.before, scene = found
        own = {slider.key: slider.value for slider in self.retune.sliders}
        self.values = {key: self.values.get(key, value) for key, value in own.items()}
        self.viewer.show(scene, f"{name} decoded with the chosen thresholds")
        self._show_sliders()
        self._show_scores(self.before)
        if self.values != own:
            await self._decode()

    def _show_sliders(self) -> None:
        self.sliders.clear()
        self.shown: dict[str, ui.label] = {}
        self.bars: dict[str, Slider] = {}
        with self.sliders:
            for slider in self.retune.sliders if self.retune is not None else ():
                with ui.element("div").classes("threshold"):
                    with ui.element("div").classes("threshold-line"):
                        ui.label(slider.words)
                        self.shown[slider.key] = ui.label(f"{self.values[slider.key]:g}")
                    value = self.values[slider.key]
                    # What was found on other images may lie beyond what this one's map holds.
                    high = max(slider.high, value)
                    bar = Slider(min=slider.low, max=high, step=slider.step, value=value)
                    bar.props(f'dense aria-label="{slider.words}"')
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
        """Decode; while that goes on, only the last of further moves counts."""
        if self.busy:
            self.again = True
            return
        self.busy = True
        try:
            self.again = True
            while self.again and self.retune is not None and self.viewer.scene is not None:
                self.again = False
                retune, scene = self.retune, self.viewer.scene
                outcome = await aside(retune.decode, dict(self.values))
                if retune is not self.retune:
                    continue  # it is of the image before
                scene.replace_instances(outcome.labels)
                self.viewer.refresh()
                self._show_scores(outcome)
        except UserError as error:
            ui.notify(str(error), type="negative")
        finally:
            self.busy = False

    async def _reset(self) -> None:
        if self.retune is None:
            return
        self.values = {slider.key: slider.value for slider in self.retune.sliders}
        self._show_sliders()
        await self._decode()

    async def _take(self, found: Found) -> None:
        """Set the sliders to what a search found."""
        self.found = found
        if self.retune is None:
            return
        self.values |= {k: v for k, v in found.values.items() if k in self.values}
        self._show_sliders()
        await self._decode()

    def _show_scores(self, outcome: Outcome) -> None:
        if self.before is not None:
            self.scores.set_content(_scores_of(self.before, outcome))

    def _saving(self) -> None:
        """The field and the button that write a configuration."""
        source = original_config(self.results, self.station.guard)
        stem = source.stem if source is not None else self.folder.name
        place = source.parent if source is not None else self.results.files.tree.job_dir
        target = self.station.guard.short(_free(place, stem))
        field = path_input(self.station.guard, "Save as a configuration", target)

        def save() -> None:
            if self.retune is None:
                return
            if not (field.value or "").endswith((".yaml", ".yml")):
                raise UserError(f"{field.value!r} is no YAML file's name", "let it end in .yaml")
            path = self.station.guard.check(field.value)
            save_configuration(source, self.retune.config, self.values, path)
            ui.notify(f"saved: {self.station.guard.short(path)}", type="positive")

        with ui.element("div").classes("row-of"):
            button("Save configuration", guarded(save))
            button("Save in the checkpoint", self._keep, look="quiet")
        note("`singula predict` uses what the checkpoint holds; a run uses its configuration.")

    async def _keep(self) -> None:
        found = self.found
        as_found = found is not None and found.values == self.values
        worth = found.worth if found is not None and as_found else None
        try:
            path = await aside(
                save_in_checkpoint, self.results, dict(self.values), self.station.guard, worth
            )
        except UserError as error:
            ui.notify(str(error), type="negative", multi_line=True, timeout=12000)
            return
        ui.notify(f"saved in {self.station.guard.short(path)}", type="positive")


def _free(folder: Path, stem: str) -> Path:
    names = [f"{stem}_tuned.yaml", *(f"{stem}_tuned_{i}.yaml" for i in range(2, 1000))]
    return next((folder / n for n in names if not (folder / n).exists()), folder / names[0])


def _scores_of(before: Outcome, now: Outcome) -> str:
    """Scores as the run had them and as they are now, as HTML."""
    rows: list[ScoreRow] = [("Instances", str(before.count), str(now.count), 0.0)]
    for old, new in zip(before.scores, now.scores, strict=True):
        rows += [score_row(f"F1 at IoU {old.threshold:g}", old.f1, new.f1)]
    quality = [sum(s.panoptic_quality for s in o.scores) for o in (before, now)]
    if before.scores:
        rows.append(score_row("Mean panoptic quality", *(q / len(before.scores) for q in quality)))
        rows.append(_count_row("Missed", before.scores, now.scores, "fn"))
        rows.append(_count_row("Not in the truth", before.scores, now.scores, "fp"))
    note = "" if before.scores else "<p class='note'>There is no truth to compare with.</p>"
    return score_table("", "now", rows) + note


def _count_row(words: str, old: list[Score], new: list[Score], name: str) -> ScoreRow:
    """Objects counted at the reference threshold."""
    at = reference_threshold([score.threshold for score in old])
    place = next(i for i, score in enumerate(old) if score.threshold == at)
    one, two = getattr(old[place], name), getattr(new[place], name)
    return f"{words} at IoU {at:g}", str(one), str(two), float(one - two)
