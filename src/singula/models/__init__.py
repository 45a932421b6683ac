"""Networks: one implementation for two and three dimensions."""

from singula.models.build import ModelSettings, build_model, channels_last, downsampling

__all__ = ["ModelSettings", "build_model", "channels_last", "downsampling"]
