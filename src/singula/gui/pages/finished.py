"""What pages of finished runs share: the choice of a run, and what is said without one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nicegui import ui

from singula.errors import UserError
from singula.gui.pages.frame import asked, empty_state, error_state, frame, heading, run_choice
from singula.gui.results import Results, open_results
from singula.gui.runs import find_runs
from singula.gui.station import Station


def finished_run(
    station: Station,
    page: str,
    run: str,
    nothing: tuple[str, str],
    show: Callable[[Path, Results], object],
) -> None:
    """Show a finished run, which may be chosen from a list.

    Parameters
    ----------
    station : Station
    page : str
        Name of the page in the bar.
    run : str
        The folder that is asked for; empty: the one that changed last.
    nothing : tuple of str
        Title and words while there is no finished run.
    show : callable
        Takes the run's folder and results that hold instances of at least one image.
    """
    with frame(page):
        runs = [path for path in find_runs(station.guard) if (path / "run.json").is_file()]
        folder = asked(run, station.guard) if run else next(iter(runs), None)
        with ui.element("div").classes("head-row"):
            with ui.element("div"):
                heading(page)
            if runs:
                run_choice(page.lower(), runs, folder, station.guard)
        if folder is None:
            empty_state(*nothing, ("Make a configuration", "/new"), ("Start a run", "/run"))
            return
        try:
            results = open_results(folder, station.guard)
            if not results.stages or not results.names(results.stages[-1]):
                raise UserError(
                    f"{folder.name} holds no instances: it was not tested, or their files are gone",
                    "run it with TEST.ENABLE: True and a folder of test images",
                )
            show(folder, results)
        except UserError as error:
            error_state(error, "This run cannot be shown here")
