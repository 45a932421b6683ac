"""Images whose channels are a file each, as nnU-Net and many microscopes leave them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from singula.errors import UserError
from singula.io.formats import stem_of
from singula.io.image import ArrayPlace, Image
from singula.io.names import natural
from singula.io.pairs import label_cores
from singula.io.read import read_image

_SEPARATORS = "_-. "
Channels = dict[str, tuple[Path, ...]]


@dataclass(frozen=True)
class Apart:
    """Images whose channels are a file each.

    Parameters
    ----------
    endings : tuple of str
        What the names of an image's files add to its own, in order of the channels; empty where
        the images are not of this kind, and then so is everything else.
    complete, partial : dict of str to tuple of Path
        Files of the images with all channels, and of those without some of them, by name.
    extra : tuple of Path
        Further files of these images.
    others : tuple of Path
        Files of none of them.
    """

    endings: tuple[str, ...] = ()
    complete: Channels = field(default_factory=dict)
    partial: Channels = field(default_factory=dict)
    extra: tuple[Path, ...] = ()
    others: tuple[Path, ...] = ()

    def missing(self, name: str) -> list[str]:
        """Endings of which an image has no file."""
        there = {stem_of(path) for path in self.partial[name]}
        return [ending for ending in self.endings if name + ending not in there]


def channel_files(
    images: Sequence[Path], labels: Sequence[Path], known: tuple[str, ...] = ()
) -> tuple[Apart, dict[str, Path]]:
    """The files of each image, where most label images have several files of their name.

    Parameters
    ----------
    images, labels : sequence of Path
    known : tuple of str, optional
        Endings of other parts, which one of these labels with such a file confirms. Without them,
        those that more than half of the labels share, two at least.

    Returns
    -------
    apart : Apart
        ``cell_0000.tif`` and ``cell_0001.tif`` are the channels of ``cell.tif``, and so are
        ``cell_DAPI.tif`` and ``cell_GFP.tif``. Empty where most labels have an image of their
        very name.
    label_of : dict of str to Path
        Label image of each name.
    """
    stems = {stem_of(path) for path in images}
    cuts = list(zip(*map(label_cores, labels), strict=True))
    if any(2 * sum(name in stems for name in names) > len(names) for names in cuts):
        return Apart(), {}
    for names in cuts:
        if known:
            fit = any(name + ending in stems for name in names for ending in known)
            endings = known if fit else ()
        else:
            endings = _shared_endings(stems, set(names))
        if len(endings) > 1:
            return _grouped(images, endings, set(names)), dict(zip(names, labels, strict=True))
    return Apart(), {}


def more_channel_files(images: Sequence[Path], endings: tuple[str, ...]) -> Apart:
    """The same of images without labels, where most files have endings that are known of others."""
    fit = sum(stem_of(path).endswith(endings) for path in images)
    return _grouped(images, endings, ()) if 2 * fit > len(images) else Apart()


def _shared_endings(stems: Collection[str], names: set[str]) -> tuple[str, ...]:
    """What files add to more than half of the names, in natural order."""
    votes: Counter[str] = Counter()
    for stem in stems:
        # The longest of "cell_1" and "cell_1_2": the rest of a name is what tells channels apart.
        name = next((head for head in _heads(stem) if head in names), None)
        if name is not None:
            votes[stem.removeprefix(name)] += 1
    shared = [ending for ending, count in votes.items() if 2 * count > len(names)]
    return tuple(sorted(shared, key=natural))


def _heads(stem: str) -> list[str]:
    """What is before each separator, the longest first."""
    return [stem[:n] for n in range(len(stem) - 1, 0, -1) if stem[n] in _SEPARATORS]


def _grouped(images: Sequence[Path], endings: tuple[str, ...], names: Collection[str]) -> Apart:
    """Files by image and ending; `names` are those of labels."""
    files: dict[str, dict[str, Path]] = {}
    left: list[Path] = []
    for path in images:
        stem = stem_of(path)
        fit = sorted((end for end in endings if stem.endswith(end) and stem != end), key=len)
        # Of labels the longest name is meant; of images without, the longest ending.
        ending = next((end for end in fit if stem.removesuffix(end) in names), None)
        if ending is None and fit and stem not in names:
            ending = fit[-1]
        if ending is None or ending in files.get(stem.removesuffix(ending), ()):
            left.append(path)
        else:
            files.setdefault(stem.removesuffix(ending), {})[ending] = path
    extra = [path for path in left if _beside(stem_of(path), files, names)]
    complete: Channels = {}
    partial: Channels = {}
    for name, found in files.items():
        inside = complete if len(found) == len(endings) else partial
        inside[name] = tuple(found[ending] for ending in endings if ending in found)
    others = tuple(path for path in left if path not in set(extra))
    return Apart(endings, complete, partial, tuple(extra), others)


def _beside(stem: str, files: Collection[str], names: Collection[str]) -> bool:
    """Whether a file belongs to an image that has its channels already."""
    owner = next((head for head in _heads(stem) if head in files or head in names), None)
    return stem in files or (stem not in names and owner in files)


def read_channels(files: Sequence[Path], ndim: int, arrays: ArrayPlace | None = None) -> Image:
    """One image of the channels in several files.

    Raises
    ------
    UserError
        A file that cannot be read, or has another size than the first.
    """
    found = [read_image(path, ndim, arrays=arrays) for path in files]
    for path, image in zip(files, found, strict=True):
        if image.spatial_shape != found[0].spatial_shape:
            raise UserError(
                f"{path}: is {image.spatial_shape}, {files[0].name} {found[0].spatial_shape}",
                "give channels of one size",
            )
    whole = np.concatenate([image.array for image in found], axis=-1)
    return Image(whole, found[0].spacing, found[0].unit)
