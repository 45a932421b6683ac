"""Removal of instances by conditions on their measurements."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

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

    Raises
    ------
    UserError
        If the lists do not have one shape.
    """
    shapes = {
        key: [len(part) for part in lists]
        for key, lists in (("PROPS", props), ("VALUES", values), ("SIGN", signs))
    }
    if not shapes["PROPS"] == shapes["VALUES"] == shapes["SIGN"]:
        found = ", ".join(f"{key} has lists of {shape} items" for key, shape in shapes.items())
        raise UserError(
            f"REMOVE_BY_PROPERTIES: {found}",
            hint="give each property in PROPS one number in VALUES and one sign in SIGN",
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
    UserError
        For a list without conditions, or a property, sign or value that cannot be compared.
    """
    verdicts = np.ones((len(table), len(conditions)), bool)
    for column, group in enumerate(conditions):
        if not group:
            raise UserError(
                f"list {column + 1} of the conditions is empty and would remove every instance",
                hint="take it out of PROPS, VALUES and SIGN",
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
    """Ids of the instances that `select` wants removed, for `singula.postprocess.remove`."""
    gone: np.ndarray = selected["label"].to_numpy()[(selected["comment"] == REMOVED).to_numpy()]
    return gone


def _meets(table: pd.DataFrame, condition: Condition) -> np.ndarray:
    prop, sign, value = condition
    if sign not in SIGNS:
        raise UserError(f"'{sign}' is no comparison; allowed: {', '.join(SIGNS)}")
    if math.isnan(value):
        raise UserError(f"{prop} cannot be compared with {value}")
    present = [name for name in PROPERTIES if _column(table, name) is not None]
    column = _column(table, prop)
    if prop not in PROPERTIES or column is None:
        kind = "volumes" if "volume" in table else "images"
        raise UserError(f"{kind} have no '{prop}'; they have {', '.join(present)}")
    met: np.ndarray = SIGNS[sign](table[column].to_numpy(), value)
    return met


def _column(table: pd.DataFrame, prop: str) -> str | None:
    names = (prop, _IN_VOLUMES.get(prop, prop))
    return next((name for name in names if name in table), None)
