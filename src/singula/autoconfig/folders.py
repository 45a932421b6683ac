"""Choice of the folders for training, validation and test."""

from __future__ import annotations

import os
from pathlib import Path

from singula.autoconfig.setting import Choice
from singula.dataset.facts import PartFacts, Survey
from singula.util.format import counted
from singula.util.locations import is_remote

_VALIDATION_FRACTION = 0.1


def validation_fraction(survey: Survey) -> float:
    """Return the fraction of the training images that is used for validation.

    Whole images are used if there are at least two.
    """
    part = survey.part("train")
    if part is None or validation_part(survey) is not None:
        return 0.0
    count = len(part.pairs)
    if count < 2:
        return 0.2
    # One or two images are too few to choose the best epoch, so one more is used.
    n_images = max(1, round(_VALIDATION_FRACTION * count)) + (10 <= count < 30)
    return n_images / count


def validation_part(survey: Survey) -> PartFacts | None:
    """Return the validation data if they have labels, else None."""
    part = survey.part("val")
    return part if part is not None and part.label_dir is not None else None


def choose_train_folders(survey: Survey, stored: Path) -> list[Choice]:
    """Choose the folders of the training data and of the channels computed from its labels.

    Parameters
    ----------
    survey : Survey
        Measurements of the data set.
    stored : Path
        Folder for the channels.
    """
    part = survey.part("train")
    count = len(part.pairs) if part else 0
    return _folders(part, "TRAIN", stored, f"{counted(count, 'image')} with labels")


def _folders(part: PartFacts | None, name: str, stored: Path, why: str) -> list[Choice]:
    """Choose the folders of a part with labels; `name` is TRAIN, VAL or TEST."""
    if part is None or part.label_dir is None:
        return []
    folder = stored / name.lower()
    return [
        Choice(f"DATA.{name}.PATH", _path(part.image_dir), why),
        Choice(f"DATA.{name}.GT_PATH", _path(part.label_dir)),
        Choice(
            f"DATA.{name}.INSTANCE_CHANNELS_DIR",
            _path(folder / "x"),
            note="computed from the labels; the data folder is not changed",
        ),
        Choice(f"DATA.{name}.INSTANCE_CHANNELS_MASK_DIR", _path(folder / "y")),
    ]


def choose_val_folders(survey: Survey, stored: Path) -> list[Choice]:
    """Choose the validation images; see `choose_train_folders` for the parameters."""
    part, key = validation_part(survey), "DATA.VAL.FROM_TRAIN"
    if part is not None:
        return [
            Choice(key, False, "there are validation images"),
            *_folders(part, "VAL", stored, f"{counted(len(part.pairs), 'image')} with labels"),
        ]
    fraction, train = validation_fraction(survey), survey.part("train")
    count = len(train.pairs) if train else 0
    used = max(1, round(fraction * count))
    why = f"no validation images: {used} of {counted(count, 'training image')}"
    if count < 2:
        why = f"only one image: {fraction:.0%} of it is used for validation"
    return [Choice(key, True, why), Choice("DATA.VAL.SPLIT_TRAIN", round(fraction, 3))]


def choose_test_folders(survey: Survey, stored: Path) -> list[Choice]:
    """Choose the images of the test; see `choose_train_folders` for the parameters."""
    part, train = survey.part("test"), survey.part("train")
    load, use = "DATA.TEST.LOAD_GT", "DATA.TEST.USE_VAL_AS_TEST"
    if part is not None and part.label_dir is not None:
        return [
            Choice(load, True, "the test images have labels, so they are scored"),
            *_folders(part, "TEST", stored, counted(len(part.pairs), "image")),
        ]
    if part is not None:
        return [
            Choice(load, False, "the test images have no labels, so they are not scored"),
            Choice("TEST.EVALUATE", False),
            Choice("DATA.TEST.PATH", _path(part.image_dir), counted(len(part.pairs), "image")),
        ]
    if validation_part(survey) is not None or (train is not None and len(train.pairs) > 1):
        return [
            Choice(
                use,
                True,
                "no test images: validation images are scored; scores are slightly too high",
            ),
            Choice(load, True),
        ]
    folder = _path(train.image_dir) if train is not None else ""
    return [
        Choice(load, False, "no test images: the training image is predicted, not scored"),
        Choice("TEST.EVALUATE", False),
        Choice("DATA.TEST.PATH", folder),
    ]


def _path(path: Path) -> str:
    """Return an absolute path with forward slashes, without ``..``."""
    absolute = path.absolute()
    if is_remote(absolute):
        return absolute.as_posix()
    normal = Path(os.path.normpath(absolute))
    # Behind a link to a folder, ``..`` is another folder.
    return (normal if normal.resolve() == absolute.resolve() else absolute).as_posix()
