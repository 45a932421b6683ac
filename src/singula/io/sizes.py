"""Compare the size that a header declares with the bytes that the file holds."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path

from singula.errors import UserError

DEFLATE = 1032
"""Most bytes that one byte of deflate (zlib, gzip, PNG) can stand for."""
_LARGEST = 2**63 - 1  # bytes that an address can reach


def check_size(
    path: Path, shape: Sequence[int], itemsize: int, held: int | None = None, ratio: int = 1
) -> None:
    """Refuse a header that declares an impossible shape, or more pixels than the file can hold.

    Parameters
    ----------
    path : Path
        Named in errors.
    shape : sequence of int
        As declared. Products are exact, however large they are.
    itemsize : int
        Bytes of a value.
    held : int, optional
        Bytes in the file that can hold pixels; None where pixels that are not stored have a fill
        value.
    ratio : int
        Most bytes of pixels that the compression makes of one byte.

    Raises
    ------
    UserError
        ``io.impossible_size``, ``io.cut_off``
    """
    sizes = [int(size) for size in shape]
    declared = prod(sizes) * itemsize
    if any(size < 0 for size in sizes) or declared > _LARGEST:
        raise UserError(
            f"{path}: its header declares the shape {tuple(sizes)}, expected sizes of at least 0, "
            f"and at most {_LARGEST} bytes in total",
            "copy or export it again",
            "io.impossible_size",
        )
    if held is not None and declared > max(0, held) * ratio:
        most = f"{max(0, held)} bytes" + (f", which can hold {held * ratio}" if ratio > 1 else "")
        raise UserError(
            f"{path}: its header declares {declared} bytes of pixels, shape {tuple(sizes)}, but "
            f"the file is cut off or damaged: it has {most}",
            "copy or export it again",
            "io.cut_off",
        )
