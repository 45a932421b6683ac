"""From an image of any size to maps of the same size."""

from singula.prediction.predict import Predictor, PredictSettings, whole_plan
from singula.prediction.windows import Windows, fast_windows, largest_window

__all__ = [
    "PredictSettings",
    "Predictor",
    "Windows",
    "fast_windows",
    "largest_window",
    "whole_plan",
]
