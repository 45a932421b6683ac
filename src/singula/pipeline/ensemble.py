"""Ensembles: models whose maps are averaged, and the thresholds for the mean."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from singula.config import Config
from singula.config.thresholds import KEYS, SIZE, TYPE, with_tuned
from singula.dataset.facts.facts import MAX_SPACING_RATIO
from singula.errors import UserError
from singula.pipeline import from_config
from singula.pipeline.object_size import TrainedObjects
from singula.pipeline.thresholds import apply_tuned, configured
from singula.representations.thresholds import AUTOMATIC
from singula.training.checkpoint import ENSEMBLES, Checkpoint
from singula.util.format import counted

_log = logging.getLogger(__name__)
# Keys that must be equal, because maps of other pixels, channels or units have no mean, and because
# only one configuration decodes the mean
_EQUAL = (
    "PROBLEM.NDIM", "PROBLEM.INSTANCE_SEG.DATA_CHANNELS", "MODEL.N_CLASSES", "DATA.FORCE_RGB",
    "DATA.TRAIN.RESOLUTION", "DATA.TEST.RESOLUTION", "DATA.PREPROCESS.SPACING",
)  # fmt: skip
_EQUAL_SECTIONS = ("TEST.POST_PROCESSING.", "DATA.PREPROCESS.RESIZE.")


@dataclass(frozen=True)
class Member:
    """Model of an ensemble.

    Parameters
    ----------
    config : Config
        Configuration of the training, with tuned thresholds.
    checkpoint : Checkpoint
        Weights with the normalization.
    given : str
        Path or name that the user gave, for messages. Default: the path of the checkpoint.
    """

    config: Config
    checkpoint: Checkpoint
    given: str = ""


def ensemble_members(members: Sequence[Member]) -> list[Member]:
    """Return the different models of an ensemble, in an order that does not depend on the input.

    Parameters
    ----------
    members : sequence of Member
        Models as given.

    Raises
    ------
    UserError
        ``ensemble.mismatch``: a key that must be equal in all models differs.
    """
    first, *others = members
    if not others:
        return [first]
    for member in others:
        _check_equal(first, member)
    distinct = {member.checkpoint.fingerprint: member for member in members}
    if len(distinct) < len(members):
        repeated = len(members) - len(distinct)
        _log.warning(
            f"{counted(repeated, 'model')} given again: each model is used once in an ensemble"
        )
    return [distinct[fingerprint] for fingerprint in sorted(distinct)]


def _check_equal(first: Member, other: Member) -> None:
    old, new = _values(first.config), _values(other.config)
    different = [name for name in old if old[name] != new[name]]
    sizes = [TrainedObjects.of(member.checkpoint.description) for member in (first, other)]
    if not _same_voxels(*sizes):
        name = "voxel size of the training images"
        old[name], new[name] = ((each.spacing, each.unit) for each in sizes)
        different.append(name)
    if not different:
        return
    lines = "".join(f"\n    {name}: {old[name]!r} and {new[name]!r}" for name in different)
    raise UserError(
        f"--model: got models that cannot be averaged, {first.given or first.checkpoint.path} "
        f"and {other.given or other.checkpoint.path}, expected equal values of:{lines}",
        "give models of one configuration, such as the folds of a cross-validation, or predict "
        "with each model separately",
        "ensemble.mismatch",
    )


def _same_voxels(first: TrainedObjects, other: TrainedObjects) -> bool:
    """Return False if both voxel sizes are known and differ by more than 25 %."""
    if first.spacing is None or other.spacing is None or first.unit != other.unit:
        return True
    if len(first.spacing) != len(other.spacing):
        return True  # PROBLEM.NDIM differs
    ratios = [a / b for a, b in zip(first.spacing, other.spacing, strict=True)]
    return all(1 / MAX_SPACING_RATIO <= ratio <= MAX_SPACING_RATIO for ratio in ratios)


def _values(config: Config) -> dict[str, Any]:
    """Return the values that must be equal in all models, by key."""
    dotted = config.dotted()
    decoding = from_config.decode_keys(config)
    thresholds = {key.rpartition(".")[2] for key in KEYS.values()}
    resize = config.DATA.PREPROCESS.TEST and config.DATA.PREPROCESS.RESIZE.ENABLE
    return {
        "DATA.PATCH_SIZE (channels)": config.in_channels,
        **{key: dotted[key] for key in _EQUAL},
        **{f"PROBLEM.INSTANCE_SEG.{k}": v for k, v in decoding.items() if k not in thresholds},
        "DATA.PREPROCESS.RESIZE": resize,
        **{
            key: value
            for key, value in dotted.items()
            if key.startswith(_EQUAL_SECTIONS)
            and (resize or not key.startswith("DATA.PREPROCESS."))
        },
    }


def ensemble_key(members: Sequence[Member]) -> str:
    """Return a hash of the models, independent of their order."""
    fingerprints = sorted({member.checkpoint.fingerprint for member in members})
    return hashlib.blake2b("".join(fingerprints).encode(), digest_size=16).hexdigest()


def ensemble_config(members: Sequence[Member]) -> tuple[Config, list[str]]:
    """Return the configuration with the thresholds that were tuned for the models together.

    Without tuned thresholds, return `common_config`.

    Parameters
    ----------
    members : sequence of Member
        Result of `ensemble_members`.

    Returns
    -------
    config : Config
        Configuration for decoding and post-processing.
    notices : list of str
        Lines for the user.
    """
    key = ensemble_key(members)
    for member in members:
        tuned = (member.checkpoint.description.get(ENSEMBLES) or {}).get(key)
        if tuned:
            return apply_tuned(members[0].config, {"tuned": tuned}, always=True)
    return common_config(members)


def common_config(members: Sequence[Member]) -> tuple[Config, list[str]]:
    """Return the configuration of the first model, with the mean of the thresholds of all models.

    If the maps of a model are larger than those of the others, its best threshold is larger by the
    same amount, and so are the means of both.

    Parameters
    ----------
    members : sequence of Member
        Result of `ensemble_members`.

    Returns
    -------
    config : Config
        Configuration for decoding and post-processing.
    notices : list of str
        Lines for the user.
    """
    config = members[0].config
    means = mean_thresholds([configured(member.config) for member in members])
    if not means:
        return config, []
    return with_tuned(config, means), [
        "the thresholds of the models differ, so their means are used; `singula tune` with all of "
        "these runs tunes thresholds for the ensemble"
    ]


def mean_thresholds(thresholds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean of each threshold over the models that set it.

    Parameters
    ----------
    thresholds : sequence of mapping
        For each model, its thresholds by name without prefix, without automatic thresholds.

    Returns
    -------
    dict
        Means, with TH_TYPE if it applies to all; empty if the thresholds of all models are equal.

    Examples
    --------
    >>> mean_thresholds([{"TH_CONTOUR": 0.25}, {"TH_CONTOUR": 0.75, "REMOVE_SMALL_OBJ": 20}])
    {'TH_CONTOUR': 0.5, 'REMOVE_SMALL_OBJ': 20}
    """
    if all(values == thresholds[0] for values in thresholds):
        return {}
    means: dict[str, Any] = {}
    for name in KEYS:
        values = [each[name] for each in thresholds if name in each and name != TYPE]
        if values:
            means[name] = round(fmean(values)) if name == SIZE else fmean(values)
    if all(name in means for name in AUTOMATIC):
        means[TYPE] = "manual"
    return means
