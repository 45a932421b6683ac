"""Every rule that spans keys or sections and can be checked before any data is read.

A rule is a function that yields a text for each violation, beginning with the key to change. Ranges
of single keys are on the keys themselves, in the schema.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator

from singula.config.biapy.unsupported import gaps
from singula.config.implied import waiting_keys
from singula.config.schema.root import Config
from singula.config.thresholds import unused_thresholds
from singula.config.validate_model import MODEL_RULES, ineffective
from singula.util.format import counted, grouped

Rule = Callable[[Config], Iterator[str]]
_SEG = "PROBLEM.INSTANCE_SEG"
_SCHEDULER = "TRAIN.LR_SCHEDULER"
_POST = "TEST.POST_PROCESSING"
_REMOVE = f"{_POST}.MEASURE_PROPERTIES.REMOVE_BY_PROPERTIES"
_WITH_CONTOUR = ("BC", "BCM", "BCD", "BCDv2")
_ONLY_2D = ("circularity", "elongation")
_ONLY_3D = ("sphericity",)
_REGION = 2**24  # pixels of a filter
_NEEDS_Z = ("ZFLIP", "MISALIGNMENT")
_NEEDS_CHANNELS = ("GRAYSCALE", "CHANNEL_SHUFFLE")


def check_config(config: Config, *, train: bool, test: bool) -> list[str]:
    """Check the rules that matter for the phases that will run.

    Parameters
    ----------
    config : Config
        A resolved configuration.
    train, test : bool
        Whether training, and prediction of the test images, will run.

    Returns
    -------
    list of str
        One text for each violation, ``KEY: found X; allowed Y``; empty when all is well.
    """
    rules = [*_ALWAYS, *(_TRAIN if train else ()), *(_TEST if test else ())]
    problems = [text for rule in rules for text in rule(config)]
    if not train and not test:
        problems.append(
            "TRAIN.ENABLE: found False, and TEST.ENABLE too; allowed at least one of them True"
        )
    return problems + list(gaps(config, train=train, test=test, fatal=True))


def config_notices(config: Config, *, train: bool, test: bool) -> list[str]:
    """Say what is allowed but has no effect, or not the one that one may expect."""
    notices = [*gaps(config, train=train, test=test, fatal=False), *ineffective(config)]
    known = config.DATA.TEST.LOAD_GT or config.DATA.TEST.USE_VAL_AS_TEST
    if train and config.DATA.PROBABILITY_MAP and not config.DATA.EXTRACT_RANDOM_PATCH:
        notices.append(
            "DATA.PROBABILITY_MAP: has no effect without DATA.EXTRACT_RANDOM_PATCH: True"
        )
    if train and config.PATHS.CHECKPOINT_FILE and not config.MODEL.LOAD_CHECKPOINT:
        notices.append(
            "PATHS.CHECKPOINT_FILE: has no effect on a training without "
            "MODEL.LOAD_CHECKPOINT: True, and the test takes what was trained"
        )
    if test and config.TEST.EVALUATE and not known:
        notices.append("DATA.TEST.LOAD_GT: False, so the test images are predicted but not scored")
    keys = config.TEST
    if test and keys.BY_CHUNKS.ENABLE and keys.STATS.PER_PATCH and keys.EVALUATE and known:
        notices.append("TEST.STATS.PER_PATCH: images in blocks are not scored by patch")
    alone = [t for t in keys.MATCHING_STATS_THS_COLORED_IMG if t not in keys.MATCHING_STATS_THS]
    if test and keys.MATCHING_STATS and alone:
        notices.append(
            f"TEST.MATCHING_STATS_THS_COLORED_IMG: {', '.join(f'{t:g}' for t in alone)} has no "
            "effect, as TEST.MATCHING_STATS_THS has not"
        )
    if config.ndim == 2 and config.PROBLEM.INSTANCE_SEG.WATERSHED_BY_2D_SLICES:
        notices.append(f"{_SEG}.WATERSHED_BY_2D_SLICES: has no effect in 2D")
    notices += [*waiting_keys(config), *unused_thresholds(config)]
    if test:
        notices += _idle_post_processing(config)
    if config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS == "Dv2" and test:
        notices.append(
            f"{_SEG}.DATA_CHANNELS: with Dv2 alone the background makes instances too; "
            "remove them in the result"
        )
    return notices + (list(_idle_augmentation(config)) if train else [])


def _idle_post_processing(config: Config) -> Iterator[str]:
    post = config.TEST.POST_PROCESSING
    if not config.tests_volumes:
        for name, asked in (("Z_FILTERING", post.Z_FILTERING), ("YZ_FILTERING", post.YZ_FILTERING)):
            if asked:
                yield (
                    f"{_POST}.{name}: has no effect in 2D without "
                    "TEST.ANALIZE_2D_IMGS_AS_3D_STACK: True"
                )
    radii = post.REMOVE_CLOSE_POINTS_RADIUS
    if post.REMOVE_CLOSE_POINTS and len(set(radii)) > 1:
        yield (
            f"{_POST}.REMOVE_CLOSE_POINTS_RADIUS: of {radii} only {radii[0]:g} has an effect, as "
            "the points of all classes are one channel"
        )


def _idle_augmentation(config: Config) -> Iterator[str]:
    keys = config.AUGMENTOR.model_dump()
    idle = {"in 2D": _NEEDS_Z if config.ndim == 2 else ()}
    idle["with one channel"] = _NEEDS_CHANNELS if config.in_channels == 1 else ()
    for where, names in idle.items():
        for name in names:
            if keys["ENABLE"] and keys[name]:
                yield f"AUGMENTOR.{name}: has no effect {where}"


def _channel_weights(config: Config) -> Iterator[str]:
    seg, count = config.PROBLEM.INSTANCE_SEG, config.channel_count
    allowed = {count} if config.MODEL.N_CLASSES == 2 else {count, count + 1}
    if len(seg.DATA_CHANNEL_WEIGHTS) not in allowed:
        more = ", or one more for the classes of MODEL.N_CLASSES" if len(allowed) > 1 else ""
        yield (
            f"{_SEG}.DATA_CHANNEL_WEIGHTS: found {len(seg.DATA_CHANNEL_WEIGHTS)} weights; allowed "
            f"{count}, one for each channel of {_SEG}.DATA_CHANNELS {seg.DATA_CHANNELS}{more}"
        )


def _seed_morphology(config: Config) -> Iterator[str]:
    seg = config.PROBLEM.INSTANCE_SEG
    if len(seg.SEED_MORPH_SEQUENCE) != len(seg.SEED_MORPH_RADIUS):
        yield (
            f"{_SEG}.SEED_MORPH_RADIUS: found {len(seg.SEED_MORPH_RADIUS)} radii; allowed "
            f"{len(seg.SEED_MORPH_SEQUENCE)}, one for each word of {_SEG}.SEED_MORPH_SEQUENCE"
        )


def _blocks(config: Config) -> Iterator[str]:
    """What needs whole images does not go together with blocks."""
    keys = config.TEST.BY_CHUNKS
    if not keys.ENABLE:
        return
    whole = {
        "TEST.FULL_IMG": config.TEST.FULL_IMG,
        "TEST.ANALIZE_2D_IMGS_AS_3D_STACK": config.TEST.ANALIZE_2D_IMGS_AS_3D_STACK,
        "DATA.PREPROCESS.TEST": config.DATA.PREPROCESS.TEST,
        f"{_SEG}.DATA_CHECK_MW": config.PROBLEM.INSTANCE_SEG.DATA_CHECK_MW,
    }
    for name in (name for name, wanted in whole.items() if wanted):
        yield (
            f"{name}: found True, which needs whole images; allowed False, as "
            "TEST.BY_CHUNKS.ENABLE is True"
        )
    shape = keys.BLOCK_SHAPE
    if shape and (len(shape) != config.ndim or min(shape) < 1):
        yield (
            f"TEST.BY_CHUNKS.BLOCK_SHAPE: found {shape}; allowed {config.ndim} sides of 1 or more, "
            "or () to have them chosen"
        )


def _normalization(config: Config) -> Iterator[str]:
    norm = config.DATA.NORMALIZATION
    if norm.PERC_CLIP and not 0 <= norm.PERC_LOWER < norm.PERC_UPPER <= 100:
        yield (
            f"DATA.NORMALIZATION.PERC_LOWER: found {norm.PERC_LOWER:g}, and {norm.PERC_UPPER:g} "
            "for DATA.NORMALIZATION.PERC_UPPER; allowed 0 ≤ lower < upper ≤ 100 "
            "when DATA.NORMALIZATION.PERC_CLIP is True"
        )
    if norm.TYPE == "custom" and (norm.CUSTOM_MEAN == -1) != (norm.CUSTOM_STD == -1):
        yield (
            f"DATA.NORMALIZATION.CUSTOM_MEAN: found {norm.CUSTOM_MEAN:g}, and {norm.CUSTOM_STD:g} "
            "for DATA.NORMALIZATION.CUSTOM_STD; allowed both, or neither (-1) to measure them"
        )


def _preprocess(config: Config) -> Iterator[str]:
    steps, ndim = config.DATA.PREPROCESS, config.ndim
    if not (steps.TRAIN or steps.VAL or steps.TEST):
        return
    shape = steps.RESIZE.OUTPUT_SHAPE
    if steps.RESIZE.ENABLE and len(shape) != ndim:
        yield (
            f"DATA.PREPROCESS.RESIZE.OUTPUT_SHAPE: found {shape}; allowed {ndim} numbers, one for "
            f"each axis of PROBLEM.NDIM {config.PROBLEM.NDIM}"
        )
    median, clahe = steps.MEDIAN_BLUR, steps.CLAHE
    for name, used, size in (
        ("MEDIAN_BLUR", median.ENABLE, median.KERNEL_SIZE),
        ("CLAHE", clahe.ENABLE, clahe.KERNEL_SIZE),
    ):
        if used and size is not None and len(size) not in (1, ndim):
            yield (
                f"DATA.PREPROCESS.{name}.KERNEL_SIZE: found {size}; allowed one number, or {ndim}, "
                f"one for each axis of PROBLEM.NDIM {config.PROBLEM.NDIM}"
            )
        if used and size is not None and math.prod(size * (1 if len(size) > 1 else ndim)) > _REGION:
            yield (
                f"DATA.PREPROCESS.{name}.KERNEL_SIZE: found {size}, a region of more than "
                f"{grouped(_REGION)} pixels; allowed smaller ones"
            )
    low, high = steps.CANNY.LOW_THRESHOLD, steps.CANNY.HIGH_THRESHOLD
    if steps.CANNY.ENABLE and low is not None and high is not None and low > high:
        yield (
            f"DATA.PREPROCESS.CANNY.LOW_THRESHOLD: found {low:g}; allowed at most {high:g}, which "
            "is DATA.PREPROCESS.CANNY.HIGH_THRESHOLD"
        )
    even = [size for size in steps.MEDIAN_BLUR.KERNEL_SIZE if size % 2 == 0]
    if steps.MEDIAN_BLUR.ENABLE and even:
        yield f"DATA.PREPROCESS.MEDIAN_BLUR.KERNEL_SIZE: found {even[0]}; allowed odd numbers"


def _force_rgb(config: Config) -> Iterator[str]:
    if config.DATA.FORCE_RGB and config.in_channels != 3:
        yield (
            f"DATA.FORCE_RGB: found True with DATA.PATCH_SIZE {config.DATA.PATCH_SIZE}; allowed "
            "only with 3 channels at its end"
        )


def _probability_map(config: Config) -> Iterator[str]:
    data = config.DATA
    asked = data.EXTRACT_RANDOM_PATCH and data.PROBABILITY_MAP
    if asked and data.W_FOREGROUND + data.W_BACKGROUND == 0:
        yield "DATA.W_FOREGROUND: found 0, and 0 for DATA.W_BACKGROUND; allowed one above 0"


def _split_rule(name: str) -> Rule:
    def rule(config: Config) -> Iterator[str]:
        split = {
            "TRAIN": config.DATA.TRAIN, "VAL": config.DATA.VAL, "TEST": config.DATA.TEST
        }[name]  # fmt: skip
        if name == "VAL" and config.DATA.VAL.FROM_TRAIN:
            return
        ndim, wrong = config.ndim, False
        for key, values in (("OVERLAP", split.OVERLAP), ("PADDING", split.PADDING)):
            if len(values) != ndim:
                wrong = True
                yield (
                    f"DATA.{name}.{key}: found {counted(len(values), 'value')}; allowed {ndim}, "
                    f"one for each axis of PROBLEM.NDIM {config.PROBLEM.NDIM}"
                )
        if len(split.RESOLUTION) != ndim and split.RESOLUTION != (-1,):
            yield (
                f"DATA.{name}.RESOLUTION: found {counted(len(split.RESOLUTION), 'value')}; "
                f"allowed {ndim}, "
                f"one for each axis of PROBLEM.NDIM {config.PROBLEM.NDIM}, or (-1,) for unknown"
            )
        if wrong or len(config.patch) != ndim:
            return
        for padding, length in zip(split.PADDING, config.patch, strict=True):
            if 2 * padding >= length:
                yield (
                    f"DATA.{name}.PADDING: found {padding} for a patch of "
                    f"{counted(length, 'pixel')}; allowed "
                    f"less than {math.ceil(length / 2)}, half of DATA.PATCH_SIZE"
                )

    return rule


def _validation(config: Config) -> Iterator[str]:
    val = config.DATA.VAL
    if val.CROSS_VAL:
        if not val.FROM_TRAIN:
            yield (
                "DATA.VAL.CROSS_VAL: found True with DATA.VAL.FROM_TRAIN False; allowed only with "
                "DATA.VAL.FROM_TRAIN True, for the folds are made of the training images"
            )
        if val.CROSS_VAL_FOLD > val.CROSS_VAL_NFOLD:
            yield (
                f"DATA.VAL.CROSS_VAL_FOLD: found {val.CROSS_VAL_FOLD}; allowed 1 to "
                f"{val.CROSS_VAL_NFOLD}, which is DATA.VAL.CROSS_VAL_NFOLD"
            )
    elif val.FROM_TRAIN and not 0 < val.SPLIT_TRAIN < 1:
        yield (
            f"DATA.VAL.SPLIT_TRAIN: found {val.SPLIT_TRAIN:g}; allowed a number in (0, 1) "
            "when DATA.VAL.FROM_TRAIN is True"
        )


def _scheduler(config: Config) -> Iterator[str]:
    train = config.TRAIN
    scheduler = train.LR_SCHEDULER
    name = scheduler.NAME
    when = f"with {_SCHEDULER}.NAME '{name}'"
    if name in ("warmupcosine", "reduceonplateau") and not 0 <= scheduler.MIN_LR < train.LR:
        yield (
            f"{_SCHEDULER}.MIN_LR: found {scheduler.MIN_LR:g}; allowed 0 ≤ MIN_LR < TRAIN.LR "
            f"{train.LR:g} {when}"
        )
    warmup = scheduler.WARMUP_COSINE_DECAY_EPOCHS
    if name == "warmupcosine" and not 0 < warmup < train.EPOCHS:
        yield (
            f"{_SCHEDULER}.WARMUP_COSINE_DECAY_EPOCHS: found {warmup}; allowed at least 1 and "
            f"less than TRAIN.EPOCHS {train.EPOCHS} {when}"
        )
    patience = scheduler.REDUCEONPLATEAU_PATIENCE
    if name == "reduceonplateau" and (
        patience < 1 or (train.PATIENCE != -1 and patience >= train.PATIENCE)
    ):
        yield (
            f"{_SCHEDULER}.REDUCEONPLATEAU_PATIENCE: found {patience}; allowed at least 1 and "
            f"less than TRAIN.PATIENCE {train.PATIENCE} {when}"
        )


def _loss(config: Config) -> Iterator[str]:
    loss, classes = config.LOSS, config.MODEL.N_CLASSES
    weights = config.PROBLEM.INSTANCE_SEG.DATA_CHANNEL_WEIGHTS
    if not any(weights):
        yield f"{_SEG}.DATA_CHANNEL_WEIGHTS: found {weights}; allowed at least one above 0"
    if loss.CLASS_REBALANCE == "manual" and loss.CLASS_WEIGHTS and not any(loss.CLASS_WEIGHTS):
        yield f"LOSS.CLASS_WEIGHTS: found {loss.CLASS_WEIGHTS}; allowed at least one above 0"
    if loss.TYPE == "W_CE_DICE" and sum(loss.WEIGHTS) == 0:
        yield f"LOSS.WEIGHTS: found {loss.WEIGHTS}; allowed two numbers, one of them above 0"
    if loss.CLASS_REBALANCE == "manual" and len(loss.CLASS_WEIGHTS) != classes:
        yield (
            f"LOSS.CLASS_WEIGHTS: found {len(loss.CLASS_WEIGHTS)} weights; allowed {classes}, one "
            "for each of MODEL.N_CLASSES, when LOSS.CLASS_REBALANCE is 'manual'"
        )


def monitor_names(config: Config) -> tuple[str, ...]:
    """What TRAIN.CHECKPOINT_MONITOR can name: every column of the training log but its time."""
    names = re.findall("Dv2|[BCDMP]", config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS)
    scores = [f"{'mae' if name[0] == 'D' else 'iou'}_{name}" for name in names]
    if any(score.startswith("iou") for score in scores):
        scores.insert(0, "iou")
    if config.MODEL.N_CLASSES > 2:
        scores.append("class_accuracy")
    return tuple(f"{part}_{name}" for part in ("val", "train") for name in ("loss", *scores))


def _monitor(config: Config) -> Iterator[str]:
    name, names = config.TRAIN.CHECKPOINT_MONITOR, monitor_names(config)
    if name not in names:
        yield f"TRAIN.CHECKPOINT_MONITOR: found {name!r}; allowed {', '.join(names)}"


def _stack(config: Config) -> Iterator[str]:
    if config.TEST.ANALIZE_2D_IMGS_AS_3D_STACK and config.ndim == 3:
        yield "TEST.ANALIZE_2D_IMGS_AS_3D_STACK: found True; allowed only with PROBLEM.NDIM 2D"


def _channel_needs(config: Config) -> Iterator[str]:
    post, channels = config.TEST.POST_PROCESSING, config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS
    if post.VORONOI_ON_MASK and channels not in _WITH_CONTOUR:
        yield (
            f"{_POST}.VORONOI_ON_MASK: found True with {_SEG}.DATA_CHANNELS {channels}; "
            f"allowed only with {', '.join(_WITH_CONTOUR)}"
        )
    if not post.REMOVE_CLOSE_POINTS:
        return
    if channels != "BP":
        yield (
            f"{_POST}.REMOVE_CLOSE_POINTS: found True with {_SEG}.DATA_CHANNELS {channels}; "
            "allowed only with BP"
        )
    if not post.REMOVE_CLOSE_POINTS_RADIUS or -1 in post.REMOVE_CLOSE_POINTS_RADIUS:
        yield (
            f"{_POST}.REMOVE_CLOSE_POINTS_RADIUS: found {post.REMOVE_CLOSE_POINTS_RADIUS}; "
            f"allowed numbers > 0 when {_POST}.REMOVE_CLOSE_POINTS is True"
        )


def _remove_by_properties(config: Config) -> Iterator[str]:
    remove = config.TEST.POST_PROCESSING.MEASURE_PROPERTIES.REMOVE_BY_PROPERTIES
    if not remove.ENABLE:
        return
    shape = [len(group) for group in remove.PROPS]
    if not shape or 0 in shape:
        yield (
            f"{_REMOVE}.PROPS: found {[list(group) for group in remove.PROPS]}; allowed lists of "
            "at least one property, as ENABLE, VALUES or SIGN asks for the removal of instances"
        )
        return
    for key, lists in (("VALUES", remove.VALUES), ("SIGN", remove.SIGN)):
        found = [len(group) for group in lists]
        if found != shape:
            yield (
                f"{_REMOVE}.{key}: found lists of {found} items; allowed {shape}, "
                f"as {_REMOVE}.PROPS has"
            )
    # What is measured is a volume also where 2D images are stacked.
    unfit, kind = (_ONLY_2D, "volumes") if config.tests_volumes else (_ONLY_3D, "2D images")
    for name in sorted({name for group in remove.PROPS for name in group if name in unfit}):
        yield f"{_REMOVE}.PROPS: found {name!r}, which {kind} have not"


_ALWAYS: tuple[Rule, ...] = (
    *MODEL_RULES,
    _channel_weights,
    _seed_morphology,
    _normalization,
    _preprocess,
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
