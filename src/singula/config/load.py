"""Conversion of a file, a dict and overrides to a `Config`; all problems are reported at once."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from singula.config.biapy.translate import RENAMED, translate
from singula.config.biapy.translation import Translation
from singula.config.biapy.unsupported import supported_choices
from singula.config.defaults import resolve
from singula.config.implied import implied
from singula.config.keys import key_table, nearest, nearest_choice, parents, section_names
from singula.config.notices import config_notices
from singula.config.schema.root import Config, nested
from singula.config.thresholds import set_by_user
from singula.config.validate import check_config
from singula.config.values import is_none
from singula.config.yaml_source import (
    Entry,
    Place,
    Problem,
    Tree,
    from_mapping,
    from_overrides,
    parse_yaml,
    read_yaml,
)
from singula.errors import UserError
from singula.util.arguments import instance, items, of_class
from singula.util.format import counted, grouped, list_lines, show
from singula.util.paths import user_path

_log = logging.getLogger(__name__)
# YAML splits an unquoted tuple in a flow mapping at its commas: {PADDING: (6, 16, 16)}
_TUPLE_PIECE = re.compile(r"\.-?[\d.]+\)?$")
_MAX_SEARCHES = 50  # unknown keys for which a similar one is searched
_MAX_NAME = 200  # characters of an unknown key in a message
_MAX_LISTED = 200  # problems in a message
_DOTTED = re.compile(r"[A-Z]\w*(?:\.\w+)+")


class ConfigError(UserError):
    """Error that lists the problems of a configuration.

    Parameters
    ----------
    problems : sequence of Problem
        All problems, in the order in which they were found.
    source : str
        Name of the file or dict; its problems are listed first, by line.
    """

    def __init__(self, problems: Sequence[Problem], source: str) -> None:
        self.source = source
        self.problems = sorted(
            problems, key=lambda p: (p.place.source != source, p.place.line or 0, p.text)
        )
        lines = "\n".join(f"  {problem}" for problem in self.problems[:_MAX_LISTED])
        if len(self.problems) > _MAX_LISTED:
            lines += f"\n  … and {grouped(len(self.problems) - _MAX_LISTED)} more"
        super().__init__(
            f"{counted(len(self.problems), 'problem')} in the configuration:\n{lines}",
            "correct the keys; nothing was read or written",
            "config.invalid",
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems, self.source)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file.

    A warning is logged for each translated or unused key and for keys that have no effect.

    Parameters
    ----------
    path : str or Path
        The file. Relative paths in it start at the working directory.
    overrides : sequence of str
        ``KEY=VALUE`` with dotted keys; they take precedence over the file.

    Returns
    -------
    Config
        Validated, with dependent defaults filled in.

    Raises
    ------
    TypeError
        An argument has a wrong type.
    UserError
        ``config.invalid``: the file or the overrides have mistakes; the message lists all of them
        with line and key. Errors of the file as a whole have other codes, such as
        ``config.syntax``.

    Examples
    --------
    >>> import singula
    >>> from pathlib import Path
    >>> text = "DATA: {PATCH_SIZE: [64, 64, 1], TEST: {PATH: images}}, TEST: {ENABLE: True}"
    >>> _ = Path("cells.yaml").write_text("{PROBLEM: {NDIM: 2D}, " + text + "}")
    >>> config = singula.load_config("cells.yaml", ["TRAIN.EPOCHS=50"])
    >>> config.DATA.PATCH_SIZE, config.TRAIN.EPOCHS
    ((64, 64, 1), 50)
    """
    overrides = items(overrides, "overrides", of_class(str))
    file = user_path(path, "path")
    config, notices = _build(read_yaml(file), overrides, str(file))
    for line in notices:
        _log.warning(line)
    return config


def config_from_dict(
    tree: Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    source: str = "configuration",
) -> Config:
    """Build a configuration from a nested or dotted dict.

    Parameters
    ----------
    tree : mapping
        Sections and keys; not changed.
    overrides : sequence of str
        As for `load_config`.
    source : str
        Name of the dict in messages; if empty, messages begin with the key.

    Raises
    ------
    TypeError, UserError
        As for `load_config`.
    """
    return config_and_notices(tree, overrides, source=source)[0]


