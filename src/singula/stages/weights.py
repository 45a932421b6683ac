"""Which checkpoint a run predicts with, and whether it is what the configuration describes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from singula.config import Config
from singula.config.load import config_from_text
from singula.config.source import parse_yaml
from singula.data.normalize import Normalizer
from singula.errors import UserError
from singula.io.results import ResultsTree
from singula.models import ModelSettings, build_model, channels_last, fold_batch_norm
from singula.prediction import Predictor
from singula.prediction.openvino import Notify, OpenVinoNetwork, has_openvino
from singula.stages import settings as from_config
from singula.training.checkpoint import Checkpoint, load_checkpoint, load_weights
from singula.words import install_command

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Keys by which a training starts from other weights
_START = ("MODEL.LOAD_CHECKPOINT", "PATHS.CHECKPOINT_FILE")
# What a network's settings are called in the configuration; dropout does nothing in prediction.
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
    """The checkpoint to predict with: the run's own if it trains, else the one that is named.

    A file from which the run's own training set out is not what came of it: then it is the run's
    own in any case.

    Raises
    ------
    UserError
        Naming the places where one was looked for.
    """
    named, own = None if config.TRAIN.ENABLE else _named(config), _own(config, tree)
    path = named or own
    if named and own and config.MODEL.LOAD_CHECKPOINT and _set_out_from(own, named):
        path = own
    if path is None:
        raise UserError(
            f"{tree.checkpoint_best}: there is no checkpoint to predict with",
            "train first (TRAIN.ENABLE: True), or name one with PATHS.CHECKPOINT_FILE",
        )
    return path


def find_start(config: Config, tree: ResultsTree) -> Path:
    """The checkpoint that a training sets out from: the one that is named, else the run's own.

    Raises
    ------
    UserError
        Naming the places where one was looked for.
    """
    path = _named(config) or _own(config, tree)
    if path is None:
        raise UserError(
            f"MODEL.LOAD_CHECKPOINT: found True, but this run has no checkpoint to start from yet "
            f"(there is no {tree.checkpoint_best})",
            "name one with PATHS.CHECKPOINT_FILE, or set MODEL.LOAD_CHECKPOINT to False",
        )
    return path


def _set_out_from(own: Path, start: Path) -> bool:
    """Whether a checkpoint is of a training that began with the weights of another file."""
    text = load_checkpoint(own).description.get("config")
    entries = parse_yaml(text, str(own)).entries if text else {}
    used, named = (entries[key].value if key in entries else None for key in _START)
    return bool(used and named) and Path(str(named)).resolve() == start.resolve()


def trained_config(checkpoint: Checkpoint) -> Config:
    """Return the configuration of a checkpoint's training.

    Raises
    ------
    UserError
        ``checkpoint.no_config``: the checkpoint contains none; or the configuration is invalid.
    """
    text = checkpoint.description.get("config")
    if not text:
        raise UserError(
            f"{checkpoint.path}: contains no configuration, which predictions need",
            "use a checkpoint that `singula run` wrote",
            "checkpoint.no_config",
        )
    return config_from_text(text, str(checkpoint.path))


def _named(config: Config) -> Path | None:
    if not config.PATHS.CHECKPOINT_FILE:
        return None
    path = Path(config.PATHS.CHECKPOINT_FILE)
    if not path.is_file():
        raise UserError(
            f"PATHS.CHECKPOINT_FILE: there is no file {path}",
            "correct the path, or leave the key out to use the run's own checkpoint",
        )
    return path


def _own(config: Config, tree: ResultsTree) -> Path | None:
    wanted = config.MODEL.LOAD_CHECKPOINT_EPOCH
    first = tree.checkpoint_last if "last" in str(wanted) else tree.checkpoint_best
    own = (first, tree.checkpoint_best, tree.checkpoint_last)
    return next((path for path in own if path.is_file()), None)


def network_from(config: Config, checkpoint: Checkpoint) -> tuple[torch.nn.Module, Normalizer]:
    """The configured network with a checkpoint's weights and normalisation.

    Raises
    ------
    UserError
        Listing every key whose value was another one in training.
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
            "give these keys the values of the training, or train anew",
        )
    network = build_model(model)
    load_weights(network, checkpoint)
    return network, normalizer


def check_same_training(config: Config, checkpoint: Checkpoint) -> None:
    """See that a training goes on with the channels and the normalisation that it began with.

    Raises
    ------
    UserError
        Listing the keys whose value was another one.
    """
    stored = checkpoint.description
    wanted = from_config.normalizer(config)
    known = stored.get("normalizer")
    trained = Normalizer.from_dict(known) if known else wanted
    changes = [
        *_channel_changes(config, stored),
        *_normalization_changes(wanted, trained),
    ]
    if changes:
        raise UserError(
            f"{checkpoint.path}: this training began with another configuration:"
            + _listed(changes, "before"),
            "restore the keys, or drop --resume (with MODEL.LOAD_CHECKPOINT: True to begin from "
            "these weights)",
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
        # Along z there is nothing to shrink in an image.
        if old != new and not (name == "z_down" and model.ndim == 2):
            yield key, old, new


def _normalization_changes(wanted: Normalizer, trained: Normalizer) -> Iterator[Change]:
    names = {"kind": "TYPE", "per_image": "APPLICATION_MODE", "clip": "PERC_*"}
    for name, key in names.items():
        old, new = getattr(trained, name), getattr(wanted, name)
        if old != new:
            if name == "per_image":
                old, new = ("image" if per_image else "dataset" for per_image in (old, new))
            yield f"DATA.NORMALIZATION.{key}", old, new
    if wanted.kind == "custom" and wanted.statistics and wanted.statistics != trained.statistics:
        yield "DATA.NORMALIZATION.CUSTOM_*", trained.statistics, wanted.statistics


def predictor_from(
    config: Config, checkpoint: Checkpoint, device: torch.device, notify: Notify = warnings.warn
) -> tuple[Predictor, Normalizer]:
    """The configured network with a checkpoint's weights, ready to predict.

    Parameters
    ----------
    config : Config
    checkpoint : Checkpoint
    device : torch.device
    notify : callable
        Told when TEST.BACKEND cannot be had.
    """
    network, normalizer = network_from(config, checkpoint)
    network = channels_last(fold_batch_norm(network), config.ndim)
    backend, bfloat16 = config.TEST.BACKEND, config.TEST.PRECISION == "bf16"
    if backend == "openvino" and not has_openvino():
        remedy = install_command("openvino")
        notify(f"TEST.BACKEND: OpenVINO is not installed ({remedy}); using torch")
    elif backend != "torch" and device.type == "cpu" and has_openvino():
        network = OpenVinoNetwork(
            network,
            config.in_channels,
            config.patch,
            bfloat16=bfloat16,
            at_once=backend == "openvino",
            notify=notify,
        )
    predictor = Predictor(
        network,
        from_config.outputs(config),
        from_config.n_classes(config),
        device,
        bfloat16=bfloat16,
    )
    return predictor, normalizer
