"""Build HTML elements; all text is escaped except `Markup`."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from singula.util.format import grouped
from singula.util.streams import printable

_VOID = frozenset(("img", "meta", "br"))
_HEAD = (
    '<meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="color-scheme" content="light dark">'
)


class Markup(str):
    """A str that contains HTML."""

    __slots__ = ()


def escape(text: object) -> Markup:
    """Return a value as HTML text; control characters and undecodable bytes become escapes."""
    if isinstance(text, Markup):
        return text
    return Markup(html.escape(printable(str(text))))


def join(parts: Iterable[object], between: str = "") -> Markup:
    """Return the concatenated parts, as HTML."""
    return Markup(between.join(escape(part) for part in parts))


def tag(name: str, *content: object, **attributes: object) -> Markup:
    """Return an element.

    Parameters
    ----------
    name : str
        Name of the element.
    content : Markup or object
        Content; other types are converted to text, and None is omitted.
    attributes : str, number, bool or None
        Attributes; a trailing underscore of the name is removed, and others become hyphens
        (``class_``, ``aria_label``). None and False are omitted, and True yields the bare name.
    """
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        parts.append(key if value is True else f'{key}="{escape(value)}"')
    opening = f"<{' '.join(parts)}>"
    if name in _VOID:
        return Markup(opening)
    inner = join(part for part in content if part is not None)
    return Markup(f"{opening}{inner}</{name}>")


def number(value: float | None, digits: int = 3) -> Markup:
    """Return a rounded score, with its full value for programs; a dash for None and NaN."""
    if value is None or math.isnan(value):
        return Markup("–")
    return tag("data", f"{value:.{digits}f}", value=repr(value))


def percent(value: float | None) -> Markup:
    """Return a score from 0 to 1 as a percentage; a dash for None and NaN."""
    if value is None or math.isnan(value):
        return Markup("–")
    return tag("data", f"{100 * value:.1f} %", value=repr(value))


def count(value: float | None) -> Markup:
    """Return an integer with thin spaces between thousands; a dash for None and NaN."""
    if value is None or math.isnan(value):
        return Markup("–")
    return tag("data", grouped(round(value)), value=repr(int(value)))


def table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    groups: Sequence[tuple[str, int]] = (),
    text_columns: int = 1,
    class_: str | None = None,
) -> Markup:
    """Return a table that scrolls horizontally on a narrow page.

    Parameters
    ----------
    caption : str
        Caption above the table.
    columns : sequence of str
        Headers of the columns; the first column contains the names of the rows.
    rows : iterable of sequence
        Cells of each row; `Markup` of a ``<td>`` or ``<th>`` is not wrapped again.
    groups : sequence of (str, int)
        Headers of groups of columns, with the number of columns of each.
    text_columns : int
        Number of columns that contain text, from the left; the others contain numbers.
    class_ : str, optional
        CSS class of the table.
    """
    group_row = None
    if groups:
        cells = [
            tag("th", title, scope="colgroup", colspan=span) if title else tag("td", colspan=span)
            for title, span in groups
        ]
        group_row = tag("tr", join(cells))
    header = tag(
        "tr",
        join(
            tag("th", title, scope="col", class_=None if index < text_columns else "n")
            for index, title in enumerate(columns)
        ),
    )
    body = [tag("tr", join(_cells(row, text_columns))) for row in rows]
    element = tag(
        "table",
        tag("caption", caption),
        tag("thead", group_row, header),
        tag("tbody", join(body, "\n")),
        class_=class_,
    )
    return tag("div", element, class_="scroll", tabindex=0, role="region", aria_label=caption)


def _cells(row: Sequence[object], text_columns: int) -> Iterable[Markup]:
    for index, cell in enumerate(row):
        is_element = isinstance(cell, Markup) and cell.startswith(("<td", "<th"))
        if is_element:
            yield escape(cell)
        elif index == 0:
            yield tag("th", cell, scope="row")
        else:
            yield tag("td", cell, class_=None if index < text_columns else "n")


def bar(value: float | None) -> Markup:
    """Return a table cell with a score from 0 to 1, and a bar of this length behind it."""
    if value is None or math.isnan(value):
        return tag("td", "–", class_="n")
    style = f"--part:{100 * min(max(value, 0.0), 1.0):.1f}%"
    return tag("td", number(value), class_="n bar", style=style)


def definitions(items: Iterable[tuple[object, object]]) -> Markup:
    """Return a list of terms with their definitions."""
    return tag(
        "dl", join(tag("div", tag("dt", term), tag("dd", meaning)) for term, meaning in items)
    )


def section(name: str, title: str, *content: object) -> Markup:
    """Return a section with a heading; `name` is its anchor."""
    return tag("section", tag("h2", title, id=name), *content, aria_labelledby=name)


def collapsible(title: str, *content: object) -> Markup:
    """Return content that is hidden until the reader opens it."""
    return tag("details", tag("summary", title), *content)


def page(title: str, *content: object) -> str:
    """Return a complete HTML document, with its style sheet inside."""
    style = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    head = tag("head", Markup(_HEAD), tag("title", title), tag("style", Markup(style)))
    body = tag("body", tag("main", *content))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"
