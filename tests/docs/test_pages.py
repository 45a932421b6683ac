"""The pages of the documentation compared with the program."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from pathlib import Path

import pytest
from typer.main import get_command

import singula
from singula.cli import app
from singula.config.biapy.older_names import EARLY
from singula.config.biapy.translate import RENAMED
from singula.config.keys import key_table, section_names
from singula.errors import ExitCode

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
SECTIONS = "SYSTEM|PROBLEM|DATA|AUGMENTOR|MODEL|LOSS|TRAIN|TEST|PATHS|LOG"
KEY = re.compile(rf"\b((?:{SECTIONS})(?:\.[A-Z0-9_]+)+)\b(?!\.\*)")
INSTANCE = re.compile(r"`(DATA_[A-Z_]+|GROW_INTO_CONTOUR|SEED_[A-Z_]+)\b")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_mentioned_keys_exist(page: Path) -> None:
    known = {*key_table(), *section_names(), *RENAMED, *EARLY}
    text = page.read_text(encoding="utf-8")
    named = set(KEY.findall(text)) - {"TRAIN.EPOCS"}
    missing = {key for key in named if key not in known and not _begins(key, known)}
    assert not missing
    ends = {key.rpartition(".")[2] for key in known}
    assert not {
        word for word in INSTANCE.findall(text) if word not in ends and not _begins(word, ends)
    }


def _begins(word: str, known: set[str]) -> bool:
    """Return True if the text is a common prefix of several keys, such as DATA_MW_."""
    return word.endswith("_") and any(key.startswith(word) for key in known)


def _templates() -> list[re.Pattern[str]]:
    """Return every text of the source as a pattern."""
    found = set()
    for path in Path(singula.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [
                    re.escape(part.value) if isinstance(part, ast.Constant) else ".*"
                    for part in node.values
                ]
                found.add("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(re.escape(node.value))
    long = [text for text in found if len(text.replace(".*", "")) > 12]
    return [re.compile(text, re.DOTALL) for text in long]


def test_messages_on_the_troubleshooting_page_exist_in_the_source() -> None:
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    lines = [
        line
        for block in re.findall(r"```\n(.*?)```", text, re.DOTALL)
        for line in block.split("\n")
        if line
    ]
    assert len(lines) > 20
    templates = _templates()
    unknown = []
    for line in lines:
        said = line.removeprefix("error: ")
        # What may be any text must not be all that fits.
        if not any(
            (hit := form.search(said)) and len(hit[0]) > 0.5 * len(said) for form in templates
        ):
            unknown.append(line)
    assert not unknown


def test_the_table_of_exit_codes_matches_the_source() -> None:
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    section = text.partition("\n## Exit codes\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| .+ \|$", section, re.MULTILINE)
    assert rows == [(str(int(code)), code.name) for code in ExitCode]


def test_mentioned_commands_exist() -> None:
    commands = set(get_command(app).commands)
    coming = {"check", "tune", "export", "gui"}
    for page in PAGES:
        named = set(re.findall(r"`singula ([a-z]+)", page.read_text(encoding="utf-8")))
        assert named <= commands | coming, page.name


def test_the_page_of_commands_has_every_command_and_option() -> None:
    sys.path.insert(0, str(DOCS / "make"))
    spec = importlib.util.spec_from_file_location("docs_commands", DOCS / "make" / "commands.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.commands_page()
    for name, command in get_command(app).commands.items():
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert f"`singula {name} " in section, name
        for param in command.params:
            words = (
                param.opts if param.param_type_name == "option" else [param.metavar or param.name]
            )
            assert all(
                re.search(rf"\| `[^`]*{re.escape(word)}", section, re.I) for word in words
            ), words
