"""Fixtures of the tests of the configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from singula.config import config_from_dict, load_config
from singula.errors import UserError

ON = {"TRAIN.ENABLE": True, "TEST.ENABLE": True}


@pytest.fixture
def problems() -> Callable[..., list[str]]:
    """Return the lines of the error caused by keys, or an empty list."""

    def collect(keys: dict[str, object], overrides: tuple[str, ...] = ()) -> list[str]:
        try:
            config_from_dict({**ON, **keys}, overrides)
        except UserError as error:
            return [line.strip() for line in error.message.splitlines()[1:]]
        return []

    return collect


@pytest.fixture
def problem_lines() -> Callable[..., list[str]]:
    """Return the lines of the error caused by a file."""

    def collect(path: Path, *overrides: str) -> list[str]:
        with pytest.raises(UserError) as error:
            load_config(path, overrides)
        return [line.strip() for line in error.value.message.splitlines()]

    return collect


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Write a YAML file and return its path."""

    def to_file(text: str) -> Path:
        path = tmp_path / "run.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return to_file
