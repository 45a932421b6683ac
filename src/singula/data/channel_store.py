"""Storage of channels next to the data of the user, updated if labels or settings change."""

from __future__ import annotations

import filecmp
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from singula.data.owned_folder import SharedFolder, identity, stamp_of
from singula.errors import UserError
from singula.io.atomic import atomic_path, is_protected
from singula.io.entries import reader_path
from singula.io.read import read_image
from singula.io.records.results import ChannelFile
from singula.io.run_lock import hold, lock_file
from singula.io.write import write_tiff
from singula.representations.channel_table import CHANNELS
from singula.representations.channels.encode import encode_with
from singula.representations.channels.source import ChannelArray, EncodeSettings
from singula.util.arguments import instance, text
from singula.util.locations import is_remote, location
from singula.util.slurm import record_progress

__all__ = ["ChannelStore"]
Stamp = list[int] | None
# Part of every fingerprint: increase it if `encode` returns other values for the same labels.
FORMAT_VERSION = 3


class ChannelStore:
    """Channels of a folder of label images, one TIFF per image, and links to the raw images.

    A stored file is used again only if the pixels of its label image and the settings are
    unchanged. Files of the user are never replaced: for these images, a subfolder named after the
    settings is used. Leave the ``with`` block, or call `save`, at the end.

    Several processes can use one folder. A process holds the lock of the folder while it writes,
    and detects files that another process replaced.

    Parameters
    ----------
    image_dir, mask_dir : Path
        Folders for the images (links where possible) and for the channels.
    settings : EncodeSettings
        Settings of the encoding.
    image_key, mask_key : str
        Configuration keys of the two folders, for messages.
    variant : str
        Description of changes to the labels after reading; part of the fingerprint.
    fallback : Path, optional
        Folder for both if permissions or a read-only file system prevent writing.

    Raises
    ------
    TypeError, UserError
        An argument has a wrong type; ``channels.one_folder``: both folders are the same.
    """

    def __init__(
        self,
        image_dir: Path,
        mask_dir: Path,
        settings: EncodeSettings,
        *,
        image_key: str = "INSTANCE_CHANNELS_DIR",
        mask_key: str = "INSTANCE_CHANNELS_MASK_DIR",
        variant: str = "",
        fallback: Path | None = None,
    ) -> None:
        image_dir, mask_dir = reader_path(image_dir, "image_dir"), reader_path(mask_dir, "mask_dir")
        image_key, mask_key = text(image_key, "image_key"), text(mask_key, "mask_key")
        if image_dir.resolve() == mask_dir.resolve():
            raise UserError(
                f"{image_key} and {mask_key}: got the same folder {mask_dir}, expected two folders",
                "use two folders",
                "channels.one_folder",
            )
        self.settings = instance(settings, "settings", EncodeSettings)
        self.variant = text(variant, "variant")
        spare = f"singula_{self._fingerprint('')[:12]}"
        fallback = None if fallback is None else reader_path(fallback, "fallback")
        other = (fallback / "x", fallback / "y") if fallback is not None else (None, None)
        self._images = SharedFolder(image_dir, image_key, spare, other[0])
        self._masks = SharedFolder(mask_dir, mask_key, spare, other[1])
        self._ready: dict[str, tuple[Path, int, Stamp]] = {}

    def __enter__(self) -> ChannelStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.save()

    def save(self) -> None:
        """Write the manifests.

        If a run is killed before, its unrecorded files are identified by their pixels later.
        """
        self._images.save()
        self._masks.save()

    def ensure(
        self,
        name: str,
        image_path: Path,
        read_label: Callable[[], NDArray[Any]],
        label_path: Path,
        *others: Path | None,
    ) -> Path:
        """Store the channels of an image if they are missing or outdated.

        Parameters
        ----------
        name : str
            Name of the stored file, without suffix.
        image_path : Path
            Raw image, which is linked into the image folder.
        read_label : callable
            Returns the ids, (y, x) or (z, y, x); called only if the label file may have changed.
        label_path : Path
            Label file.
        *others : Path, optional
            Other files that determine the ids: the mask of the pixels that are not annotated, and
            the image if its voxel size determines the shape of the ids.

        Returns
        -------
        Path
            Stored file, (y, x, c) or (z, y, x, c).

        Raises
        ------
        UserError
            ``channels.foreign_files``: files of the user are in the subfolder too;
            ``storage.forbidden``: no folder can be written; ``channels.no_image``.
        """
        self._place_image(location(image_path))
        file, origin = f"{name}.tif", _identity_of(location(label_path), *others)

        def unread(entry: ChannelFile) -> bool:
            return origin is not None and entry.origin == origin and self._is_current(entry)

        stored = self._masks.find(file, unread)
        if stored is None:
            with self._locked():
                stored = self._find_or_write(file, read_label(), origin)
        path, entry = stored
        self._ready[name] = path, entry.ndim, entry.stamp
        return path

    def _find_or_write(
        self, file: str, labels: NDArray[Any], origin: list[str | int] | None
    ) -> tuple[Path, ChannelFile]:
        content = _hash_pixels(labels)
        entry = ChannelFile(
            fingerprint=self._fingerprint(content),
            content=content,
            origin=origin,
            ndim=labels.ndim,
        )
        stored = self._masks.find(file, lambda old: old.fingerprint == entry.fingerprint)
        if stored is None:
            path = self._write(file, labels, entry)
            record_progress()
        else:
            path = stored[0]
            self._masks.record(path, entry)
        return path, entry.model_copy(update={"stamp": stamp_of(path)})

    def stamp(self, name: str) -> Stamp:
        """Return the stamp that distinguishes the file from one that replaced it."""
        return self._ready[name][2]

    def load(self, name: str, labels: NDArray[Any]) -> dict[str, ChannelArray]:
        """Read the channels that `ensure` stored.

        Parameters
        ----------
        name : str
            Name of the stored file, without suffix.
        labels : ndarray of int
            Ids, (y, x) or (z, y, x), which are encoded if another process has replaced the file.

        Returns
        -------
        dict of str to ndarray
            Channels by code, as returned by `encode`.

        Raises
        ------
        UserError
            ``channels.not_stored``: `ensure` was not called for this name; ``io.unreadable``: the
            file is damaged.
        """
        if name not in self._ready:
            raise UserError(
                f"{name}: its channels are not stored", "call ensure first", "channels.not_stored"
            )
        path, ndim, stamp = self._ready[name]
        maps = self._read(path, ndim)
        return maps if stamp_of(path) == stamp else encode_with(self.settings, labels)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Exclude other processes from writing to the folder of channels."""
        with ExitStack() as stack:
            try:
                with self._masks.named_errors():
                    files = [lock_file(self._masks.path)]
                    stack.enter_context(hold(files, "run", wait=True))
            except UserError as error:
                if not is_protected(error):  # then `put` uses the fallback folder
                    raise
            yield

    def _fingerprint(self, content: str) -> str:
        parts = [
            FORMAT_VERSION,
            asdict(self.settings),
            content,
            *([self.variant] * bool(self.variant)),
        ]
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()

    def _is_current(self, entry: ChannelFile) -> bool:
        return entry.fingerprint == self._fingerprint(entry.content)

    def _write(self, file: str, labels: NDArray[Any], entry: ChannelFile) -> Path:
        maps = encode_with(self.settings, labels)

        def is_equal(path: Path) -> bool:
            if self._masks.entry(path) is None:  # files of Singula are replaced
                with suppress(UserError):
                    stored = self._read(path, labels.ndim)
                    return all(np.array_equal(stored[code], maps[code]) for code in maps)
            return False

        stack = np.stack(list(maps.values()), axis=-1)
        axes = "ZYXC"[-stack.ndim :]
        return self._masks.put(
            file, entry, is_equal, lambda path: write_tiff(path, stack, axes, self.settings.spacing)
        )

    def _read(self, path: Path, ndim: int) -> dict[str, ChannelArray]:
        return read_channels(path, ndim, self.settings.channels)

    def _place_image(self, image: Path) -> None:
        def is_equal(path: Path) -> bool:
            return path.samefile(image) or filecmp.cmp(path, image, shallow=False)

        if not image.exists():
            raise UserError(
                f"{image}: the image does not exist", "correct the path", "channels.no_image"
            )
        if is_remote(image):  # a store has no links, and a copy of all images takes long
            return
        self._images.put(image.name, ChannelFile(), is_equal, lambda path: _link(image, path))


def _identity_of(*files: Path | None) -> list[str | int] | None:
    """Return data that identify unchanged files, or None if a file cannot be identified."""
    parts = [identity(path) for path in files if path is not None]
    return None if None in parts else [value for part in parts for value in part or ()]


def read_channels(path: Path, ndim: int, codes: Sequence[str]) -> dict[str, ChannelArray]:
    """Read the channels of a stored file.

    Parameters
    ----------
    path : Path
        Stored file, (y, x, c) or (z, y, x, c).
    ndim : int
        Number of spatial axes.
    codes : sequence of str
        Codes of the channels in the file.

    Returns
    -------
    dict of str to ndarray
        Channels (y, x) or (z, y, x) by code.

    Raises
    ------
    UserError
        ``io.unreadable``: the file is damaged; ``io.channel_count``.
    """
    planes = np.moveaxis(read_image(path, ndim, channels=len(codes)).array, -1, 0)
    return {code: _as_channel(code, plane) for code, plane in zip(codes, planes, strict=True)}


def _as_channel(code: str, plane: NDArray[Any]) -> ChannelArray:
    """Return a stored channel with its type; pixels without a target are -1 or NaN."""
    if CHANNELS[code].kind != "binary":
        return plane.astype(np.float32)
    if plane.dtype.kind != "u" and (plane < 0).any():
        return plane.astype(np.int8)
    return plane.astype(np.uint8)


def _link(source: Path, target: Path) -> None:
    """Create a hard link, else a symbolic link, else a copy."""
    with atomic_path(target) as temporary:
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        for make in (os.link, os.symlink, copy):
            try:
                make(source.resolve(), temporary)
            except OSError:
                if make is copy:
                    raise
            else:
                return


def _hash_pixels(labels: NDArray[Any]) -> str:
    digest = hashlib.blake2b(f"{labels.shape} {labels.dtype.str}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(labels).data)
    return digest.hexdigest()
