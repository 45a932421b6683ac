"""Training steps of proposed networks, timed on real patches."""

from dataclasses import replace

import pytest

from singula.autoconfig import propose
from singula.dataset.facts import survey_dataset
from singula.pipeline import timing


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_proposed_network_is_timed(ndim: int, data_2d, data_3d) -> None:
    survey = survey_dataset(data_2d if ndim == 2 else data_3d)
    speed = timing.measure_proposal(survey, propose(survey))
    assert speed is not None
    assert min(speed.step, speed.validation, speed.draw, speed.epoch) > 0
    assert speed.validation < speed.step
    assert "CPU thread" in speed.measured_on


def test_without_a_readable_image_nothing_is_timed(data_2d) -> None:
    survey = survey_dataset(data_2d)
    nothing = replace(survey, parts=())
    assert timing.measure_proposal(nothing, propose(survey)) is None
