"""What every page has: the bar at the top, the colours, empty and error states."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, ParamSpec, TypeVar
from urllib.parse import quote

from nicegui import ui

from singula.errors import UserError
from singula.gui.guard import Guard

Look = Literal["main", "quiet", "bad", "plain"]
P = ParamSpec("P")
T = TypeVar("T")
# Words, the value before, the value now, and whether that is more (good) or less
ScoreRow = tuple[str, str, str, float]
STYLE = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
_PAGES = (("New", "/new"), ("Run", "/run"), ("Results", "/results"), ("Tune", "/tune"))
_THEMES = {"auto": ("◐", "as the system"), "light": ("☀", "light"), "dark": ("☾", "dark")}
_KEEP = "document.cookie = 'singula_theme={}; path=/; max-age=31536000; SameSite=Strict'"


@contextmanager
def frame(page: str) -> Iterator[None]:
    """Everything around a page's own content.

    Parameters
    ----------
    page : str
        Its name in the bar.
    """
    request = ui.context.client.request
    theme = request.cookies.get("singula_theme", "auto") if request is not None else "auto"
    theme = theme if theme in _THEMES else "auto"
    dark = ui.dark_mode({"light": False, "dark": True}.get(theme))
    ui.html('<a class="skip" href="#content">Skip to the content</a>', sanitize=False)
    with ui.element("header").classes("bar"), ui.element("div").classes("bar-inner"):
        ui.link("Singula", "/new").classes("brand").props('aria-label="Singula, start"')
        with ui.element("nav").props('aria-label="Pages"'):
            for name, target in _PAGES:
                link = ui.link(name, target).classes("tab")
                if name == page:
                    link.classes("here").props('aria-current="page"')
        _theme_button(dark, theme)
    with ui.element("main").props('id="content"').classes("page"):
        yield


def _theme_button(dark: ui.dark_mode, theme: str) -> None:
    states = list(_THEMES)
    now = {"theme": theme}

    def turn() -> None:
        now["theme"] = states[(states.index(now["theme"]) + 1) % len(states)]
        dark.set_value({"light": False, "dark": True}.get(now["theme"]))
        ui.run_javascript(_KEEP.format(now["theme"]))
        say()

    def say() -> None:
        sign, words = _THEMES[now["theme"]]
        made.set_text(sign)
        made.props(f'aria-label="Colours: {words}" title="Colours: {words}"')

    made = ui.button(on_click=turn, color=None).props("flat dense no-caps").classes("theme")
    say()


def heading(title: str, words: str = "") -> None:
    """Title of a page, with a line about it."""
    ui.html(title, sanitize=_escape, tag="h1")
    if words:
        ui.label(words).classes("lead")


def subheading(title: str) -> None:
    """Title of a part."""
    ui.html(title, sanitize=_escape, tag="h2")


def note(words: str) -> None:
    """A smaller line; what stands in `backquotes` is shown as code."""
    ui.html(words, sanitize=_with_code, tag="p").classes("note")


def _escape(text: str) -> str:
    import html

    return html.escape(text)


def _with_code(text: str) -> str:
    import re

    return re.sub("`([^`]+)`", r"<code>\1</code>", _escape(text))


def empty_state(title: str, words: str, *links: tuple[str, str]) -> None:
    """What a page says while it has nothing to show, and where to go on."""
    with ui.element("section").classes("empty"):
        ui.html(title, sanitize=_escape, tag="h2")
        ui.label(words)
        with ui.element("div").classes("row-of"):
            for name, target in links:
                ui.link(name, target).classes("as-button")


def error_state(error: UserError | str, title: str = "That did not work") -> None:
    """An error as its user reads it."""
    message = error.message if isinstance(error, UserError) else error
    with ui.element("section").classes("error").props('role="alert"'):
        ui.label(title).classes("error-title")
        ui.label(message).classes("error-text")
        if isinstance(error, UserError) and error.hint:
            ui.label(f"→ {error.hint}").classes("error-hint")


def button(words: str, act: Callable[[], object], *, look: Look = "main") -> ui.button:
    """A button in our own colours, which Quasar's cannot be in dark."""
    made = ui.button(words, on_click=act, color=None).props("unelevated no-caps")
    return made.classes(f"as-button {'' if look == 'main' else look}".strip())


class Slider(ui.slider):
    """A slider that moves at once: one that waits for the server falls back while it is busy."""

    LOOPBACK = False


def guarded(action: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    """Return a handler that shows the error of an action as a note; the action may be async."""

    async def act() -> None:
        try:
            result = action()
            if isinstance(result, Awaitable):
                await result
        except UserError as error:
            ui.notify(
                str(error), type="negative", multi_line=True, timeout=12000, close_button="OK"
            )

    return act


def run_address(page: str, folder: Path, image: str = "") -> str:
    """Address of a page about a run, or about one of its images."""
    return f"/{page}?run={quote(str(folder))}" + (f"&image={quote(image)}" if image else "")


def show_address(address: str) -> None:
    """Let the browser name what is shown, so that to load anew shows it again."""
    ui.run_javascript(f"history.replaceState(null, '', {json.dumps(address)})")


def link_to(link: ui.link, address: str) -> None:
    """Let a link lead elsewhere."""
    link.props["href"] = address
    link.update()


def asked(run: str, guard: Guard) -> Path:
    """The folder that an address names, as lists name it; outside the roots just as it is."""
    return guard.check(run) if guard.allows(run) else Path(run)


def run_choice(page: str, runs: Sequence[Path], chosen: Path | None, guard: Guard) -> None:
    """The list from which a run is chosen; opens its page."""
    options = {str(path): _run_words(path, guard) for path in runs}
    select = ui.select(
        options,
        value=str(chosen) if chosen is not None and str(chosen) in options else None,
        label="Run",
        with_input=len(options) > 8,
        on_change=lambda event: ui.navigate.to(run_address(page, Path(event.value))),
    )
    select.props("outlined dense options-dense").classes("run-choice")


def _run_words(path: Path, guard: Guard) -> str:
    place = guard.short(path.parent.parent.parent)
    return f"{path.name}" + (f"  ({place})" if place not in ("", ".") else "")


async def aside(work: Callable[P, T], *arguments: P.args, **keys: P.kwargs) -> T:
    """Do work in a thread, so that pages stay alive meanwhile."""
    return await asyncio.to_thread(work, *arguments, **keys)


def score_table(title: str, now: str, rows: Sequence[ScoreRow]) -> str:
    """Scores as the run had them and as they are now, as HTML.

    Parameters
    ----------
    title : str
        What the rows are of.
    now : str
        Head of the last column.
    rows : sequence of ScoreRow
    """
    from html import escape

    body = "".join(
        f"<tr><th scope='row'>{escape(words)}</th><td>{old}</td>"
        f"<td class='{'better' if way > 0 else 'worse' if way < 0 else ''}'>{new}</td></tr>"
        for words, old, new, way in rows
    )
    return (
        f"<table class='score-table'><thead><tr><th>{escape(title)}</th><th scope='col'>as the run"
        f"</th><th scope='col'>{escape(now)}</th></tr></thead><tbody>{body}</tbody></table>"
    )


def score_row(words: str, old: float, new: float) -> ScoreRow:
    """A row of numbers of which more is better."""
    return words, f"{old:.3f}", f"{new:.3f}", round(new - old, 3)
