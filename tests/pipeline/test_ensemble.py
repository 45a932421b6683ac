"""Thresholds for the mean of several models."""

from dataclasses import replace
from pathlib import Path

import pytest

from singula.config import Config
from singula.errors import UserError
from singula.pipeline.ensemble import Member, ensemble_members, mean_thresholds
from singula.pipeline.object_size import TrainedObjects, mean_objects
from singula.representations.thresholds import AUTOMATIC
from singula.training.checkpoint import Checkpoint


def description(ndim: int, axes: int) -> dict[str, object]:
    """Return the description of a network, with sizes of some number of axes."""
    return {
        "model": {"ndim": ndim},
        "object_size": [9.0] * axes,
        "voxel_size": {"spacing": [0.5] * axes, "unit": "µm"},
    }


def member(number: int, ndim: int = 2, **changes: object) -> Member:
    values = {"PROBLEM.NDIM": f"{ndim}D", **changes}
    checkpoint = Checkpoint(Path(f"{number}.pth"), number, {}, description(ndim, ndim))
    return Member(Config().replaced(values), checkpoint)


def test_sizes_with_another_number_of_axes_are_not_known() -> None:
    wrong, right = (TrainedObjects.of(description(2, axes)) for axes in (3, 2))
    assert wrong.size is None
    assert wrong.spacing is None
    assert right.size == (9.0, 9.0)
    assert mean_objects([right, wrong]).size is None


@pytest.mark.parametrize(
    "other", [member(1, 3), member(1, **{"DATA.PREPROCESS.SPACING": (0.5, 0.5)})]
)
def test_models_of_other_axes_or_voxel_sizes_are_refused(other: Member) -> None:
    with pytest.raises(UserError) as error:
        ensemble_members([member(0), other])
    assert error.value.code == "ensemble.mismatch"
    with pytest.raises(UserError) as error:
        ensemble_members([member(0), replace(other, given="results/cells")])
    assert "0.pth and results/cells," in error.value.message


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
