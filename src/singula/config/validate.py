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
from singula.config.validate_prediction import PREDICTION_RULES
from singula.config.validate_preprocess import PREPROCESS_RULES
from singula.config.validate_training import TRAINING_RULES
from singula.config.yaml_source import Problem
from singula.errors import UserError
from singula.representations.channel_table import CHANNELS, planes_in
from singula.representations.families import FAMILIES
from singula.representations.offsets import CenterOffsets
from singula.representations.table import check_offsets
from singula.util.format import counted

Rule = Callable[[Config], Iterator[Problem]]
_SEG = "PROBLEM.INSTANCE_SEG"


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
        check_offsets(codes, seg.DATA_CHANNELS, config.ndim)
    except UserError as error:
        hint = f"; {error.hint}" if error.hint else ""
        if seg.DECODER != "auto":
            hint += f", or set {_SEG}.DECODER: auto (got {seg.DECODER})"
        message = error.message.replace(" DATA_CHANNELS", f" {_SEG}.DATA_CHANNELS")
        yield Problem(f"{_SEG}.{message}{hint}", error.code)
        return
    yield from _normalized_offsets(config)
    if config.decoder.ndim not in (None, config.ndim):
        yield Problem(
            f"{_SEG}.DATA_CHANNELS: got {seg.DATA_CHANNELS} for {config.decoder.ndim}D images with "
            f"PROBLEM.NDIM {config.ndim}D, expected one offset or flow for each of "
            f"{config.ndim} axes; A and E without parameters fit the images",
            "config.combination",
        )
    groups = config.channel_groups
    yield from _map_counts(config)
    if seg.DATA_CHANNELS_LOSSES and len(seg.DATA_CHANNELS_LOSSES) != len(groups):
        given = counted(len(seg.DATA_CHANNELS_LOSSES), "loss", "losses")
        yield Problem(
            f"{_SEG}.DATA_CHANNELS_LOSSES: got {given}, expected {len(groups)}, one for each "
            f"channel of {_SEG}.DATA_CHANNELS {seg.DATA_CHANNELS}",
            "config.length",
        )
    for (code, *_), loss in zip(groups, seg.DATA_CHANNELS_LOSSES, strict=False):
        if CHANNELS[code].kind == "embedding":
            yield Problem(
                f"{_SEG}.DATA_CHANNELS_LOSSES: got {loss} for {CHANNELS[code].list_code}, expected "
                "no losses, as an embedding has its own; remove the key",
                "config.combination",
            )
            continue
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


def _map_counts(config: Config) -> Iterator[Problem]:
    """Refuse different numbers of maps of a family in the list and in the options."""
    for family in FAMILIES.values():
        count = config.channel_options.get(family.code, {}).get(family.count_option)
        groups = (group for group in config.channel_groups if planes_in(group, family.code))
        for group in groups:
            if count and len(group) != count:
                yield Problem(
                    f"{_SEG}.DATA_CHANNELS_EXTRA_OPTS: got "
                    f"{family.code}.{family.count_option}={count} with "
                    f"{CHANNELS[group[0]].list_code} in {_SEG}.DATA_CHANNELS, expected one of "
                    f"them; write {family.code} without a number",
                    "config.combination",
                )


def _normalized_offsets(config: Config) -> Iterator[Problem]:
    components = [
        CHANNELS[code].list_code
        for code in config.decoder.channels
        if CHANNELS[code].vector == "offset"
    ]
    options = config.channel_options
    normalized = [code for code in components if options.get(code, {}).get("norm", True)]
    if normalized and len(normalized) < len(components):
        yield Problem(
            f"{_SEG}.DATA_CHANNELS_EXTRA_OPTS: got norm True for {', '.join(normalized)} and False "
            f"for other offsets, expected one value for {', '.join(components)}",
            "config.combination",
        )
    elif normalized and config.decoding_method == CenterOffsets.method_name:
        entries = ", ".join(f"{code}.norm=False" for code in normalized)
        yield Problem(
            f"{_SEG}.DECODER: got {CenterOffsets.method_name} with normalized offsets "
            f"{', '.join(normalized)}, expected offsets in pixels: add {entries} to "
            f"{_SEG}.DATA_CHANNELS_EXTRA_OPTS",
            "config.combination",
        )


def _channel_weights(config: Config) -> Iterator[Problem]:
    seg, count = config.PROBLEM.INSTANCE_SEG, config.channel_count
    allowed = {count} if config.MODEL.N_CLASSES == 2 else {count, count + 1}
    if len(seg.DATA_CHANNEL_WEIGHTS) not in allowed:
        extra = ", or one more for the classes of MODEL.N_CLASSES" if len(allowed) > 1 else ""
        yield Problem(
            f"{_SEG}.DATA_CHANNEL_WEIGHTS: got {len(seg.DATA_CHANNEL_WEIGHTS)} weights, expected "
            f"{count}, one for each channel of {_SEG}.DATA_CHANNELS {seg.DATA_CHANNELS}{extra}; "
            "correct the list, or remove the key for equal weights",
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


_ALWAYS: tuple[Rule, ...] = (
    *MODEL_RULES,
    _channel_weights,
    _seed_morphology,
    _normalization,
    *PREPROCESS_RULES,
    _force_rgb,
)
_TRAIN: tuple[Rule, ...] = (_split_rule("TRAIN"), _split_rule("VAL"), *TRAINING_RULES)
_TEST: tuple[Rule, ...] = (_split_rule("TEST"), *PREDICTION_RULES)
