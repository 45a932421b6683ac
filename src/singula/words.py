"""Numbers and commands as people read them."""

from __future__ import annotations

import shlex


def counted(count: int, word: str, plural: str | None = None) -> str:
    """Return a number with its noun in the right form.

    Parameters
    ----------
    count : int
    word : str
        Noun in the singular; an adjective may precede it.
    plural : str, optional
        Its plural where that is not the singular with an "s", such as ``patches``.

    Examples
    --------
    >>> counted(1, "image"), counted(2, "image"), counted(0, "patch", "patches")
    ('1 image', '2 images', '0 patches')
    """
    return f"{grouped(count)} {word if count == 1 else plural or word + 's'}"


def grouped(count: int) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{count:,}".replace(",", "\u202f")


def command(*words: object) -> str:
    """A command of Singula as a shell takes it, whatever is in the names of files."""
    return shlex.join(["singula", *map(str, words)])
