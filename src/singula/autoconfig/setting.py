"""Value of a configuration key with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Choice:
    """One key of the configuration.

    Parameters
    ----------
    key : str
        Dotted name of the key.
    value : bool, int, float, str, list or tuple
        Value of the key.
    why : str
        Reason that is printed; empty if the value does not depend on the data.
    note : str
        Meaning of the key; the comment in the file, instead of the reason.
    """

    key: str
    value: Any
    why: str = ""
    note: str = ""

    @property
    def comment(self) -> str:
        """Comment after the value in the file."""
        return self.note or self.why

    @property
    def text(self) -> str:
        """Value as YAML."""
        return spell(self.value)


def spell(value: Any) -> str:
    """Return a value as YAML on one line; tuples are written in parentheses."""
    if isinstance(value, str):
        return value if value and all(c.isalnum() or c in "_" for c in value) else _quoted(value)
    if isinstance(value, list):
        return f"[{', '.join(spell(part) for part in value)}]"
    if isinstance(value, tuple):
        inner = ", ".join(spell(part) for part in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, float):
        # YAML 1.1 reads 1e-05 as a string.
        text = f"{value:.12g}"
        return text.replace("e", ".0e") if "e" in text and "." not in text else text
    return str(value)


def _quoted(text: str) -> str:
    """Return text in single quotes; YAML needs only the quotes in the text doubled."""
    doubled = text.replace("'", "''")
    return f"'{doubled}'"
