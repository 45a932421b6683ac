"""Comparison of file names: natural order, and evidence that files belong together."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_CASE_CHANGE = re.compile(r"(?<=[a-z])(?=[A-Z])")
_TOKEN = re.compile(r"[0-9]+|[^\W\d_]+")
Token = int | str

LABEL_WORDS = r"(?:cp_masks?|masks?|labels?|lbl|gt|ground_?truth|seg|segmentation|instances?)"
NAME_PREFIX, NAME_SUFFIX = r"^{}[_\-. ]+", r"[_\-. ]+{}$"
LABEL_PATTERNS = [
    re.compile(side.format(LABEL_WORDS), re.IGNORECASE) for side in (NAME_PREFIX, NAME_SUFFIX)
]
"""Words for labels at the start and at the end of a name, such as ``cell1_mask``."""


def composed(name: str) -> str:
    """Return the composed Unicode form (NFC) of a name, in which "ü" is one character."""
    return unicodedata.normalize("NFC", name)


def natural(name: str) -> tuple[tuple[tuple[int, int | str], ...], str]:
    """Return a sort key that compares digits as numbers, and then whole names."""
    parts = re.split(r"([0-9]+)", composed(name).lower())
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts if part), name


def tokens(stem: str) -> list[Token]:
    """Split a name into its words, in lower case, and its numbers.

    Examples
    --------
    >>> tokens("imgA_t001")
    ['img', 'a', 't', 1]
    """
    texts = _TOKEN.findall(_CASE_CHANGE.sub(" ", composed(stem)))
    return [int(text) if text.isdecimal() else text.lower() for text in texts]


def agree_in_order(images: Sequence[str], labels: Sequence[str]) -> bool:
    """Return True if the names show that the files belong together in the given order.

    Words and numbers are compared by position, counted from the start and from the end of the name.
    The words and numbers that an image and its label share must distinguish all pairs.

    Parameters
    ----------
    images, labels : sequence of str
        Names without suffix, as many images as labels. A single pair always agrees.

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
    """Return the last number in a name, or None."""
    numbers = [token for token in tokens(stem) if isinstance(token, int)]
    return numbers[-1] if numbers else None


def _columns(stems: Sequence[str]) -> set[tuple[Token, ...]]:
    """Return the tokens of all names at each position that every name has."""
    rows = [tokens(stem) for stem in stems]
    length = min(map(len, rows), default=0)
    positions = [*range(length), *range(-length, 0)]
    return {tuple(row[position] for row in rows) for position in positions}
