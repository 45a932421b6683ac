"""Paths outside of the roots are refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from singula.config import Config
from singula.config.load import config_from_dict
from singula.config.schema.base import Section
from singula.config.values import Folder
from singula.errors import UserError
from singula.gui.guard import Guard


@pytest.fixture
def guard(tmp_path: Path) -> Guard:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "file.yaml").write_text("")
    (tmp_path / "in" / ".hidden").mkdir()
    return Guard.of([tmp_path / "in"])


@pytest.mark.parametrize("path", ["deep", "deep/../file.yaml", "not/there/yet", "."])
def test_paths_inside_pass(guard: Guard, path: str) -> None:
    assert guard.check(path) == (guard.home / path).resolve()


@pytest.mark.parametrize(
    "path",
    ["..", "../out", "deep/../../out", "/", "/etc/passwd", "~", "../in_not", "a\0b", "~nobody/x"],
)
def test_paths_outside_are_refused(guard: Guard, path: str) -> None:
    with pytest.raises(UserError):
        guard.check(path)
    assert not guard.allows(path)


@pytest.mark.parametrize(
    "path",
    ["x" * 5000, "x" * 256, "deep/" * 830, "new/" + "y/" * 1990],
    ids=["page", "name", "folders", "room inside"],
)
def test_paths_too_long_for_the_system_are_refused(guard: Guard, path: str) -> None:
    with pytest.raises(UserError) as error:
        guard.check(path)
    assert error.value.code == "gui.invalid_path"
    assert len(error.value.message) < 200
    assert not guard.allows(path)


def test_links_that_lead_outside_are_refused(guard: Guard, tmp_path: Path) -> None:
    (guard.home / "link").symlink_to(tmp_path / "out")
    (guard.home / "deep" / "loop").symlink_to(guard.home / "deep" / "loop")
    assert not guard.allows("link")
    assert not guard.allows("link/new.yaml")
    folders, files = guard.listing(".")
    assert [p.name for p in folders] == ["deep"]
    assert [p.name for p in files] == ["file.yaml"]


def test_a_link_inside_is_resolved(guard: Guard) -> None:
    (guard.home / "link").symlink_to(guard.home / "deep")
    assert guard.check("link/x") == guard.home / "deep" / "x"


def test_a_folder_with_a_common_prefix_is_outside(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data2").mkdir()
    assert not Guard.of([tmp_path / "data"]).allows(tmp_path / "data2")


@given(st.lists(st.sampled_from(["..", ".", "a", "b", "/", "..."]), max_size=8))
def test_accepted_paths_are_inside(parts: list[str]) -> None:
    guard = Guard((Path("/r/s"),))
    try:
        found = guard.check("/".join(parts))
    except UserError:
        return
    assert found.is_relative_to("/r/s")
    assert ".." not in found.parts


def test_several_roots_and_missing_ones(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    guard = Guard.of([tmp_path / "one", tmp_path / "two"])
    assert guard.allows(tmp_path / "two" / "x")
    assert guard.short(tmp_path / "one" / "x") == "x"
    for name in ("one/x", "two/x", "one", "one/~x/y", "one/..x"):
        path = (tmp_path / name).resolve()
        assert guard.check(guard.short(path)) == path
    with pytest.raises(UserError) as error:
        Guard.of([tmp_path / "three"])
    assert error.value.code == "gui.root_missing"


def test_the_default_root_is_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Guard.of([]).roots == (tmp_path.resolve(),)


@pytest.mark.parametrize(
    ("key", "value", "fine"),
    [
        ("DATA.TRAIN.PATH", "x", True),
        ("DATA.TRAIN.PATH", "../x", False),
        ("DATA.TEST.PATH", "/somewhere", True),  # no test is run
        ("PATHS.RESULT_DIR.PATH", "/somewhere", False),
        ("PATHS.RESULT_DIR.PATH", "JOB_DIR/elsewhere", True),
        ("PATHS.RESULT_DIR.PATH", "JOB_DIR/../../elsewhere", False),
        ("PATHS.CHECKPOINT", "JOB_DIR/JOB_ID/weights", True),
        ("PATHS.CHECKPOINT", "/somewhere/JOB_DIR", False),
        ("PATHS.CHECKPOINT", "/somewhere/JOB_ID", False),
        ("PATHS.CHECKPOINT_FILE", "/somewhere/JOB_DIR.pth", False),
        ("DATA.TRAIN.PATH", "/somewhere/JOB_DIR", False),
        ("DATA.TRAIN.PATH", "JOB_DIR/x", False),
        ("DATA.PREPROCESS.MATCH_HISTOGRAM.REFERENCE_PATH", "/somewhere", False),
        ("DATA.PREPROCESS.MATCH_HISTOGRAM.REFERENCE_PATH", "reference", True),
        ("DATA.TRAIN.INSTANCE_CHANNELS_DIR", "/somewhere", False),
    ],
)
def test_folders_of_a_configuration(guard: Guard, key: str, value: str, fine: bool) -> None:
    config = config_from_dict(
        {"TRAIN.ENABLE": True, "DATA.TRAIN.PATH": "x", "DATA.TRAIN.GT_PATH": "y",
         "DATA.VAL.FROM_TRAIN": False, "DATA.VAL.PATH": "vx", "DATA.VAL.GT_PATH": "vy",
         "DATA.PREPROCESS.TRAIN": True, "DATA.PREPROCESS.MATCH_HISTOGRAM.ENABLE": True,
         "DATA.PREPROCESS.MATCH_HISTOGRAM.REFERENCE_PATH": "r",
         key: value}
    )  # fmt: skip
    if fine:
        guard.check_config(config)
    else:
        with pytest.raises(UserError, match=key):
            guard.check_config(config)


@pytest.mark.parametrize("key", ["PATH", "GT_PATH", "IGNORE_PATH"])
@pytest.mark.parametrize("part", ["TRAIN", "VAL"])
def test_validation_images_of_a_test_are_checked(guard: Guard, part: str, key: str) -> None:
    config = config_from_dict(
        {"TEST.ENABLE": True, "DATA.TEST.USE_VAL_AS_TEST": True,
         "DATA.VAL.FROM_TRAIN": part == "TRAIN", f"DATA.{part}.{key}": "/somewhere"}
    )  # fmt: skip
    with pytest.raises(UserError, match=f"DATA.{part}.{key}"):
        guard.check_config(config)


def _path_keys(part: type[Section] = Config, prefix: str = "") -> list[str]:
    """Return the keys of the schema whose type is a folder or file."""
    found = []
    for name, one in part.model_fields.items():
        if isinstance(one.annotation, type) and issubclass(one.annotation, Section):
            found += _path_keys(one.annotation, f"{prefix}{name}.")
        elif one.metadata == list(Folder.__metadata__):
            found.append(f"{prefix}{name}")
    return found


def test_every_path_key_is_checked(guard: Guard) -> None:
    keys = {
        "TRAIN.ENABLE": True, "TEST.ENABLE": True, "DATA.TEST.LOAD_GT": True,
        "DATA.PREPROCESS.TRAIN": True, "DATA.PREPROCESS.MATCH_HISTOGRAM.ENABLE": True,
        "DATA.VAL.FROM_TRAIN": False,
    }  # fmt: skip
    paths = _path_keys()
    assert len(paths) > 30
    keys |= {key: f"inside/{key}" for key in paths if key.startswith("DATA.")}
    guard.check_config(config_from_dict(keys))
    for key in paths:
        with pytest.raises(UserError, match=key):
            guard.check_config(config_from_dict({**keys, key: "/outside"}))
