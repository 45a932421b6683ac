"""Errors that a user can correct, and the exit codes of the commands."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Literal

_OVERFLOW_HINTS = {
    "training": "lower TRAIN.LR, and check that DATA.NORMALIZATION suits the images",
    "prediction": (
        "compare the image with the training images: its values may be far outside of their range "
        "(DATA.NORMALIZATION); if every image fails, the weights contain NaN: use another "
        "checkpoint"
    ),
}

# Names and texts of the memory errors of torch, CUDA, cuDNN, cuBLAS, numba, OpenVINO, HDF5 and the
# linker, in lower case. Most of these errors have general types.
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "cannot allocate memory",
    "unable to allocate",
    "memory allocation failed",
    "not enough memory",
    "out of memory",
    "outofmemoryerror",
    "bad_alloc",
    "bad allocation",
    "cudnn_status_alloc_failed",
    "cublas_status_alloc_failed",
    "failed to map segment",
    "can't start new thread",
)


class ExitCode(IntEnum):
    """Exit codes of all commands, also listed in `docs/troubleshooting.md`."""

    DONE = 0
    INCOMPLETE = 1
    USER_ERROR = 2
    INTERNAL_ERROR = 3
    INTERRUPTED = 130
    TERMINATED = 143


class UserError(ValueError):
    """Error in a file, a key or an argument that the user can correct.

    It is a `ValueError`, which NumPy and scikit-image raise for wrong values. The command line
    prints it without a traceback and ends with `ExitCode.USER_ERROR`.

    Parameters
    ----------
    message : str
        Key or file, the given value and the expected one.
    hint : str or None
        Remedy, as an imperative.
    code : str
        Stable identifier of the kind of mistake, such as ``io.several_series``: the area, a dot,
        and the kind. It stays the same when the wording changes; tests and programs can use it.

    Examples
    --------
    >>> import numpy as np, singula
    >>> try:
    ...     singula.measure(np.ones((4, 4), float))
    ... except singula.UserError as error:
    ...     print(error.code, "|", error.hint.partition(";")[0])
    arguments.dtype | convert ids with labels.astype('uint32')
    """

    def __init__(self, message: str, hint: str | None, code: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str | None, str]]:
        """Return the arguments, so that errors of other processes keep the hint and the code."""
        return type(self), (self.message, self.hint, self.code)

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.hint}" if self.hint else self.message


def overflow_hint(during: Literal["training", "prediction"]) -> str:
    """Return the remedy for values that are not finite.

    Parameters
    ----------
    during : {"training", "prediction"}
        Step that produced the values.
    """
    return _OVERFLOW_HINTS[during]


def prediction_overflow(message: str) -> UserError:
    """Return the error for predicted values that are not finite.

    Parameters
    ----------
    message : str
        Image, and number of values that are not finite.
    """
    return UserError(message, overflow_hint("prediction"), "prediction.overflow")


class StorageError(UserError):
    """Failure to write results, which ends a run; a bad image does not."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if the memory of the GPU or of the machine was exhausted."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    text = f"{type(error).__name__} {error}".lower()
    return isinstance(error, Exception) and any(pattern in text for pattern in _OUT_OF_MEMORY)


@contextmanager
def refuse_if_out_of_memory() -> Iterator[None]:
    """Convert errors about exhausted memory to a `UserError`.

    Raises
    ------
    UserError
        ``memory.exhausted``: the block ran out of memory.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        is_explained = reason.startswith("not enough memory")
        raise UserError(
            reason if is_explained else f"not enough memory ({reason})",
            "close other programs, or use less memory: TEST.BY_CHUNKS.ENABLE: True for large "
            "images, a smaller DATA.PATCH_SIZE, TRAIN.BATCH_SIZE or SYSTEM.NUM_WORKERS",
            "memory.exhausted",
        ) from error
