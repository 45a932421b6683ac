"""Hostile or damaged files give a clear error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.config import Config, load_config
from singula.errors import UserError

Write = Callable[[str], Path]
Lines = Callable[..., list[str]]
few = settings(deadline=None, max_examples=25)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("- a\n- b\n", ":1: got a list, expected sections"),
        ("just words\n", ":1: got a single value"),
        ("TRAIN:\n  LR: [1, 2\nTEST:\n", ":3: not YAML:"),
        ("TRAIN:\n\tLR: 1\n", ":2: not YAML: found character '\\t'"),
        ("TRAIN:\n  LR: 1\n EPOCHS: 2\n", ":3: not YAML:"),
        ("TRAIN: {}\n---\nTEST: {}\n", "not YAML: but found another document"),
        ("TRAIN: *missing\n", ":1: not YAML: found undefined alias"),
        ("TRAIN: \x00\n", "not YAML"),
        ("[" * 3000, "nested too deeply"),
        ("A: " + "[" * 60 + "]" * 60 + "\n", "nested too deeply"),
        ("A: &a [*a]\n", "nested too deeply"),
        ("A: &a\n  B: *a\n", "nested too deeply"),
    ],
)
def test_files_that_are_not_configurations(text: str, found: str, write: Write) -> None:
    with pytest.raises(UserError) as error:
        load_config(write(text))
    assert found in error.value.message
    assert "run.yaml" in error.value.message


def test_aliases_cannot_fill_the_memory(write: Write) -> None:
    lines = ["A0: &a0 [1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"A{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 8)}]" for i in range(1, 12)]
    with pytest.raises(UserError, match="too large"):
        load_config(write("\n".join(lines)))


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['touch hacked']",
        "!!python/name:os.system ''",
        "!!python/tuple [1, 2, 3]",
        "!something x",
        "!!int abc",
        "2024-99-99",
    ],
)
def test_values_that_cannot_be_read(
    value: str, write: Write, tmp_path: Path, problem_lines: Lines
) -> None:
    lines = problem_lines(write(f"TRAIN:\n  ENABLE: True\n  LR: {value}\n"))
    assert len(lines) == 2
    assert "run.yaml:3: TRAIN.LR: cannot be read: " in lines[1]
    assert not (tmp_path / "hacked").exists()


def test_anchors_and_merged_sections(write: Write) -> None:
    path = write(
        "DATA:\n"
        "  TRAIN: &common {PATH: &here /x, IN_MEMORY: False}\n"
        "  VAL: {<<: *common, FROM_TRAIN: False, IN_MEMORY: True}\n"
        "  TEST: {PATH: *here}\n"
        "TRAIN: {ENABLE: True}\n"
    )
    data = load_config(path).DATA
    assert (data.TRAIN.PATH, data.VAL.PATH, data.TEST.PATH) == ("/x", "/x", "/x")
    assert (data.TRAIN.IN_MEMORY, data.VAL.IN_MEMORY) == (False, True)


def test_keys_that_are_not_text(write: Write, problem_lines: Lines) -> None:
    path = write("TRAIN: {ENABLE: True}\n? [a, b]\n: 1\n7: 8\n'': 9\n")
    assert problem_lines(path)[1:] == [
        f"{path}:2: got a list, expected a key",
        f"{path}:4: 7: unknown key",
        f"{path}:5: : unknown key",
    ]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="folder"):
        load_config(tmp_path)
    binary = tmp_path / "image.yaml"
    binary.write_bytes(b"TRAIN:\n\xff\xfe\x00")
    with pytest.raises(UserError, match=r"image\.yaml:2: not UTF-8"):
        load_config(binary)
    huge = tmp_path / "huge.yaml"
    huge.write_bytes(b"#" * (1 << 21))
    with pytest.raises(UserError, match="1 MiB"):
        load_config(huge)
    marked = tmp_path / "marked.yaml"
    marked.write_bytes(b"\xef\xbb\xbfTRAIN: {ENABLE: True}\r\n")
    assert load_config(str(marked)).TRAIN.ENABLE


@few
@given(st.text(max_size=60))
def test_any_text_gives_a_configuration_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("any") / "run.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        found: Config | UserError = load_config(path)
    except UserError as error:
        found = error
    assert isinstance(found, Config) or "run.yaml" in found.message
