"""Compare the size that a header declares with the bytes that the file holds."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path

from singula.errors import UserError

DEFLATE = 1032
"""Largest compression ratio of deflate (zlib, gzip, PNG)."""
_MAX_BYTES = 2**63 - 1  # range of addresses


def check_size(
    path: Path, shape: Sequence[int], itemsize: int, n_bytes: int | None = None, ratio: int = 1
) -> None:
    """Raise an error if a header declares an impossible shape or more pixels than the file holds.

    Parameters
    ----------
    path : Path
        Image file, for messages.
    shape : sequence of int
        Declared shape. Products are exact for any size.
    itemsize : int
        Size of a value in bytes.
    n_bytes : int, optional
        Bytes of the file that can hold pixels; None if missing pixels have a fill value.
    ratio : int
        Largest compression ratio of the format.

    Raises
    ------
    UserError
        ``io.impossible_size``: a negative size, or more bytes than an address can reach;
        ``io.cut_off``: the file holds fewer pixels than the header declares.
    """
    sizes = [int(size) for size in shape]
    declared = prod(sizes) * itemsize
    if any(size < 0 for size in sizes) or declared > _MAX_BYTES:
        raise UserError(
            f"{path}: its header declares the shape {tuple(sizes)}, expected sizes of at least 0, "
            f"and at most {_MAX_BYTES} bytes in total",
            "copy or export it again",
            "io.impossible_size",
        )
    if n_bytes is not None and declared > max(0, n_bytes) * ratio:
        limit = f", enough for {n_bytes * ratio}" if ratio > 1 else ""
        raise UserError(
            f"{path}: its header declares {declared} bytes of pixels, shape {tuple(sizes)}, but "
            f"the file is cut off or damaged: it has {max(0, n_bytes)} bytes{limit}",
            "copy or export it again",
            "io.cut_off",
        )
