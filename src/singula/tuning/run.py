"""Tuning of thresholds: prediction, search, and the results as tables, chart and configuration."""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from singula.config.thresholds import with_tuned
from singula.io.record_tables import write_table
from singula.io.records.tables import TrialRow
from singula.io.run_lock import hold, lock_file
from singula.io.write import write_csv, write_text
from singula.io.written import protect
from singula.metrics import score_rows
from singula.pipeline import from_config
from singula.pipeline.postprocess import PostSettings, process_instances, seed_filter
from singula.pipeline.thresholds import configured
from singula.representations.decoders import DecodeSettings
from singula.training.checkpoint import save_tuned
from singula.tuning.chart import draw_search
from singula.tuning.tuner import METRICS, Steps, Trial, Tuner, check_goal
from singula.tuning.validation import Run, find_run, stored_examples
from singula.util.arguments import flag, instance
from singula.util.format import command, counted
from singula.util.paths import user_path

if TYPE_CHECKING:
    import torch

    from singula.config import Config

_log = logging.getLogger(__name__)
_TITLES = {
    "panoptic_quality": "mean panoptic quality",
    "f1": "mean F1",
    "precision": "mean precision",
    "recall": "mean recall",
    "tp": "matched objects",
    "fp": "false objects",
    "fn": "missed objects",
}
_GOALS = {"pq": "mean panoptic quality", "f1": "mean F1"}
_INTERVAL = 5.0  # seconds between notices


@dataclass(frozen=True)
class TuneResult:
    """Result of a tuning.

    Parameters
    ----------
    before, after : Trial
        Configured thresholds, and the best trial; equal if no trial was better.
    thresholds : dict
        Best thresholds by configuration key without prefix, without automatic thresholds; TH_TYPE
        is included if it applies to all thresholds.
    start : dict
        Configured values of the searched parameters; automatic thresholds have their mean.
    th_type : str
        ``manual`` if all searched thresholds are configured, else ``auto``.
    trials : list of Trial
        All trials.
    metric : str
        ``pq`` or ``f1``.
    iou : float
        Threshold of the IoU.
    files : dict of str to Path
        ``table``, ``trials``, ``configuration`` and, with two parameters or more, ``picture``.
    saved : Path, optional
        Checkpoint to which the thresholds were written.
    """

    before: Trial
    after: Trial
    thresholds: dict[str, Any]
    start: dict[str, float]
    th_type: str
    trials: list[Trial]
    metric: str
    iou: float
    files: dict[str, Path]
    saved: Path | None = None


def open_tuner(
    run: Path | str,
    *,
    metric: str = "pq",
    iou: float = 0.5,
    device: str | torch.device = "cpu",
) -> Tuner:
    """Return a tuner with the predicted maps of the validation images of a run.

    Parameters
    ----------
    run, metric, iou, device
        As for `tune`.

    Returns
    -------
    Tuner
        Tuner for these images.

    Raises
    ------
    TypeError, UserError
        An argument is wrong; the run, its checkpoint or the images are missing; ``run.locked``:
        another process writes to the run.
    """
    target = _check(run, metric, iou, device)
    finished = find_run(run)
    with hold(_locks(finished), "tune"):
        return _tuner(finished, metric, iou, target)


def tune(
    run: Path | str,
    *,
    metric: str = "pq",
    iou: float = 0.5,
    save: bool = True,
    device: str | torch.device = "cpu",
) -> TuneResult:
    """Search the thresholds and the minimum size with the best score on validation images.

    Parameters
    ----------
    run : Path or str
        Folder of a finished run, such as ``results/cells/results/cells_1``.
    metric : {"pq", "f1"}
        Objective: panoptic quality or F1.
    iou : float
        Minimum IoU of a true positive.
    device : str or torch.device
        Device on which missing maps are predicted.
    save : bool
        Write the thresholds to the checkpoint of the run.

    Returns
    -------
    TuneResult
        Thresholds, scores and written files. The files are in the folder ``tuning`` of the run. A
        configuration that a user has changed is not replaced.

    Raises
    ------
    TypeError, UserError
        As for `open_tuner`.

    Examples
    --------
    >>> import singula
    >>> result = singula.tune("results/cells/results/cells_1", save=False)
    >>> result.after.score.panoptic_quality >= result.before.score.panoptic_quality
    True
    >>> sorted(result.thresholds)[:2]
    ['REMOVE_SMALL_OBJ', 'TH_BINARY_MASK']
    """
    save = flag(save, "save")
    target = _check(run, metric, iou, device)
    finished = find_run(run)
    with hold(_locks(finished, save=save), "tune"), _protect(finished):
        return _tune(finished, metric, iou, target, save=save)


