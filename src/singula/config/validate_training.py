"""Rules about the keys of a training."""

from __future__ import annotations

from collections.abc import Iterator

from singula.config.schema.root import Config
from singula.config.yaml_source import Problem
from singula.representations.channel_table import CHANNELS

_SEG = "PROBLEM.INSTANCE_SEG"
_SCHEDULER = "TRAIN.LR_SCHEDULER"


def _validation(config: Config) -> Iterator[Problem]:
    val = config.DATA.VAL
    if val.CROSS_VAL:
        if not val.FROM_TRAIN:
            yield Problem(
                "DATA.VAL.CROSS_VAL: got True with DATA.VAL.FROM_TRAIN False, expected "
                "DATA.VAL.FROM_TRAIN: True, as the folds are taken from the training images",
                "config.combination",
            )
        if val.CROSS_VAL_FOLD > val.CROSS_VAL_NFOLD:
            yield Problem(
                f"DATA.VAL.CROSS_VAL_FOLD: got {val.CROSS_VAL_FOLD}, expected 1 to "
                f"{val.CROSS_VAL_NFOLD}, the value of DATA.VAL.CROSS_VAL_NFOLD",
                "config.combination",
            )
    elif val.FROM_TRAIN and not 0 < val.SPLIT_TRAIN < 1:
        yield Problem(
            f"DATA.VAL.SPLIT_TRAIN: got {val.SPLIT_TRAIN:g}, expected a number in (0, 1) "
            "for DATA.VAL.FROM_TRAIN: True",
            "config.combination",
        )


def _scheduler(config: Config) -> Iterator[Problem]:
    train = config.TRAIN
    scheduler = train.LR_SCHEDULER
    name = scheduler.NAME
    condition = f"with {_SCHEDULER}.NAME '{name}'"
    if name in ("warmupcosine", "reduceonplateau") and not 0 <= scheduler.MIN_LR < train.LR:
        yield Problem(
            f"{_SCHEDULER}.MIN_LR: got {scheduler.MIN_LR:g}, expected 0 ≤ MIN_LR < TRAIN.LR "
            f"{train.LR:g} {condition}",
            "config.combination",
        )
    warmup = scheduler.WARMUP_COSINE_DECAY_EPOCHS
    if name == "warmupcosine" and not 0 < warmup < train.EPOCHS:
        yield Problem(
            f"{_SCHEDULER}.WARMUP_COSINE_DECAY_EPOCHS: got {warmup}, expected at least 1 and "
            f"less than TRAIN.EPOCHS {train.EPOCHS} {condition}",
            "config.combination",
        )
    patience = scheduler.REDUCEONPLATEAU_PATIENCE
    if name == "reduceonplateau" and (
        patience < 1 or (train.PATIENCE != -1 and patience >= train.PATIENCE)
    ):
        yield Problem(
            f"{_SCHEDULER}.REDUCEONPLATEAU_PATIENCE: got {patience}, expected at least 1 and "
            f"less than TRAIN.PATIENCE {train.PATIENCE} {condition}",
            "config.combination",
        )


def _loss(config: Config) -> Iterator[Problem]:
    loss, classes = config.LOSS, config.MODEL.N_CLASSES
    weights = config.PROBLEM.INSTANCE_SEG.DATA_CHANNEL_WEIGHTS
    if not any(weights):
        yield Problem(
            f"{_SEG}.DATA_CHANNEL_WEIGHTS: got {weights}, expected at least one above 0",
            "config.value",
        )
    if loss.CLASS_REBALANCE == "manual" and loss.CLASS_WEIGHTS and not any(loss.CLASS_WEIGHTS):
        yield Problem(
            f"LOSS.CLASS_WEIGHTS: got {loss.CLASS_WEIGHTS}, expected at least one above 0",
            "config.value",
        )
    if loss.TYPE == "W_CE_DICE" and sum(loss.WEIGHTS) == 0:
        yield Problem(
            f"LOSS.WEIGHTS: got {loss.WEIGHTS}, expected two numbers, one of them above 0",
            "config.value",
        )
    if loss.CLASS_REBALANCE == "manual" and len(loss.CLASS_WEIGHTS) != classes:
        yield Problem(
            f"LOSS.CLASS_WEIGHTS: got {len(loss.CLASS_WEIGHTS)} weights, expected {classes}, one "
            "for each of MODEL.N_CLASSES, with LOSS.CLASS_REBALANCE 'manual'",
            "config.length",
        )


def monitor_names(config: Config) -> tuple[str, ...]:
    """Return the allowed values of TRAIN.CHECKPOINT_MONITOR: the scores in the training log."""
    groups = config.channel_groups
    losses = config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS_LOSSES or (None,) * len(groups)
    scores = []
    for (code, *_), loss in zip(groups, losses, strict=True):
        channel = CHANNELS[code]
        used = loss or channel.loss
        if used != "embedding":
            name = channel.family or code
            scores.append(f"{'iou' if used == 'bce' else 'mae'}_{name}")
    if any(score.startswith("iou") for score in scores):
        scores.insert(0, "iou")
    if config.MODEL.N_CLASSES > 2:
        scores.append("class_accuracy")
    return tuple(f"{split}_{name}" for split in ("val", "train") for name in ("loss", *scores))


def _monitor(config: Config) -> Iterator[Problem]:
    name, names = config.TRAIN.CHECKPOINT_MONITOR, monitor_names(config)
    if name not in names:
        yield Problem(
            f"TRAIN.CHECKPOINT_MONITOR: got {name!r}, expected {', '.join(names)} for "
            f"{_SEG}.DATA_CHANNELS {config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS}",
            "config.combination",
        )


def _probability_map(config: Config) -> Iterator[Problem]:
    data = config.DATA
    is_used = data.EXTRACT_RANDOM_PATCH and data.PROBABILITY_MAP
    if is_used and data.W_FOREGROUND + data.W_BACKGROUND == 0:
        yield Problem(
            "DATA.W_FOREGROUND: got 0 with DATA.W_BACKGROUND 0, expected one of them above 0",
            "config.combination",
        )


TRAINING_RULES = (_validation, _scheduler, _loss, _monitor, _probability_map)
