"""Report of the files that cannot be predicted."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from singula.errors import UserError
from singula.util.format import counted

_log = logging.getLogger(__name__)
_MAX_LINES = 50  # of the list of failed files
_Reason = tuple[str, str | None, str]


@dataclass
class FailureReport:
    """Errors of the files that cannot be predicted, each of which is explained once.

    Parameters
    ----------
    errors : dict of str to UserError
        Errors by the path of the file, with the name of the result if the file has several images.
    """

    errors: dict[str, UserError] = field(default_factory=dict)
    _titles: dict[_Reason, str] = field(default_factory=dict)

    def add(self, path: Path, error: UserError, *, name: str = "", step: str = "") -> None:
        """Log the error of a file, with its remedy and code.

        Parameters
        ----------
        path : Path
            The file.
        error : UserError
            The error.
        name : str
            Name in `errors`. Default: the path.
        step : str
            Beginning of the message. Default: the name of the file.
        """
        # The traceback references the frames of the failed attempt, and thus its arrays.
        error = UserError(error.message, error.hint, error.code)
        self.errors[name or str(path)] = error
        begin = step or path.name
        reason = _reason(path, error)
        if reason in self._titles:
            _log.warning(f"{begin}: FAILED: as {self._titles[reason]} [{error.code}]")
            return
        self._titles[reason] = path.name
        remedy = f"\n  → {error.hint}" if error.hint else ""
        _log.warning(f"{begin}: FAILED: {error.message} [{error.code}]{remedy}")


def _reason(path: Path, error: UserError) -> _Reason:
    """Return the code, the remedy and the message without the path, which files can share."""
    return error.code, error.hint, error.message.replace(str(path), "")


def common_error(errors: Mapping[Path, UserError]) -> UserError | None:
    """Return one error for files that all fail for the same reason; None for different reasons.

    Parameters
    ----------
    errors : mapping of Path to UserError
        Errors by file.
    """
    if len({_reason(path, error) for path, error in errors.items()}) != 1:
        return None
    error, *others = errors.values()
    if not others:
        return error
    more = counted(len(others), "other file")
    return UserError(f"{error.message}; the same for {more}", error.hint, error.code)


def failure_error(errors: Mapping[str, UserError], count: int) -> UserError:
    """Return the error at the end of a prediction in which images failed.

    Parameters
    ----------
    errors : mapping of str to UserError
        Errors of `FailureReport`, at least one.
    count : int
        Number of all images.
    """
    if len(errors) == count:
        codes = ", ".join(sorted({error.code for error in errors.values()}))
        return UserError(
            f"none of {counted(count, 'image')} could be predicted [{codes}]",
            "correct the errors above and repeat the command",
            "predict.all_failed",
        )
    lines = [f"  {name} [{error.code}]" for name, error in errors.items()]
    if len(lines) > _MAX_LINES:
        lines[_MAX_LINES:] = [f"  and {len(lines) - _MAX_LINES} more"]
    listing = "\n".join(lines)
    return UserError(
        f"{len(errors)} of {counted(count, 'image')} could not be predicted:\n{listing}",
        "correct the errors above, and repeat the command with --resume, which predicts only the "
        "missing images",
        "predict.some_failed",
    )
