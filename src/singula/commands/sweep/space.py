"""Values of the varied keys: lists and intervals as text, and their combinations."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from singula.config.yaml_source import from_overrides
from singula.errors import UserError
from singula.util.format import grouped, show

MAX_RUNS = 1000
_INTERVAL = re.compile(r"\s*(uniform|loguniform|integer)\s*\((.*)\)\s*", re.DOTALL)
_PAIRS = {"[": "]", "(": ")", "{": "}"}
_MAX_INTEGER = 2**53
_MAX_DRAWS = 1000  # draws per combination until another one differs from all before
_EXAMPLE = 'such as --vary "TRAIN.LR=0.001,0.002" or --vary "TRAIN.LR=loguniform(1e-4,1e-2)"'


@dataclass(frozen=True)
class Interval:
    """Interval from which values are drawn at random.

    Parameters
    ----------
    kind : str
        ``uniform``, ``loguniform`` or ``integer``.
    low, high : float
        Limits; integers include both.
    """

    kind: str
    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> str:
        """Return a value as text, with four significant digits, or more in a narrow interval."""
        if self.kind == "integer":
            return str(int(rng.integers(int(self.low), int(self.high) + 1)))
        if self.kind == "uniform":
            value = rng.uniform(self.low, self.high)
        else:
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        # Fewer digits would make all values of an interval such as 100000 to 100001 equal.
        ratio = max(abs(self.low), abs(self.high)) / (self.high - self.low)
        text = f"{value:.{4 + max(0, math.floor(math.log10(ratio)))}g}"
        rounded = float(text)
        if self.low <= rounded <= self.high:
            return text
        return repr(min(max(rounded, self.low), self.high))

    @property
    def size(self) -> float:
        """Number of different values."""
        return self.high - self.low + 1 if self.kind == "integer" else math.inf


@dataclass(frozen=True)
class VariedKey:
    """Key with the values that a sweep compares.

    Parameters
    ----------
    key : str
        Dotted key.
    values : tuple of str
        Values as text; empty for an interval.
    interval : Interval, optional
        Interval of the values.
    """

    key: str
    values: tuple[str, ...] = ()
    interval: Interval | None = None

    def draw(self, rng: np.random.Generator) -> str:
        """Return a value, at random."""
        if self.interval is not None:
            return self.interval.draw(rng)
        return self.values[int(rng.integers(len(self.values)))]

    @property
    def size(self) -> float:
        """Number of different values."""
        return len(self.values) if self.interval is None else self.interval.size


def parse_varied(texts: Sequence[str]) -> list[VariedKey]:
    """Return the varied keys of ``KEY=V1,V2`` and ``KEY=loguniform(LOW,HIGH)``.

    Parameters
    ----------
    texts : sequence of str
        Values of the option ``--vary``.

    Raises
    ------
    UserError
        ``sweep.syntax``: a text has no key, or its brackets or quotes are not closed;
        ``sweep.no_values``: a value is empty; ``sweep.repeated_value``; ``sweep.repeated_key``;
        ``sweep.interval``: the limits of an interval are not valid.

    Examples
    --------
    >>> parse_varied(["DATA.PATCH_SIZE=[64,64,1],[128,128,1]"])[0].values
    ('[64,64,1]', '[128,128,1]')
    """
    varied: dict[str, VariedKey] = {}
    for text in texts:
        key, equals, written = text.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UserError(
                f"--vary: got {show(text)}, expected KEY=VALUE,VALUE",
                f"give a key and its values, {_EXAMPLE}",
                "sweep.syntax",
            )
        if key in varied:
            raise UserError(
                f"--vary: got {show(key)} twice, expected each key once",
                "give all values of the key in one option",
                "sweep.repeated_key",
            )
        match = _INTERVAL.fullmatch(written)
        if match is not None:
            varied[key] = VariedKey(key, interval=_interval(key, match[1], match[2]))
        else:
            varied[key] = VariedKey(key, _values(key, written))
    return list(varied.values())


def _interval(key: str, kind: str, text: str) -> Interval:
    convert: Callable[[str], float] = int if kind == "integer" else float
    try:
        low, high = (convert(part) for part in text.split(","))
        # An integer with thousands of digits does not fit into a float.
        is_valid = abs(low) < _MAX_INTEGER and abs(high) < _MAX_INTEGER and low < high
    except ValueError:
        is_valid, low, high = False, 0, 0
    if not is_valid or (kind == "loguniform" and low <= 0):
        expected = "two integers" if kind == "integer" else "two numbers"
        above = " above 0" if kind == "loguniform" else ""
        written = f"{kind}({text})"
        raise UserError(
            f"--vary {key}: got {show(written)}, expected {expected}{above}, the smaller one first",
            f"give the limits of the interval, such as {kind}(1,8)",
            "sweep.interval",
        )
    return Interval(kind, low, high)


def _values(key: str, text: str) -> tuple[str, ...]:
    values = tuple(part.strip() for part in _split(key, text))
    if not all(values):
        raise UserError(
            f"--vary {key}: got {show(text)}, expected values separated by commas",
            f"give the values of the key, {_EXAMPLE}",
            "sweep.no_values",
        )
    parsed = [from_overrides([f"{key}={value}"]).entries[key].value for value in values]
    for number, value in enumerate(parsed):
        if value in parsed[:number]:
            raise UserError(
                f"--vary {key}: got {show(values[number])} twice, expected different values",
                "give each value once; to repeat a training, use --vary SYSTEM.SEED=1,2,3",
                "sweep.repeated_value",
            )
    return values


def _split(key: str, text: str) -> list[str]:
    """Divide a text at its commas, except commas in brackets and quotes."""
    parts, closing, quote = [""], list[str](), ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in _PAIRS:
            closing.append(_PAIRS[char])
        elif closing and char == closing[-1]:
            closing.pop()
        elif char == "," and not closing:
            parts.append("")
            continue
        parts[-1] += char
    if quote or closing:
        raise UserError(
            f"--vary {key}: got {show(text)}, in which {(closing or [quote])[-1]} is missing",
            "close all brackets and quotes",
            "sweep.syntax",
        )
    return parts


def combine(varied: Sequence[VariedKey], trials: int | None, seed: int) -> list[dict[str, str]]:
    """Return the combinations of values: all of them, or a number of random ones.

    Parameters
    ----------
    varied : sequence of VariedKey
        Keys with their values; a sweep without keys has one combination.
    trials : int, optional
        Number of random combinations, which all differ. Default: the grid of all values, in
        which the last key changes first.
    seed : int
        Seed of random combinations. The first ones are the same for each number of trials.

    Returns
    -------
    list of dict
        Values as text, by key.

    Raises
    ------
    UserError
        ``sweep.trials``: an interval without a number of trials, or fewer combinations than
        trials; ``sweep.too_many``.

    Examples
    --------
    >>> combine(parse_varied(["A=1,2", "B=3,4"]), None, 0)[1]
    {'A': '1', 'B': '4'}
    """
    interval = next((each for each in varied if each.interval is not None), None)
    size = math.prod(each.size for each in varied)
    if trials is None:
        if interval is not None:
            raise UserError(
                f"--vary {interval.key}: got an interval without --trials, expected both",
                "give the number of random combinations, such as --trials 10",
                "sweep.trials",
            )
        check_number(size)
        keys = [each.key for each in varied]
        rows = product(*(each.values for each in varied))
        return [dict(zip(keys, row, strict=True)) for row in rows]
    check_number(trials)
    drawn: dict[tuple[str, ...], None] = {}
    rng = np.random.default_rng(seed)
    for _ in range(_MAX_DRAWS * trials if trials <= size else 0):
        drawn[tuple(each.draw(rng) for each in varied)] = None
        if len(drawn) == trials:
            return [dict(zip((v.key for v in varied), row, strict=True)) for row in drawn]
    raise UserError(
        f"--trials: got {trials}, expected at most {len(drawn) or int(size)}, the number of "
        "combinations",
        "give a smaller number, more values, or omit --trials to run all combinations",
        "sweep.trials",
    )


def check_number(count: float) -> None:
    """Raise an error if a sweep has too many runs.

    Raises
    ------
    UserError
        ``sweep.too_many``.
    """
    if count > MAX_RUNS:
        number = grouped(int(count)) if count < _MAX_INTEGER else "a very large number of"
        raise UserError(
            f"sweep: got {number} runs, expected at most {grouped(MAX_RUNS)}",
            "vary fewer values, or draw some combinations at random with --trials",
            "sweep.too_many",
        )
