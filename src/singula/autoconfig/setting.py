"""Value of a configuration key with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_COMMENT_COLUMN = 40


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


def commented_yaml(heading: Sequence[str], values: Iterable[tuple[str, str, str]]) -> str:
    """Return a configuration file with a comment after each value.

    Parameters
    ----------
    heading : sequence of str
        Comment lines at the top.
    values : iterable of (str, str, str)
        Dotted key, value as YAML, and comment, which may be empty; keys of a section are adjacent.
    """
    lines, previous = list(heading), list[str]()
    for key, value, comment in values:
        *sections, last = key.split(".")
        common = 0
        while common < min(len(previous), len(sections)) and previous[common] == sections[common]:
            common += 1
        if common == 0 and lines:
            lines.append("")
        for depth in range(common, len(sections)):
            lines.append(f"{'  ' * depth}{sections[depth]}:")
        previous = sections
        text = f"{'  ' * len(sections)}{last}: {value}"
        lines.append(f"{text:<{_COMMENT_COLUMN}}  # {comment}" if comment else text)
    return "\n".join(lines) + "\n"


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
