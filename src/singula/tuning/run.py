"""Tuning of the thresholds of a run, which are saved with its weights."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from singula.config.thresholds import with_tuned
from singula.errors import UserError
from singula.io.run_lock import hold, lock_file
from singula.io.write import write_text
from singula.io.written import protect
from singula.pipeline.ensemble import ensemble_key
from singula.representations.decoders import DecodeSettings
from singula.training.checkpoint import save_tuned
from singula.tuning.ensemble import tune_ensemble
from singula.tuning.results import TuneResult, make_tuner, search_thresholds
from singula.tuning.trial import check_goal
from singula.tuning.tuner import Tuner
from singula.tuning.validation import Run, find_run, stored_examples
from singula.util.arguments import flag, instance, items
from singula.util.format import command
from singula.util.paths import user_path

if TYPE_CHECKING:
    import torch

    from singula.config import Config

_log = logging.getLogger(__name__)


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
    run: Path | str | Sequence[Path | str],
    *,
    metric: str = "pq",
    iou: float = 0.5,
    save: bool = True,
    device: str | torch.device = "cpu",
) -> TuneResult:
    """Search the thresholds and the minimum size with the best score on validation images.

    Parameters
    ----------
    run : Path or str, or sequence of Path or str
        Folder of a finished run, such as ``results/cells/results/cells_1``; several folders to tune
        the thresholds of an ensemble (`singula.tuning.ensemble.tune_ensemble`).
    metric : {"pq", "f1"}
        Objective: panoptic quality or F1.
    iou : float
        Minimum IoU of a true positive.
    device : str or torch.device
        Device on which missing maps are predicted.
    save : bool
        Write the thresholds to the checkpoint of the run, or of each run.

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
    >>> {"REMOVE_SMALL_OBJ", "TH_BINARY_MASK"} <= set(result.thresholds)
    True
    """
    save = flag(save, "save")
    if isinstance(run, Sequence) and not isinstance(run, str | bytes):
        folders = items(run, "run", user_path)
        if len(folders) != 1:
            return _tune_together(folders, metric, iou, device, save=save)
        run = folders[0]
    target = _check(run, metric, iou, device)
    finished = find_run(run)
    with hold(_locks(finished, save=save), "tune"), _protect(finished):
        return _tune(finished, metric, iou, target, save=save)


def _protect(run: Run) -> AbstractContextManager[None]:
    """Rename files of the user in the folders of a run before they are replaced."""
    return protect([run.tree.run, run.tree.checkpoints])


def _tune(run: Run, metric: str, iou: float, device: torch.device, *, save: bool) -> TuneResult:
    tuner = _tuner(run, metric, iou, device)
    result = search_thresholds(tuner, run.config, run.tree.tuning)
    files = {**result.files, "configuration": write_configuration(run, result.thresholds)}
    saved = None
    if save and result.has_match:  # otherwise, thresholds of an earlier search are kept
        saved = save_thresholds(run, result.thresholds, result.details)
        if saved is None:
            path = run.checkpoint.path
            _log.warning(f"{path}: is not a checkpoint of this run; thresholds are not saved to it")
    return replace(result, files=files, saved=saved)


def _tune_together(
    folders: Sequence[Path], metric: str, iou: float, device: str | torch.device, *, save: bool
) -> TuneResult:
    """Tune the thresholds of an ensemble, and write them to the checkpoints of all runs."""
    if not folders:
        raise UserError(
            "run: got an empty sequence, expected at least one run",
            "give the folder of a run",
            "tuning.no_run",
        )
    target = _check(folders[0], metric, iou, device)
    runs = [find_run(folder) for folder in folders]
    with ExitStack() as stack:
        locks = {path for run in runs for path in _locks(run, save=save)}
        stack.enter_context(hold(sorted(locks), "tune"))
        for run in runs:
            stack.enter_context(_protect(run))
        result, members = tune_ensemble(runs, metric, iou, target)
        if not (save and result.has_match):
            return result
        tuned = {"thresholds": dict(result.thresholds), **result.details}
        for run in runs:
            save_tuned(run.checkpoint.path, tuned, ensemble=ensemble_key(members))
    return replace(result, saved=runs[0].checkpoint.path)


def _check(run: object, metric: str, iou: float, device: str | torch.device) -> torch.device:
    """Validate the arguments before the prediction, and return the device."""
    from singula.training.device import torch_device

    user_path(run, "run")
    check_goal(metric, iou)
    return torch_device(device)


def _tuner(run: Run, metric: str, iou: float, device: torch.device) -> Tuner:
    with _protect(run):
        examples, post = stored_examples(run, device)
    return make_tuner(examples, post, run.config, metric, iou)


def retest_config(run: Run, thresholds: dict[str, Any]) -> Config:
    """Return a configuration that tests thresholds on the stored predictions of a run.

    Parameters
    ----------
    run : Run
        Run from `find_run`.
    thresholds : dict
        Thresholds by configuration key without prefix.
    """
    changes: dict[str, Any] = {
        "TRAIN.ENABLE": False,
        "TEST.ENABLE": True,
        "TEST.REUSE_PREDICTIONS": True,
    }
    if run.config.TRAIN.ENABLE:  # the initial weights of the training are not tested
        changes |= {"MODEL.LOAD_CHECKPOINT": False, "PATHS.CHECKPOINT_FILE": ""}
    return with_tuned(run.config.replaced(changes), thresholds)


def write_configuration(run: Run, thresholds: dict[str, Any]) -> Path:
    """Write a configuration that tests the thresholds on the stored predictions.

    An existing file with other contents is not replaced; the next free name is used.

    Raise `TypeError` or `UserError` if an argument is wrong or the file cannot be written.
    """
    run = instance(run, "run", Run)
    DecodeSettings.from_keys(thresholds)
    tree, config = run.tree, retest_config(run, thresholds)
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
