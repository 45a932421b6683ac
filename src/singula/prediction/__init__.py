"""Predict the maps of images of any size."""

from singula.prediction.blocks import BlockPlan, BlockPredictor, block_plan
from singula.prediction.predict import Predictor, PredictSettings, whole_plan
from singula.prediction.tile_plan import AlignedTiles, block_halo, max_tile_pixels, plan_tiles

__all__ = [
    "AlignedTiles",
    "BlockPlan",
    "BlockPredictor",
    "PredictSettings",
    "Predictor",
    "block_halo",
    "block_plan",
    "max_tile_pixels",
    "plan_tiles",
    "whole_plan",
]
