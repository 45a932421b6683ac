"""Small copy of a trained model, without the paths and the machine of its training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from singula.config import Config
from singula.config.load import config_from_text
from singula.errors import UserError
from singula.inference.load_model import find_model
from singula.training.checkpoint import KEY, PREFIX, read_checkpoint, write_checkpoint
from singula.util.paths import user_path

# Sections that describe the machine and the folders of the training
_LOCAL = ("SYSTEM.", "PATHS.", "LOG.")
_IN_CONTAINER = ".INPUT_ZARR_"


def publish(run_or_checkpoint: Path | str, target: Path | str) -> Path:
    """Write the model of a run as a small checkpoint to share with others.

    Its weights are stored in half precision. It has no state of the training, and its configuration
    contains neither paths nor settings of the machine. Everything else is kept, such as
    normalization, thresholds and object size.

    Parameters
    ----------
    run_or_checkpoint : Path or str
        Folder of a run, or a checkpoint.
    target : Path or str
        File to write, such as ``model.pth``.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    TypeError, UserError
        The model cannot be read; ``checkpoint.no_config``: it contains no configuration;
        ``checkpoint.not_half``: a weight is too large for half precision.
    """
    source, target = find_model(user_path(run_or_checkpoint, "run_or_checkpoint")), Path(target)
    contents = read_checkpoint(source)
    description = portable_description(contents[KEY], source)
    # Only weights of the network: the loss and the optimizer may have tensors, too.
    state = {
        name: _halved(source, name, value)
        for name, value in contents["state_dict"].items()
        if name.startswith(PREFIX)
    }
    written = {
        "epoch": contents["epoch"],
        "global_step": contents.get("global_step", 0),
        "state_dict": state,
        KEY: description,
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(written, target)
    return target


def _halved(source: Path, name: str, value: Tensor) -> Tensor:
    if not value.is_floating_point():
        return value
    half = value.half()
    if not bool(torch.isfinite(half).all()):
        raise UserError(
            f"{source}: {name}: got a weight of {float(value.abs().max()):g}, expected at most "
            "65504 for half precision",
            "train again with a lower TRAIN.LR or a higher TRAIN.W_DECAY",
            "checkpoint.not_half",
        )
    return half


def portable_description(description: Mapping[str, Any], source: Path) -> dict[str, Any]:
    """Return the description of a checkpoint without its training, and without local paths.

    Parameters
    ----------
    description : mapping
        Description of a checkpoint.
    source : Path
        File of the checkpoint, for messages.

    Raises
    ------
    UserError
        ``checkpoint.no_config``: it contains no configuration.
    """
    text = description.get("config")
    if not text:
        raise UserError(
            f"{source}: contains no configuration, which predictions need",
            "use a checkpoint that `singula run` wrote",
            "checkpoint.no_config",
        )
    config = _portable(config_from_text(text, str(source)))
    others = {name: value for name, value in description.items() if name != "training"}
    return {**others, "config": config.to_yaml()}


def _portable(config: Config) -> Config:
    """Return a configuration with default paths, and without settings of the machine.

    Paths inside containers remain, because predictions use them.
    """
    defaults = Config().dotted()
    local: dict[str, Any] = {
        name: defaults[name]
        for name, value in config.dotted().items()
        if name.startswith(_LOCAL) or (_is_path(value) and _IN_CONTAINER not in name)
    }
    return config.replaced(local)


def _is_path(value: object) -> bool:
    return isinstance(value, str) and ("/" in value or "\\" in value)
