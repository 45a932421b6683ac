"""Validation of the arguments of public functions: arrays, label images, numbers, text, objects.

Each function returns the checked value and names the argument in its errors, as NumPy does:
`TypeError` for a value of the wrong type, `UserError` for a wrong value of the right type.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypeVar

from singula.errors import UserError
from singula.util.format import show

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_FLOAT = 1e38
"""Largest number that configurations and settings accept: larger ones overflow in 32 bits."""

_T = TypeVar("_T")
_SPATIAL = "(y, x) or (z, y, x)"
_KINDS = {"b": "bool", "i": "integers", "u": "integers", "f": "floats"}


def as_array(
    value: object,
    name: str,
    *,
    ndim: int | Collection[int] | None = None,
    kinds: str = "biuf",
    axes: str = _SPATIAL,
) -> NDArray[Any]:
    """Return an array-like of real numbers as an array, without a copy if it is one.

    Parameters
    ----------
    value : array_like
        Array, nested sequence of numbers, or an object that NumPy converts, such as a pandas,
        Dask or Zarr array or a tensor in main memory.
    name : str
        Name of the argument, for messages.
    ndim : int or collection of int, optional
        Allowed numbers of axes; any by default.
    kinds : str
        Allowed `numpy.dtype.kind`: b (bool), i and u (integers), f (floats of up to 64 bits).
    axes : str
        Description of the allowed axes, for the message.

    Returns
    -------
    ndarray
        The array itself if `value` is an array.

    Raises
    ------
    TypeError
        Not an array of numbers: an object, text, a ragged list, complex numbers, dates.
    UserError
        ``arguments.masked_array``; ``arguments.dtype``: numbers of another kind;
        ``arguments.shape``: another number of axes.
    """
    import numpy as np

    if isinstance(value, np.ma.MaskedArray):
        raise UserError(
            f"{name}: got a masked array, expected an array without a mask",
            "replace the masked pixels, for example with array.filled(0)",
            "arguments.masked_array",
        )
    try:
        array = np.asarray(value)
    except UserError:  # from the conversion of a lazy array, which reads a file
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name}: got {_describe(value)}, expected an array of numbers") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: got {_describe(value)}, expected an array of numbers")
    if array.dtype.kind not in kinds or array.dtype.itemsize > 8:
        allowed = " or ".join(dict.fromkeys(_KINDS[kind] for kind in kinds))
        raise UserError(
            f"{name}: got {_describe(array)}, expected {allowed} of up to 64 bits",
            "convert the array with astype()",
            "arguments.dtype",
        )
    if ndim is not None and array.ndim not in ({ndim} if isinstance(ndim, int) else ndim):
        raise UserError(
            f"{name}: got the shape {array.shape}, expected the axes {axes}",
            "remove or add axes, for example with array[..., 0]",
            "arguments.shape",
        )
    return array


def as_dtype(value: object, name: str) -> np.dtype[Any]:
    """Return a type of real numbers, such as "uint16" or `numpy.float32`.

    Parameters
    ----------
    value : dtype or str
        Type of real numbers of up to 64 bits.
    name : str
        Name of the argument, for messages.

    Raises
    ------
    TypeError
        Not a type of real numbers.
    """
    import numpy as np

    try:
        dtype: np.dtype[Any] | None = np.dtype(value)  # type: ignore[call-overload]
    except (TypeError, ValueError, SyntaxError):
        dtype = None
    if value is None or dtype is None or dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise TypeError(f"{name}: got {_describe(value)}, expected a type such as uint16")
    return dtype


def label_image(
    value: object,
    name: str = "labels",
    *,
    ndim: int | Collection[int] | None = (2, 3),
    axes: str = _SPATIAL,
    empty: bool = True,
) -> NDArray[Any]:
    """Return a label image as a contiguous array of unsigned integers in native byte order.

    Parameters
    ----------
    value, name, ndim, axes
        See `as_array`. Integers are ids; a boolean mask is a label image of one instance.
    empty : bool
        Accept axes of length 0.

    Returns
    -------
    ndarray of unsigned int
        The values of `value`, without a copy where that is possible.

    Raises
    ------
    TypeError
        See `as_array`.
    UserError
        ``arguments.negative_id``: a negative id; ``arguments.empty``: no pixels; see `as_array`.
    """
    import numpy as np

    array = as_array(value, name, ndim=ndim, axes=axes)
    if array.dtype.kind == "f":
        raise UserError(
            f"{name}: got {_describe(array)}, expected integers, the id of its instance in each "
            "pixel",
            f"convert ids with {name}.astype('uint32'); number the objects of a mask with "
            "scipy.ndimage.label",
            "arguments.dtype",
        )
    if not empty and not array.size:
        raise UserError(
            f"{name}: got the shape {array.shape}, expected axes {axes} of length 1 or more",
            "omit images without pixels",
            "arguments.empty",
        )
    if array.dtype.kind == "i" and array.min(initial=0) < 0:
        raise UserError(
            f"{name}: got the negative id {array.min()}, expected ids of 0 or more",
            "set the background to 0",
            "arguments.negative_id",
        )
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    return array.view(f"u{array.dtype.itemsize}")


def same_shape(first: NDArray[Any], second: NDArray[Any], names: str) -> None:
    """Raise `UserError` (``arguments.shape``) if the shapes of two arrays differ.

    Parameters
    ----------
    first, second : ndarray
        The two arrays.
    names : str
        Names of both arguments, such as "a and b".
    """
    if first.shape != second.shape:
        raise UserError(
            f"{names}: got the shapes {first.shape} and {second.shape}, expected one shape",
            "pass arrays of the same image",
            "arguments.shape",
        )


def number(
    value: object,
    name: str,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Any:
    """Return a finite real number within limits; its type does not change.

    Parameters
    ----------
    value : float
        Number to check; bool is not a number.
    name : str
        Name of the argument, for messages.
    above, at_least, at_most : float, optional
        Limits.

    Raises
    ------
    TypeError
        Not a real number.
    UserError
        ``arguments.number``: NaN, infinite, or outside the limits.
    """
    expected = _within("a number", above, at_least, at_most)
    plain = _scalar(value)
    if not isinstance(plain, Real) or isinstance(plain, bool):
        raise TypeError(f"{name}: got {_describe(value)}, expected {expected}")
    _check_limits(plain, name, expected, above, at_least, at_most)
    return value


def integer(
    value: object, name: str, *, at_least: int | None = None, at_most: int | None = None
) -> int:
    """Return an integer within limits.

    Parameters
    ----------
    value : int
        Integer to check; bool is not an integer.
    name : str
        Name of the argument, for messages.
    at_least, at_most : int, optional
        Limits.

    Raises
    ------
    TypeError
        Not an integer.
    UserError
        ``arguments.number``: outside the limits, or beyond 63 bits.
    """
    expected = _within("an integer", None, at_least, at_most)
    value = _scalar(value)
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name}: got {_describe(value)}, expected {expected}")
    _check_limits(value, name, expected, None, at_least, at_most)
    return int(value)


def flag(value: object, name: str) -> bool:
    """Return True or False; raise `TypeError` for any other value."""
    value = _scalar(value)
    if not isinstance(value, bool):
        raise TypeError(f"{name}: got {_describe(value)}, expected True or False")
    return value


def text(value: object, name: str) -> str:
    """Return a string; raise `TypeError` for any other value."""
    return instance(value, name, str)


def choice(value: object, name: str, allowed: Iterable[str], hint: str | None = None) -> str:
    """Return one of the allowed words.

    Parameters
    ----------
    value : str
        Word to check.
    name : str
        Name of the argument, for messages.
    allowed : iterable of str
        Allowed words.
    hint : str, optional
        Remedy of the error; by default, it lists the allowed words.

    Raises
    ------
    TypeError
        Not a string.
    UserError
        ``arguments.choice``: another word.
    """
    word, choices = text(value, name), tuple(allowed)
    if word not in choices:
        listed = ", ".join(choices)
        raise UserError(
            f"{name}: got {show(word)}, expected one of {listed}",
            hint or f"use one of {listed}",
            "arguments.choice",
        )
    return word


def instance(value: object, name: str, kind: type[_T]) -> _T:
    """Return an object of a class; raise `TypeError` for any other value."""
    if not isinstance(value, kind):
        raise TypeError(f"{name}: got {_describe(value)}, expected {_named(kind)}")
    return value


def function(value: object, name: str) -> Any:
    """Return a function or another callable; raise `TypeError` for any other value."""
    if not callable(value):
        raise TypeError(f"{name}: got {_describe(value)}, expected a function")
    return value


def items(
    value: object, name: str, check: Callable[[Any, str], _T], *, count: int | None = None
) -> tuple[_T, ...]:
    """Return the checked elements of an iterable; their names are ``name[0]``, ``name[1]`` ….

    Parameters
    ----------
    value : iterable
        Text, bytes and mappings are not accepted.
    name : str
        Name of the argument, for messages.
    check : callable
        Function of an element and its name that returns the checked element.
    count : int, optional
        Allowed number of elements; any by default.

    Raises
    ------
    TypeError
        Not an iterable, or an element of a wrong type.
    UserError
        ``arguments.count``: a different number of elements; an element with an invalid value.
    """
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise TypeError(f"{name}: got {_describe(value)}, expected a sequence")
    try:
        elements = tuple(value)
    except TypeError as error:  # an array without axes is an instance of Iterable
        raise TypeError(f"{name}: got {_describe(value)}, expected a sequence") from error
    if count is not None and len(elements) != count:
        raise UserError(
            f"{name}: got {len(elements)} elements, expected {count}",
            f"pass {count} elements",
            "arguments.count",
        )
    return tuple(check(item, f"{name}[{place}]") for place, item in enumerate(elements))


def of_class(kind: type[_T]) -> Callable[[object, str], _T]:
    """Return a function that checks the class of an element, for `items`."""
    return lambda value, name: instance(value, name, kind)


def _scalar(value: object) -> object:
    """Return a NumPy scalar, or an array without axes, as a Python object."""
    shape = getattr(value, "shape", None)
    convert = getattr(value, "item", None)
    return convert() if shape == () and callable(convert) else value


def _check_limits(
    value: Any,
    name: str,
    expected: str,
    above: float | None,
    at_least: float | None,
    at_most: float | None,
) -> None:
    limit = math.inf if isinstance(value, float) else 2.0**63  # NumPy integers have 64 bits
    if (
        not -limit < value < limit
        or (above is not None and not value > above)
        or (at_least is not None and not value >= at_least)
        or (at_most is not None and not value <= at_most)
    ):
        raise UserError(
            f"{name}: got {_one_line(value)}, expected {expected}",
            "correct the number",
            "arguments.number",
        )


def _within(kind: str, above: float | None, at_least: float | None, at_most: float | None) -> str:
    limits = []
    if above is not None:
        limits.append(f"above {above:g}")
    if at_least is not None:
        limits.append(f"of {at_least:g} or more")
    if at_most is not None:
        limits.append(f"of at most {at_most:g}")
    return " ".join([kind, " and ".join(limits)]).strip()


def _one_line(value: object) -> str:
    return " ".join(show(value).split())


def _describe(value: object) -> str:
    """Describe a wrong value: arrays by type and shape, others by class and content."""
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    if dtype is not None and shape is not None:
        return f"an array of {dtype} with the shape {tuple(shape)}"
    return "None" if value is None else f"{_one_line(value)} ({type(value).__name__})"


def _named(kind: type) -> str:
    """Return the name of a class with its article."""
    name = kind.__name__
    return "text" if kind is str else f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"
