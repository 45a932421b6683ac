"""Compile functions of a first prediction in a second process, while the first loads the network.

Functions for instances are compiled at their first use, which is a large part of the time of the
first prediction after an installation. Numba compiles one function at a time in each process, and
stores the machine code in a file. Another process reads it instead of compiling the function again.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from singula.measure.confidence import confidence
from singula.measure.intensity import intensities
from singula.measure.moments import second_moments
from singula.measure.morphology import add_perimeters, shapes
from singula.representations.channels.source import EncodeSettings
from singula.representations.decoders.flood import compile_flooding
from singula.util.process import available_cores, is_stored, thread_limit

_PROGRAM = "from singula.measure.compile_ahead import compile_functions; compile_functions()"


@contextmanager
def compile_ahead() -> Iterator[None]:
    """Compile the functions of `compile_functions` in a process that ends with the context.

    Nothing happens if the functions are compiled already, cannot be stored, or if this process may
    use one core only.
    """
    if min(available_cores(), thread_limit() or 2) < 2 or not _is_needed():
        yield
        return
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM],  # not from modules in the working directory
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # the first process shows an error when it compiles the function
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _is_needed() -> bool:
    """Return True if the last function of `compile_functions` can be stored, but is not."""
    return is_stored(add_perimeters) is False


def compile_functions() -> None:
    """Compile the functions for flooding, confidence and measurements of 2D instances.

    The arrays have the types of an image with at most 65,535 instances. The first process compiles
    the functions that it uses before these, and those for shapes if it reaches them first.
    """
    compile_flooding()
    labels = np.zeros((8, 8), np.uint16)
    labels[2:6, 2:6] = 1
    maps = {code: np.ones(labels.shape, np.float32) for code in "BCD"}
    confidence(labels, maps, EncodeSettings(tuple(maps)))
    second_moments(labels)
    intensities(labels, maps["B"])
    shapes(labels)
