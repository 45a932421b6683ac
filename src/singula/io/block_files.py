"""Files of a Zarr array, compared and copied without decoding their pixels."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from hashlib import blake2b
from itertools import product
from pathlib import Path
from typing import Any

from singula.io.external import Boundary
from singula.io.replace import replace_path
from singula.util.boxes import Box


@dataclass(frozen=True)
class ArrayFiles:
    """Files of a Zarr array, one for each chunk or shard.

    Parameters
    ----------
    array : zarr.Array
        Array with the spatial axes last.
    folder : Path
        Folder of the array.
    boundary : Boundary
        Check for files outside of the container.
    ndim : int
        Number of spatial axes.
    """

    array: Any
    folder: Path
    boundary: Boundary
    ndim: int

    def paths(self, box: Box) -> list[str]:
        """Return the paths of the files that overlap a box, whether they exist or not.

        Parameters
        ----------
        box : Box
            Box along the spatial axes, in pixels; all channels.
        """
        sides = tuple(self.array.shards or self.array.chunks)
        lead = len(sides) - self.ndim
        axes = [
            range(-(-size // side))
            for size, side in zip(self.array.shape[:lead], sides[:lead], strict=True)
        ]
        axes += [
            range(part.start // side, -(-part.stop // side))
            for part, side in zip(box, sides[lead:], strict=True)
        ]
        root, name = os.fspath(self.folder), self.array.metadata.encode_chunk_key
        paths = [os.path.join(root, name(index)) for index in product(*axes)]
        for path in paths:
            self.boundary.check(path)
        return paths

    def exist(self, box: Box) -> bool:
        """Return True if any file overlaps a box; otherwise, all pixels have the fill value."""
        return any(map(os.path.exists, self.paths(box)))

    def digest(self, box: Box) -> bytes:
        """Return a digest that is equal for boxes of the same shape with the same files."""
        sides = (self.array.shards or self.array.chunks)[-self.ndim :]
        place = [(b.start % side, b.stop - b.start) for b, side in zip(box, sides, strict=True)]
        digest = blake2b(repr(place).encode())
        for path in self.paths(box):
            content = Path(path).read_bytes() if os.path.exists(path) else b""
            digest.update(blake2b(content).digest())
        return digest.digest()

    def copy(self, source: Box, target: Box) -> None:
        """Copy the files of a box to a box of the same shape, both aligned to the files."""
        for old, new in zip(self.paths(source), self.paths(target), strict=True):
            if not os.path.exists(old):
                Path(new).unlink(missing_ok=True)
                continue
            os.makedirs(os.path.dirname(new), exist_ok=True)
            temporary = f"{new}.{os.getpid()}.partial"
            shutil.copyfile(old, temporary)
            replace_path(temporary, new)
