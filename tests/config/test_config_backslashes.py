r"""Paths of Windows in YAML: single backslashes between double quotes are escapes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from singula.config import load_config
from singula.errors import UserError

Write = Callable[[str], Path]
CONFIG = """PROBLEM: {{NDIM: 2D}}
DATA:
  PATCH_SIZE: [64, 64, 1]
  TEST:
    PATH: {}
TEST: {{ENABLE: True}}
"""


@pytest.mark.parametrize(
    "path",
    [
        r'"C:\data\images"',  # \d and \i are not escapes
        r'"C:\Users\me"',  # \U needs eight digits
        r'"C:\new\train"',  # a line break and a tab
        r'"C:\0"',
        r'"D:\new\"',  # the last quote is escaped
        r'"images\train"',
        r'"..\data"',
    ],
)
def test_single_backslashes_in_double_quotes_are_named(path: str, write: Write) -> None:
    with pytest.raises(UserError) as error:
        load_config(write(CONFIG.format(path)))
    problems = getattr(error.value, "problems", None)
    assert (problems[0].code if problems else error.value.code) == "config.backslash"
    assert "single quotes" in str(error.value)
    assert "run.yaml:5" in error.value.message
    if not path.endswith('\\"'):
        assert "DATA.TEST.PATH" in error.value.message


@pytest.mark.parametrize(
    ("written", "path"),
    [
        (r"C:\new\train", r"C:\new\train"),
        (r"'C:\new\train'", r"C:\new\train"),
        (r'"C:\\new\\train"', r"C:\new\train"),
        ('"C:/new/train"', "C:/new/train"),
        (r'"\\\\server\\new"', r"\\server\new"),
        (r'"caf\u00e9"', "café"),
    ],
)
def test_other_spellings_of_the_path_are_read(written: str, path: str, write: Write) -> None:
    assert path == load_config(write(CONFIG.format(written))).DATA.TEST.PATH


def test_other_errors_of_yaml_keep_their_code(write: Write) -> None:
    with pytest.raises(UserError) as error:
        load_config(write('DATA: {TEST: {PATH: "images}}\n'))
    assert error.value.code == "config.syntax"
