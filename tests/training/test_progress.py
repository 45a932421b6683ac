"""Progress reports of a training, with simulated clocks."""

from __future__ import annotations

import functools
import itertools
import re
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from singula.training import fit as fit_module
from singula.training.progress import ProgressReport
from singula.training.speed import TrainingSpeed
from singula.training.trainer import Trainer
from singula.util.messages import print_messages

from .test_training import train

PATTERN = re.compile(r"epoch (\d+)/(\d+), (validation )?step (\d+)/(\d+): (?:loss \d+\.\d+, )?"
                     r"([\d:]+) left$")  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def slow_training(
    monkeypatch: pytest.MonkeyPatch, folder: Path, *, step: float, validation: float
) -> list[tuple[float, str]]:
    """Train for two epochs whose batches take given seconds of a simulated clock."""
    clock, lines = Clock(), []

    def report(*args: Any, **options: Any) -> ProgressReport:
        return ProgressReport(*args, **options, clock=clock)

    def slow(method: Any, seconds: float) -> Any:
        @functools.wraps(method)
        def run(*args: Any, **options: Any) -> Any:
            clock.now += seconds
            return method(*args, **options)

        return run

    monkeypatch.setattr(fit_module, "ProgressReport", report)
    for name, seconds in (("training_step", step), ("validation_step", validation)):
        monkeypatch.setattr(Trainer, name, slow(getattr(Trainer, name), seconds))

    with print_messages(lambda line: lines.append((clock.now, line))):
        train(folder, epochs=2)
    return [*lines, (clock.now, "end")]


def test_output_appears_at_least_every_half_minute(monkeypatch, tmp_path) -> None:
    lines = slow_training(monkeypatch, tmp_path, step=9.0, validation=7.0)
    times = [0.0, *(time for time, _ in lines)]
    assert max(b - a for a, b in itertools.pairwise(times)) <= 30
    found = [match for _, line in lines if (match := PATTERN.match(line))]
    assert {match[1] for match in found} == {"1", "2"}
    assert any(match[3] for match in found), "validation is reported too"
    assert any("loss" in line for _, line in lines)


def test_the_remaining_time_is_right_for_steady_steps(monkeypatch, tmp_path) -> None:
    lines = slow_training(monkeypatch, tmp_path, step=30.0, validation=10.0)
    end = lines[-1][0]
    later = [(t, m) for t, line in lines if (m := PATTERN.match(line)) and (m[1] == "2" or m[3])]
    assert later
    for time, match in later:
        minutes, seconds = map(int, match[6].split(":"))
        assert 60 * minutes + seconds == pytest.approx(end - time, abs=1)


def test_quick_steps_are_not_reported(monkeypatch, tmp_path) -> None:
    lines = slow_training(monkeypatch, tmp_path, step=0.1, validation=0.1)
    assert not any(PATTERN.match(line) for _, line in lines)
    assert [line.split(":")[0] for _, line in lines[:-1]] == ["epoch 1/2", "epoch 2/2"]


class Bar:
    """Replacement for the progress bar of rich."""

    made: ClassVar[list[Bar]] = []

    def __init__(self, *columns: object, **options: object) -> None:
        self.states: list[dict[str, Any]] = []
        self.running = False
        Bar.made.append(self)

    def add_task(self, description: str, **state: Any) -> int:
        return 0

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def update(self, task: int, **state: Any) -> None:
        self.states.append(state)


@pytest.mark.parametrize("live", [False, True])
def test_the_bar_counts_the_epoch_and_appears_only_on_a_terminal(
    monkeypatch, live: bool, messages: list[str]
) -> None:
    monkeypatch.setattr("rich.progress.Progress", Bar)
    monkeypatch.setattr("singula.training.progress.can_draw", lambda: True)
    Bar.made, clock = [], Clock()
    report = ProgressReport(3, live=live, clock=clock)
    report.start(1, 4)
    for epoch in range(2):
        report.start_epoch(epoch + 1, 4, 2)
        for _ in range(4):
            clock.now += 25
            report.step_done(torch.tensor(0.5), 3)
        for _ in range(2):
            clock.now += 25
            report.validation_batch_done()
    if not live:
        assert Bar.made == []
        assert len([line for line in messages if PATTERN.match(line)]) == 12
        return
    assert messages == [], "a bar takes the place of status lines"
    (bar,) = Bar.made
    states = [(s["description"], s["completed"], s["total"]) for s in bar.states]
    assert ("epoch 1/3", 4, 4) in states
    assert ("epoch 1/3, validation", 2, 2) in states
    assert states.index(("epoch 2/3", 0, 4)) > states.index(("epoch 1/3, validation", 2, 2))
    assert "loss 0.5000" in bar.states[-1]["note"]
    assert "left" in bar.states[-1]["note"]
    assert bar.running
    report.close()
    assert not bar.running


def test_a_terminal_that_cannot_redraw_gets_lines(monkeypatch, messages: list[str]) -> None:
    monkeypatch.setattr("singula.training.progress.can_draw", lambda: False)
    clock = Clock()
    report = ProgressReport(1, live=True, clock=clock)
    report.start(1, 4)
    report.start_epoch(1, 4, 2)
    clock.now += 25
    report.status.poll()
    assert messages == ["epoch 1/1, step 0/4: preparing the first patches"]


def test_a_status_line_has_the_loss_of_its_step() -> None:
    report = ProgressReport(1, live=False, clock=Clock())
    report.start_epoch(1, 4, 2)
    for loss in (0.5, 0.25):
        report.step_done(torch.tensor(loss), 3)
    assert "step 2/4: loss 0.2500" in report.describe()


def test_an_epoch_is_the_sum_of_its_parts() -> None:
    speed = TrainingSpeed(step=2.0, validation=0.5, draw=1.0, epoch=4.0)
    assert speed.epoch_seconds(10, 6) == 10 * 3.0 + 6 * 0.5 + 4.0
    assert TrainingSpeed(2.0, 0.5, 6.0, workers=2).whole_step == 3.0
    assert TrainingSpeed(2.0, 0.5, 1.0, workers=2).whole_step == 2.0
