"""Detection of the folders of images and labels in a data set."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from singula.errors import UserError
from singula.io.entries import broken_link, check_openable, is_broken_link, is_folder
from singula.io.formats.table import IMAGE_SUFFIXES, stem_of
from singula.io.image import ArrayPlace, ArrayPlaces
from singula.io.list_images import is_image_file, list_images
from singula.io.names import LABEL_WORDS
from singula.io.pairing import Pair, pair_files, with_places
from singula.util.arguments import flag, text
from singula.util.locations import is_remote
from singula.util.paths import user_path
from singula.util.store_errors import can_list, missing_url

PARTS = {
    "train": ("train", "training", "trainset", "train_set", "training_set"),
    "val": ("val", "valid", "validation", "dev", "val_set", "validation_set"),
    "test": ("test", "testing", "testset", "test_set", "eval", "evaluation"),
}
# Folders of images and of labels; the first name in the list is used if there are several.
IMAGES = ("x", "raw", "raws", "images", "image", "imgs", "img", "inputs", "input", "frames", "data")
LABELS = (
    "y", "labels", "label", "masks", "mask", "instances", "instance", "gt", "ground_truth",
    "groundtruth", "annotations", "annotation", "targets", "target", "segmentations",
    "segmentation", "seg",
)  # fmt: skip
_LABEL_END = re.compile(rf"[_\-. ](?:{LABEL_WORDS}|y)$", re.IGNORECASE)
_IMAGE_END = re.compile(r"[_\-. ](?:images?|img|raw|x)$", re.IGNORECASE)
_TREE = """\
arrange the files as
     DATASET/train/x/*.tif   images
     DATASET/train/y/*.tif   for each image, labels of the same name: one id per object
   (and val/, test/ in the same way); raw + label, images + labels, images + masks also work, and
   files in one folder such as cell1.tif + cell1_mask.tif"""


@dataclass(frozen=True)
class Folders:
    """Folders of training, validation or test data.

    Parameters
    ----------
    name : {'train', 'val', 'test'}
        Name of the part.
    images : Path
        Folder of the images.
    labels : Path, optional
        Folder of the labels; equal to `images` if file names distinguish images and labels.
    places : ArrayPlaces, optional
        Arrays of images and labels in container files.
    by_order : bool
        Pair files in sorted order even if nothing in their names confirms it.
    masks : str
        Folder of the masks of pixels that are not annotated; empty for none.
    """

    name: str
    images: Path
    labels: Path | None
    places: ArrayPlaces | None = None
    by_order: bool = False
    masks: str = ""

    def pairs(self) -> list[Pair]:
        """Return the images with their labels.

        Raises
        ------
        UserError
            As `singula.io.pairing.pair_files`.
        """
        if self.labels == self.images:
            return with_places(_flat_pairs(self.images), self.places)
        keys = f"the {self.name} images", f"the {self.name} labels"
        return pair_files(self.images, self.labels, *keys, self.places, by_order=self.by_order)


def find_folders(
    root: Path | str, *, external_files: bool = False, channel: str = ""
) -> tuple[list[Folders], list[str]]:
    """Detect the folders of images and labels of a data set.

    Parameters
    ----------
    root : Path or str
        Folder of the data set.
    external_files : bool
        Allow image files that refer to other files.
    channel : str
        Name or number of the channel of images; empty for all.

    Returns
    -------
    folders : list of Folders
        Training data, then validation and test data if there are any.
    notes : list of str
        Notes for the user on folders that were left out.

    Raises
    ------
    UserError
        The folder does not exist or is empty, has no training data or labels, or has an unknown
        layout.
    """
    root = user_path(root, "root")
    external_files = flag(external_files, "external_files")
    channel = text(channel, "channel")
    _check_root(root)
    folders = _parts(root) or _swapped(root) or _nnunet(root) or _single(root, "train")
    if not folders:
        inner = _subfolders(root)
        layout_names = {name for names in (*PARTS.values(), LABELS) for name in names}
        if len(inner) == 1 and inner[0].name.lower() not in layout_names and not _files(root):
            return find_folders(inner[0], external_files=external_files, channel=channel)
        raise _unknown_layout(root)
    folders.sort(key=lambda part: list(PARTS).index(part.name))
    if folders[0].name != "train":
        raise UserError(
            f"{root}: got {' and '.join(part.name for part in folders)} data, but no training data",
            "name the folder of the training data 'train'",
            "data.no_training_data",
        )
    if folders[0].labels is None:
        raise UserError(f"{folders[0].images}: images without labels", _TREE, "data.no_labels")
    if external_files or channel:
        image = ArrayPlace(external_files=external_files, channel=channel)
        places = ArrayPlaces(image, replace(image, channel=""))
        folders = [replace(part, places=places) for part in folders]
    return folders, _left_out(root, folders)


def _check_root(root: Path) -> None:
    if is_remote(root) and not can_list(str(root)):
        raise UserError(
            f"{root}: got a URL of a web server, which lists no files, expected a folder",
            "copy the data set to S3 or to this computer, and give its folder",
            "stores.no_listing",
        )
    check_openable(root)
    if not root.exists():
        if is_remote(root):
            raise missing_url(root)
        raise UserError(
            f"{root}: no such folder", "give the folder of the data set", "io.no_such_folder"
        )
    if not root.is_dir():
        raise UserError(
            f"{root}: is a file, not a folder", f"give the folder {root.parent}", "io.not_a_folder"
        )
    if is_image_file(root):
        raise UserError(
            f"{root}: is an image, expected the folder of a data set", _TREE, "data.no_dataset"
        )


def _entries(folder: Path) -> list[Path]:
    """Return the paths in a folder, sorted."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be read ({error.strerror})",
            "ask the owner of the folder for permission to read it",
            "io.unreadable_folder",
        ) from error


def _subfolders(folder: Path) -> list[Path]:
    """Return the subfolders of a folder, and broken links that may have pointed to a folder."""
    return [
        path
        for path in _entries(folder)
        if path.name[0] not in "._"
        and (is_folder(path) or (is_broken_link(path) and not path.suffix))
        and not is_image_file(path)
    ]


def _files(folder: Path) -> list[Path]:
    """Return the image files of a folder."""
    return [path for path in _entries(folder) if path.name[0] != "." and is_image_file(path)]


def _named(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the subfolder with the first of some names, or None."""
    inner = {path.name.lower().replace("-", "_").replace(" ", "_"): path
             for path in _subfolders(folder)}  # fmt: skip
    subfolder = next((inner[name] for name in names if name in inner), None)
    if subfolder is not None and is_broken_link(subfolder):
        raise broken_link(subfolder)
    return subfolder


def _parts(root: Path) -> list[Folders]:
    """Return the parts of the layout ``train/x``, ``train/y``."""
    parts = []
    for name, names in PARTS.items():
        folder = _named(root, names)
        if folder is not None:
            parts += _single(folder, name)
    return parts


def _swapped(root: Path) -> list[Folders]:
    """Return the parts of the layout ``images/train``, ``labels/train``."""
    images, labels = _named(root, IMAGES), _named(root, LABELS)
    if images is None or labels is None:
        return []
    parts = []
    for name, names in PARTS.items():
        folder = _named(images, names)
        if folder is not None:
            parts.append(Folders(name, folder, _named(labels, names)))
    return parts


def _nnunet(root: Path) -> list[Folders]:
    """Return the parts of the layout of nnU-Net, ``imagesTr``, ``labelsTr``."""
    parts = []
    for name, end in (("train", "tr"), ("val", "val"), ("test", "ts")):
        images = _named(root, [f"images{end}"])
        if images is not None and _files(images):
            parts.append(Folders(name, images, _named(root, [f"labels{end}"])))
    return parts


def _single(folder: Path, name: str) -> list[Folders]:
    """Return images and labels of one part: in two folders, in one folder, or images only."""
    images, labels = _named(folder, IMAGES), _named(folder, LABELS)
    if images is not None and _files(images):
        return [Folders(name, images, labels)]
    files = _files(folder)
    if files and labels is not None:
        return [Folders(name, folder, labels)]
    if files:
        return [Folders(name, folder, folder if split_flat(files)[1] else None)]
    return []


def split_flat(files: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return the images and the labels of one folder, such as ``cell1.tif``, ``cell1_mask.tif``."""
    labels = [path for path in files if _LABEL_END.search(stem_of(path))]
    return [path for path in files if path not in set(labels)], labels


def match_flat(
    images: Sequence[Path], labels: Sequence[Path]
) -> tuple[list[Pair], list[Path], list[Path]]:
    """Pair the files of `split_flat`, and return the pairs and the unpaired images and labels."""
    label_of = {_LABEL_END.sub("", stem_of(path)): path for path in reversed(labels)}
    pairs, unpaired = [], []
    for path in images:
        label = label_of.pop(_IMAGE_END.sub("", stem_of(path)), None)
        if label is None:
            unpaired.append(path)
        else:
            pairs.append(Pair(path, label, stem_of(path)))
    used = {pair.label for pair in pairs}
    return pairs, unpaired, [path for path in labels if path not in used]


def _flat_pairs(folder: Path) -> list[Pair]:
    """Pair the files of one folder."""
    pairs, *unpaired = match_flat(*split_flat(list_images(folder, "the data set")))
    texts = [
        f"{problem}: {', '.join(path.name for path in paths[:10])}{' …' * (len(paths) > 10)}"
        for problem, paths in zip(("without labels", "without image"), unpaired, strict=True)
        if paths
    ]
    if texts:
        raise UserError(
            f"{folder}: images and labels in one folder do not match; {'; '.join(texts)}",
            "add labels for every image, with the name of the image and _mask at the end, or put "
            "images and labels in two folders x and y",
            "data.unpaired_files",
        )
    return pairs


def _left_out(root: Path, folders: Sequence[Folders]) -> list[str]:
    """Return a note on the subfolders that are not used."""
    used = {part.images for part in folders} | {part.labels for part in folders if part.labels}
    unused = [
        f"{path.name} (a link whose target is missing)" if is_broken_link(path) else path.name
        for path in _subfolders(root)
        if path not in used and not any(path in folder.parents for folder in used)
    ]
    return [f"left out: {', '.join(unused)}"] if unused else []


def _unknown_layout(root: Path) -> UserError:
    inner = [path.name for path in _subfolders(root)]
    if not inner and not _entries(root):
        return UserError(f"{root}: the folder is empty", _TREE, "data.empty_folder")
    if not inner:
        return UserError(
            f"{root}: contains no image ({', '.join(IMAGE_SUFFIXES)})", _TREE, "data.no_images"
        )
    return UserError(
        f"{root}: no images and labels were found in its folders ({', '.join(inner[:8])})",
        _TREE,
        "data.unknown_layout",
    )
