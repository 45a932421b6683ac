"""Texts that are not paths, and files that are special, too large, links or not text."""

import inspect
import os
import socket
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from typer.main import get_command

from singula.autoconfig.report import init_dataset
from singula.cli import app, run_app
from singula.commands.check import check_data
from singula.commands.demo import run_demo
from singula.config import config_from_dict, load_config
from singula.config.schema.base import Section
from singula.config.schema.root import Config
from singula.config.values import Folder, Name
from singula.errors import UserError
from singula.exports import export
from singula.gui.guard import Guard
from singula.inference import gather_images, list_models, load, write_package
from singula.io.run_folder import ResultsTree
from singula.report.build import build_report
from singula.tuning import tune
from singula.util.paths import PathKind, open_regular, read_text_file, user_name, user_path


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    os.chdir(path.parent)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _loop(path: Path) -> None:
    path.symlink_to(path)


SPECIAL = [_fifo, _socket, _device, _loop, Path.mkdir, lambda path: None]
NAMES = ["pipe", "socket", "device", "loop", "folder", "missing"]


@pytest.mark.parametrize("make", SPECIAL, ids=NAMES)
def test_only_regular_files_are_opened(
    make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "file.yaml"
    make(path)
    for read in (open_regular, lambda p: read_text_file(p, 100), load_config):
        with pytest.raises(UserError) as error:
            read(path)
        assert error.value.code in ("paths.not_a_file", "paths.unreadable")


def test_sizes_links_and_texts(tmp_path: Path) -> None:
    path, link = tmp_path / "text", tmp_path / "link"
    path.write_bytes("aé\r\n".encode())
    link.symlink_to(path)
    assert read_text_file(path, 5) == read_text_file(link, 5) == "aé\r\n"
    with open_regular(path) as file:
        assert file.read() == "aé\r\n".encode()
    for given, limit, follow, code in (
        (path, 4, True, "paths.too_large"),
        (link, 5, False, "paths.symbolic_link"),
        ("a\0b", 5, True, "paths.unreadable"),
        (tmp_path / ("x" * 300), 5, True, "paths.unreadable"),
    ):
        with pytest.raises(UserError) as error:
            read_text_file(given, limit, follow_links=follow)
        assert error.value.code == code
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError) as error:
        read_text_file(path, 5)
    assert error.value.code == "paths.not_text"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc")
def test_a_file_without_a_size_is_limited_too() -> None:
    with pytest.raises(UserError) as error:
        read_text_file("/proc/self/status", 10)
    assert error.value.code == "paths.too_large"


