"""Page of the documentation that lists all configuration keys, generated from the schema."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from singula.config.biapy.older_names import EARLY
from singula.config.biapy.translate import RENAMED
from singula.config.biapy.unsupported import NO_EFFECT
from singula.config.examples import example
from singula.config.keys import Key, known_keys
from singula.config.schema.base import Section
from singula.config.schema.root import Config

_INTRODUCTION = """\
# Every configuration key

This page lists every key of the configuration file. It is generated from the schema that validates
the files. A key that is not in the file has its default value. `singula init` writes a complete
file. An unknown key is an error that names the line and the most similar key. `--set KEY=VALUE`
changes a key for one run, for example `--set {name}={value}`.

In **type and range**, `[0, 1]` includes its ends, `(0, 1)` does not. Lists can be written as `[256,
256, 1]` or `(256, 256, 1)`. Upper and lower case of words do not matter. An **example** is a valid
value, not a recommendation.

A key whose meaning begins with "{idle}" is accepted for compatibility. If a file sets it to another
value than the one in use, the run lists it.

"""
_HEADER = "| Key | Meaning | Type and range | Default | Example |\n|---|---|---|---|---|\n"


def configuration_page() -> str:
    """Return the page as Markdown."""
    shown = next(key for key in known_keys() if key.name == "TRAIN.EPOCHS")
    idle = NO_EFFECT.rstrip(": ")
    parts = [_INTRODUCTION.format(name=shown.name, value=example(shown), idle=idle)]
    about = dict(_sections(Config, ""))
    for top, keys in groupby(known_keys(), lambda key: key.name.partition(".")[0]):
        parts.append(f"## {top}\n\n{about[top]}\n")
        # A section's own keys first; keys of one subsection may be split by another one.
        tables: dict[str, list[Key]] = {}
        for key in keys:
            tables.setdefault(key.name.rpartition(".")[0], []).append(key)
        for section in sorted(tables, key=lambda name: (name != top, list(tables).index(name))):
            if section != top:
                parts.append(f"### {section}\n\n{about[section]}\n")
            parts.append(_HEADER + "".join(map(_row, tables[section])))
    parts.append(_old_spellings([*RENAMED.items(), *EARLY.items()]))
    return "\n".join(parts)


def _sections(model: type[Section], prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            yield prefix + name, field.description or ""
            yield from _sections(kind, f"{prefix}{name}.")


def _row(key: Key) -> str:
    last = key.name.rpartition(".")[2]
    value = example(key)
    cells = [
        f'<a id="{key.name}"></a>`{last}`',
        as_text(key.description),
        as_text(key.allowed),
        _code(_yaml(key.default)),
        "" if value is None else _code(value),
    ]
    return f"| {' | '.join(cells)} |\n"


def _yaml(value: Any) -> str:
    """Return a default value in the syntax of the file."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    if value is None:
        return "None"
    if value == "":
        return "''"
    return f"{value:g}" if isinstance(value, float) else str(value)


def as_text(words: str) -> str:
    """Escape characters with a meaning in Markdown or HTML."""
    return html.escape(words, quote=False).replace("|", "&#124;").replace("*", r"\*")


def _code(words: str) -> str:
    return f"`{words}`"


def _old_spellings(renamed: Iterable[tuple[str, str]]) -> str:
    rows = "".join(f"| `{old}` | `{new}` |\n" for old, new in sorted(renamed))
    return (
        "## Spellings of other versions\n\n"
        "These spellings are accepted, and the run prints the translation.\n\n"
        f"| Spelling | Key |\n|---|---|\n{rows}"
    )
