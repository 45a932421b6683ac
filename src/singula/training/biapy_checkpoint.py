"""Checkpoints of BiaPy, read without executing code from the file.

BiaPy stores more than tensors: its configuration, before version 3.7 as an object of yacs, and
values of NumPy. The restricted reader of torch builds these objects as inert placeholders.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from singula.config.biapy.channels import NOT_PREDICTED
from singula.config.biapy.checkpoint import config_for_prediction
from singula.errors import UserError
from singula.models.biapy_weights import convert_weights
from singula.representations.channel_table import SPECIFIED
from singula.representations.channels import parse_channels
from singula.training.biapy_network import Keys, network_keys, network_problems, network_settings
from singula.util.format import list_lines, show
from singula.util.paths import open_regular

_SECTIONS = "yacs.config.CfgNode"
_WRONG_VALUES = (TypeError, ValueError, AttributeError, IndexError, RecursionError)
_lock = threading.Lock()  # torch has one list of allowed classes per process


class Placeholder:
    """Stands for an object of a class that is not built; it has no content."""

    __slots__ = ()

    def __new__(cls, *arguments: Any) -> Placeholder:
        """Ignore the arguments."""
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Ignore the state."""


def read_biapy(path: Path) -> dict[str, Any] | None:
    """Return the contents of a checkpoint that BiaPy wrote; None for other files.

    Parameters
    ----------
    path : Path
        File to read. Objects other than tensors, containers, numbers and text are placeholders.
    """
    with open_regular(path) as file:
        try:
            contents = _load(file)
        except Exception:  # damaged files raise errors of many kinds
            return None
    if not isinstance(contents, dict):
        return None
    weights, cfg = contents.get("model"), contents.get("cfg")
    return contents if isinstance(weights, Mapping) and isinstance(cfg, Mapping) else None


def _load(file: BinaryIO) -> Any:
    names = torch.serialization.get_unsafe_globals_in_checkpoint(file)
    file.seek(0)
    # Sections become dicts; the class of the others is replaced, so that nothing is executed.
    inert: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
        (OrderedDict if name == _SECTIONS else Placeholder, name) for name in names
    ]
    with _lock, torch.serialization.safe_globals(inert):
        return torch.load(file, map_location="cpu", weights_only=True)


def convert_biapy(
    path: Path, contents: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any], list[str], str]:
    """Convert the contents of a checkpoint of BiaPy.

    Parameters
    ----------
    path : Path
        File, for messages.
    contents : mapping
        What `read_biapy` returned; all values below ``model`` are tensors.

    Returns
    -------
    weights : dict
        Weights by the names of Singula.
    description : dict
        Fields of `singula.io.records.checkpoints.CheckpointInfo`; without a configuration if the
        channels have no equivalent.
    notices : list of str
        Lines about the configuration.
    problem : str
        Reason why the description has no configuration; empty if it has one.

    Raises
    ------
    UserError
        ``checkpoint.biapy_network``: Singula does not have the network;
        ``checkpoint.biapy_weights``: the weights are not those of the configured network;
        ``checkpoint.biapy_channels``: as for `config_for_prediction`.
    """
    given: dict[str, Tensor] = dict(contents["model"])
    cfg: dict[str, Any] = {}
    try:
        cfg = _plain(contents["cfg"])
        problems = list(network_problems(cfg))
        if not problems:
            settings = network_settings(cfg, given)
            weights, wrong = convert_weights(given, settings)
    except (*_WRONG_VALUES, UserError) as error:
        problems = [str(error)]
    if problems:
        raise UserError(
            f"{path}: this network of BiaPy is not supported:{list_lines(problems)}",
            "train again with Singula, or use a checkpoint of another network",
            "checkpoint.biapy_network",
        )
    if wrong:
        raise UserError(
            f"{path}: the weights differ from the configuration in the file:{list_lines(wrong)}",
            "use a checkpoint that BiaPy 3.4 to 3.7 wrote for this configuration",
            "checkpoint.biapy_weights",
        )
    description: dict[str, Any] = {"model": settings.to_dict()}
    problem = _set_activation(cfg, given)
    try:
        config, notices = config_for_prediction(cfg, network_keys(cfg))
    except UserError as error:
        if error.code == "checkpoint.biapy_channels":
            raise UserError(f"{path}: {error.message}", error.hint, error.code) from None
        return weights, description, [], error.message
    if problem:
        return weights, description, [], problem
    weights = _in_order(weights, _channels(cfg), config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS)
    description["channels"] = config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS
    description["config"] = config.to_yaml()
    return weights, description, notices, ""


def _channels(cfg: Mapping[str, Any]) -> list[str]:
    """Return the channels in the order of the outputs; empty before version 3.6."""
    names = Keys(cfg).get("PROBLEM.INSTANCE_SEG.DATA_CHANNELS")
    listed = names if isinstance(names, list) else []
    return [name for name in listed if isinstance(name, str) and name not in NOT_PREDICTED]


def _set_activation(cfg: dict[str, Any], weights: Mapping[str, Tensor]) -> str:
    """Set the activation of the channel D in the options; return a message if Singula lacks it.

    In lists with new codes, D is the signed distance, which has both activations.
    """
    channels = _channels(cfg)
    if "D" not in channels:
        return ""
    options = Keys(cfg).get("PROBLEM.INSTANCE_SEG.DATA_CHANNELS_EXTRA_OPTS")
    first = options[0] if isinstance(options, list) and options else options
    given = first.get("D") if isinstance(first, dict) else None
    is_newest = any(name.startswith("heads.") for name in weights)  # version 3.7
    default = "tanh" if is_newest else "linear"
    activation = given.get("act", default) if isinstance(given, dict) else default
    if not set(channels) <= SPECIFIED:
        by_channel = first if isinstance(first, dict) else {}
        with_activation = {**(given if isinstance(given, dict) else {}), "act": activation}
        cfg["PROBLEM"]["INSTANCE_SEG"]["DATA_CHANNELS_EXTRA_OPTS"] = [
            {**by_channel, "D": with_activation}
        ]
        return ""
    if activation == "linear":
        return ""
    return (
        "PROBLEM.INSTANCE_SEG.DATA_CHANNELS: got the channel D with the activation "
        f"{show(activation)}, expected 'linear'"
    )


def _in_order(weights: dict[str, Tensor], names: list[str], channels: str) -> dict[str, Tensor]:
    """Return the weights with the outputs of the head in the order of Singula."""
    order = parse_channels(channels)
    if sorted(names) != sorted(order) or len(weights["head.bias"]) != len(order):
        return weights
    places = [names.index(name) for name in order]
    head = {name: weights[name][places] for name in ("head.weight", "head.bias")}
    return {**weights, **head}


def _plain(value: Any) -> Any:
    """Return sections, lists and plain values; None in the place of other objects."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items() if isinstance(name, str)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str) else None
