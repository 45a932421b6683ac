"""Detection of images with one file per channel, as nnU-Net and many microscopes write them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from singula.errors import UserError
from singula.io.formats.table import stem_of
from singula.io.image import ArrayPlace, Image
from singula.io.names import natural
from singula.io.pairing import label_cores
from singula.io.read import read_image

_SEPARATORS = "_-. "
Channels = dict[str, tuple[Path, ...]]


@dataclass(frozen=True)
class ChannelFiles:
    """Images with one file per channel.

    Parameters
    ----------
    endings : tuple of str
        Endings of the file names in the order of the channels, such as ``_DAPI``. If they are
        empty, channels are not in separate files, and all other fields are empty.
    complete : dict of str to tuple of Path
        Files of the images with all channels, by name of the image.
    partial : dict of str to tuple of Path
        Files of the images with missing channels, by name of the image.
    extra : tuple of Path
        Additional files of these images.
    others : tuple of Path
        Files that do not belong to these images.
    """

    endings: tuple[str, ...] = ()
    complete: Channels = field(default_factory=dict)
    partial: Channels = field(default_factory=dict)
    extra: tuple[Path, ...] = ()
    others: tuple[Path, ...] = ()

    def missing(self, name: str) -> list[str]:
        """Return the endings of the missing files of an image in `partial`."""
        stems = {stem_of(path) for path in self.partial[name]}
        return [ending for ending in self.endings if name + ending not in stems]


def channel_files(
    images: Sequence[Path], labels: Sequence[Path], train_endings: tuple[str, ...] = ()
) -> tuple[ChannelFiles, dict[str, Path]]:
    """Detect the channel files of each image by the names of the labels.

    For example, ``cell_DAPI.tif`` and ``cell_GFP.tif`` are the channels of the image with the
    labels ``cell.tif``.

    Parameters
    ----------
    images, labels : sequence of Path
        Files of a part.
    train_endings : tuple of str, optional
        Endings in the training data; they are used if one label has a file with such an ending.
        By default, endings that more than half of the labels share are used, at least two.

    Returns
    -------
    channels : ChannelFiles
        Files of each image; empty if most labels have an image of the same name.
    label_of : dict of str to Path
        Label image of each name.
    """
    stems = {stem_of(path) for path in images}
    cuts = list(zip(*map(label_cores, labels), strict=True))
    if any(2 * sum(name in stems for name in names) > len(names) for names in cuts):
        return ChannelFiles(), {}
    for names in cuts:
        if train_endings:
            is_used = any(name + ending in stems for name in names for ending in train_endings)
            endings = train_endings if is_used else ()
        else:
            endings = _shared_endings(stems, set(names))
        if len(endings) > 1:
            return _grouped(images, endings, set(names)), dict(zip(names, labels, strict=True))
    return ChannelFiles(), {}


def more_channel_files(images: Sequence[Path], endings: tuple[str, ...]) -> ChannelFiles:
    """Detect the channel files of images without labels, if most have known endings.

    Parameters
    ----------
    images : sequence of Path
        Images of a part.
    endings : tuple of str
        Endings of the channel files of another part.
    """
    n_matches = sum(stem_of(path).endswith(endings) for path in images)
    return _grouped(images, endings, ()) if 2 * n_matches > len(images) else ChannelFiles()


def _shared_endings(stems: Collection[str], names: set[str]) -> tuple[str, ...]:
    """Return endings of files that more than half of the names have, in natural order."""
    votes: Counter[str] = Counter()
    for stem in stems:
        # Of "cell_1" and "cell_1_2" the longest name is used; the rest distinguishes channels.
        name = next((head for head in _heads(stem) if head in names), None)
        if name is not None:
            votes[stem.removeprefix(name)] += 1
    shared = [ending for ending, count in votes.items() if 2 * count > len(names)]
    return tuple(sorted(shared, key=natural))


def _heads(stem: str) -> list[str]:
    """Return the part of a name before each separator, the longest first."""
    return [stem[:n] for n in range(len(stem) - 1, 0, -1) if stem[n] in _SEPARATORS]


def _grouped(
    images: Sequence[Path], endings: tuple[str, ...], names: Collection[str]
) -> ChannelFiles:
    """Group files by image and ending; `names` are the names of the labels."""
    files: dict[str, dict[str, Path]] = {}
    unmatched: list[Path] = []
    for path in images:
        stem = stem_of(path)
        matches = sorted((end for end in endings if stem.endswith(end) and stem != end), key=len)
        # Images with labels use the longest name; images without labels, the longest ending.
        ending = next((end for end in matches if stem.removesuffix(end) in names), None)
        if ending is None and matches and stem not in names:
            ending = matches[-1]
        if ending is None or ending in files.get(stem.removesuffix(ending), ()):
            unmatched.append(path)
        else:
            files.setdefault(stem.removesuffix(ending), {})[ending] = path
    extra = [path for path in unmatched if _is_extra(stem_of(path), files, names)]
    complete: Channels = {}
    partial: Channels = {}
    for name, by_ending in files.items():
        group = complete if len(by_ending) == len(endings) else partial
        group[name] = tuple(by_ending[ending] for ending in endings if ending in by_ending)
    others = tuple(path for path in unmatched if path not in set(extra))
    return ChannelFiles(endings, complete, partial, tuple(extra), others)


def _is_extra(stem: str, files: Collection[str], names: Collection[str]) -> bool:
    """Return True if a file belongs to an image that already has all of its channels."""
    owner = next((head for head in _heads(stem) if head in files or head in names), None)
    return stem in files or (stem not in names and owner in files)


def read_channels(files: Sequence[Path], ndim: int, arrays: ArrayPlace | None = None) -> Image:
    """Read an image from one file per channel.

    Parameters
    ----------
    files : sequence of Path
        Files in the order of the channels.
    ndim : {2, 3}
        Number of spatial dimensions.
    arrays : ArrayPlace, optional
        Array in container files.

    Raises
    ------
    UserError
        ``data.channel_shape``: the files have different sizes. Also if a file cannot be read.
    """
    images = [read_image(path, ndim, arrays=arrays) for path in files]
    for path, image in zip(files, images, strict=True):
        if image.spatial_shape != images[0].spatial_shape:
            raise UserError(
                f"{path}: got shape {image.spatial_shape}, expected {images[0].spatial_shape} "
                f"as of {files[0].name}",
                "give all channels of an image the same size",
                "data.channel_shape",
            )
    array = np.concatenate([image.array for image in images], axis=-1)
    return Image(array, images[0].spacing, images[0].unit)
