"""The command that hints recommend for a missing library."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

from singula.util import format as formatting
from singula.util.format import install_command

ROOT = Path(__file__).parents[1]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Pretend that the package lies in a site folder and was installed from a source."""
    monkeypatch.setattr(
        formatting, "__file__", str(tmp_path / "lib" / "site" / "singula" / "words.py")
    )

    def pretend(source: dict[str, Any] | str | None) -> None:
        class Installed:
            def read_text(self, name: str) -> str | None:
                assert name == "direct_url.json"
                return source if isinstance(source, str | None) else json.dumps(source)

        monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Installed())

    return pretend


def checkout(folder: Path, *, constraints: bool = True) -> Path:
    (folder / "src" / "singula").mkdir(parents=True)
    (folder / "pyproject.toml").touch()
    if constraints:
        (folder / "constraints.txt").touch()
    return folder


def test_from_a_package_index(installed) -> None:
    installed(None)
    assert shlex.split(install_command("gui")) == ["pip", "install", "singula[gui]"]
    assert install_command() == "pip install singula"
    installed("no json")
    assert shlex.split(install_command("gui")) == ["pip", "install", "singula[gui]"]


@pytest.mark.parametrize("editable", [True, False])
def test_from_a_folder(installed, tmp_path: Path, monkeypatch, editable: bool) -> None:
    folder = checkout(tmp_path / "my source")
    if editable:
        monkeypatch.setattr(formatting, "__file__", str(folder / "src" / "singula" / "words.py"))
    installed({"url": folder.as_uri(), "dir_info": {"editable": True} if editable else {}})
    flag = ["-e"] if editable else []
    assert shlex.split(install_command("nifti")) == [
        *("pip", "install", "-c", str(folder / "constraints.txt"), *flag, f"{folder}[nifti]")
    ]
    monkeypatch.chdir(folder)
    assert shlex.split(install_command("nifti")) == [
        *("pip", "install", "-c", "constraints.txt", *flag, ".[nifti]")
    ]


def test_from_a_checkout_without_constraints_that_was_never_installed(
    tmp_path: Path, monkeypatch
) -> None:
    folder = checkout(tmp_path / "source", constraints=False)
    monkeypatch.setattr(formatting, "__file__", str(folder / "src" / "singula" / "words.py"))

    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    assert shlex.split(install_command("dask")) == ["pip", "install", "-e", f"{folder}[dask]"]


def test_from_a_deleted_folder(installed, tmp_path: Path) -> None:
    installed({"url": (tmp_path / "gone").as_uri(), "dir_info": {}})
    assert shlex.split(install_command("gui"))[-1] == "singula[gui]"


def test_from_a_wheel_a_repository_and_an_address(installed, tmp_path: Path) -> None:
    wheel = tmp_path / "a b" / "singula-0.1.0-py3-none-any.whl"
    installed({"url": wheel.as_uri(), "archive_info": {}})
    assert shlex.split(install_command("gui"))[-1] == "singula[gui]"
    wheel.parent.mkdir()
    wheel.touch()
    assert shlex.split(install_command("gui"))[-1] == f"{wheel}[gui]"
    address = "https://example.org/singula.whl"
    installed({"url": address, "archive_info": {}})
    assert shlex.split(install_command("gui"))[-1] == f"singula[gui] @ {address}"
    repository = "https://example.org/singula.git"
    installed({"url": repository, "vcs_info": {"vcs": "git", "commit_id": COMMIT}})
    assert shlex.split(install_command("gui"))[-1] == f"singula[gui] @ git+{repository}@{COMMIT}"


def test_mentioned_extras_exist_and_formats_need_none() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    named = set()
    for path in Path(formatting.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        named |= set(re.findall(r'install_command\("(\w+)"\)|library\([^)]*extra="(\w+)"', text))
        assert "singula[" not in text.replace("singula[{", ""), path
        assert "'.[" not in text, path
    assert {word for pair in named for word in pair if word} <= set(extras)
    assert extras["export"] == extras["scale"] == []
    assert extras["all"] == ["singula[gui,dask,openvino,nifti,slides,formats,stardist,stores]"]
    required = {re.split(r"[>=<]", line)[0] for line in project["dependencies"]}
    assert {"zarr", "h5py", "roifile"} <= required


def test_required_versions_are_the_tested_ones() -> None:
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    tested = dict(line.lower().split("==") for line in lines if "==" in line)
    for line in project["dependencies"]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(tested[wanted.name.lower()]), line
