"""Wrong values of each kind of argument, and other forms of the right ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any, NamedTuple

import numpy as np

NOT_NUMBERS: dict[str, Any] = {
    "none": None,
    "text": "abc",
    "empty text": "",
    "bytes": b"\x00\x01",
    "object": object(),
    "dict": {},
    "set": {1, 2},
    "complex": 1 + 2j,
    "date": date(2020, 1, 1),
    "class": int,
    "datetime": np.datetime64("2020-01-01"),
}


def _generator() -> Iterator[int]:
    yield 1


NOT_ARRAYS: dict[str, Any] = {
    **NOT_NUMBERS,
    "ragged": [[1, 2], [3]],
    "generator": _generator(),
    "object array": np.array([[None, 1], [2, "x"]], object),
    "array of integers as objects": np.array([[0, 1], [2, 3]], object),
    "text array": np.array([["a", "b"], ["c", "d"]]),
    "bytes array": np.array([[b"a", b"b"]]),
    "datetimes": np.zeros((6, 8), "datetime64[s]"),
    "records": np.zeros((6, 8), [("x", int)]),
    "complex array": np.zeros((6, 8), complex),
    "masked": np.ma.masked_equal(np.arange(48).reshape(6, 8), 3),
    "longdouble": np.zeros((6, 8), np.longdouble),
    "huge integers": [[2**70, 1], [1, 2]],
}
WRONG_AXES = {
    "0-d": np.array(3),
    "number": 3,
    "1-d": np.zeros(3, np.uint8),
    "4-d": np.zeros((2, 2, 2, 2), np.uint8),
    "6-d": np.zeros((1, 1, 1, 1, 1, 1), np.uint8),
}
WRONG_IDS = {
    "negative": np.full((6, 8), -2),
    "floats": np.ones((6, 8)),
    "nan": np.full((6, 8), np.nan),
    "half": np.ones((6, 8), np.float16),
}
WRONG_NUMBERS = {
    **NOT_NUMBERS,
    "bool": True,
    "numpy bool": np.True_,
    "list": [1.0],
    "array": np.ones(2),
    "nan": float("nan"),
    "infinite": float("inf"),
    "minus infinite": float("-inf"),
    "numpy nan": np.float32("nan"),
    "huge": 10**400,
    "thousands of digits": 10**5000,
}
WRONG_OBJECTS = {**NOT_NUMBERS, "number": 3, "list": [1], "array": np.ones((2, 2)), "true": True}
WRONG_WORDS = {name: value for name, value in WRONG_OBJECTS.items() if "text" not in name}
WRONG_ITEMS = {**WRONG_OBJECTS, "list of none": [None], "nested": [[None]]}
del WRONG_ITEMS["dict"], WRONG_ITEMS["set"]


class Kind(NamedTuple):
    """Hostile values of a kind of argument.

    Parameters
    ----------
    wrong : dict of str to object
        Values that must be refused.
    optional : bool
        None is a valid value.
    """

    wrong: dict[str, Any]
    optional: bool = False

    def or_none(self) -> Kind:
        """Return the kind of an optional argument."""
        return Kind({name: v for name, v in self.wrong.items() if v is not None}, optional=True)

    def without(self, *names: str) -> Kind:
        """Return the kind without some values, which this argument allows."""
        return Kind({n: v for n, v in self.wrong.items() if n not in names}, self.optional)

    def with_values(self, **values: Any) -> Kind:
        """Return the kind with further wrong values."""
        return Kind({**self.wrong, **values}, self.optional)


LABELS = Kind({**NOT_ARRAYS, **WRONG_AXES, **WRONG_IDS})
ARRAY = Kind(NOT_ARRAYS)
MAP = Kind({**NOT_ARRAYS, **WRONG_AXES})
IDS = Kind(
    {
        **{name: value for name, value in NOT_ARRAYS.items() if name not in ("set", "generator")},
        "floats": np.ones(2),
        "2-d": np.ones((2, 2), int),
        "bool": np.ones(2, bool),
    }
)
NUMBER = Kind(WRONG_NUMBERS)
INTEGER = Kind({**WRONG_NUMBERS, "fraction": 1.5, "beyond 64 bits": 2**70})
FLAG = Kind({**NOT_NUMBERS, "number": 1, "list": [], "nan": float("nan"), "yes": "yes"})
TEXT = Kind(WRONG_WORDS)
WORD = Kind({**WRONG_OBJECTS, "unknown": "nonsense", "surrogate": "\ud800", "long": "x" * 5000})
OBJECT = Kind(WRONG_OBJECTS)
FUNCTION = Kind({name: value for name, value in WRONG_OBJECTS.items() if name != "class"})
ITEMS = Kind(WRONG_ITEMS)
SPACING = Kind(
    {
        **{name: value for name, value in NOT_NUMBERS.items() if value is not None},
        "bool": True,
        "zero": 0,
        "negative": -1.0,
        "nan": float("nan"),
        "infinite": (1.0, float("inf")),
        "none inside": (1.0, None),
        "text inside": (1.0, "2"),
        "one": (1.0,),
        "four": (1.0, 1.0, 1.0, 1.0),
        "empty": (),
        "nested": ((1.0, 1.0),),
        "ragged": ((1.0, 1.0), (1.0,)),
        "masked": np.ma.masked_equal(np.array([1.0, 2.0]), 2.0),
    },
    optional=True,
)
PATH = Kind({name: value for name, value in WRONG_WORDS.items() if name != "empty text"})


class Argument(NamedTuple):
    """A valid argument and its possible mistakes."""

    value: Any
    kind: Kind


def other_forms(array: np.ndarray) -> Iterator[tuple[str, Any]]:
    """Yield the same numbers as other objects."""
    yield "big-endian", array.astype(array.dtype.newbyteorder(">"))
    spread = np.zeros(tuple(2 * n for n in array.shape), array.dtype)
    strided = spread[(slice(None, None, 2),) * array.ndim]
    strided[...] = array
    yield "strided", strided
    yield "reversed", array[..., ::-1].copy()[..., ::-1]
    yield "Fortran order", np.asfortranarray(array)
    frozen = array.copy()
    frozen.flags.writeable = False
    yield "read-only", frozen
    yield "nested list", array.tolist()
    for name, make in _CONTAINERS.items():
        yield name, make(array)


def _torch(array: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(array.copy())


def _pandas(array: np.ndarray) -> Any:
    import pandas as pd

    return pd.DataFrame(array) if array.ndim == 2 else array


def _dask(array: np.ndarray) -> Any:
    import dask.array

    return dask.array.from_array(array)


def _zarr(array: np.ndarray) -> Any:
    import zarr

    return zarr.array(array)


_CONTAINERS: dict[str, Callable[[np.ndarray], Any]] = {
    "tensor": _torch,
    "DataFrame": _pandas,
    "Dask array": _dask,
    "Zarr array": _zarr,
}
