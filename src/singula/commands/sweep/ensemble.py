"""Ensembles of the folds of a cross-validation: a test with the mean of their stored maps."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from singula.commands.sweep.plan import SweepRun
from singula.config import load_config
from singula.io.image import Image
from singula.io.run_folder import ResultsTree, View
from singula.io.run_lock import hold
from singula.pipeline.map_cache import StoredMaps
from singula.pipeline.readers import n_classes
from singula.pipeline.run import Job
from singula.pipeline.run import run as run_job
from singula.prediction.ensemble import CLASSES, mean_maps
from singula.runs.run import Run, Stage, is_finished
from singula.util.locations import location
from singula.util.messages import captured_messages

_log = logging.getLogger(__name__)
NAME = "ensemble"
"""Name of the job of the ensembles, in the folder of the sweep."""
# The test decodes the stored maps: no network is loaded, and patches have no scores.
_OVERRIDES = (
    "TRAIN.ENABLE=False",
    "MODEL.LOAD_CHECKPOINT=False",
    "PATHS.CHECKPOINT_FILE=",
    "TEST.REUSE_PREDICTIONS=True",
    "TEST.STATS.PER_PATCH=False",
)


def ensemble_job(runs: Sequence[SweepRun]) -> Job:
    """Return the job that tests the ensemble of the runs of a combination.

    Parameters
    ----------
    runs : sequence of SweepRun
        The folds.
    """
    first = runs[0]
    return replace(
        first.job,
        result_dir=first.tree.job_dir,
        name=NAME,
        run_id=first.combination,
        overrides=(*first.job.overrides, *_OVERRIDES),
    )


def ensemble_folder(runs: Sequence[SweepRun]) -> Path:
    """Return the folder of the results of an ensemble.

    Parameters
    ----------
    runs : sequence of SweepRun
        The folds.
    """
    return ensemble_job(runs).tree(runs[0].config).run


def reason_without_ensemble(opened: Sequence[Run]) -> str | None:
    """Return the reason why the maps of runs have no mean; None if they have one.

    Parameters
    ----------
    opened : sequence of Run
        The finished folds.
    """
    first = opened[0]
    if not first.config.TEST.ENABLE:
        return "the configuration has no test (TEST.ENABLE: False)"
    if any(run.test.files != first.test.files for run in opened):
        return "the folds have different test images"
    if first.config.TEST.BY_CHUNKS.ENABLE:
        return "images in blocks (TEST.BY_CHUNKS) are averaged by `singula predict --model` only"
    return None


def score_ensemble(runs: Sequence[SweepRun], opened: Sequence[Run]) -> Path:
    """Decode and score the mean of the maps of the folds, unless this was done already.

    Parameters
    ----------
    runs : sequence of SweepRun
        The folds.
    opened : sequence of Run
        The same runs, finished.

    Returns
    -------
    Path
        Folder of the results, which are those of a run.

    Raises
    ------
    UserError
        The codes of `singula.pipeline.run.run`.
    """
    job = ensemble_job(runs)
    with captured_messages():
        config = load_config(job.config, job.overrides)
    tree = job.tree(config)
    if is_finished(tree.run) and not any(_is_newer(run.tree.run_json, tree) for run in opened):
        return tree.run
    _log.info(f"{NAME} of {len(opened)} folds: {tree.run}")
    with hold(tree.lock_files(checkpoints=False), "sweep"):
        tree.prepare()
        stored = StoredMaps(config, tree, None)
        views: list[View] = ["per_image", *(["full_image"] if config.TEST.FULL_IMG else [])]  # type: ignore[list-item]
        for name, (source, _) in opened[0].test.files.items():
            if any(name in run.test.failed for run in opened):
                continue
            for view in views:
                maps = mean_maps(partial(_maps, run, name, view) for run in opened)
                image = opened[0].read_maps(name, Stage(view))
                stored.write(name, view, maps, image, location(str(source)))
    run_job(job)
    return tree.run


def _is_newer(path: Path, tree: ResultsTree) -> bool:
    return path.stat().st_mtime > tree.run_json.stat().st_mtime


def _maps(run: Run, name: str, view: View) -> Mapping[str, npt.NDArray[Any]]:
    """Return the stored maps of a fold; a stored class counts as the probability 1."""
    image: Image = run.read_maps(name, Stage(view))
    maps = dict(zip(run.map_names, np.moveaxis(image.array, -1, 0), strict=True))
    if CLASSES in maps:
        numbers = np.arange(n_classes(run.config))
        maps[CLASSES] = (maps[CLASSES][..., None] == numbers).astype(np.float32)
    return maps
