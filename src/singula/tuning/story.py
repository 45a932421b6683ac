"""The story of a tuning: predict once, search, and leave tables, a picture and a configuration."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from singula.arguments import flag, function, instance
from singula.config.thresholds import with_tuned
from singula.evaluate import score_rows
from singula.instances import DecodeSettings
from singula.io.records import TrialRow
from singula.io.run_lock import hold, lock_file
from singula.io.write import write_csv, write_text
from singula.io.written import protect
from singula.paths import user_path
from singula.stages import settings as from_config
from singula.stages.post import PostSettings, process_instances, seed_filter
from singula.stages.thresholds import configured
from singula.training.checkpoint import save_tuned
from singula.tuning.chart import draw_search
from singula.tuning.space import searched_keys
from singula.tuning.tuner import METRICS, Steps, Trial, Tuner, check_goal
from singula.tuning.validation import Run, find_run, stored_examples
from singula.words import command, counted

if TYPE_CHECKING:
    import torch

    from singula.config import Config

Notify = Callable[[str], None]
_SHOWN = {
    "panoptic_quality": "mean panoptic quality",
    "f1": "mean F1",
    "precision": "mean precision",
    "recall": "mean recall",
    "tp": "matched objects",
    "fp": "false objects",
    "fn": "missed objects",
}
_WORDS = {"pq": "mean panoptic quality", "f1": "mean F1"}
_EVERY = 5.0  # seconds


@dataclass(frozen=True)
class TuneResult:
    """What a tuning found and left.

    Parameters
    ----------
    before, after : Trial
        What was configured, and the best that was found; the same where nothing was better.
    thresholds : dict
        The best, by configuration key without prefix, without those that are automatic. TH_TYPE is
        among them where it holds for all.
    start : dict
        Numbers that were searched, as configured; of automatic thresholds the mean over images.
    th_type : str
        ``manual`` if all numbers that were searched are configured; else ``auto``.
    trials : list of Trial
        All that was tried.
    metric : str
        ``pq`` or ``f1``.
    iou : float
    files : dict of str to Path
        ``table``, ``trials``, ``configuration`` and, where there are two numbers to draw,
        ``picture``.
    saved : Path, optional
        The checkpoint that holds the thresholds now.
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
    notify: Notify = lambda line: None,
) -> Tuner:
    """Validation images of a finished run, ready to be decoded under any thresholds.

    Parameters
    ----------
    run : Path or str
        Its folder, such as ``results/cells/results/cells_1``.
    metric : {"pq", "f1"}
    iou : float
        Of a true and a predicted object that count as a pair.
    device : str or torch.device
        Where to predict what is not stored yet.
    notify : callable

    Returns
    -------
    Tuner
        `Tuner.decode` gives labels and scores of an image, `Tuner.score` those of all.

    Raises
    ------
    TypeError, UserError
        Wrong arguments; the run, its checkpoint or the images are missing. ``run.locked``: another
        process writes to the run.
    """
    where = _check(run, metric, iou, device, notify)
    found = find_run(run, notify)
    with hold(_locks(found), "tune", notify):
        return _tuner(found, metric, iou, where, notify)


def tune(
    run: Path | str,
    *,
    metric: str = "pq",
    iou: float = 0.5,
    save: bool = True,
    device: str | torch.device = "cpu",
    notify: Notify = lambda line: None,
) -> TuneResult:
    """Search the thresholds and the least size that suit a run's validation images best.

    Parameters
    ----------
    run, metric, iou, device, notify
        As for `open_tuner`.
    save : bool
        Put the thresholds into the run's checkpoint.

    Returns
    -------
    TuneResult
        Its files are in ``tuning`` in the run's folder. A configuration that a user has changed
        there is left as it is.

    Raises
    ------
    UserError
        As `open_tuner`.
    """
    save = flag(save, "save")
    where = _check(run, metric, iou, device, notify)
    found = find_run(run, notify)
    with hold(_locks(found, save=save), "tune", notify), _protect(found, notify):
        return _tune(found, metric, iou, where, notify, save=save)


