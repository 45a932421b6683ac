"""Removal of instances by conditions on their measurements."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from singula.errors import UserError
from singula.measure.morphology import SURFACE
from singula.util.arguments import instance, items, number, text

if TYPE_CHECKING:
    import pandas as pd

PROPERTIES = (
    "circularity",
    "elongation",
    "npixels",
    "area",
    "diameter",
    "perimeter",
    "sphericity",
)
SIGNS = {"lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge}
SATISFIED, NOT_SATISFIED = "Satisfied", "No satisfied"
CORRECT, REMOVED = "Correct", "Removed"

_IN_VOLUMES = {"area": "volume", "perimeter": SURFACE}


class Condition(NamedTuple):
    """Comparison of a measurement with a number.

    Parameters
    ----------
    prop : str
        Name in `PROPERTIES`; in volumes, ``area`` and ``perimeter`` are the volume and the surface.
    sign : {"lt", "le", "gt", "ge"}
        Less than, less or equal, greater than, greater or equal.
    value : float
        Number to compare with, in the unit of the measurement.
    """

    prop: str
    sign: str
    value: float


def conditions_from_lists(
    props: Sequence[Sequence[str]],
    values: Sequence[Sequence[float]],
    signs: Sequence[Sequence[str]],
) -> tuple[tuple[Condition, ...], ...]:
    """Combine the three nested lists of ``REMOVE_BY_PROPERTIES``.

    Parameters
    ----------
    props : sequence of sequence of str
        Properties, ``PROPS``.
    values : sequence of sequence of float
        Limits, ``VALUES``, in the same shape.
    signs : sequence of sequence of str
        Comparisons, ``SIGN``, in the same shape.

    Returns
    -------
    tuple of tuple of Condition
        The argument `conditions` of `select`.

    Raises
    ------
    TypeError, UserError
        Not lists of lists of text and numbers, or lists of different shapes.
    """
    props = items(props, "props", partial(items, check=text))
    values = items(values, "values", partial(items, check=_value))
    signs = items(signs, "signs", partial(items, check=text))
    shapes = {
        key: [len(part) for part in lists]
        for key, lists in (("PROPS", props), ("VALUES", values), ("SIGN", signs))
    }
    if not shapes["PROPS"] == shapes["VALUES"] == shapes["SIGN"]:
        lengths = ", ".join(f"{key} has lists of {shape} items" for key, shape in shapes.items())
        raise UserError(
            f"props, values and signs (REMOVE_BY_PROPERTIES): {lengths}",
            "specify one number in VALUES and one sign in SIGN for each property in PROPS",
            "measure.conditions",
        )
    return tuple(
        tuple(Condition(*parts) for parts in zip(*group, strict=True))
        for group in zip(props, signs, values, strict=True)
    )


def select(table: pd.DataFrame, conditions: Sequence[Sequence[Condition]]) -> pd.DataFrame:
    """Mark the instances to remove by lists of conditions.

    Parameters
    ----------
    table : pandas.DataFrame
        Result of `measure_instances` or `measurements`.
    conditions : sequence of sequences of Condition
        An instance is removed if it satisfies all conditions of at least one list. A measurement
        that is NaN, such as the circularity of a single pixel, satisfies no condition.

    Returns
    -------
    pandas.DataFrame
        The table with two more columns: ``comment``, ``Correct`` or ``Removed``, and
        ``conditions``, the result of each list in order, ``Satisfied`` or ``No satisfied``,
        separated by commas.

    Raises
    ------
    TypeError, UserError
        Not a table, an empty list of conditions, or a property, sign or value that cannot be
        compared.
    """
    import pandas as pd

    table = instance(table, "table", pd.DataFrame)
    conditions = items(conditions, "conditions", partial(items, check=_condition))
    verdicts = np.ones((len(table), len(conditions)), bool)
    for column, group in enumerate(conditions):
        if not group:
            raise UserError(
                f"conditions: list {column + 1} of the conditions is empty and would remove every "
                "instance",
                "delete this list from PROPS, VALUES and SIGN",
                "measure.conditions",
            )
        for condition in group:
            verdicts[:, column] &= _meets(table, condition)
    codes = verdicts @ (1 << np.arange(len(conditions)))
    # Texts are composed once for each combination of results.
    _, example, combination = np.unique(codes, return_index=True, return_inverse=True)
    results = np.where(verdicts[example], SATISFIED, NOT_SATISFIED).tolist()
    texts = np.array([", ".join(row) for row in results], object)
    return table.assign(
        comment=np.where(verdicts.any(axis=1), REMOVED, CORRECT).astype(object),
        conditions=texts[combination],
    )


def removed_ids(selected: pd.DataFrame) -> np.ndarray:
    """Return the ids of the instances to remove, for `singula.labels.remove`.

    Parameters
    ----------
    selected : pandas.DataFrame
        Result of `select`.

    Raises
    ------
    TypeError, UserError
        Not a table, or a table without the columns of `select`.
    """
    import pandas as pd

    selected = instance(selected, "selected", pd.DataFrame)
    missing = [name for name in ("label", "comment") if name not in selected]
    if missing:
        raise UserError(
            f"selected: got a table without the column {missing[0]}, expected the result of select",
            "call select first",
            "measure.column",
        )
    removed = (selected["comment"] == REMOVED).to_numpy()
    ids: np.ndarray = selected["label"].to_numpy()[removed]
    return ids


def _value(value: object, name: str) -> float:
    if isinstance(value, Real) and math.isinf(value):  # a limit that no instance exceeds
        return float(value)
    limit: float = number(value, name)
    return limit


def _condition(value: object, name: str) -> Condition:
    prop, sign, limit = items(value, name, lambda item, _: item, count=3)
    return Condition(text(prop, name), text(sign, name), _value(limit, name))


def _meets(table: pd.DataFrame, condition: Condition) -> np.ndarray:
    prop, sign, value = condition
    if sign not in SIGNS:
        raise UserError(
            f"conditions: got the comparison {sign!r}, expected one of {', '.join(SIGNS)}",
            "correct the comparison",
            "measure.conditions",
        )
    present = [name for name in PROPERTIES if _column(table, name) is not None]
    column = _column(table, prop)
    if prop not in PROPERTIES or column is None:
        kind = "volumes" if "volume" in table else "images"
        raise UserError(
            f"conditions: {kind} have no '{prop}'; they have {', '.join(present)}",
            "use one of these properties",
            "measure.conditions",
        )
    satisfied: np.ndarray = SIGNS[sign](table[column].to_numpy(), value)
    return satisfied


def _column(table: pd.DataFrame, prop: str) -> str | None:
    names = (prop, _IN_VOLUMES.get(prop, prop))
    return next((name for name in names if name in table), None)
