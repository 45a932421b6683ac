"""Parts that all pages share: title bar, color scheme, empty and error states, controls."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar
from urllib.parse import quote, urlencode

from nicegui import ui
from nicegui.events import GenericEventArguments

from singula.errors import UserError
from singula.gui.guard import Guard
from singula.gui.manual import OTHER_PAGE, PAGES, PageInfo, anchor
from singula.gui.wording import TERMS, page_text
from singula.report.html import Markup, escape, join, tag

Look = Literal["main", "secondary", "bad", "plain"]
P = ParamSpec("P")
T = TypeVar("T")
# Label, value of the run, current value, and their difference (positive: better)
ScoreRow = tuple[str, str, str, float]
STYLE = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
_THEMES = {"auto": ("◐", "system"), "light": ("☀", "light"), "dark": ("☾", "dark")}
_SAVE_THEME = "document.cookie = 'singula_theme={}; path=/; max-age=31536000; SameSite=Strict'"


@contextmanager
def frame(page: str) -> Iterator[None]:
    """Build the title bar and the container of a page's content.

    Parameters
    ----------
    page : str
        Name of the page in `PAGES`.
    """
    info = PAGES.get(page, OTHER_PAGE)
    request = ui.context.client.request
    theme = request.cookies.get("singula_theme", "auto") if request is not None else "auto"
    theme = theme if theme in _THEMES else "auto"
    dark = ui.dark_mode({"light": False, "dark": True}.get(theme))
    ui.html('<a class="skip" href="#content">Skip to the content</a>', sanitize=False)
    with ui.element("header").classes("bar"), ui.element("div").classes("bar-inner"):
        ui.link("Singula", "/new").classes("brand").props('aria-label="Singula, start"')
        with ui.element("nav").props('aria-label="Pages"'):
            for name, other in PAGES.items():
                if other.tab:
                    continue
                link = ui.link(name, other.address).classes("tab")
                if name == (info.tab or page):
                    link.classes("here").props('aria-current="page"')
        _help_button(info)
        _theme_button(dark, theme)
    with ui.element("div").props('id="content"').classes("page"):
        yield


def _help_button(info: PageInfo) -> None:
    """Add the button that explains the page and links to its documentation."""
    control = ui.button("?", color=None).props("flat dense no-caps").classes("theme help-button")
    control.props('aria-label="Help for this page" title="Help for this page"')
    with control, ui.menu().classes("help-menu"):
        ui.label(info.help)
        ui.link("Documentation of this page", f"/help#{anchor(info.section)}", new_tab=True)


def _theme_button(dark: ui.dark_mode, theme: str) -> None:
    states = list(_THEMES)
    current = {"theme": theme}

    def switch() -> None:
        current["theme"] = states[(states.index(current["theme"]) + 1) % len(states)]
        dark.set_value({"light": False, "dark": True}.get(current["theme"]))
        ui.run_javascript(_SAVE_THEME.format(current["theme"]))
        show()

    def show() -> None:
        sign, name = _THEMES[current["theme"]]
        control.set_text(sign)
        control.props(f'aria-label="Colors: {name}" title="Colors: {name}"')

    control = ui.button(on_click=switch, color=None).props("flat dense no-caps").classes("theme")
    show()


def heading(title: str, text: str = "") -> None:
    """Add the title of a page and a line of text."""
    ui.html(title, sanitize=escape, tag="h1")
    if text:
        ui.label(text).classes("lead")


def subheading(title: str) -> None:
    """Add the title of a section."""
    ui.html(title, sanitize=escape, tag="h2")


def note(text: str) -> None:
    """Add a small paragraph; text in backquotes is displayed as code, in asterisks emphasized."""
    ui.html(text, sanitize=_with_code, tag="p").classes("note")


def _with_code(text: str) -> str:
    text = re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))
    return re.sub(r"\*([^*<]+)\*", r"<em>\1</em>", text)


def empty_state(title: str, text: str, *links: tuple[str, str]) -> None:
    """Add a message that there is nothing to show, with links (label, address) to other pages."""
    with ui.element("section").classes("empty"):
        ui.html(title, sanitize=escape, tag="h2")
        ui.label(text)
        with ui.element("div").classes("row-of"):
            for name, target in links:
                ui.link(name, target).classes("as-button")


def waiting(text: str = "Reading the image …") -> None:
    """Add a moving sign and a text while something is read."""
    with ui.element("div").classes("waiting").props('role="status"'):
        ui.spinner(size="1.6em")
        ui.label(text)


def error_state(error: UserError | str, title: str = "The action failed") -> None:
    """Add an error message with its hint."""
    message = error.message if isinstance(error, UserError) else error
    with ui.element("section").classes("error").props('role="alert"'):
        ui.label(title).classes("error-title")
        ui.label(page_text(message)).classes("error-text")
        if isinstance(error, UserError) and error.hint:
            ui.label(f"→ {page_text(error.hint)}").classes("error-hint")


def button(text: str, action: Callable[[], object], *, look: Look = "main") -> ui.button:
    """Add a button with the colors of the interface, which also suit the dark scheme."""
    control = ui.button(text, on_click=action, color=None).props("unelevated no-caps")
    return control.classes(f"as-button {'' if look == 'main' else look}".strip())


def dropdown(label: str, options: Sequence[Any] | Mapping[Any, str], value: object) -> ui.select:
    """Add a list of options; a long list can be searched."""
    choices = dict(options) if isinstance(options, Mapping) else list(options)
    select = ui.select(choices, value=value, label=label, with_input=len(options) > 8)
    return select.props("outlined dense options-dense")


class Slider(ui.slider):
    """Slider that keeps its position while the server is busy."""

    LOOPBACK = False


def with_error_notice(action: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    """Return a handler that displays the error of a synchronous or asynchronous action."""

    async def run_action() -> None:
        try:
            result = action()
            if isinstance(result, Awaitable):
                await result
        except UserError as error:
            show_error(error)

    return run_action


def show_error(error: UserError) -> None:
    """Display an error message for some seconds."""
    text = page_text(str(error))
    notify(text, type="negative", multi_line=True, timeout=12000, close_button="OK")


def notify(text: str, **options: Any) -> None:
    """Display a message for some seconds in the corner without buttons.

    Parameters
    ----------
    text : str
        The message.
    **options : object
        Other arguments of `nicegui.ui.notify`.
    """
    ui.notify(text, position="bottom-left", **options)


def notify_saved(text: str) -> None:
    """Display that something was saved."""
    notify(text, type="positive")


def run_address(page: str, folder: Path, image: str = "") -> str:
    """Return the address of a page for a run, or for one of its images."""
    return f"/{page}?run={quote(str(folder))}" + (f"&image={quote(image)}" if image else "")


def segment_address(model: str, images: str = "") -> str:
    """Return the address of the form that segments images, with its first values.

    Parameters
    ----------
    model : str
        Name of a built-in model, or folder of a run; empty for the automatic choice.
    images : str
        Image or folder of images.
    """
    values = {"model": model, "images": images}
    query = urlencode({name: value for name, value in values.items() if value}, quote_via=quote)
    return f"/segment?{query}" if query else "/segment"


def show_address(address: str) -> None:
    """Set the address in the browser, so that reloading the page shows the same content."""
    ui.run_javascript(f"history.replaceState(null, '', {json.dumps(address)})")


def link_to(link: ui.link, address: str) -> None:
    """Change the address of a link."""
    link.props["href"] = address
    link.update()


def requested_folder(run: str, guard: Guard) -> Path:
    """Return the folder in an address: resolved if it is inside of the roots, else unchanged."""
    return guard.check(run) if guard.allows(run) else Path(run)


def run_choice(page: str, runs: Sequence[Path], chosen: Path | None, guard: Guard) -> None:
    """Add a list of runs that opens the page of the chosen run."""
    options = {str(path): run_label(path, guard) for path in runs}
    value = str(chosen) if chosen is not None and str(chosen) in options else None
    select = dropdown("Run", options, value)
    select.on_value_change(lambda event: ui.navigate.to(run_address(page, Path(event.value))))
    select.classes("run-choice")


def run_label(path: Path, guard: Guard) -> str:
    """Return the name of a run for a list, with the folder of its results."""
    folder = guard.short(path.parent.parent.parent)
    return f"{path.name}" + (f"  ({folder})" if folder not in ("", ".") else "")


def on_text_change(field: ui.input, handler: Callable[[], object]) -> None:
    """Call a function when the user has changed the text of a field and leaves it.

    Parameters
    ----------
    field : ui.input
        Field.
    handler : callable
        Function without arguments. The field has the new text when it is called.
    """

    def take(event: GenericEventArguments) -> None:
        # Until a page is connected, NiceGUI delays each event by a timer of its own, so this event
        # can arrive before the new value.
        if isinstance(event.args, str):
            field.set_value(event.args)
        handler()

    field.on("change", take)


async def run_in_thread(function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Call a function in a thread, so that pages respond in the meantime."""
    return await asyncio.to_thread(function, *arguments, **options)


