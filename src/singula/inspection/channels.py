"""Images whose channels are a file each, as nnU-Net and many microscopes leave them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from singula.errors import UserError
from singula.io.formats import stem_of
from singula.io.image import Image
from singula.io.pairs import label_cores
from singula.io.read import read_image

_SEPARATORS = "_-. "
Channels = dict[str, tuple[Path, ...]]


def channel_files(
    images: Sequence[Path], labels: Sequence[Path]
) -> tuple[Channels, dict[str, Path]]:
    """The files of each image, where every label image has several files of its name.

    Parameters
    ----------
    images, labels : sequence of Path

    Returns
    -------
    channels : dict of str to tuple of Path
        By the name that label and files share. ``cell_0000.tif`` and ``cell_0001.tif`` are the
        channels of ``cell.tif``, and so are ``cell_DAPI.tif`` and ``cell_GFP.tif``. Empty unless
        all images have the same endings.
    label_of : dict of str to Path
        Label image of each name.
    """
    for names in zip(*map(label_cores, labels), strict=True):
        channels = _grouped(images, names)
        if channels:
            return channels, dict(zip(names, labels, strict=True))
    return {}, {}


def more_channel_files(images: Sequence[Path], known: Channels) -> Channels:
    """The same of images without labels, with the endings that are known of others."""
    endings = endings_of(known)
    names = [stem_of(path) for path in images]
    stems = [name.removesuffix(end) for name in names for end in endings if name.endswith(end)]
    found = _grouped(images, stems)
    return found if endings_of(found) == endings else {}


def endings_of(channels: Channels) -> tuple[str, ...]:
    """What the names of an image's files add to its own, in order of the channels."""
    for name, files in channels.items():
        return tuple(stem_of(path).removeprefix(name) for path in files)
    return ()


def _grouped(images: Sequence[Path], stems: Iterable[str]) -> Channels:
    files: dict[str, dict[str, Path]] = {stem: {} for stem in stems}
    for path in images:
        name = stem_of(path)
        # The longest of "cell_1" and "cell_1_2": the rest of a name is what tells channels apart.
        cuts = (n for n in range(len(name) - 1, 0, -1) if name[n] in _SEPARATORS)
        stem = next((name[:n] for n in cuts if name[:n] in files), None)
        if stem is None:
            return {}
        files[stem][name.removeprefix(stem)] = path
    if not _all_alike(files):
        return {}
    return {stem: tuple(found.values()) for stem, found in files.items()}


def _all_alike(files: Mapping[str, Mapping[str, Path]]) -> bool:
    endings = {tuple(sorted(found)) for found in files.values()}
    return len(endings) == 1 and len(endings.pop()) > 1


def read_channels(files: Sequence[Path], ndim: int) -> Image:
    """One image of the channels in several files.

    Raises
    ------
    UserError
        A file that cannot be read, or has another size than the first.
    """
    found = [read_image(path, ndim) for path in files]
    for path, image in zip(files, found, strict=True):
        if image.spatial_shape != found[0].spatial_shape:
            raise UserError(
                f"{path}: is {image.spatial_shape}, {files[0].name} {found[0].spatial_shape}",
                "give channels of one size",
            )
    whole = np.concatenate([image.array for image in found], axis=-1)
    return Image(whole, found[0].spacing, found[0].unit)