def _protect(run: Run, notify: Notify | None = None) -> AbstractContextManager[None]:
    """Move files of the user in a run before the search replaces them."""
    return protect([run.tree.run, run.tree.checkpoints], notify)


def _tune(
    found: Run, metric: str, iou: float, device: torch.device, notify: Notify, *, save: bool
) -> TuneResult:
    tuner = _tuner(found, metric, iou, device, notify)
    held = sum(not example.training for example in tuner.examples)
    images = counted(held, "validation image")
    if held < len(tuner.examples):
        images += f" and {counted(len(tuner.examples) - held, 'training image')}"
    notify(f"searching for the best {_words(tuner)} on {images}")
    trials, after = tuner.search(_Progress(notify))
    before = trials[0]
    thresholds = {**configured(found.config), **after.thresholds}
    start = tuner.start()
    searched = {p.key: start[p.key] for p in tuner.parameters()[1]}
    files = _write(found, tuner, trials, after, start, thresholds)
    saved = None
    if save:
        scores = [float(getattr(trial.score, METRICS[metric])) for trial in (before, after)]
        worth = {"metric": metric, "iou": tuner.iou, "before": scores[0], "after": scores[1]}
        saved = save_thresholds(found, thresholds, worth)
        if saved is None:
            path = found.checkpoint.path
            notify(f"{path} is no checkpoint of this run and stays as it is")
    return TuneResult(
        before,
        after,
        thresholds,
        searched,
        _type(tuner),
        trials,
        metric,
        tuner.iou,
        files,
        saved,
    )


def _check(
    run: object, metric: str, iou: float, device: str | torch.device, notify: object
) -> torch.device:
    """Refuse wrong arguments before minutes of prediction, and return the device."""
    from singula.training.device import torch_device

    user_path(run, "run")
    check_goal(metric, iou)
    function(notify, "notify")
    return torch_device(device)


def _tuner(run: Run, metric: str, iou: float, device: torch.device, notify: Notify) -> Tuner:
    with _protect(run, notify):
        examples, post = stored_examples(run, device, notify)
    return Tuner(
        examples,
        run.config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS,
        from_config.decode_settings(run.config),
        metric=metric,
        iou=iou,
        steps=_steps(post),
    )


def _steps(post: PostSettings) -> Steps:
    """The configured steps besides decoding."""

    def instances(labels: Any, maps: Any, sizes: Any) -> Any:
        processed = process_instances(labels, maps, measured, sizes)
        return labels if processed.labels is None else processed.labels

    def seeds(found: Any, sizes: Any) -> Any:
        change = seed_filter(post, sizes)
        return found if change is None else change(found)

    measured = replace(post, measure=bool(post.conditions))
    return Steps(
        seeds if post.close_radius is not None else None,
        instances if post.has_own_result else None,
    )


def _type(tuner: Tuner) -> str:
    """Return "auto" if a threshold that was searched is automatic as configured."""
    seeds, growth = searched_keys(tuner.channels, tuner.settings)
    return "auto" if any(map(tuner.settings.is_automatic, seeds + growth)) else "manual"


class _Progress:
    """Says now and then how far a search is."""

    def __init__(self, notify: Notify) -> None:
        self.notify = notify
        self.said = time.monotonic()

    def __call__(self, count: int, best: float) -> None:
        if count % 50 == 0 or time.monotonic() - self.said > _EVERY:
            self.said = time.monotonic()
            self.notify(f"  {counted(count, 'setting')} tried, best {best:.4f}")


def _words(tuner: Tuner) -> str:
    return f"{_WORDS[tuner.metric]} at IoU {tuner.iou:g}"


