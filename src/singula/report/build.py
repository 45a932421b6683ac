"""Build ``report.html``, one page with all results of a finished run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from singula.io.run_lock import hold, lock_file
from singula.io.write import write_text
from singula.io.written import protect
from singula.report import image_sections, run_sections, score_sections
from singula.report.html import Markup, join, page, section, tag
from singula.report.methods import methods_section
from singula.report.objects import Objects, survey_objects
from singula.runs.images import open_images
from singula.runs.run import Run, Stage, open_run
from singula.util.arguments import flag
from singula.util.messages import captured_messages
from singula.util.paths import user_path

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
    "methods": "Methods",
    "setup": "Configuration",
}


def build_report(run: Path, *, external_files: bool = True) -> Path:
    """Write the report of a finished run into its folder.

    Parameters
    ----------
    run : Path
        Folder of the run, RESULT_DIR/NAME/results/NAME_RUN. Images and ground truth are read from
        the paths in the configuration of the run; the report lists images that are missing.
    external_files : bool
        Read image files that refer to other files if the configuration of the run allows this.

    Returns
    -------
    Path
        ``report.html``, a single file without references to other files.

    Raises
    ------
    UserError
        The folder cannot be written; ``run.locked``: another process writes to the run; the codes
        of `open_run`.
    """
    external_files = flag(external_files, "external_files")
    with captured_messages() as notices:  # the report lists them
        opened = open_run(user_path(run, "run"))
    with hold([lock_file(opened.tree.run)], "report"), protect([opened.tree.run]):
        external_files = external_files and opened.config.DATA.EXTERNAL_FILES
        return _write_report(opened, notices, external_files=external_files)


def _write_report(run: Run, notices: Sequence[str], *, external_files: bool) -> Path:
    images = open_images(run, external_files=external_files)
    for line in notices:
        images.note(line)
    stages, shown = run.stages, run.main_stages
    main = run.final_stage if shown else None
    objects: dict[str, Objects] = {}
    sections: dict[str, Markup | None] = {}
    if main is not None:
        objects = survey_objects(images, stages, main)
        names = image_sections.sort_images(run, main, objects[main.key])
        scored = bool(run.scores.images(main.key))
        selected = image_sections.select_images(names, scored)
        pictures, links = image_sections.picture_section(images, shown, selected)
        sections["pictures"] = pictures
        leading = [main, *(stage for stage in stages if stage != main)]
        sections["images"] = image_sections.table_section(run, leading, objects, names, links)
        sections["shapes"] = image_sections.shape_section(
            run, main, objects[main.key], run.ndim_of(main)
        )
        sections["splits"] = score_sections.split_section(run, stages, objects)
        sections["classes"] = score_sections.class_section(run, main, objects)
    sections["scores"] = score_sections.score_section(run, stages)
    sections["channels"] = score_sections.map_section(run)
    sections["training"] = run_sections.training_section(run)
    sections["thresholds"] = run_sections.threshold_section(run)
    sections["costs"] = run_sections.cost_section(run)
    sections["methods"] = methods_section(run)
    sections["setup"] = run_sections.setup_section(run)
    text = _page(run, main, objects, sections, images.notes)
    return write_text(run.tree.report_html, text)


def _page(
    run: Run,
    main: Stage | None,
    objects: dict[str, Objects],
    sections: dict[str, Markup | None],
    notes: Sequence[str],
) -> str:
    name = run.tree.run.name
    shown = [(key, part) for key in _NAMES if (part := sections.get(key)) is not None]
    links = [tag("a", _NAMES[key], href=f"#{key}") for key, _ in shown]
    note_section = None
    if notes:
        items = tag("ul", *(tag("li", note) for note in notes))
        note_section = section("notes", "What is missing here", items)
    head = tag(
        "header",
        tag("h1", tag("span", name, class_="name")),
        run_sections.facts(run),
        score_sections.headline(run, main, objects),
        tag("nav", join(links, " "), aria_label="Sections"),
    )
    return page(f"{name} – Singula report", head, note_section, *(part for _, part in shown))
