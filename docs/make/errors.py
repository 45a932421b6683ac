"""Page of the documentation that lists all error codes, generated from the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from configuration import as_text

import singula

CODE = re.compile(r"[a-z]+\.[a-z0-9]+(_[a-z0-9]+)*")
_CALLS = {
    "UserError": (0, 1, 2),
    "StorageError": (0, 1, 2),
    "Problem": (0, None, 1),
    "problem": (1, None, 2),
}
"""Functions that create an error, and the positions of message, remedy and code."""
_CORRECT = "correct the key"  # remedy of problems of a configuration

_INTRODUCTION = """\
# Error codes

Every error that a user can correct has a code, which stays the same when the wording changes. It is
the attribute `code` of the exception `singula.UserError`. The error of a configuration,
`config.invalid`, lists several problems; each element of its attribute `problems` has a code.
In the messages, `…` replaces values.

[Troubleshooting](troubleshooting.md) explains the most frequent errors.
"""


class ErrorEntry(NamedTuple):
    """Code, message and remedy of an error, with ``…`` in place of values."""

    code: str
    message: str
    remedy: str


def errors_page() -> str:
    """Return the page as Markdown."""
    lines = [_INTRODUCTION]
    for area, entries in groupby(error_entries(), lambda entry: entry.code.partition(".")[0]):
        lines += [f"## {area}", "", "| Code | Message | Remedy |", "|---|---|---|"]
        for entry in entries:
            cells = (f"`{entry.code}`", as_text(entry.message), as_text(entry.remedy))
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def error_entries() -> list[ErrorEntry]:
    """Return all errors of the source, sorted by code, without repetitions."""
    entries: set[ErrorEntry] = set()
    for path in Path(singula.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = _assignments(tree.body)
        for statement in tree.body:
            methods = statement.body if isinstance(statement, ast.ClassDef) else [statement]
            for function in methods:
                assignments = [*constants, *_assignments(ast.walk(function))]
                for node in ast.walk(function):
                    earlier = [a for a in assignments if a.lineno < getattr(node, "lineno", 0)]
                    names = {a.targets[0].id: a.value for a in earlier}
                    entries.update(_entries(node, names))
    # Messages that consist of values only are left out if the code has other messages.
    described = {entry.code for entry in entries if re.search("[a-z]", entry.message)}
    return sorted(
        entry
        for entry in entries
        if entry.code not in described or re.search("[a-z]", entry.message)
    )


def _assignments(nodes: Iterable[ast.AST]) -> list[ast.Assign]:
    """Return the assignments to single names, in the order of the lines."""
    assignments = [
        node
        for node in nodes
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    ]
    return sorted(assignments, key=lambda node: node.lineno)


def _entries(node: ast.AST, names: dict[str, ast.expr]) -> Iterator[ErrorEntry]:
    """Yield the errors of a call, or of a tuple (message, remedy, code)."""
    if isinstance(node, ast.Tuple) and len(node.elts) == 3:
        message, remedy, code = node.elts
    elif isinstance(node, ast.Call) and _name(node.func) in _CALLS:
        positions = _CALLS[_name(node.func)]
        if len(node.args) <= max(position or 0 for position in positions):
            return
        message, remedy, code = (
            ast.Constant(_CORRECT) if position is None else node.args[position]
            for position in positions
        )
    else:
        return
    for value in _constants(code, names):
        if CODE.fullmatch(value):
            yield ErrorEntry(value, _template(message, names), _template(remedy, names))


def _name(function: ast.expr) -> str:
    return getattr(function, "id", "") or getattr(function, "attr", "")


def _constants(node: ast.expr, names: dict[str, ast.expr]) -> Iterator[str]:
    """Yield the texts that an expression can be."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _constants(node.body, names)
        yield from _constants(node.orelse, names)
    elif isinstance(node, ast.Name) and node.id in names:
        yield from _constants(names[node.id], {})


def _template(node: ast.expr, names: dict[str, ast.expr]) -> str:
    """Return a text in one line, with ``…`` in place of values."""
    if isinstance(node, ast.Name) and node.id in names:
        node, names = names[node.id], {}
    if isinstance(node, ast.Constant):
        text = str(node.value or "")
    elif isinstance(node, ast.JoinedStr):
        text = "".join(_template(part, {}) for part in node.values)
    elif isinstance(node, ast.BinOp):
        text = _template(node.left, names) + _template(node.right, names)
    else:
        text = "…"
    return re.sub(r"…+", "…", re.sub(r"\s*\n\s*", " ", text))
