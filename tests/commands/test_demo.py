"""The demonstration fits its training to the speed of the machine."""

from __future__ import annotations

import pytest

from singula.commands.demo import (
    DEMOS,
    QUICK,
    TRAINING_SECONDS,
    DemoSettings,
    demo_yaml,
    fit_to_budget,
)
from singula.training.speed import TrainingSpeed


def machine(step: float):
    """Return a `measure` of a machine; half of a step grows with the width, half does not."""

    def measure(settings: DemoSettings) -> TrainingSpeed:
        seconds = step * (0.25 + 0.75 * settings.features[0] / 16)
        return TrainingSpeed(seconds, 0.35 * seconds, 0.03, 0.2, measured_on="2 CPU threads")

    return measure


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_slower_machine_trains_a_narrower_network_for_fewer_epochs(ndim: int) -> None:
    chosen = []
    for step in (0.01, 0.1, 0.2, 0.3, 0.4, 0.6, 1.0, 5.0):
        settings = fit_to_budget(DEMOS[ndim], machine(step))
        chosen.append((settings.features[0], settings.epochs))
        seconds = settings.epochs * settings.epoch_seconds(machine(step)(settings))
        last, least, _ = DEMOS[ndim].choices[-1]
        assert seconds <= TRAINING_SECONDS or (settings.features, settings.epochs) == (last, least)
    assert [width for width, _ in chosen] == sorted((w for w, _ in chosen), reverse=True)
    widest, _, most = DEMOS[ndim].choices[0]
    assert chosen[0] == (widest[0], most)
    assert chosen[-1][0] < widest[0]


def test_the_budget_leaves_time_for_data_and_test() -> None:
    assert TRAINING_SECONDS <= 0.6 * 4 * 60


def test_small_differences_in_speed_have_no_effect() -> None:
    first = fit_to_budget(DEMOS[2], machine(0.2))
    assert first == fit_to_budget(DEMOS[2], machine(0.201))


def test_the_log_contains_the_measurement_and_the_choice(
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = fit_to_budget(DEMOS[2], machine(0.6))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["measured", "measured", "chosen:"]
    assert f"{settings.epochs} epochs" in lines[-1]
    assert "on 2 CPU threads" in lines[0]


def test_training_runs_if_a_step_cannot_be_timed(capsys: pytest.CaptureFixture[str]) -> None:
    settings = fit_to_budget(DEMOS[2], lambda settings: None)
    assert settings.epochs == DEMOS[2].choices[0][2]
    assert "could not be timed" in capsys.readouterr().out


def test_the_choice_is_written_and_quick_is_not_timed(tmp_path) -> None:
    settings = fit_to_budget(DEMOS[2], machine(0.6))
    text = demo_yaml(tmp_path, 2, settings)
    assert f"EPOCHS: {settings.epochs}" in text
    assert f"FEATURE_MAPS: {list(settings.features)}" in text
    assert all(not quick.choices for quick in QUICK.values())


@pytest.mark.parametrize(("ndim", "batches"), [(2, (16, 2)), (3, (20, 4))])
def test_batches_of_an_epoch(ndim: int, batches: tuple[int, int]) -> None:
    assert (DEMOS[ndim].batches(0), DEMOS[ndim].batches(1)) == batches
