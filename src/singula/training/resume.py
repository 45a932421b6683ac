"""Continuation of a training from a checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from singula.errors import UserError
from singula.training.checkpoint import (
    KEY,
    PREFIX,
    check_same_weights,
    load_checkpoint,
    write_checkpoint,
)
from singula.training.optimizer import OptimizerSettings
from singula.training.trainer import SCALER, Trainer
from singula.util.format import counted

_log = logging.getLogger(__name__)
# Errors of torch for a state of another structure
_ERRORS = (LookupError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError)
_MAX_NUMBER = 2**62
# Earlier versions also wrote the last three.
_STATE = ("optimizer_states", SCALER, "lr_schedulers", "loops", "callbacks")
_REMEDY = (
    "continue from the last checkpoint (MODEL.LOAD_CHECKPOINT_EPOCH: last_on_train), or start "
    "from the weights alone (MODEL.LOAD_CHECKPOINT_ONLY_WEIGHTS: True)"
)


def training_state(path: Path, contents: Mapping[str, Any]) -> dict[str, Any]:
    """Return the history, progress and schedule of a training.

    Parameters
    ----------
    path : Path
        File of the checkpoint, for messages.
    contents : mapping
        Contents of the checkpoint.

    Raises
    ------
    UserError
        ``checkpoint.no_training``: the checkpoint contains weights only.
    """
    state: dict[str, Any] | None = contents[KEY].get("training")
    optimizers = contents.get("optimizer_states")
    if state is None or not isinstance(optimizers, list) or not optimizers:
        raise UserError(
            f"{path}: contains only weights, expected the state of a training",
            _REMEDY,
            "checkpoint.no_training",
        )
    return state


def load_state(path: Path, contents: Mapping[str, Any], trainer: Trainer) -> None:
    """Load the weights and the states of the optimizer and the schedule, and verify them.

    Parameters
    ----------
    path : Path
        File of the checkpoint, for messages.
    contents : mapping
        Contents of the checkpoint.
    trainer : Trainer
        Training that continues.

    Raises
    ------
    UserError
        ``checkpoint.other_network``: layers differ; ``checkpoint.training_state``: the state is
        damaged or belongs to another training.
    """
    weights = {f"{PREFIX}{name}": value for name, value in trainer.network.state_dict().items()}
    check_same_weights(path, weights, contents["state_dict"])
    stored = contents["state_dict"].items()
    trainer.network.load_state_dict({name.removeprefix(PREFIX): value for name, value in stored})
    if contents["epoch"] + 1 != len(trainer.history.rows):
        rows = counted(len(trainer.history.rows), "epoch")
        raise _damaged(path, "epoch", f"got {contents['epoch']}, and a history of {rows}")
    trainer.optimizer_steps = contents.get("global_step", 0)
    try:
        trainer.schedule.load_state_dict(training_state(path, contents)["schedule"])
    except _ERRORS as error:
        raise _damaged(path, "schedule", error) from error
    try:
        (state,) = contents["optimizer_states"]
        _load_optimizer(trainer.optimizer, state)
    except _ERRORS as error:
        raise _damaged(path, "optimizer_states", error) from error
    if not trainer.scaler.is_enabled() or SCALER not in contents:
        return
    try:
        _check_like(SCALER, trainer.scaler.state_dict(), contents[SCALER], same_keys=True)
        trainer.scaler.load_state_dict(contents[SCALER])
    except _ERRORS as error:
        raise _damaged(path, SCALER, error) from error


def load_partial(
    path: Path, contents: Mapping[str, Any], trainer: Trainer, *, batch_size: int, n_batches: int
) -> None:
    """Load the position in an interrupted epoch, and the sums of its losses and scores.

    Parameters
    ----------
    path : Path
        File of the checkpoint, for messages.
    contents : mapping
        Contents of the checkpoint.
    trainer : Trainer
        Training that continues.
    batch_size : int
        Patches in a batch of one process.
    n_batches : int
        Batches of an epoch of one process.

    Raises
    ------
    UserError
        ``checkpoint.training_state``: the state is damaged.
    """
    partial = training_state(path, contents).get("partial")
    if partial is None:
        return
    first = partial["patches"] // (batch_size * trainer.world)
    # If the batch size or the number of processes has changed, continue at the start of a step.
    trainer.first_batch = min(n_batches, first)
    if first < n_batches:
        trainer.first_batch -= first % trainer.accumulate
    sums = partial["sums"]
    if len(sums) != trainer.world:
        total = [sum(values) for values in zip(*sums, strict=True)]
        sums = [total, *[[0.0] * len(total)] * (trainer.world - 1)]
    try:
        trainer.totals["train"].restore(sums[trainer.rank])
    except _ERRORS as error:
        raise _damaged(path, "partial", error) from error


def _load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load the state of an optimizer, and keep the implementation for the device."""
    fresh = optimizer.state_dict()["param_groups"]
    groups = [{**group, "fused": optimizer.defaults["fused"]} for group in state["param_groups"]]
    _check_like("param_groups", fresh, groups)
    optimizer.load_state_dict({**state, "param_groups": groups})
    _check_like("param_groups", fresh, optimizer.state_dict()["param_groups"], same_keys=True)
    _check_moments(optimizer)


