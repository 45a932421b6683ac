"""From a file, a dict and overrides to a `Config`; every problem is reported at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from singula.config.biapy.translate import RENAMED, translate
from singula.config.biapy.translation import Translation
from singula.config.biapy.unsupported import working_words
from singula.config.defaults import resolve
from singula.config.implied import implied
from singula.config.keys import key_table, nearest, nearest_choice, parents, section_names
from singula.config.schema.root import Config, nested
from singula.config.thresholds import set_by_user
from singula.config.validate import check_config, config_notices
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
from singula.util.arguments import function, instance, items, of_class
from singula.util.format import counted, grouped, show
from singula.util.paths import user_path

Notify = Callable[[str], None]
# What a comma makes of an unquoted tuple in a flow mapping: {PADDING: (6, 16, 16)}
_TUPLE_PIECE = re.compile(r"\.-?[\d.]+\)?$")
_MOST_SEARCHED = 50  # unknown keys for which the nearest one is searched
_LONGEST_NAME = 200  # characters of an unknown key in a message
_MOST_SHOWN = 200  # problems in a message
_DOTTED = re.compile(r"[A-Z]\w*(?:\.\w+)+")


def load_config(
    path: str | Path, overrides: Sequence[str] = (), *, notify: Notify | None = None
) -> Config:
    """Read a YAML file.

    Parameters
    ----------
    path : str or Path
        The file. Relative folders in it are relative to the working directory.
    overrides : sequence of str
        ``KEY=VALUE`` with dotted keys; they win over the file.
    notify : callable, optional
        Gets a line for each translated or unused key and for what has no effect.

    Returns
    -------
    Config
        Checked, with dependent defaults filled in.

    Raises
    ------
    TypeError
        A wrong argument.
    UserError
        With every problem of the file and the overrides, each with its line and key.
    """
    overrides, notify = _checked(overrides, notify)
    file = user_path(path, "path")
    return _build(read_yaml(file), overrides, str(file), notify)


def config_from_dict(
    tree: Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    notify: Notify | None = None,
    source: str = "configuration",
) -> Config:
    """Take a nested or dotted dict as if it had been read from a file.

    Parameters
    ----------
    tree : mapping
        Sections and keys; not changed.
    overrides, notify
        As for `load_config`.
    source : str
        What messages call the dict; empty for messages of one source alone.

    Raises
    ------
    TypeError, UserError
        As for `load_config`.
    """
    overrides, notify = _checked(overrides, notify)
    tree = instance(tree, "tree", Mapping)  # type: ignore[type-abstract]
    return _build(from_mapping(tree, instance(source, "source", str)), overrides, source, notify)


def _checked(overrides: object, notify: object) -> tuple[tuple[str, ...], Notify | None]:
    told: Notify | None = None if notify is None else function(notify, "notify")
    return items(overrides, "overrides", of_class(str)), told


def config_from_text(text: str, source: str) -> Config:
    """Read a configuration from YAML text; `source` is its name in messages.

    Raises
    ------
    UserError
        As for `load_config`.
    """
    return _build(parse_yaml(text, source), (), source, None)


def read_values(path: str | Path) -> tuple[dict[str, Any], list[str]]:
    """Read the keys that a file sets, by their present names, without judging their values.

    Returns
    -------
    values : dict
        By dotted key.
    left_out : list of str
        Where the file has keys that nobody knows, and which was meant.

    Raises
    ------
    UserError
        The file cannot be read, or says one thing in two ways.
    """
    path = user_path(path, "path")
    tree = read_yaml(path)
    read = translate(tree)
    if read.problems:
        raise _error(read.problems, str(path))
    entries = read.entries | implied(read.entries).entries
    values = {name: entry.value for name, entry in entries.items() if name in key_table()}
    return values, [str(problem) for problem in _unknown(read.entries, tree.sections).values()]


def examine_values(values: Mapping[str, Any]) -> tuple[Config, dict[str, str], list[str]]:
    """Judge keys one by one and together, for a form that shows each error beside its field.

    Parameters
    ----------
    values : mapping
        Dotted keys.

    Returns
    -------
    config : Config
        Of the keys that can be read; the others have their defaults.
    errors : dict of str to str
        By key: the value found and what is allowed.
    notices : list of str
        What has no effect.
    """
    tree = from_mapping(values, "")
    config, parts, problems = _examine(tree, (), "")
    errors: dict[str, str] = {}
    for problem in problems:
        name, _, text = problem.text.partition(":")
        errors.setdefault(name, text.strip())
    return config, errors, list(_told(parts, config, {}, ""))


def _build(tree: Tree, overrides: Sequence[str], source: str, notify: Notify | None) -> Config:
    config, parts, problems = _examine(tree, overrides, source)
    if problems:
        raise _error(problems, source)
    if notify is not None:
        entries = _merged(parts)
        for line in _told(parts, config, entries, source):
            notify(line)
    return config


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
    known = {name: entry for name, entry in entries.items() if name in key_table()}
    config, refused = _validate(known)
    problems += refused.values()
    config = set_by_user(resolve(config), parts[1].entries)
    train, test = config.TRAIN.ENABLE, config.TEST.ENABLE
    # A key that could not be read has its default now, which may break a rule by itself.
    unsure = _meant(unknown).union(*(_names(problem.text) for problem in problems))
    for text in check_config(config, train=train, test=test):
        names = _names(text)
        if not unsure & names.union(*(parents(name) for name in names)):
            problems.append(Problem(_place(text, known, source), text))
    return config, parts, problems


def _merged(parts: Iterable[Translation]) -> dict[str, Entry]:
    """Return the keys of all parts; a later part takes precedence."""
    return {name: entry for part in parts for name, entry in part.entries.items()}


def _told(
    parts: Sequence[Translation], config: Config, entries: Mapping[str, Entry], source: str
) -> Iterator[str]:
    """What the user should know of a configuration that can be used."""
    yield from _notices(parts)
    train, test = config.TRAIN.ENABLE, config.TEST.ENABLE
    for text in config_notices(config, train=train, test=test):
        yield str(Problem(_place(text, entries, source), text))


def _unknown(entries: Mapping[str, Entry], sections: Mapping[str, Place]) -> dict[str, Problem]:
    """Keys that nobody knows, a wholly unknown section as one."""
    known_sections = section_names()
    all_sections = known_sections | {parent for old in RENAMED for parent in parents(old)}
    problems: dict[str, Problem] = {}
    for name, entry in entries.items():
        if name in key_table() or (name in known_sections and is_none(entry.value)):
            continue
        if name in known_sections:
            text = f"{name}: found {show(entry.value)}; allowed keys below it, it is a section"
            problems[name] = Problem(entry.place, text)
            continue
        first = next((part for part in parents(name) if part not in all_sections), name)
        if first in key_table():
            text = f"{first}: found keys below it; allowed {key_table()[first].allowed}"
            problems.setdefault(first, Problem(entry.place, text))
            continue
        searched = len(problems) < _MOST_SEARCHED
        near = nearest(first, all_sections if first != name else key_table()) if searched else None
        kind = "section" if first != name else "key"
        hint = f"; did you mean {near}?" if near else ""
        place = sections.get(first, entry.place)
        if _TUPLE_PIECE.search(first):
            hint = '; between { and } a tuple needs quotes, "(6, 16, 16)", or brackets, [6, 16, 16]'
        problems.setdefault(first, Problem(place, f"{_word(first)}: unknown {kind}{hint}"))
    return problems


def _word(name: str) -> str:
    """Write an unknown key for a message; characters that cannot be printed are escaped."""
    return name if name.isprintable() and len(name) <= _LONGEST_NAME else show(name)


def _meant(unknown: Iterable[str]) -> set[str]:
    """Guess the keys that unknown ones stand for."""
    candidates = [*key_table(), *section_names()]
    likely = (nearest(name, candidates) for name in islice(unknown, _MOST_SEARCHED))
    return {name for name in likely if name is not None}


def _names(text: str) -> set[str]:
    """List the dotted keys in a message, and what it begins with."""
    return {text.partition(":")[0], *_DOTTED.findall(text)}


def _validate(known: Mapping[str, Entry]) -> tuple[Config, dict[str, Problem]]:
    """Build the configuration from all keys that can be read, and report the others."""
    problems: dict[str, Problem] = {}
    values = {name: entry.value for name, entry in known.items()}
    try:
        return Config.model_validate(nested(values)), problems
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            name = _key_of(detail["loc"])
            if name in problems:
                continue
            reason = detail["msg"] if detail["type"] == "reason" else ""
            problems[name] = Problem(known[name].place, _refusal(known[name], reason))
    readable = {name: value for name, value in values.items() if name not in problems}
    return Config.model_validate(nested(readable)), problems


def _key_of(location: Sequence[int | str]) -> str:
    """Find the key in which an error is; what follows it are positions in lists."""
    for count in range(len(location), 0, -1):
        name = ".".join(str(step) for step in location[:count])
        if name in key_table():
            return name
    raise KeyError(location)


def _refusal(entry: Entry, reason: str) -> str:
    key = key_table()[entry.key]
    words = working_words(entry.key)
    allowed = ", ".join(repr(word) for word in words) if words else key.allowed
    written = f" in {entry.spelling}" if entry.spelling else ""
    text = f"{entry.key}: found {show(entry.value)}{written}; allowed {allowed}"
    if reason:
        return f"{text} ({reason})"
    near = nearest_choice(entry.value, words or key.choices)
    return f"{text}; did you mean {near!r}?" if near else text


def _place(text: str, known: Mapping[str, Entry], source: str) -> Place:
    """Where the key that a text begins with was written."""
    entry = known.get(text.partition(":")[0])
    return entry.place if entry is not None else Place(source)


def _notices(parts: Iterable[Translation]) -> list[str]:
    parts = list(parts)
    lines = [line for part in parts for line in part.notices]
    others = [name for part in parts for name in part.other_workflows]
    unused = [name for part in parts for name in part.unused]
    if others:
        lines.append(f"keys of other workflows, unused here: {', '.join(others)}")
    if unused:
        lines.append(f"keys of other versions, not used here: {', '.join(unused)}")
    return lines


def _error(problems: Sequence[Problem], source: str) -> UserError:
    ordered = sorted(problems, key=lambda p: (p.place.source != source, p.place.line or 0, p.text))
    count = counted(len(ordered), "problem")
    lines = "\n".join(f"  {problem}" for problem in ordered[:_MOST_SHOWN])
    if len(ordered) > _MOST_SHOWN:
        lines += f"\n  … and {grouped(len(ordered) - _MOST_SHOWN)} more"
    return UserError(
        f"{count} in the configuration:\n{lines}",
        "nothing was read or written; correct the keys",
        "config.invalid",
    )
