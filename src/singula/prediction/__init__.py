"""From an image of any size to maps of the same size."""

from singula.prediction.blocks import BlockPlan, BlockPredictor, block_plan
from singula.prediction.predict import Predictor, PredictSettings, whole_plan
from singula.prediction.windows import Windows, block_halo, fast_windows, largest_window

__all__ = [
    "BlockPlan",
    "BlockPredictor",
    "PredictSettings",
    "Predictor",
    "Windows",
    "block_halo",
    "block_plan",
    "fast_windows",
    "largest_window",
    "whole_plan",
]
