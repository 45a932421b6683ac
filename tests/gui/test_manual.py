"""Help of each page, and the documentation that the interface shows."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from singula.gui.guard import Guard
from singula.gui.manual import PAGES, anchor, read_manual


def test_every_page_has_a_section_in_the_documentation() -> None:
    sections = {anchor(title) for title, _ in read_manual()}
    assert {anchor(page.section) for page in PAGES.values()} <= sections
    assert all(len(page.help.split()) > 5 for page in PAGES.values())
    assert all(page.tab in ("Help", *PAGES) for page in PAGES.values() if page.tab)


def test_the_manual_refers_to_no_other_file() -> None:
    text = "\n".join(body for _, body in read_manual())
    assert "](" not in text
    assert "singula gui" in text


def test_help_opens_in_the_interface(tmp_path: Path) -> None:
    pytest.importorskip("nicegui", reason="no test of pages: extra gui is missing")
    from simulated import simulated_user

    from singula.gui.pages import help, run
    from singula.gui.state import AppContext

    async def story() -> None:
        async with simulated_user() as user:
            for page in (run, help):
                page.add(AppContext(Guard.of([tmp_path])))
            await user.open("/run")
            await user.should_see(PAGES["Run"].help)
            await user.should_see("Documentation of this page")
            await user.open("/help")
            await user.should_see("Access control")

    asyncio.run(story())
