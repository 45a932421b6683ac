"""The one kind of error that a user can cause."""

from __future__ import annotations

from typing import Literal

_OVERFLOW_HINTS = {
    "training": "lower TRAIN.LR, and check that DATA.NORMALIZATION suits the images",
    "prediction": (
        "compare the image with those of the training: its values may be far outside of theirs "
        "(DATA.NORMALIZATION); if every image fails, the weights hold NaN: take another checkpoint"
    ),
}


class UserError(Exception):
    """A mistake in a file, a key or an argument that the user can put right.

    The command line prints it without a traceback and ends with exit code 2.

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