def fact_cards(facts: Iterable[tuple[str, object]]) -> Markup:
    """Return labels with their values as HTML."""
    cards = (tag("div", tag("span", name), tag("b", value), class_="fact") for name, value in facts)
    return tag("div", *cards, class_="cards")


def progress_bar(phase: str, share: float | None) -> Markup:
    """Return a description and the completed fraction, 0 to 1, as HTML; None without a bar."""
    text = tag("p", phase, class_="note")
    if share is None:
        return text
    done = round(100 * share)
    bar = tag(
        "div",
        tag("i", style=f"width:{done}%"),
        class_="done-bar",
        role="progressbar",
        aria_valuenow=done,
        aria_valuemin=0,
        aria_valuemax=100,
        aria_label=phase,
    )
    return join((bar, text))


def score_table(
    title: str, current: str, rows: Sequence[ScoreRow], *, before: str = "Before"
) -> Markup:
    """Return an HTML table of scores of the run and current scores.

    Parameters
    ----------
    title : str
        Header of the first column.
    current : str
        Header of the column of current scores.
    rows : sequence of ScoreRow
        Rows of the table.
    before : str
        Header of the column of the run.
    """
    head = tag("tr", *(tag("th", text, scope="col") for text in (title, before, current)))
    body = []
    for label, old, new, gain in rows:
        trend = "better" if gain > 0 else "worse" if gain < 0 else None
        body.append(
            tag("tr", tag("th", label, scope="row"), tag("td", old), tag("td", new, class_=trend))
        )
    return tag("table", tag("thead", head), tag("tbody", *body), class_="score-table")


def explained(label: str, term: str) -> Markup:
    """Return a label with a question mark that explains a term of `TERMS`."""
    text = TERMS[term]
    mark = tag("span", "?", class_="why", tabindex=0, role="img", aria_label=text, data_text=text)
    head, _, last = label.rpartition(" ")
    return join((head, " ", tag("span", last, " ", mark, class_="unbroken")))


def score_row(label: str, old: float, new: float) -> ScoreRow:
    """Return the row of a score, where a higher value is better."""
    return label, f"{old:.3f}", f"{new:.3f}", round(new - old, 3)
