"""Thresholds in use: in the results, with the model, and in the next run of the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from singula.config import Config, load_config
from singula.config.thresholds import KEYS, resolve_sources
from singula.errors import UserError
from singula.gui.guard import Guard
from singula.gui.results import Results
from singula.pipeline.thresholds import apply_tuned, used_names
from singula.util.messages import captured_messages

SOURCE_LABELS: dict[str, str] = {
    "user": "set by you",
    "tuned": "tuned",
    "generated": "proposed",
    "automatic": "automatic, for each image",
    "default": "default",
}
"""Origins of a threshold, for a page."""


@dataclass(frozen=True)
class Use:
    """Thresholds of one use of a model.

    Parameters
    ----------
    title : str
        The use.
    values : dict of str to str
        Value with its origin by name without prefix.
    """

    title: str
    values: dict[str, str]


def thresholds_in_use(results: Results, guard: Guard, source: Path | None) -> list[Use]:
    """Return the thresholds of the results, of predictions with the model, and of the next run.

    The precedence is that of the command line: thresholds saved with the model replace those that
    Singula proposed or determines automatically, but not those that the user set.

    Parameters
    ----------
    results : Results
        Results of the run.
    guard : Guard
        Folders that the interface may open.
    source : Path, optional
        Configuration file of the run.
    """
    return list(_uses(results, guard, source))


def _uses(results: Results, guard: Guard, source: Path | None) -> Iterator[Use]:
    from singula.pipeline.checkpoints import trained_config
    from singula.tuning import find_run

    yield Use("These results", _texts_of_results(results))
    try:
        with captured_messages():
            checkpoint = find_run(results.run.tree.run).checkpoint
            guard.check(checkpoint.path)
            model, _ = apply_tuned(trained_config(checkpoint), checkpoint.description, always=True)
    except UserError:
        return  # without a checkpoint, there are no other uses
    yield Use("New images with this model", _texts(model))
    if source is None:
        return
    try:
        with captured_messages():
            again, _ = apply_tuned(load_config(guard.check(source)), checkpoint.description)
    except UserError:
        return
    if not again.TRAIN.ENABLE:  # a new training has a model without saved thresholds
        yield Use(f"Next run of {source.name}", _texts(again))


def _texts_of_results(results: Results) -> dict[str, str]:
    """Return the recorded values and origins; runs of earlier versions have none."""
    texts, test = _texts(results.run.config), results.run.test
    for name in texts:
        source = test.threshold_sources.get(name)
        recorded = {used[name] for used in test.thresholds.values() if used.get(name) is not None}
        if source not in SOURCE_LABELS:
            continue
        value = results.run.config.dotted()[KEYS[name]]
        if len(recorded) == 1 and source != "automatic":
            (value,) = recorded
        number = "" if source == "automatic" else f"{value:g}, "
        texts[name] = f"{number}{SOURCE_LABELS[source]}"
    return texts


def _texts(config: Config) -> dict[str, str]:
    resolved = resolve_sources(config)
    texts = {}
    for name in used_names(config):
        threshold = resolved[name]
        number = "" if threshold.source == "automatic" else f"{threshold.value:g}, "
        texts[name] = f"{number}{SOURCE_LABELS[threshold.source]}"
    return texts
