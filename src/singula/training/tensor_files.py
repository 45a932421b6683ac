"""Tensors in files: reading without executing code, and validation of their types."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO

import torch
from torch import Tensor

from singula.errors import UserError

_PICKLES = (b"P", b"\x80")  # first bytes of an archive of torch, and of a pickle
REMEDY = "use an intact copy of the file, or train again"


def load_tensors(path: Path, file: BinaryIO, map_location: Any = "cpu") -> Any:
    """Read a file of torch without executing code.

    Parameters
    ----------
    path : Path
        File for messages.
    file : file object
        Open file.
    map_location : str or torch.device
        Device of the tensors.

    Raises
    ------
    UserError
        ``checkpoint.unreadable``: the file is damaged, or would execute code.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error says why a file is refused
            return torch.load(file, map_location=map_location, weights_only=True)
    except Exception as error:
        reason = "the file is incomplete or is not a checkpoint"
        hint = "copy it again, or use another .pth file that a Singula run wrote"
        file.seek(0)
        if isinstance(error, UnpicklingError) and file.read(1) in _PICKLES:
            # Only the first sentence: torch then recommends disabling this protection.
            reason = str(error).partition("\n")[0].split(". ")[0][:200]
            hint = "use a .pth file of a Singula run; files that would execute code are rejected"
        raise UserError(
            f"{path}: is not a readable checkpoint ({reason})",
            hint,
            "checkpoint.unreadable",
        ) from error


def check_tensors(path: Path, place: str, value: Any) -> None:
    """Raise an error for tensors that no checkpoint of Singula contains.

    Parameters
    ----------
    path : Path
        File for messages.
    place : str
        Place of the value in the file, for messages.
    value : object
        Tensor, mapping or sequence to validate; other values are allowed.

    Raises
    ------
    UserError
        ``checkpoint.tensor_type``: a tensor is not dense and real.
    """
    if isinstance(value, Mapping):
        for name, item in value.items():
            check_tensors(path, f"{place}.{name}", item)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            check_tensors(path, f"{place}.{number}", item)
    elif isinstance(value, Tensor):
        plain = value.layout is torch.strided and not value.is_quantized and not value.is_complex()
        if not plain or value.is_meta:
            raise wrong_tensor(path, place, f"a {_kind(value)} tensor", "a dense real tensor")
        # A view with a stride of 0 can describe more values than the file contains.
        if value.nbytes > value.untyped_storage().nbytes():
            raise wrong_tensor(
                path, place, "a tensor with repeated values", "a tensor with all values"
            )


def _kind(value: Tensor) -> str:
    return f"{str(value.layout).removeprefix('torch.')} {str(value.dtype).removeprefix('torch.')}"


def wrong_tensor(path: Path, place: str, given: str, expected: str) -> UserError:
    """Return the error for a value of a checkpoint that has another type."""
    return UserError(
        f"{path}: {place}: got {given}, expected {expected}", REMEDY, "checkpoint.tensor_type"
    )
