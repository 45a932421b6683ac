"""Checkpoint of a network with random weights, which needs no training."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from singula.config import config_from_dict
from singula.models import build_model
from singula.pipeline import from_config
from singula.training.checkpoint import KEY, PREFIX, write_checkpoint

PATCHES = {2: (32, 32), 3: (8, 16, 16)}


def write_untrained(
    path: Path,
    ndim: int,
    *,
    channels: int = 1,
    images: Iterable[np.ndarray] = (),
    description: dict[str, Any] | None = None,
    **keys: object,
) -> Path:
    """Write a checkpoint; `images` determine the statistics of its normalization.

    Keys are written with ``__`` instead of dots.
    """
    values = {
        "PROBLEM.NDIM": f"{ndim}D",
        "DATA.PATCH_SIZE": str((*PATCHES[ndim], channels)),
        "DATA.NORMALIZATION.TYPE": "scale_range",
        "DATA.TEST.PADDING": str((4,) * ndim if ndim == 2 else (0, 4, 4)),
        "MODEL.FEATURE_MAPS": [4, 8],
        "MODEL.DROPOUT_VALUES": [0, 0],
        "MODEL.Z_DOWN": [1] if ndim == 3 else [0],
        "TRAIN.ENABLE": False,
        "TEST.ENABLE": True,
        "TEST.BACKEND": "torch",
        **{key.replace("__", "."): value for key, value in keys.items()},
    }
    config = config_from_dict(values)
    settings = from_config.model_settings(config)
    torch.manual_seed(0)
    network = build_model(settings)
    normalizer = from_config.normalizer(config).fit(images)
    described = {**from_config.describe(config, settings, normalizer), **(description or {})}
    state = {PREFIX + name: value for name, value in network.state_dict().items()}
    write_checkpoint({"epoch": 0, "state_dict": state, KEY: described}, path)
    return path
