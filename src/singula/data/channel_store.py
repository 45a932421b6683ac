"""Channels on the disk, beside the user's data, and never older than what they come from."""

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
from singula.representations.channels.source import EncodeSettings
from singula.representations.channels.table import CHANNELS, ChannelArray, encode_with
from singula.util.arguments import function, instance, text

Stamp = list[int] | None
# Part of every fingerprint: raise it when `encode` gives other values for the same labels.
FORMAT_VERSION = 2


class ChannelStore:
    """The channels of a folder of label images, one TIFF per image, with the images beside them.

    A stored file is used again only if the pixels of its label image and the settings are those it
    was made from. A file that somebody else put there is never written over: a sub-folder named
    after the settings is used for that image. Leave the ``with`` block, or call `save`, at the end.

    Several processes can use one folder. Each writes while it holds the lock of the folder, and
    notices when another one has replaced a file.

    Parameters
    ----------
    image_dir, mask_dir : Path
        Folders for the images (links where possible) and for the channels.
    settings : EncodeSettings
        How to encode.
    image_key, mask_key : str
        Configuration keys of the two folders, for messages.
    notify : callable, optional
        Told when a sub-folder is used.
    variant : str
        What was done to labels since they were read, in words; part of the fingerprint.
    fallback : Path, optional
        Folder for both, if permissions or a read-only file system prevent writing to them.

    Raises
    ------
    TypeError, UserError
        A wrong argument; one folder for both.
    """

    def __init__(
        self,
        image_dir: Path,
        mask_dir: Path,
        settings: EncodeSettings,
        *,
        image_key: str = "INSTANCE_CHANNELS_DIR",
        mask_key: str = "INSTANCE_CHANNELS_MASK_DIR",
        notify: Callable[[str], None] | None = None,
        variant: str = "",
        fallback: Path | None = None,
    ) -> None:
        image_dir, mask_dir = reader_path(image_dir, "image_dir"), reader_path(mask_dir, "mask_dir")
        image_key, mask_key = text(image_key, "image_key"), text(mask_key, "mask_key")
        if notify is not None:
            notify = function(notify, "notify")
        if image_dir.resolve() == mask_dir.resolve():
            raise UserError(
                f"{image_key} and {mask_key} are both {mask_dir}",
                "use two folders",
                "channels.one_folder",
            )
        self.settings = instance(settings, "settings", EncodeSettings)
        self.variant = text(variant, "variant")
        spare = f"singula_{self._fingerprint('')[:12]}"
        fallback = None if fallback is None else reader_path(fallback, "fallback")
        other = (fallback / "x", fallback / "y") if fallback is not None else (None, None)
        self._images = SharedFolder(image_dir, image_key, spare, notify, other[0])
        self._masks = SharedFolder(mask_dir, mask_key, spare, notify, other[1])
        self._ready: dict[str, tuple[Path, int, Stamp]] = {}
        self._notify = notify
        self._told: set[str] = set()

    def __enter__(self) -> ChannelStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.save()

    def save(self) -> None:
        """Write the manifests.

        After a run that was killed before, unrecorded files are recognised by their pixels.
        """
        self._images.save()
        self._masks.save()

    def ensure(
        self,
        name: str,
        image_path: Path,
        read_label: Callable[[], NDArray[Any]],
        label_path: Path,
    ) -> Path:
        """Make sure that the channels of one image are stored and up to date.

        Parameters
        ----------
        name : str
            Name of the stored file, without suffix.
        image_path : Path
            The raw image, linked into the image folder.
        read_label : callable
            Gives the ids, (y, x) or (z, y, x); called only if the label file may have changed.
        label_path : Path
            The label file.

        Returns
        -------
        Path
            The stored file, (y, x, c) or (z, y, x, c).

        Raises
        ------
        UserError
            If no folder can be written, or foreign files occupy the sub-folder too.
        """
        self._place_image(Path(image_path))
        file, origin = f"{name}.tif", identity(Path(label_path))

        def unread(entry: ChannelFile) -> bool:
            return origin is not None and entry.origin == origin and self._is_current(entry)

        found = self._masks.find(file, unread)
        if found is None:
            with self._locked():
                found = self._find_or_write(file, read_label(), origin)
        path, entry = found
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
        found = self._masks.find(file, lambda old: old.fingerprint == entry.fingerprint)
        if found is None:
            path = self._write(file, labels, entry)
        else:
            path = found[0]
            self._masks.record(path, entry)
        return path, entry.model_copy(update={"stamp": stamp_of(path)})

    def stamp(self, name: str) -> Stamp:
        """Return by what the file that `ensure` stored is told from one that replaced it."""
        return self._ready[name][2]

    def load(self, name: str, labels: NDArray[Any]) -> dict[str, ChannelArray]:
        """Read the channels that `ensure` stored.

        Parameters
        ----------
        name : str
        labels : ndarray of int
            Ids, which are encoded if another process has replaced the file.

        Returns
        -------
        dict of str to ndarray
            As `encode` gives them.

        Raises
        ------
        UserError
            If `ensure` was not called for this name, or the file was damaged since.
        """
        if name not in self._ready:
            raise UserError(f"{name}: its channels are not stored", "call ensure for it first")
        path, ndim, stamp = self._ready[name]
        maps = self._read(path, ndim)
        return maps if stamp_of(path) == stamp else encode_with(self.settings, labels)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let no other process write to the folder of channels."""
        with ExitStack() as stack:
            try:
                with self._masks.named_errors():
                    files = [lock_file(self._masks.path)]
                    stack.enter_context(hold(files, "run", self._tell_once, wait=True))
            except UserError as error:
                if not is_protected(error):  # else this process writes nothing there, either
                    raise
            yield

    def _tell_once(self, line: str) -> None:
        if self._notify is not None and line not in self._told:
            self._notify(line)
        self._told.add(line)

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

        def same(path: Path) -> bool:
            if self._masks.entry(path) is None:  # else it is ours, and simply replaced
                with suppress(UserError):
                    stored = self._read(path, labels.ndim)
                    return all(np.array_equal(stored[code], maps[code]) for code in maps)
            return False

        stack = np.stack(list(maps.values()), axis=-1)
        axes = "ZYXC"[-stack.ndim :]
        return self._masks.put(
            file, entry, same, lambda path: write_tiff(path, stack, axes, self.settings.spacing)
        )

    def _read(self, path: Path, ndim: int) -> dict[str, ChannelArray]:
        return read_channels(path, ndim, self.settings.channels)

    def _place_image(self, image: Path) -> None:
        def same(path: Path) -> bool:
            return path.samefile(image) or filecmp.cmp(path, image, shallow=False)

        if not image.exists():
            raise UserError(f"{image}: there is no such image")
        self._images.put(image.name, ChannelFile(), same, lambda path: _link(image, path))


def read_channels(path: Path, ndim: int, codes: Sequence[str]) -> dict[str, ChannelArray]:
    """Read a stored file as the channels of these codes.

    Raises
    ------
    UserError
        When the file is damaged or has another number of channels.
    """
    planes = np.moveaxis(read_image(path, ndim, channels=len(codes)).array, -1, 0)
    return {
        code: plane.astype(np.float32 if CHANNELS[code].kind == "distance" else np.uint8)
        for code, plane in zip(codes, planes, strict=True)
    }


def _link(source: Path, target: Path) -> None:
    """Make a hard link, else a symbolic link, else a copy."""
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
    found = hashlib.blake2b(f"{labels.shape} {labels.dtype.str}".encode(), digest_size=16)
    found.update(np.ascontiguousarray(labels).data)
    return found.hexdigest()
