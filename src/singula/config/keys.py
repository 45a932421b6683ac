"""Table of all keys with type, default, allowed values and description; search for similar keys."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen

from singula.config.schema.base import Section
from singula.config.schema.root import Config
from singula.config.values import OffOr
from singula.util.format import grouped, show

_SINGULAR = {bool: "true or false", int: "an integer", float: "a number", str: "text"}
_PLURAL = {bool: "true or false values", int: "integers", float: "numbers", str: "texts"}
_MAX_LENGTH = 200  # characters of a text for which a similar one is searched
_MIN_SIMILARITY = 1.2  # sum of the similarities of the whole key and of its last word, each up to 1


@dataclass(frozen=True)
class Key:
    """Key of the configuration.

    Attributes
    ----------
    name : str
        Dotted name, for example ``TRAIN.LR``.
    type : str
        Name of the type, for example ``list of int``.
    default : Any
        Value of a key that is not set.
    allowed : str
        Description of the allowed values.
    choices : tuple of str
        Allowed words; empty if the key is not a choice of words.
    description : str
        Meaning of the key, in one line.
    """

    name: str
    type: str
    default: Any
    allowed: str
    choices: tuple[str, ...]
    description: str


def known_keys() -> Iterable[Key]:
    """Return all keys, in the order of the documentation."""
    return key_table().values()


@cache
def key_table() -> dict[str, Key]:
    """Return all keys by dotted name."""
    return {key.name: key for key in _collect(Config, "")}


@cache
def section_names() -> frozenset[str]:
    """Return the dotted names of all sections."""
    return frozenset(parent for name in key_table() for parent in parents(name))


def parents(name: str) -> Iterator[str]:
    """Return the dotted names of the sections that contain a key, from the outermost."""
    steps = name.split(".")
    return (".".join(steps[:count]) for count in range(1, len(steps)))


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate most similar to a name, or None if none is similar.

    Whole names and their last words are compared, which also finds a correct word in a wrong
    section.
    """
    if len(name) > _MAX_LENGTH:
        return None
    name = name.upper()
    last = SequenceMatcher(b=name.rpartition(".")[2])
    whole = SequenceMatcher(b=name)

    def similarity(candidate: str) -> float:
        whole.set_seq1(candidate.upper())
        last.set_seq1(candidate.rpartition(".")[2].upper())
        return whole.ratio() + last.ratio()

    best = max(candidates, key=similarity, default=None)
    return best if best is not None and similarity(best) >= _MIN_SIMILARITY else None


def nearest_choice(value: object, choices: Sequence[str]) -> str | None:
    """Return the choice most similar to a refused value, or None if none is similar."""
    by_lower = {choice.lower(): choice for choice in choices if len(choices) > 1}
    text = show(value) if not isinstance(value, str) else value
    if len(text) > _MAX_LENGTH:
        return None
    matches = get_close_matches(text.lower(), by_lower, n=1, cutoff=0.55)
    return by_lower[matches[0]] if matches else None


def completions(incomplete: str) -> list[str]:
    """Complete a key or a choice for the shell: ``TRAIN.EP`` becomes ``TRAIN.EPOCHS=``."""
    name, chosen, _ = incomplete.partition("=")
    if not chosen:
        return [f"{key}=" for key in key_table() if key.startswith(name.upper())]
    key = key_table().get(name.upper())
    choices = () if key is None else ("True", "False") if key.type == "bool" else key.choices
    return [f"{name}={word}" for word in choices]


def _collect(model: type[Section], prefix: str) -> Iterator[Key]:
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from _collect(kind, f"{prefix}{name}.")
            continue
        yield Key(
            name=prefix + name,
            type=_type_text(kind),
            default=field.default,
            allowed=_allowed(kind, field.metadata),
            choices=tuple(str(word) for word in get_args(kind)) if _is_choice(kind) else (),
            description=field.description or "",
        )


def _is_choice(kind: Any) -> bool:
    return get_origin(kind) is Literal


def _split(kind: Any) -> tuple[Any, Sequence[Any]]:
    """Split an annotated type into the type and its annotations, the outermost last."""
    if get_origin(kind) is Annotated:
        inner, *notes = get_args(kind)
        return inner, notes
    return kind, ()


def _type_text(kind: Any) -> str:
    kind, _ = _split(kind)
    if _is_choice(kind):
        return "choice"
    if get_origin(kind) in (Union, UnionType):
        return f"{_type_text(get_args(kind)[0])} or None"
    if get_origin(kind) is tuple:
        items = get_args(kind)
        if items[-1] is Ellipsis:
            return f"list of {_type_text(items[0])}"
        return f"({', '.join(_type_text(item) for item in items)})"
    return str(kind.__name__)


def _allowed(kind: Any, notes: Sequence[Any], plural: bool = False) -> str:
    inner, more = _split(kind)
    notes = [*more, *notes]
    if _is_choice(inner):
        listed = ", ".join(repr(word) for word in get_args(inner))
        return f"any of {listed}" if plural else listed
    if get_origin(inner) in (Union, UnionType):
        return f"{_allowed(get_args(inner)[0], notes)}, or None"
    if get_origin(inner) is tuple:
        items = get_args(inner)
        if items[-1] is Ellipsis:
            noun = "lists" if plural else "a list"
            return f"{noun} of {_allowed(items[0], (), plural=True)}{_length(notes)}"
        return f"two {_allowed(items[0], (), plural=True)}"
    noun = (_PLURAL if plural else _SINGULAR)[inner]
    for note in notes:
        if isinstance(note, OffOr):
            return f"{noun}{_bounds(note.bounds)}, or -1"
    return noun + _bounds(notes)


def _length(notes: Sequence[Any]) -> str:
    low = next((note.min_length for note in notes if isinstance(note, MinLen)), 0)
    high = next((note.max_length for note in notes if isinstance(note, MaxLen)), math.inf)
    if high != math.inf:
        return f", {low} to {high} of them"
    return f", at least {low}" if low else ""


def _bounds(notes: Sequence[Any]) -> str:
    low: Any = next((note for note in notes if isinstance(note, Ge | Gt)), None)
    high: Any = next((note for note in notes if isinstance(note, Le | Lt)), None)
    if low is not None and high is not None:
        opening = f"[{_number(low.ge)}" if isinstance(low, Ge) else f"({_number(low.gt)}"
        closing = f"{_number(high.le)}]" if isinstance(high, Le) else f"{_number(high.lt)})"
        return f" in {opening}, {closing}"
    if low is not None:
        return f" ≥ {_number(low.ge)}" if isinstance(low, Ge) else f" > {_number(low.gt)}"
    if high is not None:
        return f" ≤ {_number(high.le)}" if isinstance(high, Le) else f" < {_number(high.lt)}"
    return ""


def _number(value: Any) -> str:
    return grouped(int(value)) if 1e6 <= abs(value) < 1e16 else f"{value:g}"
