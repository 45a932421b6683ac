"""One number as spacing applies to every axis, in each function with a spacing."""

from __future__ import annotations

import numpy as np
import pytest

import singula
from singula.errors import UserError
from singula.io.image import check_spacing

LABELS = np.zeros((9, 12, 14), np.uint16)
LABELS[1:8, 2:10, 3:12] = 6
MAPS = singula.encode(LABELS, "BCD")
SMALLER = {
    "ERODE_AND_DILATE_FOREGROUND": True,
    "FORE_EROSION_RADIUS": 1,
    "FORE_DILATION_RADIUS": 0,
}


def encoded(spacing: object) -> np.ndarray:
    return singula.encode(LABELS.tolist(), "BCD", spacing=spacing)["D"]  # type: ignore[arg-type]


def decoded(spacing: object) -> np.ndarray:
    return singula.decode(MAPS, "BCD", thresholds=SMALLER, spacing=spacing)  # type: ignore[arg-type]


def measured(spacing: object) -> np.ndarray:
    return singula.measure(LABELS, spacing=spacing).to_numpy()  # type: ignore[arg-type]


@pytest.mark.parametrize("function", [encoded, decoded, measured])
def test_one_number_applies_to_every_axis(function) -> None:
    expected = function((2.0, 2.0, 2.0))
    for same in (2, 2.0, np.float32(2), np.array([2, 2, 2]), [2, 2, 2]):
        np.testing.assert_array_equal(function(same), expected)
    assert not np.array_equal(function((9.0, 2.0, 2.0)), expected)


@pytest.mark.parametrize("function", [encoded, decoded, measured])
@pytest.mark.parametrize("wrong", [0, -1.0, float("nan"), (1, 1), ((1, 1, 1),), (1, 1, 0)])
def test_invalid_sizes_are_refused(function, wrong) -> None:
    with pytest.raises(UserError, match=r"spacing: got .*expected 3 positive numbers") as error:
        function(wrong)
    assert "pixels" in str(error.value.hint)
    assert error.value.code == "arguments.spacing"


def test_sizes_are_plain_numbers() -> None:
    assert check_spacing(None, 2) == (1.0, 1.0)
    sizes = check_spacing(np.array([1, 2], np.float32), 2)
    assert sizes == (1.0, 2.0)
    assert {type(size) for size in sizes} == {float}


def test_labels_are_exported_with_one_number(tmp_path) -> None:
    for name, spacing in (("one", 0.5), ("all", (0.5, 0.5, 0.5))):
        singula.export(LABELS, "csv", tmp_path / name, spacing=spacing, unit="µm")
    one, each = (sorted((tmp_path / name).rglob("*.csv")) for name in ("one", "all"))
    assert one
    assert [path.read_text() for path in one] == [path.read_text() for path in each]
