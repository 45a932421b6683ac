"""Messages about keys that are set and have no effect, or an unexpected one."""

from __future__ import annotations

from collections.abc import Iterator

from singula.config.biapy.unsupported import unsupported_values
from singula.config.implied import keys_without_switch
from singula.config.schema.root import Config
from singula.config.thresholds import KEYS, origin, unused_thresholds
from singula.config.validate_model import unused_by_network
from singula.representations.channel import NORMALIZED
from singula.representations.channel_table import CHANNELS
from singula.representations.thresholds import THRESHOLDS
from singula.representations.watershed import Watershed

_SEG = "PROBLEM.INSTANCE_SEG"
_POST = "TEST.POST_PROCESSING"
_NEEDS_Z = ("ZFLIP", "MISALIGNMENT")
_NEEDS_CHANNELS = ("GRAYSCALE", "CHANNEL_SHUFFLE")


def config_notices(config: Config, *, train: bool, test: bool) -> list[str]:
    """Return messages about allowed values that have no effect, or an unexpected one."""
    notices = [
        *unsupported_values(config, train=train, test=test, fatal=False),
        *unused_by_network(config),
    ]
    has_labels = config.DATA.TEST.LOAD_GT or config.DATA.TEST.USE_VAL_AS_TEST
    if train and config.DATA.PROBABILITY_MAP and not config.DATA.EXTRACT_RANDOM_PATCH:
        notices.append(
            "DATA.PROBABILITY_MAP: has no effect without DATA.EXTRACT_RANDOM_PATCH: True"
        )
    if train and config.PATHS.CHECKPOINT_FILE and not config.MODEL.LOAD_CHECKPOINT:
        notices.append(
            "PATHS.CHECKPOINT_FILE: has no effect on a training without "
            "MODEL.LOAD_CHECKPOINT: True; the test uses the trained network"
        )
    if test and config.TEST.EVALUATE and not has_labels:
        notices.append("DATA.TEST.LOAD_GT: False, so the test images are predicted but not scored")
    keys = config.TEST
    if test and keys.BY_CHUNKS.ENABLE and keys.STATS.PER_PATCH and keys.EVALUATE and has_labels:
        notices.append(
            "TEST.STATS.PER_PATCH: has no effect on images in blocks, which are not scored by patch"
        )
    unscored = [t for t in keys.MATCHING_STATS_THS_COLORED_IMG if t not in keys.MATCHING_STATS_THS]
    if test and keys.MATCHING_STATS and unscored:
        notices.append(
            f"TEST.MATCHING_STATS_THS_COLORED_IMG: {', '.join(f'{t:g}' for t in unscored)} has "
            "no effect, as it is not in TEST.MATCHING_STATS_THS"
        )
    if config.ndim == 2 and config.PROBLEM.INSTANCE_SEG.WATERSHED_BY_2D_SLICES:
        notices.append(f"{_SEG}.WATERSHED_BY_2D_SLICES: has no effect in 2D")
    if test and keys.AUGMENTATION and config.view_count < 2 ** (config.ndim + 1):
        notices.append(f"TEST.AUGMENTATION: {_views(config.view_count)}")
    used = {CHANNELS[code].options_code for code in config.decoder.channels}
    unused = [
        CHANNELS[code].list_code if code in CHANNELS else code
        for code in config.channel_options
        if code not in used
    ]
    if unused:
        notices.append(
            f"{_SEG}.DATA_CHANNELS_EXTRA_OPTS: the options of {', '.join(unused)} have no effect, "
            f"as {_SEG}.DATA_CHANNELS is {config.PROBLEM.INSTANCE_SEG.DATA_CHANNELS}"
        )
    notices += [*keys_without_switch(config), *unused_thresholds(config)]
    if test:
        notices += [*_idle_post_processing(config), *_thresholds_of_normalized(config)]
        notices += [*_unused_channels(config), *_idle_thresholds(config)]
    if test and isinstance(config.decoder, Watershed) and config.decoder.note:
        notices.append(f"{_SEG}.DATA_CHANNELS: {config.decoder.note}")
    return notices + (list(_idle_augmentation(config)) if train else [])


