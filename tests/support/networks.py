"""Small networks of every kind, and images for them."""

import numpy as np
import torch
from torch import nn

from singula.models import LayoutSettings, ModelSettings, build_model, downsampling
from singula.training.losses import Output

B, D = Output("B", "bce", "sigmoid"), Output("D", "l1", "linear")
CASES = {
    "2d": (ModelSettings(2, 1, 2, feature_maps=(4, 8, 16), dropout=(0, 0, 0)), (150, 203)),
    "2d residual": (
        ModelSettings(2, 1, 2, architecture="resunet", feature_maps=(4, 8, 16), dropout=(0, 0, 0)),
        (83, 70),
    ),
    "2d attention": (
        ModelSettings(2, 1, 2, architecture="attention_unet", feature_maps=(4, 8), dropout=(0, 0)),
        (50, 61),
    ),
    "2d multires": (
        ModelSettings(2, 1, 2, architecture="multiresunet", feature_maps=(4, 8), dropout=(0, 0)),
        (50, 61),
    ),
    "2d biapy": (
        ModelSettings(
            2,
            1,
            2,
            architecture="attention_unet",
            feature_maps=(4, 8),
            dropout=(0, 0),
            layout=LayoutSettings("biapy", wide_ends=True),
        ),
        (50, 61),
    ),
    "2d convnext": (
        ModelSettings(2, 1, 2, architecture="unext_v1", feature_maps=(3, 4), dropout=(0, 0)),
        (50, 61),
    ),
    "3d": (
        ModelSettings(3, 1, 2, feature_maps=(4, 8), dropout=(0, 0), z_down=(1,)),
        (13, 50, 47),
    ),
    "3d upsampling": (
        ModelSettings(
            3, 1, 2, feature_maps=(4, 8), dropout=(0, 0), z_down=(2,), upsample="upsampling"
        ),
        (18, 40, 44),
    ),
}


def picture(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (*shape, 1)).astype(np.uint8)


def warm(settings_: ModelSettings) -> nn.Module:
    """Return a network whose batch normalization is not the identity."""
    torch.manual_seed(1)
    network = build_model(settings_).train()
    shape = tuple(8 * m for m in downsampling(settings_))
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(2, settings_.in_channels, *shape))
    return network
