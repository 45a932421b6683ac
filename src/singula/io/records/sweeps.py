"""Folder of a sweep: `singula.commands.sweep`."""

from __future__ import annotations

from typing import Any

from singula.io.records.base import Count, StoredRecord


class SweepRecord(StoredRecord):
    """Content of ``sweep.json``: the runs of a sweep.

    Attributes
    ----------
    config : str
        Configuration file, as given.
    overrides, varied : list of str
        Values of the options ``--set`` and ``--vary``.
    folds : int
        Number of folds of a cross-validation; 0 without one.
    trials : int
        Number of random combinations; 0 for all combinations.
    seed : int
        Seed of the random combinations.
    runs : list of list of str
        Overrides of each run, as ``KEY=VALUE``; the first has the run id 1.
    configuration : dict
        Resolved configuration of the first run.
    """

    config: str
    overrides: list[str]
    varied: list[str]
    folds: Count
    trials: Count
    seed: Count
    runs: list[list[str]]
    configuration: dict[str, Any]
