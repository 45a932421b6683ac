"""Keys of a configuration during their translation to the names of the schema."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from singula.config.values import plain
from singula.config.yaml_source import Entry, Problem
from singula.util.format import show


@dataclass
class Translation:
    """Keys during their translation to the schema.

    Attributes
    ----------
    entries : dict of str to Entry
        Keys by their names in the schema.
    notices : list of str
        A line for each translated key.
    problems : list of Problem
        Keys and values without an equivalent that change the result.
    other_workflows : list of str
        Keys of other workflows.
    idle : list of str
        Keys with their values, or parts of them, that have no effect.
    """

    entries: dict[str, Entry]
    notices: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    other_workflows: list[str] = field(default_factory=list)
    idle: list[str] = field(default_factory=list)

    def take(self, key: str) -> Entry | None:
        """Remove a key and return it."""
        return self.entries.pop(key, None)

    def put(self, old: Entry, key: str, value: Any) -> None:
        """Set a key of the schema from an entry in another spelling, and add a notice."""
        present = self.entries.get(key)
        if present is not None and plain(present.value) != plain(value):
            self.problem(
                old,
                f"got {show(value)}, expected only one of this key and {key} "
                f"({show(present.value)} at {present.place}), which have the same meaning",
                "config.two_spellings",
            )
            return
        spelling = old.key if old.key != key else ""
        self.entries[key] = present or Entry(key, value, old.place, spelling)
        if plain(old.value) == plain(value):
            text = f"{old.key} is read as {key}"
        else:
            target = "" if key == old.key else f"{key}: "
            text = f"{old.key}: {show(old.value)} is read as {target}{show(value)}"
        notice = f"{old.place}: {text}"
        if notice not in self.notices:
            self.notices.append(notice)

    def problem(self, entry: Entry, text: str, code: str) -> None:
        """Add the problem of an entry; the text follows the key."""
        self.problems.append(Problem(f"{entry.key}: {text}", code, entry.place))

    def no_effect(self, entry: Entry, description: str = "") -> None:
        """List an entry, or the described part of its value, among those without effect."""
        line = f" (line {entry.place.line})" if entry.place.line else ""
        self.idle.append(f"{entry.key}: {description or show(entry.value)}{line}")
