"""Files, steps and command line of the image, without a container engine."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEPS = [
    line
    for line in re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text()).splitlines()
    if line and not line.startswith("#")
]


def steps(name: str) -> list[str]:
    return [line.split(maxsplit=1)[1] for line in STEPS if line.startswith(f"{name} ")]


def test_copied_files_exist_and_are_not_ignored() -> None:
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in kept
    copied = [word for line in steps("COPY") for word in line.split()[1:-1]]
    assert "src" in copied
    for name in copied:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in kept, name


def test_files_of_the_wheel_are_copied() -> None:
    """The wheel is built in the image, from copied files."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    copied = [word for line in steps("COPY") for word in line.split()[1:-1]]
    section = (ROOT / "docker/singula.def").read_text().partition("%files\n")[2].partition("%")[0]
    lines = [line.split() for line in section.splitlines() if line]
    for name in [*wheel["force-include"], "src", "pyproject.toml", "constraints.txt"]:
        assert name in copied
        assert [name, f"/opt/singula/source/{name}"] in lines


def test_cpu_without_builds_of_torch_stops(tmp_path: Path) -> None:
    """The usual torch would add gigabytes of CUDA libraries."""
    line = [ROOT / "docker/install.sh", "install", "venv", ".", "cpu"]
    environment = {key: os.environ[key] for key in os.environ if key != "TORCH_INDEX"}
    environment.pop("PIP_NO_DEPS", None)
    done = subprocess.run(
        line, cwd=tmp_path, capture_output=True, text=True, env={**environment, "TORCH_INDEX": ""}
    )
    assert done.returncode == 2
    assert "TORCH_INDEX: got nothing, expected" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_pinned_base_and_no_root() -> None:
    base = steps("ARG")[0].removeprefix("BASE=")
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+", base)
    assert f"From: {base}\n" in (ROOT / "docker/singula.def").read_text()
    assert steps("USER")[-1] == "singula"
    assert "--no-cache-dir" in (ROOT / "docker/install.sh").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "docker/install.sh install VENV"),
        (["install", "venv", "."], "docker/install.sh check VENV"),
        (["install", "venv", ".", "tpu"], "expected cpu or cuda"),
    ],
)
def test_wrong_arguments_are_reported(tmp_path: Path, words: list[str], said: str) -> None:
    script = ROOT / "docker/install.sh"
    done = subprocess.run([script, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def documented() -> list[str]:
    """Return the arguments of the documented `docker run` line."""
    text = (ROOT / "docs/docker.md").read_text()
    block = text.partition("job_cfg_file=")[2].partition("```")[0]
    lines = ("job_cfg_file=" + block).replace("\\\n", " ").splitlines()
    values: dict[str, str] = {}
    for line in lines:
        if found := re.fullmatch(r"(\w+)=(\S+)", line.strip()):
            values[found[1]] = found[2]
    run = next(line for line in lines if line.startswith("docker run"))
    for name, value in values.items():
        run = re.sub(rf"\${name}\b", value, run)
    return shlex.split(run)


def test_the_documented_line_matches_the_entry_point(tmp_path: Path) -> None:
    """The entry point accepts the arguments after the name of the image."""
    words = documented()
    assert not [word for word in words if "$" in word]
    assert steps("ENTRYPOINT") == ['["biapy"]']
    arguments = words[words.index("singula") + 1 :]
    code = "from singula.cli import run_main; run_main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    # All options are understood; the file of the example is not there.
    assert done.returncode == 2
    assert "cannot read the configuration file /home/user/" in done.stderr