KINDS = get_args(PathKind)
TEXTS = {
    "empty": ("", "paths.empty"),
    "blank": ("  ", "paths.empty"),
    "NUL": ("a\0b", "paths.character"),
    "high half": ("a\ud800", "paths.character"),
    "low half": ("folder/\udfff.tif", "paths.character"),
    "user": ("~nosuchuser", "paths.unknown_user"),
    "folder of a user": ("~nosuchuser/cells", "paths.unknown_user"),
    "long name": ("x" * 256, "paths.too_long"),
    "long name with umlauts": ("ü" * 128, "paths.too_long"),
    "long name of a folder": ("x" * 300 + "/cells", "paths.too_long"),
    "long path": ("folder/" * 1000 + "cells", "paths.too_long"),
    "stream": ("-", "paths.stream"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", TEXTS)
def test_a_text_that_cannot_be_a_path_is_refused_by_its_name(text: str, kind: PathKind) -> None:
    value, code = TEXTS[text]
    with pytest.raises(UserError) as error:
        user_path(value, "--option", kind)
    assert error.value.code == code
    assert error.value.message.startswith("--option: ")
    error.value.message.encode()  # it can be printed


@pytest.mark.parametrize("value", [None, 3, 2.5, True, b"cells", ["cells"], object(), {}, Path])
def test_a_path_of_another_type_is_refused(value: object) -> None:
    with pytest.raises(UserError) as error:
        user_path(value, "images")
    assert error.value.code == "paths.type"
    assert error.value.message.startswith("images: ")


# What is there → the kinds of paths that it is
EXPECTED = {
    "folder": {"any", "input", "folder", "output folder", "output"},
    "file": {"any", "input", "file", "output file"},
    "missing": {"any", "output file", "output folder", "output"},
    "pipe": {"any"},
    "socket": {"any"},
    "device": {"any"},
    "loop": set(),
    "dangling": {"any"},
    "below a file": set(),
    "new/folders": {"any", "output file", "output folder", "output"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("found", EXPECTED)
def test_existing_files_decide(
    found: str, kind: PathKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / found
    {
        "folder": Path.mkdir,
        "file": Path.touch,
        "pipe": _fifo,
        "socket": _socket,
        "device": _device,
        "loop": _loop,
        "dangling": lambda p: p.symlink_to("nowhere"),
    }.get(found, lambda p: None)(path)
    if found == "below a file":
        path.touch()
        path = path / "cells"
    if kind in EXPECTED[found]:
        assert user_path(str(path), "--option", kind) == path
        return
    with pytest.raises(UserError) as error:
        user_path(path, "--option", kind)
    assert error.value.code in (
        "paths.missing",
        "paths.not_a_file",
        "paths.not_a_folder",
        "paths.unreadable",
    )
    assert str(path if found != "below a file" else path.parent) in error.value.message


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "any"])
def test_permission_is_needed(
    kind: PathKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cells"
    path.mkdir() if "folder" in kind or kind == "output" else path.touch()
    user_path(path, "--option", kind)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UserError) as error:
        user_path(path, "--option", kind)
    assert error.value.code == "paths.no_permission"


def test_homes_are_expanded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert user_path("~/cells", "--option") == tmp_path / "cells"
    assert user_path("cells/", "--option") == Path("cells")
    for text in ("./-", "./~", "./~nosuchuser"):
        path = user_path(text, "--option")
        assert path == tmp_path / text
        assert user_path(path, "--option") == path
    Path("~$cells.tif").touch()  # left by an office program; a shell passes it as it is
    assert user_path("~$cells.tif", "--option", "file").samefile("./~$cells.tif")
    with pytest.raises(UserError) as error:
        user_path("cells.yaml/", "--option", "output file")
    assert error.value.code == "paths.not_a_file"


BAD_NAMES = [
    "",
    " ",
    ".",
    "..",
    "a/b",
    "../a",
    "a\\b",
    "a\0",
    "\ud800",
    "x" * 230,
    "ü" * 101,
    None,
    3,
]


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_names_of_files(name: object, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        user_name(name, "--name")
    assert error.value.code in ("paths.type", "paths.name", "paths.character")
    if isinstance(name, str):
        with pytest.raises(UserError):
            ResultsTree(tmp_path, name, 1)
        if name:
            with pytest.raises(UserError):
                ResultsTree(tmp_path, "job", 1, {"LOG.LOG_FILE_PREFIX": name})


@pytest.mark.parametrize("run_id", [-1, 10**9, 2**63, 10**5000], ids=["-1", "9", "63", "5000"])
def test_numbers_of_runs(run_id: int, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        ResultsTree(tmp_path, "job", run_id)
    assert error.value.code == "results.run_id"


def _is_path(annotation: object) -> bool:
    return annotation is Path or any(map(_is_path, get_args(annotation)))


def _path_parameters() -> dict[str, tuple[Any, str, str]]:
    """Return command, name in messages, and option of each path of the command line."""
    found = {}
    for program in (app, run_app):
        for command in program.registered_commands:
            assert command.callback is not None
            commands = get_command(program)
            parsed = getattr(commands, "commands", {}).get(command.callback.__name__, commands)
            hints = inspect.signature(command.callback, eval_str=True).parameters
            for param in parsed.params:
                if param.name in hints and _is_path(hints[param.name].annotation):
                    option = param.opts[0] if param.opts[0][0] == "-" else ""
                    options = [name for name in param.opts if name.startswith("--")]
                    label = f"{program.info.name} {command.callback.__name__} {param.name}"
                    found[label] = (parsed, (options or [""])[0], option)
    return found


PARAMETERS = _path_parameters()


@pytest.mark.parametrize("text", ["blank", "NUL", "low half", "user", "long name", "long path"])
@pytest.mark.parametrize("parameter", PARAMETERS)
def test_every_path_of_the_command_line_is_validated(parameter: str, text: str) -> None:
    command, name, option = PARAMETERS[parameter]
    value, code = TEXTS[text]
    with pytest.raises(UserError) as error:
        command.make_context("command", [option, value] if option else [value])
    assert error.value.code == code
    assert name in error.value.message


def _keys(kind: Any, part: type[Section] = Config, prefix: str = "") -> list[str]:
    found = []
    for name, field in part.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found += _keys(kind, field.annotation, f"{prefix}{name}.")
        elif field.metadata == list(kind.__metadata__):
            found.append(prefix + name)
    return found


def test_all_keys_of_paths_have_the_type_of_paths() -> None:
    ends = ("PATH", "DIR", "MASKS")
    named = [
        name
        for name in Config().dotted()
        if name.startswith("PATHS.") or name.endswith(ends) or name.startswith("LOG.")
        if isinstance(Config().dotted()[name], str) and "INPUT_ZARR" not in name
    ]
    assert set(named) == {*_keys(Folder), *_keys(Name)}


@pytest.mark.parametrize("key", [*_keys(Folder), *_keys(Name)])
def test_every_key_of_a_path_is_validated(key: str) -> None:
    names = key in _keys(Name)
    good = {"TEST.ENABLE": True}
    config_from_dict({**good, key: "" if names else "folder"})
    for text, (value, _) in TEXTS.items():
        if not value or (names and text in ("user", "stream")):  # these can be names of files
            continue
        if text == "long path" and not names:  # known only where the folder of the job is known
            continue
        with pytest.raises(UserError) as error:
            config_from_dict({**good, key: value})
        assert f"{key}: got" in error.value.message, text
        error.value.message.encode()


def _check(**paths: object) -> object:
    return check_data(**{"dataset": None, "config_file": None, **paths})


FUNCTIONS: dict[str, Any] = {
    "load_config: path": load_config,
    "load: run_or_checkpoint": load,
    "load: run_or_checkpoint[1]": lambda path: load([".", path]),
    "list_models: folder": list_models,
    "export: source": lambda path: export(path, "csv"),
    "export: output": lambda path: export(np.eye(8, dtype=np.uint8), "csv", path),
    "write_package: run_or_checkpoint": lambda path: write_package(path, "a.zip"),
    "write_package: --output": lambda path: write_package("nuclei", path),
    "write_package: --image": lambda path: write_package("nuclei", "a.zip", image=path),
    "tune: run": tune,
    "tune: run[1]": lambda path: tune([".", path]),
    "build_report: run": build_report,
    "gather_images: images": lambda path: gather_images([path]),
    "init_dataset: dataset": lambda path: init_dataset(path, "a.yaml", minutes=1),
    "init_dataset: output": lambda path: init_dataset(".", path, minutes=1),
    "check_data: dataset": lambda path: _check(dataset=path),
    "check_data: config_file": lambda path: _check(config_file=path),
    "check_data: fix": lambda path: _check(dataset=".", fix=path),
    "check_data: html": lambda path: _check(dataset=".", html=path),
    "run_demo: output": lambda path: run_demo(path, 2, quick=True, live=False),
    "Guard: root": lambda path: Guard.of([path]),
}
# Functions whose argument is a path or a sequence of paths.
PATH_OR_PATHS = ("load: run_or_checkpoint", "tune: run")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_path_of_a_function_is_validated(
    function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for text, (value, code) in TEXTS.items():
        for given in (value, Path(value)) if value else (value,):
            with pytest.raises(UserError) as error:
                FUNCTIONS[function](given)
            assert error.value.code == code, text
    sequence = [["cells"]] if function in PATH_OR_PATHS else ["cells"]
    for wrong in (3, b"cells", sequence):
        with pytest.raises(UserError) as error:
            FUNCTIONS[function](wrong)
        assert error.value.code == "paths.type"
    assert not list(tmp_path.iterdir())
