"""Basic settings of the form in plain words, and validation of the folders that they name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from singula.config import Config
from singula.errors import UserError
from singula.gui.form import Field, fields
from singula.gui.guard import Guard
from singula.pipeline.dataset import configured_folders


@dataclass(frozen=True)
class BasicSetting:
    """Setting that the form shows first.

    Parameters
    ----------
    key : str
        Dotted key.
    label : str
        Name in plain words.
    help : str
        Explanation in plain words.
    is_folder : bool
        The value is a folder of the data.
    """

    key: str
    label: str
    help: str
    is_folder: bool = False

    @property
    def field(self) -> Field:
        """Field of the key."""
        return next(item for item in fields() if item.name == self.key)


BASIC_SETTINGS: dict[str, tuple[BasicSetting, ...]] = {
    "Images": (
        BasicSetting(
            "DATA.TRAIN.PATH", "Training images", "Folder of the images to learn from.", True
        ),
        BasicSetting(
            "DATA.TRAIN.GT_PATH",
            "Labels of the training images",
            "Folder of the label images: in each, every object has its own number.",
            True,
        ),
        BasicSetting(
            "DATA.TEST.PATH", "Test images", "Folder of the images to segment afterwards.", True
        ),
        BasicSetting(
            "DATA.TEST.GT_PATH",
            "Labels of the test images",
            "Folder of their label images, to which the result is compared, if there are any.",
            True,
        ),
    ),
    "Training": (
        BasicSetting(
            "TRAIN.EPOCHS",
            "Passes over the training images",
            "More passes take longer; the best result is used.",
        ),
        BasicSetting(
            "TRAIN.PATIENCE",
            "Stop early after passes without progress",
            "Number of passes without improvement after which the training stops; -1: never.",
        ),
        BasicSetting(
            "DATA.PATCH_SIZE",
            "Size of the training sections",
            "Height, width and channels in pixels, for stacks with the depth first. A section "
            "should contain a whole object and its neighbors.",
        ),
        BasicSetting(
            "TRAIN.BATCH_SIZE",
            "Sections per step",
            "Smaller numbers need less memory.",
        ),
        BasicSetting(
            "AUGMENTOR.ENABLE",
            "Vary the training images",
            "Rotate, mirror and change images at random, so that fewer are needed.",
        ),
    ),
    "Objects and results": (
        BasicSetting(
            "PROBLEM.INSTANCE_SEG.DATA_REMOVE_SMALL_OBJ_BEFORE",
            "Smallest object (px)",
            "Smaller objects are removed as debris. In stacks, the number of voxels.",
        ),
        BasicSetting(
            "TEST.POST_PROCESSING.CLEAR_BORDER",
            "Leave out objects at the image border",
            "Objects that the border cuts have wrong sizes and shapes.",
        ),
        BasicSetting(
            "TEST.AUGMENTATION",
            "Thorough segmentation",
            "Average over flipped and rotated copies of each image: better, and 8 times as slow "
            "(stacks: 16 times).",
        ),
        BasicSetting(
            "TEST.POST_PROCESSING.MEASURE_PROPERTIES.ENABLE",
            "Measure the objects",
            "Write a table with area, position and shape of every object.",
        ),
    ),
}
"""Basic settings by heading."""


def folder_errors(config: Config, guard: Guard) -> dict[str, str]:
    """Return the errors of all folders of a configuration by dotted key.

    Parameters
    ----------
    config : Config
        Configuration of a run.
    guard : Guard
        Folders that the interface may open.
    """
    errors = {key: error.message for key, error in guard.config_errors(config).items()}
    for part in configured_folders(config):
        name = part.name.upper()
        for key, folder in (("PATH", part.images), ("GT_PATH", part.labels)):
            if folder is None:
                continue
            problem = _folder_problem(guard, folder)
            if problem:
                errors.setdefault(f"DATA.{name}.{key}", problem)
    return errors


def _folder_problem(guard: Guard, folder: Path) -> str:
    try:
        path = guard.check(folder)
    except UserError as error:
        return error.message
    if not path.exists():
        return f"{folder}: does not exist"
    if not path.is_dir():
        return f"{folder}: is not a folder"
    try:
        return "" if any(path.iterdir()) else f"{folder}: the folder is empty"
    except OSError as error:
        return f"{folder}: cannot be read ({error.strerror})"
