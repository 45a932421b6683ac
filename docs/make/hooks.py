"""Hooks of MkDocs that generate pages and complete the navigation.

A page that `mkdocs.yml` does not list is added to "Guide", or to the section named after its
folder.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))
from configuration import configuration_page
from decoding import with_tables
from errors import errors_page

from commands import commands_page

_GUIDE = "Guide"
_LINK = re.compile(r"\[([^\]]+)\]\((\.\./[^)#]*)(#[^)]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add pages to the navigation that `mkdocs.yml` does not list."""
    root = Path(config.docs_dir)
    nav: list[Any] = config.nav
    listed = set(_pages(nav))
    for path in sorted(root.rglob("*.md")):
        name = path.relative_to(root).as_posix()
        if name not in listed:
            _section(nav, path.parent.name.capitalize() if "/" in name else _GUIDE).append(name)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    root = Path(config.config_file_path).parent
    changes = (root / "CHANGELOG.md").read_text(encoding="utf-8").replace("](docs/", "](")
    pages = {
        "configuration.md": configuration_page(),
        "commands.md": commands_page(),
        "errors.md": errors_page(),
        "changelog.md": changes,
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Insert generated tables, and replace links to files outside of `docs/` by their names."""
    folder = posixpath.dirname(page.file.src_uri)

    def name_file(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[2]))
        return f"{link[1]} (`{target[3:]}`)" if target.startswith("../") else link[0]

    return _LINK.sub(name_file, with_tables(markdown))


def _pages(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    inner = nav.values() if isinstance(nav, dict) else nav
    return [page for part in inner for page in _pages(part)]


def _section(nav: list[Any], title: str) -> list[Any]:
    for entry in nav:
        if isinstance(entry, dict) and isinstance(entry.get(title), list):
            pages: list[Any] = entry[title]
            return pages
    nav.append({title: []})
    return _section(nav, title)
