"""The maps of an image from a network, in as large tiles as memory allows."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy.typing as npt
import torch

from singula.config import Config
from singula.errors import is_out_of_memory
from singula.prediction import Predictor, PredictSettings, whole_plan
from singula.prediction.predict import patch_reader
from singula.runtime import release_memory
from singula.stages import settings as from_config
from singula.training.device import free_memory

if TYPE_CHECKING:
    from singula.data.normalize import Normalizer
    from singula.stages.patches import PatchScores

Notify = Callable[[str], None]
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
    notify: Notify,
) -> dict[str, npt.NDArray[Any]]:
    """Maps by name, each of the image's spatial shape.

    When memory runs out, half as many pixels go through the network at a time.

    Parameters
    ----------
    config : Config
    predictor, normalizer : Predictor, Normalizer
    image : ndarray
        (y, x, c) or (z, y, x, c).
    augment : bool, optional
        Average over mirrored and turned views; as configured by default.
    whole : bool
        The image in a single forward pass.
    patches : PatchScores, optional
        Receives the values of each patch. The patches are predicted in addition, unless they are
        the tiles of the image.
    notify : callable
        Told of smaller tiles.

    Raises
    ------
    MemoryError
        When not even one patch fits.
    """
    shape, scaling = image.shape[:-1], normalizer.scaling(image)
    scored = False

    def plan(halvings: int) -> PredictSettings:
        settings = from_config.predict_settings(
            config,
            shape,
            augment=augment,
            memory=free_memory(predictor.device),
            halvings=halvings,
        )
        if not whole:
            return settings
        multiple = from_config.tile_plan(config, from_config.model_settings(config)).multiple
        return replace(settings, plan=whole_plan(shape, multiple), batch_size=1)

    def predict(settings: PredictSettings) -> dict[str, npt.NDArray[Any]]:
        nonlocal scored
        scored = patches is not None and patches.are_tiles_of(settings.plan)
        add = patches.add if patches is not None and scored else None
        return dict(predictor.predict(image, scaling, settings, add))

    refusal = (
        f"TEST.FULL_IMG: not enough memory for {shape} pixels in one forward pass; set it to False"
    )
    settings, maps = _halving(predictor, plan, predict, notify, refusal if whole else "")
    if patches is not None and not scored:
        score_patches(config, predictor, normalizer, image, patches, augment=augment, notify=notify)
    if settings.half:
        release_memory()  # decoding has no use for what the network has taken
    return maps


def score_patches(
    config: Config,
    predictor: Predictor,
    normalizer: Normalizer,
    image: npt.NDArray[Any],
    patches: PatchScores,
    *,
    augment: bool | None = None,
    notify: Notify,
) -> None:
    """Predict and score each patch of an image by itself.

    Parameters are those of `predict_maps`.

    Raises
    ------
    MemoryError
        When not even one patch fits.
    """
    scaling = normalizer.scaling(image)
    cut = patch_reader(image, patches.patch, median=config.DATA.TEST.MEDIAN_PADDING)

    def plan(halvings: int) -> PredictSettings:
        return from_config.patch_prediction(config, augment=augment, halvings=halvings)

    def predict(settings: PredictSettings) -> None:
        predictor.predict_tiles(cut, iter(patches.tiles), scaling, settings, patches.add)

    _halving(predictor, plan, predict, notify)


def _halving(
    predictor: Predictor,
    plan: Callable[[int], PredictSettings],
    predict: Callable[[PredictSettings], Result],
    notify: Notify,
    refusal: str = "",
) -> tuple[PredictSettings, Result]:
    """Predict with half as many pixels at a time until they fit into memory.

    Parameters
    ----------
    plan : callable
        Returns the settings for a number of halvings; raises MemoryError if none is left.
    predict : callable
    refusal : str
        Message of the error to raise instead of trying again; empty to try again.
    """
    halvings = 0
    while True:
        settings = plan(halvings)
        try:
            return settings, predict(settings)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if refusal:
                raise MemoryError(refusal) from error
        # Outside of the handler, whose error holds on to all that the forward pass needed.
        halvings += 1
        gc.collect()
        if predictor.device.type == "cuda":
            torch.cuda.empty_cache()
        notify(f"not enough memory for {_size(settings)} at a time: going on with half")


def _size(settings: PredictSettings) -> str:
    sides = "×".join(map(str, settings.plan.patch))
    return f"{settings.batch_size} × {sides} pixels"
