"""Settings of decoding."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from numbers import Integral, Real
from typing import Any

from singula.errors import UserError
from singula.representations.channels.contour import CONTOUR_MODES
from singula.representations.thresholds import AUTOMATIC, THRESHOLDS
from singula.util.arguments import MAX_FLOAT, choice, flag, instance, integer, items, number, text
from singula.util.format import show

MORPH_OPERATIONS = ("erode", "dilate")
KEYWORDS = {threshold.keyword: threshold for threshold in THRESHOLDS.values()}
"""Thresholds by their arguments of `singula.decode`."""


@dataclass(frozen=True)
class DecodeSettings:
    """Settings of the decoding of channel maps into instances.

    Parameters
    ----------
    th_type : {"auto", "manual"}
        ``auto`` computes the thresholds of binary channels from the maps (see
        `singula.representations.decoders.thresholds`); ``manual`` uses the values below.
    manual_keys : frozenset of str
        Keys without prefix, such as ``TH_CONTOUR``, whose values are used even if `th_type` is
        ``auto``.
    thresholds : mapping of str to float
        Values by key without prefix, a key of `singula.representations.thresholds.THRESHOLDS`. The
        others have their defaults.
    remove_small : int
        Minimum number of pixels of an object; smaller objects are removed. 0 or less keeps all.
    remove_small_at_border : int
        Minimum number of pixels of an object that touches the image border, since part of it may
        be outside, if it is less than `remove_small`. A negative number treats all objects alike.
    remove_before : bool
        True: seeds smaller than `remove_small` are removed before they grow.
        False: instances smaller than it are removed afterwards.
    seed_morph : tuple of (str, float)
        ``("erode" | "dilate", radius)`` steps on the seed mask, in order. Radii are in pixels of
        the finest axis; with a spacing, the disk or ball is round in physical units.
    fore_erosion, fore_dilation : float
        Radii of an erosion followed by a dilation of the growth mask, in the same unit; 0 is off.
    by_2d_slices : bool
        Flood volumes slice by slice. Seeds keep their 3D ids, so that an instance has one id in
        all its slices, but it only covers slices in which it has a seed.
    contour_mode : {"thick", "inner", "outer", "dense"}
        Contour mode of the training targets; only used by `grow_into_contour`.
    grow_into_contour : bool
        ``B`` excludes the contour, so instances grown inside ``B`` lack their outermost ring.
        True grows them over their own side of the contour; `BCM` then grows inside ``M``.
    """

    th_type: str = "auto"
    manual_keys: frozenset[str] = frozenset()
    thresholds: Mapping[str, float] = field(default_factory=dict)
    remove_small: int = 10
    remove_small_at_border: int = -1
    remove_before: bool = False
    seed_morph: tuple[tuple[str, float], ...] = ()
    fore_erosion: float = 0
    fore_dilation: float = 0
    by_2d_slices: bool = False
    contour_mode: str = "thick"
    grow_into_contour: bool = False

    def __post_init__(self) -> None:
        """Raise an error for values that are not allowed."""
        choice(self.th_type, "th_type (TH_TYPE)", ("auto", "manual"))
        items(self.manual_keys, "manual_keys", partial(choice, allowed=AUTOMATIC))
        object.__setattr__(self, "thresholds", _complete(self.thresholds))
        choice(self.contour_mode, "contour_mode (CONTOUR_MODE)", CONTOUR_MODES)
        pairs = items(self.seed_morph, "seed_morph", partial(items, check=_any, count=2))
        for operation, radius in pairs:
            choice(operation, "seed_morph (SEED_MORPH_SEQUENCE)", MORPH_OPERATIONS)
            number(radius, "seed_morph (SEED_MORPH_RADIUS)", at_least=0)
        number(self.fore_erosion, "fore_erosion (FORE_EROSION_RADIUS)", at_least=0)
        number(self.fore_dilation, "fore_dilation (FORE_DILATION_RADIUS)", at_least=0)
        for key, name in _FIELD_OF_KEY.items():
            value, label = getattr(self, name), f"{name} ({key})"
            if _KIND[name] == "int":
                integer(value, label)
            elif _KIND[name] == "bool":
                flag(value, label)

    def is_automatic(self, key: str) -> bool:
        """Return True if the threshold of a key without prefix is computed from the maps."""
        automatic = self.th_type == "auto" and key in AUTOMATIC
        return automatic and key not in self.manual_keys

    @classmethod
    def from_keys(cls, values: Mapping[str, object] | str) -> DecodeSettings:
        """Return the settings of configuration keys, e.g. ``{"TH_BINARY_MASK": 0.5}``.

        Parameters
        ----------
        values : mapping of str to object
            Keys of ``PROBLEM.INSTANCE_SEG`` in any spelling: with or without the prefixes
            ``DATA_MW_`` and ``DATA_``. Without ``TH_TYPE``, each given threshold is manual and the
            others are automatic. As in a file, ``DATA_REMOVE_SMALL_OBJ`` removes before the seeds
            grow, unless ``REMOVE_BEFORE_MW`` is given; the shorter names only set the size.

        Raises
        ------
        TypeError
            A key that is not text.
        UserError
            ``decode.thresholds``: not a mapping; ``decode.unknown_key``: an unknown key;
            ``decode.value`` and the codes of `singula.util.arguments`: a value that is not allowed.
        """
        if not isinstance(values, Mapping):
            raise UserError(
                f"thresholds: got {show(values)}, expected 'auto' or a mapping of keys",
                'use for example {"TH_BINARY_MASK": 0.5}',
                "decode.thresholds",
            )
        keys = {_plain_name(key): value for key, value in values.items()}
        valid = sorted([*_FIELD_OF_KEY, *THRESHOLDS, *_COMPOSED])
        unknown = [key for key in keys if key not in valid]
        if unknown:
            near = difflib.get_close_matches(unknown[0], valid, 1)
            raise UserError(
                f"thresholds: got the unknown key {unknown[0]!r}, expected keys of "
                f"{', '.join(valid)}",
                f"did you mean '{near[0]}'?" if near else "use one of these keys",
                "decode.unknown_key",
            )
        arguments: dict[str, object] = {
            name: _as_type(key, keys[key], _KIND[name])
            for key, name in _FIELD_OF_KEY.items()
            if key in keys
        }
        arguments["thresholds"] = {
            key: _as_type(key, keys[key], "float") for key in THRESHOLDS if key in keys
        }
        if "th_type" not in arguments:
            arguments["manual_keys"] = frozenset(keys) & frozenset(AUTOMATIC)
        if "DATA_REMOVE_SMALL_OBJ" in map(str.upper, values) and "remove_before" not in arguments:
            arguments["remove_before"] = True
        if "SEED_MORPH_SEQUENCE" in keys:
            arguments["seed_morph"] = _pair_morphology(
                _items("SEED_MORPH_SEQUENCE", keys["SEED_MORPH_SEQUENCE"]),
                _items("SEED_MORPH_RADIUS", keys.get("SEED_MORPH_RADIUS", ())),
            )
        shape = "ERODE_AND_DILATE_FOREGROUND"
        if _as_type(shape, keys.get(shape, False), "bool"):
            for key, name in (
                ("FORE_EROSION_RADIUS", "fore_erosion"),
                ("FORE_DILATION_RADIUS", "fore_dilation"),
            ):
                arguments[name] = _as_type(key, keys.get(key, 5), "float")
        return cls(**arguments)  # type: ignore[arg-type]

    @property
    def min_border_pixels(self) -> int:
        """Minimum number of pixels of an object that touches the image border."""
        if self.remove_small_at_border < 0:
            return self.remove_small
        return min(self.remove_small, self.remove_small_at_border)

    def changed(self, values: Mapping[str, object]) -> DecodeSettings:
        """Return a copy of the settings with some keys changed.

        Parameters
        ----------
        values : mapping of str to object
            See `from_keys`. A threshold of a binary channel becomes manual, and ``TH_TYPE``
            applies to all of them. Only ``REMOVE_BEFORE_MW`` changes the order of removal.

        Raises
        ------
        UserError
            See `from_keys`.
        """
        given = DecodeSettings.from_keys(values)
        keys = {_plain_name(key) for key in values}
        names = {name for key, name in _FIELD_OF_KEY.items() if key in keys} | {"thresholds"}
        new = {key: value for key, value in given.thresholds.items() if key in keys}
        given = replace(given, thresholds={**self.thresholds, **new})
        if "th_type" in names:
            names.add("manual_keys")
        elif given.manual_keys:
            given = replace(given, manual_keys=self.manual_keys | given.manual_keys)
            names.add("manual_keys")
        if "SEED_MORPH_SEQUENCE" in keys:
            names.add("seed_morph")
        if "ERODE_AND_DILATE_FOREGROUND" in keys:
            names |= {"fore_erosion", "fore_dilation"}
        return replace(self, **{name: getattr(given, name) for name in names})


_FIELD_OF_KEY = {
    "TH_TYPE": "th_type",
    "REMOVE_SMALL_OBJ": "remove_small",
    "REMOVE_SMALL_OBJ_AT_BORDER": "remove_small_at_border",
    "REMOVE_BEFORE_MW": "remove_before",
    "WATERSHED_BY_2D_SLICES": "by_2d_slices",
    "CONTOUR_MODE": "contour_mode",
    "GROW_INTO_CONTOUR": "grow_into_contour",
}
_COMPOSED = (
    "SEED_MORPH_SEQUENCE",
    "SEED_MORPH_RADIUS",
    "ERODE_AND_DILATE_FOREGROUND",
    "FORE_EROSION_RADIUS",
    "FORE_DILATION_RADIUS",
)
_DESCRIPTIONS = {"float": "a number", "int": "an integer", "bool": "True or False", "str": "text"}
_KIND = {each.name: str(each.type) for each in fields(DecodeSettings)}


def with_keywords(
    thresholds: Mapping[str, object], named: Mapping[str, float | None]
) -> dict[str, object]:
    """Add the thresholds of keyword arguments to the keys of a mapping.

    Parameters
    ----------
    thresholds : mapping of str to object
        See `DecodeSettings.from_keys`.
    named : mapping of str to float
        Values by `KEYWORDS`; None for a threshold that is not given.

    Raises
    ------
    TypeError
        Not a number.
    UserError
        ``decode.unknown_keyword``; ``decode.given_twice``: a threshold is also in `thresholds`;
        ``arguments.number``: a number out of range.
    """
    keys, result = {_plain_name(key) for key in thresholds}, dict(thresholds)
    for keyword, value in named.items():
        if keyword not in KEYWORDS:
            near = difflib.get_close_matches(keyword, KEYWORDS, 1)
            raise UserError(
                f"{keyword}: got an unknown argument, expected one of {', '.join(KEYWORDS)}",
                f"did you mean {near[0]}?" if near else "use one of these arguments",
                "decode.unknown_keyword",
            )
        threshold = KEYWORDS[keyword]
        if value is None:
            continue
        if threshold.name in keys:
            raise UserError(
                f"{keyword}, {threshold.name} (thresholds): got both, expected one of them",
                "remove one of them",
                "decode.given_twice",
            )
        result[threshold.name] = number(value, keyword, at_least=0, at_most=threshold.high)
    return result


def warn_of_unused(values: Mapping[str, object]) -> None:
    """Warn of thresholds that have no effect because ``TH_TYPE`` is auto.

    Parameters
    ----------
    values : mapping of str to object
        See `DecodeSettings.from_keys`.

    Raises
    ------
    TypeError
        Not a mapping, or a key that is not text.
    """
    values = instance(values, "values", Mapping)  # type: ignore[type-abstract]
    keys = {_plain_name(key, "values"): value for key, value in values.items()}
    unused = [key for key in AUTOMATIC if key in keys]
    th_type = keys.get("TH_TYPE")
    if isinstance(th_type, str) and th_type == "auto" and unused:
        warnings.warn(
            f"TH_TYPE is 'auto', so {', '.join(unused)} has no effect; leave TH_TYPE out to use it",
            stacklevel=3,
        )


def _complete(values: Mapping[str, float]) -> dict[str, float]:
    """Return valid values of all thresholds, with the defaults for missing ones."""
    given = instance(values, "thresholds", Mapping)  # type: ignore[type-abstract]
    for key in given:
        choice(key, "thresholds (key)", THRESHOLDS)
    return {
        name: number(
            given.get(name, threshold.default),
            f"thresholds ({name})",
            at_least=0,
            at_most=MAX_FLOAT if threshold.high is None else threshold.high,
        )
        for name, threshold in THRESHOLDS.items()
    }


def _plain_name(key: str, argument: str = "thresholds") -> str:
    name = text(key, f"{argument} (key)").upper().removeprefix("DATA_").removeprefix("MW_")
    return "REMOVE_SMALL_OBJ" if name == "REMOVE_SMALL_OBJ_BEFORE" else name


def _as_type(key: str, value: object, kind: str) -> Any:
    # NumPy scalars are numbers, too.
    if kind == "float" and isinstance(value, Real) and not isinstance(value, bool):
        return float(value)
    if kind == "int" and isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    if (kind == "bool" and isinstance(value, bool)) or (kind == "str" and isinstance(value, str)):
        return value
    raise UserError(
        f"{key}: got {show(value)}, expected {_DESCRIPTIONS[kind]}",
        "correct the value",
        "decode.value",
    )


def _items(key: str, value: object) -> tuple[object, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise UserError(
            f"{key}: got {show(value)}, expected a list",
            'use for example ["erode", "dilate"] and the radii [1, 2]',
            "decode.value",
        )
    return tuple(value)


def _pair_morphology(
    operations: tuple[object, ...], radii: tuple[object, ...]
) -> tuple[tuple[str, float], ...]:
    if len(operations) != len(radii):
        raise UserError(
            f"SEED_MORPH_SEQUENCE, SEED_MORPH_RADIUS: got {len(operations)} and {len(radii)} "
            "entries, expected one number of entries",
            "specify one radius for each operation",
            "decode.value",
        )
    pairs = []
    for operation, radius in zip(operations, radii, strict=True):
        radius = _as_type("SEED_MORPH_RADIUS", radius, "float")
        step = _as_type("SEED_MORPH_SEQUENCE", operation, "str")
        pairs.append((step, radius))
    return tuple(pairs)


def _any(value: object, name: str) -> Any:
    return value
