"""The length of a training follows from the measured speed; no test depends on the clock."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singula.autoconfig import Choice, Proposal, propose
from singula.autoconfig.sizes import Sizes
from singula.autoconfig.training import choose_epochs, grid_patches, schedule
from singula.dataset.facts import Survey
from singula.training.speed import TrainingSpeed

from .conftest import CPU, example_survey

SLOWEST_FIRST = [3.0, 1.0, 0.35, 0.1, 0.03]


def at(step: float, **parts: float) -> Any:
    """Return a `measure` that answers with this speed."""
    speed = TrainingSpeed(step, 0.3 * step, measured_on="2 CPU threads", **parts)
    return lambda survey, proposal: speed


def training_seconds(survey: Survey, proposal: Proposal) -> float:
    """Return the seconds of all epochs, counted from the written keys."""
    speed = proposal.speed
    assert speed is not None
    batch, patch = int(proposal["TRAIN.BATCH_SIZE"]), proposal["DATA.PATCH_SIZE"][:-1]  # type: ignore[index, call-overload]
    train, val = survey.part("train"), survey.part("val")
    assert train is not None
    assert val is not None
    keys = {choice.key: choice.value for choice in proposal.choices}
    patches = grid_patches(train, patch)
    if keys.get("DATA.EXTRACT_RANDOM_PATCH"):
        patches = len(train.pairs)
    patches *= keys.get("DATA.TRAIN.REPLICATE", 1)
    checked = math.ceil(grid_patches(val, patch) / batch)
    return keys["TRAIN.EPOCHS"] * (  # type: ignore[no-any-return]
        math.ceil(patches / batch) * (speed.step + speed.draw)
        + checked * speed.validation
        + speed.epoch
    )


@pytest.mark.parametrize("minutes", [5, 22, 60])
def test_a_slower_machine_gets_fewer_epochs_in_the_same_time(minutes: float) -> None:
    survey = example_survey((1024, 1024), count=60)
    learned = []
    for step in SLOWEST_FIRST:
        proposal = propose(survey, minutes=minutes, measure=at(step, draw=0.05, epoch=0.4))
        seconds = training_seconds(survey, proposal)
        epochs = proposal["TRAIN.EPOCHS"]
        assert seconds <= 60 * minutes or epochs == 10
        (why,) = [why for key, _, why in proposal.reasons if key == "TRAIN.EPOCHS"]
        if epochs > 10 and "hardly improve" not in why:  # type: ignore[operator]
            assert seconds > 60 * minutes - seconds / epochs  # type: ignore[operator]
        learned.append(seconds / (step + 0.05))
    assert learned == sorted(learned), "a faster machine learns from more"


def test_network_patch_and_batch_do_not_depend_on_the_speed() -> None:
    survey, seen = example_survey((1024, 1024), count=60), []

    def measure(survey: Survey, proposal: Proposal) -> TrainingSpeed:
        seen.append(proposal)
        return TrainingSpeed(9.0, 3.0, measured_on="1 CPU thread")

    proposal = propose(survey, measure=measure)
    (first,) = seen
    for key in ("DATA.PATCH_SIZE", "TRAIN.BATCH_SIZE", "MODEL.FEATURE_MAPS", "SYSTEM.DEVICE"):
        assert proposal[key] == first[key]
    assert proposal["TRAIN.EPOCHS"] != first["TRAIN.EPOCHS"]


@pytest.mark.parametrize("minutes", [5, 60])
@pytest.mark.parametrize("side", [64, 256])
def test_fixed_network_and_patch_decide_the_schedule(side: int, minutes: float) -> None:
    survey, seen = example_survey((1024, 1024), count=60), []
    fixed = [
        Choice("MODEL.ARCHITECTURE", "unet"),
        Choice("MODEL.FEATURE_MAPS", [8, 16]),
        Choice("MODEL.DROPOUT_VALUES", [0.0, 0.0]),
        Choice("DATA.PATCH_SIZE", (side, side, 1)),
    ]

    def measure(survey: Survey, proposal: Proposal) -> TrainingSpeed:
        seen.append(proposal)
        return TrainingSpeed(0.3, 0.1, measured_on="1 CPU thread")

    proposal = propose(survey, minutes=minutes, measure=measure, fixed=fixed)
    for choice in fixed:
        assert choice in seen[0].choices
        assert choice in proposal.choices
    batch = proposal["TRAIN.BATCH_SIZE"]
    assert batch == seen[0]["TRAIN.BATCH_SIZE"]
    assert batch * side**2 == pytest.approx(2**17, rel=0.5)  # type: ignore[operator]
    seconds, epochs = training_seconds(survey, proposal), proposal["TRAIN.EPOCHS"]
    assert seconds <= 60 * minutes or epochs == 10
    if epochs not in (10, 400):
        assert seconds > 60 * minutes * 0.9


def test_fixed_network_decides_the_assumed_speed() -> None:
    survey = example_survey((1024, 1024), count=60)
    narrow, wide = (
        propose(
            survey,
            fixed=[
                Choice("MODEL.ARCHITECTURE", "unet"),
                Choice("MODEL.FEATURE_MAPS", [width, 2 * width]),
                Choice("DATA.PATCH_SIZE", (128, 128, 1)),
            ],
        )
        for width in (8, 32)
    )
    assert narrow["TRAIN.EPOCHS"] > wide["TRAIN.EPOCHS"]  # type: ignore[operator]


def test_the_assumed_speed_is_kept_if_a_step_cannot_be_timed() -> None:
    survey = example_survey()
    without = propose(survey)
    assert propose(survey, measure=lambda survey, proposal: None) == without
    assert without.speed is None


def test_twice_the_speed_gives_twice_the_epochs() -> None:
    survey = example_survey((512, 512), count=60)
    few, many = (
        propose(survey, minutes=22, measure=at(step))["TRAIN.EPOCHS"] for step in (0.4, 0.2)
    )
    assert many == pytest.approx(2 * few, abs=1)  # type: ignore[operator]


def test_the_reason_contains_the_measured_step() -> None:
    proposal = propose(example_survey((512, 512), count=60), minutes=22, measure=at(0.3, draw=0.05))
    (why,) = [why for key, _, why in proposal.reasons if key == "TRAIN.EPOCHS"]
    assert "one training step takes 0.35 s" in why
    assert "on 2 CPU threads" in why
    assert "22 min in total" in why


@given(
    step=st.floats(1e-3, 20), draw=st.floats(0, 1), epoch=st.floats(0, 3),
    minutes=st.floats(0.5, 600), count=st.integers(2, 60), batch=st.integers(1, 32),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_any_speed_gets_a_training_within_the_time(
    step: float, draw: float, epoch: float, minutes: float, count: int, batch: int
) -> None:
    survey = example_survey(count=count)
    train, val = survey.part("train"), survey.part("val")
    assert train is not None
    speed = TrainingSpeed(step, 0.3 * step, draw, epoch, measured_on="here")
    sizes = Sizes.of(survey)

    def epochs(speed: TrainingSpeed) -> tuple[int, float]:
        plan = schedule(train, val, sizes, (128, 128), batch, 0.0, minutes, speed)
        chosen = choose_epochs(plan, sizes, batch, minutes, CPU, speed)[0]
        return int(chosen.value), plan.seconds

    number, each = epochs(speed)
    assert 10 <= number <= 400
    assert number * each <= 60 * minutes or number == 10
    slower = replace(speed, step=2 * step, validation=0.6 * step, draw=2 * draw, epoch=2 * epoch)
    assert epochs(slower)[1] * epochs(slower)[0] <= max(60 * minutes, 10 * epochs(slower)[1])
