"""The one kind of error that a user can cause."""

from __future__ import annotations


class UserError(Exception):
    """A mistake in a file, a key or an argument that the user can put right.

    The command line prints it without a traceback and ends with exit code 2.

    Parameters
    ----------
    message : str
        Key or file, the value found and what is allowed.
    hint : str, optional
        What to change.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str | None]]:
        """Keep the hint on the way from another process."""
        return type(self), (self.message, self.hint)

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.hint}" if self.hint else self.message


class StorageError(UserError):
    """Results cannot be written: unlike one bad image, this ends a run."""
