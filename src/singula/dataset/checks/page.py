"""HTML page of the findings with pictures, without external files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from singula.dataset.checks.findings import HINT, KINDS, Finding, Inspection
from singula.dataset.checks.pictures import finding_pictures
from singula.dataset.checks.text import extent, remedies, short_name, summary, verdict
from singula.errors import UserError
from singula.io.write import write_text
from singula.report.html import Markup, collapsible, join, page, section, table, tag
from singula.report.pictures import data_uri
from singula.util.arguments import instance, items, text
from singula.util.format import counted
from singula.util.paths import user_path

_TITLE = "Data check – Singula"
_SHOWN, _MAX_ROWS = 12, 500
_MAX_PICTURES = 8


def check_page(path: Path) -> None:
    """Raise an error if a page must not be written to a file.

    Parameters
    ----------
    path : Path
        File of the page.

    Raises
    ------
    UserError
        ``check.html_suffix``: another suffix. ``check.html_exists``: a file that is not a page of
        an earlier check.
    """
    path = user_path(path, "path (--html)")
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(
            f"--html: got {path}, expected a name that ends in .html",
            "give a name such as check.html",
            "check.html_suffix",
        )
    if path.is_dir() or (
        path.exists() and _TITLE not in path.read_text("utf-8", errors="replace")[:2000]
    ):
        raise UserError(
            f"--html: {path} already exists and is not a page of an earlier check",
            "give another name",
            "check.html_exists",
        )


def write_page(inspection: Inspection, path: Path | str, estimate: Sequence[str] = ()) -> Path:
    """Write the findings as an HTML page.

    Parameters
    ----------
    inspection : Inspection
        Result of the inspection.
    path : Path or str
        HTML file; it contains all pictures.
    estimate : sequence of str
        Lines on the time, memory and disk space of a run.

    Raises
    ------
    TypeError
        An argument has a wrong type.
    UserError
        The file cannot be written.
    """
    inspection = instance(inspection, "inspection", Inspection)
    path, estimate = user_path(path, "path"), items(estimate, "estimate", text)
    groups = inspection.by_kind()
    links = [tag("a", KINDS[kind].title, href=f"#{kind}") for kind in groups]
    head = tag(
        "header",
        tag("h1", "Data check"),
        tag("p", summary(inspection), class_="facts"),
        _cards(inspection),
        tag("nav", join(links, " "), aria_label="Kinds of findings") if links else None,
    )
    parts = [_group(inspection, kind, findings) for kind, findings in groups.items()]
    if not parts:
        parts = [tag("p", "Nothing found: the data are fine.", class_="lead")]
    if estimate:
        lines = tag("ul", *(tag("li", line) for line in estimate))
        parts.append(section("estimate", "Resources of a run", lines))
    notes = [*inspection.notes]
    if notes:
        parts.append(section("notes", "Notes", tag("ul", *(tag("li", note) for note in notes))))
    return write_text(Path(path), page(_TITLE, head, *parts))


def _cards(inspection: Inspection) -> Markup:
    """Return the numbers of problems, hints, corrections and images."""

    def kinds(findings: Sequence[Finding]) -> int:
        return len({finding.kind for finding in findings})

    files = sum(len(part.pairs) for part in inspection.parts)
    fixable = len({finding.file for finding in inspection.fixable})
    cards = (
        (kinds(inspection.problems), "problems", "stop a run, or make its results worse"),
        (kinds(inspection.hints), "hints", "to be inspected; may be correct"),
        (fixable, "files corrected by --fix", "in a copy of the data"),
        (files, "images", counted(sum(part.objects for part in inspection.parts), "object")),
    )
    tags = [
        tag("div", tag("b", value), tag("span", name), tag("small", about), class_="card")
        for value, name, about in cards
    ]
    return tag("div", *tags, class_="cards", aria_label=verdict(inspection), role="group")


def _group(inspection: Inspection, kind: str, findings: Sequence[Finding]) -> Markup:
    """Return the section of one kind of findings."""
    hint = all(finding.severity == HINT for finding in findings)
    about = tag("p", tag("b", "Hint. " if hint else "Problem. "), extent(findings))
    advice = tag("ul", *(tag("li", text) for text in remedies(findings)))
    rows = [
        (short_name(inspection, finding.file), finding.text, "yes" if finding.fixable else "no")
        for finding in findings
    ]
    columns = ("File", "Finding", "Corrected by --fix")
    parts: list[object] = [about, advice, _pictures(inspection, kind, findings)]
    parts.append(table("Files", columns, rows[:_SHOWN], text_columns=3, class_="images"))
    if len(rows) > _SHOWN:
        rest = table(
            "Further files", columns, rows[_SHOWN:_MAX_ROWS], text_columns=3, class_="images"
        )
        n_more = len(rows) - _MAX_ROWS
        more = tag("p", f"Not listed: {n_more} more.") if n_more > 0 else None
        parts.append(collapsible(f"The other {counted(len(rows) - _SHOWN, 'file')}", rest, more))
    return section(kind, KINDS[kind].title, *(part for part in parts if part is not None))


def _pictures(inspection: Inspection, kind: str, findings: Sequence[Finding]) -> Markup | None:
    """Return a row of pictures from several files."""
    figures = []
    for shown, caption in finding_pictures(inspection, kind, findings, _MAX_PICTURES):
        height, width = shown.shape[:2]
        image = tag("img", src=data_uri(shown), alt=caption, width=width, height=height)
        figures.append(
            tag("figure", image, tag("figcaption", tag("span", caption, class_="name")),
                class_="panel thumb")
        )  # fmt: skip
    if not figures:
        return None
    return tag("div", *figures, class_="thumbs")