def _protect(run: Run) -> AbstractContextManager[None]:
    """Rename files of the user in the folders of a run before they are replaced."""
    return protect([run.tree.run, run.tree.checkpoints])


def _tune(run: Run, metric: str, iou: float, device: torch.device, *, save: bool) -> TuneResult:
    tuner = _tuner(run, metric, iou, device)
    n_validation = sum(not example.training for example in tuner.examples)
    images = counted(n_validation, "validation image")
    if n_validation < len(tuner.examples):
        images += f" and {counted(len(tuner.examples) - n_validation, 'training image')}"
    _log.info(f"searching for the best {_goal(tuner)} on {images}")
    trials, after = tuner.search(_Progress())
    before = trials[0]
    thresholds = {**configured(run.config), **after.thresholds}
    start = tuner.start()
    searched = {p.key: start[p.key] for p in tuner.parameters()}
    files = _write(run, tuner, trials, after, start, thresholds)
    saved = None
    if save:
        scores = [float(getattr(trial.score, METRICS[metric])) for trial in (before, after)]
        details = {"metric": metric, "iou": tuner.iou, "before": scores[0], "after": scores[1]}
        saved = save_thresholds(run, thresholds, details)
        if saved is None:
            path = run.checkpoint.path
            _log.warning(f"{path}: is not a checkpoint of this run; thresholds are not saved to it")
    return TuneResult(
        before, after, thresholds, searched, _type(tuner), trials, metric, tuner.iou, files, saved
    )


def _check(run: object, metric: str, iou: float, device: str | torch.device) -> torch.device:
    """Validate the arguments before the prediction, and return the device."""
    from singula.training.device import torch_device

    user_path(run, "run")
    check_goal(metric, iou)
    return torch_device(device)


def _tuner(run: Run, metric: str, iou: float, device: torch.device) -> Tuner:
    with _protect(run):
        examples, post = stored_examples(run, device)
    return Tuner(
        examples,
        run.config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS,
        from_config.decode_settings(run.config),
        metric=metric,
        iou=iou,
        steps=_steps(post),
    )


def _steps(post: PostSettings) -> Steps:
    """Return the configured steps other than decoding."""

    def instances(labels: Any, maps: Any, sizes: Any) -> Any:
        processed = process_instances(labels, maps, measured, sizes)
        return labels if processed.labels is None else processed.labels

    def seeds(labels: Any, sizes: Any) -> Any:
        change = seed_filter(post, sizes)
        return labels if change is None else change(labels)

    measured = replace(post, measure=bool(post.conditions))
    return Steps(
        seeds if post.close_radius is not None else None,
        instances if post.has_own_result else None,
    )


def _type(tuner: Tuner) -> str:
    """Return "auto" if a searched threshold is configured as automatic, else "manual"."""
    return "auto" if any(map(tuner.settings.is_automatic, chain(*tuner.groups()))) else "manual"


