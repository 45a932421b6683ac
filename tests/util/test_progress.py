"""Status lines after a period without output, with a simulated clock."""

import logging
import threading

import pytest

from singula.errors import UserError
from singula.util.messages import print_messages
from singula.util.progress import INTERVAL, LATEST, StatusLines

log = logging.getLogger("singula.test")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_status_is_reported_only_after_a_silence(messages: list[str]) -> None:
    clock = Clock()
    with StatusLines("reading", clock=clock) as status:
        clock.now += INTERVAL - 0.1
        status.poll()
        assert messages == []
        clock.now += 0.1
        status.poll()
        assert messages == ["reading"]
        status.poll()
        assert messages == ["reading"], "the silence begins again with each message"
        clock.now += INTERVAL - 1
        log.info("a result")
        clock.now += INTERVAL - 1
        status.update("image 2 of 9")
        assert messages == ["reading", "a result"]
        clock.now += 1
        status.update("image 3 of 9")
        assert messages == ["reading", "a result", "image 3 of 9"]


def test_without_a_status_or_when_disabled_nothing_is_reported(messages: list[str]) -> None:
    for options in ({"status": ""}, {"status": "reading", "enabled": False}):
        clock = Clock()
        status = StatusLines(clock=clock, **options)
        clock.now += 1000
        with status:
            status.poll()
            status.update(options["status"])
        assert messages == []
        assert not any(thread.name == "status lines" for thread in threading.enumerate())


def test_the_limits_leave_room_within_half_a_minute() -> None:
    assert 0 < INTERVAL < LATEST <= 28


def test_a_timer_reports_for_a_step_that_takes_longer() -> None:
    """The task itself never polls; the second line fails, as on a full disk."""
    clock, lines, reported = Clock(), [], threading.Semaphore(0)

    def write(line: str) -> None:
        lines.append(line)
        reported.release()
        if len(lines) == 2:
            raise UserError("full", None, "test.full")

    describe = lambda: f"at {clock.now:.0f}"  # noqa: E731
    with print_messages(write), StatusLines(describe=describe, clock=clock):
        for _ in range(3):
            clock.now += LATEST
            assert reported.acquire(timeout=60)
    assert len(lines) == 3
    assert lines[0] == f"at {1000 + LATEST:.0f}"


def test_an_error_of_the_task_passes() -> None:
    with pytest.raises(KeyError), StatusLines("reading"):
        raise KeyError("mine")
    assert not any(thread.name == "status lines" for thread in threading.enumerate())
