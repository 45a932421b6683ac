"""The data of a configuration, as the linter wants them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from singula.config import Config
from singula.inspection import Inspection, InspectSettings, inspect_dataset
from singula.stages.reading import n_classes
from singula.survey import Folders

Notify = Callable[[str], None]


def configured_folders(config: Config) -> list[Folders]:
    """The folders that the configuration trains, validates and tests on."""
    data, found = config.DATA, []
    if config.TRAIN.ENABLE:
        found.append(Folders("train", Path(data.TRAIN.PATH), Path(data.TRAIN.GT_PATH)))
        if not data.VAL.FROM_TRAIN:
            found.append(Folders("val", Path(data.VAL.PATH), Path(data.VAL.GT_PATH)))
    if config.TEST.ENABLE and not data.TEST.USE_VAL_AS_TEST:
        labels = Path(data.TEST.GT_PATH) if data.TEST.LOAD_GT else None
        found.append(Folders("test", Path(data.TEST.PATH), labels))
    return found


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
    )


def inspect_config(config: Config, *, notify: Notify | None = None) -> Inspection:
    """Check the data that a configuration names against it.

    Raises
    ------
    UserError
        A folder that does not exist or holds no image.
    """
    return inspect_dataset(configured_folders(config), inspect_settings(config), notify=notify)
