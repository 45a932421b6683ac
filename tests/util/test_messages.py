"""Messages of several threads."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from singula.util.messages import deferred_messages, pass_messages

_log = logging.getLogger("singula.test")


class _Closing(logging.Handler):
    """Handler that ends the capture of another thread while it receives a message."""

    def __init__(self, other: ExitStack, pool: ThreadPoolExecutor) -> None:
        super().__init__()
        self.other, self.pool = other, pool

    def emit(self, record: logging.LogRecord) -> None:
        self.pool.submit(self.other.close).result()


@contextmanager
def _attached(handler: logging.Handler) -> Iterator[None]:
    package = logging.getLogger("singula")
    package.addHandler(handler)
    try:
        yield
    finally:
        package.removeHandler(handler)


def test_no_message_is_lost_while_another_thread_ends_its_capture() -> None:
    other, shown = ExitStack(), list[str]()
    with ThreadPoolExecutor(1) as pool, pass_messages(shown.append):
        pool.submit(other.enter_context, deferred_messages()).result()
        with _attached(_Closing(other, pool)), deferred_messages() as own:
            _log.info("one")
    assert [record.getMessage() for record in own] == ["one"]
    assert shown == []
    assert not logging.getLogger("singula").handlers
