"""Compile functions for a first prediction in a second process while the network is loaded.

Functions for instances are compiled at their first use, which takes a large part of the first
prediction after the installation. Numba compiles one function at a time in each process, and stores
the machine code in a file. Another process reads it instead of compiling the function again.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import numpy as np

from singula.measure.confidence import confidence
from singula.measure.intensity import intensities
from singula.measure.moments import second_moments
from singula.measure.morphology import add_perimeters, shapes
from singula.representations.channels.source import EncodeSettings
from singula.representations.decoders.flood import compile_flooding
from singula.util.process import available_cores, is_stored, python_command, thread_limit

_PROGRAM = "from singula.measure.compile_ahead import main; main()"


@contextmanager
def compile_ahead() -> Iterator[None]:
    """Compile the functions of `steps` in a second process.

    The process ends after the function that it compiles when the context ends. No process is
    started if the functions are stored already, if they cannot be stored, or if this process may
    use only one core.
    """
    process = None
    if min(available_cores(), thread_limit() or 2) > 1 and is_stored(add_perimeters) is False:
        with suppress(OSError):  # too many processes, for example
            process = _start()
    try:
        yield
    finally:
        if process is not None and process.stdin is not None:
            process.stdin.close()


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*python_command(), "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # if a compilation fails, the first process reports the error
        start_new_session=True,  # Ctrl-C could interrupt the process while it stores a function
    )


def steps() -> list[Callable[[], object]]:
    """Return calls that compile the functions for flooding, confidence and measurements in 2D.

    The arrays have the types of an image with at most 65,535 instances. The first process compiles
    the functions that it needs earlier. It also compiles those for shapes if it reaches them before
    the second process does.
    """
    labels = np.zeros((8, 8), np.uint16)
    labels[2:6, 2:6] = 1
    maps = {code: np.ones(labels.shape, np.float32) for code in "BCD"}
    return [
        compile_flooding,
        partial(confidence, labels, maps, EncodeSettings(tuple(maps))),
        partial(second_moments, labels),
        partial(intensities, labels, maps["B"]),
        partial(shapes, labels),
    ]


def main() -> None:
    """Take the steps until the standard input is closed."""
    is_closed = threading.Event()

    def wait() -> None:
        sys.stdin.buffer.read()
        is_closed.set()

    threading.Thread(target=wait, daemon=True).start()
    for step in steps():
        if is_closed.is_set():
            return
        step()
