"""The one kind of error that a user can cause, and the exit codes of the commands."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Literal

_OVERFLOW_HINTS = {
    "training": "lower TRAIN.LR, and check that DATA.NORMALIZATION suits the images",
    "prediction": (
        "compare the image with those of the training: its values may be far outside of theirs "
        "(DATA.NORMALIZATION); if every image fails, the weights hold NaN: take another checkpoint"
    ),
}


# Names and texts of the memory errors of torch, CUDA, cuDNN, cuBLAS, numba, OpenVINO, HDF5 and the
# linker, in lower case. Most of these errors are of general types.
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
    """Exit codes of all commands; `docs/troubleshooting.md` has the same table."""

    DONE = 0
    INCOMPLETE = 1
    USER_ERROR = 2
    INTERNAL_ERROR = 3
    INTERRUPTED = 130
    TERMINATED = 143


class UserError(Exception):
    """A mistake in a file, a key or an argument that the user can put right.

    The command line prints it without a traceback and ends with `ExitCode.USER_ERROR`.

    Parameters
    ----------
    message : str
        Key or file, the value found and what is allowed.
    hint : str, optional
        What to change.
    code : str, optional
        Stable identifier of the kind of mistake, such as ``io.several_series``: the area, a dot,
        and the kind. It stays the same when the wording changes; tests and programs can use it.
    """

    def __init__(self, message: str, hint: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str | None, str | None]]:
        """Keep the hint and the code when the error comes from another process."""
        return type(self), (self.message, self.hint, self.code)

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.hint}" if self.hint else self.message


def overflow_hint(during: Literal["training", "prediction"]) -> str:
    """Return what to do about values that are not finite, depending on what produced them."""
    return _OVERFLOW_HINTS[during]


def prediction_overflow(message: str) -> UserError:
    """Return the error for predicted values that are not numbers."""
    return UserError(message, overflow_hint("prediction"), "prediction.overflow")


class StorageError(UserError):
    """Results cannot be written: unlike one bad image, this ends a run."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if memory, of the GPU or of the machine, was too small."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    text = f"{type(error).__name__} {error}".lower()
    return isinstance(error, Exception) and any(words in text for words in _OUT_OF_MEMORY)


@contextmanager
def refuse_if_out_of_memory() -> Iterator[None]:
    """Raise a `UserError` in place of an error about exhausted memory.

    Raises
    ------
    UserError
        ``memory.exhausted``
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        known = reason.startswith("not enough memory")
        raise UserError(
            reason if known else f"not enough memory ({reason})",
            "close other programs, or use less memory: TEST.BY_CHUNKS.ENABLE: True for large "
            "images, a smaller DATA.PATCH_SIZE, TRAIN.BATCH_SIZE or SYSTEM.NUM_WORKERS",
            "memory.exhausted",
        ) from error