def config_and_notices(
    tree: Mapping[str, Any], overrides: Sequence[str] = (), *, source: str = "configuration"
) -> tuple[Config, Iterator[str]]:
    """Return the configuration of a dict, and the warnings of `load_config` about it.

    Parameters are those of `config_from_dict`.
    """
    overrides = items(overrides, "overrides", of_class(str))
    tree = instance(tree, "tree", Mapping)  # type: ignore[type-abstract]
    return _build(from_mapping(tree, instance(source, "source", str)), overrides, source)


def config_from_text(text: str, source: str) -> Config:
    """Read a configuration from YAML text; `source` is its name in messages.

    Raises
    ------
    UserError
        As for `load_config`.
    """
    return _build(parse_yaml(text, source), (), source)[0]


def read_values(path: str | Path) -> tuple[dict[str, Any], list[str]]:
    """Read the keys of a file by their names in the schema, without validating the values.

    Returns
    -------
    values : dict
        Values by dotted key.
    unknown : list of str
        A message for each unknown key, with the most similar key.

    Raises
    ------
    UserError
        The file cannot be read, or sets one key in two spellings.
    """
    path = user_path(path, "path")
    tree = read_yaml(path)
    translation = translate(tree)
    if translation.problems:
        raise ConfigError(translation.problems, str(path))
    entries = translation.entries | implied(translation.entries).entries
    values = {name: entry.value for name, entry in entries.items() if name in key_table()}
    unknown = _unknown(translation.entries, tree.sections)
    return values, [str(problem) for problem in unknown.values()]


def examine_values(values: Mapping[str, Any]) -> tuple[Config, dict[str, str], list[str]]:
    """Validate keys separately and together, for a form that shows each error next to its field.

    Parameters
    ----------
    values : mapping
        Values by dotted key.

    Returns
    -------
    config : Config
        Configuration of the valid keys; the others have their defaults.
    errors : dict of str to str
        For each key, the given and the expected value.
    notices : list of str
        Messages about keys without effect.
    """
    tree = from_mapping(values, "")
    config, parts, problems = _examine(tree, (), "")
    errors: dict[str, str] = {}
    for problem in problems:
        name, _, text = problem.text.partition(":")
        errors.setdefault(name, text.strip())
    return config, errors, list(_messages(parts, config, {}, ""))


def _build(tree: Tree, overrides: Sequence[str], source: str) -> tuple[Config, Iterator[str]]:
    """Return the configuration and its notices, which are computed when they are read."""
    config, parts, problems = _examine(tree, overrides, source)
    if problems:
        raise ConfigError(problems, source)
    return config, _messages(parts, config, _merged(parts), source)


def _examine(
    tree: Tree, overrides: Sequence[str], source: str
) -> tuple[Config, list[Translation], list[Problem]]:
    over = from_overrides(overrides)
    parts = [translate(tree), translate(over)]
    parts.append(implied(_merged(parts)))
    entries = _merged(parts)
    sections = tree.sections | over.sections
    problems = [problem for part in parts for problem in part.problems]
    unknown = _unknown(entries, sections)
    problems += unknown.values()
    valid = {name: entry for name, entry in entries.items() if name in key_table()}
    config, refused = _validate(valid)
    problems += refused.values()
    config = set_by_user(resolve(config), parts[1].entries)
    train, test = config.TRAIN.ENABLE, config.TEST.ENABLE
    # A key with an invalid value has its default here, which may violate a rule.
    uncertain = _meant(unknown).union(*(_names(problem.text) for problem in problems))
    for problem in check_config(config, train=train, test=test):
        names = _names(problem.text)
        if not uncertain & names.union(*(parents(name) for name in names)):
            problems.append(replace(problem, place=_place(problem.text, valid, source)))
    return config, parts, problems


def _merged(parts: Iterable[Translation]) -> dict[str, Entry]:
    """Return the keys of all parts; a later part takes precedence."""
    return {name: entry for part in parts for name, entry in part.entries.items()}


def _messages(
    parts: Sequence[Translation], config: Config, entries: Mapping[str, Entry], source: str
) -> Iterator[str]:
    """Yield messages about a valid configuration: translated, unused and idle keys."""
    yield from _notices(parts)
    train, test = config.TRAIN.ENABLE, config.TEST.ENABLE
    for text in config_notices(config, train=train, test=test):
        yield _place(text, entries, source).prefix(text)


