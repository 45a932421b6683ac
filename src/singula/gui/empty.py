"""Find out why a run has no objects: maps of the network, and what to try next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.errors import UserError
from singula.gui.results import Results
from singula.gui.retune import SMALL, Retune
from singula.gui.tiles import thumbnail
from singula.report.overlay import encode_png, rescale
from singula.representations.channel_table import CHANNELS
from singula.representations.thresholds import THRESHOLDS
from singula.util.format import counted

Array = npt.NDArray[Any]
_SIDE, _MAX_MAPS, _MAX_PIXELS, _FEW_EPOCHS = 240, 6, 1 << 24, 30


@dataclass(frozen=True)
class Picture:
    """Picture of an image or of one map of the network.

    Parameters
    ----------
    title : str
        Description of the content.
    png : bytes
        The picture.
    """

    title: str
    png: bytes


@dataclass(frozen=True)
class EmptyRun:
    """Explanation of a run without objects.

    Parameters
    ----------
    image : str
        Name of the image in the pictures.
    pictures : list of Picture
        The image and the maps of the network; empty if the run did not store them.
    advice : list of str
        What to try next, the most likely remedy first.
    """

    image: str
    pictures: list[Picture]
    advice: list[str]


def has_no_objects(results: Results) -> bool:
    """Return True if the run tested images and found no object in any of them."""
    counts = results.run.test.instances
    return bool(counts) and not any(counts.values())


def explain_empty(results: Results) -> EmptyRun:
    """Return the maps of the first image, and what to try next.

    Parameters
    ----------
    results : Results
        Results of a run without objects.
    """
    run = results.run
    if not run.stages:
        return EmptyRun("", [], [*_general_advice(results)])
    stage = run.final_stage
    name = run.image_names(stage)[0]
    pictures: list[Picture] = []
    advice: list[str] = []
    try:
        retune = Retune(results, name, stage)
        advice = [*_threshold_advice(retune)]
        shape = next(iter(retune.maps.values())).shape
        raw = results.images.raw(name, stage, shape)
        pictures = [] if raw is None else [Picture("Your image", thumbnail(raw, None, _SIDE))]
        pictures += [_map_picture(code, values) for code, values in retune.maps.items()]
    except UserError:
        pass  # the maps were not stored or deleted; the general advice still holds
    return EmptyRun(name, pictures[: _MAX_MAPS + 1], [*advice, *_general_advice(results)])


def _map_picture(code: str, values: Array) -> Picture:
    """Return a gray picture of a map; probabilities range from black (0) to white (1)."""
    plane = values[values.shape[0] // 2] if values.ndim == 3 else values
    channel = CHANNELS.get(code)
    is_probability = channel is None or channel.kind == "binary"
    low, high = (0.0, 1.0) if is_probability else (float(plane.min()), float(plane.max()))
    gray = np.round(255 * np.clip(rescale(plane, low, max(high, low + 1e-6)), 0, 1))
    description = "" if channel is None else channel.describe.replace("instance", "object")
    title = f"{code}: {description}" if description else code
    text = f"{title} (at most {float(values.max()):.2f})"
    return Picture(text, encode_png(gray.astype(np.uint8), _SIDE))


def _threshold_advice(retune: Retune) -> Iterator[str]:
    values = {slider.key: slider.value for slider in retune.sliders}
    if int(np.prod(retune.maps[next(iter(retune.maps))].shape)) <= _MAX_PIXELS:
        count = retune.decode({**values, SMALL: 0}).count
        if count:
            yield (
                f"Objects below {values[SMALL]:g} pixels are removed. Without this limit, this "
                f"image has {counted(count, 'object')}: lower the minimum size on the page Tune."
            )
            return
    for slider in retune.sliders:
        threshold = THRESHOLDS.get(slider.key.removeprefix("DATA_MW_"))
        for code in () if threshold is None else threshold.channels:
            if code not in retune.maps or CHANNELS[code].inside != "high":
                continue
            largest = float(retune.maps[code].max())
            if largest <= slider.value:
                yield (
                    f"The network is not sure enough: {code} is at most {largest:.2f}, but only "
                    f"pixels above {slider.value:g} count ({slider.label}). Train longer, or lower "
                    "this threshold on the page Tune."
                )
                return


def _general_advice(results: Results) -> Iterator[str]:
    epochs = len(results.run.history)
    if 0 < epochs < _FEW_EPOCHS:
        yield f"The training was short ({counted(epochs, 'epoch')}): train longer."
    yield "Move the thresholds on the page Tune, or search for the best ones there."
    yield (
        "Compare these images with the training images: the same channel, brightness and size of "
        "the objects?"
    )
    if epochs:
        yield "Check your labels: do they outline the objects in the images with the same names?"
