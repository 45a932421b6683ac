"""Prediction of the maps of an image, in smaller tiles if the memory does not suffice."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy.typing as npt

from singula.config import Config
from singula.pipeline import from_config
from singula.prediction import Predictor, PredictSettings, whole_plan
from singula.prediction.predict import patch_reader
from singula.training.device import free_gpu_memory
from singula.util.format import counted, shape_text
from singula.util.memory import retry_with_less_memory
from singula.util.process import release_memory

if TYPE_CHECKING:
    from singula.data.normalize import Normalizer
    from singula.pipeline.patches import PatchScores

_log = logging.getLogger(__name__)
Result = TypeVar("Result")


def predict_maps(
    config: Config,
    predictor: Predictor,
    normalizer: Normalizer,
    image: npt.NDArray[Any],
    *,
    augment: bool | None = None,
    whole: bool = False,
    patches: PatchScores | None = None,
    class_probabilities: bool = False,
) -> dict[str, npt.NDArray[Any]]:
    """Predict the maps of an image.

    After an out-of-memory error, half as many pixels are predicted at once.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    predictor : Predictor
        Network with its weights.
    normalizer : Normalizer
        Normalization of the training.
    image : ndarray, (y, x, c) or (z, y, x, c)
        Image before normalization.
    augment : bool, optional
        Use test-time augmentation. Default: as configured.
    whole : bool
        Predict the image in a single forward pass.
    patches : PatchScores, optional
        Receives the values of each patch. The patches are predicted in addition, unless they are
        the tiles of the image.
    class_probabilities : bool
        As for `PredictSettings`.

    Returns
    -------
    dict of str to ndarray
        Maps by name, each with the spatial shape of the image.

    Raises
    ------
    MemoryError
        The memory does not suffice for one patch.
    """
    shape, scaling = image.shape[:-1], normalizer.scaling(image)
    scored = False

    def plan(halvings: int) -> PredictSettings:
        settings = from_config.predict_settings(
            config,
            shape,
            augment=augment,
            memory=free_gpu_memory(predictor.device),
            halvings=halvings,
        )
        settings = replace(settings, class_probabilities=class_probabilities)
        if not whole:
            return settings
        multiple = from_config.tile_plan(config, from_config.model_settings(config)).multiple
        return replace(settings, plan=whole_plan(shape, multiple), batch_size=1)

    def predict(settings: PredictSettings) -> dict[str, npt.NDArray[Any]]:
        nonlocal scored
        scored = patches is not None and patches.are_tiles_of(settings.plan)
        add = patches.add if patches is not None and scored else None
        return dict(predictor.predict(image, scaling, settings, add))

    if whole:
        error = (
            f"TEST.FULL_IMG: not enough memory for {shape} pixels in one forward pass; set it to "
            "False"
        )
    else:
        error = ""
    maps = _predict_with_retries(plan, predict, error)
    if patches is not None and not scored:
        score_patches(config, predictor, normalizer, image, patches, augment=augment)
    if from_config.in_half(config, shape):
        release_memory()  # return the memory of the network before decoding
    return maps


def score_patches(
    config: Config,
    predictor: Predictor,
    normalizer: Normalizer,
    image: npt.NDArray[Any],
    patches: PatchScores,
    *,
    augment: bool | None = None,
) -> None:
    """Predict and score each patch of an image separately.

    The parameters are described in `predict_maps`.

    Raises
    ------
    MemoryError
        The memory does not suffice for one patch.
    """
    scaling = normalizer.scaling(image)
    cut = patch_reader(image, patches.patch, median=config.DATA.TEST.MEDIAN_PADDING)

    def plan(halvings: int) -> PredictSettings:
        return from_config.patch_prediction(config, augment=augment, halvings=halvings)

    def predict(settings: PredictSettings) -> None:
        predictor.predict_tiles(cut, iter(patches.tiles), scaling, settings, patches.add)

    _predict_with_retries(plan, predict)


def _predict_with_retries(
    plan: Callable[[int], PredictSettings],
    predict: Callable[[PredictSettings], Result],
    final_error: str = "",
) -> Result:
    """Predict with half as many pixels at once until they fit into memory.

    Parameters
    ----------
    plan : callable
        Return the settings for a number of halvings. Raises MemoryError if no tile is smaller.
    predict : callable
        Predict with these settings.
    final_error : str
        Message of the error to raise instead of a retry; empty to retry.
    """
    halvings = 0

    def halve(settings: PredictSettings, _: str) -> PredictSettings:
        nonlocal halvings
        if final_error:
            raise MemoryError(final_error)
        halvings += 1
        _log.warning(f"not enough memory for {_size(settings)} at once: continuing with half")
        return plan(halvings)

    return retry_with_less_memory(predict, plan(0), halve)


def _size(settings: PredictSettings) -> str:
    count = counted(settings.batch_size, "patch", "patches")
    return f"{count} of {shape_text(settings.plan.patch)} pixels"
