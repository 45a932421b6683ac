"""Stages of several images at the same time, with results in the order of the images.

While the network predicts an image, a thread reads the next ones, and other threads finish the
previous ones: decoding, measurements, scores, pictures and files. The compiled kernels, NumPy,
zlib, Pillow and writing to the disk release the interpreter's lock, so the threads run in parallel.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from singula.config import Config
from singula.errors import StorageError, UserError, refuse_if_out_of_memory
from singula.training.device import cpu_threads
from singula.util.messages import (
    captured_messages,
    deferred_messages,
    log_deferred,
    messages_of_threads,
)

Item = TypeVar("Item")
Data = TypeVar("Data")
Prediction = TypeVar("Prediction")
Value = TypeVar("Value")
_MAX_THREADS = 16
_OUT_OF_MEMORY = "memory.exhausted"
_stopped: ContextVar[threading.Event | None] = ContextVar("stopped", default=None)


@dataclass(frozen=True)
class Stages(Generic[Item, Data, Prediction, Value]):
    """Functions that process an image, one after the other.

    Parameters
    ----------
    read : callable
        Read an image. All images are read in the same thread, in order.
    predict : callable
        Predict an image, from the image and a function that returns the result of `read` or raises
        its error. It is called in the thread of the caller, in order.
    finish : callable
        Finish an image, from the image and the result of `predict`. It may be called in several
        threads at the same time, and must not change anything that other images use.
    size : callable
        Return the bytes of memory that an image needs from reading to the end.
    """

    read: Callable[[Item], Data]
    predict: Callable[[Item, Callable[[], Data]], Prediction]
    finish: Callable[[Item, Prediction], Value]
    size: Callable[[Item], int]


@dataclass(frozen=True)
class Outcome(Generic[Item, Value]):
    """Result of an image, or the error that it failed with.

    Parameters
    ----------
    item : object
        The image.
    value : object, optional
        Result of the last stage; None if the image failed.
    error : UserError, optional
        Error; None if the image did not fail.
    """

    item: Item
    value: Value | None = None
    error: UserError | None = None


def attempt(item: Item, function: Callable[[], Value]) -> Outcome[Item, Value]:
    """Return the outcome of a function: its result or its `UserError`, also if memory runs out.

    Raises
    ------
    StorageError
        Results cannot be written, which concerns all images.
    """
    try:
        with refuse_if_out_of_memory():
            return Outcome(item, function())
    except StorageError:
        raise
    except UserError as error:
        return Outcome(item, error=error)


def run_stages(
    items: Iterable[Item],
    stages: Stages[Item, Data, Prediction, Value],
    *,
    workers: int,
    memory: int,
    repeat: bool = True,
) -> Generator[Outcome[Item, Value]]:
    """Process images, and yield their outcomes in order.

    Messages are logged in the order in which they appear without threads. After an error that is
    not a `UserError`, and after a `StorageError`, no image is started; the outcomes of all previous
    images are yielded before the error is raised. If memory runs out while several images are
    processed, the image is repeated while no other image is processed.

    Parameters
    ----------
    items : iterable
        Images.
    stages : Stages
        Functions that process an image.
    workers : int
        Number of threads that finish images. With 0, the images are processed one after the other
        in this thread.
    memory : int
        Limit of the sum of the sizes of the images in progress, in bytes; a larger image is
        processed alone.
    repeat : bool
        Repeat an image if the memory was not sufficient for several images.
    """
    if workers < 1:
        for item in items:
            yield attempt(item, partial(_process, item, stages, partial(stages.read, item)))
        return
    overlap = _Overlap(stages, workers, memory, repeat=repeat)
    with messages_of_threads():
        try:
            yield from overlap.run(items)
        finally:
            overlap.stop()


def finishing_threads(config: Config, device: str) -> int:
    """Return the number of threads that finish images.

    A network on the CPU uses all cores; one thread then uses the time in which the network or the
    thread waits for one core or for the disk. Beside a GPU, each core but one has a thread.

    Parameters
    ----------
    config : Config
        Configuration with the number of cores.
    device : str
        Kind of the device of the network, such as ``cpu``.
    """
    cores = cpu_threads(config.SYSTEM.NUM_CPUS)
    if device == "cpu":
        return min(1, cores - 1)
    return min(max(1, cores - 1), _MAX_THREADS)


def end_if_stopped() -> None:
    """Raise an internal error in a thread of `run_stages` after it was stopped, as by Ctrl-C.

    Long stages call this function between their steps.
    """
    stopped = _stopped.get()
    if stopped is not None and stopped.is_set():
        raise _StoppedError


def _process(
    item: Item, stages: Stages[Item, Data, Prediction, Value], read: Callable[[], Data]
) -> Value:
    return stages.finish(item, stages.predict(item, read))


class _StoppedError(Exception):
    """End of a stage after the run was stopped."""


@dataclass
class _Task(Generic[Item, Data, Value]):
    """An image in progress.

    Parameters
    ----------
    item : object
        The image.
    size : int
        Bytes of memory that the image needs.
    read_messages, messages : list of LogRecord
        Messages of reading, and of the other stages.
    reading : Future
        Result of reading.
    finishing : Future, optional
        Result of the last stage, or the error of any stage; None before the prediction.
    was_alone : bool
        True if no other image was in progress at the same time.
    """

    item: Item
    size: int
    read_messages: list[logging.LogRecord] = field(default_factory=list)
    messages: list[logging.LogRecord] = field(default_factory=list)
    reading: Future[Data] = field(default_factory=Future)
    finishing: Future[Value] | None = None
    was_alone: bool = True


class _Overlap(Generic[Item, Data, Prediction, Value]):
    """Threads that read and finish images, and the images in progress, in order."""

    def __init__(
        self,
        stages: Stages[Item, Data, Prediction, Value],
        workers: int,
        memory: int,
        *,
        repeat: bool,
    ) -> None:
        self.stages = stages
        self.memory = memory
        self.repeat = repeat
        # Each thread finishes an image and has the next one; one is predicted, and one is read.
        self.limit = 2 * workers + 2
        self.tasks: deque[_Task[Item, Data, Value]] = deque()
        self.is_ending = False  # no further image is started
        self.stopped = threading.Event()  # images in progress are not finished
        self.reader = ThreadPoolExecutor(1, "singula-read")
        self.workers = ThreadPoolExecutor(workers, "singula-finish")

    def run(self, items: Iterable[Item]) -> Iterator[Outcome[Item, Value]]:
        """Yield the outcomes of the images in order."""
        iterator = iter(items)
        upcoming = self._measure_next(iterator)
        while True:
            while upcoming is not None and self._start(*upcoming):
                upcoming = self._measure_next(iterator)
            waiting = self._first_unpredicted()
            if waiting is not None and not self.is_ending:
                self._predict(waiting)
            elif self.tasks:
                yield self._take_first()
            else:
                return
            while self.tasks and self.tasks[0].finishing and self.tasks[0].finishing.done():
                yield self._take_first()

    def stop(self) -> None:
        """Start no further stage, and wait for the threads."""
        self.stopped.set()
        self.reader.shutdown(cancel_futures=True)
        self.workers.shutdown(cancel_futures=True)

    def _first_unpredicted(self) -> _Task[Item, Data, Value] | None:
        return next((task for task in self.tasks if task.finishing is None), None)

    def _measure_next(self, iterator: Iterator[Item]) -> tuple[Item, Future[int]] | None:
        """Start to measure the next image, in the thread that reads: it opens the file."""
        for item in iterator:
            return item, self.reader.submit(copy_context().run, self.stages.size, item)
        return None

    def _start(self, item: Item, measuring: Future[int]) -> bool:
        """Start to read an image, and return True; False if it must wait."""
        if self.is_ending or len(self.tasks) >= self.limit:
            return False
        if self._first_unpredicted() is not None and not measuring.done():
            return False  # predict another image first
        task = _Task[Item, Data, Value](item, measuring.result())
        if self.tasks and sum(other.size for other in (*self.tasks, task)) > self.memory:
            return False
        task.reading = self.reader.submit(copy_context().run, self._read, task)
        self.tasks.append(task)
        if len(self.tasks) > 1:
            for other in self.tasks:
                other.was_alone = False
        return True

    def _read(self, task: _Task[Item, Data, Value]) -> Data:
        with deferred_messages() as task.read_messages:
            return self.stages.read(task.item)

    def _predict(self, task: _Task[Item, Data, Value]) -> None:
        """Predict an image, and pass it to the threads that finish images."""
        reading, task.reading = task.reading, Future()  # releases the image early
        try:
            with deferred_messages() as task.messages, refuse_if_out_of_memory():
                predicted = [self.stages.predict(task.item, reading.result)]
        except Exception as error:
            task.finishing = Future()
            task.finishing.set_exception(error)
            self.is_ending = isinstance(error, StorageError) or not isinstance(error, UserError)
        else:
            task.finishing = self.workers.submit(copy_context().run, self._finish, task, predicted)

    def _finish(self, task: _Task[Item, Data, Value], predicted: list[Prediction]) -> Value:
        """Finish an image. The list of its prediction is emptied, which releases the maps early."""
        _stopped.set(self.stopped)
        end_if_stopped()
        with deferred_messages() as messages, refuse_if_out_of_memory():
            try:
                return self.stages.finish(task.item, predicted.pop())
            finally:
                task.messages += messages

    def _take_first(self) -> Outcome[Item, Value]:
        """Wait for the first image, log its messages, and return its outcome."""
        task = self.tasks.popleft()
        if task.finishing is None:
            raise RuntimeError("the first image is not predicted")
        error = task.finishing.exception()
        log_deferred(task.read_messages)
        is_memory_error = isinstance(error, UserError) and error.code == _OUT_OF_MEMORY
        if error is None or not is_memory_error or task.was_alone or not self.repeat:
            log_deferred(task.messages)
            return attempt(task.item, task.finishing.result)
        # The error references the frames of the failed attempt, and thus its arrays.
        error.__traceback__ = error.__cause__ = error.__context__ = None
        others: list[Future[Any]] = [task.finishing or task.reading for task in self.tasks]
        wait(others)
        return attempt(task.item, partial(_process, task.item, self.stages, self._reread(task)))

    def _reread(self, task: _Task[Item, Data, Value]) -> Callable[[], Data]:
        """Return a function that reads an image again, without its messages."""

        def read() -> Data:
            with captured_messages():
                return self.stages.read(task.item)

        return read
