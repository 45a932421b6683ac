"""HTML from values: everything is escaped unless it was made here."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from singula.streams import printable

_VOID = frozenset(("img", "meta", "br"))
_HEAD = (
    '<meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="color-scheme" content="light dark">'
)


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escape(text: object) -> Markup:
    """Return a text for HTML; control characters and bytes that are not text become escapes."""
    if isinstance(text, Markup):
        return text
    return Markup(html.escape(printable(str(text))))


def join(parts: Iterable[object], between: str = "") -> Markup:
    """Parts one after the other."""
    return Markup(between.join(escape(part) for part in parts))


def tag(name: str, *content: object, **attributes: object) -> Markup:
    """An element.

    Parameters
    ----------
    name : str
        Of the element.
    content : Markup, or anything to be shown as text
        None is left out.
    attributes : str or number
        A trailing underscore is dropped and others become hyphens (``class_``, ``aria_label``);
        None and False are left out, True gives the bare name.
    """
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        words.append(key if value is True else f'{key}="{escape(value)}"')
    opening = f"<{' '.join(words)}>"
    if name in _VOID:
        return Markup(opening)
    inner = join(part for part in content if part is not None)
    return Markup(f"{opening}{inner}</{name}>")


def number(value: float | None, digits: int = 3) -> Markup:
    """A score to read, carrying its full value for programs; a dash where there is none."""
    if value is None or math.isnan(value):
        return Markup("–")
    return tag("data", f"{value:.{digits}f}", value=repr(value))


def percent(value: float | None) -> Markup:
    """A score in 0…1 as a percentage."""
    if value is None or math.isnan(value):
        return Markup("–")
    return tag("data", f"{100 * value:.1f} %", value=repr(value))


def count(value: float | None) -> Markup:
    """A whole number with thin spaces between thousands."""
    if value is None or math.isnan(value):
        return Markup("–")
    return tag("data", f"{value:,.0f}".replace(",", "\u202f"), value=repr(int(value)))


def table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    groups: Sequence[tuple[str, int]] = (),
    text_columns: int = 1,
    class_: str | None = None,
) -> Markup:
    """A table that scrolls by itself where the page is narrow.

    Parameters
    ----------
    caption : str
        Above the table.
    columns : sequence of str
        Heads; the first column names the rows.
    rows : iterable of sequence
        Cells; a ready-made ``<td>`` or ``<th>`` is taken as it stands.
    groups : sequence of (str, int)
        Heads above the heads, with the number of columns they span.
    text_columns : int
        The first so many columns are words, the others numbers.
    """
    above = None
    if groups:
        cells = [
            tag("th", words, scope="colgroup", colspan=span) if words else tag("td", colspan=span)
            for words, span in groups
        ]
        above = tag("tr", join(cells))
    heads = tag(
        "tr",
        join(
            tag("th", words, scope="col", class_=None if place < text_columns else "n")
            for place, words in enumerate(columns)
        ),
    )
    body = [tag("tr", join(_cells(row, text_columns))) for row in rows]
    whole = tag(
        "table",
        tag("caption", caption),
        tag("thead", above, heads),
        tag("tbody", join(body, "\n")),
        class_=class_,
    )
    return tag("div", whole, class_="scroll", tabindex=0, role="region", aria_label=caption)


def _cells(row: Sequence[object], text_columns: int) -> Iterable[Markup]:
    for place, cell in enumerate(row):
        ready = isinstance(cell, Markup) and cell.startswith(("<td", "<th"))
        if ready:
            yield escape(cell)
        elif place == 0:
            yield tag("th", cell, scope="row")
        else:
            yield tag("td", cell, class_=None if place < text_columns else "n")


def bar(value: float | None) -> Markup:
    """A table cell with a score in 0…1 and a bar of that length behind it."""
    if value is None or math.isnan(value):
        return tag("td", "–", class_="n")
    style = f"--part:{100 * min(max(value, 0.0), 1.0):.1f}%"
    return tag("td", number(value), class_="n bar", style=style)


def definitions(items: Iterable[tuple[object, object]]) -> Markup:
    """Words and what they mean."""
    return tag(
        "dl", join(tag("div", tag("dt", word), tag("dd", meaning)) for word, meaning in items)
    )


def section(name: str, title: str, *content: object) -> Markup:
    """A part of the page under its own heading."""
    return tag("section", tag("h2", title, id=name), *content, aria_labelledby=name)


def folded(title: str, *content: object) -> Markup:
    """Something to be opened by who wants to see it."""
    return tag("details", tag("summary", title), *content)


def page(title: str, *content: object) -> str:
    """The whole document with its style inside."""
    style = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    head = tag("head", Markup(_HEAD), tag("title", title), tag("style", Markup(style)))
    body = tag("body", tag("main", *content))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"