def _unused_channels(config: Config) -> Iterator[str]:
    """Report channels that are learned, but do not determine the instances."""
    used, decoder, condition = set(config.decoder.used_channels), config.decoder, ""
    if isinstance(decoder, Watershed) and not config.PROBLEM.INSTANCE_SEG.GROW_INTO_CONTOUR:
        used -= decoder.maps_of_contour_growth
        condition = " without GROW_INTO_CONTOUR" if decoder.maps_of_contour_growth else ""
    groups = (group for group in config.channel_groups if used.isdisjoint(group))
    unused = [CHANNELS[group[0]].list_code for group in groups]
    if unused:
        yield (
            f"{_SEG}.DATA_CHANNELS: decoding{condition} does not use {', '.join(unused)}, which "
            f"{'has' if len(unused) == 1 else 'have'} no effect on the instances"
        )


def _idle_thresholds(config: Config) -> Iterator[str]:
    """Report thresholds of the user that the decoder does not use."""
    decoder, seg = config.decoder, config.PROBLEM.INSTANCE_SEG
    used = decoder.threshold_names(into_contour=seg.GROW_INTO_CONTOUR)
    idle = [name for name in THRESHOLDS if name not in used and origin(config, name) == "user"]
    if idle:
        yield (
            f"{', '.join(KEYS[name] for name in idle)}: {'has' if len(idle) == 1 else 'have'} no "
            f"effect, as decoding {_SEG}.DATA_CHANNELS {seg.DATA_CHANNELS} uses "
            f"{', '.join(used)}"
        )


def _thresholds_of_normalized(config: Config) -> Iterator[str]:
    """Report default thresholds of normalized channels whose normalization is off."""
    if not isinstance(config.decoder, Watershed):
        return  # other decoders compare their thresholds with other values than the maps
    into_contour = config.PROBLEM.INSTANCE_SEG.GROW_INTO_CONTOUR
    for name in config.decoder.threshold_names(into_contour=into_contour):
        codes = [
            CHANNELS[code].list_code
            for code in THRESHOLDS[name].channels
            if code in config.decoder.channels
            and config.channel_options.get(code, {}).get(NORMALIZED.name) is False
        ]
        if codes and THRESHOLDS[name].adapt is None and not config.is_set(KEYS[name]):
            yield (
                f"{KEYS[name]}: the default {THRESHOLDS[name].default:g} is meant for normalized "
                f"values, but {', '.join(codes)} has norm: False; set a distance in pixels, or in "
                "the unit of the voxel size"
            )


def _views(count: int) -> str:
    """Return the effect of rays on test-time augmentation."""
    if count == 1:
        return "has no effect with R, whose directions differ in each flip and rotation"
    return (
        f"averages {count} flips and rotations, as the directions of R differ in the others; a "
        "number of rays that 4 divides allows all"
    )


def _idle_post_processing(config: Config) -> Iterator[str]:
    post = config.TEST.POST_PROCESSING
    if not config.tests_volumes:
        for name in ("Z_FILTERING", "YZ_FILTERING"):
            if getattr(post, name):
                yield (
                    f"{_POST}.{name}: has no effect in 2D without "
                    "TEST.ANALIZE_2D_IMGS_AS_3D_STACK: True"
                )
    radii = post.REMOVE_CLOSE_POINTS_RADIUS
    if post.REMOVE_CLOSE_POINTS and len(set(radii)) > 1:
        yield (
            f"{_POST}.REMOVE_CLOSE_POINTS_RADIUS: only the first of {radii} has an effect, as "
            "the points of all classes are one channel"
        )


def _idle_augmentation(config: Config) -> Iterator[str]:
    keys = config.AUGMENTOR.model_dump()
    idle = {
        "in 2D": _NEEDS_Z if config.ndim == 2 else (),
        "with one channel": _NEEDS_CHANNELS if config.in_channels == 1 else (),
    }
    for condition, names in idle.items():
        for name in names:
            if keys["ENABLE"] and keys[name]:
                yield f"AUGMENTOR.{name}: has no effect {condition}"
