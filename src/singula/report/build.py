"""``report.html``: one page with all that a finished run left, from its files alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from singula.arguments import function
from singula.io.run_lock import hold, lock_file
from singula.io.write import write_text
from singula.io.written import protect
from singula.paths import user_path
from singula.report import image_sections, run_sections, score_sections
from singula.report.html import Markup, join, page, section, tag
from singula.report.objects import Objects, survey_objects
from singula.report.run_files import RunFiles, Stage, open_run
from singula.report.sources import open_sources

_NAMES = {
    "scores": "Scores",
    "images": "Images",
    "pictures": "Pictures",
    "shapes": "Sizes and shapes",
    "splits": "Splits and merges",
    "classes": "Classes",
    "channels": "Channels",
    "training": "Training",
    "thresholds": "Thresholds",
    "costs": "Time and memory",
    "setup": "Configuration",
}


def build_report(run: Path, notify: Callable[[str], None] | None = None) -> Path:
    """Write the report of a finished run into its folder.

    Parameters
    ----------
    run : Path
        RESULT_DIR/NAME/results/NAME_RUN. Images and truth are read from the paths of the run's
        configuration; where they are no longer there, the report does without and says so.
    notify : callable, optional
        Receives a line if a report that the user changed is moved.

    Returns
    -------
    Path
        ``report.html``, one file without anything outside it.

    Raises
    ------
    UserError
        The folder is no finished run's, a table in it is damaged, or it cannot be written.
        ``run.locked``: another process writes to the run.
    """
    if notify is not None:
        function(notify, "notify")
    notices: list[str] = []
    files = open_run(user_path(run, "run"), notices.append)
    with hold([lock_file(files.tree.run)], "report"), protect([files.tree.run], notify):
        return _write_report(files, notices)


def _write_report(files: RunFiles, notices: Sequence[str]) -> Path:
    sources = open_sources(files, external_files=bool(files.key("DATA.EXTERNAL_FILES", False)))
    for line in notices:
        sources.note(line)
    stages = files.stages()
    shown = [stage for stage in stages if stage.view == stages[0].view]
    main = shown[-1] if shown else None
    objects: dict[str, Objects] = {}
    found: dict[str, Markup | None] = {}
    if main is not None:
        objects = survey_objects(files, sources, stages, main)
        names = image_sections.order(files, main, objects[main.key])
        scored = bool(files.scores.images(main.key))
        picked = image_sections.chosen(names, scored)
        found["pictures"], links = image_sections.picture_section(files, sources, shown, picked)
        leading = [main, *(stage for stage in stages if stage != main)]
        found["images"] = image_sections.table_section(files, leading, objects, names, links)
        found["shapes"] = image_sections.shape_section(
            files, main, objects[main.key], 3 if main.view == "as_3d_stack" else files.ndim
        )
        found["splits"] = score_sections.split_section(files, stages, objects)
        found["classes"] = score_sections.class_section(files, main, objects)
    found["scores"] = score_sections.score_section(files, stages)
    found["channels"] = score_sections.map_section(files)
    found["training"] = run_sections.training_section(files)
    found["thresholds"] = run_sections.threshold_section(files)
    found["costs"] = run_sections.cost_section(files)
    found["setup"] = run_sections.setup_section(files)
    text = _page(files, main, objects, found, sources.notes)
    return write_text(files.tree.report_html, text)


def _page(
    files: RunFiles,
    main: Stage | None,
    objects: dict[str, Objects],
    found: dict[str, Markup | None],
    notes: Sequence[str],
) -> str:
    name = files.tree.run.name
    there = [(key, part) for key in _NAMES if (part := found.get(key)) is not None]
    links = [tag("a", _NAMES[key], href=f"#{key}") for key, _ in there]
    told = None
    if notes:
        items = tag("ul", *(tag("li", note) for note in notes))
        told = section("notes", "What is missing here", items)
    head = tag(
        "header",
        tag("h1", tag("span", name, class_="name")),
        run_sections.facts(files),
        score_sections.headline(files, main, objects),
        tag("nav", join(links, " "), aria_label="Sections"),
    )
    return page(f"{name} – Singula report", head, told, *(part for _, part in there))
