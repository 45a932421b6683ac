"""Tuning of the thresholds of an ensemble, on images that its models were not trained on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from singula.config import Config
from singula.data.preprocess import Reference
from singula.io.image import Image
from singula.io.pairing import Pair
from singula.pipeline import from_config
from singula.pipeline.ensemble import Member, common_config, ensemble_members
from singula.pipeline.map_cache import StoredMaps
from singula.pipeline.postprocess import PostSettings, filter_maps, post_settings
from singula.pipeline.readers import Reader, reader_for
from singula.pipeline.thresholds import apply_tuned
from singula.prediction.ensemble import CLASSES, mean_maps
from singula.tuning.images import (
    MAX_TRAINING,
    LabeledImage,
    labeled_image,
    training_part,
    validation_part,
)
from singula.tuning.results import TuneResult, make_tuner, search_thresholds
from singula.tuning.trial import Example
from singula.tuning.validation import Run, add_training, image_weights, predict_missing
from singula.util.boxes import evenly_spaced
from singula.util.format import counted

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)
Array = npt.NDArray[Any]
_Key = tuple[Path, str]
FOLDER = "ensemble"
"""Name of the folder with the results, in the folder ``tuning`` of the first run."""


@dataclass(frozen=True)
class _Shared:
    """Image that is predicted by some of the models.

    Parameters
    ----------
    name : str
        Unique name.
    pair : Pair
        Files.
    cut : Config, optional
        Configuration by which the image is divided; None for the whole image.
    models : tuple of int
        Models that predict it.
    training : bool
        All models were trained on it.
    """

    name: str
    pair: Pair
    cut: Config | None
    models: tuple[int, ...]
    training: bool = False

    def open(self, reader: Reader) -> LabeledImage:
        """Return the image, read by the reader of a model."""
        return replace(
            labeled_image(self.pair, reader, self.cut, training=self.training), name=self.name
        )


def tune_ensemble(
    runs: Sequence[Run], metric: str, iou: float, device: torch.device
) -> tuple[TuneResult, list[Member]]:
    """Search the thresholds for the mean of the maps of several runs.

    The map of an image is the mean over the models that were not trained on it: one model for the
    folds of a cross-validation, and all models if they have the same validation images.

    Parameters
    ----------
    runs : sequence of Run
        Runs from `find_run`; the results are written to the folder of the first.
    metric, iou
        As for `singula.tune`.
    device : torch.device
        Device on which missing maps are predicted.

    Returns
    -------
    result : TuneResult
        Thresholds and scores.
    members : list of Member
        Models of the ensemble.

    Raises
    ------
    UserError
        ``ensemble.mismatch``: the models cannot be averaged; or images are missing.
    """
    members = ensemble_members([_member(run) for run in runs])
    config, _ = common_config(members)
    by_file = {run.checkpoint.path: run for run in runs}
    ordered = [by_file[member.checkpoint.path] for member in members]
    examples, post = _examples(ordered, config, device)
    tuner = make_tuner(examples, post, config, metric, iou)
    return search_thresholds(tuner, config, runs[0].tree.tuning / FOLDER), members


def _member(run: Run) -> Member:
    config, _ = apply_tuned(run.config, run.checkpoint.description, always=True)
    return Member(config, run.checkpoint)


def _key(pair: Pair) -> _Key:
    return pair.image.resolve(), pair.name


def _shared_images(runs: Sequence[Run]) -> tuple[list[_Shared], list[_Shared]]:
    """Return the validation images of all runs, and images that all runs were trained on."""
    validation = [validation_part(run.config) for run in runs]
    training = [training_part(run.config) for run in runs]
    cuts = [{_key(pair): cut for pair in pairs} for pairs, cut in validation]
    trained = [{_key(pair) for pair in pairs} for pairs, _ in training]
    images: dict[_Key, _Shared] = {}
    for pairs, cut in validation:
        for pair in pairs:
            key = _key(pair)
            if key in images:
                continue
            models = tuple(
                number
                for number in range(len(runs))
                if (key in cuts[number] and _same_cut(cuts[number][key], cut))
                or (key not in cuts[number] and key not in trained[number])
            )
            if models:
                images[key] = _Shared(_free_name(pair.name, images), pair, cut, models)
    pairs, cut = training[0]
    selected = [p for p in pairs if all(_key(p) in keys for keys in trained)]
    added = [
        _Shared(f"{p.name}_training", p, cut, tuple(range(len(runs))), training=True)
        for p in selected
        if _key(p) not in images or cut is not None
    ]
    return list(images.values()), added


def _same_cut(first: Config | None, other: Config | None) -> bool:
    """Return True if two runs divide an image at the same place."""
    if first is None or other is None:
        return first is other
    keys = ("DATA.VAL.SPLIT_TRAIN", "DATA.PATCH_SIZE", "DATA.REFLECT_TO_COMPLETE_SHAPE")
    a, b = first.dotted(), other.dotted()
    return all(a[key] == b[key] for key in keys)


def _free_name(name: str, images: Mapping[_Key, _Shared]) -> str:
    """Return the name, with a number if another image has it."""
    names = {image.name for image in images.values()}
    free, number = name, 2
    while free in names:
        free, number = f"{name}_{number}", number + 1
    return free


def _examples(
    runs: Sequence[Run], config: Config, device: torch.device
) -> tuple[list[Example], PostSettings]:
    """Return the images with the mean of their maps, and predict missing maps."""
    readers = [_reader(run) for run in runs]
    shared, candidates = _shared_images(runs)
    counts = sorted({len(image.models) for image in shared})
    _log.info(
        f"{counted(len(shared), 'image')} of {counted(len(runs), 'validation set')}: each has the "
        f"mean map of the {' or '.join(map(str, counts))} of {len(runs)} models that were not "
        "trained on it"
    )
    opened = [image.open(readers[0]) for image in shared]
    extra = [candidates[n] for n in evenly_spaced(len(candidates), MAX_TRAINING)]
    used, added = add_training(opened, lambda: [image.open(readers[0]) for image in extra])
    weights = image_weights(used, added)
    names = {image.name for image in used}
    images = [image for image in (*shared, *extra) if image.name in names]
    stores: list[StoredMaps] = []
    shapes: dict[str, Image] = {}
    for number, run in enumerate(runs):
        stores.append(_stored(run))
        images_of_run = [image.open(readers[number]) for image in images if number in image.models]
        shapes |= predict_missing(run, images_of_run, stores[number], device)
    post = replace(post_settings(config), masks=None, measure=False)
    sizes = from_config.spacing(config, "TEST")

    def example(image: _Shared) -> Example:
        first, empty = image.open(readers[image.models[0]]), shapes[image.name]

        def read_maps(number: int) -> dict[str, Array]:
            maps = stores[number].read(image.name, "per_image", empty)
            return {name: values for name, values in maps.items() if name != CLASSES}

        def read() -> tuple[Mapping[str, Array], Array]:
            maps = mean_maps(partial(read_maps, number) for number in image.models)
            return filter_maps(maps, post, None), first.read()[1]

        return Example(
            image.name,
            empty.spatial_shape,
            read,
            spacing=from_config.decoding_spacing(config, sizes),
            sizes=sizes or empty.spacing,
            weight=weights[image.training],
            training=image.training,
        )

    return [example(image) for image in images], post


def _reader(run: Run) -> Reader:
    stored = run.checkpoint.description.get("reference")
    return reader_for(run.config, "TEST", Reference.from_dict(stored) if stored else None)


def _stored(run: Run) -> StoredMaps:
    return StoredMaps(run.config, run.tree, run.checkpoint.fingerprint, run.tree.tuning / "maps")
