"""Messages for the user: loggers of the package, and the handlers that print or collect them.

A module writes messages with ``logging.getLogger(__name__)``. An application that imports the
package decides which messages it shows, as for any other library. The command line and notebooks
print all messages from level INFO (`print_messages`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_PACKAGE = logging.getLogger("singula")
_SILENT = logging.CRITICAL + 1
_captured: ContextVar[list[Any] | None] = ContextVar("captured messages", default=None)
_logged: ContextVar[set[str] | None] = ContextVar("messages of this task", default=None)


class _Handler(logging.Handler):
    """Handler that passes messages to a function.

    Parameters
    ----------
    write : callable
        Function that takes each message. Its errors are raised where the message was logged.
    captured : list, optional
        Accept only messages that are captured in this list. Default: only messages that are not
        captured.
    """

    def __init__(self, write: Callable[[str], object], captured: list[Any] | None = None) -> None:
        super().__init__()
        self._write = write
        self._captured = captured

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a message to the function."""
        if _captured.get() is self._captured:
            self._write(record.getMessage())


class _RecordHandler(_Handler):
    """Handler that appends the records that are captured in a list to the list."""

    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__(str, records)
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        """Append a record."""
        if _captured.get() is self._captured:
            self._records.append(record)


class _ApplicationHandler(logging.Handler):
    """Handler that passes records to the handlers of the application, from its log level."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record to the root logger, unless it is captured."""
        if _captured.get() is None:
            logging.getLogger().handle(record)


class _AttachedHandlers:
    """Handlers of this module that are attached to the logger of the package.

    They receive all messages from level INFO. The application receives the same messages as without
    them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handlers: list[logging.Handler] = []
        self._application = _ApplicationHandler()
        self._level = logging.NOTSET

    def add(self, handler: logging.Handler) -> None:
        with self._lock:
            if not self._handlers:
                self._level = _PACKAGE.level
                self._application.setLevel(_PACKAGE.getEffectiveLevel())
                self._attach(self._application)
                _PACKAGE.propagate = False
                _PACKAGE.setLevel(min(logging.INFO, _PACKAGE.getEffectiveLevel()))
            self._handlers.append(handler)
            self._attach(handler)

    def remove(self, handler: logging.Handler) -> None:
        with self._lock:
            self._detach(handler)
            self._handlers.remove(handler)
            if not self._handlers:
                self._detach(self._application)
                _PACKAGE.propagate = True
                _PACKAGE.setLevel(self._level)

    # The list of handlers is replaced, because another thread may be passing a message to each
    # handler of the list. If an entry were removed, that thread would skip the next handler.

    def _attach(self, handler: logging.Handler) -> None:
        _PACKAGE.handlers = [*_PACKAGE.handlers, handler]

    def _detach(self, handler: logging.Handler) -> None:
        _PACKAGE.handlers = [other for other in _PACKAGE.handlers if other is not handler]

    @contextmanager
    def without_application(self) -> Iterator[None]:
        level = self._application.level
        self._application.setLevel(_SILENT)
        try:
            yield
        finally:
            self._application.setLevel(level)


_attached_handlers = _AttachedHandlers()


@contextmanager
def pass_messages(write: Callable[[str], object]) -> Iterator[None]:
    """Also pass messages to a function, such as one that writes them to a file.

    Parameters
    ----------
    write : callable
        Function that takes each message. Its errors are raised where the message was logged.
    """
    handler = _Handler(write)
    _attached_handlers.add(handler)
    try:
        yield
    finally:
        _attached_handlers.remove(handler)


@contextmanager
def print_messages(write: Callable[[str], object]) -> Iterator[None]:
    """Print messages with a function instead of the handlers of the application."""
    with pass_messages(write), _attached_handlers.without_application():
        yield


@contextmanager
def captured_messages() -> Iterator[list[str]]:
    """Collect the messages of this thread instead of showing them."""
    messages: list[str] = []
    with _captured_by(_Handler(messages.append, messages), messages):
        yield messages


@contextmanager
def deferred_messages() -> Iterator[list[logging.LogRecord]]:
    """Collect the messages of this thread, to be logged by `log_deferred`."""
    records: list[logging.LogRecord] = []
    with _captured_by(_RecordHandler(records), records):
        yield records


@contextmanager
def messages_of_threads() -> Iterator[None]:
    """Let threads start and end `deferred_messages` while this thread logs.

    Without this context, the first and the last of them change whether the package passes its
    messages to the application itself, and a message could be passed twice or not at all.
    """
    handler = logging.NullHandler()
    _attached_handlers.add(handler)
    try:
        yield
    finally:
        _attached_handlers.remove(handler)


def log_deferred(records: list[logging.LogRecord]) -> None:
    """Log messages that `deferred_messages` collected, and empty the list."""
    for record in records:
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)
    records.clear()


@contextmanager
def _captured_by(handler: logging.Handler, messages: list[Any]) -> Iterator[None]:
    _attached_handlers.add(handler)
    token = _captured.set(messages)
    try:
        yield
    finally:
        _captured.reset(token)
        _attached_handlers.remove(handler)


@contextmanager
def no_messages() -> Iterator[None]:
    """Drop the messages of all threads, for example in the second process of a run."""
    level = _PACKAGE.level
    _PACKAGE.setLevel(_SILENT)
    try:
        yield
    finally:
        _PACKAGE.setLevel(level)


@contextmanager
def messages_of_library(name: str) -> Iterator[list[logging.LogRecord]]:
    """Collect the messages of a library in this thread, to be logged by `log_deferred`.

    Parameters
    ----------
    name : str
        Name of the logger of the library.
    """
    logger, thread = logging.getLogger(name), threading.get_ident()
    records: list[logging.LogRecord] = []

    def is_of_other_thread(record: logging.LogRecord) -> bool:
        if record.thread != thread:
            return True
        records.append(record)
        return False

    logger.addFilter(is_of_other_thread)
    try:
        yield records
    finally:
        logger.removeFilter(is_of_other_thread)


@contextmanager
def messages_once() -> Iterator[None]:
    """Start a task in which `is_new` returns True once for each text."""
    token = _logged.set(set())
    try:
        yield
    finally:
        _logged.reset(token)


def is_new(text: str) -> bool:
    """Return True for the first call with a text in a task; always True outside of a task."""
    logged = _logged.get()
    if logged is None:
        return True
    is_first = text not in logged
    logged.add(text)
    return is_first
