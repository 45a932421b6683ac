"""Thresholds for the mean of several models."""

from singula.pipeline.ensemble import mean_thresholds
from singula.representations.thresholds import AUTOMATIC


def test_equal_thresholds_are_not_changed() -> None:
    values = {"TH_TYPE": "auto", "REMOVE_SMALL_OBJ": 10}
    assert mean_thresholds([values, dict(values)]) == {}


def test_means_do_not_depend_on_the_order() -> None:
    """A model with an automatic threshold has no number that could be averaged."""
    tuned = {"TH_CONTOUR": 0.2, "REMOVE_SMALL_OBJ": 10}
    thresholds = [tuned, {"TH_CONTOUR": 0.6, "REMOVE_SMALL_OBJ": 21}, {"TH_TYPE": "auto"}]
    expected = {"TH_CONTOUR": 0.4, "REMOVE_SMALL_OBJ": 16}
    assert mean_thresholds(thresholds) == expected == mean_thresholds(thresholds[::-1])


def test_thresholds_that_all_models_set_are_manual() -> None:
    first = {"TH_TYPE": "manual", **dict.fromkeys(AUTOMATIC, 0.25)}
    second = {"TH_TYPE": "manual", **dict.fromkeys(AUTOMATIC, 0.75)}
    assert mean_thresholds([first, second]) == {
        "TH_TYPE": "manual",
        **dict.fromkeys(AUTOMATIC, 0.5),
    }