def _write(
    run: Run,
    tuner: Tuner,
    trials: list[Trial],
    after: Trial,
    start: dict[str, float],
    thresholds: dict[str, Any],
) -> dict[str, Path]:
    """Tables, picture and configuration."""
    folder = run.tree.tuning
    rows = [
        {"setting": words, **row}
        for words, trial in (("before", trials[0]), ("after", after))
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
    for row in tried:
        TrialRow.model_validate(row)
    files["trials"] = write_csv(folder / "trials.csv", tried)
    picture = draw_search(trials, after, start, _words(tuner), folder / "tuning.png")
    if picture is not None:
        files["picture"] = picture
    files["configuration"] = write_configuration(run, thresholds)
    return files


def _score_rows(tuner: Tuner, trial: Trial) -> list[dict[str, object]]:
    """Return rows of the validation images, their mean and pool, then of the training images."""
    pairs = list(zip(tuner.examples, trial.images, strict=True))
    held = {example.name: [score] for example, score in pairs if not example.training}
    training = {example.name: [score] for example, score in pairs if example.training}
    return score_rows(held) + score_rows(training)[: len(training)]


def write_configuration(run: Run, thresholds: dict[str, Any]) -> Path:
    """A complete configuration that tests with the thresholds, on the stored predictions.

    A file that differs is never replaced: the next free name is taken.

    Raise `TypeError` or `UserError` for wrong arguments, and for a file that cannot be written.
    """
    run = instance(run, "run", Run)
    DecodeSettings.from_keys(thresholds)
    tree = run.tree
    name = tree.job_id.rpartition("_")
    changes: dict[str, Any] = {
        "TRAIN.ENABLE": False,
        "TEST.ENABLE": True,
        "TEST.REUSE_PREDICTIONS": True,
    }
    if run.config.TRAIN.ENABLE:  # what the training set out from is not what is tested
        changes |= {"MODEL.LOAD_CHECKPOINT": False, "PATHS.CHECKPOINT_FILE": ""}
    config: Config = with_tuned(run.config.replaced(changes), thresholds)
    again = command(
        *("run", "--config", "THIS_FILE", "--result_dir", tree.job_dir.parent),
        *("--name", name[0], "--run_id", name[2]),
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
            if path.is_file() and path.read_bytes() == text.encode():
                return path
    raise RuntimeError("a thousand tuned configurations")


def save_thresholds(
    run: Run, thresholds: dict[str, Any], found: dict[str, Any] | None = None
) -> Path | None:
    """Put thresholds into the checkpoint of a run, for `singula predict` and tests to use.

    Parameters
    ----------
    run : Run
        What `find_run` gave.
    thresholds : dict
        By configuration key without prefix.
    found : dict, optional
        What else to remember of them, in plain types.

    Returns
    -------
    Path, optional
        The checkpoint; None where it is not one of this run's own, which stays as it is.

    Raises
    ------
    TypeError, UserError
        Wrong arguments; a key or value that is not allowed; a file that cannot be written.
        ``run.locked``: another process writes to the run.
    """
    run = instance(run, "run", Run)
    if found is not None:
        instance(found, "found", dict)
    DecodeSettings.from_keys(thresholds)
    path = run.checkpoint.path
    if not _is_own(run):
        return None
    tuned = {"thresholds": dict(thresholds), **(found or {})}
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
    """Before and after as a table of text.

    Raise `TypeError` for another object than a `TuneResult`.
    """
    result = instance(result, "result", TuneResult)
    rows = [("", "before", "after")]
    rows.append(("TH_TYPE", result.th_type, str(result.thresholds.get("TH_TYPE", result.th_type))))
    for key, value in result.start.items():
        rows.append((key, f"{value:.3g}", f"{result.thresholds.get(key, value):.3g}"))
    for name, title in _SHOWN.items():
        found = [getattr(trial.score, name) for trial in (result.before, result.after)]
        before, after = (f"{v:.4f}" if isinstance(v, float) else str(v) for v in found)
        rows.append((title, before, after))
    return [f"  {name:<24} {before:>12} {after:>12}" for name, before, after in rows]
