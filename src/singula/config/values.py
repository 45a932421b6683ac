"""Conversion and validation of values of the YAML file, and the types of the keys.

YAML 1.1 reads ``1.E-4`` and ``(256, 256, 1)`` as text. If a number or a list is expected, text is
parsed as a number or a Python literal. Nothing else is converted: 1 is not true, and 0.5 is not an
integer.
"""

from __future__ import annotations

import ast
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, BeforeValidator, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from singula.util.arguments import MAX_FLOAT
from singula.util.paths import Problem, name_problem, path_problem, text_problem

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", re.IGNORECASE | re.ASCII)
_BOOLS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
MAX_INT = 2**63 - 1
_MIN_FLOAT = 1e-37  # smaller numbers become 0 in 32 bits
_MAX_LENGTH = 10_000  # characters of a list written as text


def refusal(reason: str) -> PydanticCustomError:
    """Return a validation error whose reason is shown to the user after the allowed values."""
    return PydanticCustomError("reason", "{reason}", {"reason": reason})


def complete_refusal(message: str) -> PydanticCustomError:
    """Return a validation error whose message replaces the allowed values.

    Parameters
    ----------
    message : str
        Text that follows the key, such as ``: got 1, expected 2``.
    """
    return PydanticCustomError("complete", "{message}", {"message": message})


def is_none(value: object) -> bool:
    """Return True if the value is null or the word None."""
    return value is None or (isinstance(value, str) and value.strip().lower() in ("none", "null"))


def plain(value: object) -> Any:
    """Convert lists, and lists written as text, to tuples, so that both spellings compare equal."""
    if isinstance(value, str) and value.strip()[:1] in ("(", "["):
        value = _literal(value)
    if isinstance(value, list | tuple):
        return tuple(plain(item) for item in value)
    return value


def _literal(text: str) -> object:
    if len(text) > _MAX_LENGTH:
        return text
    try:
        value: object = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
    return value


def to_bool(value: object) -> bool:
    """Convert true, false, yes, no, on or off to a bool; raise ValueError for numbers."""
    word = value.strip().lower() if isinstance(value, str) else None
    if word in _BOOLS:
        return _BOOLS[word]
    if not isinstance(value, bool):
        raise ValueError("not true or false")
    return value


def to_float(value: object) -> float:
    """Convert a finite number, also one that YAML reads as text, to a float."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < math.inf:
        raise ValueError("not a finite number")
    if abs(value) > MAX_FLOAT or -_MIN_FLOAT < value < 0:
        limits = f"{-MAX_FLOAT:g} to {-_MIN_FLOAT:g}, 0, or up to {MAX_FLOAT:g}"
        raise refusal(f"{limits}, as 32-bit numbers allow")
    # Fields that must be above 0 refuse the 0.
    return 0.0 if 0 < value < _MIN_FLOAT else float(value)


def to_int(value: object) -> int:
    """Convert an integer, also one written as 2.0, to an int."""
    if not isinstance(value, int) or isinstance(value, bool):
        number = to_float(value)
        if number != int(number):
            raise ValueError("not an integer")
        value = int(number)
    if abs(value) > MAX_INT:
        raise refusal(f"at most {MAX_INT}")
    return value


def to_text(value: object) -> str:
    """Return text; raise an error for a number or a date without quotes."""
    if not isinstance(value, str):
        raise refusal("put it in quotes" if value is not None else "write '' for none")
    _refuse(text_problem(value))
    return value


def to_name_or_number(value: object) -> str:
    """Return a text, or an integer as text; raise an error for other values."""
    return str(value) if type(value) is int else to_text(value)


def _folder(text: str) -> str:
    """Validate a path and expand ``~``; an empty text means no path."""
    if text:
        _refuse(path_problem(text))
    return os.path.expanduser(text)


def _name(text: str) -> str:
    """Validate a part of file names; an empty text means no name."""
    if text:
        _refuse(name_problem(text))
    return text


def _refuse(problem: Problem | None) -> None:
    if problem is not None:
        raise refusal(problem[0])


def to_tuple(value: object) -> tuple[Any, ...]:
    """Convert a list, a list written as text such as ``(256, 256, 1)``, or a number to a tuple."""
    if isinstance(value, str):
        value = _literal(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (value,)
    if not isinstance(value, list | tuple):
        raise ValueError("not a list")
    return tuple(value)


def _optional(read: Any) -> BeforeValidator:
    return BeforeValidator(lambda value: None if is_none(value) else read(value))


def _ascending(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    if pair[0] > pair[1]:
        raise refusal("the first must not exceed the second")
    return pair


def _axes(text: str) -> str:
    if not text or set(text) - set("TZCYX") or len(set(text)) != len(text):
        raise refusal("each of T, Z, C, Y, X at most once, for example 'ZYXC'")
    return text


def to_size(value: object) -> int:
    """Convert a number of bytes, also text such as ``4GB``, to an int; 0 means unset."""
    size: float = -1
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        size = float(match[1]) * 1000 ** " KMGT".index(match[2].upper() or " ")
    if not 0 <= size <= MAX_INT:
        raise refusal("a number with KB, MB, GB or TB, for example '4GB'; 0 for the default")
    return int(size)


@dataclass(frozen=True)
class AnyCase:
    """Annotation of a choice of words that ignores upper and lower case."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Return a schema that matches words before the choice is validated."""
        names = {str(name).lower(): name for name in get_args(source)}

        def match(value: object) -> object:
            is_word = isinstance(value, str | int) and not isinstance(value, bool)
            return names.get(str(value).strip().lower(), value) if is_word else value

        return core_schema.no_info_before_validator_function(match, handler(source))


