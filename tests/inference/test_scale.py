"""Factors of resampling."""

import pytest

from singula.data.preprocess import scaled_shape
from singula.errors import UserError
from singula.inference.scale import (
    check_scale,
    factors_from_spacing,
    scale_from_text,
)
from singula.pipeline.object_size import TrainedObjects

TRAINED = TrainedObjects(spacing=(2.0, 0.5, 0.5), unit="µm")


@pytest.mark.parametrize(
    ("spacing", "unit", "expected"),
    [
        ((4.0, 0.25, 0.25), None, (2.0, 0.5, 0.5)),
        ((4000.0, 250.0, 250.0), "nm", (2.0, 0.5, 0.5)),
        ((2.4, 0.5, 0.5), "µm", None),  # within 25 %
        ((2.4, 0.25, 0.25), "µm", (1.2, 0.5, 0.5)),
        ((4.0, 0.25, 0.25), "pixel", None),  # not comparable
        ((0.25, 0.25), "µm", None),
    ],
)
def test_factors_are_ratios_of_voxel_sizes(spacing, unit, expected) -> None:
    found = factors_from_spacing(spacing, unit, TRAINED)
    assert found == (None if expected is None else pytest.approx(expected))


def test_a_model_without_voxel_size_has_no_factors() -> None:
    assert factors_from_spacing((1.0, 1.0), "µm", TrainedObjects()) is None


def test_a_wrong_unit_is_refused() -> None:
    with pytest.raises(UserError) as error:
        factors_from_spacing((2000.0, 500.0, 500.0), None, TRAINED)
    assert error.value.code == "predict.spacing_range"


@pytest.mark.parametrize("text", ["", "x", "1,,2", "0.5;0.5", "0", "-1", "33", "nan", "1,0"])
def test_texts_that_are_no_factors(text) -> None:
    with pytest.raises(UserError) as error:
        scale_from_text(text)
    assert error.value.code == "predict.scale"


def test_one_factor_serves_all_axes() -> None:
    assert check_scale(0.5, 3) == (0.5, 0.5, 0.5)
    assert check_scale((1, 0.5, 0.25), 3) == (1, 0.5, 0.25)
    assert check_scale(None, 3) is None


def test_sides_never_vanish() -> None:
    assert scaled_shape((1, 10, 11), (0.1, 0.5, 0.5)) == (1, 5, 6)
