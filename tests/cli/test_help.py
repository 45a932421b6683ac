"""Help and completion: an example for every command, quick answers, keys after --set."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from singula.cli import app, run_app

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def singula(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; sys.argv[0] = 'singula'; from singula.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )


def completed(line: str) -> list[str]:
    """What bash would offer for the last word of a line."""
    words = line.split(" ")
    done = singula(
        _SINGULA_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1)
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def examples(text: str) -> list[str]:
    """The command lines of a help text, each after `: singula`."""
    return [part.split("\n\n")[0] for part in text.split(": singula ")[1:]]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_of_itself(name: str) -> None:
    found = examples(COMMANDS[name].help)
    assert found
    for line in found:
        words = shlex.split(line)
        assert words[0] == name
        known = {option for entry in COMMANDS[name].params for option in entry.opts}
        known |= {option for entry in COMMANDS[name].params for option in entry.secondary_opts}
        options = [word.split("=")[0] for word in words[1:] if word.startswith("-")]
        assert set(options) <= known


def test_biapy_has_the_same_options_as_run() -> None:
    other = typer.main.get_command(run_app)
    ours = {option for entry in COMMANDS["run"].params for option in entry.opts}
    assert {option for entry in other.params for option in entry.opts} - {"--help"} == ours


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys; from singula.cli import app\n"
        f"try: app({words!r})\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'numpy', 'skimage', 'pandas', 'matplotlib', 'yaml',"
        " 'singula.config'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_commands_options_and_keys_are_completed() -> None:
    assert completed("singula re") == ["report"]
    assert "--result_dir" in completed("singula run --re")
    assert completed("singula run --set TRAIN.EPO") == ["TRAIN.EPOCHS="]
    keys = completed("singula run --set MODEL.LOAD_CHECKPOINT")
    assert keys == [
        "MODEL.LOAD_CHECKPOINT=",
        "MODEL.LOAD_CHECKPOINT_ONLY_WEIGHTS=",
        "MODEL.LOAD_CHECKPOINT_EPOCH=",
    ]


def test_completion_is_installed_for_a_shell(tmp_path: Path) -> None:
    done = singula("--install-completion", "bash", HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    (script,) = (tmp_path / ".bash_completions").iterdir()
    assert "_SINGULA_COMPLETE=complete_bash" in script.read_text("utf-8")
    assert str(script) in (tmp_path / ".bashrc").read_text("utf-8")
