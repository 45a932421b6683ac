"""Configurations with which the models of the package were trained."""

from pathlib import Path

import pytest
import yaml

from singula.config import load_config
from singula.training.checkpoint import KEY, read_checkpoint
from singula.zoo.models import built_in_models

FOLDER = Path(__file__).parents[2] / "scripts" / "models"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="scripts are not part of the package")


@pytest.mark.parametrize("name", built_in_models())
def test_a_model_has_the_network_of_its_configuration(name: str) -> None:
    config = load_config(FOLDER / f"{name}.yaml")
    network = read_checkpoint(built_in_models()[name].checkpoint)[KEY]["model"]
    assert network["architecture"] == config.MODEL.ARCHITECTURE
    assert list(network["feature_maps"]) == list(config.MODEL.FEATURE_MAPS)
    assert network["ndim"] == config.ndim


def test_the_parts_of_the_stained_images_have_no_common_image() -> None:
    text = (FOLDER / "nuclei_he_split.yaml").read_text(encoding="utf-8")
    parts = yaml.safe_load(text)
    assert {name: len(images) for name, images in parts.items()} == {
        "train": 36, "val": 6, "test": 12
    }  # fmt: skip
    assert len(set().union(*parts.values())) == 54
