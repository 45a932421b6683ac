"""Answers of the wizard become a valid form, and mistakes are reported."""

from pathlib import Path

import numpy as np
import pytest

from singula.config import load_config
from singula.errors import UserError
from singula.gui.guard import Guard
from singula.gui.wizard import (
    FIND,
    Answers,
    make_example,
    parts_from_fields,
    propose_form,
    recognize,
    samples,
)
from singula.io.write import write_tiff
from singula.pipeline import timing
from singula.representations.channels import parse_channels
from singula.representations.decoders import DECODERS
from singula.training.speed import TrainingSpeed


@pytest.fixture(autouse=True)
def known_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the measured training speed by fixed values."""
    speed = TrainingSpeed(2.0, 0.5, draw=1.0, epoch=4.0)
    monkeypatch.setattr(timing, "measure_training", lambda *arguments: speed)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    for ndim in (2, 3):
        make_example(Guard.of([folder]), ndim)
    return folder


@pytest.fixture
def guard(home: Path) -> Guard:
    return Guard.of([home])


@pytest.mark.parametrize("ndim", [2, 3])
def test_answers_become_a_configuration(guard: Guard, tmp_path: Path, ndim: int) -> None:
    parts, _ = recognize(guard, f"example_{ndim}d")
    assert [part.name for part in parts] == ["train", "val", "test"]
    for sample in samples(parts[0].pairs(), None):
        assert sample.png is not None
        assert sample.png.startswith(b"\x89PNG")
        assert "objects" in sample.caption
    form, proposal, _ = propose_form(Answers(parts=tuple(parts), output=Path("a.yaml")), guard)
    assert form.config().ndim == ndim
    assert proposal.speed is not None
    assert proposal.speed.whole_step == 3.0
    assert proposal.reasons
    config = load_config(form.save(tmp_path / "a.yaml"))
    assert config == form.config()
    assert str(guard.home / f"example_{ndim}d" / "train" / "x") == config.DATA.TRAIN.PATH
    guard.check_config(config)


@pytest.mark.parametrize("find", [name for name in FIND if name != "auto"])
def test_the_kind_of_object_decides_the_channels(guard: Guard, find: str) -> None:
    assert find in DECODERS
    parts, _ = recognize(guard, "example_2d")
    answers = Answers(parts=tuple(parts), find=find, output=Path("b.yaml"))
    form, _, _ = propose_form(answers, guard)
    keys = form.config().PROBLEM.INSTANCE_SEG
    assert find == keys.DATA_CHANNELS
    # What else follows from the channels is chosen for them.
    codes = parse_channels(find)
    assert len(keys.DATA_CHANNEL_WEIGHTS) == len(codes)
    for threshold, code in (("POINTS", "P"), ("DISTANCE", "D"), ("CONTOUR", "C")):
        assert (f"PROBLEM.INSTANCE_SEG.DATA_MW_TH_{threshold}" in form.values) == (code in codes)
    grows = form.comments["PROBLEM.INSTANCE_SEG.DATA_MW_TH_FOREGROUND"]
    assert ("where M is above" in grows) == ("M" in codes)
    assert form.config().channel_count == len(form.config().channel_weights)


def test_classes_follow_the_answer(guard: Guard) -> None:
    parts, _ = recognize(guard, "example_2d")
    form, _, _ = propose_form(Answers(parts=tuple(parts), classes=3, output=Path("c.yaml")), guard)
    assert form.config().MODEL.N_CLASSES == 4


def test_an_existing_configuration_stays(guard: Guard, home: Path) -> None:
    (home / "there.yaml").write_text("mine")
    parts, _ = recognize(guard, "example_2d")
    for name, code in (
        ("there.yaml", "gui.file_exists"),
        ("there.txt", "gui.not_yaml"),
        ("../x.yaml", "gui.outside"),
    ):
        with pytest.raises(UserError) as error:
            propose_form(Answers(parts=tuple(parts), output=Path(name)), guard)
        assert error.value.code == code
    assert (home / "there.yaml").read_text() == "mine"


def test_separate_folders(guard: Guard) -> None:
    entered = [
        ("train", "example_2d/train/x", "example_2d/train/y"),
        ("val", "", ""),
        ("test", "example_2d/test/x", ""),
    ]
    parts = parts_from_fields(guard, entered)
    assert [(part.name, part.labels is None) for part in parts] == [
        ("train", False),
        ("test", True),
    ]
    form, _, _ = propose_form(Answers(parts=tuple(parts), output=Path("d.yaml")), guard)
    assert form.config().DATA.VAL.FROM_TRAIN
    assert not form.config().DATA.TEST.LOAD_GT
    for images, labels, code in (
        ("example_2d/train/x", "", "gui.no_training_data"),
        ("/etc", "/etc", "gui.outside"),
        ("nothing", "example_2d/train/y", "gui.not_a_folder"),
    ):
        with pytest.raises(UserError) as error:
            parts_from_fields(guard, [("train", images, labels)])
        assert error.value.code == code


def test_unusable_folders_are_reported(guard: Guard, home: Path, tmp_path: Path) -> None:
    for dataset in ("", "..", "nothing", "there"):
        with pytest.raises(UserError):
            recognize(guard, dataset)
    (home / "linked" / "x").mkdir(parents=True)
    (home / "linked" / "y").mkdir()
    for name in ("x", "y"):
        write_tiff(tmp_path / f"{name}.tif", np.ones((32, 32), np.uint8), "YX")
        (home / "linked" / name / "a.tif").symlink_to(tmp_path / f"{name}.tif")
    with pytest.raises(UserError, match="outside"):
        recognize(guard, "linked")


def test_a_damaged_image_is_shown_as_damaged(guard: Guard, home: Path) -> None:
    for name in ("x", "y"):
        folder = home / "broken" / "train" / name
        folder.mkdir(parents=True)
        (folder / "a.tif").write_bytes(b"no picture")
    parts, _ = recognize(guard, "broken")
    (sample,) = samples(parts[0].pairs(), None)
    assert sample.png is None
    assert sample.name == "a"
    assert str(home) not in sample.caption


def test_example_data_replace_no_files(guard: Guard) -> None:
    with pytest.raises(UserError) as error:
        make_example(guard, 2)
    assert error.value.code == "gui.folder_exists"
