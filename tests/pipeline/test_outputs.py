"""Activations of the outputs, and pixels of their losses."""

from __future__ import annotations

from typing import Any

import pytest

from singula.config import config_from_dict
from singula.pipeline.outputs import outputs
from singula.training.losses import Output

SEG = "PROBLEM.INSTANCE_SEG"


def outputs_of(channels: list[str], **keys: Any) -> dict[str, Output]:
    """Return the outputs of a list of channels by code."""
    values = {f"{SEG}.DATA_CHANNELS": channels, **{f"{SEG}.{key}": v for key, v in keys.items()}}
    config = config_from_dict({**values, "TRAIN.ENABLE": True, "PROBLEM.NDIM": "2D",
                               "DATA.PATCH_SIZE": (64, 64, 1)})  # fmt: skip
    return {output.name: output for output in outputs(config)}


@pytest.mark.parametrize(
    ("options", "activation"),
    [
        ([], "tanh"),
        (["D.activation=linear"], "linear"),
        (["D.norm=False"], "linear"),
        (["D.norm=False", "D.activation=tanh"], "linear"),
    ],
)
def test_signed_distances_without_bounds_have_no_bounded_activation(options, activation) -> None:
    output = outputs_of(["F", "D"], DATA_CHANNELS_EXTRA_OPTS=options)["Ds"]
    assert output.activation == activation


@pytest.mark.parametrize(
    ("channels", "keys", "code", "is_masked"),
    [
        (["F", "Db"], {}, "Db", True),
        (["F", "Db"], {"DISTANCE_CHANNEL_MASK": False}, "Db", False),
        (["F", "Db"], {"DATA_CHANNELS_EXTRA_OPTS": ["Db.mask_values=False"]}, "Db", False),
        (["F", "Db"], {"GROWTH_MASK_CHANNELS": ["Db"]}, "Db", False),
        (["Db"], {}, "Db", False),
        (["Db", "R8"], {}, "Db", False),
        (["F", "Db", "R8"], {}, "Db", False),
        (["F", "R8"], {}, "R8.3", True),
        (["C", "D"], {}, "D", False),
        (["B", "D"], {}, "D", True),
        (["B", "C", "D"], {}, "D", True),
    ],
)
def test_distances_that_alone_cover_the_instances_are_learned_everywhere(
    channels, keys, code, is_masked
) -> None:
    assert outputs_of(channels, **keys)[code].foreground_only == is_masked


def test_only_shares_are_learned_as_probabilities() -> None:
    losses = {"DATA_CHANNELS_LOSSES": ["bce", "bce"]}
    assert outputs_of(["F", "Db"], **losses)["Db"].activation == "sigmoid"
    with pytest.raises(Exception, match="DATA_CHANNELS_LOSSES"):
        outputs_of(["F", "Db"], **losses, DATA_CHANNELS_EXTRA_OPTS=["Db.norm=False"])
