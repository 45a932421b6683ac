"""Checkpoints: written whole or not at all, and read without running code from them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from singula.errors import UserError
from singula.io.atomic import atomic_path

FORMAT = 1
KEY = "singula"
_PREFIX = "network."


def write_checkpoint(contents: Mapping[str, Any], path: Path | str) -> None:
    """Write everything, then rename.

    Through memory, as torch's own file writer reports a full disk without saying so.
    """
    written = io.BytesIO()
    torch.save(contents, written)
    with atomic_path(path) as temporary:
        temporary.write_bytes(written.getbuffer())


def read_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """The raw contents of a checkpoint.

    Raises
    ------
    UserError
        When the file is missing, damaged, or holds more than tensors and plain types.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such checkpoint", "check the path, or train first")
    try:
        contents = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:
        # torch advises to read the file without this protection: not a thing to repeat.
        reason = (str(error).splitlines() or ["it is empty"])[0].split(". ")[0][:200]
        raise UserError(
            f"{path}: is not a readable checkpoint ({reason})",
            "use a .pth file that a Singula run wrote; files that would execute code are refused",
        ) from error
    known = isinstance(contents, dict) and isinstance(contents.get(KEY), dict)
    if not known or not isinstance(contents.get("state_dict"), dict):
        raise UserError(f"{path}: is not a Singula checkpoint", "use a file that a run wrote")
    if contents[KEY].get("format") != FORMAT:
        raise UserError(
            f"{path}: has checkpoint format {contents[KEY].get('format')!r}, "
            f"this version reads {FORMAT}",
            "use the version of Singula that wrote it, or train again",
        )
    checked: dict[str, Any] = contents
    return checked


@dataclass(frozen=True)
class Checkpoint:
    """What prediction needs: weights and the description that was stored with them."""

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
            raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            digest.update(raw.numpy().tobytes())
        return digest.hexdigest()


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint for prediction or as a start for training."""
    contents = read_checkpoint(path)
    weights = {
        name.removeprefix(_PREFIX): value
        for name, value in contents["state_dict"].items()
        if name.startswith(_PREFIX)
    }
    return Checkpoint(path, int(contents.get("epoch", -1)), weights, dict(contents[KEY]))


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
    wrong = _misfits(network.state_dict(), checkpoint.weights)
    if wrong:
        raise UserError(
            f"{checkpoint.path}: its network differs from the configured one:"
            f"{_listed(list(wrong.values()))}",
            "use the configuration that the checkpoint was trained with "
            "(MODEL.*, DATA.PATCH_SIZE's channels, PROBLEM.INSTANCE_SEG.DATA_CHANNELS)",
        )
    network.load_state_dict(checkpoint.weights)


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
        )
    network.load_state_dict({**own, **fitting})
    return list(wrong.values())


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
