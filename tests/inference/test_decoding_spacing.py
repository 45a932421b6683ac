"""Voxel size for decoding: that of the training, if the maps depend on it."""

from __future__ import annotations

import numpy as np
import pytest

import singula
from singula.config import Config, config_from_dict
from singula.inference import Model
from singula.models import build_model
from singula.pipeline import from_config
from singula.pipeline.postprocess import post_settings
from singula.pipeline.readers import reader_for
from singula.prediction import Predictor

SEG = "PROBLEM.INSTANCE_SEG"
SIZE = (0.5, 0.2, 0.2)


def configuration(channels: list[str], size: tuple[float, ...] | None) -> Config:
    """Return a small configuration in 3D."""
    keys: dict[str, object] = {
        "PROBLEM.NDIM": "3D",
        "DATA.PATCH_SIZE": (8, 16, 16, 1),
        "MODEL.FEATURE_MAPS": [2, 4],
        "TEST.ENABLE": True,
        f"{SEG}.DATA_CHANNELS": channels,
    }
    if "H" in channels:
        keys[f"{SEG}.DATA_CHANNELS_EXTRA_OPTS"] = [f"{code}.norm=False" for code in "HVZ"]
    if size is not None:
        keys |= {f"DATA.{part}.RESOLUTION": size for part in ("TRAIN", "TEST")}
    return config_from_dict(keys)


def model_of(config: Config) -> Model:
    """Return a model of random weights."""
    predictor = Predictor(
        build_model(from_config.model_settings(config)), from_config.outputs(config)
    )
    normalizer = from_config.normalizer(config).fit([])
    return Model(config, predictor, normalizer, post_settings(config), reader_for(config, "TEST"))


@pytest.mark.parametrize("channels", [["F", "H", "V", "Z"], ["F", "R"], ["E"]])
@pytest.mark.parametrize("size", [SIZE, None])
def test_maps_are_decoded_with_the_voxel_size_of_the_training(
    channels: list[str], size: tuple[float, ...] | None
) -> None:
    labels = np.zeros((12, 40, 40), int)
    labels[2:8, 5:15, 5:15], labels[2:9, 5:15, 18:30] = 1, 2
    config = configuration(channels, size)
    code = config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS
    maps = singula.encode(labels, code, spacing=size, options=config.channel_options)
    model = model_of(config)
    for given in (None, SIZE, (500, 200, 200), (1, 1, 0.1)):
        decoded, _ = model.instances(maps, spacing=given)
        assert singula.match(labels, decoded, 0.7).f1 == 1


def test_other_channels_are_decoded_with_the_voxel_size_of_the_image() -> None:
    config = configuration(["F", "C", "Db"], SIZE)
    assert from_config.decoding_spacing(config, (3.0, 1.0, 1.0)) == (3.0, 1.0, 1.0)
