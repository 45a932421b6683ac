"""Lengths in pixels are learned as fast as values from 0 to 1."""

from dataclasses import replace

import numpy as np
import torch

from singula.config import config_from_dict
from singula.models import build_model
from singula.pipeline import from_config
from singula.representations.channels import encode

KEYS = {
    "TRAIN.ENABLE": True,
    "PROBLEM.INSTANCE_SEG.DATA_CHANNELS": "Db+R8",
    "PROBLEM.INSTANCE_SEG.DATA_CHANNEL_WEIGHTS": "(1, 0.1)",
    "MODEL.ARCHITECTURE": "unet_light",
    "MODEL.FEATURE_MAPS": [8, 16],
    "MODEL.DROPOUT_VALUES": [0, 0],
    "DATA.PATCH_SIZE": (64, 64, 1),
}


def test_a_short_training_changes_the_rays_by_pixels() -> None:
    labels, (y, x) = np.zeros((64, 64), int), np.indices((64, 64))
    for number, (row, column, radius) in enumerate([(16, 16, 12), (18, 46, 14), (46, 30, 13)], 1):
        labels[(y - row) ** 2 + (x - column) ** 2 < radius**2] = number
    maps, inside = encode(labels, "Db+R8"), torch.from_numpy(labels > 0)
    target = torch.from_numpy(np.stack(list(maps.values())))[None]
    batch = {"target": target, "foreground": inside[None, None]}
    image = inside[None, None].float()
    config = config_from_dict(KEYS)
    settings, loss = from_config.model_settings(config), from_config.instance_loss(config)

    def gain(units: tuple[float, ...]) -> float:
        """Return the pixels by which 40 steps reduce the mean error of the rays."""
        torch.manual_seed(0)
        network, errors = build_model(replace(settings, units=units)).train(), []
        optimizer = torch.optim.AdamW(network.parameters(), 0.002)
        for _ in range(41):
            output = network(image)
            errors.append(float((output.detach() - target)[0, 1:, inside].abs().mean()))
            optimizer.zero_grad()
            loss(output, batch).backward()
            optimizer.step()
        return errors[0] - errors[-1]

    assert gain(settings.units) > 3
    assert gain(()) < 1
