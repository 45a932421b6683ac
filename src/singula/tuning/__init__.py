"""Tuning of thresholds on the predicted maps of validation images."""

from __future__ import annotations

from singula.tuning.results import TuneResult, result_lines
from singula.tuning.run import open_tuner, save_thresholds, tune, write_configuration
from singula.tuning.trial import Example, Steps, Trial
from singula.tuning.tuner import Tuner
from singula.tuning.validation import Run, find_run

__all__ = [
    "Example",
    "Run",
    "Steps",
    "Trial",
    "TuneResult",
    "Tuner",
    "find_run",
    "open_tuner",
    "result_lines",
    "save_thresholds",
    "tune",
    "write_configuration",
]
