"""Zarr stores: files of a container only, and URLs with errors that name them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, Self

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.config import config
from zarr.storage import LocalStore, ObjectStore

from singula.errors import UserError
from singula.io.external import Boundary
from singula.util.locations import is_remote
from singula.util.object_stores import (
    RecentAnswers,
    is_interrupted,
    is_missing,
    open_store,
    waits,
)
from singula.util.store_errors import errors_of

_N_REQUESTS = 64  # requests at the same time; their latency is then shared by as many chunks
_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")


def folder_store(
    folder: Path, boundary: Boundary, *, read_only: bool = True
) -> BoundedStore | RemoteStore:
    """Return the store of a folder of a container: files on this computer, or a URL.

    Parameters
    ----------
    folder : Path
        The container, or a folder in it.
    boundary : Boundary
        Check for files outside of the container.
    read_only : bool
        Refuse to write.
    """
    if is_remote(folder):
        return RemoteStore(folder, read_only=read_only)
    return BoundedStore(folder, boundary, read_only=read_only)


class BoundedStore(LocalStore):
    """Store for a folder of a container that checks each file before it is opened.

    Parameters
    ----------
    root : Path
        The container, or a folder in it.
    boundary : Boundary
        Check for files outside of the container.
    read_only : bool
        Refuse to write.

    Raises
    ------
    UserError
        ``io.external_file``, from each method: the file is outside of the container.
    """

    def __init__(self, root: Path, boundary: Boundary, *, read_only: bool = True) -> None:
        super().__init__(root, read_only=read_only)
        self._boundary = boundary
        self._prefix = os.path.join(root, "")

    def with_read_only(self, read_only: bool = False) -> Self:
        """Return the store with another access mode."""
        return type(self)(self.root, self._boundary, read_only=read_only)

    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read a file."""
        self._check(key)
        return super().get_sync(key, prototype=prototype, byte_range=byte_range)

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read a file."""
        self._check(key)
        return await super().get(key, prototype, byte_range)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Read parts of files."""
        ranges = list(key_ranges)
        for key, _ in ranges:
            self._check(key)
        return await super().get_partial_values(prototype, ranges)

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """List the names in a folder."""
        self._check(prefix)
        async for name in super().list_dir(prefix):
            yield name

    def set_sync(self, key: str, value: Buffer) -> None:
        """Write a file."""
        self._check(key)
        super().set_sync(key, value)

    async def set(self, key: str, value: Buffer) -> None:
        """Write a file."""
        self._check(key)
        await super().set(key, value)

    def _check(self, key: str) -> None:
        # A path object for each of many thousands of chunks would double the time.
        self._boundary.check(self._prefix + key)


_metadata = RecentAnswers()


def _ignore(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Drop messages about requests that were abandoned because another request failed."""


class RemoteStore(ObjectStore):  # type: ignore[type-arg]
    """Store for a URL, whose errors are of type `UserError`.

    Parameters
    ----------
    root : Path
        URL of the array or group.
    read_only : bool
        Refuse to write.

    Raises
    ------
    UserError
        The codes of `singula.util.store_errors.errors_of`, from each method.
    """

    def __init__(self, root: Path, *, read_only: bool = True) -> None:
        super().__init__(open_store(str(root)), read_only=read_only)
        self.root = root
        if config.get("async.concurrency") < _N_REQUESTS:
            config.set({"async.concurrency": _N_REQUESTS})

    def with_read_only(self, read_only: bool = False) -> Self:
        """Return the store with another access mode."""
        return type(self)(self.root, read_only=read_only)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read a file; None if it does not exist."""
        asyncio.get_running_loop().set_exception_handler(_ignore)
        if key.rpartition("/")[2] not in _METADATA:
            return await self._get_or_none(key, prototype, byte_range)
        url = str(self.root / key)
        answer: Buffer | None = _metadata.get(url)
        if answer is NotImplemented:
            answer = await self._get_or_none(key, prototype, byte_range)
            _metadata.put(url, answer)
        return answer

    async def _get_or_none(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None
    ) -> Buffer | None:
        try:
            return await self._get(key, prototype, byte_range)
        except UserError as error:
            # A missing chunk would be read as zeros, so it needs a clear answer.
            if key.rpartition("/")[2] in _METADATA:
                url = str(self.root / key)
                missing = await asyncio.to_thread(is_missing, url, error)
            else:
                missing = error.code == "stores.missing"
            if missing:
                return None
            raise

    async def _get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None
    ) -> Buffer | None:
        for wait in waits():
            with errors_of(str(self.root / key)):
                try:
                    return await super().get(key, prototype, byte_range)
                except Exception as error:
                    if wait is None or not is_interrupted(error):
                        raise
            await asyncio.sleep(wait)
        raise RuntimeError("the last attempt returns or raises")

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Read parts of files."""
        return list(
            await asyncio.gather(*[self.get(key, prototype, part) for key, part in key_ranges])
        )

    async def exists(self, key: str) -> bool:
        """Return True if a file exists."""
        with errors_of(str(self.root / key)):
            return await super().exists(key)

    async def set(self, key: str, value: Buffer) -> None:
        """Write a file."""
        with errors_of(str(self.root / key)):
            await super().set(key, value)

    async def delete(self, key: str) -> None:
        """Delete a file."""
        with errors_of(str(self.root / key)):
            await super().delete(key)
