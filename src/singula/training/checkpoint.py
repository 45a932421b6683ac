"""Checkpoints: atomic writing, and reading without executing code from the file."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from singula.errors import UserError
from singula.io.atomic import atomic_path
from singula.io.record_files import check_values
from singula.io.records.checkpoints import CheckpointInfo, TrainerState
from singula.training.biapy_checkpoint import convert_biapy, read_biapy
from singula.training.digest import hash_contents, tensor_bytes
from singula.training.model_package import KEY as KEY
from singula.training.model_package import is_package, read_package
from singula.training.tensor_files import REMEDY, check_tensors, load_tensors, wrong_tensor
from singula.util.format import list_lines
from singula.util.messages import captured_messages
from singula.util.paths import open_regular

_log = logging.getLogger(__name__)
FORMAT = CheckpointInfo.newest
PREFIX = "network."
"""Start of the names of the weights in a checkpoint."""
ENSEMBLES = "ensembles"
"""Key of the thresholds of ensembles in the description of a checkpoint."""
_DIGEST = "digest"
_OF_OTHERS = ("checkpoint.unreadable", "checkpoint.foreign")  # codes for files of other programs


def write_checkpoint(contents: Mapping[str, Any], path: Path | str) -> None:
    """Write a checkpoint with a digest of its contents, and replace the file atomically.

    The contents are serialized in memory, because the file writer of torch reports a full disk
    without the name of the file.

    Parameters
    ----------
    contents : mapping
        Contents of the checkpoint, with its description under `KEY`.
    path : Path or str
        File to write.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(sign(contents, str(path)), buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def sign(contents: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the contents of a checkpoint with a digest in their description.

    Parameters
    ----------
    contents : mapping
        As for `write_checkpoint`.
    source : str
        Name of the file, for messages.

    Raises
    ------
    UserError
        As for `singula.io.record_files.check_values`.
    """
    description = {name: value for name, value in contents[KEY].items() if name != _DIGEST}
    check_values(description, CheckpointInfo, source)
    return {**contents, KEY: {**description, _DIGEST: _digest(contents)}}


def read_checkpoint(
    path: Path, map_location: Any = "cpu", *, report: bool = False
) -> dict[str, Any]:
    """Read the contents of a checkpoint or of a model package, and verify them.

    Parameters
    ----------
    path : Path
        File to read; a model package ends in ``.zip``.
    map_location : str or torch.device
        Device of the tensors.
    report : bool
        Log a warning if the file has no digest, and for each ignored field.

    Returns
    -------
    dict
        Contents of the checkpoint.

    Raises
    ------
    UserError
        ``checkpoint.missing``: the file does not exist; ``checkpoint.unreadable``: it is damaged;
        ``checkpoint.foreign``: another program wrote it; ``checkpoint.digest``: the contents do not
        match their digest; ``checkpoint.tensor_type``: they are not tensors and plain types; as
        for `read_package`.
    """
    if not path.exists():
        raise UserError(
            f"{path}: does not exist, expected a checkpoint",
            "check the path, or train first",
            "checkpoint.missing",
        )
    contents = _stored_contents(path, map_location)
    described = isinstance(contents, dict) and isinstance(contents.get(KEY), dict)
    if not described or not isinstance(contents.get("state_dict"), dict):
        raise UserError(
            f"{path}: is not a Singula checkpoint",
            "use a file that a Singula run wrote",
            "checkpoint.foreign",
        )
    checked: dict[str, Any] = dict(contents)
    progress = {name: checked[name] for name in TrainerState.model_fields if name in checked}
    with nullcontext() if report else captured_messages():
        description = check_values(checked[KEY], CheckpointInfo, str(path), REMEDY)
        check_values(progress, TrainerState, str(path), REMEDY)
    for name, value in checked.items():
        if name != KEY:
            check_tensors(path, name, value)
    if _DIGEST not in description and report:
        _log.warning(
            f"{path}: has no digest, as an earlier version wrote it; damage is not detected"
        )
    elif _DIGEST in description and description[_DIGEST] != _digest(checked):
        raise UserError(
            f"{path}: its contents do not match their digest, so the file was damaged or changed",
            REMEDY,
            "checkpoint.digest",
        )
    return {"epoch": -1, **checked, KEY: description}


def _stored_contents(path: Path, map_location: Any) -> Any:
    if is_package(path):
        return read_package(path, map_location)
    with open_regular(path) as file:
        return load_tensors(path, file, map_location)


def _digest(contents: Mapping[str, Any]) -> str:
    """Return a hash of everything in a checkpoint except the digest itself."""
    description = {name: value for name, value in contents[KEY].items() if name != _DIGEST}
    return hash_contents({**contents, KEY: description})


@dataclass(frozen=True)
class Checkpoint:
    """Weights of a network with their description.

    Parameters
    ----------
    path : Path
        File of the checkpoint.
    epoch : int
        Epoch of the weights, from 0.
    weights : dict
        Tensors by name; weights of half precision are converted to float32.
    description : dict
        Settings and state of the training, in plain types.
    config_problem : str
        Reason why the description has no configuration, if it could not be translated.
    """

    path: Path
    epoch: int
    weights: dict[str, Tensor]
    description: dict[str, Any]
    config_problem: str = ""

    @property
    def fingerprint(self) -> str:
        """Hash of the weights and of the normalization of images.

        Unlike a hash of the file, it does not change if only thresholds are added (`save_tuned`).
        """
        hashed = hashlib.blake2b(digest_size=16)
        hashed.update(repr(self.description.get("normalizer")).encode())
        for name, value in sorted(self.weights.items()):
            hashed.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
            hashed.update(tensor_bytes(value))
        return hashed.hexdigest()


def load_checkpoint(path: Path, *, report: bool = False) -> Checkpoint:
    """Read the weights and the description of a checkpoint of Singula or BiaPy.

    Parameters
    ----------
    path : Path
        File to read.
    report : bool
        As for `read_checkpoint`; also about the configuration of BiaPy.

    Raises
    ------
    UserError
        As for `read_checkpoint` and `convert_biapy`.
    """
    try:
        contents = read_checkpoint(path, report=report)
    except UserError as error:
        written = read_biapy(path) if error.code in _OF_OTHERS else None
        if written is None:
            raise
        return _from_biapy(path, written, report=report)
    weights = {}
    for name, value in contents["state_dict"].items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise wrong_tensor(path, f"state_dict.{name}", type(value).__name__, "a tensor")
        if name.startswith(PREFIX):
            weights[name.removeprefix(PREFIX)] = value
    # Published models are stored in half precision; networks compute in float32.
    if {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float16}:
        weights = {
            name: value.float() if value.is_floating_point() else value
            for name, value in weights.items()
        }
    return Checkpoint(path, contents["epoch"], weights, contents[KEY])


def _from_biapy(path: Path, contents: Mapping[str, Any], *, report: bool) -> Checkpoint:
    for name, value in contents["model"].items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise wrong_tensor(path, f"model.{name}", type(value).__name__, "a tensor")
    check_tensors(path, "model", contents["model"])
    weights, description, notices, problem = convert_biapy(path, contents)
    for line in notices if report else ():
        _log.warning(f"{path}: {line}")
    epoch = contents.get("epoch")
    epoch = epoch if isinstance(epoch, int) else -1
    return Checkpoint(path, epoch, weights, description, problem)


def save_tuned(path: Path, tuned: Mapping[str, Any], *, ensemble: str = "") -> None:
    """Write tuned thresholds to a checkpoint, without changing its other contents.

    Parameters
    ----------
    path : Path
        File of the checkpoint.
    tuned : mapping
        ``thresholds`` by key without prefix, and the metric that they were tuned for, in plain
        types.
    ensemble : str
        Hash of the models that they were tuned for together; empty for this model alone.

    Raises
    ------
    UserError
        As for `read_checkpoint`; ``package.read_only``: the file is a model package; or it cannot
        be written.
    """
    if is_package(path):
        raise UserError(
            f"{path}: is a model package, to which thresholds are not saved",
            "tune the run, then write a new package with `singula package`",
            "package.read_only",
        )
    contents = read_checkpoint(path)
    stored = contents[KEY]
    if ensemble:
        contents[KEY] = {**stored, ENSEMBLES: {**stored.get(ENSEMBLES, {}), ensemble: dict(tuned)}}
    else:
        contents[KEY] = {**stored, "tuned": dict(tuned)}
    write_checkpoint(contents, path)


def load_weights(network: torch.nn.Module, checkpoint: Checkpoint) -> None:
    """Load the weights of a checkpoint into a network with the same layers.

    Parameters
    ----------
    network : Module
        Network; changed in place.
    checkpoint : Checkpoint
        Weights to load.

    Raises
    ------
    UserError
        As for `check_same_weights`.
    """
    check_same_weights(checkpoint.path, network.state_dict(), checkpoint.weights)
    network.load_state_dict(checkpoint.weights)


def check_same_weights(
    path: Path, expected: Mapping[str, Tensor], given: Mapping[str, Any]
) -> None:
    """Verify that weights match a network and are finite.

    Parameters
    ----------
    path : Path
        File of the weights, for messages.
    expected : mapping
        Weights of the network, by name.
    given : mapping
        Weights of the file, by name.

    Raises
    ------
    UserError
        ``checkpoint.other_network``: layers differ, and the message lists them;
        ``checkpoint.tensor_type``: a weight has another type; ``checkpoint.not_finite``: a weight
        is NaN or infinite.
    """
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise wrong_tensor(path, f"state_dict.{name}", type(value).__name__, "a tensor")
    wrong = _mismatches(expected, given)
    if wrong:
        lines = list_lines(list(wrong.values()))
        raise UserError(
            f"{path}: its network differs from the configured network:{lines}",
            "use the configuration that the checkpoint was trained with "
            "(MODEL.*, channels of DATA.PATCH_SIZE, PROBLEM.INSTANCE_SEG.DATA_CHANNELS)",
            "checkpoint.other_network",
        )
    _check_weights(path, expected, given)


def load_fitting_weights(network: torch.nn.Module, checkpoint: Checkpoint) -> list[str]:
    """Load the weights of a checkpoint that match a network, as the start of a training.

    Other layers keep their initial weights, for example a head for other channels, a first layer
    for other images, or the additional levels of a deeper network.

    Parameters
    ----------
    network : Module
        Network; changed in place.
    checkpoint : Checkpoint
        Weights to load.

    Returns
    -------
    list of str
        Layers that do not match: name, shape in the file and shape in the network.

    Raises
    ------
    UserError
        ``checkpoint.other_network``: no convolution or linear layer matches.
    """
    initial = network.state_dict()
    wrong = _mismatches(initial, checkpoint.weights)
    matching = {name: value for name, value in checkpoint.weights.items() if name not in wrong}
    if not any(value.ndim > 1 for value in matching.values()):
        raise UserError(
            f"{checkpoint.path}: no layer matches the configured network:"
            f"{list_lines(list(wrong.values()))}",
            "use a checkpoint of the same MODEL.ARCHITECTURE, MODEL.FEATURE_MAPS and PROBLEM.NDIM, "
            "or set MODEL.LOAD_CHECKPOINT: False",
            "checkpoint.other_network",
        )
    _check_weights(checkpoint.path, initial, matching)
    network.load_state_dict({**initial, **matching})
    return list(wrong.values())


def _check_weights(path: Path, expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Raise an error for weights of another type than the network, or that are not finite."""
    for name, value in given.items():
        if value.dtype != expected[name].dtype:
            types = (str(w.dtype).removeprefix("torch.") for w in (value, expected[name]))
            raise wrong_tensor(path, name, *types)
        if not bool(torch.isfinite(value).all()):
            raise UserError(
                f"{path}: {name}: got values that are not finite, expected finite weights",
                "use another checkpoint, or train again with a lower TRAIN.LR",
                "checkpoint.not_finite",
            )


def _mismatches(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> dict[str, str]:
    """Return a description of each weight that is missing or has another shape, by name."""
    return {
        name: f"{name}: {_shape(given, name)} in the file, {_shape(expected, name)} configured"
        for name in sorted({*expected, *given})
        if _shape(given, name) != _shape(expected, name)
    }


def _shape(weights: Mapping[str, Tensor], name: str) -> str:
    return str(tuple(weights[name].shape)) if name in weights else "none"