def _check_like(place: str, expected: Any, given: Any, *, same_keys: bool = False) -> None:
    """Compare the types of nested values.

    Keys that only one side has are not compared, unless `same_keys` is True.
    """
    if isinstance(expected, dict):
        if not isinstance(given, dict):
            raise TypeError(f"{place}: got {type(given).__name__}, expected a mapping")
        if same_keys and expected.keys() - given.keys():
            raise TypeError(f"{place}: lacks {min(map(str, expected.keys() - given.keys()))}")
        for name in expected.keys() & given.keys():
            _check_like(f"{place}.{name}", expected[name], given[name], same_keys=same_keys)
    elif isinstance(expected, list | tuple):
        if not isinstance(given, list | tuple) or len(given) != len(expected):
            raise TypeError(f"{place}: expected {len(expected)} values")
        for number, values in enumerate(zip(expected, given, strict=True)):
            _check_like(f"{place}.{number}", *values, same_keys=same_keys)
    elif isinstance(expected, int | float):
        _check_number(place, expected, given)


def _check_number(place: str, expected: float, given: Any) -> None:
    same = isinstance(given, int | float) and isinstance(given, bool) == isinstance(expected, bool)
    if not same or (isinstance(expected, int) and not isinstance(given, int)):
        raise TypeError(f"{place}: got {type(given).__name__}, expected {type(expected).__name__}")
    # The numbers are counts and rates, which are not negative.
    if not 0 <= given < _MAX_NUMBER:
        raise ValueError(f"{place}: got {given!s:.40}, expected a number from 0")


def _check_moments(optimizer: torch.optim.Optimizer) -> None:
    """Compare the shapes of the moments of an optimizer with its parameters."""
    names: set[str] | None = None
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = optimizer.state.get(parameter, {})
            names = names or set(state)
            if state and set(state) != names:
                raise TypeError(f"state: got {sorted(state)}, expected {sorted(names)}")
            for name, value in state.items():
                shape = () if name == "step" else parameter.shape
                if not isinstance(value, Tensor) or value.shape != shape:
                    raise TypeError(f"state.{name}: expected a tensor of shape {tuple(shape)}")
                if not bool(torch.isfinite(value).all()):
                    raise ValueError(f"state.{name}: is not finite")


def _damaged(path: Path, part: str, reason: object) -> UserError:
    return UserError(
        f"{path}: {part}: is not the state of this training ({reason!s:.80})",
        _REMEDY,
        "checkpoint.training_state",
    )


def restore_best(last: Path, contents: dict[str, Any], best: Path) -> None:
    """Write the best checkpoint if it is missing or outdated.

    If a run is killed between writing the last and the best checkpoint of an epoch, the best
    checkpoint is of an earlier epoch, or missing.

    Parameters
    ----------
    last : Path
        File of the last checkpoint.
    contents : dict
        Contents of the last checkpoint.
    best : Path
        File of the best checkpoint.
    """
    epoch = contents["epoch"] + 1
    best_epoch = training_state(last, contents)["progress"]["best_epoch"]
    is_current = best.is_file() and load_checkpoint(best).epoch + 1 == best_epoch
    if is_current or best_epoch < 1:
        return
    if best_epoch != epoch and best.is_file():
        return
    if best_epoch != epoch:
        _log.warning(
            f"{best}: is missing (epoch {best_epoch}); replaced with the last checkpoint "
            f"(epoch {epoch})"
        )
    save_light(contents, best)


def save_light(contents: dict[str, Any], path: Path) -> None:
    """Write a checkpoint without the state of its training."""
    write_checkpoint({name: value for name, value in contents.items() if name not in _STATE}, path)


def check_optimizer(start: Path, contents: dict[str, Any], settings: OptimizerSettings) -> None:
    """Verify that a training continues with the same optimizer and schedule.

    Log a warning for each setting that has no effect.

    Parameters
    ----------
    start : Path
        File of the checkpoint.
    contents : dict
        Contents of the checkpoint.
    settings : OptimizerSettings
        Configured settings.

    Raises
    ------
    UserError
        ``checkpoint.other_optimizer``: the checkpoint has the state of another optimizer or
        schedule.
    """
    stored = training_state(start, contents).get("optimiser")
    if stored is None:  # written by an earlier version
        return
    fixed = {"name": "TRAIN.OPTIMIZER", "schedule": "TRAIN.LR_SCHEDULER.NAME"}
    for name, key in fixed.items():
        if stored[name] != getattr(settings, name):
            raise UserError(
                f"{key}: got {getattr(settings, name)!r}, expected {stored[name]!r} as in the "
                f"training of {start}",
                "restore the key, or start a new training from the weights: omit --resume and set "
                "MODEL.LOAD_CHECKPOINT: True",
                "checkpoint.other_optimizer",
            )
    stored_keys = {"lr": "TRAIN.LR", "weight_decay": "TRAIN.W_DECAY", "betas": "TRAIN.OPT_BETAS"}
    for name, key in stored_keys.items():
        old, new = stored[name], getattr(settings, name)
        if (tuple(old) if name == "betas" else old) != new:
            _log.warning(f"{key}: {new} has no effect; the training continues with {old}")
