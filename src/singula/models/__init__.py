"""Networks: one implementation for two and three dimensions."""

from singula.models.build import build_model, channels_last, downsampling, receptive_radius
from singula.models.fold import fold_batch_norm
from singula.models.settings import LayoutSettings, ModelSettings, TransformerSettings

__all__ = [
    "LayoutSettings",
    "ModelSettings",
    "TransformerSettings",
    "build_model",
    "channels_last",
    "downsampling",
    "fold_batch_norm",
    "receptive_radius",
]
