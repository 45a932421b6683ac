"""Rules about several keys that can be checked before any data are read.

A rule is a function that yields a `Problem` for each violation; its text begins with the key to
change. The ranges of single keys are in the schema.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from singula.config.biapy.unsupported import unsupported_values
from singula.config.schema.root import Config
from singula.config.validate_model import MODEL_RULES
from singula.config.validate_preprocess import PREPROCESS_RULES
from singula.config.yaml_source import Problem
from singula.errors import UserError
from singula.representations.channel_table import CHANNELS
from singula.representations.table import DECODERS
from singula.util.format import counted, show

Rule = Callable[[Config], Iterator[Problem]]
_SEG = "PROBLEM.INSTANCE_SEG"
_SCHEDULER = "TRAIN.LR_SCHEDULER"
_POST = "TEST.POST_PROCESSING"
_REMOVE = f"{_POST}.MEASURE_PROPERTIES.REMOVE_BY_PROPERTIES"
_WITH_CONTOUR = [name for name, row in DECODERS.items() if {"B", "C"} <= set(row.channels)]
_ONLY_2D = ("circularity", "elongation")
_ONLY_3D = ("sphericity",)


def check_config(config: Config, *, train: bool, test: bool) -> list[Problem]:
    """Check the rules of the phases that will run.

    Parameters
    ----------
    config : Config
        Configuration with dependent defaults filled in.
    train, test : bool
        True if training, or the prediction of the test images, will run.

    Returns
    -------
    list of Problem
        One element for each violation, without a place.
    """
    rules = [*_ALWAYS, *(_TRAIN if train else ()), *(_TEST if test else ())]
    problems = list(_channels(config))
    if not problems:  # other rules need the decoder of the channels
        problems = [problem for rule in rules for problem in rule(config)]
    if not train and not test:
        problems.append(
            Problem(
                "TRAIN.ENABLE: got False with TEST.ENABLE False, expected one of them True",
                "config.nothing_enabled",
            )
        )
    unsupported = unsupported_values(config, train=train, test=test, fatal=True)
    return problems + [Problem(text, "config.unsupported") for text in unsupported]


def _channels(config: Config) -> Iterator[Problem]:
    seg = config.PROBLEM.INSTANCE_SEG
    try:
        codes = config.decoder.channels
    except UserError as error:
        hint = f"; {error.hint}" if error.hint else ""
        yield Problem(f"{_SEG}.{error.message}{hint}", error.code)
        return
    components = [row.component for code in codes if (row := CHANNELS[code]).component]
    if components and sorted(components) != list(range(1, config.ndim + 1)):
        expected = "H, V and Z" if config.ndim == 3 else "H and V, without Z"
        yield Problem(
            f"{_SEG}.DATA_CHANNELS: got {seg.DATA_CHANNELS} with PROBLEM.NDIM {config.ndim}D, "
            f"expected {expected}",
            "decode.missing_channel",
        )
    if seg.DATA_CHANNELS_LOSSES and len(seg.DATA_CHANNELS_LOSSES) != len(codes):
        given = counted(len(seg.DATA_CHANNELS_LOSSES), "loss", "losses")
        yield Problem(
            f"{_SEG}.DATA_CHANNELS_LOSSES: got {given}, expected {len(codes)}, one for each "
            f"channel of {_SEG}.DATA_CHANNELS {seg.DATA_CHANNELS}",
            "config.length",
        )
    for code, loss in zip(codes, seg.DATA_CHANNELS_LOSSES, strict=False):
        is_binary = CHANNELS[code].kind == "binary"
        is_normalized = config.channel_options.get(code, {}).get("norm", True)
        is_share = CHANNELS[code].is_share and is_normalized
        if is_binary != (loss == "bce") and not (loss == "bce" and is_share):
            expected = "bce" if is_binary else "l1, mse or huber"
            yield Problem(
                f"{_SEG}.DATA_CHANNELS_LOSSES: got {loss} for {CHANNELS[code].list_code} of "
                f"{_SEG}.DATA_CHANNELS {seg.DATA_CHANNELS}, expected {expected}",
                "config.combination",
            )


def _channel_weights(config: Config) -> Iterator[Problem]:
    seg, count = config.PROBLEM.INSTANCE_SEG, config.channel_count
    allowed = {count} if config.MODEL.N_CLASSES == 2 else {count, count + 1}
    if len(seg.DATA_CHANNEL_WEIGHTS) not in allowed:
        extra = ", or one more for the classes of MODEL.N_CLASSES" if len(allowed) > 1 else ""
        yield Problem(
            f"{_SEG}.DATA_CHANNEL_WEIGHTS: got {len(seg.DATA_CHANNEL_WEIGHTS)} weights, expected "
            f"{count}, one for each channel of {_SEG}.DATA_CHANNELS {seg.DATA_CHANNELS}{extra}",
            "config.length",
        )


def _seed_morphology(config: Config) -> Iterator[Problem]:
    seg = config.PROBLEM.INSTANCE_SEG
    if len(seg.SEED_MORPH_SEQUENCE) != len(seg.SEED_MORPH_RADIUS):
        yield Problem(
            f"{_SEG}.SEED_MORPH_RADIUS: got {len(seg.SEED_MORPH_RADIUS)} radii, expected "
            f"{len(seg.SEED_MORPH_SEQUENCE)}, one for each operation of "
            f"{_SEG}.SEED_MORPH_SEQUENCE",
            "config.length",
        )


def _blocks(config: Config) -> Iterator[Problem]:
    """Refuse steps that need whole images if images are predicted in blocks."""
    keys = config.TEST.BY_CHUNKS
    if not keys.ENABLE:
        return
    needs_whole_image = {
        "TEST.FULL_IMG": config.TEST.FULL_IMG,
        "TEST.ANALIZE_2D_IMGS_AS_3D_STACK": config.TEST.ANALIZE_2D_IMGS_AS_3D_STACK,
        "DATA.PREPROCESS.TEST": config.DATA.PREPROCESS.TEST,
        "DATA.PREPROCESS.SPACING": config.DATA.PREPROCESS.SPACING,
        f"{_SEG}.DATA_CHECK_MW": config.PROBLEM.INSTANCE_SEG.DATA_CHECK_MW,
    }
    for name, value in needs_whole_image.items():
        if not value:
            continue
        expected = "False" if value is True else "no value"
        yield Problem(
            f"{name}: got {show(value)}, expected {expected} with TEST.BY_CHUNKS.ENABLE True, as "
            "this step needs whole images",
            "config.combination",
        )
    channels = config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS
    if keys.WORKFLOW_PROCESS.ENABLE and not config.decoder.supports_blocks:
        names = ", ".join(name for name, decoder in DECODERS.items() if decoder.supports_blocks)
        yield Problem(
            f"TEST.BY_CHUNKS.ENABLE: got True with {_SEG}.DATA_CHANNELS {channels}, expected False "
            f"or one of {names}",
            "config.combination",
        )
    shape = keys.BLOCK_SHAPE
    if shape and (len(shape) != config.ndim or min(shape) < 1):
        yield Problem(
            f"TEST.BY_CHUNKS.BLOCK_SHAPE: got {shape}, expected {config.ndim} sides of 1 or more, "
            "or () for an automatic choice",
            "config.length",
        )


def _normalization(config: Config) -> Iterator[Problem]:
    norm = config.DATA.NORMALIZATION
    if norm.PERC_CLIP and not 0 <= norm.PERC_LOWER < norm.PERC_UPPER <= 100:
        yield Problem(
            f"DATA.NORMALIZATION.PERC_LOWER: got {norm.PERC_LOWER:g} with "
            f"DATA.NORMALIZATION.PERC_UPPER {norm.PERC_UPPER:g}, expected 0 ≤ PERC_LOWER < "
            "PERC_UPPER ≤ 100 for DATA.NORMALIZATION.PERC_CLIP: True",
            "config.combination",
        )
    if norm.TYPE == "custom" and (norm.CUSTOM_MEAN == -1) != (norm.CUSTOM_STD == -1):
        yield Problem(
            f"DATA.NORMALIZATION.CUSTOM_MEAN: got {norm.CUSTOM_MEAN:g} with CUSTOM_STD "
            f"{norm.CUSTOM_STD:g}, expected both numbers, or -1 for both to measure them",
            "config.combination",
        )


def _force_rgb(config: Config) -> Iterator[Problem]:
    if config.DATA.FORCE_RGB and config.in_channels != 3:
        yield Problem(
            f"DATA.FORCE_RGB: got True with DATA.PATCH_SIZE {config.DATA.PATCH_SIZE}, expected "
            "a DATA.PATCH_SIZE that ends with 3 channels",
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


def _split_rule(name: str) -> Rule:
    def rule(config: Config) -> Iterator[Problem]:
        split = {
            "TRAIN": config.DATA.TRAIN, "VAL": config.DATA.VAL, "TEST": config.DATA.TEST
        }[name]  # fmt: skip
        if name == "VAL" and config.DATA.VAL.FROM_TRAIN:
            return
        ndim, is_wrong = config.ndim, False
        for key, values in (("OVERLAP", split.OVERLAP), ("PADDING", split.PADDING)):
            if len(values) != ndim:
                is_wrong = True
                yield Problem(
                    f"DATA.{name}.{key}: got {counted(len(values), 'value')}, expected {ndim}, "
                    f"one for each axis of PROBLEM.NDIM {config.PROBLEM.NDIM}",
                    "config.length",
                )
        if len(split.RESOLUTION) != ndim and split.RESOLUTION != (-1,):
            yield Problem(
                f"DATA.{name}.RESOLUTION: got {counted(len(split.RESOLUTION), 'value')}, "
                f"expected {ndim}, "
                f"one for each axis of PROBLEM.NDIM {config.PROBLEM.NDIM}, or (-1,) for unknown",
                "config.length",
            )
        if is_wrong or len(config.patch) != ndim:
            return
        for padding, length in zip(split.PADDING, config.patch, strict=True):
            if 2 * padding >= length:
                yield Problem(
                    f"DATA.{name}.PADDING: got {padding} for a patch of "
                    f"{counted(length, 'pixel')}, expected "
                    f"less than {math.ceil(length / 2)}, half of DATA.PATCH_SIZE",
                    "config.combination",
                )

    return rule


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
    names = config.decoder.channels
    losses = config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS_LOSSES or (None,) * len(names)
    scores = [
        f"{'iou' if (loss or CHANNELS[name].loss) == 'bce' else 'mae'}_{name}"
        for name, loss in zip(names, losses, strict=True)
    ]
    if any(score.startswith("iou") for score in scores):
        scores.insert(0, "iou")
    if config.MODEL.N_CLASSES > 2:
        scores.append("class_accuracy")
    return tuple(f"{split}_{name}" for split in ("val", "train") for name in ("loss", *scores))


def _monitor(config: Config) -> Iterator[Problem]:
    name, names = config.TRAIN.CHECKPOINT_MONITOR, monitor_names(config)
    if name not in names:
        yield Problem(
            f"TRAIN.CHECKPOINT_MONITOR: got {name!r}, expected {', '.join(names)}",
            "config.combination",
        )


def _stack(config: Config) -> Iterator[Problem]:
    if config.TEST.ANALIZE_2D_IMGS_AS_3D_STACK and config.ndim == 3:
        yield Problem(
            "TEST.ANALIZE_2D_IMGS_AS_3D_STACK: got True with PROBLEM.NDIM 3D, expected False",
            "config.combination",
        )


def _channel_needs(config: Config) -> Iterator[Problem]:
    post, channels = config.TEST.POST_PROCESSING, config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS
    codes = set(config.decoder.channels)
    if post.VORONOI_ON_MASK and not {"B", "C"} <= codes:
        yield Problem(
            f"{_POST}.VORONOI_ON_MASK: got True with {_SEG}.DATA_CHANNELS {channels}, "
            f"expected one of {', '.join(_WITH_CONTOUR)}",
            "config.combination",
        )
    if not post.REMOVE_CLOSE_POINTS:
        return
    if channels != "BP":
        yield Problem(
            f"{_POST}.REMOVE_CLOSE_POINTS: got True with {_SEG}.DATA_CHANNELS {channels}, "
            "expected BP",
            "config.combination",
        )
    if not post.REMOVE_CLOSE_POINTS_RADIUS or -1 in post.REMOVE_CLOSE_POINTS_RADIUS:
        yield Problem(
            f"{_POST}.REMOVE_CLOSE_POINTS_RADIUS: got {post.REMOVE_CLOSE_POINTS_RADIUS}, "
            f"expected numbers > 0 for {_POST}.REMOVE_CLOSE_POINTS: True",
            "config.combination",
        )


def _remove_by_properties(config: Config) -> Iterator[Problem]:
    remove = config.TEST.POST_PROCESSING.MEASURE_PROPERTIES.REMOVE_BY_PROPERTIES
    if not remove.ENABLE:
        return
    shape = [len(group) for group in remove.PROPS]
    if not shape or 0 in shape:
        yield Problem(
            f"{_REMOVE}.PROPS: got {[list(group) for group in remove.PROPS]}, expected lists of "
            "at least one property, as ENABLE, VALUES or SIGN enables the removal of instances",
            "config.combination",
        )
        return
    for key, lists in (("VALUES", remove.VALUES), ("SIGN", remove.SIGN)):
        lengths = [len(group) for group in lists]
        if lengths != shape:
            yield Problem(
                f"{_REMOVE}.{key}: got lists of {lengths} items, expected {shape}, "
                f"as in {_REMOVE}.PROPS",
                "config.length",
            )
    # Instances of stacked 2D images are volumes too.
    names, kind = (_ONLY_2D, "volumes") if config.tests_volumes else (_ONLY_3D, "2D images")
    for name in sorted({name for group in remove.PROPS for name in group if name in names}):
        yield Problem(
            f"{_REMOVE}.PROPS: got {name!r}, which is not defined for {kind}, expected another "
            "property",
            "config.combination",
        )


_ALWAYS: tuple[Rule, ...] = (
    *MODEL_RULES,
    _channel_weights,
    _seed_morphology,
    _normalization,
    *PREPROCESS_RULES,
    _force_rgb,
)
_TRAIN: tuple[Rule, ...] = (
    _split_rule("TRAIN"),
    _split_rule("VAL"),
    _validation,
    _scheduler,
    _loss,
    _monitor,
    _probability_map,
)
_TEST: tuple[Rule, ...] = (
    _split_rule("TEST"),
    _stack,
    _channel_needs,
    _remove_by_properties,
    _blocks,
)
