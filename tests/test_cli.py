"""The command line: help with valid examples, and completion."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from singula import __version__
from singula.cli import app, complete_key, refuse_blank_arguments
from singula.errors import UserError
from singula.exports import FORMATS

COMMANDS = get_command(app).commands
EXAMPLE = re.compile(r"singula (\w+) (.+)$", re.MULTILINE)
CODE = "import sys; sys.argv[0] = 'singula'; from singula.cli import main; main()"


def shell(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CODE, *words],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_examples_of_commands(name: str) -> None:
    command = COMMANDS[name]
    examples = EXAMPLE.findall(command.help or "")
    assert examples, f"{name} --help has no example"
    for called, words in examples:
        context = COMMANDS[called].make_context(called, words.split())
        assert context.params


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name: str) -> None:
    for param in COMMANDS[name].params:
        assert getattr(param, "help", None), f"{name} {param.name}"


def test_the_package_runs_as_a_module() -> None:
    line = [sys.executable, "-m", "singula", "--version"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stdout == shell("--version").stdout


def test_completion_of_commands_options_and_keys() -> None:
    def complete(line: str) -> list[str]:
        words = line.split(" ")
        done = shell(
            _SINGULA_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1)
        )
        return done.stdout.split()

    assert complete("singula pre") == ["predict"]
    assert "--resume" in complete("singula run --re")
    assert complete("singula run --set TRAIN.EPO") == ["TRAIN.EPOCHS="]
    assert complete("singula export --to ") == list(FORMATS)
    assert complete("singula tune --metric p") == ["pq"]


@pytest.mark.parametrize(
    ("begun", "offered"),
    [
        ("train.epo", ["TRAIN.EPOCHS="]),
        ("MODEL.N", ["MODEL.N_CLASSES="]),
        ("PROBLEM.NDIM=", ["PROBLEM.NDIM=2D", "PROBLEM.NDIM=3D"]),
        ("TEST.ENABLE=", ["TEST.ENABLE=True", "TEST.ENABLE=False"]),
        ("TRAIN.LR=", []),
        ("NO.KEY=", []),
    ],
)
def test_keys_for_the_shell(begun: str, offered: list[str]) -> None:
    assert complete_key(begun) == offered


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_completion_installs_into_the_user_s_folder(tmp_path: Path, kind: str) -> None:
    done = shell(
        "--install-completion",
        kind,
        HOME=str(tmp_path),
        _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1",
    )
    assert done.returncode == 0, done.stderr
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any("_SINGULA_COMPLETE" in path.read_text() for path in written)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from singula.cli import app\n"
        "try:\n    app(['run', '--help'])\nexcept SystemExit:\n    pass\n"
        "print(*({'torch', 'numpy', 'rich'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "singula run" in done.stdout
    assert done.stderr.strip() == ""


BIAPY = "import sys; sys.argv[0] = 'biapy'; from singula.cli import run_main; run_main()"
WAYS = {
    "singula": ["-c", CODE],
    "biapy": ["-c", BIAPY],
    "python -m singula": ["-m", "singula"],
    "python -m singula.cli": ["-m", "singula.cli"],
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_start_refuses_a_blank_argument_and_starts_nothing(
    way: str, tmp_path: Path
) -> None:
    words = [] if way == "biapy" else ["run"]
    words += ["--config", "cells.yaml", "--result_dir", "out", " "]
    line = [sys.executable, *WAYS[way], *words]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert "backslash" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["run", "--config", "c.yaml", "--run_id", "x"],
            "--run_id: got 'x', expected an integer\n",
        ),
        (["run", "--config", "c.yaml", "--gpus", "0"], "--gpus: got '0', expected an integer ≥ 1"),
        (["sweep", "c.yaml", "--seed", "4294967296"], "expected an integer ≤ 4294967295"),
        (["init", "cells", "--minutes", "soon"], "--minutes: got 'soon', expected a number"),
        (["predict", "a.tif", "-o", "o", "--scale", "big"], "--scale: got 'big', expected auto"),
        (
            ["predict", "a.tif", "-o", "o", "--spacing", "1;2"],
            "--spacing: got '1;2', expected 2 or",
        ),
        (["predict", "a.tif", "-o", "o", "--frames", "x"], "--frames: got 'x', expected all or a"),
        (["predict", "a.tif", "-o", "o", "--scale", "33"], "--scale: got '33', expected auto"),
    ],
)
def test_wrong_numbers_are_reported_before_anything_is_read(
    words: list[str], expected: str, tmp_path: Path
) -> None:
    line = [sys.executable, "-c", CODE, *words]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert expected in done.stderr
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("blank", [" ", "   ", "\t", "\r", "\xa0", " \r"])
def test_white_space_arguments_are_refused(blank: str) -> None:
    for place in range(3):
        words = ["run", "--name"]
        words.insert(place, blank)
        with pytest.raises(UserError) as caught:
            refuse_blank_arguments(words)
        assert caught.value.code == "cli.blank_argument"
        assert f"argument {place + 1}:" in caught.value.message


def test_empty_texts_and_names_with_spaces_are_arguments() -> None:
    refuse_blank_arguments(["run", "--gpu", "", "--config", "my cells.yaml", "--set", "A.B="])


@pytest.mark.parametrize("option", ["--name", "-name", "--result_dir", "-rdir"])
def test_an_empty_name_of_job_or_folder_is_refused(option: str) -> None:
    for words in ([option, ""], [f"{option}="]):
        with pytest.raises(UserError) as caught:
            refuse_blank_arguments(["--config", "cells.yaml", *words])
        assert caught.value.code == "cli.empty_argument"
        assert option in caught.value.message


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("option", ["-h", "--help", "-v", "--version"])
def test_help_and_version_have_a_short_form(way: str, option: str) -> None:
    line = [sys.executable, *WAYS[way], option]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if option in ("-v", "--version"):
        assert done.stdout == f"singula {__version__}\n"
    else:
        assert done.stdout.startswith("Usage:")


def test_the_list_of_commands_has_complete_sentences() -> None:
    listed = shell("--help", COLUMNS="80").stdout.partition("Commands:")[2]
    assert all(name in listed for name in COMMANDS)
    assert "..." not in listed


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_short_help(name: str) -> None:
    assert shell(name, "-h").stdout == shell(name, "--help").stdout != ""
