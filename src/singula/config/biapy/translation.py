"""Keys of a configuration during their translation to the names of the schema."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from singula.config.values import plain
from singula.config.yaml_source import Entry, Problem
from singula.util.format import show


@dataclass
class Translation:
    """Keys on their way to the schema, and what there is to say about them."""

    entries: dict[str, Entry]
    notices: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    other_workflows: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    def take(self, key: str) -> Entry | None:
        """Remove a key and return it."""
        return self.entries.pop(key, None)

    def put(self, old: Entry, key: str, value: Any) -> None:
        """Set a key of the schema from an entry in another spelling, and say so."""
        there = self.entries.get(key)
        if there is not None and plain(there.value) != plain(value):
            self.problem(
                old,
                f"found {show(value)} for the same thing as {key} "
                f"({show(there.value)} at {there.place}); allowed one of the two",
            )
            return
        spelling = old.key if old.key != key else ""
        self.entries[key] = there or Entry(key, value, old.place, spelling)
        if plain(old.value) == plain(value):
            text = f"{old.key} is read as {key}"
        else:
            target = "" if key == old.key else f"{key}: "
            text = f"{old.key}: {show(old.value)} is read as {target}{show(value)}"
        self.notices.append(f"{old.place}: {text}")

    def problem(self, entry: Entry, text: str) -> None:
        """Report that an entry cannot be obeyed."""
        self.problems.append(Problem(entry.place, f"{entry.key}: {text}"))

    def no_effect(self, entry: Entry, what: str = "") -> None:
        """Say that an entry asks for something that is not done, without harm."""
        found = what or show(entry.value)
        self.notices.append(
            f"{entry.place}: {entry.key}: {found} is not in this version, it has no effect"
        )
