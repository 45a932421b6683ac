"""Unsaved entries of the form as text, which the browser stores until they are saved."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from singula.config.keys import key_table
from singula.gui.form import Form

_MAX_CHARACTERS = 500_000


@dataclass(frozen=True)
class Draft:
    """Unsaved entries of the form.

    Parameters
    ----------
    form : Form
        Keys that are set.
    target : str
        File to save.
    replace : bool
        The form was read from the target, so saving replaces the file.
    results : str
        Folder for results.
    """

    form: Form
    target: str
    replace: bool
    results: str

    def to_json(self) -> str:
        """Return the entries as JSON."""
        form = {
            "values": self.form.values,
            "comments": self.form.comments,
            "heading": self.form.heading,
            "ignored": self.form.ignored,
        }
        rest = {"target": self.target, "replace": self.replace, "results": self.results}
        return json.dumps({**form, **rest}, default=str)

    @classmethod
    def from_json(cls, text: object) -> Draft | None:
        """Return the entries of a text; None if it is not from `to_json`.

        Keys that do not exist, for example in another version, are left out.

        Parameters
        ----------
        text : object
            Text that the browser stored.
        """
        if not isinstance(text, str) or len(text) > _MAX_CHARACTERS:
            return None
        try:
            stored = json.loads(text)
            form = Form(
                {k: v for k, v in _items(stored["values"]) if k in key_table()},
                {k: str(v) for k, v in _items(stored["comments"]) if k in key_table()},
                [str(line) for line in stored["heading"]],
                [str(line) for line in stored["ignored"]],
            )
            target, results = str(stored["target"]), str(stored["results"])
            return cls(form, target, stored["replace"] is True, results)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None


def _items(value: dict[str, Any]) -> list[tuple[str, Any]]:
    return list(value.items())