def _unknown(entries: Mapping[str, Entry], sections: Mapping[str, Place]) -> dict[str, Problem]:
    """Return the problems of unknown keys; an unknown section is one problem."""
    known_sections = section_names()
    all_sections = known_sections | {parent for old in RENAMED for parent in parents(old)}
    problems: dict[str, Problem] = {}
    for name, entry in entries.items():
        if name in key_table() or (name in known_sections and is_none(entry.value)):
            continue
        if name in known_sections:
            text = f"{name}: got {show(entry.value)}, expected keys below it, as it is a section"
            problems[name] = Problem(text, "config.section_expected", entry.place)
            continue
        first = next((part for part in parents(name) if part not in all_sections), name)
        if first in key_table():
            text = f"{first}: got keys below it, expected {key_table()[first].allowed}"
            problems.setdefault(first, Problem(text, "config.value_expected", entry.place))
            continue
        is_section = first != name
        is_searched = len(problems) < _MAX_SEARCHES
        near = nearest(first, all_sections if is_section else key_table()) if is_searched else None
        hint = f"; did you mean {near}?" if near else ""
        place = sections.get(first, entry.place)
        if _TUPLE_PIECE.search(first):
            hint = '; between { and } a tuple needs quotes, "(6, 16, 16)", or brackets, [6, 16, 16]'
        code = "config.unknown_section" if is_section else "config.unknown_key"
        text = f"{_printable(first)}: unknown {'section' if is_section else 'key'}{hint}"
        problems.setdefault(first, Problem(text, code, place))
    return problems


def _printable(name: str) -> str:
    """Return an unknown key for a message; escape characters that cannot be printed."""
    return name if name.isprintable() and len(name) <= _MAX_NAME else show(name)


def _meant(unknown: Iterable[str]) -> set[str]:
    """Return the keys that unknown keys are most similar to."""
    candidates = [*key_table(), *section_names()]
    likely = (nearest(name, candidates) for name in islice(unknown, _MAX_SEARCHES))
    return {name for name in likely if name is not None}


def _names(text: str) -> set[str]:
    """Return the dotted keys in a message, and its beginning."""
    return {text.partition(":")[0], *_DOTTED.findall(text)}


def _validate(valid: Mapping[str, Entry]) -> tuple[Config, dict[str, Problem]]:
    """Build the configuration from all valid keys, and return the problems of the others."""
    problems: dict[str, Problem] = {}
    values = {name: entry.value for name, entry in valid.items()}
    try:
        return Config.model_validate(nested(values)), problems
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            name = _key_of(detail["loc"])
            if name in problems:
                continue
            reason = detail["msg"] if detail["type"] == "reason" else ""
            is_complete = detail["type"] == "complete"
            text = name + detail["msg"] if is_complete else _refusal(valid[name], reason)
            problems[name] = Problem(text, "config.value", valid[name].place)
    readable = {name: value for name, value in values.items() if name not in problems}
    return Config.model_validate(nested(readable)), problems


def _key_of(location: Sequence[int | str]) -> str:
    """Return the key of an error, without the positions in lists that follow it."""
    for count in range(len(location), 0, -1):
        name = ".".join(str(step) for step in location[:count])
        if name in key_table():
            return name
    raise KeyError(location)


def _refusal(entry: Entry, reason: str) -> str:
    key = key_table()[entry.key]
    choices = supported_choices(entry.key)
    allowed = ", ".join(repr(word) for word in choices) if choices else key.allowed
    written = f" in {entry.spelling}" if entry.spelling else ""
    text = f"{entry.key}: got {show(entry.value)}{written}, expected {allowed}"
    if reason:
        return f"{text} ({reason})"
    near = nearest_choice(entry.value, choices or key.choices)
    return f"{text}; did you mean {near!r}?" if near else text


def _place(text: str, valid: Mapping[str, Entry], source: str) -> Place:
    """Return the place of the key that a text begins with."""
    entry = valid.get(text.partition(":")[0])
    return entry.place if entry is not None else Place(source)


def _notices(parts: Iterable[Translation]) -> list[str]:
    parts = list(parts)
    lines = [line for part in parts for line in part.notices]
    others = [name for part in parts for name in part.other_workflows]
    idle = [text for part in parts for text in part.idle]
    if others:
        lines.append(f"keys of other workflows, not used here: {', '.join(others)}")
    if idle:
        verb = "has" if len(idle) == 1 else "have"
        first = f"{counted(len(idle), 'value')} of BiaPy {verb} no effect in Singula:"
        lines.append(f"{first}{list_lines(idle, len(idle))}")
    return lines
