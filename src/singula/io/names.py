"""Compare file names: their order, and evidence that files belong together."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_CASE_CHANGE = re.compile(r"(?<=[a-z])(?=[A-Z])")
_TOKEN = re.compile(r"[0-9]+|[^\W\d_]+")
Token = int | str


def composed(name: str) -> str:
    """Return the composed form (NFC) of a name: "ü" is one character, however it was stored."""
    return unicodedata.normalize("NFC", name)


def natural(name: str) -> tuple[tuple[tuple[int, int | str], ...], str]:
    """Sort key that compares runs of digits as numbers; equal keys fall back to the name."""
    parts = re.split(r"([0-9]+)", composed(name).lower())
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts if part), name


def tokens(stem: str) -> list[Token]:
    """Split a name into its words, in lower case, and its numbers.

    Examples
    --------
    >>> tokens("imgA_t001")
    ['img', 'a', 't', 1]
    """
    words = _TOKEN.findall(_CASE_CHANGE.sub(" ", composed(stem)))
    return [int(word) if word.isdecimal() else word.lower() for word in words]


def agree_in_order(images: Sequence[str], labels: Sequence[str]) -> bool:
    """Return True if the names show that the files belong together in the given order.

    Words and numbers are compared by their place in the name, counted from its front and from its
    end. The words and numbers that an image and its label share must distinguish all pairs.

    Parameters
    ----------
    images, labels : sequence of str
        Names without suffix, of equal number. A single pair always agrees.

    Examples
    --------
    >>> agree_in_order(["training-1", "training-2"], ["training_truth-1", "training_truth-2"])
    True
    >>> agree_in_order(["im0", "im1"], ["t1", "t2"])
    False
    """
    shared = _columns(images) & _columns(labels)
    rows = list(zip(*shared, strict=True)) if shared else [()] * len(images)
    return len(set(rows)) == len(images)


def last_number(stem: str) -> int | None:
    """Return the last number in a name."""
    numbers = [token for token in tokens(stem) if isinstance(token, int)]
    return numbers[-1] if numbers else None


def _columns(stems: Sequence[str]) -> set[tuple[Token, ...]]:
    """Return the tokens of all names at each place that every name has."""
    split = [tokens(stem) for stem in stems]
    shortest = min(map(len, split), default=0)
    places = [*range(shortest), *range(-shortest, 0)]
    return {tuple(words[place] for words in split) for place in places}
