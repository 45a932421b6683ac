"""The image's files, without an engine: what is copied exists, documented lines are understood."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
DOCKER_RUN = re.compile(r"^docker run (?:.*\\\n)*.*$", re.MULTILINE)


def steps(word: str) -> list[str]:
    joined = DOCKERFILE.replace("\\\n", " ")
    return re.findall(rf"^{word} +(.*)$", joined, re.MULTILINE)


def test_all_that_is_copied_exists_and_is_sent_to_the_engine() -> None:
    kept = [
        line[1:]
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line.startswith("!")
    ]
    copied = [name for step in steps("COPY") for name in step.split()[:-1]]
    assert copied
    for name in copied:
        assert (ROOT / name).exists(), name
    assert sorted(copied) == sorted(kept)


def test_what_the_package_is_built_from_is_copied() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    copied = [name for step in steps("COPY") for name in step.split()[:-1]]
    for name in (project["readme"], *project["license-files"]):
        assert any(fnmatch.fnmatch(found, name) for found in copied), name


def test_the_base_is_pinned_and_the_user_is_not_root() -> None:
    (base,) = steps("FROM")
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base)
    assert steps("USER") == ["singula"]
    assert DOCKERFILE.index("\nUSER") > DOCKERFILE.rindex("\nRUN")


def test_pip_leaves_no_cache_and_keeps_to_the_tested_versions() -> None:
    script = (ROOT / "docker/install.sh").read_text("utf-8")
    (line,) = re.findall(r"-m pip install .*", script)
    assert "--no-cache-dir" in line
    assert "--constraint constraints.txt" in line


@pytest.fixture
def commands(tmp_path: Path) -> dict[str, str]:
    """Commands that only say how they were called."""
    for name in ("singula", "biapy"):
        path = tmp_path / name
        path.write_text(f'#!/bin/sh\necho "{name}" "$@"\n')
        path.chmod(0o755)
    return os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-cfg", "a b.yaml", "-gpu", "cuda:0"], "biapy -cfg a b.yaml -gpu cuda:0"),
        (["--config", "a.yaml"], "biapy --config a.yaml"),
        (["predict", "images"], "singula predict images"),
        (["--version"], "singula --version"),
        (["--help"], "singula --help"),
        ([], "singula --help"),
    ],
)
def test_the_entry_point(commands: dict[str, str], words: list[str], said: str) -> None:
    line = ["sh", str(ROOT / "docker/entrypoint.sh"), *words]
    done = subprocess.run(line, env=commands, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == said


def test_a_device_that_is_unknown_is_refused() -> None:
    done = subprocess.run(
        ["sh", str(ROOT / "docker/install.sh")],
        env=os.environ | {"DEVICE": "tpu", "PYTHON": "false"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "allowed cpu or cuda" in done.stderr


def documented() -> list[list[str]]:
    """The arguments after the image's name in each `docker run` of the page."""
    page = (ROOT / "docs/docker.md").read_text("utf-8")
    lines = [shlex.split(found.replace("\\\n", " ")) for found in DOCKER_RUN.findall(page)]
    return [words[words.index("singula") + 1 :] for words in lines]


def test_the_page_shows_the_format_s_own_lines_and_others() -> None:
    firsts = [words[0] for words in documented()]
    assert firsts == ["-cfg", "predict", "--help"]


@pytest.mark.parametrize("words", documented(), ids=lambda words: words[0])
def test_documented_arguments_are_understood(words: list[str], tmp_path: Path) -> None:
    """They fail, if at all, at the files, not at an option."""
    program = "run_main" if words[0].startswith("-c") else "main"
    code = f"from singula.cli import {program}; {program}()"
    words = [word.replace("$job_counter", "1") for word in words]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert "No such option" not in done.stderr
    assert "Usage" not in done.stderr
    assert done.returncode == (0 if words == ["--help"] else 2), done.stderr
    if done.returncode:
        assert done.stderr.startswith("error: ")
