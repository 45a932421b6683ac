"""Models of the package: size, content, card, and a prediction with each."""

from pathlib import Path

import numpy as np
import pytest
import torch

import singula
from singula.inference import find_model
from singula.synthetic.fluorescence import make_image
from singula.training.checkpoint import load_checkpoint, read_checkpoint
from singula.zoo.models import built_in_models, checkpoint_path, portable_name

MODELS = built_in_models()
MAX_BYTES = {2: 4 << 20, 3: 8 << 20}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_small_and_has_neither_paths_nor_a_state_of_the_training(name: str) -> None:
    file = MODELS[name].checkpoint
    contents = read_checkpoint(file)
    assert file.stat().st_size <= MAX_BYTES[contents["singula"]["model"]["ndim"]]
    assert not {"optimizer_states", "lr_schedulers"} & contents.keys()
    weights = [w for w in contents["state_dict"].values() if w.is_floating_point()]
    assert {w.dtype for w in weights} == {torch.float16}
    config = contents["singula"]["config"]
    assert "user_data/train/x" in config  # the default
    assert not any(line.split(": ")[-1].startswith("/") for line in config.splitlines())


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_the_object_size_of_its_card(name: str) -> None:
    stored = load_checkpoint(MODELS[name].checkpoint).description.get("object_size")
    if stored is not None:
        sizes = np.atleast_1d(stored)
        assert sizes.max() == pytest.approx(MODELS[name].card.object_size, rel=0.01)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_model_finds_drawn_nuclei_in_images_of_any_type(dtype: type) -> None:
    drawn = make_image((160, 160), np.random.default_rng(5))
    image, labels = drawn.image.astype(float), drawn.labels
    scaled = (image - image.min()) / np.ptp(image)
    high = 1.0 if dtype is np.float32 else np.iinfo(dtype).max // 3
    found = singula.load("nuclei").predict((scaled * high).astype(dtype))
    assert singula.match(labels, found, (0.5,))[0].f1 > 0.8


def test_a_run_of_the_same_name_takes_precedence(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nuclei").mkdir()  # for example a folder of images
    assert find_model("nuclei") == MODELS["nuclei"].checkpoint
    checkpoint = tmp_path / "nuclei" / "checkpoints" / "a-checkpoint-best.pth"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    assert find_model("nuclei").resolve() == checkpoint


def test_the_name_of_a_model_refers_to_its_checkpoint(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = MODELS["nuclei"].checkpoint
    assert portable_name(file) == "nuclei"
    assert checkpoint_path("nuclei") == file
    assert portable_name(Path("a.pth")) == str(tmp_path / "a.pth")
    assert checkpoint_path("a.pth") == Path("a.pth")
    Path("nuclei").touch()  # a file takes precedence, so the name would refer to it
    assert checkpoint_path("nuclei") == Path("nuclei")
    assert portable_name(file) == str(file)


def test_the_first_notice_of_a_model_is_its_origin() -> None:
    card = MODELS["nuclei"].card
    lines = singula.load("nuclei").notices
    assert card.training_data in lines[0]
    assert card.license in lines[0]
    assert "by you" not in " ".join(lines)