@dataclass(frozen=True)
class Refuse:
    """Annotation of values of BiaPy that are not supported, with the reason for the user."""

    reason: str
    values: tuple[str, ...]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Return a schema that refuses the values before the choice is validated."""

        def check(value: object) -> object:
            if isinstance(value, str) and value.strip().lower() in self.values:
                raise refusal(self.reason)
            return value

        return core_schema.no_info_before_validator_function(check, handler(source))


@dataclass(frozen=True)
class OffOr:
    """Annotation of a number within bounds, or -1 for a feature that is switched off."""

    low: float
    high: float = math.inf
    above: bool = False

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Return a schema that validates the bounds of the converted number."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, value: float) -> float:
        inside = self.low <= value <= self.high and not (self.above and value == self.low)
        if value != -1 and not inside:
            raise ValueError("out of range")
        return value

    @property
    def bounds(self) -> Sequence[object]:
        """Bounds as the annotations of a plain number."""
        low: object = Gt(self.low) if self.above else Ge(self.low)
        return (low,) if self.high == math.inf else (low, Le(self.high))


Bool = Annotated[bool, BeforeValidator(to_bool)]
Int = Annotated[int, BeforeValidator(to_int)]
Float = Annotated[float, BeforeValidator(to_float)]
Text = Annotated[str, BeforeValidator(to_text)]
NameOrNumber = Annotated[str, BeforeValidator(to_name_or_number)]
Bytes = Annotated[int, BeforeValidator(to_size)]
Folder = Annotated[str, BeforeValidator(to_text), AfterValidator(_folder)]
Name = Annotated[str, BeforeValidator(to_text), AfterValidator(_name)]
Axes = Annotated[str, BeforeValidator(to_text), AfterValidator(_axes)]
OptionalInt = Annotated[int | None, _optional(to_int)]
OptionalFloat = Annotated[float | None, _optional(to_float)]

_AsTuple = BeforeValidator(to_tuple)
_Size = Annotated[Int, Ge(1), Le(1_000_000)]
_Kernel = Annotated[Int, Ge(1), Le(999)]
_SmallKernel = Annotated[Int, Ge(1), Le(99)]
_Width = Annotated[Int, Ge(1), Le(10_000)]
_Count = Annotated[Int, Ge(1), Le(1000)]
_Factor = Annotated[Float, Ge(0.01), Le(100)]
_Angle = Annotated[Float, Ge(-89), Le(89)]
_Change = Annotated[Float, Ge(-1000), Le(1000)]
_Fraction = Annotated[Float, Ge(0), Le(1)]
_Weight = Annotated[Float, Ge(0), Le(1_000_000)]
_Strength = Annotated[Float, Ge(0), Le(2000)]
_Sigma = Annotated[Float, Ge(0), Le(100)]
Sizes = Annotated[tuple[_Size, ...], _AsTuple]
Widths = Annotated[tuple[_Width, ...], _AsTuple]
Kernels = Annotated[tuple[_Kernel, ...], _AsTuple]
OptionalSizes = Annotated[tuple[_Size, ...] | None, _optional(to_tuple)]
Steps = Annotated[tuple[Annotated[Int, Ge(0), Le(2)], ...], _AsTuple]
Pixels = Annotated[tuple[Annotated[Int, Ge(0), Le(1_000_000)], ...], _AsTuple]
Radii = Annotated[tuple[Annotated[Int, Ge(0), Le(1000)], ...], _AsTuple]
Overlaps = Annotated[tuple[Annotated[Float, Ge(0), Lt(1)], ...], _AsTuple]
Fractions = Annotated[tuple[_Fraction, ...], _AsTuple]
Thresholds = Annotated[tuple[Annotated[Float, Gt(0), Le(1)], ...], _AsTuple]
Weights = Annotated[tuple[_Weight, ...], _AsTuple]
Spacings = Annotated[tuple[Annotated[Float, OffOr(1e-9, 1e9)], ...], _AsTuple]
Numbers = Annotated[tuple[Float, ...], _AsTuple]
NumberLists = Annotated[tuple[Numbers, ...], _AsTuple]

_Ordered = AfterValidator(_ascending)
Pair = Annotated[tuple[Float, Float], _AsTuple, _Ordered]
FactorPair = Annotated[tuple[_Factor, _Factor], _AsTuple, _Ordered]
AnglePair = Annotated[tuple[_Angle, _Angle], _AsTuple, _Ordered]
ChangePair = Annotated[tuple[_Change, _Change], _AsTuple, _Ordered]
CountPair = Annotated[tuple[_Count, _Count], _AsTuple, _Ordered]
KernelPair = Annotated[tuple[_SmallKernel, _SmallKernel], _AsTuple, _Ordered]
StrengthPair = Annotated[tuple[_Strength, _Strength], _AsTuple, _Ordered]
SigmaPair = Annotated[tuple[_Sigma, _Sigma], _AsTuple, _Ordered]
FractionPair = Annotated[tuple[_Fraction, _Fraction], _AsTuple, _Ordered]
Betas = Annotated[tuple[Annotated[Float, Ge(0), Lt(1)], Annotated[Float, Ge(0), Lt(1)]], _AsTuple]
