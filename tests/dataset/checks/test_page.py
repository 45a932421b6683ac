"""The page, as text and in a real browser if one is installed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from broken_data import BREAKS, NAME, holes, leftover, pieces, semantic
from example_data import ExampleData
from selection import fast_first

from singula.dataset.checks import KINDS, inspect_dataset, write_page
from singula.dataset.checks.pictures import SIDE, picture

pytestmark = pytest.mark.xdist_group("check page")


@pytest.fixture(scope="module", params=fast_first([2, 3]))
def broken(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data set with all mistakes, in files with long names."""
    folder = tmp_path_factory.mktemp("broken")
    data = ExampleData(folder / "data", request.param)
    for number, change in enumerate(BREAKS):
        one = ExampleData(folder / "one" / str(number), request.param)
        change(one)
        for part in ("train", "test"):
            for side in "xy":
                for path in (one.folder / part / side).iterdir():
                    if path.stem not in ("im0", "im2") or "npy" in path.name:
                        name = f"{number}_<b>_{'long_' * 20}{path.name}"
                        target = data.path(part, side, name)
                        shutil.copy(path, target)
    return write_page(inspect_dataset(data.folder), folder / "page.html", ["about <b>1 s</b>"])


def test_the_page_contains_every_kind_and_is_self_contained(broken: Path) -> None:
    text = broken.read_text()
    for kind in ("pieces", "tiny", "holes", "empty", "leftover", "semantic", "shape", "unpaired"):
        assert f'id="{kind}"' in text
        assert KINDS[kind].title in text
    assert "<b>1 s</b>" not in text
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', text)
    assert "about &lt;b&gt;1 s" in text


def test_a_page_of_clean_data(tmp_path: Path) -> None:
    ExampleData(tmp_path / "data")
    text = write_page(inspect_dataset(tmp_path / "data"), tmp_path / "page.html").read_text()
    assert "Nothing found" in text
    assert "<img" not in text


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("change", [pieces, holes, semantic, leftover], ids=lambda f: f.__name__)
def test_a_picture_shows_the_position(tmp_path: Path, ndim: int, change) -> None:
    data = ExampleData(tmp_path, ndim)
    change(data)
    found = inspect_dataset(tmp_path).findings[0]
    shown = picture(found, ndim, found.where[0])
    assert shown is not None
    assert max(shown.shape) == SIDE
    marked = (shown == (255, 214, 10)).all(axis=-1)
    assert 100 < marked.sum() < 0.2 * marked.size


def test_unreadable_files_have_no_picture(tmp_path: Path) -> None:
    data = ExampleData(tmp_path)
    found = inspect_dataset(tmp_path).findings
    assert found == ()
    holes(data)
    one = inspect_dataset(tmp_path).findings[0]
    data.path("train", "x", NAME).write_bytes(b"")
    assert picture(one, 2, one.where[0]) is not None
    data.path("train", "y", NAME).write_bytes(b"")
    assert picture(one, 2, one.where[0]) is None


@pytest.mark.parametrize("scheme", fast_first(["light", "dark"]))
@pytest.mark.parametrize("width", fast_first([390, 1280]))
def test_the_whole_page_is_displayed(whole_page, broken: Path, scheme: str, width: int) -> None:
    tab = whole_page(broken, scheme, width)
    assert tab.evaluate("[...document.images].every(i => i.alt.length > 3)")
    links = tab.evaluate("[...document.querySelectorAll('nav a')].map(a => a.hash)")
    assert len(links) == len(set(links)) > 8
    assert all(tab.query_selector(link) for link in links)
