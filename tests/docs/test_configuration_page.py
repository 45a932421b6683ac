"""The page of keys compared with the schema."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from singula.config import Config, known_keys
from singula.config.examples import EXAMPLES, example
from singula.config.keys import Key, key_table
from singula.config.schema.root import nested

MAKE = Path(__file__).parents[2] / "docs" / "make"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", MAKE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page() -> str:
    return load("configuration").configuration_page()


def test_every_key_has_one_complete_row(page: str) -> None:
    rows = [line for line in page.splitlines() if line.startswith("| <a ")]
    found = {}
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split(" | ")]
        name = re.match(r'<a id="([^"]+)">', cells[0])
        assert name is not None
        assert len(cells) == 5, row
        found[name[1]] = cells
    assert len(rows) == len(found)
    assert list(found) != []
    assert set(found) == {key.name for key in known_keys()}
    for name, (_, meaning, takes, default, shown) in found.items():
        key = key_table()[name]
        assert len(meaning) > 5, name
        assert takes, name
        assert default.startswith("`"), name
        assert shown or len(key.choices) == 1, name
    assert found["TRAIN.EPOCHS"][2:] == ["an integer in [1, 1\u202f000\u202f000]", "`360`", "`50`"]


def test_rows_are_below_the_heading_of_their_section(page: str) -> None:
    section = ""
    for line in page.splitlines():
        if line.startswith("#"):
            section = line.lstrip("# ")
        elif line.startswith('| <a id="'):
            assert line.split('"')[1].rpartition(".")[0] == section


@pytest.mark.parametrize("key", known_keys(), ids=lambda key: key.name)
def test_an_example_is_allowed_and_not_the_default(key: Key) -> None:
    text = example(key)
    if text is None:
        assert len(key.choices) == 1
        return
    values = nested({key.name: yaml.safe_load(text)})
    config = Config.model_validate(values)
    assert config.dotted()[key.name] != key.default


def test_every_example_belongs_to_a_key() -> None:
    assert set(EXAMPLES) <= set(key_table())
