"""Networks from configuration keys, and from checkpoints."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from singula.config import config_from_dict
from singula.config.validate_model import multiples
from singula.io.records.checkpoints import NetworkRecord
from singula.models import LayoutSettings, ModelSettings, build_model, downsampling
from singula.models.variants import ARCHITECTURES
from singula.pipeline import from_config
from singula.representations.channel_table import CHANNELS
from singula.util.architectures import downsampling_steps

UNETR: dict[str, object] = {
    "TEST.ENABLE": True,
    "MODEL.ARCHITECTURE": "UNETR",
    "MODEL.VIT_TOKEN_SIZE": 8,
    "MODEL.VIT_EMBED_DIM": 16,
    "MODEL.VIT_NUM_LAYERS": 3,
    "MODEL.VIT_NUM_HEADS": 2,
    "MODEL.VIT_MLP_RATIO": 2,
    "MODEL.VIT_NORM_EPS": 1e-5,
    "MODEL.UNETR_VIT_HIDD_MULT": 1,
    "MODEL.UNETR_VIT_NUM_FILTERS": 4,
    "MODEL.UNETR_DEC_ACTIVATION": "gelu",
    "MODEL.UNETR_DEC_KERNEL_SIZE": 5,
    "DATA.PATCH_SIZE": (32, 48, 1),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("ndim", ["2D", "3D"])
def test_the_check_uses_the_multiple_of_the_network(name: str, ndim: str) -> None:
    keys = {
        "TEST.ENABLE": True,
        "PROBLEM.NDIM": ndim,
        "MODEL.ARCHITECTURE": name,
        "MODEL.FEATURE_MAPS": [4, 8, 16],
        "MODEL.Z_DOWN": [1, 2, 2][: downsampling_steps(name, 3)],
        "DATA.PATCH_SIZE": (64, 64, 1) if ndim == "2D" else (16, 64, 64, 1),
    }
    config = config_from_dict(keys)
    assert multiples(config) == downsampling(from_config.model_settings(config))


def test_every_key_of_the_transformer_is_used() -> None:
    own = from_config.model_settings(config_from_dict(UNETR)).transformer
    assert (own.token, own.width, own.layers, own.heads, own.mlp_ratio) == (8, 16, 3, 2, 2.0)
    assert (own.eps, own.every, own.filters) == (1e-5, 1, 4)
    assert (own.activation.lower(), own.kernel, own.patch) == ("gelu", 5, (32, 48))
    named = config_from_dict({**UNETR, "MODEL.VIT_MODEL": "vit_large_patch16"})
    own = from_config.model_settings(
        config_from_dict({**named.dotted(), "DATA.PATCH_SIZE": (64, 64, 1)})
    ).transformer
    assert (own.token, own.width, own.layers, own.heads) == (16, 1024, 24, 16)


def test_a_trained_transformer_predicts_tiles_of_another_shape() -> None:
    trained = from_config.model_settings(config_from_dict(UNETR))
    weights = build_model(trained).state_dict()
    wider = config_from_dict({**UNETR, "DATA.PATCH_SIZE": (64, 40, 1)})
    settings = from_config.model_settings(wider, trained.to_dict())
    network = build_model(settings)
    network.load_state_dict(weights)
    assert network(torch.rand(1, 1, 64, 40)).shape == (1, 2, 64, 40)
    assert from_config.tile_plan(wider, settings).patch == (64, 40)


def test_other_networks_do_not_depend_on_keys_of_the_transformer() -> None:
    plain = from_config.model_settings(config_from_dict({"TEST.ENABLE": True}))
    other = config_from_dict({"TEST.ENABLE": True, "MODEL.VIT_NUM_LAYERS": 3})
    assert from_config.model_settings(other) == plain
    # So a network that was stored before there were others is the same network.
    stored = plain.to_dict()
    del stored["transformer"]
    assert ModelSettings.from_dict(stored) == plain


def test_lengths_are_learned_in_their_unit_unless_a_checkpoint_has_none() -> None:
    seg = "PROBLEM.INSTANCE_SEG.DATA_CHANNELS"
    plain, rays = (config_from_dict({"TEST.ENABLE": True, seg: c}) for c in ("BC", "Db+R8"))
    assert from_config.model_settings(plain).units == ()
    learned = from_config.model_settings(rays)
    assert learned.units == (1.0, *[CHANNELS["R8.0"].unit] * 8) != (1.0,) * 9
    assert from_config.model_settings(rays, learned.to_dict()) == learned
    earlier = {name: value for name, value in learned.to_dict().items() if name != "units"}
    assert from_config.model_settings(rays, earlier).units == ()
    other = from_config.model_settings(plain).to_dict()  # its heads do not fit
    assert from_config.model_settings(rays, other).units == learned.units


def test_a_checkpoint_can_store_all_settings() -> None:
    settings = ModelSettings(2, 1, 2, layout=LayoutSettings("biapy"), units=(1.0, 8.0))
    assert {field.name for field in fields(settings)} == set(settings.to_dict())
    record = NetworkRecord.model_validate(settings.to_dict())
    assert ModelSettings.from_dict(record.model_dump()) == settings
