"""The findings as one self-contained page with pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from singula.arguments import instance, items, text
from singula.errors import UserError
from singula.inspection.findings import HINT, KINDS, WHOLE_LABELS, Finding, Inspection, Place
from singula.inspection.pictures import picture
from singula.inspection.text import extent, remedies, short_name, summary, verdict
from singula.io.write import write_text
from singula.paths import user_path
from singula.report.html import Markup, collapsible, join, page, section, table, tag
from singula.report.pictures import data_uri
from singula.words import counted

_TITLE = "Data check – Singula"
_SHOWN, _MOST = 12, 500
_PICTURES = 8
# Nothing to be seen in a picture of these
_PLAIN = frozenset(("unpaired", "unreadable", "axes", "order", "channels", "mixed"))


def check_page(path: Path) -> None:
    """See that a page may be written here.

    Raises
    ------
    UserError
        For another suffix, or a file that is no page of an earlier check.
    """
    path = user_path(path, "path (--html)")
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--html: found {path}; allowed a file that ends in .html")
    if path.is_dir() or (path.exists() and _TITLE not in path.read_text(errors="replace")[:2000]):
        raise UserError(
            f"--html: {path} is there and is no page of an earlier check", "choose another name"
        )


def write_page(inspection: Inspection, path: Path | str, estimate: Sequence[str] = ()) -> Path:
    """Write the page.

    Parameters
    ----------
    inspection : Inspection
    path : Path or str
        The HTML file; nothing outside of it is needed to see it.
    estimate : sequence of str
        Lines on what a run will take.

    Raises
    ------
    TypeError, UserError
        Wrong arguments; the file cannot be written.
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
        parts.append(section("estimate", "What a run will take", lines))
    notes = [*inspection.notes]
    if notes:
        parts.append(section("notes", "Notes", tag("ul", *(tag("li", note) for note in notes))))
    return write_text(Path(path), page(_TITLE, head, *parts))


def _cards(inspection: Inspection) -> Markup:
    files = sum(len(part.pairs) for part in inspection.parts)
    cards = (
        (len(inspection.problems), "problems", "make a run stop, or its result worse"),
        (len(inspection.hints), "hints", "to be looked at; may be as it should be"),
        (len(inspection.fixable), "corrected by --fix", "in a copy of the data"),
        (files, "images", counted(sum(part.objects for part in inspection.parts), "object")),
    )
    made = [
        tag("div", tag("b", value), tag("span", words), tag("small", about), class_="card")
        for value, words, about in cards
    ]
    return tag("div", *made, class_="cards", aria_label=verdict(inspection), role="group")


def _group(inspection: Inspection, kind: str, findings: Sequence[Finding]) -> Markup:
    hint = all(finding.severity == HINT for finding in findings)
    about = tag("p", tag("b", "Hint. " if hint else "Problem. "), extent(findings))
    advice = tag("ul", *(tag("li", text) for text in remedies(findings)))
    rows = [
        (short_name(inspection, one.file), one.text, "yes" if one.fixable else "no")
        for one in findings
    ]
    columns = ("File", "What was found", "Corrected by --fix")
    made: list[object] = [about, advice, _pictures(inspection, kind, findings)]
    made.append(table("Files", columns, rows[:_SHOWN], text_columns=3, class_="images"))
    if len(rows) > _SHOWN:
        rest = table("Further files", columns, rows[_SHOWN:_MOST], text_columns=3, class_="images")
        left = len(rows) - _MOST
        more = tag("p", f"Not listed: {left} more.") if left > 0 else None
        made.append(collapsible(f"The other {counted(len(rows) - _SHOWN, 'file')}", rest, more))
    return section(kind, KINDS[kind].title, *(part for part in made if part is not None))


def _pictures(inspection: Inspection, kind: str, findings: Sequence[Finding]) -> Markup | None:
    """Some places of several files, in a row."""
    if kind in _PLAIN:
        return None
    figures = []
    if kind in WHOLE_LABELS:
        findings = [replace(finding, where=()) for finding in findings]
    for finding, place in _picked(findings, _PICTURES):
        shown = picture(finding, inspection.ndim, place)
        if shown is None:
            continue
        name = short_name(inspection, finding.file)
        words = name if place is None or not place.id else f"{name}, id {place.id}"
        height, width = shown.shape[:2]
        image = tag("img", src=data_uri(shown), alt=words, width=width, height=height)
        figures.append(
            tag("figure", image, tag("figcaption", tag("span", words, class_="name")),
                class_="panel thumb")
        )  # fmt: skip
    if not figures:
        return None
    return tag("div", *figures, class_="thumbs")


def _picked(findings: Sequence[Finding], most: int) -> list[tuple[Finding, Place | None]]:
    """One place of each file, then a second one of each, up to a number."""
    picked: list[tuple[Finding, Place | None]] = []
    for turn in range(most):
        for finding in findings:
            if len(picked) == most:
                return picked
            if turn < len(finding.where):
                picked.append((finding, finding.where[turn]))
            elif turn == 0:
                picked.append((finding, None))
    return picked
