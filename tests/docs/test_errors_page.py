"""The page of error codes compared with the source and with the other pages."""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import singula
from singula.errors import UserError

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
FORWARDED = {"code", "error.code"}
"""Expressions that pass the code of another error on."""


@pytest.fixture(scope="module")
def errors() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS / "make"))
        import errors

        yield errors
    for name in ("errors", "configuration"):
        sys.modules.pop(name, None)


def test_every_error_of_the_source_is_listed(errors) -> None:
    codes = {entry.code for entry in errors.error_entries()}
    for path in Path(singula.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            if getattr(node.func, "id", "") not in ("UserError", "StorageError"):
                continue
            code = node.args[2]
            if isinstance(code, ast.Constant):
                assert code.value in codes, f"{path}:{node.lineno}"
            elif isinstance(code, ast.Name) and code.id.isupper():
                continue
            else:
                assert ast.unparse(code) in FORWARDED, f"{path}:{node.lineno}"


def test_form_of_the_codes(errors) -> None:
    codes = {entry.code for entry in errors.error_entries()}
    assert len(codes) > 200
    assert all(errors.CODE.fullmatch(code) for code in codes)


def test_one_message_has_one_code(errors) -> None:
    codes = defaultdict(set)
    for entry in errors.error_entries():
        words = set(re.findall("[a-zA-Z]+", entry.message)) - {"got", "expected", "is", "a"}
        if len(words) > 2:
            codes[entry.code.partition(".")[0], entry.message].add(entry.code)
    assert {message: found for message, found in codes.items() if len(found) > 1} == {}


def test_codes_on_the_other_pages_exist(errors) -> None:
    codes = {entry.code for entry in errors.error_entries()}
    areas = "|".join({code.partition(".")[0] for code in codes})
    code = re.compile(rf"`((?:{areas})\.[a-z_]+)`")
    suffixes = (".json", ".csv", ".yaml", ".npy", ".html", ".log", ".png", ".py", ".toml")
    for page in PAGES:
        named = set(code.findall(page.read_text(encoding="utf-8")))
        missing = {name for name in named - codes if not name.endswith(suffixes)}
        assert not missing, page


def test_page_has_a_row_for_each_error(errors) -> None:
    page = errors.errors_page()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) == len(errors.error_entries())
    assert all(line.count(" | ") == 2 for line in rows)


def test_an_error_needs_a_code() -> None:
    with pytest.raises(TypeError):
        UserError("a.tif: is damaged", "copy it again")  # type: ignore[call-arg]
