"""Where a data set keeps its images and labels: the usual layouts of folders and names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from singula.arguments import flag
from singula.errors import UserError
from singula.io.entries import broken_link, check_openable, is_broken_link, is_folder
from singula.io.formats import IMAGE_SUFFIXES, stem_of
from singula.io.image import ArrayPlace, ArrayPlaces
from singula.io.listing import is_image_file, list_images
from singula.io.pairs import Pair, pair_files, with_places
from singula.io.read import Notify
from singula.paths import user_path

PARTS = {
    "train": ("train", "training", "trainset", "train_set", "training_set"),
    "val": ("val", "valid", "validation", "dev", "val_set", "validation_set"),
    "test": ("test", "testing", "testset", "test_set", "eval", "evaluation"),
}
# Folders of images and of labels; earlier names win where there are several.
IMAGES = ("x", "raw", "raws", "images", "image", "imgs", "img", "inputs", "input", "frames", "data")
LABELS = (
    "y", "labels", "label", "masks", "mask", "instances", "instance", "gt", "ground_truth",
    "groundtruth", "annotations", "annotation", "targets", "target", "segmentations",
    "segmentation", "seg",
)  # fmt: skip
_LABEL_END = re.compile(
    r"[_\-. ](?:cp_masks?|masks?|labels?|lbl|gt|ground_?truth|seg|segmentation|instances?|y)$",
    re.IGNORECASE,
)
_IMAGE_END = re.compile(r"[_\-. ](?:images?|img|raw|x)$", re.IGNORECASE)
_TREE = """\
lay the files out as
     DATASET/train/x/*.tif   the images
     DATASET/train/y/*.tif   for each a label image of the same name: an id for each object
   (and val/, test/ likewise); raw + label, images + labels, images + masks work too, and so do
   files side by side such as cell1.tif + cell1_mask.tif"""


@dataclass(frozen=True)
class Folders:
    """Folders of training, validation or test data.

    Parameters
    ----------
    name : {'train', 'val', 'test'}
    images : Path
    labels : Path, optional
        Equal to `images` where names tell images from labels.
    places : ArrayPlaces, optional
        Where containers keep images and labels.
    by_order : bool
        Pair files in sorted order even if nothing in their names confirms it.
    """

    name: str
    images: Path
    labels: Path | None
    places: ArrayPlaces | None = None
    by_order: bool = False

    def pairs(self, notify: Notify | None = None) -> list[Pair]:
        """The images with their labels.

        Raises
        ------
        UserError
            As `singula.io.pairs.pair_files`.
        """
        if self.labels == self.images:
            return with_places(_flat_pairs(self.images), self.places)
        keys = f"the {self.name} images", f"the {self.name} labels"
        return pair_files(
            self.images, self.labels, *keys, notify, self.places, by_order=self.by_order
        )


def find_folders(
    root: Path | str, *, external_files: bool = False
) -> tuple[list[Folders], list[str]]:
    """Recognise how a data set is laid out.

    Parameters
    ----------
    root : Path or str
        Its folder.
    external_files : bool
        Image files may refer to files outside.

    Returns
    -------
    folders : list of Folders
        Training data first, then validation and test data where they are there.
    notes : list of str
        What was left out.

    Raises
    ------
    UserError
        No such folder, nothing in it, no labels, or a layout that is not known.
    """
    root = user_path(root, "root")
    external_files = flag(external_files, "external_files")
    _check_root(root)
    found = _parts(root) or _swapped(root) or _of_nnunet(root) or _single(root, "train")
    if not found:
        inner = _subfolders(root)
        known = {name for names in (*PARTS.values(), LABELS) for name in names}
        if len(inner) == 1 and inner[0].name.lower() not in known and not _files(root):
            return find_folders(inner[0], external_files=external_files)
        raise _unknown(root)
    found.sort(key=lambda part: list(PARTS).index(part.name))
    if found[0].name != "train":
        raise UserError(
            f"{root}: holds {' and '.join(part.name for part in found)} data, but nothing to train "
            "on",
            "name the folder of the training data 'train'",
        )
    if found[0].labels is None:
        raise UserError(f"{found[0].images}: images without labels", _TREE)
    if external_files:
        place = ArrayPlace(external_files=True)
        found = [replace(part, places=ArrayPlaces(place, place)) for part in found]
    return found, _left_out(root, found)


def _check_root(root: Path) -> None:
    check_openable(root)
    if not root.exists():
        raise UserError(f"{root}: no such folder", "give the folder of the data set")
    if not root.is_dir():
        raise UserError(f"{root}: is a file, not a folder", f"give the folder {root.parent}")


def _entries(folder: Path) -> list[Path]:
    """What is in a folder."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be read ({error.strerror})", "ask its owner for the right to read it"
        ) from error


def _subfolders(folder: Path) -> list[Path]:
    """List the folders in a folder, and broken links that may have led to a folder."""
    return [
        path
        for path in _entries(folder)
        if path.name[0] not in "._"
        and (is_folder(path) or (is_broken_link(path) and not path.suffix))
        and not is_image_file(path)
    ]


def _files(folder: Path) -> list[Path]:
    """Image files of a folder."""
    return [path for path in _entries(folder) if path.name[0] != "." and is_image_file(path)]


def _named(folder: Path, names: Sequence[str]) -> Path | None:
    inner = {path.name.lower().replace("-", "_").replace(" ", "_"): path
             for path in _subfolders(folder)}  # fmt: skip
    found = next((inner[name] for name in names if name in inner), None)
    if found is not None and is_broken_link(found):
        raise broken_link(found)
    return found


def _parts(root: Path) -> list[Folders]:
    """``train/x``, ``train/y`` and so on."""
    found = []
    for name, names in PARTS.items():
        folder = _named(root, names)
        if folder is not None:
            found += _single(folder, name)
    return found


def _swapped(root: Path) -> list[Folders]:
    """``images/train``, ``labels/train`` and so on."""
    images, labels = _named(root, IMAGES), _named(root, LABELS)
    if images is None or labels is None:
        return []
    found = []
    for name, names in PARTS.items():
        own = _named(images, names)
        if own is not None:
            found.append(Folders(name, own, _named(labels, names)))
    return found


def _of_nnunet(root: Path) -> list[Folders]:
    """``imagesTr``, ``labelsTr`` and so on."""
    found = []
    for name, end in (("train", "tr"), ("val", "val"), ("test", "ts")):
        images = _named(root, [f"images{end}"])
        if images is not None and _files(images):
            found.append(Folders(name, images, _named(root, [f"labels{end}"])))
    return found


def _single(folder: Path, name: str) -> list[Folders]:
    """Images and labels of one part: in two folders, side by side, or images alone."""
    images, labels = _named(folder, IMAGES), _named(folder, LABELS)
    if images is not None and _files(images):
        return [Folders(name, images, labels)]
    files = _files(folder)
    if files and labels is not None:
        return [Folders(name, folder, labels)]
    if files:
        return [Folders(name, folder, folder if _has_label_names(files) else None)]
    return []


def _has_label_names(files: Sequence[Path]) -> bool:
    return any(_LABEL_END.search(stem_of(path)) for path in files)


def _flat_pairs(folder: Path) -> list[Pair]:
    """``cell1.tif`` with ``cell1_mask.tif``."""
    files = list_images(folder, "the data set")
    labels: dict[str, Path] = {}
    images: dict[str, tuple[str, Path]] = {}
    for path in files:
        stem = stem_of(path)
        is_label = _LABEL_END.search(stem) is not None
        core = (_LABEL_END if is_label else _IMAGE_END).sub("", stem)
        twin = labels.get(core) if is_label else images.get(core, ("", None))[1]
        if twin is not None:
            raise UserError(
                f"{folder}: {twin.name} and {path.name} are both the "
                f"{'labels' if is_label else 'image'} {core}",
                "keep one of them, or rename one",
            )
        if is_label:
            labels[core] = path
        else:
            images[core] = (stem, path)
    if images.keys() != labels.keys():
        alone = [images[core][1].name for core in images if core not in labels]
        unused = [labels[core].name for core in labels if core not in images]
        said = [
            f"{what}: {', '.join(names[:10])}{' …' if len(names) > 10 else ''}"
            for what, names in (("without labels", alone), ("without image", unused))
            if names
        ]
        raise UserError(
            f"{folder}: images and labels side by side do not match; {'; '.join(said)}",
            "give every image its labels, named as the image with _mask at the end, or put images "
            "and labels in two folders x and y",
        )
    return [Pair(path, labels[core], stem) for core, (stem, path) in images.items()]


def _left_out(root: Path, found: Sequence[Folders]) -> list[str]:
    used = {part.images for part in found} | {part.labels for part in found if part.labels}
    spare = [
        f"{path.name} (a link whose target is missing)" if is_broken_link(path) else path.name
        for path in _subfolders(root)
        if path not in used and not any(path in folder.parents for folder in used)
    ]
    return [f"left out: {', '.join(spare)}"] if spare else []


def _unknown(root: Path) -> UserError:
    inner = [path.name for path in _subfolders(root)]
    if not inner and not _entries(root):
        return UserError(f"{root}: the folder is empty", _TREE)
    if not inner:
        return UserError(f"{root}: holds no image ({', '.join(IMAGE_SUFFIXES)})", _TREE)
    return UserError(
        f"{root}: no images and labels were found in its folders ({', '.join(inner[:8])})", _TREE
    )
