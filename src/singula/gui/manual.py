"""Declarations of the pages, and the documentation that the interface shows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from singula.gui.wording import TERMS

_PACKAGED = Path(__file__).with_name("gui.md")
_REPOSITORY = Path(__file__).parents[3] / "docs" / "gui.md"


@dataclass(frozen=True)
class PageInfo:
    """Declaration of a page: its place in the title bar, and its help.

    Parameters
    ----------
    address : str
        Address of the page.
    help : str
        Explanation in a few sentences.
    section : str
        Heading in ``docs/gui.md``.
    tab : str
        Page whose link in the title bar is highlighted; by default, the page has its own link.
    """

    address: str
    help: str
    section: str
    tab: str = ""


PAGES = {
    "New": PageInfo(
        "/new",
        "Find objects in images with a finished model, or train a model on your own labels. A "
        "training needs images and label images with the same names.",
        "New",
    ),
    "Segment": PageInfo(
        "/segment",
        "A model finds the objects in your images. The results are written to a new folder; your "
        "images are not changed. If no objects appear, choose another model.",
        "Segment images without training",
        tab="New",
    ),
    "Run": PageInfo(
        "/run",
        "A run trains a model, tests it on images, and scores it. You can close the page during a "
        "run. If another run is in progress, the new run waits for it. Detection score (F1): "
        + TERMS["Detection score (F1)"],
        "Run",
    ),
    "Results": PageInfo(
        "/results",
        "Each test image with its objects, your labels, and how they match. The image with the "
        "worst score is first.",
        "Results",
    ),
    "Compare": PageInfo(
        "/compare",
        "Two runs side by side: their scores, and the same image with the objects of each run.",
        "Results",
        tab="Results",
    ),
    "Correct": PageInfo(
        "/correct",
        "Delete, merge, split and draw objects, and review those of which the model is least sure. "
        "Corrections are saved in a new file; the results of the model are kept.",
        "Correct",
        tab="Results",
    ),
    "Tune": PageInfo(
        "/tune",
        "Thresholds decide which pixels become an object and where touching objects are separated. "
        "Move a slider to see the new objects and scores.",
        "Tune",
    ),
    "Help": PageInfo(
        "/help",
        "The documentation of this interface, page by page.",
        "In the browser: singula gui",
        tab="Help",
    ),
}
"""Pages by name; those without `PageInfo.tab` have a link in the title bar."""

OTHER_PAGE = PageInfo(
    "", "The title bar leads to all pages.", "In the browser: singula gui", tab="Help"
)
"""A page without a declaration, such as that of an unknown address."""


def anchor(heading: str) -> str:
    """Return the anchor of a heading in the documentation.

    Parameters
    ----------
    heading : str
        Text of the heading.

    Examples
    --------
    >>> anchor("Segment images without training")
    'segment-images-without-training'
    """
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


def read_manual() -> list[tuple[str, str]]:
    """Return the sections of ``docs/gui.md`` as heading and Markdown text, without pictures.

    Links to other documents are replaced by their text, since the interface opens no files of the
    documentation but this one.
    """
    file = _PACKAGED if _PACKAGED.is_file() else _REPOSITORY
    if not file.is_file():
        return []
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)\n*", "", file.read_text(encoding="utf-8"))
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    sections = re.split(r"^#{1,2} (.+)\n", text, flags=re.MULTILINE)[1:]
    titles = (title.replace("`", "") for title in sections[::2])
    return list(zip(titles, (body.strip() for body in sections[1::2]), strict=True))
