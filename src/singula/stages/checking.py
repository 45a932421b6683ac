"""The data of a configuration, as the linter wants them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from singula.config import Config
from singula.inspection import Inspection, InspectSettings, inspect_dataset
from singula.stages.data import replaced_sizes
from singula.stages.reading import n_classes, places_for, spacing
from singula.survey import Folders

Notify = Callable[[str], None]


def configured_folders(config: Config) -> list[Folders]:
    """The folders that the configuration trains, validates and tests on."""
    data, found = config.DATA, []
    if config.TRAIN.ENABLE:
        found.append(_folders(config, "TRAIN", labels=True))
        if not data.VAL.FROM_TRAIN:
            found.append(_folders(config, "VAL", labels=True))
    if config.TEST.ENABLE and not data.TEST.USE_VAL_AS_TEST:
        found.append(_folders(config, "TEST", labels=data.TEST.LOAD_GT))
    return found


def _folders(config: Config, part: str, *, labels: bool) -> Folders:
    keys, places = getattr(config.DATA, part), places_for(config, part)
    places = replace(places, together=places.together and labels)
    return Folders(
        part.lower(),
        Path(keys.PATH),
        Path(keys.GT_PATH) if labels else None,
        places,
        config.DATA.PAIR_BY_SORTED_ORDER,
    )


def inspect_settings(config: Config) -> InspectSettings:
    """What the configuration says of its data."""
    steps = config.DATA.PREPROCESS
    resized = steps.RESIZE.ENABLE and (steps.TRAIN or steps.VAL or steps.TEST)
    return InspectSettings(
        ndim=config.ndim,
        channels=config.in_channels,
        grey=config.DATA.FORCE_RGB,
        n_classes=n_classes(config) or None,
        # What is resized has other sizes than the files.
        patch=None if resized else config.patch,
        reflect=config.DATA.REFLECT_TO_COMPLETE_SHAPE,
        scored=config.TEST.EVALUATE,
        # A contour around the objects leaves all of them that do not touch, down to a pixel.
        smallest=1 if config.PROBLEM.INSTANCE_SEG.DATA_CONTOUR_MODE == "outer" else None,
        sized=tuple(
            part.lower()
            for part in ("TRAIN", "VAL", "TEST")
            if spacing(config, part, config.ndim) is not None
        ),
    )


def inspect_config(config: Config, *, notify: Notify | None = None) -> Inspection:
    """Check the data that a configuration names against it.

    Raises
    ------
    UserError
        A folder that does not exist or holds no image.
    """
    found = inspect_dataset(configured_folders(config), inspect_settings(config), notify=notify)
    replaced = [replaced_sizes(config, part.name.upper(), part.pairs) for part in found.parts]
    return replace(found, notes=(*found.notes, *(line for line in replaced if line is not None)))
