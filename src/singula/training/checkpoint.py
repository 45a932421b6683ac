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
from singula.util.messages import captured_messages
from singula.util.paths import open_regular

_log = logging.getLogger(__name__)
FORMAT = CheckpointInfo.newest
KEY = "singula"
PREFIX = "network."
"""Start of the names of the weights in a checkpoint."""
ENSEMBLES = "ensembles"
"""Key of the thresholds of ensembles in the description of a checkpoint."""
_DIGEST = "digest"
_REMEDY = "use an intact copy of the file, or train again"


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
    description = {name: value for name, value in contents[KEY].items() if name != _DIGEST}
    check_values(description, CheckpointInfo, str(path))
    signed = {**contents, KEY: {**description, _DIGEST: _digest(contents)}}
    buffer = io.BytesIO()
    torch.save(signed, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def read_checkpoint(
    path: Path, map_location: Any = "cpu", *, report: bool = False
) -> dict[str, Any]:
    """Read the contents of a checkpoint, and verify them.

    Parameters
    ----------
    path : Path
        File to read.
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
        match their digest; ``checkpoint.tensor_type``: they are not tensors and plain types.
    """
    if not path.exists():
        raise UserError(
            f"{path}: does not exist, expected a checkpoint",
            "check the path, or train first",
            "checkpoint.missing",
        )
    contents = _load_contents(path, map_location)
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
        description = check_values(checked[KEY], CheckpointInfo, str(path), _REMEDY)
        check_values(progress, TrainerState, str(path), _REMEDY)
    for name, value in checked.items():
        if name != KEY:
            _check_tensors(path, name, value)
    if _DIGEST not in description and report:
        _log.warning(
            f"{path}: has no digest, as an earlier version wrote it; damage is not detected"
        )
    elif _DIGEST in description and description[_DIGEST] != _digest(checked):
        raise UserError(
            f"{path}: its contents do not match their digest, so the file was damaged or changed",
            _REMEDY,
            "checkpoint.digest",
        )
    return {"epoch": -1, **checked, KEY: description}


def _load_contents(path: Path, map_location: Any) -> Any:
    with open_regular(path) as file:
        try:
            return torch.load(file, map_location=map_location, weights_only=True)
        except Exception as error:
            # Only the first sentence: torch then recommends disabling this protection.
            reason = (str(error).splitlines() or ["it is empty"])[0].split(". ")[0][:200]
            raise UserError(
                f"{path}: is not a readable checkpoint ({reason})",
                "use a .pth file that a Singula run wrote; files that would execute code are "
                "rejected",
                "checkpoint.unreadable",
            ) from error


def _check_tensors(path: Path, place: str, value: Any) -> None:
    """Raise an error for tensors that no checkpoint of Singula contains."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            _check_tensors(path, f"{place}.{name}", item)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            _check_tensors(path, f"{place}.{number}", item)
    elif isinstance(value, Tensor):
        plain = value.layout is torch.strided and not value.is_quantized and not value.is_complex()
        if not plain or value.is_meta:
            raise _wrong_tensor(path, place, f"a {_kind(value)} tensor", "a dense real tensor")
        # A view with a stride of 0 can describe more values than the file contains.
        if value.nbytes > value.untyped_storage().nbytes():
            raise _wrong_tensor(
                path, place, "a tensor with repeated values", "a tensor with all values"
            )


def _kind(value: Tensor) -> str:
    return f"{str(value.layout).removeprefix('torch.')} {str(value.dtype).removeprefix('torch.')}"


def _wrong_tensor(path: Path, place: str, given: str, expected: str) -> UserError:
    return UserError(
        f"{path}: {place}: got {given}, expected {expected}", _REMEDY, "checkpoint.tensor_type"
    )


def _digest(contents: Mapping[str, Any]) -> str:
    """Return a hash of everything in a checkpoint except the digest itself."""
    hashed = hashlib.sha256()  # processors have instructions for it
    description = {name: value for name, value in contents[KEY].items() if name != _DIGEST}
    _hash_value(hashed, {**contents, KEY: description})
    return hashed.hexdigest()


def _hash_value(hashed: hashlib._Hash, value: Any) -> None:
    """Add a value with its type and length to a hash, so that different values do not collide."""
    if isinstance(value, Tensor):
        hashed.update(f"tensor {value.dtype} {tuple(value.shape)};".encode())
        hashed.update(_tensor_bytes(value))
    elif isinstance(value, Mapping):
        hashed.update(f"mapping {len(value)};".encode())
        for name, item in value.items():
            _hash_value(hashed, name)
            _hash_value(hashed, item)
    elif isinstance(value, list | tuple):
        hashed.update(f"list {len(value)};".encode())
        for item in value:
            _hash_value(hashed, item)
    else:
        text = repr(value).encode("utf-8", "surrogatepass")
        hashed.update(f"{type(value).__name__} {len(text)};".encode() + text)


def _tensor_bytes(value: Tensor) -> memoryview:
    """Return the bytes of a tensor."""
    flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return flat.numpy().data


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
    """

    path: Path
    epoch: int
    weights: dict[str, Tensor]
    description: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """Hash of the weights and of the normalization of images.

        Unlike a hash of the file, it does not change if only thresholds are added (`save_tuned`).
        """
        digest = hashlib.blake2b(digest_size=16)
        digest.update(repr(self.description.get("normalizer")).encode())
        for name, value in sorted(self.weights.items()):
            digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
            digest.update(_tensor_bytes(value))
        return digest.hexdigest()


def load_checkpoint(path: Path, *, report: bool = False) -> Checkpoint:
    """Read the weights and the description of a checkpoint.

    Parameters
    ----------
    path : Path
        File to read.
    report : bool
        As for `read_checkpoint`.

    Raises
    ------
    UserError
        As for `read_checkpoint`.
    """
    contents = read_checkpoint(path, report=report)
    weights = {}
    for name, value in contents["state_dict"].items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise _wrong_tensor(path, f"state_dict.{name}", type(value).__name__, "a tensor")
        if name.startswith(PREFIX):
            weights[name.removeprefix(PREFIX)] = value
    # Published models are stored in half precision; networks compute in float32.
    if {value.dtype for value in weights.values() if value.is_floating_point()} == {torch.float16}:
        weights = {
            name: value.float() if value.is_floating_point() else value
            for name, value in weights.items()
        }
    return Checkpoint(path, contents["epoch"], weights, contents[KEY])


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
        As for `read_checkpoint`; or the file cannot be written.
    """
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
            raise _wrong_tensor(path, f"state_dict.{name}", type(value).__name__, "a tensor")
    wrong = _mismatches(expected, given)
    if wrong:
        lines = _format_lines(list(wrong.values()))
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
            f"{_format_lines(list(wrong.values()))}",
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
            raise _wrong_tensor(path, name, *types)
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


def _format_lines(lines: list[str], max_lines: int = 8) -> str:
    more = f"\n    … and {len(lines) - max_lines} more" if len(lines) > max_lines else ""
    return "".join(f"\n    {line}" for line in lines[:max_lines]) + more


def _shape(weights: Mapping[str, Tensor], name: str) -> str:
    return str(tuple(weights[name].shape)) if name in weights else "none"
