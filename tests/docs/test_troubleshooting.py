"""Messages that the pages quote are messages of the program, and keys that they name exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from singula.config import load_config
from singula.config.keys import key_table, section_names
from singula.errors import UserError

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/troubleshooting.md").read_text("utf-8")
QUOTES = re.findall(r"^> (.*)$", PAGE, re.MULTILINE)
WRITTEN = ("troubleshooting.md", "moving.md", "channels.md", "docker.md")


def constants(node: ast.AST) -> Iterator[list[str]]:
    """The texts of a source, each as its fixed parts."""
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield [part.value]
        elif isinstance(part, ast.JoinedStr):
            fixed = [""]
            for piece in part.values:
                if isinstance(piece, ast.Constant):
                    fixed[-1] += str(piece.value)
                else:
                    fixed.append("")
            yield fixed


@cache
def templates() -> tuple[re.Pattern[str], ...]:
    """Patterns of all texts in the program with ten fixed characters in a row."""
    found = []
    for path in (ROOT / "src/singula").rglob("*.py"):
        for parts in constants(ast.parse(path.read_text("utf-8"))):
            if max(map(len, parts)) >= 10:
                found.append(re.compile(".*".join(re.escape(part.strip("\n")) for part in parts)))
    return tuple(found)


def test_the_page_has_many_symptoms() -> None:
    assert len(re.findall(r"^### ", PAGE, re.MULTILINE)) >= 20
    assert len(QUOTES) >= 18


@pytest.mark.parametrize("quote", QUOTES)
def test_a_quoted_message_is_one_of_the_program(quote: str) -> None:
    assert any(pattern.search(quote) for pattern in templates())


def test_words_that_nothing_says_are_noticed() -> None:
    assert not any(pattern.search("the gpu of cells.yaml is tired") for pattern in templates())


def test_the_message_of_an_unknown_key_is_as_quoted(tmp_path: Path) -> None:
    path = tmp_path / "cells.yaml"
    path.write_text("\n" * 5 + "TRAIN:\n  EPOCH: 3\n")
    with pytest.raises(UserError) as caught:
        load_config(path)
    said = str(caught.value)
    assert QUOTES[0] in said


@pytest.mark.parametrize("name", WRITTEN)
def test_keys_that_a_page_names_exist(name: str) -> None:
    text = (ROOT / "docs" / name).read_text("utf-8")
    known = [*key_table(), *section_names()]
    tops = "|".join({key.partition(".")[0] for key in known})
    named = set(re.findall(rf"\b(?:{tops})(?:\.[A-Z0-9_]+)+", text)) - {"DATA.FILTER_BY_IMAGE"}
    named -= {"TRAIN.EPOCH", "MODEL.BMZ.EXPORT.ENABLE"}  # shown because they are unknown or unused
    assert named <= set(known)
    # Bare names of decoding keys, as the pages often write them.
    last = {key.rpartition(".")[2] for key in known}
    bare = set(re.findall(r"\b(?:DATA_MW_|DATA_|SEED_|GROW_)[A-Z_0-9]+[A-Z]\b", text))
    assert bare - {"DATA_MW_TH"} <= last
