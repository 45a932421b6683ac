"""Checkpoint of a run, and its comparison with the configuration."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from singula.config import Config
from singula.config.load import config_from_text
from singula.config.yaml_source import parse_yaml
from singula.data.normalize import Normalizer
from singula.errors import UserError
from singula.io.run_folder import ResultsTree
from singula.models import ModelSettings, build_model, channels_last, fold_batch_norm
from singula.pipeline import from_config
from singula.prediction import Predictor
from singula.prediction.openvino import OpenVinoNetwork, has_openvino
from singula.training.checkpoint import Checkpoint, load_checkpoint, load_weights
from singula.util.format import install_command
from singula.zoo.models import built_in_models, checkpoint_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_log = logging.getLogger(__name__)
# Keys to start a training from other weights
_START = ("MODEL.LOAD_CHECKPOINT", "PATHS.CHECKPOINT_FILE")
# Keys of the settings of a network, without dropout, which does not affect predictions
_KEYS = {
    "ndim": "PROBLEM.NDIM",
    "in_channels": "DATA.PATCH_SIZE (channels)",
    "n_classes": "MODEL.N_CLASSES",
    "architecture": "MODEL.ARCHITECTURE",
    "feature_maps": "MODEL.FEATURE_MAPS",
    "z_down": "MODEL.Z_DOWN",
    "batch_norm": "MODEL.BATCH_NORMALIZATION",
    "kernel": "MODEL.KERNEL_SIZE",
    "upsample": "MODEL.UPSAMPLE_LAYER",
    "activation": "MODEL.ACTIVATION",
    "transformer": "MODEL.VIT_* and MODEL.UNETR_*",
}


def find_checkpoint(config: Config, tree: ResultsTree) -> Path:
    """Return the checkpoint to predict with.

    It is the configured file, or the checkpoint of the run if the run trains or if its training
    started from the configured file.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    tree : ResultsTree
        Results folder.

    Raises
    ------
    UserError
        ``checkpoint.missing``: there is no checkpoint.
    """
    configured = None if config.TRAIN.ENABLE else _configured_file(config)
    of_run = _file_of_run(config, tree)
    path = configured or of_run
    if configured and of_run and config.MODEL.LOAD_CHECKPOINT and _started_from(of_run, configured):
        path = of_run
    if path is None:
        raise UserError(
            f"{tree.checkpoint_best}: the checkpoint for the prediction does not exist",
            "train first (TRAIN.ENABLE: True), or set PATHS.CHECKPOINT_FILE to a checkpoint",
            "checkpoint.missing",
        )
    return path


def find_start(config: Config, tree: ResultsTree) -> Path:
    """Return the checkpoint from which a training starts: the configured file or that of the run.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    tree : ResultsTree
        Results folder.

    Raises
    ------
    UserError
        ``checkpoint.missing``: there is no checkpoint.
    """
    path = _configured_file(config) or _file_of_run(config, tree)
    if path is None:
        raise UserError(
            f"MODEL.LOAD_CHECKPOINT: got True, but this run has no checkpoint to start from "
            f"({tree.checkpoint_best} does not exist)",
            "set PATHS.CHECKPOINT_FILE to a checkpoint, or set MODEL.LOAD_CHECKPOINT to False",
            "checkpoint.missing",
        )
    return path


def _started_from(checkpoint: Path, start: Path) -> bool:
    """Return True if the training of a checkpoint started from the weights of another file."""
    text = load_checkpoint(checkpoint).description.get("config")
    entries = parse_yaml(text, str(checkpoint)).entries if text else {}
    used, named = (entries[key].value if key in entries else None for key in _START)
    return bool(used and named) and checkpoint_path(str(named)).resolve() == start.resolve()


def trained_config(checkpoint: Checkpoint) -> Config:
    """Return the configuration with which a checkpoint was trained.

    Raises
    ------
    UserError
        ``checkpoint.no_config``: the checkpoint contains no configuration; or the configuration is
        invalid.
    """
    text = checkpoint.description.get("config")
    if not text:
        reason = f": {checkpoint.config_problem}" if checkpoint.config_problem else ""
        raise UserError(
            f"{checkpoint.path}: contains no configuration, which predictions need{reason}",
            "use a checkpoint that `singula run` wrote, or write a configuration with "
            "PATHS.CHECKPOINT_FILE for `singula run`",
            "checkpoint.no_config",
        )
    return config_from_text(text, str(checkpoint.path))


def _configured_file(config: Config) -> Path | None:
    if not config.PATHS.CHECKPOINT_FILE:
        return None
    path = checkpoint_path(config.PATHS.CHECKPOINT_FILE)
    if not path.is_file():
        raise UserError(
            f"PATHS.CHECKPOINT_FILE: got {path}, expected an existing file or the name of a "
            f"built-in model ({', '.join(built_in_models())})",
            "correct the path, or remove the key to use the checkpoint of the run",
            "checkpoint.missing",
        )
    return path


def _file_of_run(config: Config, tree: ResultsTree) -> Path | None:
    epoch = config.MODEL.LOAD_CHECKPOINT_EPOCH
    first = tree.checkpoint_last if "last" in str(epoch) else tree.checkpoint_best
    files = (first, tree.checkpoint_best, tree.checkpoint_last)
    return next((path for path in files if path.is_file()), None)


def network_from(config: Config, checkpoint: Checkpoint) -> tuple[torch.nn.Module, Normalizer]:
    """Return the configured network with the weights of a checkpoint, and its normalization.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    checkpoint : Checkpoint
        Checkpoint with the weights.

    Raises
    ------
    UserError
        ``checkpoint.other_configuration``: keys differ from the training.
    """
    stored = checkpoint.description
    model = from_config.model_settings(config, stored.get("model"))
    normalizer = Normalizer.from_dict(stored["normalizer"])
    changes = [
        *_channel_changes(config, stored),
        *_network_changes(model, stored),
        *_normalization_changes(from_config.normalizer(config), normalizer),
    ]
    if changes:
        raise UserError(
            f"{checkpoint.path}: was trained with another configuration:"
            + _listed(changes, "in training"),
            "set these keys to the values of the training, or train again",
            "checkpoint.other_configuration",
        )
    network = build_model(model)
    load_weights(network, checkpoint)
    return network, normalizer


def check_same_training(config: Config, checkpoint: Checkpoint) -> None:
    """Refuse to continue a training with other channels or another normalization.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    checkpoint : Checkpoint
        Checkpoint of the interrupted training.

    Raises
    ------
    UserError
        ``checkpoint.other_configuration``: keys differ from the training.
    """
    stored = checkpoint.description
    configured = from_config.normalizer(config)
    stored_normalizer = stored.get("normalizer")
    trained = Normalizer.from_dict(stored_normalizer) if stored_normalizer else configured
    changes = [
        *_channel_changes(config, stored),
        *_normalization_changes(configured, trained),
    ]
    if changes:
        raise UserError(
            f"{checkpoint.path}: this training began with another configuration:"
            + _listed(changes, "before"),
            "restore the keys, or omit --resume (with MODEL.LOAD_CHECKPOINT: True to start from "
            "these weights)",
            "checkpoint.other_configuration",
        )


Change = tuple[str, Any, Any]


def _listed(changes: Sequence[Change], when: str) -> str:
    return "".join(f"\n    {key}: {old!r} {when}, {new!r} configured" for key, old, new in changes)


def _channel_changes(config: Config, stored: Mapping[str, Any]) -> Iterator[Change]:
    old, new = stored.get("channels"), config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS
    if old is not None and old != new:
        yield "PROBLEM.INSTANCE_SEG.DATA_CHANNELS", old, new


def _network_changes(model: ModelSettings, stored: Mapping[str, Any]) -> Iterator[Change]:
    if not stored.get("model"):
        return
    trained = ModelSettings.from_dict(stored["model"])
    for name, key in _KEYS.items():
        old, new = getattr(trained, name), getattr(model, name)
        if isinstance(old, str):
            old, new = old.lower(), new.lower()
        # Z_DOWN has no effect on images without a z axis.
        if old != new and not (name == "z_down" and model.ndim == 2):
            yield key, old, new


def _normalization_changes(configured: Normalizer, trained: Normalizer) -> Iterator[Change]:
    names = {"kind": "TYPE", "per_image": "APPLICATION_MODE", "clip": "PERC_*"}
    for name, key in names.items():
        old, new = getattr(trained, name), getattr(configured, name)
        if old != new:
            if name == "per_image":
                old, new = ("image" if per_image else "dataset" for per_image in (old, new))
            yield f"DATA.NORMALIZATION.{key}", old, new
    old_moments, new_moments = trained.statistics, configured.statistics
    if configured.kind == "custom" and new_moments and new_moments != old_moments:
        yield "DATA.NORMALIZATION.CUSTOM_*", old_moments, new_moments


def predictor_from(
    config: Config, checkpoint: Checkpoint, device: torch.device
) -> tuple[Predictor, Normalizer]:
    """Return a predictor with the weights of a checkpoint, and its normalization.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    checkpoint : Checkpoint
        Checkpoint with the weights.
    device : torch.device
        Device of the network.
    """
    network, normalizer = network_from(config, checkpoint)
    network = channels_last(fold_batch_norm(network), config.ndim)
    backend, bfloat16 = config.TEST.BACKEND, config.TEST.PRECISION == "bf16"
    if backend == "openvino" and not has_openvino():
        remedy = install_command("openvino")
        _log.warning(f"TEST.BACKEND: OpenVINO is not installed ({remedy}); using torch")
    elif backend != "torch" and device.type == "cpu" and has_openvino():
        network = OpenVinoNetwork(
            network,
            config.in_channels,
            config.patch,
            bfloat16=bfloat16,
            at_once=backend == "openvino",
        )
    predictor = Predictor(
        network,
        from_config.outputs(config),
        from_config.n_classes(config),
        device,
        bfloat16=bfloat16,
    )
    return predictor, normalizer
