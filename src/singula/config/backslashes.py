"""Paths of Windows in double quotes, where YAML reads a backslash as an escape."""

from __future__ import annotations

import re

import yaml

from singula.errors import UserError
from singula.util.format import show

_HINT = (
    "write the path without quotes, in single quotes, or with / instead of \\: between double "
    "quotes, YAML reads \\ as the beginning of a special character"
)
CODE = "config.backslash"
_DRIVE = re.compile(r'"[A-Za-z]:\\(?!\\)')
_ESCAPE = re.compile(r"[\0\a\b\t\n\v\f\r\x1b\x85\xa0\u2028\u2029]")


def backslash_error(error: yaml.YAMLError, text: str, source: str) -> UserError | None:
    r"""Return the error for a backslash that is not an escape, such as in ``"C:\data"``.

    Parameters
    ----------
    error : YAMLError
        Error of the parser.
    text : str
        YAML text.
    source : str
        Name of the text in messages.

    Returns
    -------
    UserError or None
        ``config.backslash``; None if the parser failed for another reason.
    """
    start = getattr(error, "context_mark", None)
    if start is None or "quoted scalar" not in str(getattr(error, "context", "")):
        return None
    written = text.splitlines()[start.line][start.column :]
    if not written.startswith('"') or "\\" not in written:
        return None
    key = _key_at(start.line, text)
    return UserError(
        f"{source}:{start.line + 1}: {key + ': ' if key else ''}got {written.strip()[:200]}, "
        "expected a path or text without single backslashes",
        _HINT,
        CODE,
    )


def backslash_problem(node: yaml.Node) -> str | None:
    r"""Return the problem of a path whose backslashes were read as escapes; None if it has none.

    In ``"C:\new"``, YAML replaces ``\n`` by a line break. Texts with spaces may contain escapes.

    Parameters
    ----------
    node : yaml.Node
        Value of a key.
    """
    if isinstance(node, yaml.SequenceNode):
        return next(filter(None, map(backslash_problem, node.value)), None)
    if not isinstance(node, yaml.ScalarNode) or node.style != '"':
        return None
    buffer = node.start_mark.buffer
    if buffer is None:
        return None
    written = buffer[node.start_mark.pointer : node.end_mark.pointer]
    is_path = _DRIVE.match(written) or (
        _ESCAPE.search(node.value) and not re.search(r"\s", written)
    )
    if not is_path or "\\" not in written:
        return None
    return f"got {written[:200]}, which YAML reads as {show(node.value)}; {_HINT}"


def _key_at(line: int, text: str) -> str:
    """Return the dotted key that begins in a line or last before it; "" if it is not clear."""
    try:
        node = yaml.compose(text.replace("\\", "/"), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):
        return ""
    names: list[str] = []
    while isinstance(node, yaml.MappingNode):
        before = [pair for pair in node.value if pair[0].start_mark.line <= line]
        if not before:
            break
        name, node = before[-1]
        names.append(str(name.value))
    return ".".join(names)
