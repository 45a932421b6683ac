"""The maps of an image from a network, in as large tiles as memory allows."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import torch

from singula.config import Config
from singula.prediction import Predictor, PredictSettings, whole_plan
from singula.runtime import release_memory
from singula.stages import settings as from_config
from singula.training.device import free_memory, is_out_of_memory

if TYPE_CHECKING:
    from singula.data.normalize import Normalizer

Notify = Callable[[str], None]


def predict_maps(
    config: Config,
    predictor: Predictor,
    normalizer: Normalizer,
    image: npt.NDArray[Any],
    *,
    augment: bool | None = None,
    whole: bool = False,
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
    notify : callable
        Told of smaller tiles.

    Raises
    ------
    MemoryError
        When not even one patch fits.
    """
    shape, scaling = image.shape[:-1], normalizer.scaling(image)
    halvings = 0
    while True:
        settings = from_config.predict_settings(
            config,
            shape,
            augment=augment,
            memory=free_memory(predictor.device),
            halvings=halvings,
        )
        if whole:
            multiple = from_config.tile_plan(config, from_config.model_settings(config)).multiple
            settings = replace(settings, plan=whole_plan(shape, multiple), batch_size=1)
        try:
            maps = predictor.predict(image, scaling, settings)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if whole:
                raise MemoryError(
                    f"TEST.FULL_IMG: not enough memory for {shape} pixels in one forward pass; "
                    "set it to False"
                ) from error
        else:
            if settings.half:
                release_memory()  # decoding has no use for what the network has taken
            return dict(maps)
        # Outside of the handler, whose error holds on to all that the forward pass needed.
        halvings += 1
        gc.collect()
        if predictor.device.type == "cuda":
            torch.cuda.empty_cache()
        notify(f"not enough memory for {_size(settings)} at a time: going on with half")


def _size(settings: PredictSettings) -> str:
    sides = "×".join(map(str, settings.plan.patch))
    return f"{settings.batch_size} × {sides} pixels"
