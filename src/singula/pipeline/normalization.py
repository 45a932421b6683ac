"""Mean and standard deviation of the training set, stored as NPY files next to the checkpoints."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from singula.config import Config
from singula.data.normalize import Normalizer
from singula.errors import UserError
from singula.io.run_folder import ResultsTree
from singula.io.run_lock import hold, lock_file
from singula.io.write import write_npy
from singula.pipeline import from_config
from singula.pipeline.checkpoints import trained_config

if TYPE_CHECKING:
    from singula.training.checkpoint import Checkpoint

_log = logging.getLogger(__name__)
_FILES = {
    "mean": ("PATHS.MEAN_INFO_FILE", "normalization_mean_value.npy"),
    "std": ("PATHS.STD_INFO_FILE", "normalization_std_value.npy"),
}


def write_statistics(tree: ResultsTree, normalizer: Normalizer) -> None:
    """Write the mean and standard deviation if every image is normalized with them.

    The runs of a job share the files; a lock ensures that both come from the same run.
    """
    if not normalizer.uses_set_moments or normalizer.statistics is None:
        return
    with hold([lock_file(tree.mean_file.parent, "normalization")], "run", wait=True):
        for name, path in (("mean", tree.mean_file), ("std", tree.std_file)):
            write_npy(path, np.array(normalizer.statistics[name]))


def with_statistics(config: Config, checkpoint: Checkpoint) -> Checkpoint:
    """Complete the normalization of a checkpoint from the files next to it.

    Parameters
    ----------
    config : Config
        Configuration with the paths of the files if they are not next to the checkpoint, and the
        normalization if the checkpoint has neither a normalization nor a configuration.
    checkpoint : Checkpoint
        Checkpoint whose values take precedence over the files.

    Returns
    -------
    Checkpoint
        Checkpoint with a complete normalization.

    Raises
    ------
    UserError
        ``normalization.no_statistics``: a required value is neither in the checkpoint nor in a
        file. ``normalization.unreadable_file``: a file cannot be read as numbers.
    """
    stored, described = (checkpoint.description.get(name) for name in ("normalizer", "config"))
    if stored:
        normalizer = Normalizer.from_dict(stored)
    else:
        normalizer = from_config.normalizer(trained_config(checkpoint) if described else config)
    if normalizer.uses_set_moments:
        normalizer = replace(normalizer, statistics=_moments(config, checkpoint, normalizer))
    description = {**checkpoint.description, "normalizer": normalizer.to_dict()}
    return replace(checkpoint, description=description)


def _moments(
    config: Config, checkpoint: Checkpoint, normalizer: Normalizer
) -> dict[str, tuple[float, ...]]:
    """Return the statistics of a normalization, with mean and standard deviation."""
    statistics = dict(normalizer.statistics or {})
    for name, (key, default) in _FILES.items():
        path = _file(config, checkpoint.path, key, default)
        values = _read(path) if path.is_file() else None
        if name not in statistics:
            if values is None:
                raise UserError(
                    f"{checkpoint.path}: contains no {name} for DATA.NORMALIZATION.TYPE custom, "
                    f"and the file {path} does not exist",
                    f"copy the file of the training there, set its path with {key}, or set "
                    "DATA.NORMALIZATION.CUSTOM_MEAN and DATA.NORMALIZATION.CUSTOM_STD",
                    "normalization.no_statistics",
                )
            _log.warning(f"{path}: {name} for normalization used, because the checkpoint has none")
            statistics[name] = values
        elif values is not None and not _close(values, statistics[name]):
            in_file, trained = (_text(v) for v in (values, statistics[name]))
            _log.warning(
                f"{path}: got the {name} {in_file}, but {checkpoint.path.name} was trained with "
                f"{trained}, which is used"
            )
    return statistics


def _file(config: Config, checkpoint: Path, key: str, default: str) -> Path:
    configured = config.path_overrides().get(key)
    if configured is None:
        return checkpoint.with_name(default)
    return Path(configured.replace("JOB_DIR", str(checkpoint.parent.parent)))


def _read(path: Path) -> tuple[float, ...]:
    """Read one number per channel, or one number for all channels."""
    try:
        values = np.load(path, allow_pickle=False)
        numbers = tuple(float(value) for value in np.ravel(values))
    except Exception as error:  # NumPy raises errors of many kinds for a damaged header
        raise UserError(
            f"{path}: got a file that cannot be read as numbers ({error}), expected an NPY file",
            "delete the file, or replace it with the file of the training",
            "normalization.unreadable_file",
        ) from error
    if not numbers or not np.isfinite(numbers).all():
        raise UserError(
            f"{path}: got {numbers}, expected a finite number for each channel",
            "delete the file, or replace it with the file of the training",
            "normalization.unreadable_file",
        )
    return numbers


def _close(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    if 1 not in (len(a), len(b)) and len(a) != len(b):
        return False
    return bool(np.allclose(a, b, rtol=1e-6, atol=0))


def _text(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
