"""Numbers and commands as people read them."""

from __future__ import annotations

import shlex


def counted(count: int, word: str) -> str:
    """A number with its noun."""
    return f"{grouped(count)} {word}{'' if count == 1 else 's'}"


def grouped(count: int) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{count:,}".replace(",", "\u202f")


def command(*words: object) -> str:
    """A command of Singula as a shell takes it, whatever is in the names of files."""
    return shlex.join(["singula", *map(str, words)])
