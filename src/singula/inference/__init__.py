"""Prediction with a trained model, loaded from its checkpoint without a configuration file."""

from singula.inference.files import gather_images, predict_files
from singula.inference.load_model import find_model, load
from singula.inference.model import Model
from singula.inference.model_list import ModelInfo, list_models
from singula.inference.package import write_package
from singula.inference.scale import scale_from_text
from singula.inference.tasks import parse_frames, plan_predictions

__all__ = [
    "Model",
    "ModelInfo",
    "find_model",
    "gather_images",
    "list_models",
    "load",
    "parse_frames",
    "plan_predictions",
    "predict_files",
    "scale_from_text",
    "write_package",
]
