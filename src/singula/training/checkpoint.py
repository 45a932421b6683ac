"""Checkpoints: written whole or not at all, and read without running code from them."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from singula.errors import UserError
from singula.io.atomic import atomic_path
from singula.io.record_files import check_values
from singula.io.records import CheckpointInfo, TrainerState
from singula.paths import open_regular

Notify = Callable[[str], None]
FORMAT = CheckpointInfo.newest
KEY = "singula"
_PREFIX = "network."
_DIGEST = "digest"
_REPLACE = "use an intact copy of the file, or train again"


def write_checkpoint(contents: Mapping[str, Any], path: Path | str) -> None:
    """Write a checkpoint with a digest of its contents, under a temporary name until it is whole.

    The file is made in memory, as torch's own file writer reports a full disk without its name.
    """
    description = {name: value for name, value in contents[KEY].items() if name != _DIGEST}
    check_values(description, CheckpointInfo, str(path), warnings.warn)
    signed = {**contents, KEY: {**description, _DIGEST: _digest(contents)}}
    written = io.BytesIO()
    torch.save(signed, written)
    with atomic_path(path) as temporary:
        temporary.write_bytes(written.getbuffer())


def read_checkpoint(
    path: Path, map_location: Any = "cpu", notify: Notify = lambda line: None
) -> dict[str, Any]:
    """Read the contents of a checkpoint, and verify them.

    Parameters
    ----------
    path : Path
    map_location : str or torch.device
        Where the tensors are put.
    notify : callable
        Receives a line if the file has no digest, and for each part that is ignored.

    Raises
    ------
    UserError
        The file is missing or damaged, its contents do not match their digest
        (``checkpoint.digest``), or are not tensors and plain types (``checkpoint.tensor_type``).
    """
    if not path.exists():
        raise UserError(f"{path}: there is no such checkpoint", "check the path, or train first")
    contents = _unpickled(path, map_location)
    known = isinstance(contents, dict) and isinstance(contents.get(KEY), dict)
    if not known or not isinstance(contents.get("state_dict"), dict):
        raise UserError(
            f"{path}: is not a Singula checkpoint",
            "use a file that a run wrote",
            "checkpoint.foreign",
        )
    checked: dict[str, Any] = dict(contents)
    description = check_values(checked[KEY], CheckpointInfo, str(path), notify, _REPLACE)
    progress = {name: checked[name] for name in TrainerState.model_fields if name in checked}
    check_values(progress, TrainerState, str(path), notify, _REPLACE)
    for name, value in checked.items():
        if name != KEY:
            _check_tensors(path, name, value)
    if _DIGEST not in description:
        notify(f"{path}: has no digest, as an earlier version wrote it; damage is not detected")
    elif description[_DIGEST] != _digest(checked):
        raise UserError(
            f"{path}: its contents do not match their digest, so the file was damaged or changed",
            _REPLACE,
            "checkpoint.digest",
        )
    return {"epoch": -1, **checked, KEY: description}


def _unpickled(path: Path, map_location: Any) -> Any:
    with open_regular(path) as file:
        try:
            return torch.load(file, map_location=map_location, weights_only=True)
        except Exception as error:
            # torch advises to read the file without this protection: not a thing to repeat.
            reason = (str(error).splitlines() or ["it is empty"])[0].split(". ")[0][:200]
            raise UserError(
                f"{path}: is not a readable checkpoint ({reason})",
                "use a .pth file that a Singula run wrote; files that would execute code are "
                "refused",
                "checkpoint.unreadable",
            ) from error


def _check_tensors(path: Path, place: str, value: Any) -> None:
    """Refuse tensors that no checkpoint of Singula contains, before their values are used."""
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
        # A view with a stride of 0 promises more values than the file contains.
        if value.nbytes > value.untyped_storage().nbytes():
            raise _wrong_tensor(path, place, "a tensor that repeats its values", "all values")


def _kind(value: Tensor) -> str:
    return f"{str(value.layout).removeprefix('torch.')} {str(value.dtype).removeprefix('torch.')}"


def _wrong_tensor(path: Path, place: str, found: str, expected: str) -> UserError:
    return UserError(
        f"{path}: {place}: got {found}, expected {expected}", _REPLACE, "checkpoint.tensor_type"
    )


def _digest(contents: Mapping[str, Any]) -> str:
    """Return a hash of everything in a checkpoint except the digest itself."""
    hashed = hashlib.sha256()  # processors have instructions for it
    own = {name: value for name, value in contents[KEY].items() if name != _DIGEST}
    _hash_value(hashed, {**contents, KEY: own})
    return hashed.hexdigest()


def _hash_value(hashed: hashlib._Hash, value: Any) -> None:
    """Add a value to a hash; types and lengths are part of it, so that no two values collide."""
    if isinstance(value, Tensor):
        hashed.update(f"tensor {value.dtype} {tuple(value.shape)};".encode())
        hashed.update(_raw(value))
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


def _raw(value: Tensor) -> memoryview:
    """Return the bytes of a tensor."""
    flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return flat.numpy().data


@dataclass(frozen=True)
class Checkpoint:
    """Weights, and the description that is stored with them."""

    path: Path
    epoch: int
    weights: dict[str, Tensor]
    description: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """Hash of the weights and of how images are normalised for them.

        Unlike a hash of the file it stays when only thresholds are added (`save_tuned`).
        """
        digest = hashlib.blake2b(digest_size=16)
        digest.update(repr(self.description.get("normalizer")).encode())
        for name, value in sorted(self.weights.items()):
            digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
            digest.update(_raw(value))
        return digest.hexdigest()


def load_checkpoint(path: Path, notify: Notify = lambda line: None) -> Checkpoint:
    """Read a checkpoint for prediction or as a start for training; see `read_checkpoint`."""
    contents = read_checkpoint(path, notify=notify)
    weights = {}
    for name, value in contents["state_dict"].items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise _wrong_tensor(path, f"state_dict.{name}", type(value).__name__, "a tensor")
        if name.startswith(_PREFIX):
            weights[name.removeprefix(_PREFIX)] = value
    return Checkpoint(path, contents["epoch"], weights, contents[KEY])


def save_tuned(path: Path, tuned: Mapping[str, Any]) -> None:
    """Put tuned thresholds into a checkpoint; everything else in it stays.

    Parameters
    ----------
    path : Path
    tuned : mapping
        ``thresholds`` by key without prefix, and what they were tuned for; plain types.

    Raises
    ------
    UserError
        When it is no checkpoint, or cannot be written.
    """
    contents = read_checkpoint(path)
    contents[KEY] = {**contents[KEY], "tuned": dict(tuned)}
    write_checkpoint(contents, path)


def load_weights(network: torch.nn.Module, checkpoint: Checkpoint) -> None:
    """Put weights into a network of the same layers.

    Raises
    ------
    UserError
        Listing the layers that do not fit.
    """
    check_same_weights(checkpoint.path, network.state_dict(), checkpoint.weights)
    network.load_state_dict(checkpoint.weights)


def check_same_weights(path: Path, own: Mapping[str, Tensor], given: Mapping[str, Any]) -> None:
    """Refuse weights that do not fit a network, or are not finite.

    Raises
    ------
    UserError
        ``checkpoint.other_network``, listing the layers; ``checkpoint.tensor_type`` and
        ``checkpoint.not_finite``.
    """
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise _wrong_tensor(path, f"state_dict.{name}", type(value).__name__, "a tensor")
    wrong = _misfits(own, given)
    if wrong:
        raise UserError(
            f"{path}: its network differs from the configured one:{_listed(list(wrong.values()))}",
            "use the configuration that the checkpoint was trained with "
            "(MODEL.*, DATA.PATCH_SIZE's channels, PROBLEM.INSTANCE_SEG.DATA_CHANNELS)",
            "checkpoint.other_network",
        )
    _check_weights(path, own, given)


def load_fitting_weights(network: torch.nn.Module, checkpoint: Checkpoint) -> list[str]:
    """Put those weights into a network that fit it, for a training to start from.

    A head for other channels, a first layer for other images, or a deeper network keep the fresh
    weights that they have.

    Returns
    -------
    list of str
        What was left as it was: name, shape in the file and shape in the network.

    Raises
    ------
    UserError
        When no weight of any convolution or linear layer fits.
    """
    own = network.state_dict()
    wrong = _misfits(own, checkpoint.weights)
    fitting = {name: value for name, value in checkpoint.weights.items() if name not in wrong}
    if not any(value.ndim > 1 for value in fitting.values()):
        raise UserError(
            f"{checkpoint.path}: nothing in it fits the configured network:"
            f"{_listed(list(wrong.values()))}",
            "use a checkpoint of the same MODEL.ARCHITECTURE, MODEL.FEATURE_MAPS and PROBLEM.NDIM, "
            "or set MODEL.LOAD_CHECKPOINT: False",
            "checkpoint.other_network",
        )
    _check_weights(checkpoint.path, own, fitting)
    network.load_state_dict({**own, **fitting})
    return list(wrong.values())


def _check_weights(path: Path, own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Refuse weights of another type than the network's, and weights that are not finite."""
    for name, value in given.items():
        if value.dtype != own[name].dtype:
            found, expected = (str(w.dtype).removeprefix("torch.") for w in (value, own[name]))
            raise _wrong_tensor(path, name, found, expected)
        if not bool(torch.isfinite(value).all()):
            raise UserError(
                f"{path}: {name}: got values that are not finite, expected finite weights",
                "take another checkpoint, or train again with a lower TRAIN.LR",
                "checkpoint.not_finite",
            )


def _misfits(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> dict[str, str]:
    """Weights that are missing on one side or have another shape there."""
    return {
        name: f"{name}: {_shape(given, name)} in the file, {_shape(own, name)} configured"
        for name in sorted({*own, *given})
        if _shape(given, name) != _shape(own, name)
    }


def _listed(lines: list[str], most: int = 8) -> str:
    more = f"\n    … and {len(lines) - most} more" if len(lines) > most else ""
    return "".join(f"\n    {line}" for line in lines[:most]) + more


def _shape(weights: Mapping[str, Tensor], name: str) -> str:
    return str(tuple(weights[name].shape)) if name in weights else "none"
