"""Thresholds that suit the predictions, found on validation images without the network."""

from __future__ import annotations

from singula.tuning.story import TuneResult, open_tuner, result_lines, tune
from singula.tuning.tuner import Example, Steps, Trial, Tuner

__all__ = ["Example", "Steps", "Trial", "TuneResult", "Tuner", "open_tuner", "result_lines", "tune"]
