"""From an image of any size to maps of the same size."""

from singula.prediction.predict import Predictor, PredictSettings, whole_plan

__all__ = ["PredictSettings", "Predictor", "whole_plan"]
