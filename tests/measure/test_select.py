from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from singula.errors import UserError
from singula.labels import remove
from singula.measure import Condition, conditions_from_lists, measure_instances, removed_ids, select


def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "label": [2, 3, 5, 9],
            "npixels": [50, 50, 100, 900],
            "area": [50.0, 50.0, 100.0, 900.0],
            "circularity": [0.7, 0.9, 0.5, np.nan],
        }
    )


def test_the_example_of_the_manual():
    conditions = conditions_from_lists(
        [["area"], ["npixels", "circularity"]], [[500], [100, 0.7]], [["gt"], ["lt", "le"]]
    )
    assert conditions == (
        (Condition("area", "gt", 500),),
        (Condition("npixels", "lt", 100), Condition("circularity", "le", 0.7)),
    )
    before = table()
    judged = select(before, conditions)
    assert list(judged.columns) == [*before.columns, "comment", "conditions"]
    assert judged["comment"].tolist() == ["Removed", "Correct", "Correct", "Removed"]
    assert judged["conditions"].tolist() == [
        "No satisfied, Satisfied",
        "No satisfied, No satisfied",
        "No satisfied, No satisfied",
        "Satisfied, No satisfied",
    ]
    assert removed_ids(judged).tolist() == [2, 9]
    pd.testing.assert_frame_equal(before, table())


@pytest.mark.parametrize(
    ("sign", "gone"), [("lt", [2, 3]), ("le", [2, 3, 5]), ("gt", [9]), ("ge", [5, 9])]
)
def test_comparison_signs(sign, gone):
    assert removed_ids(select(table(), [[Condition("npixels", sign, 100)]])).tolist() == gone


@pytest.mark.parametrize("sign", ["lt", "gt"])
def test_nan_satisfies_no_condition(sign):
    judged = select(table(), [[Condition("circularity", sign, 0.8)]])
    assert judged["comment"].tolist()[-1] == "Correct"


def test_no_conditions_remove_nothing():
    judged = select(table(), [])
    assert set(judged["comment"]) == {"Correct"}
    assert set(judged["conditions"]) == {""}
    assert removed_ids(judged).size == 0


@pytest.mark.parametrize("shape", [(9, 9), (5, 9, 9)])
def test_from_labels_to_labels(shape):
    labels = np.zeros(shape, np.uint32)
    labels[..., :2, :2] = 7
    labels[..., 3:, 3:] = 2**32 - 5
    conditions = [[Condition("area", "lt", 25), Condition("perimeter", "gt", 0)]]
    judged = select(measure_instances(labels), conditions)
    cleaned = remove(labels, removed_ids(judged))
    np.testing.assert_array_equal(cleaned, np.where(labels == 7, 0, labels))
    assert cleaned.dtype == labels.dtype
    assert labels.any(axis=None, where=labels == 7)


def test_an_empty_table_is_accepted():
    empty = measure_instances(np.zeros((4, 4), np.uint16))
    judged = select(empty, [[Condition("elongation", "gt", 3)]])
    assert len(judged) == 0
    assert list(judged.columns)[-2:] == ["comment", "conditions"]


def test_mistakes_are_named():
    image, volume = (
        measure_instances(np.ones((4, 4), int)),
        measure_instances(np.ones((4, 4, 4), int)),
    )
    with pytest.raises(UserError, match="images have no 'sphericity'; they have circularity"):
        select(image, [[Condition("sphericity", "lt", 1)]])
    with pytest.raises(UserError, match="volumes have no 'circularity'; they have npixels, area"):
        select(volume, [[Condition("circularity", "lt", 1)]])
    with pytest.raises(UserError, match="no 'label'"):
        select(image, [[Condition("label", "lt", 1)]])
    with pytest.raises(UserError, match="got the comparison '<', expected one of lt, le, gt, ge"):
        select(image, [[Condition("area", "<", 1)]])
    with pytest.raises(UserError, match="nan"):
        select(image, [[Condition("area", "lt", float("nan"))]])
    with pytest.raises(UserError, match="list 2 of the conditions is empty"):
        select(image, [[Condition("area", "lt", 1)], []])
    with pytest.raises(UserError, match=r"PROPS has lists of \[1\].*SIGN has lists of \[2\]"):
        conditions_from_lists([["area"]], [[1]], [["lt", "gt"]])
