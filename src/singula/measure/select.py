"""Removal of instances by conditions on their measurements."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from singula.arguments import instance, items, number, text
from singula.errors import UserError
from singula.measure.morphology import SURFACE

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
    """One comparison of a measurement with a number.

    Parameters
    ----------
    prop : str
        One of `PROPERTIES`; ``area`` and ``perimeter`` also name volume and surface.
    sign : {"lt", "le", "gt", "ge"}
    value : float
    """

    prop: str
    sign: str
    value: float


def conditions_from_lists(
    props: Sequence[Sequence[str]],
    values: Sequence[Sequence[float]],
    signs: Sequence[Sequence[str]],
) -> tuple[tuple[Condition, ...], ...]:
    """Put the three lists of lists of ``REMOVE_BY_PROPERTIES`` together.

    Parameters
    ----------
    props : sequence of sequence of str
    values : sequence of sequence of float
    signs : sequence of sequence of str

    Raises
    ------
    TypeError, UserError
        Not lists of lists of text and numbers, or lists that do not have one shape.
    """
    props = items(props, "props", partial(items, check=text))
    values = items(values, "values", partial(items, check=_value))
    signs = items(signs, "signs", partial(items, check=text))
    shapes = {
        key: [len(part) for part in lists]
        for key, lists in (("PROPS", props), ("VALUES", values), ("SIGN", signs))
    }
    if not shapes["PROPS"] == shapes["VALUES"] == shapes["SIGN"]:
        found = ", ".join(f"{key} has lists of {shape} items" for key, shape in shapes.items())
        raise UserError(
            f"props, values and signs (REMOVE_BY_PROPERTIES): {found}",
            "give each property in PROPS one number in VALUES and one sign in SIGN",
            "measure.conditions",
        )
    return tuple(
        tuple(Condition(*parts) for parts in zip(*group, strict=True))
        for group in zip(props, signs, values, strict=True)
    )


def select(table: pd.DataFrame, conditions: Sequence[Sequence[Condition]]) -> pd.DataFrame:
    """Judge every instance by lists of conditions.

    Parameters
    ----------
    table : pandas.DataFrame
        What `measure` returns.
    conditions : sequence of sequences of Condition
        An instance that meets all conditions of any of the lists is to be removed. What has no
        number, such as the circularity of a single pixel, meets no condition.

    Returns
    -------
    pandas.DataFrame
        The table and two more columns: ``comment``, ``Correct`` or ``Removed``, and
        ``conditions``, for each list in order ``Satisfied`` or ``No satisfied``, with commas
        between them.

    Raises
    ------
    TypeError, UserError
        Not a table, a list without conditions, or a property, sign or value that cannot be
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
                "remove it from PROPS, VALUES and SIGN",
                "measure.conditions",
            )
        for condition in group:
            verdicts[:, column] &= _meets(table, condition)
    codes = verdicts @ (1 << np.arange(len(conditions)))
    _, example, which = np.unique(codes, return_index=True, return_inverse=True)
    words = np.where(verdicts[example], SATISFIED, NOT_SATISFIED).tolist()
    texts = np.array([", ".join(row) for row in words], object)  # of each combination, once
    return table.assign(
        comment=np.where(verdicts.any(axis=1), REMOVED, CORRECT).astype(object),
        conditions=texts[which],
    )


def removed_ids(selected: pd.DataFrame) -> np.ndarray:
    """Ids of the instances that `select` wants removed, for `singula.postprocess.remove`.

    Parameters
    ----------
    selected : pandas.DataFrame
        What `select` returns.

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
    gone: np.ndarray = selected["label"].to_numpy()[(selected["comment"] == REMOVED).to_numpy()]
    return gone


def _value(value: object, name: str) -> float:
    if isinstance(value, Real) and math.isinf(value):  # a limit that no instance reaches
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
    met: np.ndarray = SIGNS[sign](table[column].to_numpy(), value)
    return met


def _column(table: pd.DataFrame, prop: str) -> str | None:
    names = (prop, _IN_VOLUMES.get(prop, prop))
    return next((name for name in names if name in table), None)
