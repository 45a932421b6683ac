"""A value with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Choice:
    """One key of the configuration.

    Parameters
    ----------
    key : str
        Dotted name.
    value : bool, int, float, str, list or tuple
        As in the file.
    why : str
        The reason, as printed; empty for what is always so.
    note : str
        What the key means, as a comment in the file, in place of the reason.
    """

    key: str
    value: Any
    why: str = ""
    note: str = ""

    @property
    def comment(self) -> str:
        """What stands beside the value in the file."""
        return self.note or self.why

    @property
    def text(self) -> str:
        """The value as the file spells it."""
        return spell(self.value)


def spell(value: Any) -> str:
    """Write a value as YAML on one line; tuples as the format writes them."""
    if isinstance(value, str):
        return value if value and all(c.isalnum() or c in "_" for c in value) else _quoted(value)
    if isinstance(value, list):
        return f"[{', '.join(spell(part) for part in value)}]"
    if isinstance(value, tuple):
        inner = ", ".join(spell(part) for part in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, float):
        # YAML 1.1 takes 1e-05 for a word.
        text = f"{value:.12g}"
        return text.replace("e", ".0e") if "e" in text and "." not in text else text
    return str(value)


def _quoted(text: str) -> str:
    """Quote text in YAML's single quotes, where only these need to be doubled."""
    doubled = text.replace("'", "''")
    return f"'{doubled}'"
