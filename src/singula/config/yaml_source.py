"""Conversion of a YAML file, a dict or ``--set`` arguments to dotted keys, each with its place.

YAML is read only with PyYAML's safe loader, which refuses tags that construct objects. The number
and depth of the nodes are limited during parsing, and again at each use of an alias, so that long
lists and nested aliases cannot use much time or memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from singula.config.backslashes import CODE as BACKSLASH
from singula.config.backslashes import backslash_error, backslash_problem
from singula.errors import UserError
from singula.util.format import grouped, show
from singula.util.paths import open_regular

_MERGE = "tag:yaml.org,2002:merge"
_MAX_BYTES = 1 << 20
_MAX_NODES = 20_000
_MAX_DEPTH = 40


@dataclass(frozen=True)
class Place:
    """Place where a key is written: a file and line, or the name of another source."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        """Return ``file:line``."""
        return self.source if self.line is None else f"{self.source}:{self.line}"

    def prefix(self, text: str) -> str:
        """Return ``file:line: text``; without a source, the text alone."""
        return f"{self}: {text}" if self.source else text


@dataclass(frozen=True)
class Entry:
    """Key with its value; `spelling` is the name that the user wrote if it differs from `key`."""

    key: str
    value: Any
    place: Place
    spelling: str = ""


@dataclass(frozen=True)
class Problem:
    """Mistake in a configuration.

    Attributes
    ----------
    text : str
        ``KEY: got X, expected Y``.
    code : str
        Stable identifier of the kind of mistake, such as ``config.unknown_key``.
    place : Place
        Place of the key; without a source if the key was not given.
    """

    text: str
    code: str
    place: Place = Place("")

    def __str__(self) -> str:
        return self.place.prefix(self.text)


@dataclass
class Tree:
    """Keys and sections of one source, and the problems that were found while reading it."""

    entries: dict[str, Entry] = field(default_factory=dict)
    sections: dict[str, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def read_yaml(path: Path) -> Tree:
    """Read a YAML file.

    Raises
    ------
    UserError
        ``paths.unreadable``, ``config.not_text``, ``config.syntax``, ``config.backslash``,
        ``config.empty``, ``config.no_sections``, ``config.too_large``.
    """
    try:
        with open_regular(path) as file:
            data = file.read(_MAX_BYTES + 1)
    except (UserError, OSError) as error:
        cause = error.__cause__ if isinstance(error, UserError) else error
        if isinstance(error, UserError) and not isinstance(cause, OSError):
            raise
        reason = getattr(cause, "strerror", None) or type(cause).__name__
        raise UserError(
            f"cannot read the configuration file {path}: {reason}",
            "check the path",
            "paths.unreadable",
        ) from error
    if len(data) > _MAX_BYTES:
        raise _too_large(str(path))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}:{line}: not UTF-8 text", "save the file as UTF-8", "config.not_text"
        ) from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str) -> Tree:
    """Read YAML text; `source` is its name in messages. Raise errors as `read_yaml`."""
    with _composed(text, source) as (loader, root):
        tree = Tree()
        _walk(root, "", source, loader, tree)
        return tree


def mapping_from_yaml(text: str, source: str) -> dict[Any, Any]:
    """Read YAML text that is not a configuration, within the same limits.

    Parameters
    ----------
    text : str
    source : str
        Name of the text in messages.

    Raises
    ------
    UserError
        As for `read_yaml`; ``config.value``: a value cannot be constructed.
    """
    with _composed(text, source) as (loader, root):
        try:
            mapping: dict[Any, Any] = _construct(loader, root)
        except ValueError as error:
            raise UserError(f"{source}: {error}", "correct the value", "config.value") from error
        return mapping


@contextmanager
def _composed(text: str, source: str) -> Iterator[tuple[yaml.SafeLoader, yaml.MappingNode]]:
    """Parse YAML text up to the nodes of a mapping, from which values can be constructed."""
    if len(text) > _MAX_BYTES:
        raise _too_large(source)
    loader: yaml.SafeLoader | None = None
    try:
        loader = _Loader(text, source)
        root = loader.get_single_node()
        if root is None:
            raise UserError(
                f"{source}: the file is empty", "write the keys that you need", "config.empty"
            )
        _limit(root, source)
        if not isinstance(root, yaml.MappingNode):
            raise UserError(
                f"{source}:{root.start_mark.line + 1}: got a {_kind(root)}, "
                "expected sections with keys, such as 'TRAIN:' and below it '  ENABLE: True'",
                "write each key as KEY: VALUE",
                "config.no_sections",
            )
        yield loader, root
    except yaml.YAMLError as error:
        raise (
            backslash_error(error, text, source)
            or UserError(_syntax(error, source), "correct the YAML", "config.syntax")
        ) from error
    finally:
        if loader is not None:
            loader.dispose()


class _Loader(yaml.SafeLoader):
    """Safe loader that limits the number and the depth of nodes while they are composed."""

    def __init__(self, text: str, source: str) -> None:
        super().__init__(text)
        self.source = source
        self.count = self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node and all nodes below it."""
        self.count += 1
        if self.count > _MAX_NODES or self.depth > _MAX_DEPTH:
            raise _too_large(self.source)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _construct(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    """Return the value of a node; raise ValueError if its tag does not allow it."""
    try:
        return loader.construct_object(node, deep=True)
    except yaml.YAMLError as error:
        raise ValueError(_reason(error)) from error
    # The constructors of PyYAML for !!int, !!bool, !!timestamp … fail in all these ways.
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        kind = node.tag.rpartition(":")[2]
        value = show(node.value) if isinstance(node, yaml.ScalarNode) else f"a {_kind(node)}"
        raise ValueError(f"cannot be read: got {value}, which is not a !!{kind}") from error


def from_mapping(tree: Mapping[str, Any], source: str) -> Tree:
    """Return the keys of a nested or dotted dict."""
    result = Tree()
    for key, value in _flatten(tree, "", result, Place(source)):
        result.entries[key] = Entry(key, value, Place(source))
    return result


def from_overrides(overrides: Sequence[str]) -> Tree:
    """Return the keys of ``KEY=VALUE`` texts; the last text of a key takes precedence."""
    result = Tree()
    place = Place("--set")
    for text in overrides:
        key, equals, written = text.partition("=")
        key = key.strip()
        if not equals or not key:
            result.problems.append(
                Problem(f"got {text!r}, expected KEY=VALUE", "config.override", place)
            )
            continue
        result.entries[key] = Entry(key, _scalar(written), place)
    return result


def _scalar(text: str) -> Any:
    """Parse the value of an override as YAML; return the text if it is not YAML."""
    if not text.strip():
        return ""
    try:
        tree = parse_yaml(f"value: {text}", "--set")
    except UserError:
        return text
    return text if tree.problems or "value" not in tree.entries else tree.entries["value"].value


def _flatten(
    tree: Mapping[str, Any], prefix: str, result: Tree, place: Place
) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            result.sections[key] = place
            yield from _flatten(value, f"{key}.", result, place)
        else:
            yield key, value


def _walk(
    node: yaml.MappingNode, prefix: str, source: str, loader: yaml.SafeLoader, tree: Tree
) -> None:
    for name, value in _pairs(node):
        place = Place(source, name.start_mark.line + 1)
        if not isinstance(name, yaml.ScalarNode):
            text = f"got a {_kind(name)}, expected a key"
            tree.problems.append(Problem(text, "config.not_a_key", place))
            continue
        key = prefix + name.value
        first = tree.entries[key].place if key in tree.entries else tree.sections.get(key)
        if isinstance(value, yaml.MappingNode):
            if first is not None:
                tree.problems.append(_written_twice(key, first, place))
            tree.sections.setdefault(key, place)
            _walk(value, f"{key}.", source, loader, tree)
            continue
        misread = backslash_problem(value)
        if misread is not None:
            tree.problems.append(Problem(f"{key}: {misread}", BACKSLASH, place))
            continue
        try:
            constructed = _construct(loader, value)
        except ValueError as error:
            tree.problems.append(Problem(f"{key}: {error}", "config.value", place))
            continue
        if first is None:
            tree.entries[key] = Entry(key, constructed, place)
        elif key not in tree.entries or tree.entries[key].value != constructed:
            tree.problems.append(_written_twice(key, first, place))


def _written_twice(key: str, first: Place, place: Place) -> Problem:
    """Return the problem of a key with two values, or of a section that continues elsewhere."""
    text = f"{key}: written twice, here and in line {first.line}"
    return Problem(text, "config.duplicate_key", place)


def _pairs(node: yaml.MappingNode) -> list[tuple[yaml.Node, yaml.Node]]:
    """Return the keys and values of a mapping, followed by those that it merges (``<<``)."""
    pairs = [(name, value) for name, value in node.value if name.tag != _MERGE]
    names = {_key_text(name) for name, _ in pairs}
    for name, value in node.value:
        if name.tag != _MERGE:
            continue
        for merged in value.value if isinstance(value, yaml.SequenceNode) else [value]:
            if isinstance(merged, yaml.MappingNode):
                added = [pair for pair in _pairs(merged) if _key_text(pair[0]) not in names]
                names.update(_key_text(pair[0]) for pair in added)
                pairs.extend(added)
    return pairs


def _key_text(name: yaml.Node) -> str | None:
    return str(name.value) if isinstance(name, yaml.ScalarNode) else None


def _limit(root: yaml.Node, source: str) -> None:
    """Raise an error for trees that are too large or too deep; count an alias at each use."""
    nodes: list[tuple[Any, int]] = [(root, 0)]
    count = 0
    while nodes:
        node, depth = nodes.pop()
        count += 1
        if count > _MAX_NODES or depth > _MAX_DEPTH:
            raise _too_large(source)
        children = node.value if isinstance(node, yaml.CollectionNode) else ()
        for child in children:
            pair = child if isinstance(child, tuple) else (child,)
            nodes.extend((item, depth + 1) for item in pair)


def _too_large(source: str) -> UserError:
    return UserError(
        f"{source}: too large or nested too deeply for a configuration (at most "
        f"{grouped(_MAX_NODES)} keys and values, {_MAX_DEPTH} levels and {_MAX_BYTES >> 20} MiB)",
        "check that this is the right file; write values instead of anchors (&) and aliases (*)",
        "config.too_large",
    )


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return "single value"
    return "list" if isinstance(node, yaml.SequenceNode) else "section"


def _reason(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        return f"cannot be read: {error.problem or error.context}"
    return f"cannot be read: {error}"


def _syntax(error: yaml.YAMLError, source: str) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = f"{source}:{mark.line + 1}" if mark is not None else source
    text = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{where}: not YAML: {text}"
