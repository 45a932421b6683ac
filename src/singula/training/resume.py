"""Continue a training from a checkpoint: verify its state, and keep the best checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from singula.errors import UserError
from singula.training.callbacks import Notify
from singula.training.checkpoint import (
    KEY,
    check_same_weights,
    load_checkpoint,
    write_checkpoint,
)
from singula.training.module import InstanceModule
from singula.training.optimise import OptimiserSettings

# What torch and Lightning raise for a state of another structure.
_ERRORS = (LookupError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError)
_MOST = 2**62
_STATE = ("optimizer_states", "lr_schedulers", "loops", "callbacks")
_REMEDY = (
    "go on from the last checkpoint (MODEL.LOAD_CHECKPOINT_EPOCH: last_on_train), or start "
    "from the weights alone (MODEL.LOAD_CHECKPOINT_ONLY_WEIGHTS: True)"
)


def training_state(path: Path, contents: Mapping[str, Any]) -> dict[str, Any]:
    """Return the history, progress and schedule of a training.

    Raises
    ------
    UserError
        ``checkpoint.no_training``: the checkpoint contains weights only.
    """
    state: dict[str, Any] | None = contents[KEY].get("training")
    optimizers = contents.get("optimizer_states")
    if state is None or not isinstance(optimizers, list) or not optimizers:
        raise UserError(
            f"{path}: holds weights only, not the state of its training",
            _REMEDY,
            "checkpoint.no_training",
        )
    return state


def check_state(
    path: Path, contents: Mapping[str, Any], module: InstanceModule, trainer: pl.Trainer
) -> None:
    """Verify that the network, optimizer and loops can continue from a checkpoint.

    Lightning loads them later, within the training, where errors of the file cannot be told from
    errors of the program.

    Raises
    ------
    UserError
        ``checkpoint.other_network`` and ``checkpoint.training_state``.
    """
    check_same_weights(path, module.state_dict(), contents["state_dict"])
    same_version = contents.get("pytorch-lightning_version") == version("pytorch-lightning")
    try:
        loops = contents["loops"]["fit_loop"]
        _check_like("fit_loop", trainer.fit_loop.state_dict(), loops, same_keys=same_version)
        trainer.fit_loop.load_state_dict(deepcopy(loops))
    except _ERRORS as error:
        raise _damaged(path, "loops", error) from error
    try:
        optimizer = module.configure_optimizers()
    except _ERRORS as error:
        raise _damaged(path, "schedule", error) from error
    try:
        (state,) = contents["optimizer_states"]
        fresh = optimizer.state_dict()["param_groups"]
        _check_like("param_groups", fresh, state["param_groups"])
        optimizer.load_state_dict(deepcopy(state))
        _check_like("param_groups", fresh, optimizer.state_dict()["param_groups"], same_keys=True)
        _check_moments(optimizer)
    except _ERRORS as error:
        raise _damaged(path, "optimizer_states", error) from error


def _check_like(place: str, expected: Any, found: Any, *, same_keys: bool = False) -> None:
    """Compare the types of nested values.

    Keys that only one side has are not compared, unless `same_keys` is True.
    """
    if isinstance(expected, dict):
        if not isinstance(found, dict):
            raise TypeError(f"{place}: got {type(found).__name__}, expected a mapping")
        if same_keys and expected.keys() - found.keys():
            raise TypeError(f"{place}: lacks {min(map(str, expected.keys() - found.keys()))}")
        for name in expected.keys() & found.keys():
            _check_like(f"{place}.{name}", expected[name], found[name], same_keys=same_keys)
    elif isinstance(expected, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(expected):
            raise TypeError(f"{place}: expected {len(expected)} values")
        for number, (one, two) in enumerate(zip(expected, found, strict=True)):
            _check_like(f"{place}.{number}", one, two, same_keys=same_keys)
    elif isinstance(expected, int | float):
        _check_number(place, expected, found)


def _check_number(place: str, expected: float, found: Any) -> None:
    same = isinstance(found, int | float) and isinstance(found, bool) == isinstance(expected, bool)
    if not same or (isinstance(expected, int) and not isinstance(found, int)):
        raise TypeError(f"{place}: got {type(found).__name__}, expected {type(expected).__name__}")
    # A count or a rate; optimizers use no negative ones.
    if not 0 <= found < _MOST:
        raise ValueError(f"{place}: got {found!s:.40}, expected a number from 0")


def _check_moments(optimizer: torch.optim.Optimizer) -> None:
    """Compare what an optimizer remembers of each parameter with the parameter."""
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


def restore_best(last: Path, contents: dict[str, Any], best: Path, notify: Notify) -> None:
    """Write the best checkpoint if it is missing, or is not the one that the last one refers to.

    A run that is killed between writing the last and the best checkpoint of an epoch leaves the
    best one of an earlier epoch, or none.
    """
    epoch = contents["epoch"] + 1
    wanted = training_state(last, contents)["progress"]["best_epoch"]
    known = best.is_file() and load_checkpoint(best).epoch + 1 == wanted
    if known or wanted < 1:
        return
    if wanted != epoch and best.is_file():
        return
    if wanted != epoch:
        notify(
            f"{best}: is missing (it was of epoch {wanted}); the last checkpoint, of "
            f"epoch {epoch}, takes its place"
        )
    save_light(contents, best)


def save_light(contents: dict[str, Any], path: Path) -> None:
    """Write a checkpoint without the state of its training."""
    write_checkpoint({name: value for name, value in contents.items() if name not in _STATE}, path)


def check_optimiser(
    start: Path, contents: dict[str, Any], wanted: OptimiserSettings, notify: Notify
) -> None:
    """See that a training goes on with the optimiser and schedule that it began with.

    Raises
    ------
    UserError
        When one of them is another one, whose state the checkpoint has not.
    """
    stored = training_state(start, contents).get("optimiser")
    if stored is None:  # written by an earlier version
        return
    fixed = {"name": "TRAIN.OPTIMIZER", "schedule": "TRAIN.LR_SCHEDULER.NAME"}
    for name, key in fixed.items():
        if stored[name] != getattr(wanted, name):
            raise UserError(
                f"{key}: found {getattr(wanted, name)!r}; the training in {start} has "
                f"{stored[name]!r}",
                "restore the key, or start anew from its weights: without --resume, with "
                "MODEL.LOAD_CHECKPOINT: True",
            )
    kept = {"lr": "TRAIN.LR", "weight_decay": "TRAIN.W_DECAY", "betas": "TRAIN.OPT_BETAS"}
    for name, key in kept.items():
        old, new = stored[name], getattr(wanted, name)
        if (tuple(old) if name == "betas" else old) != new:
            notify(f"{key}: {new} has no effect; a training goes on as it began, with {old}")