class _Progress:
    """Function that reports the progress of a search at intervals."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def __call__(self, count: int, best: float) -> None:
        if count % 50 == 0 or time.monotonic() - self.last > _INTERVAL:
            self.last = time.monotonic()
            _log.info(f"  {counted(count, 'setting')} tried, best {best:.4f}")


def _goal(tuner: Tuner) -> str:
    return f"{_GOALS[tuner.metric]} at IoU {tuner.iou:g}"


def _write(
    run: Run,
    tuner: Tuner,
    trials: list[Trial],
    after: Trial,
    start: dict[str, float],
    thresholds: dict[str, Any],
) -> dict[str, Path]:
    """Write the tables, the chart and the configuration."""
    folder = run.tree.tuning
    rows = [
        {"setting": setting, **row}
        for setting, trial in (("before", trials[0]), ("after", after))
        for row in _score_rows(tuner, trial)
    ]
    files = {"table": write_csv(folder / "tuning.csv", rows)}
    tried = [
        {
            **{"TH_TYPE": _type(tuner), **trial.thresholds},
            **{name: getattr(trial.score, field) for name, field in METRICS.items()},
            **{name: getattr(trial.score, name) for name in ("precision", "recall")},
            "searched": trial.value,
            "chosen": int(trial is after),
        }
        for trial in trials
    ]
    files["trials"] = write_table(folder / "trials.csv", tried, TrialRow)
    picture = draw_search(trials, after, start, _goal(tuner), folder / "tuning.png")
    if picture is not None:
        files["picture"] = picture
    files["configuration"] = write_configuration(run, thresholds)
    return files


def _score_rows(tuner: Tuner, trial: Trial) -> list[dict[str, object]]:
    """Return rows of the validation images, their mean and pool, then of the training images."""
    pairs = list(zip(tuner.examples, trial.images, strict=True))
    validation = {example.name: [score] for example, score in pairs if not example.training}
    training = {example.name: [score] for example, score in pairs if example.training}
    return score_rows(validation) + score_rows(training)[: len(training)]


def write_configuration(run: Run, thresholds: dict[str, Any]) -> Path:
    """Write a configuration that tests the thresholds on the stored predictions.

    An existing file with other contents is not replaced; the next free name is used.

    Raise `TypeError` or `UserError` if an argument is wrong or the file cannot be written.
    """
    run = instance(run, "run", Run)
    DecodeSettings.from_keys(thresholds)
    tree = run.tree
    changes: dict[str, Any] = {
        "TRAIN.ENABLE": False,
        "TEST.ENABLE": True,
        "TEST.REUSE_PREDICTIONS": True,
    }
    if run.config.TRAIN.ENABLE:  # the initial weights of the training are not tested
        changes |= {"MODEL.LOAD_CHECKPOINT": False, "PATHS.CHECKPOINT_FILE": ""}
    config: Config = with_tuned(run.config.replaced(changes), thresholds)
    again = command(
        *("run", "--config", "THIS_FILE", "--result_dir", tree.job_dir.parent),
        *("--name", tree.name, "--run_id", tree.run_id),
    )
    text = (
        "# Thresholds tuned by `singula tune` on validation images. To test with them:\n"
        f"# {again}\n{config.to_yaml()}"
    )
    with hold(_locks(run), "tune"):
        for number in range(1, 1000):
            path = tree.tuning / ("tuned.yaml" if number == 1 else f"tuned_{number}.yaml")
            if not path.exists():
                return write_text(path, text)
            if path.is_file() and path.read_bytes() == text.encode("utf-8", "backslashreplace"):
                return path
    raise RuntimeError("a thousand tuned configurations")


def save_thresholds(
    run: Run, thresholds: dict[str, Any], details: dict[str, Any] | None = None
) -> Path | None:
    """Write thresholds to the checkpoint of a run, for `singula predict` and tests.

    Parameters
    ----------
    run : Run
        Run from `find_run`.
    thresholds : dict
        Thresholds by configuration key without prefix.
    details : dict, optional
        Plain types to store with the thresholds, such as the metric.

    Returns
    -------
    Path, optional
        Changed checkpoint; None if the checkpoint belongs to another run.

    Raises
    ------
    TypeError, UserError
        An argument is wrong; a key or value is not allowed; the file cannot be written;
        ``run.locked``: another process writes to the run.
    """
    run = instance(run, "run", Run)
    if details is not None:
        instance(details, "details", dict)
    DecodeSettings.from_keys(thresholds)
    path = run.checkpoint.path
    if not _is_own(run):
        return None
    tuned = {"thresholds": dict(thresholds), **(details or {})}
    if run.checkpoint.description.get("tuned") != tuned:
        with hold(_locks(run, save=True), "tune"), _protect(run):
            save_tuned(path, tuned)
    return path


def _locks(run: Run, *, save: bool = False) -> list[Path]:
    """Return the lock files of the folder of a run and, to `save` thresholds, of its checkpoint."""
    files = [lock_file(run.tree.run)]
    return [*files, run.tree.checkpoint_lock] if save and _is_own(run) else files


def _is_own(run: Run) -> bool:
    """Return True if the checkpoint is in the folder that the run writes checkpoints to."""
    return run.checkpoint.path.resolve().parent == run.tree.checkpoints.resolve()


def result_lines(result: TuneResult) -> list[str]:
    """Return a table of the thresholds and scores before and after the tuning, as lines of text.

    Raise `TypeError` if `result` is not a `TuneResult`.
    """
    result = instance(result, "result", TuneResult)
    rows = [("", "before", "after")]
    rows.append(("TH_TYPE", result.th_type, str(result.thresholds.get("TH_TYPE", result.th_type))))
    for key, value in result.start.items():
        rows.append((key, f"{value:.3g}", f"{result.thresholds.get(key, value):.3g}"))
    for name, title in _TITLES.items():
        scores = [getattr(trial.score, name) for trial in (result.before, result.after)]
        before, after = (f"{v:.4f}" if isinstance(v, float) else str(v) for v in scores)
        rows.append((title, before, after))
    return [f"  {name:<24} {before:>12} {after:>12}" for name, before, after in rows]
