"""Every page and route of the interface with every kind of bad file, folder and text."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import bad_files
import pytest
from bad_files import BAD_INPUTS, BAD_NAMES

pytest.importorskip("nicegui", reason="`pip install 'singula[gui]'` is missing")

from simulated import simulated_user

from singula.gui.guard import Guard
from singula.gui.server import build
from singula.gui.state import AppContext

WORDS = [
    "..",
    "/etc/passwd",
    "../../etc/passwd",
    "-1",
    "9" * 5000,
    "<script>",
    "%00",
    "\udcff",
    "JOB_DIR",
]


@contextmanager
def exceptions_of_pages() -> Iterator[list[BaseException]]:
    """Collect errors of pages that are not shown to the user."""
    from nicegui import app

    found: list[BaseException] = []
    app.on_exception(found.append)
    yield found


def routes() -> list[tuple[str, list[str]]]:
    """Return the path of each page and route with the names of its parameters."""
    from nicegui import app

    found = []
    for route in app.routes:
        path, endpoint = getattr(route, "path", ""), getattr(route, "endpoint", None)
        if endpoint is None or "nicegui" in path:
            continue
        parameters = inspect.signature(endpoint).parameters.values()
        names = [p.name for p in parameters if p.annotation in (str, "str")]
        found.append((path, [name for name in names if f"{{{name}}}" not in path]))
    return found


async def visit_all(root: Path, values: list[str]) -> tuple[list[str], list[BaseException]]:
    """Ask each page and route for each value; return what failed."""
    failed = []
    async with simulated_user() as user:
        build(AppContext(Guard.of([root])))
        with exceptions_of_pages() as exceptions:
            known = routes()
            assert {"/", "/new", "/run", "/results", "/tune", "/report"} <= {p for p, _ in known}
            for path, names in known:
                if "{" in path:
                    continue
                for name in names:
                    for value in values:
                        address = f"{path}?{name}={quote(value, errors='surrogateescape')}"
                        answer = await user.http_client.get(address)
                        if answer.status_code >= 500 or "Traceback" in answer.text:
                            failed.append(f"{answer.status_code} {address[:200]}")
            await asyncio.sleep(0.2)
    return failed, exceptions


def test_no_bad_file_breaks_a_page(tmp_path: Path) -> None:
    def made(make: Callable[[Path], Any]) -> str:
        path = tmp_path / f"{make.__name__}.yaml"
        make(path)
        return str(path)

    values = [made(make) for make in BAD_INPUTS]
    before = bad_files.state(tmp_path)
    failed, exceptions = asyncio.run(visit_all(tmp_path, values))
    assert failed == []
    assert exceptions == []
    assert bad_files.changed(before, tmp_path) == []


@pytest.mark.slow
def test_no_text_breaks_a_page(tmp_path: Path) -> None:
    failed, exceptions = asyncio.run(visit_all(tmp_path, [*WORDS, *BAD_NAMES]))
    assert failed == []
    assert exceptions == []


def test_no_text_breaks_a_tile(tmp_path: Path) -> None:
    async def ask() -> list[int]:
        async with simulated_user() as user:
            build(AppContext(Guard.of([tmp_path])))
            parts = ["scene", "version", "layer", "z", "level", "row", "column", "channel"]
            codes = []
            for changed in parts:
                for word in ["-1", "9" * 400, "x", "%00", "..", "1.5"]:
                    path = "/".join(word if part == changed else "0" for part in parts)
                    codes.append((await user.http_client.get(f"/tile/{path}")).status_code)
            return codes

    assert set(asyncio.run(ask())) <= {204, 404, 422}  # without an image, the answer is empty
