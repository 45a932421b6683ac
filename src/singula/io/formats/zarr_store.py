"""Zarr store that reads and writes only files of its container."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Self

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from singula.io.external import Boundary


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
